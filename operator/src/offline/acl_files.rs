//! ACL files in a folder: `acl/{acl.conf,mosquitto.acl,mosquitto.passwords}` for all tenants of a broker, and
//! `acl/<namespace>.<tenant>/{acl.conf,mosquitto.acl}` for each. No bundle is called `acl`: their names hold a dot.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::secret::Secret;

use super::out_dir::{OutDirError, cannot, create, entries};
use super::secrets::write_whole;

const FOLDER: &str = "acl";

/// Writes the files that differ and removes those that nobody wants any more. `tenants` are bundles' names with what they
/// say; `folder` is the broker's.
pub(super) fn write(folder: &Path, files: &[File], tenants: &[(String, Sections)]) -> Result<(), OutDirError> {
    let folder = folder.join(FOLDER);
    let wanted = wanted(&folder, files, tenants);
    for (path, (file, text)) in &wanted {
        if fs::read(path).is_ok_and(|present| present == text.expose()) {
            continue;
        }
        path.parent().map(create).transpose()?;
        write_whole(path, file.mode(), text.expose()).map_err(|error| cannot(path, error))?;
    }
    remove_others(&folder, &wanted)
}

fn wanted(folder: &Path, files: &[File], tenants: &[(String, Sections)]) -> BTreeMap<PathBuf, (File, Secret)> {
    let all = tenants.iter().map(|(_, sections)| sections);
    let of_broker = files.iter().map(|file| (folder.join(file.name()), (*file, file.of(all.clone()))));
    let each = tenants.iter().flat_map(|(bundle, sections)| {
        let open = files.iter().filter(|file| !file.is_private());
        open.map(move |file| (folder.join(bundle).join(file.name()), (*file, file.of([sections]))))
    });
    of_broker.chain(each).collect()
}

/// Only what has the name of such a file is touched.
fn remove_others(folder: &Path, wanted: &BTreeMap<PathBuf, (File, Secret)>) -> Result<(), OutDirError> {
    if !folder.exists() {
        return Ok(());
    }
    for place in entries(folder)?.into_iter().filter(|entry| entry.is_dir()).chain([folder.to_owned()]) {
        let stale = File::ALL.map(|file| place.join(file.name()));
        let stale: Vec<&PathBuf> = stale.iter().filter(|path| !wanted.contains_key(*path) && path.exists()).collect();
        for path in &stale {
            fs::remove_file(path).map_err(|error| cannot(path, error))?;
        }
        if stale.is_empty() {
            continue;
        }
        match fs::remove_dir(&place) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => return Err(cannot(&place, error)),
            _ => {}
        }
    }
    Ok(())
}
