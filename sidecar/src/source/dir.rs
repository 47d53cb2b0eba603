//! Source `dir`: a folder that `compile --out` wrote for one broker.
//!
//! The folder is looked at every second, and an index is compared by its bytes: notifications of the file system do not
//! reach across the mounts and network volumes that such folders live on, and time stamps are too coarse to be trusted.
//! Indexes are small; shards are read only when their index is new, or was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::folder;
use crate::log_error::Chain;
use crate::store::{ReloadError, Store};
use crate::tenant_key::TenantKey;

const EVERY: Duration = Duration::from_secs(1);

/// Loads the bundles of a folder, and loads them again when they change. Runs until it is dropped.
pub async fn watch_dir(store: Arc<Store>, path: PathBuf) {
    let mut folder = Folder { path, taken: BTreeMap::new(), present: None, failing: false };
    loop {
        let store = Arc::clone(&store);
        // Reading and decoding are work for a thread that may block.
        let looked = tokio::task::spawn_blocking(move || {
            folder.look(&store);
            folder
        });
        match looked.await {
            Ok(after) => folder = after,
            // The runtime is stopping, or a bundle made the decoder panic; the store still has the last good ones.
            Err(error) => {
                tracing::error!(%error, "source folder no longer watched");
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

struct Folder {
    path: PathBuf,
    /// The index of each tenant that the store took.
    taken: BTreeMap<TenantKey, Vec<u8>>,
    /// The last complete list; `None` before there was one.
    present: Option<BTreeSet<TenantKey>>,
    /// Whether the folder could not be read the last time: said once.
    failing: bool,
}

impl Folder {
    fn look(&mut self, store: &Store) {
        match folder::tenants(&self.path) {
            Ok(tenants) => {
                self.failing = false;
                self.take(store, tenants);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    tracing::error!(%path, error = %Chain(&error), "source folder not readable; what is in service stays");
                }
            }
        }
    }

    fn take(&mut self, store: &Store, tenants: Vec<TenantKey>) {
        let present: BTreeSet<TenantKey> = tenants.into_iter().filter(|key| self.offer(store, key)).collect();
        self.taken.retain(|key, _| present.contains(key));
        if self.present.as_ref() != Some(&present) {
            store.complete(&present);
            self.present = Some(present);
        }
    }

    /// Offers one tenant's bundle if it is new. Whether the tenant is there at all.
    fn offer(&mut self, store: &Store, key: &TenantKey) -> bool {
        match folder::read_index(&self.path, key) {
            Ok(None) => return false,
            Ok(Some(index)) if self.taken.get(key) == Some(&index) => {}
            Ok(Some(index)) => match self.load(store, key, index.clone()) {
                Ok(()) => _ = self.taken.insert(key.clone(), index),
                // The store has said so; it is tried again, since the shards may come later.
                Err(_) => _ = self.taken.remove(key),
            },
            Err(error) => store.refuse(key, &ReloadError::Io(error)),
        }
        true
    }

    fn load(&self, store: &Store, key: &TenantKey, index: Vec<u8>) -> Result<(), ReloadError> {
        let files = read(&self.path, key, index).inspect_err(|error| store.refuse(key, error))?;
        store.apply(key, files).map(drop)
    }
}

fn read(path: &Path, key: &TenantKey, index: Vec<u8>) -> Result<crate::store::Files, ReloadError> {
    folder::with_shards(path, key, index).map_err(|error: io::Error| ReloadError::Io(error))
}
