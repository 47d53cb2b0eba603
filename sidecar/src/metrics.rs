//! What is counted. Labels are closed lists: never a name, an error text or a client ID.

mod labels;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::verdict::Cause;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::dialect::{About, Dialect};
use crate::store::Snapshot;

use labels::{CodeLabel, DecisionLabels, DialectLabel, FailureLabel, HashRefusalLabel, TokenCode};
pub(crate) use labels::{HashRefusal, ReloadFailure, VerdictLabel, labels};

/// All counters of one sidecar.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    seconds: Family<DialectLabel, Histogram, fn() -> Histogram>,
    reload_failures: Family<FailureLabel, Counter>,
    state_failures: Counter,
    state_behind: Gauge,
    log_lines_suppressed: Counter,
    bundles: Gauge,
    conflicting: Gauge,
    devices: Gauge,
    revision: Gauge<u64, AtomicU64>,
    logins: Gauge,
    login_bytes: Gauge,
    logins_unsaved: Counter,
    token_refusals: Family<CodeLabel, Counter>,
    slow_hash_seconds: Histogram,
    slow_hash_refusals: Family<HashRefusalLabel, Counter>,
    slow_hashes_waiting: Gauge,
    change_age: Gauge,
    load_age: Gauge,
    loaded: AtomicU64,
    acl_files_written: Counter,
    acl_file_failures: Counter,
    acl_sections_closed: Gauge,
    acl_files_age: Gauge,
    acl_files_agreed: AtomicU64,
}

/// What is in service, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    bundles: i64,
    conflicting: i64,
    devices: i64,
    newest_revision: u64,
}

impl Loaded {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let Some(index) = &snapshot.index else {
            return Self::default();
        };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            bundles: number(index.tenants().count()),
            conflicting: number(index.conflicting().count()),
            devices: number(index.tenants().map(TenantIndex::device_count).sum()),
            newest_revision: index.tenants().map(TenantIndex::revision).max().unwrap_or_default(),
        }
    }
}

