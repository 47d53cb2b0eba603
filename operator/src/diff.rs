//! `diff`: what a second set of manifests changes, and for whom (pure, but for reading the manifests).
//!
//! Both sides are compiled as they would be published, without their secrets. A difference in the text of a policy is no
//! difference where no verdict can change and that can be proved rule by rule; it is one wherever it cannot.

mod clients;
mod human;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_access_core::index::TenantIndex;
use serde::Serialize;
use thiserror::Error;

use crate::config::{Broker, Config};
use crate::manifest::{self, Objects, Refused};
use crate::offline::{self, Before, OfflineError, Past, Published, Seniority};

/// Everything that changes.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The tenants for whom something changes.
    pub tenants: Vec<TenantDiff>,
}

/// What changes for one tenant of one broker.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantDiff {
    /// The broker.
    pub broker: String,
    /// Namespace and name.
    pub tenant: String,
    /// Whether the tenant itself comes, goes or stays.
    pub change: Presence,
    /// What is different about it or its credentials, such as `+ DeviceCredential dev4`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// Whose rules are different.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientsDiff>,
}

/// Whether something is there before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Presence {
    /// After only.
    Added,
    /// Before only.
    Removed,
    /// Both.
    Changed,
}

/// Clients for whom the same changes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ClientsDiff {
    /// Who, such as `DeviceCredential dev1` or `access key backend, mode Token`.
    pub clients: Vec<String>,
    /// What, such as `+ Allow Publish acme/up`.
    pub changes: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum DiffError {
    /// The manifests of one side are not what the API server would accept.
    #[error("the manifests of `{0}` are refused")]
    Refused(PathBuf, #[source] Refused),
    /// Those of one side cannot be compiled.
    #[error("the manifests of `{0}` cannot be compiled")]
    Offline(PathBuf, #[source] OfflineError),
}

/// The tenants of one side, by their names; those that hold nothing are left out.
type Side = BTreeMap<String, Arc<TenantIndex>>;

impl Diff {
    /// Reads and compares two files or folders.
    pub fn of(before: &Path, after: &Path, config: &Config) -> Result<Self, DiffError> {
        let read = |path: &Path| {
            manifest::read(&[path.to_owned()]).map_err(|error| DiffError::Refused(path.to_owned(), error))
        };
        let (old, new) = (read(before)?, read(after)?);
        let mut diff = Self::default();
        for broker in &config.brokers {
            let old = side(before, &old, config, broker, &Before::default())?;
            // What stands before is what is published when the second set comes.
            let published = old.values().map(|index| published(index)).collect();
            let new = side(after, &new, config, broker, &published)?;
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            diff.tenants.extend(names.into_iter().filter_map(|name| {
                TenantDiff::of(&broker.name, name, old.get(name).map(AsRef::as_ref), new.get(name).map(AsRef::as_ref))
            }));
        }
        Ok(diff)
    }

    /// Whether no verdict changes for anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }
}

fn published(index: &TenantIndex) -> ((String, String), Published) {
    let tenant = index.tenant();
    let devices = index.devices().filter_map(|persona| persona.device());
    ((tenant.namespace.clone(), tenant.name.clone()), Published::of(tenant, devices))
}

fn side(path: &Path, objects: &Objects, config: &Config, broker: &Broker, before: &Before) -> Result<Side, DiffError> {
    let past = Past { before, seniority: Seniority::Unknown, now: offline::now() };
    let indexes = offline::indexes(objects, config, broker, past);
    let indexes = indexes.map_err(|error| DiffError::Offline(path.to_owned(), error))?;
    Ok(indexes.into_iter().filter_map(|indexed| Some((indexed.tenant, indexed.index.ok()?))).collect())
}

impl TenantDiff {
    fn of(broker: &str, name: &str, before: Option<&TenantIndex>, after: Option<&TenantIndex>) -> Option<Self> {
        let (change, settings, clients) = match (before, after) {
            (None, None) => return None,
            (None, Some(_)) => (Presence::Added, Vec::new(), Vec::new()),
            (Some(_), None) => (Presence::Removed, Vec::new(), Vec::new()),
            (Some(before), Some(after)) => {
                (Presence::Changed, settings::compare(before, after), clients::compare(before, after))
            }
        };
        let silent = change == Presence::Changed && settings.is_empty() && clients.is_empty();
        (!silent).then(|| Self { broker: broker.to_owned(), tenant: name.to_owned(), change, settings, clients })
    }
}

#[cfg(test)]
mod tests;
