//! The thread that writes the journal, and compacts it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use mqtt_access_core::bundle::Digest;
use mqtt_access_core::ticket::Resources;

use super::super::Shared;
use super::{Item, Line, Segments, records};
use crate::log_error::Chain;

/// Lines that are looked up in the table under one lock.
const SLICE: usize = 128;
/// Bytes that are written at once.
const CHUNK: usize = 16 * 1024;
/// No segment: a list that is about to be written.
const IN_CHUNK: u64 = u64::MAX;
/// How long the end of the process waits for a disk.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A running thread.
pub(in super::super) struct Writer {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

struct Journal {
    shared: Arc<Shared>,
    segments: Segments,
    /// The segment that has the last copy of a tenant's list.
    lists: HashMap<(Box<str>, Digest), u64>,
    /// Lines that are about to be written.
    chunk: Vec<u8>,
    /// How many logins or marks they are.
    in_chunk: usize,
    /// Whether the disk refused the last write: said once.
    failing: bool,
}

/// Starts the thread; without one nothing is kept.
pub(in super::super) fn start(shared: Arc<Shared>, segments: Segments) -> Option<Writer> {
    let ended = Arc::new((Mutex::new(false), Condvar::new()));
    let writer = Writer { ended: Arc::clone(&ended) };
    let (lists, chunk) = (HashMap::new(), Vec::new());
    let journal = Journal { shared, segments, lists, chunk, in_chunk: 0, failing: false };
    let run = move || {
        journal.run();
        *ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        ended.1.notify_all();
    };
    match std::thread::Builder::new().name("login-journal".to_owned()).spawn(run) {
        Ok(_) => Some(writer),
        Err(error) => {
            tracing::warn!(%error, "no thread for the journal of logins; a restart ends the sessions they opened");
            None
        }
    }
}

impl Writer {
    /// Waits until everything is written, but not for ever.
    pub(in super::super) fn wait(self) {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ended.1.wait_timeout_while(ended, LAST_WAIT, |ended| !*ended));
    }
}

impl Journal {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(backlog) = &shared.backlog else {
            return;
        };
        self.compact();
        while let Some(items) = backlog.take() {
            self.write(items);
            self.flush();
        }
    }

    fn write(&mut self, items: VecDeque<Item>) {
        for item in items {
            self.append(item);
            if self.chunk.len() >= CHUNK {
                self.flush();
            }
        }
    }

    /// Adds a login, and before it the lists that it names and the journal has not.
    fn append(&mut self, item: Item) {
        for list in item.lists() {
            self.append_list(item.tenant(), list, false);
        }
        match item {
            Item::Resources { tenant, list } => self.append_list(&tenant, &list, true),
            item => {
                self.chunk.extend(item.into_record().line());
                self.in_chunk += 1;
            }
        }
    }

    fn append_list(&mut self, tenant: &str, list: &Arc<Resources>, again: bool) {
        let key = (Box::from(tenant), list.digest().clone());
        if again || !self.lists.contains_key(&key) {
            self.chunk.extend(Item::resources(tenant, list).into_record().line());
            self.lists.insert(key, IN_CHUNK);
        }
    }

    fn flush(&mut self) {
        self.compact();
        self.flush_chunk();
    }

    fn flush_chunk(&mut self) -> bool {
        let lines = std::mem::take(&mut self.chunk);
        let logins = std::mem::take(&mut self.in_chunk);
        if lines.is_empty() {
            return true;
        }
        let written = self.segments.append(&lines);
        let is_written = written.is_ok();
        if is_written {
            let segment = self.segments.current();
            self.lists.values_mut().filter(|last| **last == IN_CHUNK).for_each(|last| *last = segment);
        } else {
            (0..logins).for_each(|_| self.shared.metrics.login_not_saved());
            // Which lists were written is not known: those that are named again are written again.
            self.lists.clear();
        }
        self.report(written);
        is_written
    }

    /// Lets the oldest segments go until there is room. Questions go on meanwhile.
    fn compact(&mut self) {
        // Each segment at most once: what is left is all in use.
        for _ in 0..self.segments.count() {
            if !self.segments.are_full() {
                return;
            }
            let Some(oldest) = self.segments.oldest() else {
                return;
            };
            if !self.renew(&oldest) {
                return;
            }
            let dropped = self.segments.drop_oldest();
            if dropped.is_err() {
                return self.report(dropped);
            }
        }
    }

    /// Writes what the table still says of a segment's lines, to where new lines go. Whether the disk took it all.
    fn renew(&mut self, oldest: &Path) -> bool {
        let waiting = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.in_chunk));
        let number = oldest.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
        let mut lines = Vec::with_capacity(SLICE);
        let mut is_written = true;
        records(oldest, |record| {
            let line = record.into_line();
            if self.may_count(&line.1, number) {
                lines.push(line);
            }
            if lines.len() >= SLICE {
                is_written &= self.renew_lines(&mut lines);
            }
        });
        is_written &= self.renew_lines(&mut lines);
        is_written &= self.flush_chunk();
        (self.chunk, self.in_chunk) = waiting;
        is_written
    }

    /// Whether no later copy of a list is known. Forgets that the list is here: it is written anew, or needed no more.
    fn may_count(&mut self, line: &Line, segment: Option<u64>) -> bool {
        let Line::Resources { tenant, digest } = line else {
            return true;
        };
        let key = (tenant.clone(), digest.clone());
        if self.lists.get(&key).is_some_and(|last| Some(*last) != segment) {
            return false;
        }
        self.lists.remove(&key);
        true
    }

    fn renew_lines(&mut self, lines: &mut Vec<(u64, Line)>) -> bool {
        let mut is_written = true;
        for item in self.shared.renew(lines) {
            self.append(item);
            if self.chunk.len() >= CHUNK {
                is_written &= self.flush_chunk();
            }
        }
        lines.clear();
        is_written
    }

    fn report(&mut self, written: io::Result<()>) {
        let Err(error) = written else {
            self.failing = false;
            return;
        };
        self.shared.metrics.state_failed();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = %Chain(&error), "logins not kept on disk; a restart ends the sessions they opened");
        }
    }
}
