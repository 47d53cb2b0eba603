//! Who makes hashes: so many workers, and as many beside them for hashes that are cheaper than those that are being made.

use std::time::Duration;

use super::fair::Nanos;
use super::queue::{Account, Limits, NoRoom, Queue, Taken, Turn};

/// The workers, and what waits for them.
pub(super) struct Workers<J> {
    queue: Queue<J>,
    count: usize,
    running: usize,
    beside: usize,
    /// Whether one of those that run works for a client ID of no tenant.
    stranger: bool,
}

/// A job for a worker, with whose time it spends.
pub(super) struct Work<J> {
    pub(super) job: J,
    pub(super) place: Place,
}

/// Whose time a worker spends.
pub(super) enum Place {
    /// A tenant's.
    Turn(Turn),
    /// A tenant's, beside the workers.
    Beside(Turn),
    /// That of client IDs of no tenant.
    Stranger,
}

impl<J> Workers<J> {
    pub(super) fn new(count: usize, limits: Limits) -> Self {
        Self { queue: Queue::new(count, limits), count, running: 0, beside: 0, stranger: false }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The time that hashes of an account are thought to take that wait or are being made.
    pub(super) fn ahead(&self, tenant: &str, account: &Account) -> Duration {
        self.queue.ahead(tenant, account)
    }

    /// Adds a job, and returns the one that gave way to it, if one did.
    pub(super) fn put(&mut self, turn: Turn, job: J) -> Result<Option<J>, (NoRoom, J)> {
        self.queue.put(turn, job)
    }

    /// Begins a job for a client ID of no tenant, at once or not at all: they never take a tenant's turn, and hold up no
    /// connection.
    pub(super) fn begin_stranger(&mut self, job: J) -> Result<Work<J>, J> {
        if self.stranger || self.running >= self.count || self.queue.len() > 0 {
            return Err(job);
        }
        self.stranger = true;
        self.running += 1;
        Ok(Work { job, place: Place::Stranger })
    }

    /// Takes what workers are free for.
    pub(super) fn assign(&mut self, now: Nanos) -> Vec<Work<J>> {
        let mut assigned = Vec::new();
        while self.running < self.count
            && let Some(Taken { job, turn }) = self.queue.take(now)
        {
            self.running += 1;
            assigned.push(Work { job, place: Place::Turn(turn) });
        }
        while self.beside < self.count
            && let Some(Taken { job, turn }) = self.queue.take_cheaper(now)
        {
            self.beside += 1;
            assigned.push(Work { job, place: Place::Beside(turn) });
        }
        assigned
    }

    /// Ends what a worker did.
    pub(super) fn end(&mut self, place: &Place, took: Duration, now: Nanos) {
        match place {
            Place::Turn(turn) => {
                self.running = self.running.saturating_sub(1);
                self.queue.done(turn, took, now);
            }
            Place::Beside(turn) => {
                self.beside = self.beside.saturating_sub(1);
                self.queue.done(turn, took, now);
            }
            Place::Stranger => {
                self.running = self.running.saturating_sub(1);
                self.stranger = false;
            }
        }
    }

    /// Removes jobs that nobody waits for any more.
    pub(super) fn retain(&mut self, wanted: impl FnMut(&J) -> bool) {
        self.queue.retain(wanted);
    }
}
