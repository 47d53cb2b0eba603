//! Who is next: tenants take turns by the time that is spent on them, and inside a tenant so do login names and sources,
//! under one bound. The tenant that lately used less than the others goes first, see [`Credits`].
//!
//! A login pays into the account of its name and, where the broker tells a source that few share, into that of its source;
//! the one on which more was spent decides. So neither guesses at one name, nor one machine's guesses at all names, delay
//! another login by more than a hash. Names that have no slow hash share one account, since they could be made up without
//! end. What was refused before only for want of a turn goes first in its tenant, and what comes from where a wrong password
//! came from goes last.
//!
//! Bounded in all and for each tenant. When there is no room, the last in that order gives way, of the tenant that would hold
//! up the others for longest. Of names without a slow hash only a few wait at all: they are refused anyway.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::credit::Credits;
use super::fair::{Accounts, Nanos};
use crate::peer::Peer;

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In all.
    pub(super) total: usize,
    /// Of one tenant.
    pub(super) tenant: usize,
    /// Of a tenant's names that have no slow hash.
    pub(super) other_names: usize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The tenant has as many as it may have.
    Share,
    /// No tenant would hold up the others for longer than this one.
    Full,
}

/// Who pays for a hash inside of its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    /// A login name with a slow hash.
    Name(Box<str>),
    /// All login names without one.
    OtherNames,
    /// Where clients connect from, if few share it.
    Source(Peer),
}

/// What a hash is for, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// Instance ID.
    pub(super) tenant: Box<str>,
    pub(super) name: Account,
    pub(super) source: Option<Account>,
    /// Whether it was refused before, only for want of a turn.
    pub(super) again: bool,
    /// Whether its name and source have given a wrong password lately.
    pub(super) failed: bool,
    /// What it is thought to take.
    pub(super) cost: Nanos,
}

/// A job whose turn has come. It has to be given back with [`Queue::done`].
pub(super) struct Taken<J> {
    pub(super) job: J,
    pub(super) turn: Turn,
}

/// What waits.
pub(super) struct Queue<J> {
    limits: Limits,
    tenants: BTreeMap<Box<str>, Tenant<J>>,
    turns: Accounts<Box<str>>,
    credits: Credits,
    arrived: u64,
}

/// None is idle: something of each waits or runs.
struct Tenant<J> {
    /// In the order of their arrival.
    waiting: Vec<Waiting<J>>,
    running: Vec<Turn>,
    accounts: Accounts<Account>,
}

struct Waiting<J> {
    job: J,
    turn: Turn,
    arrived: u64,
}

/// Where a job stands in its tenant: smaller is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    not_again: bool,
    failed: bool,
    /// The larger of its accounts.
    start: Nanos,
    /// The smaller one.
    other_start: Nanos,
    arrived: u64,
}

impl Turn {
    fn accounts(&self) -> impl Iterator<Item = &Account> {
        [Some(&self.name), self.source.as_ref()].into_iter().flatten()
    }
}

impl<J> Queue<J> {
    pub(super) fn new(workers: usize, limits: Limits) -> Self {
        let credits = Credits::new(workers);
        Self { limits, tenants: BTreeMap::new(), turns: Accounts::new(), credits, arrived: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.waiting.len()).sum()
    }

    /// The time that hashes of an account are thought to take that wait or run.
    pub(super) fn ahead(&self, tenant: &str, account: &Account) -> Duration {
        Duration::from_nanos(self.tenants.get(tenant).map_or(0, |tenant| tenant.ahead(account)))
    }

    /// Adds a job, and returns the one that gave way to it, if one did.
    pub(super) fn put(&mut self, turn: Turn, job: J) -> Result<Option<J>, (NoRoom, J)> {
        self.arrived += 1;
        let name = turn.tenant.clone();
        if turn.name == Account::OtherNames && self.other_names(&name) >= self.limits.other_names {
            return Err((NoRoom::Share, job));
        }
        let waiting = Waiting { job, turn, arrived: self.arrived };
        let full = self.len() >= self.limits.total;
        let tenant = self.tenants.entry(name.clone()).or_insert_with(Tenant::new);
        let share_full = tenant.waiting.len() >= self.limits.tenant;
        tenant.waiting.push(waiting);
        let (of, why) = match (share_full, full) {
            (true, _) => (name, NoRoom::Share),
            (false, true) => (self.largest().unwrap_or(name), NoRoom::Full),
            (false, false) => return Ok(None),
        };
        match self.remove_last(&of) {
            Some(out) if out.arrived == self.arrived => Err((why, out.job)),
            out => Ok(out.map(|out| out.job)),
        }
    }

