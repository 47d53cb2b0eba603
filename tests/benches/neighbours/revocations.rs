//! How long a device that was disabled is still in Mosquitto's files.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::files::Files;
use crate::load::{Times, connect, read_answer};
use crate::server::{Build, Server};
use crate::victim::{self, Deed, VICTIM};

/// How long a change may take; one that takes longer counts as this long.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(1);

/// Disables the victim's device and enables it again, for so long.
pub(crate) fn measure(deed: Deed, server: &Server, build: &Build, revision: &mut u64) -> Times {
    let enabled = victim::bundle();
    let mut disabled = victim::bundle();
    disabled.devices[0].disabled = true;
    let mut bundles = [disabled, enabled].map(|bundle| Files::of(server.bundles.path(), &bundle, build.format));
    let acl = server.acl.as_ref().unwrap().path();
    let mut files = ["mosquitto.acl", "mosquitto.passwords"].map(|name| Looked::at(acl, name));
    let ask = VICTIM.asks(&server.ticket(&VICTIM), "publish", "acme/x");
    let mut stream = connect(server.http).unwrap();
    let begun = Instant::now();
    files.iter_mut().for_each(|file| _ = file.changes_to(true, begun));
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < deed.length() {
        for (files_have_it, bundle) in [false, true].into_iter().zip(&mut bundles) {
            *revision += 1;
            bundle.publish(*revision);
            let edited = Instant::now();
            while is_allowed(&mut stream, &ask) != files_have_it && edited.elapsed() < PATIENCE {
                thread::sleep(PAUSE);
            }
            let decided = Instant::now();
            let changed =
                files.each_mut().map(|file| file.changes_to(files_have_it, edited)).into_iter().max().unwrap();
            let since = if deed == Deed::Revocation { edited } else { decided };
            if !files_have_it {
                times.push(changed.saturating_duration_since(since));
            }
        }
        // The source looks once a second, and not always at the same moment after an edit.
        thread::sleep(Duration::from_millis(u64::try_from(times.len()).unwrap() * 370 % 1000));
    }
    times.into()
}

fn is_allowed(stream: &mut TcpStream, ask: &[u8]) -> bool {
    stream.write_all(ask).unwrap();
    read_answer(stream).unwrap().contains("\"allow\"")
}

/// A file that is read when another is in its place.
struct Looked {
    path: PathBuf,
    inode: u64,
    has_device: bool,
    changed: Instant,
}

impl Looked {
    fn at(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name), inode: 0, has_device: false, changed: Instant::now() }
    }

    /// Waits until the device is in the file, or out of it, and tells since when.
    fn changes_to(&mut self, has_device: bool, edited: Instant) -> Instant {
        loop {
            let now = Instant::now();
            let inode = fs::metadata(&self.path).map_or(0, |found| found.ino());
            if inode != self.inode {
                let text = fs::read_to_string(&self.path).unwrap_or_default();
                let has_device = text.contains(VICTIM.username);
                if has_device != self.has_device {
                    self.changed = now;
                }
                (self.inode, self.has_device) = (inode, has_device);
            }
            if self.has_device == has_device {
                return self.changed;
            }
            if edited.elapsed() >= PATIENCE {
                return now;
            }
            thread::sleep(PAUSE);
        }
    }
}
