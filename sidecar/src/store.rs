//! What the sidecar serves from: the last good bundle of each tenant, and one snapshot of them all.
//!
//! Sources offer bundles; [`Store`] checks an offer completely before anything changes, keeps the tenant's last good
//! bundle when the offer is no good, and swaps one pointer when it is. A request loads that pointer once and never waits
//! for a reload. Until the first complete list, or state of an earlier run, there is no index and everything is denied.

mod book;
mod offer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use mqtt_access_core::bundle::{Digest, UnixSeconds};
use mqtt_access_core::index::BrokerIndex;

pub use offer::{Files, ReloadError, Shard};

use crate::clock::Clock;
use crate::log_error::Chain;
use crate::metrics::{Loaded, Metrics};
use crate::state::{Disk, Keeper, Saved, StateDir, Trusted, Volume};
use crate::tenant_key::TenantKey;
pub(crate) use book::Turn;
pub(crate) use offer::Decoded;

use book::Book;
use offer::Checked;

/// The bundles of one broker. Shared by sources, which write, and requests, which read.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<Snapshot>,
    /// Held while a change comes into force, and so for as long as that may wait for the volume: only by threads that may
    /// block. Never while a bundle is decoded: a large one delays no other tenant's.
    change: Mutex<()>,
    /// Held for moments.
    book: Mutex<Book>,
    /// `None` where nothing is kept on disk.
    keeper: Option<Keeper>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// What requests see: immutable.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// `None` until there is something to answer from.
    pub(crate) index: Option<BrokerIndex>,
    /// When `index` last became different.
    pub(crate) changed: Option<UnixSeconds>,
}

/// What became of an offer that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in service now.
    Changed,
    /// It was in service already.
    Unchanged,
    /// While it was decoded its tenant was forgotten, or a later offer was taken: it changed nothing.
    Superseded,
}

impl Store {
    /// An empty store that keeps nothing on disk. It denies everything until [`Store::replace`] or [`Store::complete`].
    #[must_use]
    pub fn in_memory(clock: Clock) -> Arc<Self> {
        Self::new(clock, Arc::new(Metrics::new()), None)
    }

    /// A store that keeps its bundles in a folder, and starts with what an earlier run left there if that is known to be
    /// current. Takes its time: reading and decoding, and up to a second for a volume that does not answer.
    ///
    /// Never fails: what cannot be read or written is counted and logged, and the store works without it.
    #[must_use]
    pub fn open(state_dir: &Path, clock: Clock) -> Arc<Self> {
        Self::open_on(Arc::new(Volume), state_dir, clock)
    }

    fn open_on(disk: Arc<dyn Disk>, state_dir: &Path, clock: Clock) -> Arc<Self> {
        let (dir, metrics) = (StateDir::new(state_dir, disk), Arc::new(Metrics::new()));
        match Keeper::start(dir.clone(), Arc::clone(&metrics)) {
            Ok((keeper, trusted)) => {
                let store = Self::new(clock, metrics, Some(keeper));
                let saved = if trusted == Trusted::Yes { store.load(&dir) } else { None };
                store.begin(saved);
                store
            }
            Err(error) => {
                metrics.state_failed();
                tracing::warn!(error = %Chain(&error), "no thread for the state folder; nothing is kept");
                Self::new(clock, metrics, None)
            }
        }
    }

    fn new(clock: Clock, metrics: Arc<Metrics>, keeper: Option<Keeper>) -> Arc<Self> {
        let book = Mutex::new(Book::new(Arc::clone(&metrics)));
        let (current, change) = (ArcSwap::from_pointee(Snapshot::default()), Mutex::default());
        Arc::new(Self { current, change, book, keeper, metrics, clock })
    }

    /// Puts into service what an earlier run left. Returns what of it is whole; `None` where the folder cannot be read.
    fn load(&self, dir: &StateDir) -> Option<Saved> {
        let load = dir.load().inspect_err(|error| {
            self.metrics.state_failed();
            tracing::warn!(error = %Chain(error), "state folder not readable; the source is waited for");
        });
        let found = load.ok()?;
        for (key, files) in found.bundles {
            // Refusals are counted and logged.
            let _: Result<Applied, ReloadError> = self.apply(&key, files);
        }
        if found.complete {
            self.update(Book::complete);
        }
        let book = self.lock();
        let bundles = found.tenants.into_iter().map(|key| (key.clone(), book.held(&key))).collect();
        Some(Saved { bundles, complete: found.complete })
    }

    fn begin(&self, saved: Option<Saved>) {
        if let Some(keeper) = &self.keeper {
            keeper.begin(saved, self.lock().wanted());
        }
    }

