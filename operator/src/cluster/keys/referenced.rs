//! Secrets that users bring along. They are watched without their data; the data is read when the version is new.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, ResourceExt as _};

use super::{Finder, KeyError};
use crate::cluster::cache::ObjectKey;
use crate::compile::{Key, KeyProblem};
use crate::credential::{problem, read_reference};

impl Finder<'_> {
    pub(super) async fn referenced(&self, name: &str) -> Result<Key, KeyError> {
        let at = ObjectKey::new(self.tenant.namespace.clone(), name);
        let seen =
            self.context.world(|world| world.references.get(&at)).and_then(|seen| seen.0.resource_version.clone());
        let remembered = self.context.memory(self.tenant, |memory| memory.secrets.get(&at).cloned());
        if let Some((version, key)) = remembered.filter(|(version, _)| Some(version) == seen.as_ref()) {
            drop(version);
            return Ok(key);
        }
        let api: Api<KubeSecret> = Api::namespaced(self.context.client.clone(), &self.tenant.namespace);
        let secret = api.get_opt(name).await.map_err(|error| KeyError::Read(name.to_owned(), error))?;
        let Some(secret) = secret else {
            self.context.memory(self.tenant, |memory| memory.secrets.remove(&at));
            let message = format!("the Secret `{name}` does not exist; create it in the same namespace");
            return Ok(problem(KeyProblem::Missing, message));
        };
        let key = read_reference(name, &secret);
        let version = secret.resource_version().unwrap_or_default();
        self.context.memory(self.tenant, |memory| memory.secrets.insert(at, (version, key.clone())));
        Ok(key)
    }
}
