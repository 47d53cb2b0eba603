//! Slow password hashes, away from the threads that answer brokers, a few at a time.
//!
//! A hash that takes a tenth of a second on purpose is the one thing here that a client can make costly. So half of the
//! cores at most work on them, a bounded number waits, and turns are taken by the time that is spent: see [`queue`]. A storm
//! of one tenant's logins delays another's by one hash each, and nobody's who logs in otherwise.
//!
//! - An outcome is remembered ([`Memo`]): a fleet that reconnects costs one hash a client, not one a connection.
//! - The same comparison is made once, however many logins wait for it.
//! - A login whose hash takes less time than each of those that are being made does not wait for them: if none of its
//!   tenant's is being made, it gets a worker beside them, of which there are as many again.
//! - Client IDs of no tenant are compared only while nothing else waits and a worker is free, one at a time, and never wait.
//! - Nothing waits longer than its broker would, and what nobody waits for any more is not done.
//! - A connection on which others may stand behind is held up for a part of its time only ([`Line`]).

mod credit;
mod fair;
mod pace;
mod queue;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt_access_core::index::{CheckedLogin, SlowLogin};
use mqtt_access_core::password::{ComparisonId, Memo};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::verdict::Reason;
use tokio::sync::oneshot;

use crate::failures::{Admitted, Token};
use crate::line::{Debtor, Line};
use crate::metrics::{HashRefusal, Metrics};
use fair::Nanos;
use pace::Pace;
pub(crate) use queue::Account;
use queue::{Limits, NoRoom, Turn};
use workers::{Work, Workers};

/// As many as two workers do while the last waits for [`PATIENCE`], at 30 hashes a second each.
const LIMITS: Limits = Limits { total: 256, tenant: 64, other_names: 4 };
/// EMQX gives up on an answer after 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// The hashes of one broker.
pub(crate) struct SlowHashes(Arc<Inner>);

struct Inner {
    memo: Memo,
    /// Since when time is counted.
    started: Instant,
    /// Never held across an await or a hash.
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    workers: Workers<Job>,
    /// Who waits for a comparison that was asked for before; there is an entry while it waits or is made.
    joined: HashMap<ComparisonId, Vec<oneshot::Sender<()>>>,
    pace: Pace,
}

type Answer = Result<CheckedLogin, Reason>;

