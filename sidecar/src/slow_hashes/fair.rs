//! Turns by time spent: start-time fair queueing.
//!
//! Everyone who waits has an account of the time that was spent on it, in virtual nanoseconds. The smallest account is
//! served next and pays for what it gets. Who comes anew, or comes back, begins where the smallest account of those who wait
//! stands: it has saved nothing up while it was away, and owes nothing for what others got meanwhile.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Accounts ahead of the virtual time are remembered. So many are only reached by who comes under ever new names.
const MAX_ACCOUNTS: usize = 1024;

/// A number of virtual nanoseconds.
pub(super) type Nanos = u64;

/// What was spent on each.
#[derive(Debug)]
pub(super) struct Accounts<K> {
    /// The virtual time: where the smallest account of those who wait stands.
    now: Nanos,
    /// Only of those ahead of it.
    spent: HashMap<K, Nanos>,
}

impl<K: Hash + Eq + Clone> Accounts<K> {
    pub(super) fn new() -> Self {
        Self { now: 0, spent: HashMap::new() }
    }

    /// Where the next turn of an account begins.
    pub(super) fn start<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Nanos
    where
        K: Borrow<Q>,
    {
        self.spent.get(key).map_or(self.now, |spent| self.now.max(*spent))
    }

    /// Moves the virtual time to the smallest start of those who wait. It never goes back.
    pub(super) fn move_to(&mut self, smallest: Nanos) {
        self.now = self.now.max(smallest);
        let now = self.now;
        self.spent.retain(|_, spent| *spent > now);
    }

    /// Charges an account.
    pub(super) fn charge(&mut self, key: &K, cost: Nanos) {
        let start = self.start(key);
        self.spent.insert(key.clone(), start.saturating_add(cost));
        if self.spent.len() > MAX_ACCOUNTS {
            let smallest = self.spent.values().copied().min().unwrap_or_default();
            self.move_to(smallest);
        }
    }

    /// Charges an account what its last turn took, instead of what it was thought to take.
    pub(super) fn correct(&mut self, key: &K, thought: Nanos, took: Nanos) {
        if let Some(spent) = self.spent.get_mut(key) {
            *spent = spent.saturating_add(took).saturating_sub(thought);
        } else if took > thought {
            self.charge(key, took.saturating_sub(thought));
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.spent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves the smallest account of those who always wait, and returns what each got.
    fn serve(accounts: &mut Accounts<&'static str>, costs: &[(&'static str, Nanos)], turns: usize) -> Vec<Nanos> {
        let mut got = vec![0; costs.len()];
        for _ in 0..turns {
            let (place, (key, cost)) =
                costs.iter().enumerate().min_by_key(|(_, (key, _))| accounts.start(*key)).unwrap();
            accounts.move_to(accounts.start(*key));
            accounts.charge(key, *cost);
            got[place] += cost;
        }
        got
    }

    #[test]
    fn everyone_gets_the_same_time_whatever_a_turn_costs() {
        let mut accounts = Accounts::new();
        let got = serve(&mut accounts, &[("dear", 1000), ("cheap", 10), ("other", 70)], 10_000);
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(most - least <= 1000, "{got:?}");
    }

    #[test]
    fn nothing_is_saved_up_and_nothing_is_owed() {
        let mut accounts = Accounts::new();
        serve(&mut accounts, &[("alone", 10)], 1000);
        // Who comes anew is served at once, but does not get a thousand turns in a row.
        let got = serve(&mut accounts, &[("alone", 10), ("new", 10)], 100);
        assert_eq!(got, [500, 500]);
    }

    #[test]
    fn what_a_turn_took_is_paid_for() {
        let mut accounts = Accounts::new();
        for _ in 0..100 {
            let first = ["liar", "honest"].into_iter().min_by_key(|key| accounts.start(*key)).unwrap();
            accounts.move_to(accounts.start(first));
            accounts.charge(&first, 10);
            accounts.correct(&first, 10, if first == "liar" { 1000 } else { 10 });
        }
        let ahead = accounts.start("liar").abs_diff(accounts.start("honest"));
        assert!(ahead <= 1000, "{ahead}");
    }

    #[test]
    fn accounts_under_ever_new_names_are_bounded_and_starve_nobody() {
        let mut accounts = Accounts::new();
        accounts.charge(&u32::MAX, 10);
        for number in 0..5000 {
            accounts.charge(&number, 10 + u64::from(number));
        }
        assert!(accounts.len() <= MAX_ACCOUNTS);
        assert!(accounts.start(&u32::MAX) <= accounts.start(&u32::MIN));
    }
}
