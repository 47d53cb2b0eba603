//! The login table on disk: segments of lines of JSON, appended, and compacted one after the other.
//!
//! Answers only put lines into a backlog ([`Backlog`]); a thread ([`Writer`]) writes them, so that a slow or full disk holds
//! up no answer. The journal never takes more than its bound ([`Segments`]): before that, the oldest segment goes, after those of
//! its lines that the table still holds were written anew. The table is bounded such that there is always something to leave
//! out. What the disk refuses stays in the table, is counted, and is lost with the process.
//!
//! Tickets and lists of resources are covered by MACs: a forged line grants nothing. A line that does not parse is skipped.
//! Nothing is synced; what a power cut takes has to log in again.

mod backlog;
mod record;
mod segments;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use mqtt_access_core::bundle::Digest;
use mqtt_access_core::ticket::Resources;

use super::entry::{Entry, LoginKey};
use super::marks::{Mark, SessionKey};
pub(super) use backlog::Backlog;
pub(super) use record::Item;
use record::Record;
use segments::Segments;
pub(super) use writer::{Writer, start};

/// A line of the journal that names something in the table.
#[derive(Debug)]
pub(super) enum Line {
    Login(LoginKey),
    Mark(SessionKey),
    Resources { tenant: Box<str>, digest: Digest },
}

/// A line of the journal at the start.
#[derive(Debug)]
pub(super) enum Loaded {
    Login(LoginKey, Entry),
    Mark(SessionKey, Mark),
}

/// Reads the journal in a state folder; what follows goes to a new segment.
pub(super) fn open(state_dir: &Path, limit: usize, mut take: impl FnMut(Loaded)) -> Segments {
    let segments = Segments::open(state_dir, limit);
    // Lists first: compaction may have moved one behind the logins that name it.
    let mut lists: HashMap<Digest, Arc<Resources>> = HashMap::new();
    for path in segments.paths() {
        records(path, |record| {
            if let Record::Resources(list) = record {
                let list = list.into_resources();
                lists.insert(list.digest().clone(), Arc::new(list));
            }
        });
    }
    for path in segments.paths() {
        records(path, |record| {
            if let Some(loaded) = record.load(&lists) {
                take(loaded);
            }
        });
    }
    segments
}

fn records(path: &Path, mut take: impl FnMut(Record)) {
    let Ok(file) = File::open(path) else {
        return;
    };
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if let Ok(record) = serde_json::from_slice(&line) {
            take(record);
        }
    }
}