    /// Waits until a restart would serve what is in force, for at most this long. Whether it would: always where nothing is
    /// kept on disk, since nothing is missing there.
    pub fn settle(&self, limit: Duration) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.settle(limit))
    }

    /// Offers one tenant's bundle. On an error the tenant's last good bundle stays.
    pub fn apply(&self, key: &TenantKey, files: Files) -> Result<Applied, ReloadError> {
        self.apply_in_turn(&self.turn(key), files)
    }

    /// Takes a place in the order of what is said about a tenant, for an offer that follows.
    pub(crate) fn turn(&self, key: &TenantKey) -> Turn {
        self.lock().turn(key)
    }

    /// Says that no offer will follow a turn. Nothing, if one has.
    pub(crate) fn withdraw(&self, turn: &Turn) {
        self.lock().withdraw(turn);
    }

    /// [`Store::apply`], as if it had been called when the turn was taken.
    pub(crate) fn apply_in_turn(&self, turn: &Turn, files: Files) -> Result<Applied, ReloadError> {
        let checked = self.check(turn, files);
        self.update(|book| book.settle(turn, checked))
    }

    fn check(&self, turn: &Turn, files: Files) -> Checked {
        let held = self.lock().held(&turn.key);
        offer::check(&turn.key, files, held.as_ref())
    }

    /// Forgets one tenant: its clients are denied.
    pub fn remove(&self, key: &TenantKey) {
        self.update(|book| book.forget(key));
    }

    /// Forgets all tenants but these.
    pub(crate) fn retain(&self, present: &BTreeSet<TenantKey>) {
        self.update(|book| book.retain(present));
    }

    /// Says which tenants there are, after all of them were offered: the others are forgotten, and the store is ready.
    pub fn complete(&self, present: &BTreeSet<TenantKey>) {
        self.update(|book| {
            book.retain(present);
            book.complete();
        });
    }

    /// Offers a complete list at once: [`Store::apply`] for each, then [`Store::complete`], under one swap.
    ///
    /// Returns the tenants whose offer was refused; they keep their last good bundle.
    pub fn replace(&self, bundles: BTreeMap<TenantKey, Files>) -> Vec<(TenantKey, ReloadError)> {
        let present = bundles.keys().cloned().collect();
        let turns: Vec<(Turn, Files)> = bundles.into_iter().map(|(key, files)| (self.turn(&key), files)).collect();
        let checked: Vec<(Turn, Checked)> = turns
            .into_iter()
            .map(|(turn, files)| {
                let checked = self.check(&turn, files);
                (turn, checked)
            })
            .collect();
        self.update(|book| {
            let settle = |(turn, checked): (Turn, Checked)| {
                let error = book.settle(&turn, checked).err()?;
                Some((turn.key, error))
            };
            let refused = checked.into_iter().filter_map(settle).collect();
            book.retain(&present);
            book.complete();
            refused
        })
    }

    /// Counts and logs that a source could not read what it should have offered; the last good bundle stays.
    pub fn refuse(&self, key: &TenantKey, error: &ReloadError) {
        self.lock().refused(key, None, error);
    }

    /// Whether questions are answered from bundles; until then all are denied.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.snapshot().index.is_some()
    }

    /// The shards of a tenant's last good bundle, so that a source need not fetch them again.
    #[must_use]
    pub fn shards(&self, key: &TenantKey) -> BTreeMap<Digest, Shard> {
        self.lock().shards(key)
    }

    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // The book changes by whole bundles only; a panic left it as it was.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = self.lock();
        let result = change(&mut book);
        let (loaded, changed) = (book.take_loaded(), book.take_changed());
        let held = changed.then(|| (book.wanted(), book.tenants()));
        drop(book);
        let now = self.clock.now();
        if loaded {
            self.metrics.loaded(now);
        }
        let Some((wanted, tenants)) = held else {
            return result;
        };
        let snapshot = tenants.map(|tenants| Snapshot { index: Some(BrokerIndex::new(tenants)), changed: Some(now) });
        // Before it comes into force; what is in force is saved once this is dropped.
        let acting = self.keeper.as_ref().map(|keeper| keeper.before(wanted));
        let before = snapshot.map(|snapshot| {
            self.metrics.publish(&Loaded::of(&snapshot));
            self.current.swap(Arc::new(snapshot))
        });
        drop(acting);
        drop(changing);
        before.inspect(drop_when_unused);
        result
    }
}

/// Waits a moment for the requests that still read this, so that it is not one of them that has to take down a large index.
fn drop_when_unused(snapshot: &Arc<Snapshot>) {
    for _ in 0..10 {
        if Arc::strong_count(snapshot) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
