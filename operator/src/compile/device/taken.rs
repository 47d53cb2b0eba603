//! Who has which client ID, key ID and login name: of several credentials the older counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mqtt_access_core::bundle::ClientIds;
use mqtt_access_core::credential::is_client_id;
use mqtt_access_crds::DeviceReady;

/// Why a credential is refused, and what to do about it.
pub(in crate::compile) type Refusal = (DeviceReady, String);

/// What the credentials looked at so far have taken, with their names. They come in the order of their age.
#[derive(Default)]
pub(super) struct Taken {
    client_ids: HashMap<String, String>,
    key_ids: HashMap<String, String>,
    login_names: HashMap<String, String>,
}

impl Taken {
    /// Takes a client ID. A prefix is nobody's own, but must be the tenant's.
    pub(super) fn client_ids(&mut self, prefixes: &[String], device: &str, wanted: &ClientIds) -> Result<(), Refusal> {
        let (field, text) = match wanted {
            ClientIds::One(one) => ("spec.clientId", one),
            ClientIds::Prefix { prefix } => ("spec.clientIdPrefix", prefix),
        };
        let owned = prefixes.is_empty() || prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()));
        if !owned || !is_client_id(text) {
            let message = format!(
                "`{field}` begins with none of the tenant's `spec.clientIdPrefixes` in force; use one that does"
            );
            return Err((DeviceReady::ClientIdOutsidePrefix, message));
        }
        let ClientIds::One(one) = wanted else { return Ok(()) };
        take(&mut self.client_ids, one, device).map_err(|older| {
            let message =
                format!("`spec.clientId` belongs to the older DeviceCredential `{older}`; use another or delete that");
            (DeviceReady::ClientIdTaken, message)
        })
    }

    /// Takes a key ID.
    pub(super) fn key_id(&mut self, device: &str, id: &str) -> Result<(), Refusal> {
        take(&mut self.key_ids, id, device).map_err(|older| {
            let message =
                format!("the key ID `{id}` belongs to the older DeviceCredential `{older}`; give the Secret another");
            (DeviceReady::KeyIdTaken, message)
        })
    }

    /// Takes a login name.
    pub(super) fn login_name(&mut self, device: &str, name: &str) -> Result<(), Refusal> {
        take(&mut self.login_names, name, device).map_err(|older| {
            let message = format!(
                "the login name `{name}` belongs to the older DeviceCredential `{older}`; set another `spec.username`"
            );
            (DeviceReady::LoginNameTaken, message)
        })
    }
}

/// The error is who has it.
fn take<'t>(taken: &'t mut HashMap<String, String>, what: &str, device: &str) -> Result<(), &'t str> {
    match taken.entry(what.to_owned()) {
        Entry::Occupied(older) => Err(older.into_mut().as_str()),
        Entry::Vacant(free) => {
            free.insert(device.to_owned());
            Ok(())
        }
    }
}
