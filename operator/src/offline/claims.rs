//! Who owns what among the tenants of manifests (pure): what is published wins, then the older, where manifests can tell.

use std::collections::BTreeSet;
use std::fmt;

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{Claims, UnixSeconds};
use mqtt_access_core::claims::{self, Claimant, Contest, Outcome, Overlap, Witness, kept};
use mqtt_access_crds::{ConditionReason as _, MqttTenant, TenantIsolated};

use super::before::{Past, Published};
use crate::compile::{Seniority, created, wanted_claims};
use crate::finding::Told;
use crate::manifest::Objects;

/// A name that two objects want, and nothing tells which of them had it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    what: String,
    objects: Vec<String>,
}

impl Collision {
    /// `field` is where the objects say it.
    pub(super) fn new(what: String, kind: &str, field: &str, names: &[(&str, &str)], objects: &Objects) -> Self {
        let shown = |(namespace, name): &(&str, &str)| {
            let place = objects.place(kind, namespace, name);
            let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
            format!("{kind} {namespace}/{name} ({field}{place})")
        };
        Self { what, objects: names.iter().map(shown).collect() }
    }
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is wanted by {}", self.what, self.objects.join(" and by "))
    }
}

/// What a tenant owns.
pub(super) struct Owned {
    pub(super) claims: Claims,
    pub(super) created: UnixSeconds,
    /// The filters that are denied to its clients, since an older tenant owns them alone.
    pub(super) withheld: Vec<String>,
    /// What is not as its manifest says.
    pub(super) told: Vec<Told>,
}

/// What became of the tenants of a broker, in their order; the error says why one owns nothing.
pub(super) struct Decided {
    pub(super) tenants: Vec<Result<Owned, String>>,
    pub(super) collisions: Vec<Collision>,
}

struct Known<'t> {
    namespace: String,
    name: String,
    created: UnixSeconds,
    published: Option<&'t Published>,
    wanted: Claims,
}

impl Known<'_> {
    fn claimant<'k>(&'k self, wanted: Option<&'k Claims>) -> Claimant<'k> {
        let Self { namespace, name, created, published, .. } = self;
        Claimant { created: *created, namespace, name, published: published.map(|it| &it.claims), wanted }
    }

    fn kept(&self) -> Option<Claims> {
        Some(kept(&self.published?.claims, Some(&self.wanted)).into_owned())
    }

    fn shown(&self) -> String {
        format!("MqttTenant {}/{}", self.namespace, self.name)
    }
}

/// Decides for the tenants of a broker.
pub(super) fn decide(tenants: &[&MqttTenant], dollar_topics: bool, past: Past<'_>, objects: &Objects) -> Decided {
    let known: Vec<Known<'_>> = tenants.iter().map(|tenant| self::known(tenant, dollar_topics, past)).collect();
    let contests = match past.seniority {
        Seniority::Known => Vec::new(),
        Seniority::Unknown => {
            claims::contests(&known.iter().map(|tenant| tenant.claimant(Some(&tenant.wanted))).collect::<Vec<_>>())
        }
    };
    let contested: BTreeSet<usize> = contests.iter().flat_map(|contest| contest.tenants).collect();
    // Who wants what nobody gets has what it had.
    let wanted: Vec<Option<Claims>> = known
        .iter()
        .enumerate()
        .map(|(place, tenant)| if contested.contains(&place) { tenant.kept() } else { Some(tenant.wanted.clone()) })
        .collect();
    let claimants: Vec<Claimant<'_>> =
        known.iter().zip(&wanted).map(|(tenant, wanted)| tenant.claimant(wanted.as_ref())).collect();
    let mut owned: Vec<Result<(Claims, Vec<String>), String>> = Vec::new();
    for ((place, tenant), outcome) in known.iter().enumerate().zip(claims::resolve(&claimants)) {
        let refusal = contests.iter().find_map(|contest| contested_by(contest, place, &known));
        owned.push(match (outcome, refusal) {
            (Outcome::Refused(collision), _) => Err(held(&known, &collision)),
            (Outcome::Granted, None) => Ok((tenant.wanted.clone(), Vec::new())),
            (Outcome::Granted | Outcome::Kept(_), Some(refusal)) => {
                tenant.kept().map(|claims| (claims, vec![refusal.clone()])).ok_or(refusal)
            }
            (Outcome::Kept(collision), None) => {
                let refusal = collision.map(|collision| held(&known, &collision)).unwrap_or_default();
                tenant.kept().map(|claims| (claims, vec![refusal.clone()])).ok_or(refusal)
            }
        });
    }
    let collisions = contests.iter().map(|contest| collision(contest, &known, objects)).collect();
    Decided { tenants: with_consent(&known, owned), collisions }
}

