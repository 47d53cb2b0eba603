//! The journal's files: numbered segments in a folder of their own, together never larger than a bound.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::state;

/// Its name is none that the folder of a bundle could have.
const FOLDER: &str = "login-journal";
/// The single file of earlier versions: read once, as the oldest segment of all.
const EARLIER: &str = "logins";
/// Segments that the bound has room for.
const SEGMENTS: usize = 16;

pub(in super::super) struct Segments {
    folder: PathBuf,
    /// Oldest first; the last one is appended to, if it is open.
    segments: VecDeque<Segment>,
    open: Option<File>,
    next: u64,
    bytes: usize,
    limit: usize,
}

struct Segment {
    path: PathBuf,
    bytes: usize,
}

impl Segments {
    /// Finds the segments that an earlier run left. What cannot be read is as if it were not there.
    pub(super) fn open(state_dir: &Path, limit: usize) -> Self {
        let folder = state_dir.join(FOLDER);
        let found = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
        let segment = |path: PathBuf| {
            let bytes = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
            Some(Segment { path, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) })
        };
        let numbered = |path: PathBuf| Some((number(&path)?, segment(path)?));
        let mut found: Vec<(u64, Segment)> = found.filter_map(|entry| numbered(entry.path())).collect();
        found.sort_unstable_by_key(|(number, _)| *number);
        let next = found.last().map_or(1, |(number, _)| number.saturating_add(1));
        // It may be of any size, which is not counted: it goes at once.
        let earlier = segment(state_dir.join(EARLIER)).map(|earlier| Segment { bytes: 0, ..earlier });
        let found = found.into_iter().map(|(_, segment)| segment);
        let segments: VecDeque<Segment> = earlier.into_iter().chain(found).collect();
        let bytes = segments.iter().fold(0_usize, |bytes, segment| bytes.saturating_add(segment.bytes));
        Self { folder, segments, open: None, next, bytes, limit }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.segments.iter().map(|segment| segment.path.as_path())
    }

    /// Number of the segment that lines go to now.
    pub(super) fn current(&self) -> u64 {
        self.next
    }

    /// Whether the oldest segment has to go, so that what it holds can still be written anew.
    pub(super) fn are_full(&self) -> bool {
        self.oldest_is_of_an_earlier_version() || self.bytes > self.limit - 2 * self.segment_limit()
    }

    fn oldest_is_of_an_earlier_version(&self) -> bool {
        self.segments.front().is_some_and(|oldest| oldest.path.ends_with(EARLIER))
    }

    fn segment_limit(&self) -> usize {
        self.limit / SEGMENTS
    }

    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// The oldest segment, which is appended to no more.
    pub(super) fn oldest(&mut self) -> Option<PathBuf> {
        if self.segments.len() == 1 {
            self.close();
        }
        self.segments.front().map(|oldest| oldest.path.clone())
    }

    pub(super) fn drop_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.segments.front() else {
            return Ok(());
        };
        match fs::remove_file(&oldest.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
        self.segments.pop_front();
        Ok(())
    }

    /// Appends whole lines, at most a segment of them.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes + lines.len() > self.limit {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the journal of logins has reached its bound"));
        }
        let is_full = self.segments.back().is_some_and(|last| last.bytes + lines.len() > self.segment_limit());
        if is_full {
            self.close();
        }
        let written = self.write(lines);
        if written.is_err() {
            self.forsake();
        }
        written
    }

    /// Leaves a file that may end in half a line: what follows gets one of its own. It counts as what is really there.
    fn forsake(&mut self) {
        self.close();
        let Some(last) = self.segments.back_mut() else {
            return;
        };
        let bytes =
            fs::metadata(&last.path).map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        self.bytes = self.bytes.saturating_sub(last.bytes).saturating_add(bytes);
        last.bytes = bytes;
        if bytes == 0 && fs::remove_file(&last.path).is_ok() {
            self.segments.pop_back();
        }
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.next += 1;
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.is_none() {
            state::make_folder(&self.folder)?;
            let path = self.folder.join(format!("{:08}", self.next));
            self.open = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?);
            self.segments.push_back(Segment { path, bytes: 0 });
        }
        let (Some(file), Some(last)) = (&mut self.open, self.segments.back_mut()) else {
            return Ok(());
        };
        last.bytes += lines.len();
        self.bytes += lines.len();
        file.write_all(lines)
    }
}
