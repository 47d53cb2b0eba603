//! A bound on the text and the work of one tenant's section, so that no tenant can make a broker's file outgrow its readers, or
//! keep the writer from the sections of others.
//!
//! What is counted is the same wherever it is counted, so that all who write a section from the same bundle agree on it. Past
//! the bound nothing is cut: what was left could lack a Deny. The section is closed.

use std::cell::Cell;

/// The most bytes of a tenant's section in one file. A file is written as a whole, also when only another tenant's section is
/// new: with this much of one tenant, that takes a fraction of a second.
pub const MAX_SECTION_BYTES: usize = 16 * 1024 * 1024;

/// The most steps that are made for a tenant's section in one file: some seconds of work. A step is a level of a topic that is
/// compared with those of others, or a client that is compared with a subject; a topic that is written out for a client is 8.
pub const MAX_SECTION_STEPS: u64 = 400_000_000;

/// Steps between two questions whether to go on: about a millisecond.
const PACE: u64 = 16 * 1024;

/// How much a section may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Steps of work.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: MAX_SECTION_BYTES, steps: MAX_SECTION_STEPS }
    }
}

/// Why a tenant's section denies everything to its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// It would have more than [`MAX_SECTION_BYTES`].
    TooLong,
    /// It would take more than [`MAX_SECTION_STEPS`].
    TooMuchWork,
    /// It is not worked out yet.
    NotYet,
    /// It does not fit into a `ConfigMap` or Secret beside those of other tenants.
    NoRoom,
}

impl Closed {
    /// The reason, and what to do, as the end of a sentence that names the tenant.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::TooLong => {
                "its rules would take more than 16 MiB of the file; allow and deny fewer topics, or select fewer devices by each \
                 policy"
            }
            Self::TooMuchWork => {
                "it takes too many steps to work out what its rules say; deny fewer topics that reach into what is allowed, or \
                 select fewer devices by each policy"
            }
            Self::NotYet => "its rules are being worked out",
            Self::NoRoom => {
                "its rules do not fit into 1 MiB beside those of smaller tenants; take the file from a sidecar's `--acl-dir`"
            }
        }
    }
}

/// Why the work on a section ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It passed a bound.
    Closed(Closed),
    /// Its result is not wanted any more.
    Stopped,
}

/// Counts bytes and steps. Once it has ended, whatever was made of the section is thrown away.
pub(super) struct Meter<'g> {
    limits: Limits,
    bytes: Cell<usize>,
    steps: Cell<u64>,
    ended: Cell<Option<Ended>>,
    go_on: &'g dyn Fn() -> bool,
}

impl<'g> Meter<'g> {
    /// A meter that asks now and then whether to go on.
    pub(super) fn new(limits: Limits, go_on: &'g dyn Fn() -> bool) -> Self {
        Self { limits, bytes: Cell::new(0), steps: Cell::new(0), ended: Cell::new(None), go_on }
    }

    /// Counts steps; whether the work goes on.
    pub(super) fn step(&self, steps: usize) -> bool {
        let before = self.steps.get();
        let after = before.saturating_add(u64::try_from(steps).unwrap_or(u64::MAX));
        self.steps.set(after);
        if after > self.limits.steps {
            self.end(Ended::Closed(Closed::TooMuchWork));
        } else if before / PACE != after / PACE && !(self.go_on)() {
            self.end(Ended::Stopped);
        }
        self.goes_on()
    }

    /// Counts bytes of text that are written; whether the work goes on.
    pub(super) fn write(&self, bytes: usize) -> bool {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        self.has_room_for(0)
    }

    /// Whether so much more text may be written, and the work goes on. Without room it ends.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        if self.bytes.get().saturating_add(bytes) > self.limits.bytes {
            self.end(Ended::Closed(Closed::TooLong));
        }
        self.goes_on()
    }

    pub(super) fn goes_on(&self) -> bool {
        self.ended.get().is_none()
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get()
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    fn end(&self, ended: Ended) {
        if self.ended.get().is_none() {
            self.ended.set(Some(ended));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { bytes: 10, steps: 10 };

    #[test]
    fn what_passes_a_bound_ends_for_that_reason_and_for_good() {
        let meter = Meter::new(FEW, &|| true);
        assert!(meter.step(10) && meter.write(10) && meter.has_room_for(0));
        assert!(!meter.has_room_for(1));
        assert_eq!(meter.ended(), Some(Ended::Closed(Closed::TooLong)));
        assert!(!meter.step(1), "the first reason stays");
        assert_eq!(meter.ended(), Some(Ended::Closed(Closed::TooLong)));
        let meter = Meter::new(FEW, &|| true);
        assert!(!meter.step(11));
        assert_eq!(meter.ended(), Some(Ended::Closed(Closed::TooMuchWork)));
    }

    #[test]
    fn it_asks_now_and_then_whether_to_go_on() {
        let asked = Cell::new(0);
        let twice = || asked.replace(asked.get() + 1) < 2;
        let meter = Meter::new(Limits::default(), &twice);
        let steps = (0..1_000_000).take_while(|_| meter.step(1)).count();
        assert_eq!((asked.get(), steps), (3, 3 * 16 * 1024 - 1));
        assert_eq!(meter.ended(), Some(Ended::Stopped));
    }
}
