//! `report` (client): conditions of a tenant, its devices and its policies, on success and on failure. Only what differs
//! is written, so that a second reconcile writes nothing.

mod consent;
mod events;
mod objects;
mod outlines;
mod tests_passed;
mod unserved;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use mqtt_access_core::acl_file::{Closed, File, Language, Narrowed};
use mqtt_access_core::bundle::Bundle;
use mqtt_access_core::claims::Witness;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Effect, Policy};
use mqtt_access_crds::{
    AccessKeyStatus, BundleStatus, Condition, ConditionReason as _, DeviceCounts, DeviceReady, MqttTenant,
    MqttTenantStatus, PolicyAccepted, Stored, TenantBudget, TenantIsolated, TenantPublished, TenantReady,
};
use thiserror::Error;
use tokio::time::Instant;

use super::broker_claims::Isolation;
use super::cache::ObjectKey;
use super::controller::{Context, now};
use super::figures::Figures;
use super::publish::Published;
use crate::analysis::{self, Analysis};
use crate::compile::{KeyReport, Reports};
use crate::config::Broker;
use crate::finding::{AclFile, Finding, FindingReason, Place};
pub(super) use tests_passed::{Tested, test};
pub(super) use unserved::{Courtesy, Unserved, note, unserved};
use write::{condition, is_said, write_status};

/// How often the policies of a tenant are analysed anew while only its devices change, and the devices that they select counted.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// Policies that changed are analysed at once, for as long as this is no more than one part in so many of the time.
const SHARE: u32 = 10;

/// Why conditions are not written.
#[derive(Debug, Error)]
#[error("cannot write the status of {kind} `{name}`")]
pub(super) struct ReportError {
    kind: String,
    name: String,
    source: kube::Error,
}

/// Analyses the policies of a tenant, or adds what was found a moment ago about those that have not changed since.
pub(super) fn analyse(
    context: &Context,
    key: &ObjectKey,
    broker: &Broker,
    bundle: &Bundle,
    standing: &Isolation,
    reports: &mut Reports,
) {
    let withheld = standing.withheld();
    let known = context.memory(key, |memory| memory.analysed.clone());
    match known.as_deref().map(|known| (known, known.lasts(bundle, &withheld))).filter(|(_, lasts)| !lasts.is_zero()) {
        Some((known, lasts)) => {
            context.queue.push(key.clone(), lasts);
            known.tell(bundle, reports);
        }
        None => {
            if let Some(analysed) = Analysed::of(key, broker, bundle, &withheld) {
                reports.add(&analysed.analysis);
                context.memory(key, |memory| memory.analysed = Some(Arc::new(analysed)));
            }
        }
    }
    context.figures.set(key, Figures::of(broker, bundle, &withheld, reports));
}

/// Tells of files that have no room for a tenant, where their language was chosen: once, at the first Allow, since it is the same
/// for all.
pub(super) fn crowded_out(broker: &Broker, bundle: &Bundle, files: &BTreeSet<File>, reports: &mut Reports) {
    let allows = bundle.policies.iter().flat_map(|policy| {
        let allows = policy.rules.iter().filter(|rule| rule.effect == Effect::Allow);
        allows.map(move |rule| (policy.name.as_str(), rule.index))
    });
    let Some((policy, rule)) = allows.min() else { return };
    let chosen = |language: &Language| broker.acl_files.as_ref().is_some_and(|chosen| chosen.contains(language));
    let languages: BTreeSet<Language> = files.iter().map(|file| file.language()).filter(chosen).collect();
    let findings = languages.into_iter().map(|language| Finding {
        place: Place::Rule(rule),
        reason: FindingReason::ClosedInAclFile,
        file: Some(AclFile { broker: broker.name.clone(), language }),
        message: format!(
            "clients of the MqttTenant may do nothing by the files of all tenants, here and by any other rule: {}",
            Closed::NoRoom.message()
        ),
    });
    if let Some(report) = reports.policies.get_mut(policy) {
        report.add(findings.collect::<Vec<_>>().iter());
    }
}

/// What was found about a tenant, in which policies, when, and how long it took.
pub(super) struct Analysed {
    hasher: RandomState,
    /// The hash of each policy, by its name: whole ones would be as much again as the bundle.
    policies: HashMap<String, u64>,
    withheld: Vec<String>,
    analysis: Analysis,
    at: Instant,
    took: Duration,
}

impl Analysed {
    fn of(key: &ObjectKey, broker: &Broker, bundle: &Bundle, withheld: &[&str]) -> Option<Self> {
        let begun = Instant::now();
        let narrowed = narrowed(broker, bundle, withheld)?;
        let narrowed = narrowed.iter().map(|(language, narrowed)| (*language, narrowed));
        let analysis = analysis::analyse(&bundle.policies, &analysis::audiences(bundle)?, broker, narrowed);
        if !analysis.complete {
            tracing::warn!(tenant = %key, "the policies are too many to compare them all; some findings are missing");
        }
        let at = Instant::now();
        let hasher = RandomState::new();
        let policies = bundle.policies.iter().map(|policy| (policy.name.clone(), hasher.hash_one(policy))).collect();
        let withheld = withheld.iter().map(ToString::to_string).collect();
        Some(Self { hasher, policies, withheld, analysis, at, took: at.duration_since(begun) })
    }

