//! `compile`: the objects of one tenant as they are now, to the bundle that is in force and to what each object is told.
//!
//! Pure: the same objects give the same bundle, whatever was there before. A mistake narrows: an Allow that cannot be
//! read or is not owned contributes nothing, a Deny that cannot be read denies everything to those it selects.

mod before;
mod budget;
mod device;
mod exclusive;
mod identity;
mod incumbents;
mod policy;
mod resting;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt_access_core::bundle::{AclDelivery, Bundle, Claims, Device, Spares, UnixSeconds, device_bytes};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram::{self, ScramSettings};
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{
    AclPolicy, ConditionReason as _, DeviceCredential, DeviceReady, MqttTenant, PolicyAccepted, PolicyCompiled,
    RotationStatus, Stored, TenantBudget, TenantReady,
};

use crate::analysis::Analysis;
use crate::finding::{self, Finding, FindingReason, Place, Severity, Told};
use crate::policy_tests::TestOutcome;

pub use before::Before;
pub(crate) use budget::{Age, SPARE_PLACES, age, within};
pub use budget::{Beyond, BeyondDevice, BeyondPolicy, Budget, BudgetReport, Usage};
use budget::{Book, Fit};
pub use device::Contested;
use device::Devices;
pub(crate) use device::{any_wanted_twice, tenant_of as tenant_of_device};
use exclusive::Shares;
pub(crate) use identity::{Identity, LoginBy, Proof};
pub use incumbents::{Incumbents, NameKind};
use policy::Draft;
pub(crate) use policy::tenant_of as tenant_of_policy;
pub use tenant::wanted_claims;

/// Everything that belongs to one tenant, with its secrets.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The tenant.
    pub tenant: Arc<MqttTenant>,
    /// What it owns: never more than was granted.
    pub claims: Claims,
    /// The key under which its tickets are issued.
    pub ticket_key: Secret,
    /// What its broker announces to SCRAM clients.
    pub scram: ScramSettings,
    /// How its broker learns what clients may do.
    pub acl_delivery: AclDelivery,
    /// Seconds in which an expired session may still publish its last will.
    pub will_grace_seconds: u8,
    /// How long its broker keeps the session of a client that is gone, in seconds; 0 where no client ID has to wait for that.
    pub session_expiry: UnixSeconds,
    /// IDs of tokens that the token service has revoked.
    pub revoked_tokens: BTreeSet<String>,
    /// Its access keys, by their names.
    pub access_keys: BTreeMap<String, Key>,
    /// Its devices, by their names.
    pub devices: Vec<(Arc<Stored<DeviceCredential>>, Key)>,
    /// Its policies.
    pub policies: Vec<Arc<Stored<AclPolicy>>>,
    /// Devices and policies that are more than it may have, of which no more is known.
    pub beyond: Beyond,
    /// Who had which client IDs so far; `None` where nothing is published.
    pub before: Option<Arc<Before>>,
    /// Which names its credentials are published with; `None` where no two of them want the same.
    pub incumbents: Option<Arc<Incumbents>>,
    /// Whether the age of its credentials is known.
    pub seniority: Seniority,
}

/// Whether it is known which of several objects is older.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seniority {
    /// An API server wrote `creationTimestamp`.
    #[default]
    Known,
    /// It is what the author of a manifest says, so it decides nothing: what nobody is published with nobody gets.
    Unknown,
}

/// What became of the Secret of a device or an access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// It holds a key.
    Ready {
        /// `accessKeyId` of a Secret brought along; the default otherwise.
        id: Option<String>,
        /// `accessKeySecret`
        secret: Secret,
        /// What is accepted beside it.
        rotated: Box<Rotated<Secret>>,
        /// Name of the Secret.
        secret_name: String,
    },
    /// It holds a password, or a hash of one; of a device only.
    Login {
        /// The SCRAM record, where the device may log in so.
        scram: Option<scram::Keys>,
        /// What its password is compared with, where it may log in so.
        password: Option<Verifier>,
        /// What is accepted beside it.
        rotated: Box<Rotated<Verifier>>,
        /// Name of the Secret.
        secret_name: String,
    },
    /// There is none, or it is of no use.
    Problem {
        /// Which kind of problem.
        reason: KeyProblem,
        /// What to do about it.
        message: String,
    },
}

