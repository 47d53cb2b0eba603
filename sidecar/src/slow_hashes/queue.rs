//! Who is next: two lanes, in each of which tenants take turns, under one bound.
//!
//! Bounded in all and for each tenant. When there is no room, whoever would hold up others gives way: first what waits in
//! the low lane, then the last of the tenant that has most. An eighth of the places and of the turns is the low lane's own:
//! whoever is guessed at gets in with the right password, even in a storm.

use std::collections::{BTreeMap, VecDeque};

use crate::metrics::labels;

/// Instance ID of the tenant whose place it takes; `None` for client IDs that nobody owns.
pub(super) type Share = Option<Box<str>>;

labels! {
    /// When it is served.
    Priority {
        /// In its tenant's turn.
        Normal = "normal",
        /// When nothing else waits, and every eighth time.
        Low = "low",
    }
}

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In all.
    pub(super) total: usize,
    /// Of one tenant.
    pub(super) tenant: usize,
    /// Of all client IDs that nobody owns.
    pub(super) nobody: usize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The tenant has as many as it may have.
    Share,
    /// No tenant has more than this one.
    Full,
}

/// What waits.
pub(super) struct Queue<J> {
    normal: Lane<J>,
    low: Lane<J>,
    limits: Limits,
    taken: usize,
}

/// One of so many places, and turns, is the low lane's.
const LOW_SHARE: usize = 8;

struct Lane<J> {
    /// None is empty.
    by_share: BTreeMap<Share, VecDeque<J>>,
    /// Whose turn it is; each share that waits stands here once.
    turns: VecDeque<Share>,
}

impl<J> Queue<J> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { normal: Lane::new(), low: Lane::new(), limits, taken: 0 }
    }

    pub(super) fn len(&self, lane: Priority) -> usize {
        match lane {
            Priority::Normal => self.normal.len(),
            Priority::Low => self.low.len(),
        }
    }

    /// Adds a job, and returns the one that gave way to it, if one did.
    pub(super) fn put(&mut self, share: Share, priority: Priority, job: J) -> Result<Option<J>, (NoRoom, J)> {
        let limit = if share.is_some() { self.limits.tenant } else { self.limits.nobody };
        let own = self.normal.count(&share) + self.low.count(&share);
        let pushed_out = if own >= limit {
            match self.make_room_in_share(&share, priority, limit) {
                None => return Err((NoRoom::Share, job)),
                out => out,
            }
        } else if self.normal.len() + self.low.len() >= self.limits.total {
            match self.make_room(priority, own) {
                None => return Err((NoRoom::Full, job)),
                out => out,
            }
        } else {
            None
        };
        let lane = if priority == Priority::Normal { &mut self.normal } else { &mut self.low };
        lane.push(share, job);
        Ok(pushed_out)
    }

    /// The job of a tenant with too many that gives way to another of its own.
    fn make_room_in_share(&mut self, share: &Share, priority: Priority, limit: usize) -> Option<J> {
        let (low, own) = (self.low.count(share), limit / LOW_SHARE);
        match priority {
            Priority::Normal if low > own => self.low.pop_last(share),
            Priority::Low if low < own => self.normal.pop_last(share),
            _ => None,
        }
    }

    /// The job of anybody that gives way to one of a tenant that has so many.
    fn make_room(&mut self, priority: Priority, has: usize) -> Option<J> {
        let (low, own) = (self.low.len(), self.limits.total / LOW_SHARE);
        match priority {
            Priority::Normal if low > own => self.low.pop_of_largest(0),
            Priority::Low if low >= own => None,
            _ => self.normal.pop_of_largest(has + 1),
        }
    }

    /// The next job.
    pub(super) fn take(&mut self) -> Option<J> {
        self.taken = self.taken.wrapping_add(1);
        let low_first = self.taken.is_multiple_of(LOW_SHARE);
        let low = if low_first { self.low.take() } else { None };
        low.or_else(|| self.normal.take()).or_else(|| self.low.take())
    }

    /// Removes jobs that nobody waits for any more.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&J) -> bool) {
        self.normal.retain(&mut wanted);
        self.low.retain(&mut wanted);
    }
}

impl<J> Lane<J> {
    fn new() -> Self {
        Self { by_share: BTreeMap::new(), turns: VecDeque::new() }
    }

    fn len(&self) -> usize {
        self.by_share.values().map(VecDeque::len).sum()
    }

    fn count(&self, share: &Share) -> usize {
        self.by_share.get(share).map_or(0, VecDeque::len)
    }

    fn push(&mut self, share: Share, job: J) {
        if !self.by_share.contains_key(&share) {
            self.turns.push_back(share.clone());
        }
        self.by_share.entry(share).or_default().push_back(job);
    }

