//! The last good bundles on a volume, so that a restart needs neither the API server nor the operator.
//!
//! The volume is meant to be memory-backed: it holds keys. Files are 0600 in folders of 0700, each is written beside its
//! place and renamed, shards before the index that names them. Nothing is synced: a torn file after a power cut has a
//! wrong digest, and is refused as any other. Beside the bundles stands an empty file `complete`: a list was complete
//! once, so what is here is all there was. A disk that refuses a change is behind by that change until the next one: a
//! restart without the source then serves what was good before, as it does after any outage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mqtt_access_core::bundle::Digest;

use crate::folder;
use crate::log_error::Chain;
use crate::store::{Files, Shard};
use crate::tenant_key::TenantKey;

const MARKER: &str = "complete";

/// A folder of last good bundles.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Never fails: a folder that cannot be made or read is an empty one.
    pub(crate) fn open(path: &Path) -> Self {
        if let Err(error) = make_folder(path) {
            tracing::warn!(path = %path.display(), error = %Chain(&error), "state folder not usable; nothing is kept");
        }
        Self { path: path.to_owned() }
    }

    /// What an earlier run left, and whether that was everything there was.
    pub(crate) fn load(&self) -> (Vec<(TenantKey, Files)>, bool) {
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
        let bundles = self.tenants().into_iter().filter_map(read).collect();
        (bundles, self.path.join(MARKER).exists())
    }

    /// The tenants that have a folder here.
    pub(crate) fn tenants(&self) -> Vec<TenantKey> {
        folder::tenants(&self.path).unwrap_or_default()
    }

    /// Writes a bundle, its index last, then removes the shards that it no longer names.
    pub(crate) fn save(&self, key: &TenantKey, index: &[u8], shards: &BTreeMap<Digest, Shard>) -> io::Result<()> {
        let folder = self.path.join(key.to_string());
        make_folder(&folder)?;
        for (digest, bytes) in shards {
            let path = folder.join(folder::shard_name(digest));
            if !path.exists() {
                write(&path, bytes)?;
            }
        }
        write(&folder.join(folder::INDEX), index)?;
        let names: BTreeSet<String> = shards.keys().map(folder::shard_name).collect();
        remove_stale(&folder, &names)
    }

    /// Forgets a tenant. The index goes first: without it the rest is nothing, even if it stays.
    pub(crate) fn remove(&self, key: &TenantKey) -> io::Result<()> {
        let folder = self.path.join(key.to_string());
        if !folder.exists() {
            return Ok(());
        }
        remove_file(&folder.join(folder::INDEX))?;
        fs::remove_dir_all(&folder)
    }

    /// Notes that what is here is everything there was.
    pub(crate) fn mark_complete(&self) -> io::Result<()> {
        let path = self.path.join(MARKER);
        if path.exists() { Ok(()) } else { write(&path, b"") }
    }
}

/// Makes a folder that nobody else may look into.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a private file as a whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, 0o600, |file| file.write_all(bytes))
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

fn remove_stale(folder: &Path, shards: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = name.to_str().is_some_and(|name| name == folder::INDEX || shards.contains(name));
        if !wanted {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
