//! What is counted. Labels are closed lists: never a name, an error text or a client ID.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::verdict::{Cause, Reason};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::dialect::{About, Dialect};
use crate::store::Snapshot;

/// An enum whose variants are label values.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])+ $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$doc])+ $variant),+ }

        impl $name {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                self.as_str().encode(encoder)
            }
        }
    };
}
pub(crate) use labels;

labels! {
    /// Why a bundle was refused; the last good one stays.
    ReloadFailure {
        /// The first line of a file is not that of a bundle file.
        Header = "Header",
        /// The format version is newer than this program.
        UnknownVersion = "UnknownVersion",
        /// A file is truncated or altered.
        WrongDigest = "WrongDigest",
        /// A shard that the index names is not there.
        ShardMissing = "ShardMissing",
        /// A payload is not what its format version says.
        Payload = "Payload",
        /// A topic is none.
        Topic = "Topic",
        /// The index is another tenant's.
        Foreign = "Foreign",
        /// The revision is older than the one in service.
        RevisionBack = "RevisionBack",
        /// A Secret has not the data it should have.
        NoData = "NoData",
        /// A file cannot be read.
        Unreadable = "Unreadable",
        /// The API server did not give a shard.
        FetchFailed = "FetchFailed",
    }
}

labels! {
    /// Allow or deny.
    VerdictLabel {
        /// It may pass.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }
}

/// The reason of a verdict; `Rule` where a rule gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CauseLabel(Option<Reason>);

impl EncodeLabelValue for CauseLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.map_or("Rule", Reason::as_str).encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    dialect: Dialect,
    action: About,
    verdict: VerdictLabel,
    reason: CauseLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialectLabel {
    dialect: Dialect,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    reason: ReloadFailure,
}

/// All counters of one sidecar.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    seconds: Family<DialectLabel, Histogram, fn() -> Histogram>,
    reload_failures: Family<FailureLabel, Counter>,
    state_failures: Counter,
    log_lines_suppressed: Counter,
    bundles: Gauge,
    conflicting: Gauge,
    devices: Gauge,
    revision: Gauge<u64, AtomicU64>,
    logins: Gauge,
    change_age: Gauge,
    load_age: Gauge,
    loaded: AtomicU64,
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
            log_lines_suppressed: Counter::default(),
            bundles: Gauge::default(),
            conflicting: Gauge::default(),
            devices: Gauge::default(),
            revision: Gauge::default(),
            logins: Gauge::default(),
            change_age: Gauge::default(),
            load_age: Gauge::default(),
            loaded: AtomicU64::default(),
        };
        metrics.register_requests();
        metrics.register_bundles();
        metrics
    }

    fn register_requests(&mut self) {
        let registry = &mut self.registry;
        registry.register("decisions", "Answers to brokers", self.decisions.clone());
        let help = "Time from the head of a request to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.seconds.clone());
        let help = "Denials that were not logged one by one";
        registry.register("log_lines_suppressed", help, self.log_lines_suppressed.clone());
        registry.register("logins", "Entries of the login table", self.logins.clone());
    }

    fn register_bundles(&mut self) {
        let registry = &mut self.registry;
        registry.register("reload_failures", "Bundles that were refused", self.reload_failures.clone());
        let help = "Bundles or logins that could not be kept on disk";
        registry.register("state_failures", help, self.state_failures.clone());
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

    pub(crate) fn decided(&self, dialect: Dialect, action: About, verdict: VerdictLabel, cause: Cause<'_>) {
        let reason = CauseLabel(match cause {
            Cause::Rule(_) => None,
            Cause::Reason(reason) => Some(reason),
        });
        self.decisions.get_or_create(&DecisionLabels { dialect, action, verdict, reason }).inc();
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

    pub(crate) fn line_suppressed(&self) {
        self.log_lines_suppressed.inc();
    }

    pub(crate) fn logins(&self, entries: usize) {
        self.logins.set(i64::try_from(entries).unwrap_or(i64::MAX));
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

    /// Everything in the text format of `OpenMetrics`. Ages are those of this moment.
    pub(crate) fn render(&self, changed: Option<UnixSeconds>, now: UnixSeconds) -> String {
        let loaded = i64::try_from(self.loaded.load(Relaxed)).ok().filter(|loaded| *loaded > 0);
        let age = |since: Option<i64>| since.map_or(-1, |since| now.saturating_sub(since));
        self.change_age.set(age(changed));
        self.load_age.set(age(loaded));
        let mut text = String::new();
        // Writing to a string fails never.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
