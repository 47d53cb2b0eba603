//! Source `dir`: a folder that `compile --out` wrote for one broker.
//!
//! The folder is looked at twice a second, and an index is compared by its bytes: notifications of the file system do not
//! reach across the mounts and network volumes that such folders live on, and time stamps are too coarse to be trusted.
//! Indexes are small; shards are read only when their index is new, or was refused.
//!
//! Each tenant is loaded on its own: one whose bundle is large, or whose files do not come, delays no other one's edit.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::folder;
use crate::log_error::Chain;
use crate::store::{Applied, ReloadError, Store, Turn};
use crate::tenant_key::TenantKey;

/// Half of what a revocation may take, so that the other half is left for loading the bundle and writing ACL files.
const EVERY: Duration = Duration::from_millis(500);
/// How many tenants are loaded at once. More would load nothing sooner, and leave brokers less of the processor.
const LOADS_AT_ONCE: usize = 4;

/// Loads the bundles of a folder, and loads them again when they change. Runs until it is dropped.
pub async fn watch_dir(store: Arc<Store>, path: PathBuf) {
    // The runtime is stopping, or looking has a bug; the store still has the last good bundles.
    if let Err(error) = follow(&store, path).await {
        tracing::error!(%error, "source folder no longer watched");
    }
}

async fn follow(store: &Arc<Store>, path: PathBuf) -> Result<(), JoinError> {
    let mut folder = Folder::new(path.clone());
    let mut loads = Loads::new(Arc::clone(store), path);
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(look_at) => {
                let (store, busy) = (Arc::clone(store), loads.busy.clone());
                // Reading is work for a thread that may block.
                let (after, new) = spawn_blocking(move || {
                    let new = folder.look(&store, &busy);
                    (folder, new)
                })
                .await?;
                folder = after;
                new.into_iter().for_each(|(turn, index)| loads.start(turn, index));
                look_at = Instant::now() + EVERY;
            }
            Some(load) = loads.next() => folder.settle(load),
        }
        if folder.is_answered() {
            let store = Arc::clone(store);
            folder = spawn_blocking(move || {
                folder.complete(&store);
                folder
            })
            .await?;
        }
    }
}

/// A bundle that the store has answered.
struct Loaded {
    key: TenantKey,
    index: Vec<u8>,
    /// Whether it is in service.
    taken: bool,
}

/// Bundles on their way to the store.
struct Loads {
    store: Arc<Store>,
    path: PathBuf,
    room: Arc<Semaphore>,
    running: JoinSet<Loaded>,
    /// Their tenants, each of which has one at a time.
    busy: BTreeSet<TenantKey>,
}

impl Loads {
    fn new(store: Arc<Store>, path: PathBuf) -> Self {
        let room = Arc::new(Semaphore::new(LOADS_AT_ONCE));
        Self { store, path, room, running: JoinSet::new(), busy: BTreeSet::new() }
    }

    fn start(&mut self, turn: Turn, index: Vec<u8>) {
        let (store, path, room) = (Arc::clone(&self.store), self.path.clone(), Arc::clone(&self.room));
        let key = turn.key().clone();
        self.busy.insert(key.clone());
        self.running.spawn(async move {
            let _loading = room.acquire().await;
            let (turn, loading, offered) = (Arc::new(turn), Arc::clone(&store), index.clone());
            let offer = Arc::clone(&turn);
            // A bundle that makes the decoder panic is one that was not taken.
            let taken = spawn_blocking(move || load(&loading, &path, &offer, offered)).await.unwrap_or(false);
            store.withdraw(&turn);
            Loaded { key, index, taken }
        });
    }

    /// The next one that is answered; `None` while there is none on its way.
    async fn next(&mut self) -> Option<Loaded> {
        let load = self.running.join_next().await?.ok()?;
        self.busy.remove(&load.key);
        Some(load)
    }
}

struct Folder {
    path: PathBuf,
    /// The index of each tenant that the store took.
    taken: BTreeMap<TenantKey, Vec<u8>>,
    /// The last complete list; `None` before there was one.
    present: Option<BTreeSet<TenantKey>>,
    /// Tenants of the first list that the store has not answered for; `None` once it has for all.
    unanswered: Option<BTreeSet<TenantKey>>,
    /// Whether the folder could not be read the last time: said once.
    failing: bool,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Self { path, taken: BTreeMap::new(), present: None, unanswered: Some(BTreeSet::new()), failing: false }
    }

    /// Forgets the tenants that have gone. Returns the indexes that are new, of tenants that are not busy.
    fn look(&mut self, store: &Store, busy: &BTreeSet<TenantKey>) -> Vec<(Turn, Vec<u8>)> {
        match folder::tenants(&self.path) {
            Ok(tenants) => {
                self.failing = false;
                self.take(store, tenants, busy)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    tracing::error!(%path, error = %Chain(&error), "source folder not readable; what is in service stays");
                }
                Vec::new()
            }
        }
    }

    fn take(&mut self, store: &Store, tenants: Vec<TenantKey>, busy: &BTreeSet<TenantKey>) -> Vec<(Turn, Vec<u8>)> {
        let (mut present, mut new) = (BTreeSet::new(), Vec::new());
        for key in tenants {
            match folder::read_index(&self.path, &key) {
                Ok(None) => continue,
                Ok(Some(index)) if busy.contains(&key) || self.taken.get(&key) == Some(&index) => {}
                Ok(Some(index)) => new.push((store.turn(&key), index)),
                Err(error) => store.refuse(&key, &ReloadError::Io(error)),
            }
            present.insert(key);
        }
        self.taken.retain(|key, _| present.contains(key));
        match (&self.present, &mut self.unanswered) {
            (Some(before), _) if *before == present => {}
            (_, None) => store.complete(&present),
            (before, Some(unanswered)) => {
                store.retain(&present);
                unanswered.retain(|key| present.contains(key));
                let first = before.is_none();
                unanswered.extend(new.iter().map(|(turn, _)| turn.key().clone()).filter(|_| first));
            }
        }
        self.present = Some(present);
        new
    }

    fn settle(&mut self, load: Loaded) {
        let Loaded { key, index, taken } = load;
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.remove(&key);
        }
        if taken {
            self.taken.insert(key, index);
        } else {
            // The store has said why; it is tried again, since the shards may come later.
            self.taken.remove(&key);
        }
    }

    /// Whether the store has answered for all of the first list, and does not know that yet.
    fn is_answered(&self) -> bool {
        self.present.is_some() && self.unanswered.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Makes the store ready.
    fn complete(&mut self, store: &Store) {
        self.unanswered = None;
        if let Some(present) = &self.present {
            store.complete(present);
        }
    }
}

/// Reads a bundle and offers it. Whether it is in service now.
fn load(store: &Store, path: &Path, turn: &Turn, index: Vec<u8>) -> bool {
    let read = folder::with_shards(path, turn.key(), index).map_err(|error: io::Error| ReloadError::Io(error));
    let files = read.inspect_err(|error| store.refuse(turn.key(), error));
    let applied = files.and_then(|files| store.apply_in_turn(turn, files));
    matches!(applied, Ok(Applied::Changed | Applied::Unchanged))
}
