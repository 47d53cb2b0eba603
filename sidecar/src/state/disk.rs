//! The changes that are made to the state folder, one by one: so that a test can have each of them fail, or take its time.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{make_folder, remove_file, replace};

/// A volume that can be written to. When a call returns, its change outlasts the process and a power cut, except that the
/// names of files need [`Disk::sync_folder`].
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a private folder where there is none.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Opens a private file for [`Disk::overwrite`], making it where there is none.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Overwrites the beginning of a file in place.
    fn overwrite(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    /// Replaces a private file as a whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the names of a folder's files outlast a power cut.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all that is in it, if it is there.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Volume;

impl Disk for Volume {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        make_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    fn overwrite(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        replace(path, 0o600, |file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