    fn other_names(&self, tenant: &str) -> usize {
        let waiting = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.waiting);
        waiting.filter(|waiting| waiting.turn.name == Account::OtherNames).count()
    }

    /// The tenant that would hold up the others for longest; of equal ones one that has nothing new.
    fn largest(&self) -> Option<Box<str>> {
        let newest = |tenant: &Tenant<J>| tenant.waiting.last().map(|last| last.arrived);
        let load = |tenant: &Tenant<J>| tenant.waiting.iter().map(|waiting| waiting.turn.cost).sum::<Nanos>();
        let (name, _) = self.tenants.iter().max_by_key(|(_, tenant)| (load(tenant), newest(tenant)))?;
        Some(name.clone())
    }

    fn remove_last(&mut self, tenant: &str) -> Option<Waiting<J>> {
        let of = self.tenants.get_mut(tenant)?;
        let place = of.last()?;
        let removed = of.waiting.remove(place);
        self.forget_idle();
        Some(removed)
    }

    /// The next job.
    pub(super) fn take(&mut self, now: Nanos) -> Option<Taken<J>> {
        self.take_of(now, |_, _| true)
    }

    /// The next job that takes less time than each of those that run, of a tenant of which none runs: that it waited for
    /// them would be no fair turn.
    pub(super) fn take_cheaper(&mut self, now: Nanos) -> Option<Taken<J>> {
        let running = self.tenants.values().flat_map(|tenant| &tenant.running);
        let cheapest = running.map(|turn| turn.cost).min()?;
        self.take_of(now, |tenant, next| tenant.running.is_empty() && next < cheapest)
    }

    fn take_of(&mut self, now: Nanos, fits: impl Fn(&Tenant<J>, Nanos) -> bool) -> Option<Taken<J>> {
        let waiting = self.tenants.iter().filter(|(_, tenant)| !tenant.waiting.is_empty());
        let mut order: Vec<(Reverse<i64>, Nanos, usize, Box<str>)> = waiting
            .map(|(name, tenant)| {
                let left = Reverse(self.credits.left(name, now));
                (left, self.turns.start(name), tenant.running.len(), name.clone())
            })
            .collect();
        order.sort();
        let smallest = order.iter().map(|(_, start, _, _)| *start).min()?;
        self.turns.move_to(smallest);
        let (_, _, _, name) = order.iter().find(|(_, _, _, name)| {
            self.tenants.get(name).is_some_and(|tenant| tenant.next_cost().is_some_and(|cost| fits(tenant, cost)))
        })?;
        let taken = self.tenants.get_mut(name)?.take()?;
        self.turns.charge(name, taken.turn.cost);
        self.credits.charge(name, signed(taken.turn.cost), now);
        Some(taken)
    }

    /// Ends a turn, and charges what it took instead of what it was thought to take.
    pub(super) fn done(&mut self, turn: &Turn, took: Duration, now: Nanos) {
        let took = Nanos::try_from(took.as_nanos()).unwrap_or(Nanos::MAX);
        self.turns.correct(&turn.tenant, turn.cost, took);
        self.credits.charge(&turn.tenant, signed(took).saturating_sub(signed(turn.cost)), now);
        if let Some(tenant) = self.tenants.get_mut(&turn.tenant) {
            if let Some(place) = tenant.running.iter().position(|running| running == turn) {
                tenant.running.swap_remove(place);
            }
            for account in turn.accounts() {
                tenant.accounts.correct(account, turn.cost, took);
            }
        }
        self.forget_idle();
    }

    /// Removes jobs that nobody waits for any more.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&J) -> bool) {
        self.tenants.values_mut().for_each(|tenant| tenant.waiting.retain(|waiting| wanted(&waiting.job)));
        self.forget_idle();
    }

    fn forget_idle(&mut self) {
        self.tenants.retain(|_, tenant| !tenant.waiting.is_empty() || !tenant.running.is_empty());
    }
}

fn signed(nanos: Nanos) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

impl<J> Tenant<J> {
    fn new() -> Self {
        Self { waiting: Vec::new(), running: Vec::new(), accounts: Accounts::new() }
    }

    fn ahead(&self, account: &Account) -> Nanos {
        let turns = self.waiting.iter().map(|waiting| &waiting.turn).chain(&self.running);
        turns.filter(|turn| turn.accounts().any(|of| of == account)).map(|turn| turn.cost).sum()
    }

    /// A job's rank, where so much waits before it in its accounts.
    fn rank(&self, waiting: &Waiting<J>, before: impl Fn(&Account) -> Nanos) -> Rank {
        let Waiting { job: _, turn, arrived } = waiting;
        let start = |account: &Account| self.accounts.start(account).saturating_add(before(account));
        let name = start(&turn.name);
        let source = turn.source.as_ref().map_or(name, start);
        Rank {
            not_again: !turn.again,
            failed: turn.failed,
            start: name.max(source),
            other_start: name.min(source),
            arrived: *arrived,
        }
    }

    /// The place of the next job, with its rank. What waits beside it in its accounts does not count: it comes later.
    fn first(&self) -> Option<(Rank, usize)> {
        self.waiting.iter().enumerate().map(|(place, waiting)| (self.rank(waiting, |_| 0), place)).min()
    }

    /// The place of the job that would come last, if all were served.
    fn last(&self) -> Option<usize> {
        let mut before: HashMap<&Account, Nanos> = HashMap::new();
        let mut last = None;
        for (place, waiting) in self.waiting.iter().enumerate() {
            let rank = self.rank(waiting, |account| before.get(account).copied().unwrap_or_default());
            last = last.max(Some((rank, place)));
            for account in waiting.turn.accounts() {
                *before.entry(account).or_default() += waiting.turn.cost;
            }
        }
        last.map(|(_, place)| place)
    }

    /// What the next one costs.
    fn next_cost(&self) -> Option<Nanos> {
        let (_, place) = self.first()?;
        Some(self.waiting.get(place)?.turn.cost)
    }

    fn take(&mut self) -> Option<Taken<J>> {
        let (_, place) = self.first()?;
        let smallest = self.waiting.iter().map(|waiting| self.rank(waiting, |_| 0).start).min()?;
        let Waiting { job, turn, arrived: _ } = self.waiting.remove(place);
        self.accounts.move_to(smallest);
        turn.accounts().for_each(|account| self.accounts.charge(account, turn.cost));
        self.running.push(turn.clone());
        Some(Taken { job, turn })
    }
}

#[cfg(test)]
mod tests;
