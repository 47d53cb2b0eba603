//! The login table on disk: one line of JSON per login, appended, rewritten when the file has doubled.
//!
//! Tickets carry a MAC: a forged line grants nothing. A line that does not parse is skipped. Nothing is synced; what a
//! power cut takes has to log in again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::ModeUsername;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_VHOST, Entry, LoginKey};
use crate::log_error::Chain;
use crate::metrics::Metrics;
use crate::state;

/// Below this many lines a rewrite is not worth it.
const MIN_LINES: usize = 1000;

/// One login as a line.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(rename = "u")]
    username: Box<str>,
    /// Absent in lines that were written when every username named its tenant.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
    /// Absent where it is the broker's default.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    vhost: Option<Box<str>>,
    #[serde(rename = "c")]
    client_id: Box<str>,
    #[serde(rename = "t")]
    ticket: Box<str>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixSeconds>,
    #[serde(rename = "s")]
    seen: UnixSeconds,
}

pub(super) struct Journal {
    folder: PathBuf,
    path: PathBuf,
    file: Option<File>,
    lines: usize,
    lines_after_rewrite: usize,
    /// Whether the last append may have left half a line.
    torn: bool,
    /// Whether the disk refused the last write: said once.
    failing: bool,
}

impl Record {
    pub(super) fn of(key: &LoginKey, entry: &Entry) -> Self {
        let LoginKey { tenant, vhost, username, client_id } = key.clone();
        // After a restart the broker has long ended what was contested.
        let Entry { ticket, contested_by: _, proves_client_id: _, expires_at, seen, noted: _ } = entry;
        let (tenant, vhost) = (Some(tenant), Some(vhost).filter(|vhost| **vhost != *DEFAULT_VHOST));
        Self { username, tenant, vhost, client_id, ticket: (**ticket).into(), expires_at: *expires_at, seen: *seen }
    }

    pub(super) fn into_entry(self) -> (LoginKey, Entry) {
        let Self { username, tenant, vhost, client_id, ticket, expires_at, seen } = self;
        let named = ModeUsername::parse(&username);
        let tenant = tenant.unwrap_or_else(|| named.map(|named| named.instance_id).unwrap_or_default().into());
        // Only tokens may be somebody else's who has the same username and client ID.
        let proves_client_id = named.is_none_or(|named| named.mode != Mode::Token);
        let vhost = vhost.unwrap_or_else(|| DEFAULT_VHOST.into());
        let (ticket, contested_by) = (ticket.into(), Vec::new());
        let entry = Entry { ticket, contested_by, proves_client_id, expires_at, seen, noted: seen };
        (LoginKey { tenant, vhost, username, client_id }, entry)
    }

    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl Journal {
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            path: folder.join("logins"),
            file: None,
            lines: 0,
            lines_after_rewrite: 0,
            torn: false,
            failing: false,
        }
    }

    pub(super) fn read(&self, mut take: impl FnMut(Record)) {
        let Ok(file) = File::open(&self.path) else {
            return;
        };
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            if let Ok(record) = serde_json::from_slice(&line) {
                take(record);
            }
        }
    }

    pub(super) fn has_doubled(&self) -> bool {
        self.lines >= 2 * self.lines_after_rewrite.max(MIN_LINES)
    }

    pub(super) fn append(&mut self, record: &Record, metrics: &Metrics) {
        self.lines += 1;
        let written = self.write(&record.line());
        self.torn = written.is_err();
        self.report(written, metrics);
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?);
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if self.torn {
            file.write_all(b"\n")?;
        }
        file.write_all(line)
    }

    /// Writes all records anew, in place of whatever the file holds.
    pub(super) fn rewrite(&mut self, records: impl Iterator<Item = Record>, metrics: &Metrics) {
        let mut lines = 0;
        let bytes: Vec<u8> = records.inspect(|_| lines += 1).flat_map(|record| record.line()).collect();
        (self.lines, self.lines_after_rewrite, self.file) = (lines, lines, None);
        let written = state::make_folder(&self.folder).and_then(|()| state::write(&self.path, &bytes));
        self.report(written, metrics);
    }

    fn report(&mut self, written: io::Result<()>, metrics: &Metrics) {
        let Err(error) = written else {
            self.failing = false;
            return;
        };
        metrics.state_failed();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = %Chain(&error), "logins not kept on disk; a restart ends the sessions they opened");
        }
    }
}