    /// Whether a policy is as it was.
    fn knows(&self, policy: &Policy) -> bool {
        self.policies.get(&policy.name) == Some(&self.hasher.hash_one(policy))
    }

    /// How much longer it is good enough. A condition says that every rule is in force as written, and of policies that
    /// changed nobody has looked yet.
    fn lasts(&self, bundle: &Bundle, withheld: &[&str]) -> Duration {
        let age = self.at.elapsed();
        let known = self.policies.len() == bundle.policies.len() && bundle.policies.iter().all(|it| self.knows(it));
        let good = if known && self.withheld == withheld { COUNT_EVERY } else { COUNT_EVERY.min(self.took * SHARE) };
        good.saturating_sub(age)
    }

    /// Of a policy that was edited since, nothing is known yet.
    fn tell(&self, bundle: &Bundle, reports: &mut Reports) {
        for policy in &bundle.policies {
            let findings = self.analysis.findings.get(&policy.name).filter(|_| self.knows(policy));
            if let Some((findings, report)) = findings.zip(reports.policies.get_mut(&policy.name)) {
                report.add(findings.iter());
            }
        }
    }
}

/// What the ACL files that were chosen for a broker say less than the rules. The compiler has read every topic, so it cannot fail.
fn narrowed(broker: &Broker, bundle: &Bundle, withheld: &[&str]) -> Option<Vec<(Language, Narrowed)>> {
    if broker.acl_files.as_ref().is_none_or(Vec::is_empty) {
        return Some(Vec::new());
    }
    let index = TenantIndex::new(bundle.clone(), 0).ok()?.withholding(withheld.iter().copied());
    Some(analysis::narrowed(&index, broker, now()))
}

/// A tenant that this operator serves. Tells whether everything was written, or time ran out.
pub(super) async fn served(
    context: &Context,
    key: &ObjectKey,
    tenant: &Arc<MqttTenant>,
    published: Published,
    reports: Reports,
) -> Result<bool, ReportError> {
    let Published { bundle, acl_problem, standing } = published;
    let before = isolated_before(tenant);
    let (total, active) =
        (reports.devices.len(), reports.devices.values().filter(|report| is_active(report.reason)).count());
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let desired = MqttTenantStatus {
        observed_generation: tenant.metadata.generation,
        conditions: served_conditions(tenant, &standing, &reports, acl_problem.as_deref()),
        access_keys: reports.access_keys.iter().map(|report| key_status(tenant, report)).collect(),
        devices: Some(DeviceCounts { total: count(total), active: count(active) }),
        bundle: bundle.map(|(revision, digest)| BundleStatus {
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
            digest: digest.to_string(),
        }),
    };
    write_tenant(context, &Stored::from(tenant.as_ref().clone()), desired).await?;
    events::rotated(context, key).await;
    events::consent(context, key, tenant, before.as_deref(), &standing).await;
    match standing.claims() {
        Some(_) => objects::served(context, key, &reports).await,
        None => objects::homeless(context, key, &Homeless::not_ready()).await.map(|()| true),
    }
}

fn is_active(reason: DeviceReady) -> bool {
    matches!(reason, DeviceReady::Ready | DeviceReady::SuperuserNotAllowed | DeviceReady::HashTooCostly)
}

fn served_conditions(
    tenant: &MqttTenant,
    standing: &Isolation,
    reports: &Reports,
    acl_problem: Option<&str>,
) -> Vec<Condition> {
    let isolated = isolated(tenant, standing);
    let problems_of = |problem: fn(&KeyReport) -> &Option<String>| -> Vec<String> {
        let told = |key: &KeyReport| Some(format!("accessKeys[{}]: {}", key.name, problem(key).as_ref()?));
        reports.access_keys.iter().filter_map(told).collect()
    };
    let (problems, refused) = (problems_of(|key| &key.problem), problems_of(|key| &key.prefix_problem));
    let ready = if let Some(witness) = standing.witness() {
        (TenantReady::ClaimConflict, held_message(witness))
    } else if tenant.spec.suspended {
        (TenantReady::Suspended, "every request is refused because `spec.suspended` is true".to_owned())
    } else if !problems.is_empty() {
        (TenantReady::SecretProblem, problems.join("; "))
    } else if !refused.is_empty() {
        (TenantReady::ClientIdPrefixTaken, refused.join("; "))
    } else {
        let shared = reports.shared_client_ids.iter().map(|shared| format!("; {shared} (SharedClientIds)"));
        (TenantReady::Ready, format!("clients can log in{}", shared.collect::<String>()))
    };
    let published = match standing.claims() {
        Some(_) => {
            let problem = acl_problem.map(|problem| format!("; {problem}")).unwrap_or_default();
            (TenantPublished::Published, format!("sidecars can read the bundle of this generation{problem}"))
        }
        None => (TenantPublished::PublishFailed, "the tenant owns nothing, so there is nothing to publish".to_owned()),
    };
    let (within, told) = match standing.claims() {
        Some(_) => reports.budget.condition(),
        None => (TenantBudget::NotServed, "nothing is published, so nothing is counted".to_owned()),
    };
    vec![
        condition(tenant, ready.0, ready.1),
        isolated,
        condition(tenant, published.0, published.1),
        condition(tenant, within, told),
    ]
}

