//! Bundles in a folder, as the sidecar's source `dir` reads them: `<namespace>.<tenant>/{index,shard-<digest>}`. Shards
//! come first and the index is renamed in last, so that a reader never sees half a bundle.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mqtt_access_core::bundle::{BundleError, Encoded, decode_index};
use thiserror::Error;

use super::TenantBundle;
use super::report::Report;
use super::secrets::write_private;

/// Why the folder is not written.
#[derive(Debug, Error)]
pub enum OutDirError {
    /// The file system refuses.
    #[error("cannot write `{0}`")]
    Write(String, #[source] io::Error),
    /// The index cannot be encoded.
    #[error("an index cannot be encoded")]
    Encode(#[from] BundleError),
}

/// Writes the bundles of a broker and removes those of others; gives how many were written.
pub(super) fn write(folder: &Path, bundles: &[TenantBundle]) -> Result<usize, OutDirError> {
    create(folder)?;
    let mut wanted = BTreeSet::new();
    let mut written = 0;
    for bundle in bundles {
        let name = bundle.folder();
        written += usize::from(write_bundle(&folder.join(&name), &bundle.encoded)?);
        wanted.insert(name);
    }
    remove_others(folder, &wanted)?;
    Ok(written)
}

fn write_bundle(folder: &Path, encoded: &Encoded) -> Result<bool, OutDirError> {
    let index = folder.join("index");
    let before = fs::read(&index).ok().and_then(|bytes| decode_index(&bytes).ok());
    let shards: BTreeSet<String> = encoded.shards.keys().map(|digest| format!("shard-{digest}")).collect();
    let whole = shards.iter().all(|shard| folder.join(shard).exists());
    if whole && before.as_ref().is_some_and(|before| before.digest == encoded.digest) {
        return Ok(false);
    }
    create(folder)?;
    for (shard, bytes) in shards.iter().zip(encoded.shards.values()) {
        file(&folder.join(shard), bytes)?;
    }
    let millis = u64::try_from(k8s_openapi::jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let revision = before.map_or(0, |before| before.revision + 1).max(millis);
    file(&index, &encoded.index(revision)?)?;
    for entry in entries(folder)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("shard-") && !shards.contains(&name) {
            fs::remove_file(&entry).map_err(|error| cannot(&entry, error))?;
        }
    }
    Ok(true)
}

/// The report, for pipelines: the same bytes where nothing has changed.
pub(super) fn write_report(folder: &Path, report: &Report) -> Result<(), OutDirError> {
    create(folder)?;
    let path = folder.join("report.json");
    let text = serde_json::to_string_pretty(report).map_err(|error| cannot(&path, error.into()))?;
    file(&path, format!("{text}\n").as_bytes())
}

/// Bundles of tenants that are gone. Only what looks like a bundle is touched.
fn remove_others(folder: &Path, wanted: &BTreeSet<String>) -> Result<(), OutDirError> {
    for entry in entries(folder)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let index = entry.join("index");
        if !wanted.contains(&name) && index.exists() {
            fs::remove_file(&index).map_err(|error| cannot(&index, error))?;
            fs::remove_dir_all(&entry).map_err(|error| cannot(&entry, error))?;
        }
    }
    Ok(())
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, OutDirError> {
    let entries = fs::read_dir(folder).map_err(|error| cannot(folder, error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| cannot(folder, error))).collect()
}

pub(super) fn create(folder: &Path) -> Result<(), OutDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| cannot(folder, error))
}

pub(super) fn file(path: &Path, bytes: &[u8]) -> Result<(), OutDirError> {
    write_private(path, bytes).map_err(|error| cannot(path, error))
}

pub(super) fn cannot(path: &Path, error: io::Error) -> OutDirError {
    OutDirError::Write(path.display().to_string(), error)
}
