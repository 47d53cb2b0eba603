//! Thousands of secrets with one interval must not all be replaced in the same minute.

use mqtt_access_core::bundle::Digest;

/// Where in the last tenth of an interval a secret is replaced: always the same for one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread(u64);

impl Spread {
    /// Of an owner, by whatever tells him from others for as long as he exists.
    pub(crate) fn new(owner: &str) -> Self {
        let hex = Digest::of(owner.as_bytes());
        Self(hex.as_str().get(..15).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default())
    }

    /// How many seconds before the end of the interval.
    pub(super) fn of(self, interval: i64) -> i64 {
        let tenth = u64::try_from(interval / 10).unwrap_or_default();
        i64::try_from(self.0 % (tenth + 1)).unwrap_or_default()
    }
}