struct Job {
    id: ComparisonId,
    login: Box<SlowLogin>,
    token: Token,
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
        let workers = Workers::new(workers, limits);
        let state = State { workers, joined: HashMap::new(), pace: Pace::default() };
        let memo = Memo::new(Secret::new(key.to_vec()));
        Self(Arc::new(Inner { memo, started: Instant::now(), state: Mutex::new(state), metrics }))
    }

    /// The outcome, if the same comparison was made before.
    pub(crate) fn recall(&self, login: Box<SlowLogin>) -> Result<CheckedLogin, Box<SlowLogin>> {
        login.recall(&self.0.memo)
    }

    /// Compares a login's password with its hash, or tells why that is not done.
    pub(crate) async fn check(&self, login: Box<SlowLogin>, admitted: Admitted, line: &Line) -> Answer {
        let Self(inner) = self;
        let (tenant, name) = (login.tenant().unwrap_or_default().into(), account(&login));
        let debtor = Debtor { tenant, account: admitted.source.map_or(name, Account::Source) };
        let Some(mut held) = line.hold(debtor.clone()) else {
            return Err(inner.refused(HashRefusal::Line));
        };
        let submitted = inner.submit(login, admitted);
        held.waits_for(inner.own(&debtor));
        let waited = match submitted {
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
    fn submit(self: &Arc<Self>, login: Box<SlowLogin>, admitted: Admitted) -> Submitted {
        let id = login.comparison(&self.memo);
        let state = &mut *self.lock();
        if let Some(joined) = state.joined.get_mut(&id) {
            let (tell, told) = oneshot::channel();
            joined.push(tell);
            return Submitted::Joined(login, told);
        }
        state.forget_abandoned();
        let (answer, answered) = oneshot::channel();
        let Admitted { token, source, again, failed } = admitted;
        let submitted = match login.tenant().map(Box::from) {
            None => {
                let begun = state.workers.begin_stranger(Job { id, login, token, answer });
                begun.map(|work| self.begin(work)).map_err(|_| HashRefusal::Stranger)
            }
            Some(tenant) => {
                let (name, cost) = (account(&login), state.pace.estimate(login.cost()));
                // Nobody is let in by a decoy, so trying again gains nothing.
                let again = again && !login.is_decoy();
                let source = source.map(Account::Source);
                self.put(state, Turn { tenant, name, source, again, failed, cost }, Job { id, login, token, answer })
            }
        };
        if let Err(why) = submitted {
            return Submitted::Refused(why);
        }
        state.joined.insert(id, Vec::new());
        self.assign(state).into_iter().for_each(|work| self.begin(work));
        Submitted::First(answered)
    }

    /// How long the debtor's own hashes take that wait or are being made. A stranger's is made at once.
    fn own(&self, debtor: &Debtor) -> Duration {
        let Debtor { tenant, account } = debtor;
        if tenant.is_empty() { PATIENCE } else { self.lock().workers.ahead(tenant, account) }
    }

    fn put(&self, state: &mut State, turn: Turn, job: Job) -> Result<(), HashRefusal> {
        let pushed_out = match state.workers.put(turn, job) {
            Ok(pushed_out) => pushed_out,
            Err((NoRoom::Share, _)) => return Err(HashRefusal::Share),
            Err((NoRoom::Full, _)) => return Err(HashRefusal::Full),
        };
        if let Some(Job { id, login: _, token: _, answer }) = pushed_out {
            state.joined.remove(&id);
            let _ = answer.send(Err(self.refused(HashRefusal::PushedOut)));
        }
        Ok(())
    }

    /// Takes what workers are free for.
    fn assign(&self, state: &mut State) -> Vec<Work<Job>> {
        let assigned = state.workers.assign(self.now());
        self.metrics.slow_hashes_waiting(state.workers.waiting());
        assigned
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.started.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn begin(self: &Arc<Self>, work: Work<Job>) {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || inner.work(work));
    }

    /// Works until nothing waits.
    fn work(self: &Arc<Self>, first: Work<Job>) {
        let mut next = Some(first);
        while let Some(work) = next {
            let mut assigned = self.compare(work).into_iter();
            next = assigned.next();
            assigned.for_each(|work| self.begin(work));
        }
    }

    /// Makes one comparison, and returns what workers are free for then.
    fn compare(&self, work: Work<Job>) -> Vec<Work<Job>> {
        let Work { job: Job { id, login, token, answer }, place } = work;
        let cost = login.cost();
        let started = Instant::now();
        // A panic is a bug; it costs its own login and no other.
        let checked = std::panic::catch_unwind(AssertUnwindSafe(|| login.check_and_note(&self.memo)));
        let took = started.elapsed();
        self.metrics.slow_hash_took(took.as_secs_f64());
        if checked.as_ref().is_ok_and(|checked| !checked.is_right()) {
            token.spend();
        }
        let state = &mut *self.lock();
        let joined = state.joined.remove(&id).unwrap_or_default();
        let _ = answer.send(checked.map_err(|_| Reason::InternalError));
        joined.into_iter().for_each(|tell| _ = tell.send(()));
        state.pace.note(cost, took);
        state.workers.end(&place, took, self.now());
        state.forget_abandoned();
        self.assign(state)
    }

    fn refused(&self, why: HashRefusal) -> Reason {
        self.metrics.slow_hash_refused(why);
        Reason::TooManyLogins
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who pays for a login inside of its tenant, if no source is known.
fn account(login: &SlowLogin) -> Account {
    if login.is_decoy() { Account::OtherNames } else { Account::Name(login.login_name().into()) }
}

impl State {
    /// Removes what nobody waits for any more: the broker hung up, or was told that it takes too long.
    fn forget_abandoned(&mut self) {
        let Self { workers, joined, pace: _ } = self;
        workers.retain(|Job { id, login: _, token: _, answer }| {
            let waits =
                !answer.is_closed() || joined.get(id).is_some_and(|all| all.iter().any(|tell| !tell.is_closed()));
            if !waits {
                joined.remove(id);
            }
            waits
        });
    }
}
