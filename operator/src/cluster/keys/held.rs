//! What the published bundle holds: from there a generated Secret that somebody deleted is restored, unless it held a
//! password, and from there a login stays in force while its turn to be derived has not come.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use mqtt_access_core::bundle::{Bundle, ClientIds, Digest, LoginName, decode};
use mqtt_access_core::scram::ScramSettings;
use mqtt_access_core::secret::Secret;

use super::generated::{KeyOf, Wanted};
use super::login::LoginOf;
use super::{Finder, KeyError};
use crate::cluster::cache::{Cached as _, Group};
use crate::login::Login;
use crate::names::{self, data};

/// Secrets of a bundle by the owners they were made for. One that was brought along is never restored: whoever takes a
/// `secretRef` away wants to be rid of its key.
#[derive(Default)]
pub(in crate::cluster) struct Held {
    tenant: String,
    access_keys: HashMap<String, Secret>,
    devices: HashMap<String, Secret>,
    scram: Option<ScramSettings>,
    /// By the names of the devices.
    logins: HashMap<String, HeldLogin>,
}

struct HeldLogin {
    uid: Option<String>,
    client_ids: ClientIds,
    login: LoginName,
}

impl Held {
    pub(in crate::cluster) fn of(bundle: &Bundle) -> Self {
        let devices = bundle.devices.iter().filter_map(|device| Some((device.uid.clone()?, device.secret.clone()?)));
        let keys = bundle
            .tenant
            .access_keys
            .iter()
            .filter(|key| key.generated)
            .filter_map(|key| Some((key.name.clone(), key.secret.clone()?)));
        let logins = bundle.devices.iter().filter_map(|device| {
            let (uid, client_ids) = (device.uid.clone(), device.client_id.clone());
            Some((device.name.clone(), HeldLogin { uid, client_ids, login: device.login.clone()? }))
        });
        Self {
            tenant: bundle.tenant.uid.clone(),
            access_keys: keys.collect(),
            devices: devices.collect(),
            scram: bundle.tenant.scram,
            logins: logins.collect(),
        }
    }

    /// Whether a password was made for the owner, which nothing else may know any more.
    pub(super) fn had_password(&self, wanted: &Wanted) -> bool {
        let uid = self.logins.get(&wanted.owner_name).and_then(|held| held.uid.as_ref());
        matches!(wanted.key, KeyOf::Login { .. }) && uid == Some(&wanted.uid)
    }

    /// The login of a device that is what it was: it says nothing of the Secret that a reference leads to now, so it counts
    /// for a pass and no longer.
    pub(super) fn login(&self, of: &LoginOf) -> Option<Login> {
        let HeldLogin { uid, client_ids, login: LoginName { name, scram, password } } = self.logins.get(&of.device)?;
        let same = *uid == of.uid && *client_ids == of.client_ids && name == of.recipe.login_name();
        let scram = scram.clone().filter(|_| of.recipe.scram() == self.scram);
        let login = of.recipe.select(Login { scram, password: password.clone() });
        Some(login).filter(|login| same && (login.scram.is_some() || login.password.is_some()))
    }

    /// Only for the very object that the key was made for: one of the same name is another owner.
    fn secret(&self, wanted: &Wanted) -> Option<&Secret> {
        match &wanted.key {
            KeyOf::Device { .. } => self.devices.get(&wanted.uid),
            // A bundle holds no password.
            KeyOf::Login { .. } => None,
            KeyOf::AccessKey { name } => self.access_keys.get(name).filter(|_| self.tenant == wanted.uid),
        }
    }
}

impl Finder<'_> {
    /// The key that the published bundle holds for an owner.
    pub(super) async fn held(&self, wanted: &Wanted) -> Result<Option<Secret>, KeyError> {
        Ok(self.published().await?.secret(wanted).cloned())
    }

    /// What the published bundle holds.
    pub(super) async fn published(&self) -> Result<Arc<Held>, KeyError> {
        if let Some(known) = self.context.memory(self.tenant, |memory| memory.held.clone()) {
            return Ok(known);
        }
        let held = Arc::new(self.read_held().await?);
        self.context.memory(self.tenant, |memory| memory.held = Some(Arc::clone(&held)));
        Ok(held)
    }

    async fn read_held(&self) -> Result<Held, KeyError> {
        let group = Group::Tenant(self.tenant.clone());
        let index = self.context.world(|world| world.broker(&self.broker.name).indexes.group(&group).next().cloned());
        let Some(index) = index else { return Ok(Held::default()) };
        let Some(file) = &index.file else { return Ok(Held::default()) };
        let api: Api<KubeSecret> = Api::namespaced(self.context.client.clone(), &self.broker.bundle_namespace);
        let mut shards: HashMap<Digest, Vec<u8>> = HashMap::new();
        for digest in &file.shards {
            let name = names::shard(&index.key().name, digest.as_str());
            let secret = api.get_opt(&name).await.map_err(KeyError::Bundle)?;
            let bytes = secret.and_then(|secret| secret.data?.remove(data::SHARD));
            bytes.into_iter().for_each(|bytes| _ = shards.insert(digest.clone(), bytes.0));
        }
        let bundle = decode(file, |digest| shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice())));
        Ok(bundle.map(|bundle| Held::of(&bundle)).unwrap_or_default())
    }
}
