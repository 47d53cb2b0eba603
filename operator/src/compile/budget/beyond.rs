//! Objects beyond the number of devices or policies that a tenant may have: little more than their names is known.

use mqtt_access_crds::{AclPolicy, DeviceCredential, Effect, Stored};

use super::Age;
use crate::compile::{created, name_of, policy};

/// What is known of the objects that do not fit by their number. They are newer than all that do.
#[derive(Debug, Clone, Default)]
pub struct Beyond {
    /// Devices.
    pub devices: Vec<BeyondDevice>,
    /// Policies.
    pub policies: Vec<BeyondPolicy>,
}

/// A device that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeyondDevice {
    /// Its name.
    pub name: String,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// Its client ID, which stays taken.
    pub client_id: Option<String>,
}

/// A policy of which not even the subjects are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeyondPolicy {
    /// Its name.
    pub name: String,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// Whether it may have a Deny.
    pub denies: bool,
}

impl BeyondDevice {
    pub(in crate::compile) fn age(&self) -> Age {
        (self.created, self.name.clone())
    }
}

impl From<&Stored<DeviceCredential>> for BeyondDevice {
    fn from(device: &Stored<DeviceCredential>) -> Self {
        let client_id = match device.as_result() {
            Ok(device) => device.spec.client_id.clone(),
            Err(broken) => broken.spec_str(&["clientId"]).map(str::to_owned),
        };
        let generation = kube::Resource::meta(device).generation;
        Self { name: name_of(device), created: created(device), generation, client_id }
    }
}

impl From<&Stored<AclPolicy>> for BeyondPolicy {
    fn from(policy: &Stored<AclPolicy>) -> Self {
        let denies = match policy.as_result() {
            Ok(policy) => policy.spec.rules.iter().any(|rule| rule.effect == Effect::Deny),
            Err(broken) => !policy::only_allows(broken),
        };
        let generation = kube::Resource::meta(policy).generation;
        Self { name: name_of(policy), created: created(policy), generation, denies }
    }
}

/// The oldest objects, as many as there may be, and the others; both in the order of their age.
pub(crate) fn within<D>(objects: Vec<D>, limit: u32, age: impl Fn(&D) -> Age) -> (Vec<D>, Vec<D>) {
    let mut objects = objects;
    objects.sort_by_cached_key(age);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(objects.len());
    let beyond = objects.split_off(limit);
    (objects, beyond)
}
