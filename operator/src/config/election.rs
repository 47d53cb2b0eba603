//! Which Lease decides who of several replicas works.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::scope::{is_label, is_subdomain};

/// How long a Lease may last, in seconds. A shorter one is lost to a slow request, a longer one leaves an outage unnoticed.
const SECONDS: RangeInclusive<u32> = 3..=300;

/// One replica of several works, the one that holds the Lease. Left out: this process works, and there must be no other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaderElection {
    /// Where the Lease is; the operator's own namespace when left out.
    pub namespace: Option<String>,
    /// The name of the Lease. Replicas of one operator share it, and no other operator does.
    pub name: String,
    /// How long a replica that is gone without a word stays in charge: 3 to 300.
    pub lease_duration_seconds: u32,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self { namespace: None, name: "mqtt-access-operator".to_owned(), lease_duration_seconds: 15 }
    }
}

impl LeaderElection {
    /// The longest that any Lease is waited for, whatever its holder wrote into it.
    pub(crate) const LONGEST: Duration = Duration::from_secs(*SECONDS.end() as u64);

    pub(crate) fn lease_duration(&self) -> Duration {
        Duration::from_secs(self.lease_duration_seconds.into())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !SECONDS.contains(&self.lease_duration_seconds) {
            return Err(ConfigError::LeaseDuration { from: *SECONDS.start(), to: *SECONDS.end() });
        }
        if !is_subdomain(&self.name) {
            return Err(ConfigError::Name("leaderElection.name".to_owned()));
        }
        if self.namespace.as_deref().is_some_and(|namespace| !is_label(namespace)) {
            return Err(ConfigError::Name("leaderElection.namespace".to_owned()));
        }
        Ok(())
    }
}