/// What becomes of a key that is replaced from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated<S> {
    /// What is accepted beside the current one.
    pub spares: Spares<S>,
    /// What its owner is told.
    pub status: RotationStatus,
    /// Since when it should have been replaced.
    pub due_since: Option<UnixSeconds>,
}

// A derived one would ask for a default secret.
impl<S> Default for Rotated<S> {
    fn default() -> Self {
        Self { spares: Spares::default(), status: RotationStatus::default(), due_since: None }
    }
}

/// What is told of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationReport {
    /// What stands in the status.
    pub status: RotationStatus,
    /// Since when the key should have been replaced.
    pub due_since: Option<UnixSeconds>,
}

impl<S> Rotated<S> {
    fn report(&self) -> RotationReport {
        RotationReport { status: self.status.clone(), due_since: self.due_since }
    }
}

impl RotationReport {
    /// When it changes by itself.
    fn next_change(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let RotationStatus { next_rotation_at, previous_valid_until, .. } = &self.status;
        let times = [next_rotation_at, previous_valid_until].into_iter().flatten().map(|time| time.0.as_second());
        times.filter(|at| *at > now).min()
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// The Secret does not exist.
    Missing,
    /// The Secret exists and cannot be used.
    Invalid,
    /// A Secret of the generated name exists and belongs to somebody else.
    NameConflict,
}

/// The outcome of a compile.
#[derive(Debug)]
pub struct Compiled {
    /// What is to be published.
    pub bundle: Bundle,
    /// What to tell each object.
    pub reports: Reports,
}

/// What the objects of a tenant are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    /// The access keys, in the order of the spec.
    pub access_keys: Vec<KeyReport>,
    /// What is told of access keys that share client IDs, where nobody said that they may.
    pub shared_client_ids: Option<String>,
    /// Devices by name.
    pub devices: BTreeMap<String, DeviceReport>,
    /// Policies by name.
    pub policies: BTreeMap<String, PolicyReport>,
    /// Outcomes of the tests of policies, by name, where there are any and they were evaluated.
    pub tests: BTreeMap<String, TestOutcome>,
    /// Names that several credentials want and none of them got.
    pub contested: Vec<Contested>,
    /// How far `spec.limits` are used.
    pub budget: BudgetReport,
    /// When the next credential expires, is replaced, or stops being accepted beside another: that changes its report.
    pub next_change: Option<UnixSeconds>,
}

/// What is told about an access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// Name in `spec.accessKeys`.
    pub name: String,
    /// The AccessKeyId, where there is a key.
    pub id: Option<String>,
    /// The Secret, where there is a key.
    pub secret_name: Option<String>,
    /// What became of rotations, where there is a key.
    pub rotation: Option<RotationReport>,
    /// Why there is none.
    pub problem: Option<String>,
    /// Why it has not all of the client-ID prefixes that it asks for.
    pub prefix_problem: Option<String>,
}

/// What a device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// Reason of the condition `Ready`.
    pub reason: DeviceReady,
    /// Its message.
    pub message: String,
    /// The DeviceAccessKeyId, where there is a key.
    pub key_id: Option<String>,
    /// The login name, where there is a password.
    pub username: Option<String>,
    /// The Secret, where there is a key or password.
    pub secret_name: Option<String>,
    /// What became of rotations, where there is a key or password.
    pub rotation: Option<RotationReport>,
    /// The generation that was compiled; the object may be another one by now.
    pub generation: Option<i64>,
}

