//! What is counted of tenants, by broker: findings, and whether the tenants are isolated from each other. Labels are the names
//! of brokers in the configuration and closed lists, never names of objects.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt_access_core::bundle::Bundle;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::cache::ObjectKey;
use super::controller::{Context, now};
use crate::compile::{Budget, Reports};
use crate::config::{Broker, Config};
use crate::finding::FindingReason;
use crate::isolation::{self, Isolation, Reach, Violation};
use crate::rotation::Cause;

/// How often isolation is proved anew, where anything has changed.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Since how many seconds a rotation has to be due to be overdue: it is retried, and somebody should look why it fails.
const OVERDUE: i64 = 600;

/// What is counted of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Figures {
    broker: String,
    devices: usize,
    policies: usize,
    findings: BTreeMap<FindingReason, usize>,
    rotations: Rotations,
    limits: Limits,
    reach: Arc<Reach>,
}

impl Figures {
    pub(super) fn of(broker: &Broker, bundle: &Bundle, withheld: &[&str], reports: &Reports) -> Self {
        let mut findings = BTreeMap::new();
        for finding in reports.policies.values().flat_map(|report| &report.findings) {
            *findings.entry(finding.reason).or_default() += 1;
        }
        if reports.shared_client_ids.is_some() {
            *findings.entry(FindingReason::SharedClientIds).or_default() += 1;
        }
        Self {
            broker: broker.name.clone(),
            devices: bundle.devices.len(),
            policies: bundle.policies.len(),
            findings,
            rotations: Rotations::of(reports, now()),
            limits: Limits::of(reports),
            reach: Arc::new(Reach::of(&bundle.tenant, &bundle.policies, withheld.iter().copied())),
        }
    }
}

/// Limits of `spec.limits` that are exceeded, with how many objects are out because of each, and those that nearly are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limits {
    exceeded: BTreeMap<Budget, usize>,
    near: Vec<Budget>,
}

impl Limits {
    fn of(reports: &Reports) -> Self {
        let out = reports.budget.usage.iter().map(|(budget, usage)| (*budget, usage.out)).filter(|(_, out)| *out > 0);
        Self { exceeded: out.collect(), near: reports.budget.near().map(|(budget, _)| budget).collect() }
    }
}

/// How many rotations are at which point.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rotations {
    due: usize,
    overdue: usize,
    overlaps: usize,
}

impl Rotations {
    fn of(reports: &Reports, now: i64) -> Self {
        let keys = reports.access_keys.iter().filter_map(|report| report.rotation.as_ref());
        let devices = reports.devices.values().filter_map(|report| report.rotation.as_ref());
        let mut rotations = Self::default();
        for rotation in keys.chain(devices) {
            let waits = rotation.due_since.map(|since| now.saturating_sub(since));
            rotations.due += usize::from(waits.is_some());
            rotations.overdue += usize::from(waits.is_some_and(|waits| waits > OVERDUE));
            rotations.overlaps += usize::from(rotation.status.previous_valid_until.is_some());
        }
        rotations
    }
}

