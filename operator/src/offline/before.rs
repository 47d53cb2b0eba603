//! What was published before, and how much the age of an object counts: both decide whose a name is (file system).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use mqtt_access_core::bundle::{Bundle, Claims, Device, IndexFile, Tenant, UnixSeconds, decode, decode_index};

use crate::compile::{Incumbents, Seniority};
use crate::names;

/// What one tenant has by its published bundle.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(super) claims: Claims,
    /// When the tenant was created; where no cluster told, when it was first published.
    pub(super) created: UnixSeconds,
    pub(super) incumbents: Arc<Incumbents>,
}

impl Published {
    /// What a bundle gives its tenant.
    pub(crate) fn of<'d>(tenant: &Tenant, devices: impl IntoIterator<Item = &'d Device>) -> Self {
        let incumbents = Arc::new(Incumbents::by_name(devices));
        Self { claims: tenant.claims.clone(), created: tenant.created, incumbents }
    }
}

impl Published {
    /// Claims alone, where nothing is known of credentials.
    pub(crate) fn with_claims(claims: Claims, created: UnixSeconds) -> Self {
        Self { claims, created, incumbents: Arc::default() }
    }
}

/// What the tenants of a broker have by their published bundles, by namespace and name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before(BTreeMap<(String, String), Published>);

impl FromIterator<((String, String), Published)> for Before {
    fn from_iter<T: IntoIterator<Item = ((String, String), Published)>>(tenants: T) -> Self {
        Self(tenants.into_iter().collect())
    }
}

impl Before {
    /// Reads the bundles of a broker where `compile` wrote them. What cannot be read says nothing of who was first; a name that
    /// hangs on it is then refused to all who want it.
    pub(super) fn read(folder: &Path) -> Self {
        let bundles = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
            let folder = entry.path();
            let index = decode_index(&fs::read(folder.join("index")).ok()?).ok()?;
            let tenant = &index.tenant;
            let own = names::bundle(&tenant.namespace, &tenant.name);
            (folder.file_name()?.to_str()? == own).then(|| read(&folder, &index))
        });
        bundles.collect()
    }

    /// A tenant with its key.
    pub(super) fn entry(&self, namespace: &str, name: &str) -> Option<((String, String), Published)> {
        let (key, published) = self.0.get_key_value(&(namespace.to_owned(), name.to_owned()))?;
        Some((key.clone(), published.clone()))
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Published> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn read(folder: &Path, index: &IndexFile) -> ((String, String), Published) {
    let shard = |digest: &_| fs::read(folder.join(format!("shard-{digest}"))).ok().map(Cow::Owned);
    let devices = decode(index, shard).map(|Bundle { devices, .. }| devices).unwrap_or_default();
    let key = (index.tenant.namespace.clone(), index.tenant.name.clone());
    (key, Published::of(&index.tenant, &devices))
}

/// What is known besides the manifests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Past<'p> {
    pub(crate) before: &'p Before,
    pub(crate) seniority: Seniority,
    pub(crate) now: UnixSeconds,
}
