//! The tenants as they were last published, for the token service: it judges by what the sidecars have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mqtt_access_core::bundle::Bundle;
use mqtt_access_core::index::TenantIndex;

use crate::cluster::cache::ObjectKey;
use crate::service::directory::Issuer;

/// What is remembered of published tenants.
pub(in crate::cluster) struct Issuers {
    /// `None` where there is no token service, and so no use for it.
    tenants: Option<Mutex<HashMap<ObjectKey, Arc<Issuer>>>>,
}

impl Issuers {
    pub(in crate::cluster) fn new(wanted: bool) -> Self {
        Self { tenants: wanted.then(Mutex::default) }
    }

    /// Whether there is a token service to ask for them.
    pub(in crate::cluster) fn are_wanted(&self) -> bool {
        self.tenants.is_some()
    }

    /// Whether a tenant is known as this revision of its bundle has it.
    pub(in crate::cluster) fn knows(&self, tenant: &ObjectKey, revision: u64) -> bool {
        self.get(tenant).is_some_and(|known| known.index.revision() == revision)
    }

    /// Takes a bundle in that was published. It is indexed without its devices: tokens are not theirs.
    pub(in crate::cluster) fn published(&self, tenant: &ObjectKey, broker: &str, bundle: &Bundle, revision: u64) {
        if !self.are_wanted() || self.knows(tenant, revision) {
            return;
        }
        let Bundle { tenant: settings, policies, devices: _ } = bundle;
        let without = Bundle { tenant: settings.clone(), policies: policies.clone(), devices: Vec::new() };
        match TenantIndex::new(without, revision) {
            Ok(index) => {
                let issuer = Issuer { tenant: tenant.clone(), broker: broker.to_owned(), index };
                self.with(|tenants| tenants.insert(tenant.clone(), Arc::new(issuer)));
            }
            // The sidecars do not take such a bundle either.
            Err(error) => {
                tracing::warn!(%tenant, error = %crate::error_chain(&error), "no tokens can be issued for a tenant");
                self.forget(tenant);
            }
        }
    }

    /// The tenant is not published any more.
    pub(in crate::cluster) fn forget(&self, tenant: &ObjectKey) {
        self.with(|tenants| tenants.remove(tenant));
    }

    pub(super) fn get(&self, tenant: &ObjectKey) -> Option<Arc<Issuer>> {
        self.with(|tenants| tenants.get(tenant).cloned()).flatten()
    }

    pub(super) fn of_instance(&self, instance_id: &str) -> Vec<Arc<Issuer>> {
        let of_instance = |issuer: &&Arc<Issuer>| issuer.index.instance_id() == instance_id;
        self.with(|tenants| tenants.values().filter(of_instance).cloned().collect()).unwrap_or_default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<ObjectKey, Arc<Issuer>>) -> T) -> Option<T> {
        let tenants = self.tenants.as_ref()?;
        Some(work(&mut tenants.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