/// The figures of all tenants, and the metrics made of them.
pub(super) struct Board {
    tenants: Mutex<BTreeMap<ObjectKey, Figures>>,
    changed: AtomicBool,
    /// By broker, the violations that were seen at the last check.
    seen: Mutex<BTreeMap<String, Vec<Violation>>>,
    brokers: Vec<(String, bool)>,
    metrics: Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabel {
    broker: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    broker: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RotationLabels {
    broker: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    broker: String,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    kind: &'static str,
    kept: &'static str,
}

#[derive(Default)]
struct Metrics {
    registry: Registry,
    findings: Family<FindingLabels, Gauge>,
    tenants: Family<BrokerLabel, Gauge>,
    policies: Family<BrokerLabel, Gauge>,
    devices: Family<BrokerLabel, Gauge>,
    exceptions: Family<BrokerLabel, Gauge>,
    withdrawn: Family<BrokerLabel, Gauge>,
    violations: Family<BrokerLabel, Gauge>,
    checked: Family<BrokerLabel, Gauge>,
    acl_closed: Family<BrokerLabel, Gauge>,
    due: Family<BrokerLabel, Gauge>,
    overdue: Family<BrokerLabel, Gauge>,
    overlaps: Family<BrokerLabel, Gauge>,
    rotations: Family<RotationLabels, Counter>,
    over_budget: Family<LimitLabels, Gauge>,
    near_budget: Family<LimitLabels, Gauge>,
    cached: Family<CacheLabels, Gauge>,
    leader: Gauge,
}

impl Metrics {
    fn new() -> Self {
        let mut metrics = Self { registry: Registry::with_prefix("mqtt_access_operator"), ..Self::default() };
        let registry = &mut metrics.registry;
        let help = "What is not in force as written or looks wrong, by reason";
        registry.register("findings", help, metrics.findings.clone());
        registry.register("tenants", "Tenants with a bundle", metrics.tenants.clone());
        registry.register("policies", "Policies in the bundles", metrics.policies.clone());
        registry.register("devices", "Devices in the bundles", metrics.devices.clone());
        let help = "Pairs of filters that two tenants share because both say so";
        registry.register("isolation_exceptions", help, metrics.exceptions.clone());
        let help = "Pairs of filters that two tenants own and not both say so, so that the younger one's clients are refused there";
        registry.register("isolation_withdrawn", help, metrics.withdrawn.clone());
        let help = "What two tenants would both own; anything but 0 is a fault";
        registry.register("isolation_violations", help, metrics.violations.clone());
        let help = "When isolation was last proved, in seconds since 1970; 0 before it was";
        registry.register("isolation_checked_timestamp_seconds", help, metrics.checked.clone());
        let help =
            "Tenants to which an ACL file denies everything, since their rules are too many or have no room in it";
        registry.register("acl_sections_closed", help, metrics.acl_closed.clone());
        registry.register("rotations_due", "Keys and passwords that are about to be replaced", metrics.due.clone());
        let help = "Those that should have been replaced ten minutes ago";
        registry.register("rotations_overdue", help, metrics.overdue.clone());
        let help = "Keys and passwords whose previous one is still accepted";
        registry.register("rotation_overlaps_open", help, metrics.overlaps.clone());
        registry.register("rotations", "Keys and passwords that were replaced, by cause", metrics.rotations.clone());
        let help =
            "Devices, policies or topics that are not in force because a limit of their tenant has no room for them";
        registry.register("over_budget", help, metrics.over_budget.clone());
        let help = "Tenants that use 80 % of a limit or more, and do not exceed it";
        registry.register("near_budget_tenants", help, metrics.near_budget.clone());
        let help = "Devices and policies in the caches: whole, or in outline where their tenant has no place for them";
        registry.register("cached_objects", help, metrics.cached.clone());
        let help = "Whether this replica reconciles: 1 in one of them, 0 in those that stand by, which count nothing else here";
        registry.register("leader", help, metrics.leader.clone());
        metrics
    }
}

impl Board {
    pub(super) fn new(config: &Config) -> Self {
        let brokers = config.brokers.iter().map(|broker| (broker.name.clone(), broker.allow_dollar_topics)).collect();
        let board = Self {
            tenants: Mutex::default(),
            changed: AtomicBool::new(true),
            seen: Mutex::default(),
            brokers,
            metrics: Metrics::new(),
        };
        // A series that begins when something is wrong cannot be told from one that is missing.
        for (broker, _) in &board.brokers {
            board.count(broker, &BTreeMap::new());
            board.acl_sections_closed(broker, 0);
            board.isolated(broker, &Isolation::default(), 0);
            Cause::ALL.iter().for_each(|cause| _ = board.rotations(broker, *cause));
        }
        board
    }

    /// This replica reconciles from now on.
    fn leads(&self) {
        self.metrics.leader.set(1);
    }

    pub(super) fn set(&self, key: &ObjectKey, figures: Figures) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.get(key) != Some(&figures) {
            tenants.insert(key.clone(), figures);
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Forgets a tenant that has no bundle any more, or has it at another broker.
    pub(super) fn forget_unless(&self, key: &ObjectKey, broker: Option<&str>) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.get(key).is_some_and(|known| Some(known.broker.as_str()) != broker) {
            tenants.remove(key);
            self.changed.store(true, Ordering::Release);
        }
    }

    /// So many tenants are closed in ACL files.
    pub(super) fn acl_sections_closed(&self, broker: &str, tenants: usize) {
        self.metrics.acl_closed.get_or_create(&BrokerLabel { broker: broker.to_owned() }).set(number(tenants));
    }

    /// How many devices and policies the caches hold, whole and in outline.
    pub(super) fn cached(&self, devices: (usize, usize), policies: (usize, usize)) {
        for (kind, (whole, outlined)) in [("DeviceCredential", devices), ("AclPolicy", policies)] {
            for (kept, count) in [("whole", whole), ("outline", outlined)] {
                self.metrics.cached.get_or_create(&CacheLabels { kind, kept }).set(number(count));
            }
        }
    }

    /// A key or password was replaced.
    pub(super) fn rotated(&self, broker: &str, cause: Cause) {
        self.rotations(broker, cause).inc();
    }

    fn rotations(&self, broker: &str, cause: Cause) -> Counter {
        let labels = RotationLabels { broker: broker.to_owned(), cause: cause.as_str() };
        self.metrics.rotations.get_or_create(&labels).clone()
    }

    pub(super) fn render(&self) -> String {
        let mut body = String::new();
        match text::encode(&mut body, &self.metrics.registry) {
            Ok(()) => body,
            // A `String` takes everything: it cannot happen.
            Err(_) => "# EOF\n".to_owned(),
        }
    }

    /// Counts, and proves isolation of every broker, where anything has changed since the last time.
    fn update(&self, now: i64) {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        for (broker, dollar_topics) in &self.brokers {
            let reaches: Vec<Arc<Reach>> = {
                let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
                self.count(broker, &tenants);
                let own = tenants.values().filter(|figures| figures.broker == *broker);
                own.map(|figures| Arc::clone(&figures.reach)).collect()
            };
            let isolation = isolation::check(reaches.iter().map(AsRef::as_ref), *dollar_topics);
            let isolation = self.confirmed(broker, isolation);
            for violation in &isolation.violations {
                tracing::error!(broker, %violation, "tenants are not isolated");
            }
            self.isolated(broker, &isolation, now);
        }
    }

    /// What is seen once may be a claim that is just changing hands: a violation is one that is seen again.
    fn confirmed(&self, broker: &str, isolation: Isolation) -> Isolation {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.insert(broker.to_owned(), isolation.violations.clone()).unwrap_or_default();
        if !isolation.violations.is_empty() {
            self.changed.store(true, Ordering::Release);
        }
        let violations = isolation.violations.into_iter().filter(|violation| before.contains(violation));
        Isolation { violations: violations.collect(), ..isolation }
    }

    fn count(&self, broker: &str, tenants: &BTreeMap<ObjectKey, Figures>) {
        let label = || BrokerLabel { broker: broker.to_owned() };
        let own: Vec<&Figures> = tenants.values().filter(|figures| figures.broker == broker).collect();
        let Metrics { findings, tenants, policies, devices, due, overdue, overlaps, .. } = &self.metrics;
        self.count_limits(broker, &own);
        let rotations = |of: fn(&Rotations) -> usize| number(own.iter().map(|figures| of(&figures.rotations)).sum());
        due.get_or_create(&label()).set(rotations(|rotations| rotations.due));
        overdue.get_or_create(&label()).set(rotations(|rotations| rotations.overdue));
        overlaps.get_or_create(&label()).set(rotations(|rotations| rotations.overlaps));
        tenants.get_or_create(&label()).set(number(own.len()));
        policies.get_or_create(&label()).set(number(own.iter().map(|figures| figures.policies).sum()));
        devices.get_or_create(&label()).set(number(own.iter().map(|figures| figures.devices).sum()));
        for reason in FindingReason::ALL {
            let labels = FindingLabels { broker: broker.to_owned(), reason: reason.as_str() };
            let count = own.iter().filter_map(|figures| figures.findings.get(reason)).sum();
            findings.get_or_create(&labels).set(number(count));
        }
    }

    fn count_limits(&self, broker: &str, own: &[&Figures]) {
        for budget in Budget::ALL {
            let labels = LimitLabels { broker: broker.to_owned(), limit: budget.as_str() };
            let out = own.iter().filter_map(|figures| figures.limits.exceeded.get(&budget)).sum();
            self.metrics.over_budget.get_or_create(&labels).set(number(out));
            let near = own.iter().filter(|figures| figures.limits.near.contains(&budget)).count();
            self.metrics.near_budget.get_or_create(&labels).set(number(near));
        }
    }

    fn isolated(&self, broker: &str, isolation: &Isolation, now: i64) {
        let label = || BrokerLabel { broker: broker.to_owned() };
        self.metrics.exceptions.get_or_create(&label()).set(number(isolation.exceptions.len()));
        self.metrics.withdrawn.get_or_create(&label()).set(number(isolation.withdrawn.len()));
        self.metrics.violations.get_or_create(&label()).set(number(isolation.violations.len()));
        self.metrics.checked.get_or_create(&label()).set(now);
    }
}

/// Keeps the metrics up to date, beside the reconciles and not within them.
pub(super) async fn check(context: Arc<Context>) {
    context.ready().await;
    // A replica that stands by compiles nothing, so it has nothing to count.
    context.fence.opened().await;
    context.figures.leads();
    loop {
        let board = Arc::clone(&context);
        // A panic of it ends this task, and with it the program, as everywhere.
        if tokio::task::spawn_blocking(move || board.figures.update(now())).await.is_err() {
            return;
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use mqtt_access_core::bundle::{AclDelivery, Claims, Revocations, SessionRules, Space, Tenant};
    use mqtt_access_core::secret::Secret;

    use super::*;

    fn figures(name: &str, filter: &str) -> (ObjectKey, Figures) {
        let tenant = Tenant {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            created: 0,
            claims: Claims {
                instance_id: name.to_owned(),
                client_id_prefixes: vec![format!("{name}-")],
                topic_space: vec![Space { filter: filter.to_owned(), shared_with: Vec::new() }],
            },
            suspended: false,
            client_attributes: BTreeMap::new(),
            access_keys: Vec::new(),
            modes: Vec::new(),
            signature_algorithms: Vec::new(),
            superusers_allowed: false,
            ticket_key: Secret::new(vec![1; 32]),
            scram: None,
            token_max_ttl: None,
            token_revocations: Revocations::default(),
            sessions: SessionRules::default(),
            acl_delivery: AclDelivery::default(),
        };
        let bundle = Bundle { tenant, policies: Vec::new(), devices: Vec::new() };
        let broker = Config::default().brokers.remove(0);
        let mut figures = Figures::of(&broker, &bundle, &[], &Reports::default());
        figures.findings.insert(FindingReason::SelectsNobody, 2);
        figures.limits = Limits { exceeded: [(Budget::DenyTopics, 3)].into(), near: vec![Budget::Globs] };
        (ObjectKey::new("ns", name), figures)
    }

    #[test]
    fn violations_findings_and_tenants_are_counted_and_go_again() {
        let board = Board::new(&Config::default());
        let line = |name: &str, value: &str| format!("mqtt_access_operator_{name}{{broker=\"default\"}} {value}\n");
        assert!(board.render().contains(&line("isolation_violations", "0")), "{}", board.render());
        for (key, figures) in [figures("a", "t/#"), figures("b", "t/1")] {
            board.set(&key, figures);
        }
        board.update(6);
        assert!(board.render().contains(&line("isolation_violations", "0")), "it may be a claim that changes hands");
        board.update(7);
        let told = board.render();
        for expected in
            [line("isolation_violations", "1"), line("tenants", "2"), line("isolation_checked_timestamp_seconds", "7")]
        {
            assert!(told.contains(&expected), "{told}");
        }
        let finding = "findings{broker=\"default\",reason=\"SelectsNobody\"} 4\n";
        assert!(told.contains(finding) && told.contains("reason=\"ShadowedByDeny\"} 0\n"), "{told}");
        for expected in [
            "over_budget{broker=\"default\",limit=\"denyTopics\"} 6\n",
            "over_budget{broker=\"default\",limit=\"devices\"} 0\n",
            "near_budget_tenants{broker=\"default\",limit=\"globs\"} 2\n",
        ] {
            assert!(told.contains(expected), "{told}");
        }
        assert!(!told.contains("\"ns") && !told.contains("\"a\""), "an object is named: {told}");
        board.forget_unless(&ObjectKey::new("ns", "a"), Some("default"));
        board.forget_unless(&ObjectKey::new("ns", "b"), None);
        board.update(8);
        assert!(board.render().contains(&line("isolation_violations", "0")), "{}", board.render());
        board.update(9);
        assert!(board.render().contains(&line("isolation_checked_timestamp_seconds", "8")), "nothing had changed");
    }
}
