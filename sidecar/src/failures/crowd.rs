//! Sources that many share: those from which many names logged in rightly.

use mqtt_access_core::bundle::UnixSeconds;

/// More names than a household or a machine has.
const FEW: usize = 8;
/// Sessions last, so right logins are rare.
const DAY: UnixSeconds = 24 * 60 * 60;

/// The names that logged in rightly from one source, as digests: no more of them than it takes to tell.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    names: Vec<(u64, UnixSeconds)>,
}

impl Crowd {
    pub(super) fn of(name: u64, now: UnixSeconds) -> Self {
        Self { names: vec![(name, now)] }
    }

    /// Notes a right login.
    pub(super) fn note(&mut self, name: u64, now: UnixSeconds) {
        self.names.retain(|(known, _)| *known != name);
        // The longest ago first.
        if self.names.len() > FEW {
            self.names.remove(0);
        }
        self.names.push((name, now));
    }

    /// Whether more than a few logged in within a day. A time to come, by a clock that was set back, is long ago.
    pub(super) fn is_large(&self, now: UnixSeconds) -> bool {
        self.names.iter().filter(|(_, at)| (0..DAY).contains(&now.saturating_sub(*at))).count() > FEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_few_names_within_a_day_are_a_crowd() {
        let mut crowd = Crowd::of(0, 1000);
        for name in 0..8 {
            crowd.note(name, 1000);
            assert!(!crowd.is_large(1000));
        }
        crowd.note(8, 2000);
        assert!(crowd.is_large(2000) && crowd.is_large(1000 + DAY - 1));
        assert!(!crowd.is_large(1000 + DAY), "eight of them were a day ago");
        assert!(!crowd.is_large(500), "the clock was set back");
        (0..1000).for_each(|name| crowd.note(name, 3000));
        assert_eq!(crowd.names.len(), FEW + 1);
    }
}
