//! The layout of bundles on disk, shared by source `dir` and the state folder: `<namespace>.<tenant>/{index,shard-<digest>}`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use mqtt_access_core::bundle::{Digest, decode_index};

use crate::store::{Files, Shard};
use crate::tenant_key::TenantKey;

pub(crate) const INDEX: &str = "index";

pub(crate) fn shard_name(digest: &Digest) -> String {
    format!("shard-{digest}")
}

/// The tenants that have a subfolder. Anything else in the folder is left alone.
pub(crate) fn tenants(folder: &Path) -> io::Result<Vec<TenantKey>> {
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let key = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // `metadata` follows links: mounted volumes are made of them.
        let is_folder = std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        keys.extend(key.filter(|_| is_folder));
    }
    Ok(keys)
}

/// The index of a tenant; `None` where it has none.
pub(crate) fn read_index(folder: &Path, key: &TenantKey) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(folder.join(key.to_string()).join(INDEX)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An index with the shards it names, as far as they are there: what is missing is for the store to judge.
pub(crate) fn with_shards(folder: &Path, key: &TenantKey, index: Vec<u8>) -> io::Result<Files> {
    let folder = folder.join(key.to_string());
    let digests = decode_index(&index).map(|file| file.shards).unwrap_or_default();
    let mut shards: BTreeMap<Digest, Shard> = BTreeMap::new();
    for digest in digests {
        match std::fs::read(folder.join(shard_name(&digest))) {
            Ok(bytes) => _ = shards.insert(digest, Arc::new(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Files { index, shards })
}