/// The reason of `Isolated` in the status as it was read.
fn isolated_before(tenant: &MqttTenant) -> Option<String> {
    let mut conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|known| known.type_ == TenantIsolated::CONDITION).map(|known| known.reason.clone())
}

fn isolated(tenant: &MqttTenant, standing: &Isolation) -> Condition {
    match standing.witness() {
        None => {
            let (reason, message) = consent::standing(standing);
            condition(tenant, reason, message)
        }
        Some(witness @ Witness::ClientId(_)) if tenant.spec.client_id_prefixes.is_empty() => {
            condition(tenant, TenantIsolated::PrefixRequired, held_message(witness))
        }
        Some(witness) => {
            let unshared = match consent::standing(standing) {
                (TenantIsolated::NoConflict, _) => String::new(),
                (_, message) => format!(". {message}"),
            };
            condition(tenant, TenantIsolated::ClaimConflict, held_message(witness) + &unshared)
        }
    }
}

/// The loser is told what, and not by whom: that is in the operator's log.
fn held_message(witness: &Witness) -> String {
    format!("another tenant of the broker holds the {witness}; change the claim, or agree on `sharedWith` for topics")
}

/// A Secret that is lost is remembered: a new key is never made in its place by itself.
fn key_status(tenant: &MqttTenant, report: &KeyReport) -> AccessKeyStatus {
    let known = tenant.status.iter().flat_map(|status| &status.access_keys).find(|known| known.name == report.name);
    let secret_name = report.secret_name.clone().or_else(|| known?.secret_name.clone());
    let before = known.and_then(|known| known.rotation.as_ref());
    let rotation = report.rotation.as_ref().map(|report| objects::rotation(report, before));
    AccessKeyStatus { name: report.name.clone(), id: report.id.clone(), secret_name, rotation }
}

/// A reconcile that failed: what is in force stays, and the tenant says so.
pub(super) async fn failed(context: &Context, tenant: &Arc<MqttTenant>, error: &str) -> Result<(), ReportError> {
    let before = tenant.status.clone().unwrap_or_default();
    let ready =
        condition(tenant.as_ref(), TenantReady::PublishFailed, format!("the last bundle stays in force: {error}"));
    let published = condition(tenant.as_ref(), TenantPublished::PublishFailed, error.to_owned());
    let desired = MqttTenantStatus { conditions: vec![ready, published], ..before };
    write_tenant(context, &Stored::from(tenant.as_ref().clone()), desired).await
}

/// A tenant that does not decode.
pub(super) async fn undecodable(context: &Context, key: &ObjectKey) -> Result<(), ReportError> {
    let stored = context.world(|world| world.tenants.get(key));
    let broken = stored.as_ref().and_then(|stored| Some((stored, stored.as_result().err()?)));
    if let Some((stored, broken)) = broken {
        let message =
            format!("the object does not decode, so all its clients are refused; correct it: {}", broken.error);
        let ready = condition(stored.as_ref(), TenantReady::Invalid, message);
        let news: Vec<Condition> = [ready].into_iter().filter(|ready| !is_said(stored.as_ref(), ready)).collect();
        _ = write_status(context, stored.as_ref(), &news, serde_json::Map::new()).await?;
    }
    objects::homeless(context, key, &Homeless::not_ready()).await
}

/// Devices and policies that name a tenant which does not exist.
pub(super) async fn orphans(context: &Context, key: &ObjectKey) -> Result<(), ReportError> {
    objects::homeless(context, key, &Homeless::not_found(&key.name)).await
}

/// What devices and policies of a tenant without a bundle are told.
struct Homeless {
    device: DeviceReady,
    policy: PolicyAccepted,
    message: String,
}

impl Homeless {
    fn not_found(tenant: &str) -> Self {
        let message =
            format!("there is no MqttTenant `{tenant}` in this namespace; create it or correct `spec.tenantRef`");
        Self { device: DeviceReady::TenantNotFound, policy: PolicyAccepted::TenantNotFound, message }
    }

    fn not_ready() -> Self {
        let message = "the tenant has no bundle in force; see its conditions".to_owned();
        Self { device: DeviceReady::TenantNotReady, policy: PolicyAccepted::TenantNotServed, message }
    }
}

async fn write_tenant(
    context: &Context,
    tenant: &Stored<MqttTenant>,
    desired: MqttTenantStatus,
) -> Result<(), ReportError> {
    let MqttTenantStatus { observed_generation, conditions, access_keys, devices, bundle } = desired;
    let fields = [
        ("observedGeneration", serde_json::json!(observed_generation)),
        ("accessKeys", serde_json::json!(access_keys)),
        ("devices", serde_json::json!(devices)),
        ("bundle", serde_json::json!(bundle)),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    write_status(context, tenant, &conditions, fields).await.map(drop)
}