    fn take(&mut self) -> Option<J> {
        let share = self.turns.pop_front()?;
        let jobs = self.by_share.get_mut(&share)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.by_share.remove(&share);
        } else {
            self.turns.push_back(share);
        }
        job
    }

    fn pop_last(&mut self, share: &Share) -> Option<J> {
        let job = self.by_share.get_mut(share)?.pop_back();
        self.forget_empty();
        job
    }

    /// The last of the share that has most, if that is more than so many.
    fn pop_of_largest(&mut self, more_than: usize) -> Option<J> {
        let (share, jobs) = self.by_share.iter().max_by_key(|(_, jobs)| jobs.len())?;
        if jobs.len() <= more_than {
            return None;
        }
        let share = share.clone();
        self.pop_last(&share)
    }

    fn retain(&mut self, mut wanted: impl FnMut(&J) -> bool) {
        self.by_share.values_mut().for_each(|jobs| jobs.retain(&mut wanted));
        self.forget_empty();
    }

    fn forget_empty(&mut self) {
        self.by_share.retain(|_, jobs| !jobs.is_empty());
        self.turns.retain(|share| self.by_share.contains_key(share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { total: 16, tenant: 8, nobody: 2 };

    fn of(tenant: &str) -> Share {
        Share::from(Box::from(tenant))
    }

    fn len(queue: &Queue<String>) -> usize {
        queue.len(Priority::Normal) + queue.len(Priority::Low)
    }

    fn flood(queue: &mut Queue<String>, tenant: &str, priority: Priority, count: usize) -> usize {
        let put = |number: &usize| queue.put(of(tenant), priority, format!("{tenant}{number}")).is_ok();
        (0..count).filter(put).count()
    }

    fn drain(queue: &mut Queue<String>) -> Vec<String> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn tenants_take_turns_and_each_is_served_in_order() {
        let mut queue = Queue::new(LIMITS);
        flood(&mut queue, "a", Priority::Normal, 4);
        flood(&mut queue, "b", Priority::Normal, 2);
        flood(&mut queue, "c", Priority::Normal, 1);
        assert_eq!(drain(&mut queue), ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]);
        assert_eq!((len(&queue), queue.take()), (0, None));
    }

    #[test]
    fn the_low_lane_is_served_when_nothing_else_waits() {
        let mut queue = Queue::new(LIMITS);
        flood(&mut queue, "a", Priority::Low, 2);
        flood(&mut queue, "b", Priority::Normal, 2);
        assert_eq!(drain(&mut queue), ["b0", "b1", "a0", "a1"]);
    }

    #[test]
    fn a_tenant_and_client_ids_of_nobody_have_their_shares() {
        let mut queue = Queue::new(LIMITS);
        assert_eq!(flood(&mut queue, "a", Priority::Normal, 20), 8);
        assert_eq!(queue.put(of("a"), Priority::Normal, String::new()), Err((NoRoom::Share, String::new())));
        let nobody = (0..5).filter(|_| queue.put(None, Priority::Normal, String::new()).is_ok()).count();
        assert_eq!(nobody, 2);
        assert_eq!(flood(&mut queue, "b", Priority::Normal, 1), 1);
    }

    #[test]
    fn who_would_hold_up_others_gives_way() {
        let mut queue = Queue::new(LIMITS);
        flood(&mut queue, "a", Priority::Low, 8);
        // Within a tenant, guesses give way to its logins.
        assert_eq!(queue.put(of("a"), Priority::Normal, "login".to_owned()), Ok(Some("a7".to_owned())));
        flood(&mut queue, "b", Priority::Normal, 8);
        assert_eq!(len(&queue), 16);
        assert_eq!(queue.put(of("c"), Priority::Low, "c".to_owned()), Err((NoRoom::Full, "c".to_owned())));
        // Among tenants, guesses first, then the last of who has most.
        for expected in ["a6", "a5", "a4", "a3", "a2", "b7", "b6", "b5"] {
            assert_eq!(queue.put(of(expected), Priority::Normal, String::new()), Ok(Some(expected.to_owned())));
        }
        assert_eq!(len(&queue), 16);
    }

    #[test]
    fn whoever_is_guessed_at_has_a_place_and_a_turn_in_a_storm() {
        let mut queue = Queue::new(LIMITS);
        flood(&mut queue, "a", Priority::Normal, 8);
        assert_eq!(queue.put(of("a"), Priority::Low, "right".to_owned()), Ok(Some("a7".to_owned())));
        assert_eq!(queue.put(of("a"), Priority::Low, "guess".to_owned()), Err((NoRoom::Share, "guess".to_owned())));
        assert_eq!(queue.put(of("a"), Priority::Normal, "new".to_owned()), Err((NoRoom::Share, "new".to_owned())));
        flood(&mut queue, "b", Priority::Normal, 8);
        assert_eq!(drain(&mut queue).iter().position(|job| job == "right"), Some(7));
    }

    #[test]
    fn a_full_queue_of_equal_shares_takes_nobody_s_place() {
        let mut queue = Queue::new(LIMITS);
        (0..16).for_each(|tenant| assert_eq!(flood(&mut queue, &format!("t{tenant}"), Priority::Normal, 1), 1));
        assert_eq!(queue.put(of("t0"), Priority::Normal, String::new()), Err((NoRoom::Full, String::new())));
        assert_eq!(queue.put(of("new"), Priority::Normal, String::new()), Err((NoRoom::Full, String::new())));
    }

    #[test]
    fn what_nobody_waits_for_leaves_its_place() {
        let mut queue = Queue::new(LIMITS);
        flood(&mut queue, "a", Priority::Normal, 8);
        flood(&mut queue, "b", Priority::Low, 3);
        queue.retain(|job| job == "a3" || job == "b1");
        assert_eq!(len(&queue), 2);
        assert_eq!(drain(&mut queue), ["a3", "b1"]);
        assert_eq!(flood(&mut queue, "a", Priority::Normal, 1), 1);
        assert_eq!(drain(&mut queue), ["a0"]);
    }
}