fn buckets() -> Histogram {
    // 50 microseconds to 5 seconds: a verdict takes less than the first, a body that never ends takes the last.
    Histogram::new([0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("mqtt_access_sidecar"),
            decisions: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            reload_failures: Family::default(),
            state_failures: Counter::default(),
            state_behind: Gauge::default(),
            log_lines_suppressed: Counter::default(),
            bundles: Gauge::default(),
            conflicting: Gauge::default(),
            devices: Gauge::default(),
            revision: Gauge::default(),
            logins: Gauge::default(),
            login_bytes: Gauge::default(),
            logins_unsaved: Counter::default(),
            token_refusals: Family::default(),
            slow_hash_seconds: buckets(),
            slow_hash_refusals: Family::default(),
            slow_hashes_waiting: Gauge::default(),
            change_age: Gauge::default(),
            load_age: Gauge::default(),
            loaded: AtomicU64::default(),
            acl_files_written: Counter::default(),
            acl_file_failures: Counter::default(),
            acl_sections_closed: Gauge::default(),
            acl_files_age: Gauge::default(),
            acl_files_agreed: AtomicU64::default(),
        };
        metrics.register_requests();
        metrics.register_logins();
        metrics.register_bundles();
        metrics.register_acl_files();
        metrics
    }

    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register("decisions", "Answers to brokers", self.decisions.clone());
        let help = "Time from the head of a request to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.seconds.clone());
        let help = "Denials that were not logged one by one";
        registry.register("log_lines_suppressed", help, self.log_lines_suppressed.clone());
    }

    fn register_logins(&mut self) {
        let registry = &mut self.registry;
        registry.register("logins", "Entries of the login table", self.logins.clone());
        let help = "Room that the login table takes, marks of sessions included";
        registry.register_with_unit("login_table", help, Unit::Bytes, self.login_bytes.clone());
        let help = "Changes of the login table that are not on disk: a restart forgets them";
        registry.register("logins_unsaved", help, self.logins_unsaved.clone());
        let help = "Refusals of token clients, by ApsaraMQ's codes";
        registry.register("token_refusals", help, self.token_refusals.clone());
        let help = "Time to compare a password with a slow hash, waiting aside";
        registry.register_with_unit("slow_hash_duration", help, Unit::Seconds, self.slow_hash_seconds.clone());
        let help = "Passwords that were not compared with their slow hashes";
        registry.register("slow_hash_refusals", help, self.slow_hash_refusals.clone());
        let help = "Passwords that wait to be compared with their slow hashes";
        registry.register("slow_hashes_waiting", help, self.slow_hashes_waiting.clone());
    }

    fn register_bundles(&mut self) {
        let registry = &mut self.registry;
        registry.register("reload_failures", "Bundles that were refused", self.reload_failures.clone());
        let help = "Bundles or logins that could not be kept on disk";
        registry.register("state_failures", help, self.state_failures.clone());
        let help = "1 while a restart without the source would deny everything: what is in force is not saved";
        registry.register("state_behind", help, self.state_behind.clone());
        registry.register("bundles", "Bundles in service", self.bundles.clone());
        let help = "Bundles refused because an older tenant holds what they claim";
        registry.register("bundles_conflicting", help, self.conflicting.clone());
        registry.register("devices", "Devices in the bundles in service", self.devices.clone());
        registry.register("bundle_newest_revision", "The newest revision in service", self.revision.clone());
        let help = "Time since what is in service last changed; -1 before there is anything";
        registry.register_with_unit("bundle_change_age", help, Unit::Seconds, self.change_age.clone());
        let help = "Time since a source was last read with success; -1 before it was";
        registry.register_with_unit("bundle_load_age", help, Unit::Seconds, self.load_age.clone());
    }

    fn register_acl_files(&mut self) {
        let registry = &mut self.registry;
        registry.register("acl_files_written", "ACL files that were replaced", self.acl_files_written.clone());
        let help = "Attempts to write ACL files that failed";
        registry.register("acl_file_failures", help, self.acl_file_failures.clone());
        let help =
            "Tenants to which an ACL file denies everything, since their rules are too many or not worked out yet";
        registry.register("acl_sections_closed", help, self.acl_sections_closed.clone());
        let help = "Time since the ACL files were last seen to say what is in service; -1 before they did";
        registry.register_with_unit("acl_files_age", help, Unit::Seconds, self.acl_files_age.clone());
    }

    pub(crate) fn decided(&self, dialect: Dialect, action: About, verdict: VerdictLabel, cause: Cause<'_>) {
        self.decisions.get_or_create(&DecisionLabels { dialect, action, verdict, reason: cause.into() }).inc();
    }

    pub(crate) fn took(&self, dialect: Dialect, seconds: f64) {
        self.seconds.get_or_create(&DialectLabel { dialect }).observe(seconds);
    }

    pub(crate) fn reload_failed(&self, reason: ReloadFailure) {
        self.reload_failures.get_or_create(&FailureLabel { reason }).inc();
    }

    pub(crate) fn state_failed(&self) {
        self.state_failures.inc();
    }

    pub(crate) fn state_behind(&self, behind: bool) {
        self.state_behind.set(i64::from(behind));
    }

    pub(crate) fn line_suppressed(&self) {
        self.log_lines_suppressed.inc();
    }

    pub(crate) fn logins(&self, entries: usize, bytes: usize) {
        self.logins.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.login_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn login_not_saved(&self) {
        self.logins_unsaved.inc();
    }

    pub(crate) fn token_refused(&self, code: i8) {
        self.token_refusals.get_or_create(&CodeLabel { code: TokenCode::of(code) }).inc();
    }

    pub(crate) fn slow_hash_took(&self, seconds: f64) {
        self.slow_hash_seconds.observe(seconds);
    }

    pub(crate) fn slow_hash_refused(&self, reason: HashRefusal) {
        self.slow_hash_refusals.get_or_create(&HashRefusalLabel { reason }).inc();
    }

    pub(crate) fn slow_hashes_waiting(&self, waiting: usize) {
        self.slow_hashes_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub(crate) fn publish(&self, loaded: &Loaded) {
        let Loaded { bundles, conflicting, devices, newest_revision } = loaded;
        self.bundles.set(*bundles);
        self.conflicting.set(*conflicting);
        self.devices.set(*devices);
        self.revision.set(*newest_revision);
    }

    pub(crate) fn loaded(&self, now: UnixSeconds) {
        self.loaded.store(u64::try_from(now).unwrap_or_default(), Relaxed);
    }

    pub(crate) fn acl_file_written(&self) {
        self.acl_files_written.inc();
    }

    pub(crate) fn acl_file_failed(&self) {
        self.acl_file_failures.inc();
    }

    pub(crate) fn acl_sections_closed(&self, tenants: usize) {
        self.acl_sections_closed.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }

    pub(crate) fn acl_files_agree(&self, now: UnixSeconds) {
        self.acl_files_agreed.store(u64::try_from(now).unwrap_or_default(), Relaxed);
    }

    /// Everything in the text format of `OpenMetrics`. Ages are those of this moment.
    pub(crate) fn render(&self, changed: Option<UnixSeconds>, now: UnixSeconds) -> String {
        let last = |at: &AtomicU64| i64::try_from(at.load(Relaxed)).ok().filter(|at| *at > 0);
        let age = |since: Option<i64>| since.map_or(-1, |since| now.saturating_sub(since));
        self.change_age.set(age(changed));
        self.load_age.set(age(last(&self.loaded)));
        self.acl_files_age.set(age(last(&self.acl_files_agreed)));
        let mut text = String::new();
        // Writing to a string fails never.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
