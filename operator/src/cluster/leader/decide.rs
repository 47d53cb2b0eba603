//! What a replica does about a Lease that it has seen (pure).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use crate::config::LeaderElection;

/// How long everything takes: the proportions of Kubernetes' own components, 15, 10 and 2 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// How long others wait for a holder that says nothing.
    pub(super) lease: Duration,
    /// How long the holder leads after it asked for a renewal that was granted.
    pub(super) renew: Duration,
    /// From one renewal to the next.
    pub(super) retry: Duration,
    /// How long one request may take: a connection that hangs must leave time for another.
    pub(super) attempt: Duration,
}

impl Timing {
    pub(super) fn of(lease: Duration) -> Self {
        let renew = lease * 2 / 3;
        Self { lease, renew, retry: lease * 2 / 15, attempt: renew / 2 }
    }
}

/// A Lease as this replica saw it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// `None` where there is none.
    pub(super) lease: Option<Lease>,
    /// `None` where nobody holds it.
    holder: Option<String>,
    lasts: Duration,
    /// When this replica saw that it had changed, by its own clock.
    since: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody holds it, or its holder has not renewed it for as long as it lasts.
    Take,
    /// Somebody holds it until then, unless it changes.
    Wait(Instant),
}

impl Seen {
    /// What is known after an answer of the API server that was here at `now`.
    pub(super) fn next(before: Option<&Self>, found: Option<Lease>, timing: Timing, now: Instant) -> Self {
        let Some(lease) = found else {
            // Whoever held a Lease that somebody deleted may not know yet, and goes on for as long as it would have lasted.
            return match before {
                Some(before) => Self { lease: None, ..before.clone() },
                None => Self { lease: None, holder: None, lasts: timing.lease, since: now },
            };
        };
        let version = |lease: &Lease| (lease.metadata.uid.clone(), lease.metadata.resource_version.clone());
        if let Some(before) = before.filter(|before| before.lease.as_ref().map(version) == Some(version(&lease))) {
            return before.clone();
        }
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let said = lease.spec.as_ref().and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        let lasts = Duration::from_secs(said.unwrap_or_default()).clamp(timing.lease, LeaderElection::LONGEST);
        Self { lease: Some(lease), holder: holder.filter(|holder| !holder.is_empty()), lasts, since: now }
    }
}

pub(super) fn decide(identity: &str, seen: &Seen, now: Instant) -> Step {
    match &seen.holder {
        None => Step::Take,
        // Taken by a request of this replica whose answer was lost.
        Some(holder) if holder == identity => Step::Take,
        Some(_) if now >= seen.since + seen.lasts => Step::Take,
        Some(_) => Step::Wait(seen.since + seen.lasts),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const ME: &str = "me";

    fn timing() -> Timing {
        Timing::of(Duration::from_secs(15))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: &str, lasts: i32, version: &str) -> Lease {
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(lasts),
            // A clock far behind, or far ahead, says nothing.
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn seen(before: Option<&Seen>, found: Option<Lease>, now: Instant) -> Seen {
        Seen::next(before, found, timing(), now)
    }

    #[test]
    fn the_proportions_are_those_of_kubernetes() {
        let timing = timing();
        assert_eq!((timing.lease, timing.renew, timing.retry), (seconds(15), seconds(10), seconds(2)));
        for lease in [3, 15, 300] {
            let Timing { lease, renew, retry, attempt } = Timing::of(seconds(lease));
            assert!(renew + retry < lease && retry + attempt < renew, "{lease:?}");
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(decide(ME, &seen(None, None, now), now), Step::Take);
        assert_eq!(decide(ME, &seen(None, Some(lease("", 15, "1")), now), now), Step::Take);
        assert_eq!(decide(ME, &seen(None, Some(lease(ME, 15, "1")), now), now), Step::Take);
        let unsaid = Some(Lease::default());
        assert_eq!(decide(ME, &seen(None, unsaid, now), now), Step::Take);
    }

    #[test]
    fn expiry_is_counted_from_the_last_change_that_was_seen_here() {
        let start = Instant::now();
        let first = seen(None, Some(lease("other", 15, "1")), start);
        assert_eq!(decide(ME, &first, start), Step::Wait(start + seconds(15)), "whatever `renewTime` says");
        let again = seen(Some(&first), Some(lease("other", 15, "1")), start + seconds(9));
        assert_eq!(again, first, "the same version again is no renewal");
        let renewed = seen(Some(&first), Some(lease("other", 15, "2")), start + seconds(14));
        assert_eq!(decide(ME, &renewed, start + seconds(15)), Step::Wait(start + seconds(29)));
        assert_eq!(decide(ME, &renewed, start + seconds(29)), Step::Take);
    }

    #[test]
    fn the_holder_says_how_long_within_reason() {
        let start = Instant::now();
        for (said, lasts) in [(60, 60), (1, 15), (0, 15), (-5, 15), (i32::MAX, 300)] {
            let seen = seen(None, Some(lease("other", said, "1")), start);
            assert_eq!(decide(ME, &seen, start), Step::Wait(start + seconds(lasts)), "{said}");
        }
    }

    #[test]
    fn a_deleted_lease_is_waited_out() {
        let start = Instant::now();
        let held = seen(None, Some(lease("other", 15, "1")), start);
        let deleted = seen(Some(&held), None, start + seconds(1));
        assert_eq!(decide(ME, &deleted, start + seconds(2)), Step::Wait(start + seconds(15)));
        assert_eq!((decide(ME, &deleted, start + seconds(15)), deleted.lease), (Step::Take, None));
        let released = seen(None, Some(lease("", 1, "2")), start);
        let deleted = seen(Some(&released), None, start);
        assert_eq!(decide(ME, &deleted, start), Step::Take);
    }
}