/// What a policy is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReport {
    /// Reason of the condition `Accepted`.
    pub accepted: PolicyAccepted,
    /// Its message, which is the same of many that do not fit.
    pub message: Arc<str>,
    /// What is not in force as written, and what looks wrong; of an accepted policy only.
    pub findings: Vec<Finding>,
    /// How many devices it selects, where that was counted.
    pub matched: Option<usize>,
    /// The generation that was compiled; the object may be another one by now.
    pub generation: Option<i64>,
}

impl Reports {
    /// Everything that is not in force as written or looks wrong, with the object it is about.
    pub fn problems(&self, namespace: &str, tenant: &str) -> impl Iterator<Item = Told> {
        let keys = self.access_keys.iter().flat_map(move |key| {
            let problems =
                [(TenantReady::SecretProblem, &key.problem), (TenantReady::ClientIdPrefixTaken, &key.prefix_problem)];
            problems.into_iter().filter_map(move |(reason, problem)| {
                let told = Told::whole("MqttTenant", namespace, tenant, reason.as_str(), problem.clone()?);
                Some(Told { place: Some(format!("accessKeys[{}]", key.name)), ..told })
            })
        });
        let shared = self.shared_client_ids.iter().map(move |message| {
            let reason = FindingReason::SharedClientIds;
            let told = Told::whole("MqttTenant", namespace, tenant, reason.as_str(), message.clone());
            Told { severity: reason.severity(), place: Some("accessKeys".to_owned()), ..told }
        });
        let devices = self.devices.iter().filter(|(_, report)| !report.is_fine());
        let devices = devices.map(move |(name, report)| {
            Told::whole("DeviceCredential", namespace, name, report.reason.as_str(), report.message.clone())
        });
        let policies = self.policies.iter().flat_map(move |(name, report)| {
            let refused = (report.accepted != PolicyAccepted::Accepted).then(|| {
                Told::whole("AclPolicy", namespace, name, report.accepted.as_str(), report.message.to_string())
            });
            refused
                .into_iter()
                .chain(report.findings.iter().map(move |finding| Told::of_policy(namespace, name, finding)))
        });
        let failures = self.tests.values().flat_map(|outcome| &outcome.failures);
        let limits = self.budget_problems(namespace, tenant);
        let failures = failures.map(move |failure| failure.told(namespace));
        keys.chain(shared).chain(limits).chain(devices).chain(policies).chain(failures)
    }

    /// Limits that are exceeded, or nearly.
    fn budget_problems(&self, namespace: &str, tenant: &str) -> impl Iterator<Item = Told> {
        let told = move |severity, reason: TenantBudget, (budget, message): (Budget, String)| {
            let told = Told::whole("MqttTenant", namespace, tenant, reason.as_str(), message);
            Told { severity, place: Some(format!("limits.{}", budget.as_str())), ..told }
        };
        let over = self.budget.exceeded().map(move |over| told(Severity::NotInForce, TenantBudget::OverBudget, over));
        over.chain(self.budget.near().map(move |near| told(Severity::Suspicious, TenantBudget::NearBudget, near)))
    }

    /// Adds what was found about the policies when their bundle was analysed.
    pub fn add(&mut self, analysis: &Analysis) {
        for (name, report) in &mut self.policies {
            // What is not in force as it is written selects nobody as it is written.
            if report.accepted != PolicyAccepted::OverBudget {
                report.matched = Some(analysis.devices.get(name).copied().unwrap_or_default());
            }
            report.add(analysis.findings.get(name).into_iter().flatten());
        }
    }
}

