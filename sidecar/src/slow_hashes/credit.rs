//! Who has lately used less of the workers' time.
//!
//! Equal turns alone would double the load of a tenant that has hardly any, and its logins would wait for each other. So
//! every tenant earns half of the time of the workers, up to [`MOST`], and pays for what it gets; who has more left goes
//! first. One that asks for all it can get has nothing left: beside it, a tenant that needs less than half waits for the
//! hash that is being made and then only for its own. One that comes back after a rest goes first for no longer than the
//! others did just before.

use std::collections::HashMap;

use super::fair::Nanos;

/// What is saved up, or owed, at most.
const MOST: i64 = 2_000_000_000;

/// What tenants have earned and not spent. None is remembered that has saved up all it can.
#[derive(Debug)]
pub(super) struct Credits {
    workers: usize,
    left: HashMap<Box<str>, (i64, Nanos)>,
}

impl Credits {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, left: HashMap::new() }
    }

    /// Charges a tenant, or gives back what it was charged too much.
    pub(super) fn charge(&mut self, tenant: &str, cost: i64, now: Nanos) {
        let left = self.left(tenant, now).saturating_sub(cost).clamp(-MOST, MOST);
        self.left.insert(tenant.into(), (left, now));
        let workers = self.workers;
        self.left.retain(|_, (left, at)| earned(*left, *at, now, workers) < MOST);
    }

    /// What a tenant has left; less than nothing is owed.
    pub(super) fn left(&self, tenant: &str, now: Nanos) -> i64 {
        self.left.get(tenant).map_or(MOST, |(left, at)| earned(*left, *at, now, self.workers))
    }
}

fn earned(left: i64, at: Nanos, now: Nanos, workers: usize) -> i64 {
    let time = i64::try_from(now.saturating_sub(at)).unwrap_or(MOST);
    let workers = i64::try_from(workers).unwrap_or(1);
    left.saturating_add(time.saturating_mul(workers) / 2).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn who_uses_more_than_half_has_less_left_than_who_uses_less() {
        let mut credits = Credits::new(1);
        for second in 0..60 {
            credits.charge("greedy", 700_000_000, second * SECOND);
            credits.charge("modest", 300_000_000, second * SECOND);
            assert!(credits.left("modest", second * SECOND) > 0);
        }
        assert!(credits.left("greedy", 59 * SECOND) < 0);
        // Debts are bounded, and what is paid is forgotten.
        credits.charge("greedy", i64::MAX, 60 * SECOND);
        assert_eq!(credits.left("greedy", 60 * SECOND), -MOST);
        assert_eq!(credits.left("greedy", 68 * SECOND), MOST);
        credits.charge("other", 1, 100 * SECOND);
        assert_eq!(credits.left.len(), 1);
    }

    #[test]
    fn more_workers_are_more_time_to_share() {
        let mut credits = Credits::new(4);
        for second in 0..60 {
            credits.charge("modest", 1_900_000_000, second * SECOND);
        }
        assert!(credits.left("modest", 60 * SECOND) > 0);
    }
}
