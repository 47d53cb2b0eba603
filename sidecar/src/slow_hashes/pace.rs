//! How fast this machine makes hashes, so that what one will take can be told before it is made.

use std::time::Duration;

use mqtt_access_core::password::HashCost;

use super::fair::Nanos;

/// As on the machine on which the table of costs was measured.
const FIRST: u64 = 250_000;
/// Ten times faster, and forty times slower.
const BOUNDS: (u64, u64) = (25_000, 10_000_000);
/// What one measurement moves, as a part.
const WEIGHT: u64 = 8;

/// Picoseconds for a unit of work.
#[derive(Debug)]
pub(super) struct Pace(u64);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pace {
    /// What a hash is thought to take.
    pub(super) fn estimate(&self, cost: HashCost) -> Nanos {
        (cost.rounds().saturating_mul(self.0) / 1000).max(1)
    }

    /// Notes what one took.
    pub(super) fn note(&mut self, cost: HashCost, took: Duration) {
        let picos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).saturating_mul(1000);
        let (least, most) = BOUNDS;
        let measured = (picos / cost.rounds().max(1)).clamp(least, most);
        self.0 = (self.0 * (WEIGHT - 1) + measured) / WEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_follow_what_hashes_take_and_stay_sensible() {
        let (mut pace, cost) = (Pace::default(), HashCost::of_bcrypt(10));
        assert_eq!(pace.estimate(cost), 131_072_000);
        (0..100).for_each(|_| pace.note(cost, Duration::from_millis(50)));
        assert!((49_000_000..51_000_000).contains(&pace.estimate(cost)), "{pace:?}");
        (0..100).for_each(|_| pace.note(cost, Duration::from_hours(1)));
        assert!(pace.estimate(cost) <= 5_300_000_000, "{pace:?}");
        (0..100).for_each(|_| pace.note(cost, Duration::ZERO));
        assert!(pace.estimate(cost) >= 13_000_000, "{pace:?}");
    }
}
