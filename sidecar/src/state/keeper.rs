//! The thread that keeps the state folder as what is in force, so that no volume holds up an edit or an answer.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::StateDir;
use super::mark::Mark;
use super::plan::{Job, Marked, Plan, Saved, Wanted};
use crate::log_error::Chain;
use crate::metrics::Metrics;
use crate::store::Decoded;
use crate::tenant_key::TenantKey;

/// How long a start waits for the volume to take the mark and to clear it again.
const TRIAL: Duration = Duration::from_secs(1);

/// Whether what an earlier run saved counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trusted {
    /// The mark was clear, and the volume can be written to.
    Yes,
    /// A restart has to wait for the source.
    No,
}

/// Saves what is in force. Dropped, it ends after the change that it is making.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

/// An edit that comes into force; nothing of it is saved before this is dropped.
pub(crate) struct Acting<'a>(&'a Shared);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// `None` until the start is over.
    plan: Option<Plan>,
    stop: bool,
}

impl Keeper {
    /// Starts the thread and tries the volume. [`Keeper::begin`] has to follow.
    pub(crate) fn start(dir: StateDir, metrics: Arc<Metrics>) -> io::Result<(Self, Trusted)> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (tell, told) = mpsc::channel();
        let worker = Worker { dir, mark: None, shared: Arc::clone(&shared), metrics, failing: false };
        thread::Builder::new().name("state".to_owned()).spawn(move || worker.run(&tell))?;
        Ok((Self { shared }, trusted(&told)))
    }

    /// Says what there is to begin with: what was loaded, where an earlier run's bundles count, and what is in force.
    pub(crate) fn begin(&self, saved: Option<Saved>, wanted: Wanted) {
        self.shared.lock().plan = Some(Plan::new(saved, wanted, Instant::now()));
        self.shared.changed.notify_all();
    }

    /// Sets the mark, before this comes into force: waits for it, but not for long.
    pub(crate) fn before(&self, wanted: Wanted) -> Acting<'_> {
        let mut state = self.shared.lock();
        let round = state.plan.as_mut().map_or(0, |plan| plan.act(wanted, Instant::now()));
        self.shared.changed.notify_all();
        while let Some(Err(left)) = state.plan.as_ref().map(|plan| plan.may_act(round, Instant::now())) {
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.plan.as_ref().is_some_and(|plan| !plan.has_answered(round)) {
            tracing::warn!("state folder is slow; an edit comes into force before the folder says that it is behind");
        }
        Acting(&self.shared)
    }

    /// Waits until a restart would serve what is in force; whether that came about in time.
    pub(crate) fn settle(&self, limit: Duration) -> bool {
        let unsettled = |state: &mut State| !state.plan.as_ref().is_some_and(Plan::is_settled);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), limit, unsettled);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        if let Some(plan) = &mut self.0.lock().plan {
            plan.acted();
        }
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves a plan that is behind what was done, and does it again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a plan and its next job. `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let wait = match state.plan.as_mut().map(|plan| plan.next(Instant::now())) {
                Some(Ok(job)) => return Some(job),
                Some(Err(wait)) => wait,
                None => TRIAL,
            };
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn trusted(told: &Receiver<io::Result<Trusted>>) -> Trusted {
    match told.recv_timeout(TRIAL) {
        Ok(Ok(Trusted::Yes)) => return Trusted::Yes,
        Ok(Ok(Trusted::No)) => tracing::info!("nothing saved is known to be current; the source is waited for"),
        Ok(Err(error)) => {
            let error = Chain(&error);
            tracing::warn!(%error, "state folder cannot be written to; nothing in it counts, the source is waited for");
        }
        Err(_) => tracing::warn!("state folder is slow; nothing in it counts, the source is waited for"),
    }
    Trusted::No
}

struct Worker {
    dir: StateDir,
    /// The open mark; `None` where there is none, or none that can be relied on.
    mark: Option<Mark>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// Whether the last change failed: said once.
    failing: bool,
}

impl Worker {
    fn run(mut self, tell: &Sender<io::Result<Trusted>>) {
        let tried = self.try_volume();
        if tried.is_err() {
            self.metrics.state_failed();
        }
        // Nobody listens any more if it took too long.
        let _ = tell.send(tried);
        while let Some(job) = self.shared.next() {
            self.work(job);
        }
    }

    /// Takes the mark and clears it again, if it was clear: then what is saved counts.
    fn try_volume(&mut self) -> io::Result<Trusted> {
        let mark = self.dir.mark()?;
        let clear = mark.is_clear();
        mark.set()?;
        let trusted = if clear { mark.clear().map(|()| Trusted::Yes) } else { Ok(Trusted::No) }?;
        self.mark = Some(mark);
        Ok(trusted)
    }

    fn work(&mut self, job: Job) {
        let started = Instant::now();
        match job {
            Job::Mark { round, stale } => {
                let surveying = stale.is_none();
                let marked = self.set(surveying).map(Marked::Set);
                let marked = self.report(marked).unwrap_or_else(|| self.remove_indexes(stale));
                self.settle(|plan, now| plan.marked(round, marked, started.elapsed(), now));
            }
            Job::Save(key, bundle) => {
                let success = self.save(&key, &bundle);
                self.settle(|plan, now| plan.saved(key, bundle, success, now));
            }
            Job::Remove(key) => {
                let success = self.report(self.dir.remove(&key)).is_some();
                self.settle(|plan, now| plan.removed(key, success, now));
            }
            Job::SetComplete(complete) => {
                let success = self.report(self.dir.set_complete(complete)).is_some();
                self.settle(|plan, now| plan.completeness_noted(complete, success, now));
            }
            Job::Clear => {
                let success = self.overwrite(Mark::clear);
                self.settle(|plan, now| plan.cleared(success, started.elapsed(), now));
            }
            Job::Look { set } => {
                let success = self.overwrite(if set { Mark::set } else { Mark::clear });
                self.settle(|plan, now| plan.looked(success, started.elapsed(), now));
            }
        }
    }

    /// Sets the mark. With what is on the volume, where that is asked for, or the mark had to be opened anew.
    fn set(&mut self, surveying: bool) -> io::Result<Option<Saved>> {
        let (mark, opened) = match self.mark.take() {
            Some(mark) => (mark, false),
            None => (self.dir.mark()?, true),
        };
        mark.set()?;
        self.mark = Some(mark);
        if !surveying && !opened {
            return Ok(None);
        }
        let bundles = self.dir.tenants()?.into_iter().map(|key| (key, None)).collect();
        Ok(Some(Saved { bundles, complete: self.dir.is_complete() }))
    }

    /// What is done where the mark cannot be set. The note of completeness goes as well: what one tenant claims may be all that
    /// keeps another one's bundle out of force.
    fn remove_indexes(&mut self, stale: Option<Vec<TenantKey>>) -> Marked {
        let removed = stale.map_or_else(|| self.dir.tenants(), Ok).and_then(|tenants| {
            self.dir.set_complete(false)?;
            tenants.iter().try_for_each(|key| self.dir.remove_index(key))?;
            Ok(tenants)
        });
        self.report(removed).map_or(Marked::Neither, Marked::Removed)
    }

    /// Saves a bundle; where there is no room for both the old one goes first.
    fn save(&mut self, key: &TenantKey, bundle: &Decoded) -> bool {
        let save = || self.dir.save(key, &bundle.index, &bundle.shards);
        let saved = save().or_else(|_| {
            self.dir.remove(key)?;
            save()
        });
        self.report(saved).is_some()
    }

    /// Overwrites the open mark. One that failed is not relied on again.
    fn overwrite(&mut self, write: impl FnOnce(&Mark) -> io::Result<()>) -> bool {
        let written = self.mark.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), write);
        let success = self.report(written).is_some();
        if !success {
            self.mark = None;
        }
        success
    }

    fn report<T>(&mut self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.metrics.state_failed();
                if !std::mem::replace(&mut self.failing, true) {
                    let error = Chain(&error);
                    tracing::warn!(%error, "state folder not up to date; a restart needs the source until it is");
                }
                None
            }
        }
    }

    /// Tells the plan how a job ended, and those who wait for it.
    fn settle(&mut self, tell: impl FnOnce(&mut Plan, Instant)) {
        let mut state = self.shared.lock();
        if let Some(plan) = &mut state.plan {
            tell(plan, Instant::now());
            self.metrics.state_behind(!plan.is_settled());
            if plan.is_settled() && std::mem::replace(&mut self.failing, false) {
                tracing::info!("state folder up to date again");
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}
