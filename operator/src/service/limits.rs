//! How often a caller may ask: one token bucket for each caller and kind of question.
//!
//! The figures are ApsaraMQ's. Callers have proved who they are before they get a bucket, except those whose bearer
//! token Kubernetes is asked about: they have one for each address. Several replicas count each for itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From this many buckets on, those that are full again are forgotten at each question.
const MANY: usize = 4096;

/// A kind of question, counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Issuing a token.
    Apply,
    /// Asking what a token is worth.
    Query,
    /// Revoking a token.
    Revoke,
    /// Anything about devices.
    Device,
    /// Asking Kubernetes who a bearer token is: counted by where it comes from, for its holder is not known yet.
    Review,
}

impl Kind {
    fn per_second(self) -> u32 {
        match self {
            Self::Apply | Self::Query | Self::Review => 100,
            Self::Revoke => 5,
            Self::Device => 500,
        }
    }
}

/// Why not now: when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooOften(pub(super) Duration);

struct Bucket {
    /// How many more questions may come at once.
    left: f64,
    at: Instant,
}

/// The buckets of all callers.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<(String, Kind), Bucket>>);

impl Limits {
    /// Counts a question, or says when to ask again.
    pub(super) fn count(&self, caller: &str, kind: Kind) -> Result<(), TooOften> {
        let now = Instant::now();
        let rate = f64::from(kind.per_second());
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|(_, kind), bucket| {
                bucket.after(f64::from(kind.per_second()), now) < f64::from(kind.per_second())
            });
        }
        let bucket = buckets.entry((caller.to_owned(), kind)).or_insert(Bucket { left: rate, at: now });
        bucket.left = bucket.after(rate, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(TooOften(Duration::from_secs_f64((1.0 - bucket.left) / rate)));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

impl Bucket {
    fn after(&self, rate: f64, now: Instant) -> f64 {
        (self.left + now.duration_since(self.at).as_secs_f64() * rate).min(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_revocations_a_second_and_then_a_pause_that_is_told() {
        let limits = Limits::default();
        let ask = || limits.count("acme/acme/backend", Kind::Revoke);
        (0..5).for_each(|_| assert_eq!(ask(), Ok(())));
        assert_eq!(ask(), Err(TooOften(Duration::from_millis(200))));
        assert_eq!(limits.count("acme/acme/other", Kind::Revoke), Ok(()));
        assert_eq!(limits.count("acme/acme/backend", Kind::Query), Ok(()));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(ask(), Ok(()));
        assert!(ask().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_ask_no_more_are_forgotten() {
        let limits = Limits::default();
        (0..MANY).for_each(|number| _ = limits.count(&number.to_string(), Kind::Apply));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limits.count("one more", Kind::Apply), Ok(()));
        assert_eq!(limits.0.lock().unwrap().len(), 1);
    }
}