impl PolicyReport {
    /// Adds findings whose topics are numbered as the bundle has them: without those that are not in force.
    pub(crate) fn add<'f>(&mut self, findings: impl Iterator<Item = &'f Finding>) {
        if self.accepted != PolicyAccepted::Accepted {
            return;
        }
        let left_out: BTreeSet<Place> = self.findings.iter().map(|finding| finding.place).collect();
        let written = |place| match place {
            Place::Topic(rule, kept) => {
                let mut in_force =
                    (0..=u32::MAX).map(|topic| Place::Topic(rule, topic)).filter(|place| !left_out.contains(place));
                in_force.nth(usize::try_from(kept).unwrap_or(usize::MAX)).unwrap_or(place)
            }
            _ => place,
        };
        let added = findings.map(|finding| Finding { place: written(finding.place), ..finding.clone() });
        self.findings.extend(added.collect::<Vec<_>>());
        self.findings.sort();
    }

    /// Reason of the condition `Compiled`.
    #[must_use]
    pub fn compiled(&self) -> PolicyCompiled {
        match self.accepted {
            PolicyAccepted::Accepted => finding::outcome(&self.findings),
            _ => PolicyCompiled::NotAccepted,
        }
    }
}

impl DeviceReport {
    /// Whether the device is in force as it was written; a device may be disabled or expired on purpose.
    fn is_fine(&self) -> bool {
        matches!(self.reason, DeviceReady::Ready | DeviceReady::Disabled | DeviceReady::Expired)
    }
}

/// Compiles a tenant. `now` words the reports, and is when a client ID begins to rest whose credential is gone; beyond that, what
/// is in force does not depend on it.
#[must_use]
pub fn compile(gathered: &Gathered, now: UnixSeconds) -> Compiled {
    let shares = Shares::of(gathered);
    let mut book = Book::new(&gathered.tenant.spec.limits);
    let (mut tenant, access_keys) = tenant::compile(gathered, &shares);
    let mut devices = device::compile(gathered, &shares, &mut book, now);
    let (mut drafts, beyond) = policy::compile(gathered, &mut book);
    fit_bytes(&mut book, &mut devices, &mut drafts);
    let mut records = devices.records();
    tenant.sessions.resting = resting::rest(gathered, &mut records, &mut devices, now);
    if devices.keys_closed {
        tenant.access_keys.iter_mut().for_each(|key| key.disabled = true);
    }
    let settled = policy::settle(drafts, &beyond, &mut book);
    let next_changes = access_keys.iter().filter_map(|key| key.rotation.as_ref()?.next_change(now));
    let reports = Reports {
        next_change: next_changes.chain(devices.next_change).min(),
        access_keys,
        shared_client_ids: exclusive::shared(&gathered.tenant.spec),
        devices: devices.reports,
        contested: devices.contested,
        policies: settled.reports,
        tests: BTreeMap::new(),
        budget: BudgetReport {
            keys_closed: devices.keys_closed,
            tenant_closed: settled.tenant_closed,
            ..book.report()
        },
    };
    Compiled { bundle: Bundle { tenant, policies: settled.policies, devices: records }, reports }
}

/// Measures records, devices and policies alike, in the order of their age. What is already out by its number is not measured.
fn fit_bytes(book: &mut Book, devices: &mut Devices, drafts: &mut [Draft]) {
    let by_number = Fit::Not(Budget::Policies);
    let mut policies = drafts.iter_mut().filter(|draft| draft.fit != by_number).peekable();
    let mut fits_policies_until = |book: &mut Book, age: Option<&Age>| {
        while let Some(draft) = policies.next_if(|draft| age.is_none_or(|age| draft.age < *age)) {
            if !book.take(Budget::BundleBytes, draft.bytes) && !matches!(draft.fit, Fit::Not(_)) {
                draft.fit = Fit::Not(Budget::BundleBytes);
            }
        }
    };
    let records: Vec<(Age, Device)> = std::mem::take(&mut devices.devices);
    for (age, device) in records {
        fits_policies_until(book, Some(&age));
        if book.take(Budget::BundleBytes, device_bytes(&device)) {
            devices.devices.push((age, device));
        } else {
            devices.shrink(device);
        }
    }
    fits_policies_until(book, None);
}

fn name_of(object: &impl kube::ResourceExt) -> String {
    object.name_any()
}

/// Seconds since 1970 of an object's creation; 0 where a manifest does not tell.
#[must_use]
pub fn created(object: &impl kube::Resource) -> UnixSeconds {
    object.meta().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
