//! ACL files for brokers that read files: `acl.conf`, `mosquitto.acl` and `mosquitto.passwords` of all tenants in service, on
//! a volume that the sidecar shares with its broker.
//!
//! They are written from the bundles in service by the same code that writes the operator's `ConfigMap`s, so they agree with
//! the sidecar's answers: also while the API server is away, from a folder of bundles, at any size, and on the second at
//! which a credential expires. Until bundles are loaded a file of an earlier run stays, as the last good one; where there is
//! none, one that denies everything is put in its place, since brokers do not start without their file.
//!
//! A file is written beside its place, synced and renamed: a broker reads the old one or the new one, and never a part, which
//! could lack a Deny. One that is as it should be is not touched; one that somebody has changed or removed is written again.
//! On failure the old file stays, and it is tried again every second.
//!
//! Rules are readable by everybody (0644): they hold no secret. Hashes of passwords are readable by the group (0640): the
//! broker runs as another user, and a pod's `fsGroup` gives the volume and what is written to it a group that both have.
//!
//! Brokers do not notice by themselves. Mosquitto reads its files again at SIGHUP, EMQX its `acl.conf` only at its start, or
//! when it is handed over with `PUT /authorization/sources/file`. Telling them is up to whoever runs them: it takes rights
//! over the broker that a sidecar should not have.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::{BrokerIndex, TenantIndex};
use mqtt_access_core::secret::Secret;

use crate::log_error::Chain;
use crate::state::replace;
use crate::store::{Snapshot, Store};

/// How often it is looked whether something is to be written. Many edits in a second so become one file.
const EVERY: Duration = Duration::from_secs(1);
const NOTHING_YET: &str = "no bundle was loaded yet, so everything is denied";

/// Keeps the ACL files in a folder as what is in service says. Runs until it is dropped.
pub async fn keep_acl_files(store: Arc<Store>, folder: PathBuf) {
    let mut files = AclFiles::new(Arc::clone(&store), folder.clone());
    loop {
        // Writing, and hashing passwords, are work for a thread that may block.
        let looked = tokio::task::spawn_blocking(move || {
            files.look();
            files
        });
        files = match looked.await {
            Ok(after) => after,
            Err(error) if error.is_panic() => {
                // Giving up would leave what has expired in the files for ever.
                store.metrics().acl_file_failed();
                AclFiles::new(Arc::clone(&store), folder.clone())
            }
            // The runtime is stopping.
            Err(_) => return,
        };
        tokio::time::sleep(EVERY).await;
    }
}

struct AclFiles {
    store: Arc<Store>,
    folder: PathBuf,
    /// What `sections` were read from. As long as it is held, a tenant at the same address is the same.
    seen: Option<Arc<Snapshot>>,
    /// What each tenant says, by namespace and name.
    sections: BTreeMap<(String, String), Sections>,
    /// How each file was left.
    left: HashMap<File, Stamp>,
    /// Whether a file could not be written the last time: said once.
    failing: bool,
}

/// What changes when somebody writes to a file, or puts another in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl AclFiles {
    fn new(store: Arc<Store>, folder: PathBuf) -> Self {
        Self { store, folder, seen: None, sections: BTreeMap::new(), left: HashMap::new(), failing: false }
    }

    fn look(&mut self) {
        let snapshot = Guard::into_inner(self.store.snapshot());
        let result = match &snapshot.index {
            Some(index) => self.follow(index, &snapshot),
            None => self.close(),
        };
        match result {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.store.metrics().acl_file_failed();
                if !std::mem::replace(&mut self.failing, true) {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, error = %Chain(&error), "ACL files not written; those that there are stay");
                }
            }
        }
    }

    /// Before there is anything to say: a file where there is none.
    fn close(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for file in File::ALL {
            let path = self.path(file);
            if !path.try_exists()? {
                write(&path, file, &Secret::from(file.closed(NOTHING_YET).as_str()))?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, index: &BrokerIndex, snapshot: &Arc<Snapshot>) -> io::Result<()> {
        let now = self.store.clock().now();
        let changed = self.read(index, now);
        self.seen = Some(Arc::clone(snapshot));
        if changed {
            self.left.clear();
        }
        let written = File::ALL.map(|file| self.ensure(file));
        written.into_iter().collect::<io::Result<()>>()?;
        self.store.metrics().acl_files_agree(now);
        Ok(())
    }

    /// Works out what tenants say that are new, or said something else before. Whether there are any, or some have gone.
    fn read(&mut self, index: &BrokerIndex, now: UnixSeconds) -> bool {
        let seen = self.seen.as_ref().and_then(|seen| seen.index.as_ref());
        let seen: HashMap<_, &TenantIndex> =
            seen.into_iter().flat_map(BrokerIndex::tenants).map(|old| (key(old), old)).collect();
        let mut changed = self.seen.is_none();
        let mut before = std::mem::take(&mut self.sections);
        for tenant in index.tenants() {
            let key = key(tenant);
            let same = seen.get(&key).is_some_and(|old| old.is_same(tenant));
            let kept = before.remove(&key).filter(|sections| same && sections.hold_at(now));
            changed |= kept.is_none();
            self.sections.insert(key, kept.unwrap_or_else(|| Sections::of(tenant, now)));
        }
        changed || !before.is_empty()
    }

    /// Writes a file, unless it is as it was left, or says what it should.
    fn ensure(&mut self, file: File) -> io::Result<()> {
        let path = self.path(file);
        let left = self.left.get(&file);
        if left.is_some_and(|left| stamp(&path).is_ok_and(|now| now == *left)) {
            return Ok(());
        }
        let text = file.of(self.sections.values());
        if !says(&path, &text) {
            fs::create_dir_all(&self.folder)?;
            write(&path, file, &text)?;
            self.store.metrics().acl_file_written();
            tracing::info!(file = file.name(), tenants = self.sections.len(), "ACL file written");
        }
        self.left.insert(file, stamp(&path)?);
        Ok(())
    }

    fn path(&self, file: File) -> PathBuf {
        self.folder.join(file.name())
    }
}

fn key(tenant: &TenantIndex) -> (String, String) {
    (tenant.tenant().namespace.clone(), tenant.tenant().name.clone())
}

/// Whether a file holds just this. The broker may write to the volume, too: what could be endless, is somewhere else or waits
/// for a writer is not read.
fn says(path: &Path, text: &Secret) -> bool {
    let same_size = fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file() && usize::try_from(found.size()).is_ok_and(|size| size == text.expose().len())
    });
    same_size && fs::read(path).map(Secret::new).is_ok_and(|present| present == *text)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::symlink_metadata(path)?;
    Ok(Stamp { inode: found.ino(), length: found.size(), modified: (found.mtime(), found.mtime_nsec()) })
}

fn write(path: &Path, file: File, text: &Secret) -> io::Result<()> {
    replace(path, file.mode(), |new| {
        new.write_all(text.expose())?;
        // After a power cut part of a file could be left, and a broker would read it.
        new.sync_all()
    })
}
