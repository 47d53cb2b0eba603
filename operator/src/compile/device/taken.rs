//! Who has which client ID, key ID and login name: the credential that is published with it, and of several that are not the
//! older one.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use kube::ResourceExt as _;
use mqtt_access_core::bundle::ClientIds;
use mqtt_access_core::credential::{device_key_id, is_client_id};
use mqtt_access_crds::{DeviceCredential, DeviceReady, Stored};

use crate::compile::identity::{Identity, Proof};
use crate::compile::incumbents::NameKind;
use crate::compile::{Gathered, Key, Seniority};

/// Why a credential is refused, and what to do about it.
pub(in crate::compile) type Refusal = (DeviceReady, String);

/// A name that several credentials want, of which none was published with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contested {
    /// What kind of name.
    pub kind: NameKind,
    /// The name.
    pub name: String,
    /// The credentials, by their names.
    pub devices: Vec<String>,
}

/// What the credentials looked at so far have taken, with their names. They come in the order of their age.
#[derive(Default)]
pub(super) struct Taken {
    holders: HashMap<(NameKind, String), String>,
    contested: BTreeMap<(NameKind, String), Vec<String>>,
}

/// What a credential wants to have to itself.
fn wishes(device: &Stored<DeviceCredential>, key: &Key, instance_id: &str) -> Vec<(NameKind, String)> {
    let text = |kind, text: &str| (kind, text.to_owned());
    let spec = match device.as_result() {
        Ok(device) => &device.spec,
        Err(broken) => {
            let client_id = broken.spec_str(&["clientId"]).map(|id| text(NameKind::ClientId, id));
            let login = broken.spec_str(&["username"]).map(|name| text(NameKind::LoginName, name));
            return client_id.into_iter().chain(login).collect();
        }
    };
    let client_id = spec.client_id.as_deref();
    let proof = Identity::of(spec).ok().map(|identity| identity.proof);
    let by = match (&proof, key) {
        (Some(Proof::Login(by)), _) => Some(text(NameKind::LoginName, &by.name)),
        (Some(Proof::Hmac), Key::Ready { id: Some(id), .. }) => Some(text(NameKind::KeyId, id)),
        (Some(Proof::Hmac), Key::Ready { id: None, .. }) => {
            client_id.map(|client_id| (NameKind::KeyId, device_key_id(instance_id, client_id)))
        }
        _ => None,
    };
    client_id.map(|id| text(NameKind::ClientId, id)).into_iter().chain(by).collect()
}

/// Whether two credentials want one name.
pub(crate) fn any_wanted_twice(devices: &[(std::sync::Arc<Stored<DeviceCredential>>, Key)], instance_id: &str) -> bool {
    let mut seen = std::collections::HashSet::new();
    devices.iter().flat_map(|(device, key)| wishes(device, key, instance_id)).any(|wish| !seen.insert(wish))
}

impl Taken {
    /// Gives every credential the names that it is published with and still wants. Of what is left, and wanted more than once,
    /// the older credential gets it, unless nothing tells which one that is.
    pub(super) fn of(gathered: &Gathered) -> Self {
        let mut taken = Self::default();
        let mut open: BTreeMap<(NameKind, String), Vec<String>> = BTreeMap::new();
        for (device, key) in &gathered.devices {
            let (name, uid) = (device.name_any(), device.uid());
            for wish in wishes(device, key, &gathered.claims.instance_id) {
                let incumbents = gathered.incumbents.as_ref();
                if incumbents.is_some_and(|known| known.has(wish.0, &wish.1, &name, uid.as_deref())) {
                    taken.holders.insert(wish, name.clone());
                } else if gathered.seniority == Seniority::Unknown {
                    open.entry(wish).or_default().push(name.clone());
                }
            }
        }
        open.retain(|wish, devices| devices.len() > 1 && !taken.holders.contains_key(wish));
        open.values_mut().for_each(|devices| devices.sort());
        taken.contested = open;
        taken
    }

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
        self.take(NameKind::ClientId, one, device).map_err(|held| {
            (DeviceReady::ClientIdTaken, format!("`spec.clientId` {held}; use another, or delete what has it"))
        })
    }

    /// Takes a key ID.
    pub(super) fn key_id(&mut self, device: &str, id: &str) -> Result<(), Refusal> {
        self.take(NameKind::KeyId, id, device)
            .map_err(|held| (DeviceReady::KeyIdTaken, format!("the key ID `{id}` {held}; give the Secret another")))
    }

    /// Takes a login name.
    pub(super) fn login_name(&mut self, device: &str, name: &str) -> Result<(), Refusal> {
        self.take(NameKind::LoginName, name, device).map_err(|held| {
            (DeviceReady::LoginNameTaken, format!("the login name `{name}` {held}; set another `spec.username`"))
        })
    }

    /// The error says who has it.
    fn take(&mut self, kind: NameKind, name: &str, device: &str) -> Result<(), String> {
        let wish = (kind, name.to_owned());
        if let Some(devices) = self.contested.get(&wish) {
            let others: Vec<String> =
                devices.iter().filter(|other| *other != device).map(|other| format!("`{other}`")).collect();
            let others = others.join(", ");
            return Err(format!(
                "is wanted by DeviceCredential {others} too, none of them was published with it, and nothing tells which of \
                 them is older, so all of them are refused"
            ));
        }
        match self.holders.entry(wish) {
            Entry::Occupied(holder) if holder.get() != device => Err(format!(
                "belongs to the DeviceCredential `{}`, which was published with it before this one or is older",
                holder.get()
            )),
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(free) => {
                free.insert(device.to_owned());
                Ok(())
            }
        }
    }

    /// What nobody got.
    pub(super) fn contested(self) -> Vec<Contested> {
        let contested = self.contested.into_iter();
        contested.map(|((kind, name), devices)| Contested { kind, name, devices }).collect()
    }
}
