//! What a tenant is granted of what it claims: asked of all tenants and all published indexes of its broker.

use mqtt_access_core::bundle::{Claims, UnixSeconds};
use mqtt_access_core::claims::{Claimant, Outcome, Overlap, Witness, kept, resolve, withheld};
use mqtt_access_crds::MqttTenant;

use super::cache::{Cached as _, Group, ObjectKey};
use super::world::World;
use crate::compile::{created, wanted_claims};
use crate::config::Broker;

/// What became of a tenant's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Isolation {
    /// It owns all that it wants.
    Granted(Claims, Unshared),
    /// It owns what it had published; what it wants besides is held by another tenant.
    Kept(Claims, Unshared, Witness),
    /// It owns nothing; another tenant holds what it wants.
    Refused(Witness),
}

/// Topics that a tenant and others own without mutual consent, with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unshared {
    /// Those of older tenants: denied to the clients of this one.
    pub(super) withheld: Vec<(ObjectKey, Overlap)>,
    /// Those of this one: denied to the clients of younger tenants.
    pub(super) owned_alone: Vec<(ObjectKey, Overlap)>,
}

impl Isolation {
    pub(super) fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Granted(claims, _) | Self::Kept(claims, ..) => Some(claims),
            Self::Refused(_) => None,
        }
    }

    pub(super) fn witness(&self) -> Option<&Witness> {
        match self {
            Self::Granted(..) => None,
            Self::Kept(.., witness) | Self::Refused(witness) => Some(witness),
        }
    }

    pub(super) fn unshared(&self) -> Option<&Unshared> {
        match self {
            Self::Granted(_, unshared) | Self::Kept(_, unshared, _) => Some(unshared),
            Self::Refused(_) => None,
        }
    }

    /// The filters that are denied to the tenant's clients, as every sidecar works them out too.
    pub(super) fn withheld(&self) -> Vec<&str> {
        let withheld = self.unshared().into_iter().flat_map(|unshared| &unshared.withheld);
        withheld.map(|(_, overlap)| overlap.filter.as_str()).collect()
    }
}

struct Known {
    key: ObjectKey,
    created: UnixSeconds,
    published: Option<Claims>,
    wanted: Option<Claims>,
}

/// Decides for one tenant; tells who stands in its way in the log only.
pub(super) fn isolation(world: &World, broker: &Broker, key: &ObjectKey, tenant: &MqttTenant) -> Isolation {
    let wanted = wanted_claims(tenant, broker.allow_dollar_topics);
    let known = known(world, broker);
    let claimants: Vec<Claimant<'_>> = known.iter().map(Known::claimant).collect();
    let Some(place) = known.iter().position(|other| other.key == *key) else {
        return Isolation::Refused(Witness::InstanceId(wanted.instance_id));
    };
    let outcome = resolve(&claimants).into_iter().nth(place);
    let published = known.get(place).and_then(|own| own.published.as_ref());
    match (outcome, published) {
        (Some(Outcome::Granted), _) => {
            let unshared = unshared(&known, place, &wanted);
            Isolation::Granted(wanted, unshared)
        }
        (Some(Outcome::Kept(Some(collision))), Some(published)) => {
            let kept = kept(published, Some(&wanted)).into_owned();
            let unshared = unshared(&known, place, &kept);
            Isolation::Kept(kept, unshared, collision.witness)
        }
        (Some(Outcome::Kept(Some(collision)) | Outcome::Refused(collision)), _) => {
            Isolation::Refused(collision.witness)
        }
        (Some(Outcome::Kept(None)) | None, _) => Isolation::Refused(Witness::InstanceId(wanted.instance_id)),
    }
}

/// Once these claims of one tenant are published beside those of the others.
fn unshared(known: &[Known], place: usize, claims: &Claims) -> Unshared {
    let in_force = known.iter().enumerate().map(|(at, known)| {
        let published = if at == place { Some(claims) } else { known.published.as_ref() };
        Claimant { published, wanted: None, ..known.claimant() }
    });
    let of = |at: usize| known.get(at).map(|known| known.key.clone());
    let mut unshared = Unshared::default();
    for (other, overlaps) in withheld(&in_force.collect::<Vec<_>>()).into_iter().enumerate() {
        for overlap in overlaps {
            if other == place {
                unshared.withheld.extend(of(overlap.owner).map(|owner| (owner, overlap)));
            } else if overlap.owner == place {
                unshared.owned_alone.extend(of(other).map(|other| (other, overlap)));
            }
        }
    }
    unshared
}

/// The claims that stand in the index of a tenant.
pub(super) fn published(world: &World, broker: &Broker, key: &ObjectKey) -> Option<Claims> {
    let caches = world.brokers.get(&broker.name)?;
    let index = caches.indexes.group(&Group::Tenant(key.clone())).next()?;
    Some(index.file.as_ref()?.tenant.claims.clone())
}

fn known(world: &World, broker: &Broker) -> Vec<Known> {
    let served = world.tenants.iter().filter_map(|stored| {
        let tenant = world.serves(broker, stored)?;
        let key = stored.key();
        let wanted = Some(wanted_claims(tenant, broker.allow_dollar_topics));
        Some(Known { created: created(tenant), published: published(world, broker, &key), wanted, key })
    });
    let mut known: Vec<Known> = served.collect();
    let present: std::collections::HashSet<ObjectKey> = known.iter().map(|known| known.key.clone()).collect();
    // What is still published stays taken, until its bundle has been removed.
    let indexes = world.brokers.get(&broker.name).into_iter().flat_map(|caches| caches.indexes.iter());
    let left = indexes.filter_map(|index| {
        let tenant = &index.file.as_ref()?.tenant;
        let key = ObjectKey::new(tenant.namespace.clone(), tenant.name.clone());
        let claims = Some(tenant.claims.clone());
        (!present.contains(&key)).then_some(Known { key, created: tenant.created, published: claims, wanted: None })
    });
    known.extend(left.collect::<Vec<_>>());
    known
}

impl Known {
    fn claimant(&self) -> Claimant<'_> {
        Claimant {
            created: self.created,
            namespace: &self.key.namespace,
            name: &self.key.name,
            published: self.published.as_ref(),
            wanted: self.wanted.as_ref(),
        }
    }
}
