//! The last good bundles on a volume, so that a restart needs neither the API server nor the operator.
//!
//! The volume is meant to be memory-backed: it holds keys. Files are 0600 in folders of 0700, each is written beside its
//! place, synced and renamed, shards before the index that names them. Beside the bundles stands an empty file `complete`: a
//! list was complete once, so what is here is all there was.
//!
//! **What a restart serves is never older than what the sidecar has acted on.** Otherwise a device that was disabled, and
//! has been refused, would be let in after a restart during which the source is away. For that there is a mark, the file
//! `newer-than-saved`, which is as long as it will ever be from the start, and is overwritten in place: this needs no room on
//! a full volume, and no free file descriptor. A thread of its own ([`Keeper`]) writes; for each change it
//!
//! 1. sets the mark, or where that fails removes the note `complete` and the saved indexes that the change makes old,
//! 2. lets the change come into force,
//! 3. saves,
//! 4. clears the mark, once what is saved is exactly what is in force.
//!
//! At a start, saved bundles count only if the mark says in so many words that they are current, and if it can be set and
//! cleared within a second. Else nothing saved counts, and everything is denied until the source answers. So a
//! process that dies at any point between 1 and 4 leaves a mark, or no index.
//!
//! A broken volume must not stand between an edit and its verdict. The edit waits for step 1 for at most a quarter of a
//! second, and then comes into force anyway; the keeper goes on trying. What keeps the promise then:
//!
//! - A *slow* volume is found out before an edit comes: the keeper overwrites the mark every five seconds, and while that
//!   takes longer than a quarter of a second the mark stays set, so that later edits need not wait for it. A restart on a volume
//!   that is slow counts nothing that is saved. There is one gap: the volume became slow after the last look, an edit comes, the
//!   process is killed before the first write of the mark has ended, the kernel gives that write up, and the volume is quick
//!   again when the process starts. To close it, edits would have to wait for the volume.
//! - A *full* volume takes the mark, which is overwritten in place. What cannot be saved makes room by removing the tenant's
//!   older bundle first, and is tried again every five seconds; until it fits, the mark stays.
//! - A *read-only* volume takes neither the mark nor the removal of an index; nor does it pass the trial at a start. If it
//!   can be written again while the process runs, the mark is made up for within five seconds.
//! - A volume that has *vanished* is noticed because the mark's path is no longer the open file. If it comes back, nothing
//!   on it is taken for current: the mark is set, and everything is saved anew.

mod disk;
mod keeper;
mod mark;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_access_core::bundle::Digest;

use crate::folder;
use crate::log_error::Chain;
use crate::store::{Files, Shard};
use crate::tenant_key::TenantKey;

pub(crate) use disk::{Disk, Volume};
pub(crate) use keeper::{Keeper, Trusted};
pub(crate) use plan::{Saved, Wanted};

use mark::Mark;

const COMPLETE: &str = "complete";

/// A folder of last good bundles. Every change of it goes through its [`Disk`].
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

/// What an earlier run left in a state folder.
pub(crate) struct Found {
    /// All tenants that have a folder.
    pub(crate) tenants: Vec<TenantKey>,
    /// Those whose files can be read.
    pub(crate) bundles: Vec<(TenantKey, Files)>,
    /// Whether this is everything there was.
    pub(crate) complete: bool,
}

impl StateDir {
    pub(crate) fn new(path: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { path: path.to_owned(), disk }
    }

    /// Opens the mark of this folder, making both where they are missing.
    fn mark(&self) -> io::Result<Mark> {
        self.disk.make_folder(&self.path)?;
        Mark::open(&self.path, Arc::clone(&self.disk))
    }

    /// What an earlier run left.
    pub(crate) fn load(&self) -> io::Result<Found> {
        let read = |key: TenantKey| {
            let files = folder::read_index(&self.path, &key)
                .and_then(|index| index.map(|index| folder::with_shards(&self.path, &key, index)).transpose());
            match files {
                Ok(files) => Some((key, files?)),
                Err(error) => {
                    tracing::warn!(tenant = %key, error = %Chain(&error), "bundle in the state folder not readable");
                    None
                }
            }
        };
        let tenants = self.tenants()?;
        let bundles = tenants.iter().cloned().filter_map(read).collect();
        Ok(Found { tenants, bundles, complete: self.is_complete() })
    }

    /// The tenants that have a folder here.
    fn tenants(&self) -> io::Result<Vec<TenantKey>> {
        folder::tenants(&self.path)
    }

    fn is_complete(&self) -> bool {
        self.path.join(COMPLETE).exists()
    }

    /// Writes a bundle, its index last, then removes the shards that it no longer names.
    fn save(&self, key: &TenantKey, index: &[u8], shards: &BTreeMap<Digest, Shard>) -> io::Result<()> {
        let folder = self.path.join(key.to_string());
        self.disk.make_folder(&folder)?;
        for (digest, bytes) in shards {
            let path = folder.join(folder::shard_name(digest));
            if !path.exists() {
                self.disk.replace(&path, bytes)?;
            }
        }
        self.disk.replace(&folder.join(folder::INDEX), index)?;
        let names: BTreeSet<String> = shards.keys().map(folder::shard_name).collect();
        self.remove_stale(&folder, &names)?;
        // The mark is cleared after this, and must not reach the disk before it.
        self.disk.sync_folder(&folder)?;
        self.disk.sync_folder(&self.path)
    }

    fn remove_stale(&self, folder: &Path, shards: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let wanted = name.to_str().is_some_and(|name| name == folder::INDEX || shards.contains(name));
            if !wanted {
                self.disk.remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes a tenant's index: without it the rest is nothing.
    fn remove_index(&self, key: &TenantKey) -> io::Result<()> {
        let folder = self.path.join(key.to_string());
        self.disk.remove_file(&folder.join(folder::INDEX))?;
        if folder.exists() { self.disk.sync_folder(&folder) } else { Ok(()) }
    }

    /// Forgets a tenant.
    fn remove(&self, key: &TenantKey) -> io::Result<()> {
        self.remove_index(key)?;
        self.disk.remove_folder(&self.path.join(key.to_string()))
    }

    /// Notes whether what is here is everything there was.
    fn set_complete(&self, complete: bool) -> io::Result<()> {
        let path = self.path.join(COMPLETE);
        if complete { self.disk.replace(&path, b"") } else { self.disk.remove_file(&path) }?;
        self.disk.sync_folder(&self.path)
    }
}

/// Makes a folder that nobody else may look into.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file as a whole, by one of this mode whatever the process's mask says.
pub(crate) fn replace(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    // A leftover of a run that was killed would be in the way.
    remove_file(&new)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| fill(&mut file))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
