//! Keys that the published bundle holds: from there a generated Secret that somebody deleted is restored.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use mqtt_access_core::bundle::{Bundle, Digest, decode};
use mqtt_access_core::secret::Secret;

use super::generated::{KeyOf, Wanted};
use super::{Finder, KeyError};
use crate::cluster::cache::{Cached as _, Group};
use crate::names::{self, data};

/// Secrets of a bundle by the owners they were made for. One that was brought along is never restored: whoever takes a
/// `secretRef` away wants to be rid of its key.
#[derive(Default)]
pub(in crate::cluster) struct Held {
    tenant: String,
    access_keys: HashMap<String, Secret>,
    devices: HashMap<String, Secret>,
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
        Self { tenant: bundle.tenant.uid.clone(), access_keys: keys.collect(), devices: devices.collect() }
    }

    /// Only for the very object that the key was made for: one of the same name is another owner.
    fn secret(&self, wanted: &Wanted) -> Option<&Secret> {
        match &wanted.key {
            KeyOf::Device { .. } => self.devices.get(&wanted.uid),
            KeyOf::AccessKey { name } => self.access_keys.get(name).filter(|_| self.tenant == wanted.uid),
        }
    }
}

impl Finder<'_> {
    /// The key that the published bundle holds for an owner.
    pub(super) async fn held(&self, wanted: &Wanted) -> Result<Option<Secret>, KeyError> {
        let known = self.context.memory(self.tenant, |memory| memory.held.clone());
        let held = if let Some(held) = known {
            held
        } else {
            let held = Arc::new(self.read_held().await?);
            self.context.memory(self.tenant, |memory| memory.held = Some(Arc::clone(&held)));
            held
        };
        Ok(held.secret(wanted).cloned())
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
