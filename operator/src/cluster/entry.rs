//! A device or policy as the cache holds it: whole, or, where its tenant has no place for it, in outline.

use std::fmt::Debug;
use std::sync::Arc;

use kube::{Resource, ResourceExt as _};
use mqtt_access_crds::{
    AclPolicy, Condition, ConditionReason as _, DeviceCredential, DeviceReady, PolicyAccepted, Stored,
};

use super::cache::{Cached, Group, ObjectKey, Rank};
use super::world::key_of;
use crate::compile::{self, Age, BeyondDevice, BeyondPolicy, age};

/// A kind of which a tenant has a budget.
pub(super) trait Budgeted: Resource<DynamicType = ()> + Clone + Debug + Sized {
    /// What the compiler needs to know of one that does not fit.
    type Beyond: for<'a> From<&'a Stored<Self>> + Clone + Debug;

    /// The condition that says whether it is in force.
    const CONDITION: &'static str;

    fn tenant_of(stored: &Stored<Self>) -> Option<String>;

    /// The Secret that it refers to.
    fn secret_of(stored: &Stored<Self>) -> Option<String>;

    fn conditions(stored: &Stored<Self>) -> Vec<Condition>;
}

#[derive(Debug, Clone)]
pub(super) enum Entry<K: Budgeted> {
    Whole(Arc<Stored<K>>),
    Outline(Box<Outline<K::Beyond>>),
}

/// What is kept of an object that has no place.
#[derive(Debug, Clone)]
pub(super) struct Outline<B> {
    key: ObjectKey,
    tenant: Option<ObjectKey>,
    age: Age,
    leaves: bool,
    /// The reason of its condition, where that is about its present generation.
    pub(super) told: Option<String>,
    pub(super) beyond: B,
}

impl<K: Budgeted> Entry<K> {
    pub(super) fn whole(&self) -> Option<&Arc<Stored<K>>> {
        match self {
            Self::Whole(stored) => Some(stored),
            Self::Outline(_) => None,
        }
    }

    /// The object, where it is here as a whole and decodes.
    pub(super) fn decoded(&self) -> Option<&K> {
        self.whole().and_then(|stored| stored.decoded())
    }

    /// What is kept of one that has no place, unless it is being deleted.
    pub(super) fn outlined(&self) -> Option<&Outline<K::Beyond>> {
        match self {
            Self::Outline(outline) if !outline.leaves => Some(outline),
            Self::Outline(_) | Self::Whole(_) => None,
        }
    }
}

impl<K: Budgeted> From<Stored<K>> for Entry<K> {
    fn from(stored: Stored<K>) -> Self {
        Self::Whole(Arc::new(stored))
    }
}

fn tenant_key<K: Budgeted>(stored: &Stored<K>) -> Option<ObjectKey> {
    Some(ObjectKey::new(key_of(stored.meta()).namespace, K::tenant_of(stored)?))
}

impl<K: Budgeted> Cached for Entry<K> {
    fn key(&self) -> ObjectKey {
        match self {
            Self::Whole(stored) => key_of(stored.meta()),
            Self::Outline(outline) => outline.key.clone(),
        }
    }

    fn groups(&self) -> Vec<Group> {
        match self {
            Self::Whole(stored) => {
                let namespace = stored.namespace().unwrap_or_default();
                let secret = K::secret_of(stored).map(|name| Group::Secret(ObjectKey::new(namespace, name)));
                secret.into_iter().chain(tenant_key(stored).map(Group::Tenant)).collect()
            }
            Self::Outline(outline) => outline.tenant.clone().map(Group::Tenant).into_iter().collect(),
        }
    }

    fn rank(&self) -> Option<Rank> {
        match self {
            Self::Whole(stored) => Some(Rank { tenant: tenant_key(stored)?, age: age(stored.as_ref()), whole: true }),
            Self::Outline(outline) => {
                Some(Rank { tenant: outline.tenant.clone()?, age: outline.age.clone(), whole: false })
            }
        }
    }

    fn outline(&self) -> Option<Self> {
        let stored = self.whole()?;
        let generation = stored.meta().generation;
        let told = K::conditions(stored).into_iter().find(|condition| condition.type_ == K::CONDITION);
        let told = told.filter(|condition| condition.observed_generation == generation);
        Some(Self::Outline(Box::new(Outline {
            key: self.key(),
            tenant: tenant_key(stored),
            age: age(stored.as_ref()),
            leaves: stored.meta().deletion_timestamp.is_some(),
            told: told.map(|condition| condition.reason),
            beyond: K::Beyond::from(stored),
        })))
    }
}

fn conditions_of<K>(stored: &Stored<K>, decoded: impl FnOnce(&K) -> Option<Vec<Condition>>) -> Vec<Condition> {
    let conditions = match stored.as_result() {
        Ok(object) => decoded(object),
        Err(broken) => broken.status.get("conditions").cloned().and_then(|all| serde_json::from_value(all).ok()),
    };
    conditions.unwrap_or_default()
}

impl Budgeted for DeviceCredential {
    type Beyond = BeyondDevice;

    const CONDITION: &'static str = DeviceReady::CONDITION;

    fn tenant_of(stored: &Stored<Self>) -> Option<String> {
        compile::tenant_of_device(stored)
    }

    fn secret_of(stored: &Stored<Self>) -> Option<String> {
        Some(stored.decoded()?.spec.secret_ref.as_ref()?.name.clone())
    }

    fn conditions(stored: &Stored<Self>) -> Vec<Condition> {
        conditions_of(stored, |device| Some(device.status.as_ref()?.conditions.clone()))
    }
}

impl Budgeted for AclPolicy {
    type Beyond = BeyondPolicy;

    const CONDITION: &'static str = PolicyAccepted::CONDITION;

    fn tenant_of(stored: &Stored<Self>) -> Option<String> {
        compile::tenant_of_policy(stored)
    }

    fn secret_of(_: &Stored<Self>) -> Option<String> {
        None
    }

    fn conditions(stored: &Stored<Self>) -> Vec<Condition> {
        conditions_of(stored, |policy| Some(policy.status.as_ref()?.conditions.clone()))
    }
}