fn known<'t>(tenant: &MqttTenant, dollar_topics: bool, past: Past<'t>) -> Known<'t> {
    let (namespace, name) = (tenant.namespace().unwrap_or_default(), tenant.name_any());
    let published = past.before.get(&namespace, &name);
    let created = match past.seniority {
        Seniority::Known => created(tenant),
        Seniority::Unknown => published.map_or(past.now, |published| published.created),
    };
    Known { namespace, name, created, published, wanted: wanted_claims(tenant, dollar_topics) }
}

/// Here the reader sees all the manifests, so the holder may be named.
fn held(known: &[Known<'_>], collision: &claims::Collision) -> String {
    let holder = known.get(collision.holder).map(Known::shown).unwrap_or_default();
    format!("{holder} holds the {}; change one of the claims", collision.witness)
}

fn contested_by(contest: &Contest, place: usize, known: &[Known<'_>]) -> Option<String> {
    let [one, other] = contest.tenants;
    let other = if one == place { other } else { Some(one).filter(|_| other == place)? };
    let other = known.get(other).map(Known::shown).unwrap_or_default();
    Some(format!(
        "{other} wants the {} too, neither was published with it, and nothing tells which of them is older, so both are refused; \
         change one of the claims",
        contest.witness
    ))
}

fn collision(contest: &Contest, known: &[Known<'_>], objects: &Objects) -> Collision {
    let field = match contest.witness {
        Witness::InstanceId(_) => "spec.instanceId",
        Witness::ClientId(_) => "spec.clientIdPrefixes",
        Witness::Topic(_) => "spec.topicSpace",
    };
    let tenants = contest.tenants.iter().filter_map(|place| known.get(*place));
    let names: Vec<(&str, &str)> = tenants.map(|tenant| (tenant.namespace.as_str(), tenant.name.as_str())).collect();
    Collision::new(format!("the {}", contest.witness), "MqttTenant", field, &names, objects)
}

/// Adds what follows from consent that was withdrawn, and tells both sides.
fn with_consent(known: &[Known<'_>], owned: Vec<Result<(Claims, Vec<String>), String>>) -> Vec<Result<Owned, String>> {
    let in_force: Vec<Claimant<'_>> = known
        .iter()
        .zip(&owned)
        .map(|(tenant, owned)| Claimant {
            published: owned.as_ref().ok().map(|(claims, _)| claims),
            ..tenant.claimant(None)
        })
        .collect();
    let withheld = claims::withheld(&in_force);
    let consents: Vec<Vec<Told>> = (0..known.len()).map(|place| consent(known, place, &withheld)).collect();
    let tenants = known.iter().zip(owned).zip(withheld).zip(consents);
    let tenants = tenants.map(|(((tenant, owned), withheld), consent)| {
        let (claims, refusals) = owned?;
        let conflict = |why| {
            let reason = TenantIsolated::ClaimConflict.as_str();
            Told::whole("MqttTenant", &tenant.namespace, &tenant.name, reason, why)
        };
        let told = refusals.into_iter().map(conflict).chain(consent).collect();
        let withheld = withheld.into_iter().map(|overlap| overlap.filter).collect();
        Ok(Owned { claims, created: tenant.created, withheld, told })
    });
    tenants.collect()
}

fn consent(known: &[Known<'_>], place: usize, withheld: &[Vec<Overlap>]) -> Vec<Told> {
    let Some(tenant) = known.get(place) else { return Vec::new() };
    let told = |reason: TenantIsolated, message| {
        Told::whole("MqttTenant", &tenant.namespace, &tenant.name, reason.as_str(), message)
    };
    let of = |place: usize| known.get(place).map(Known::shown).unwrap_or_default();
    let denied = withheld.get(place).into_iter().flatten().map(|Overlap { owner, filter, other_filter, witness }| {
        let owner = of(*owner);
        let message = format!(
            "topics of `{other_filter}`, for example `{witness}`, belong to {owner} alone by its `{filter}`, because not both name \
             the other in `sharedWith`; they are denied to the clients of this tenant until both do"
        );
        told(TenantIsolated::ConsentWithdrawn, message)
    });
    let others = withheld.iter().enumerate().flat_map(|(other, overlaps)| overlaps.iter().map(move |it| (other, it)));
    let alone = others.filter(|(_, overlap)| overlap.owner == place).map(|(other, overlap)| {
        let Overlap { filter, witness, .. } = overlap;
        let message = format!(
            "topics of `{filter}`, for example `{witness}`, belong to this tenant alone, because it and {} do not both name the \
             other in `sharedWith`; they are denied to the clients of that tenant",
            of(other)
        );
        told(TenantIsolated::OwnedAlone, message)
    });
    denied.chain(alone).collect()
}
