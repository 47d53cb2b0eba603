//! ACL files on disk: written where they do not say what they should, and never in parts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqtt_access_core::acl_file::File;
use mqtt_access_core::secret::Secret;

use super::sections::Said;
use crate::log_error::Chain;
use crate::state::replace;
use crate::store::Store;

const NOTHING_YET: &str = "no bundle was loaded yet, so everything is denied";

/// A file, piece by piece.
type Parts<'t> = [Cow<'t, [u8]>];

/// Writes the files of a folder.
pub(super) struct Writer {
    store: Arc<Store>,
    folder: PathBuf,
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

impl Writer {
    pub(super) fn new(store: Arc<Store>, folder: PathBuf) -> Self {
        Self { store, folder, left: HashMap::new(), failing: false }
    }

    /// Brings the files up to date; as long as there is nothing to say, only those that do not exist.
    pub(super) fn look(&mut self, said: Option<Said>) {
        let result = match said {
            Some(said) => self.follow(&said),
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

    fn close(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for file in File::ALL {
            let path = self.path(file);
            if !path.try_exists()? {
                write(&path, file, &[file.closed(NOTHING_YET).into_bytes().into()])?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, said: &Said) -> io::Result<()> {
        let now = self.store.clock().now();
        if said.changed {
            self.left.clear();
        }
        let written = File::ALL.map(|file| self.ensure(file, said));
        written.into_iter().collect::<io::Result<()>>()?;
        if said.current {
            self.store.metrics().acl_files_agree(now);
        }
        Ok(())
    }

    /// Writes a file, unless it is as it was left, or says what it should.
    fn ensure(&mut self, file: File, said: &Said) -> io::Result<()> {
        let path = self.path(file);
        let left = self.left.get(&file);
        if left.is_some_and(|left| stamp(&path).is_ok_and(|now| now == *left)) {
            return Ok(());
        }
        let parts = file.parts(said.sections.iter().map(|sections| (sections.as_ref(), None)));
        if !says(&path, &parts) {
            fs::create_dir_all(&self.folder)?;
            write(&path, file, &parts)?;
            self.store.metrics().acl_file_written();
            tracing::info!(file = file.name(), tenants = said.sections.len(), "ACL file written");
        }
        self.left.insert(file, stamp(&path)?);
        Ok(())
    }

    fn path(&self, file: File) -> PathBuf {
        self.folder.join(file.name())
    }
}

/// Whether a file holds just this. The broker may write to the volume, too: what could be endless, is somewhere else or waits
/// for a writer is not read.
fn says(path: &Path, parts: &Parts<'_>) -> bool {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let same_size = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && usize::try_from(found.size()).is_ok_and(|found| found == size));
    same_size && fs::read(path).map(Secret::new).is_ok_and(|present| is_made_of(present.expose(), parts))
}

fn is_made_of(text: &[u8], parts: &Parts<'_>) -> bool {
    let left = parts.iter().try_fold(text, |text, part| text.strip_prefix(part.as_ref()));
    left.is_some_and(<[u8]>::is_empty)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::symlink_metadata(path)?;
    Ok(Stamp { inode: found.ino(), length: found.size(), modified: (found.mtime(), found.mtime_nsec()) })
}

fn write(path: &Path, file: File, parts: &Parts<'_>) -> io::Result<()> {
    replace(path, file.mode(), |new| {
        parts.iter().try_for_each(|part| new.write_all(part))?;
        // After a power cut part of a file could be left, and a broker would read it.
        new.sync_all()
    })
}
