//! The mark that what is in force is newer than what is saved.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;

const NAME: &str = "newer-than-saved";
const SET: &[u8] = b"yes\n";
/// Anything but this is a mark that is set: an empty file too, or one that is torn.
const CLEAR: &[u8] = b"no.\n";

/// The file of the mark, which stays open.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Mark {
    /// Opens the mark in a folder. A new one is set.
    pub(super) fn open(folder: &Path, disk: Arc<dyn Disk>) -> io::Result<Self> {
        let path = folder.join(NAME);
        let file = disk.open(&path)?;
        Ok(Self { file, path, disk })
    }

    /// Whether it says that what is saved is current.
    pub(super) fn is_clear(&self) -> bool {
        // One byte more, so that a longer text is another one.
        let mut found = [0; CLEAR.len() + 1];
        self.file.read_at(&mut found, 0).is_ok_and(|length| found.get(..length) == Some(CLEAR))
    }

    pub(super) fn set(&self) -> io::Result<()> {
        self.overwrite(SET)
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.overwrite(CLEAR)
    }

    /// Overwrites the mark, and makes sure that a restart would find it.
    fn overwrite(&self, text: &[u8]) -> io::Result<()> {
        self.disk.overwrite(&self.file, text)?;
        let (open, found) = (self.file.metadata()?, fs::symlink_metadata(&self.path)?);
        if (open.dev(), open.ino()) == (found.dev(), found.ino()) {
            Ok(())
        } else {
            Err(io::Error::other("the state folder is another one than before; its bundles are saved anew"))
        }
    }
}
