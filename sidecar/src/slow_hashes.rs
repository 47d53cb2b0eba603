//! Slow password hashes, away from the threads that answer brokers, a few at a time.
//!
//! A hash that takes a tenth of a second on purpose is the one thing here that a client can make costly. So half of the
//! cores at most work on them, a bounded number waits, no tenant takes more than its share of the places, and tenants take
//! turns: a storm of one tenant's logins delays another's by one hash each, and nobody's who logs in otherwise.
//!
//! - An outcome is remembered ([`Memo`]): a fleet that reconnects costs one hash a client, not one a connection.
//! - The same comparison is made once, however many logins wait for it.
//! - Nothing waits longer than its broker would, and what nobody waits for any more is not done.
//! - A connection on which others may stand behind is held up for a part of its time only ([`Line`]).

mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt_access_core::index::{CheckedLogin, SlowLogin};
use mqtt_access_core::password::{ComparisonId, Memo};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::verdict::Reason;
use tokio::sync::oneshot;

use crate::line::Line;
use crate::metrics::{HashRefusal, Metrics};
pub(crate) use queue::Priority;
use queue::{Limits, NoRoom, Queue};

/// As many as two workers do while the last waits for [`PATIENCE`], at 30 hashes a second each.
const LIMITS: Limits = Limits { total: 256, tenant: 64, nobody: 16 };
/// EMQX gives up on an answer after 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// The hashes of one broker.
pub(crate) struct SlowHashes(Arc<Inner>);

struct Inner {
    memo: Memo,
    workers: usize,
    /// Never held across an await or a hash.
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    queue: Queue<Job>,
    /// Who waits for a comparison that somebody else asked for first; there is an entry while it waits or is made.
    joined: HashMap<ComparisonId, Vec<oneshot::Sender<()>>>,
    running: usize,
}

type Answer = Result<CheckedLogin, Reason>;

struct Job {
    id: ComparisonId,
    login: Box<SlowLogin>,
    answer: oneshot::Sender<Answer>,
}

/// What became of a login that has to wait.
enum Submitted {
    First(oneshot::Receiver<Answer>),
    Joined(Box<SlowLogin>, oneshot::Receiver<()>),
    Refused(HashRefusal),
}

impl SlowHashes {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_workers((cores / 2).max(1), LIMITS, metrics)
    }

    fn with_workers(workers: usize, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let mut key = [0; 32];
        // No one outside of this process ever sees what is made with it.
        if getrandom::fill(&mut key).is_err() {
            tracing::warn!("the system gives no random bytes; passwords are remembered under a known key");
        }
        let state = State { queue: Queue::new(limits), joined: HashMap::new(), running: 0 };
        let memo = Memo::new(Secret::new(key.to_vec()));
        Self(Arc::new(Inner { memo, workers, state: Mutex::new(state), metrics }))
    }

    /// Compares a login's password with its hash, or tells why that is not done.
    pub(crate) async fn check(&self, login: Box<SlowLogin>, priority: Priority, line: &Line) -> Answer {
        let Self(inner) = self;
        let login = match login.recall(&inner.memo) {
            Ok(checked) => return Ok(checked),
            Err(login) => login,
        };
        let Some(_held) = line.hold() else {
            return Err(inner.refused(HashRefusal::Line));
        };
        let waited = match inner.submit(login, priority) {
            // An answer that never comes is a bug.
            Submitted::First(answer) => {
                tokio::time::timeout(PATIENCE, answer).await.map(|answer| answer.unwrap_or(Err(Reason::InternalError)))
            }
            Submitted::Joined(login, done) => tokio::time::timeout(PATIENCE, done)
                .await
                .map(|_| login.recall(&inner.memo).map_err(|_| Reason::TooManyLogins)),
            Submitted::Refused(why) => return Err(inner.refused(why)),
        };
        waited.unwrap_or_else(|_| Err(inner.refused(HashRefusal::Waited)))
    }
}

impl Inner {
    fn submit(self: &Arc<Self>, login: Box<SlowLogin>, priority: Priority) -> Submitted {
        let id = login.comparison(&self.memo);
        let state = &mut *self.lock();
        if let Some(joined) = state.joined.get_mut(&id) {
            let (tell, told) = oneshot::channel();
            joined.push(tell);
            return Submitted::Joined(login, told);
        }
        state.forget_abandoned();
        let (answer, answered) = oneshot::channel();
        let share = login.tenant().map(Box::from);
        let put = state.queue.put(share, priority, Job { id, login, answer });
        let pushed_out = match put {
            Ok(pushed_out) => pushed_out,
            Err((NoRoom::Share, _)) => return Submitted::Refused(HashRefusal::Share),
            Err((NoRoom::Full, _)) => return Submitted::Refused(HashRefusal::Full),
        };
        if let Some(Job { id, login: _, answer }) = pushed_out {
            state.joined.remove(&id);
            let _ = answer.send(Err(self.refused(HashRefusal::PushedOut)));
        }
        state.joined.insert(id, Vec::new());
        self.tell_waiting(&state.queue);
        if state.running < self.workers {
            state.running += 1;
            let inner = Arc::clone(self);
            tokio::task::spawn_blocking(move || inner.work());
        }
        Submitted::First(answered)
    }

    /// Works until nothing waits.
    fn work(&self) {
        while let Some(Job { id, login, answer }) = self.next() {
            let started = Instant::now();
            // A panic is a bug; it costs its own login and no other.
            let checked = std::panic::catch_unwind(AssertUnwindSafe(|| login.check_and_note(&self.memo)));
            self.metrics.slow_hash_took(started.elapsed().as_secs_f64());
            let joined = self.lock().joined.remove(&id).unwrap_or_default();
            let _ = answer.send(checked.map_err(|_| Reason::InternalError));
            joined.into_iter().for_each(|tell| _ = tell.send(()));
        }
    }

    fn next(&self) -> Option<Job> {
        let state = &mut *self.lock();
        state.forget_abandoned();
        let job = state.queue.take();
        self.tell_waiting(&state.queue);
        if job.is_none() {
            state.running = state.running.saturating_sub(1);
        }
        job
    }

    fn tell_waiting(&self, queue: &Queue<Job>) {
        for lane in [Priority::Normal, Priority::Low] {
            self.metrics.slow_hashes_waiting(lane, queue.len(lane));
        }
    }

    fn refused(&self, why: HashRefusal) -> Reason {
        self.metrics.slow_hash_refused(why);
        Reason::TooManyLogins
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes what nobody waits for any more: the broker hung up, or was told that it takes too long.
    fn forget_abandoned(&mut self) {
        let Self { queue, joined, running: _ } = self;
        queue.retain(|Job { id, login: _, answer }| {
            let waits =
                !answer.is_closed() || joined.get(id).is_some_and(|all| all.iter().any(|tell| !tell.is_closed()));
            if !waits {
                joined.remove(id);
            }
            waits
        });
    }
}
