//! What the keeper does next: the order of mark, change, save and clear, without a clock, a thread or a disk of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::Decoded;
use crate::tenant_key::TenantKey;

/// How long an edit waits for the mark; a volume on which the mark takes longer is slow.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// How often the volume is looked at, and what failed is tried again.
const EVERY: Duration = Duration::from_secs(5);

/// What should be saved: what is in force.
#[derive(Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) bundles: BTreeMap<TenantKey, Arc<Decoded>>,
    pub(crate) complete: bool,
}

/// What is on the volume.
#[derive(Default)]
pub(crate) struct Saved {
    /// Tenants with a folder; `None` where it holds something else than a bundle that is known to be whole and current.
    pub(crate) bundles: BTreeMap<TenantKey, Option<Arc<Decoded>>>,
    pub(crate) complete: bool,
}

/// What the mark says, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkSays {
    /// What is saved is current.
    Clear,
    /// What is in force may be newer.
    Set,
    /// One of both: a write failed, or the volume is not the one that it was.
    Unknown,
}

/// One change of the volume.
pub(super) enum Job {
    /// Sets the mark; where that fails, removes the note of completeness and the indexes of these tenants, or of all where it
    /// is not known which there are.
    Mark {
        round: u64,
        stale: Option<Vec<TenantKey>>,
    },
    Save(TenantKey, Arc<Decoded>),
    Remove(TenantKey),
    SetComplete(bool),
    Clear,
    /// Overwrites the mark by what it says already, to learn how the volume is.
    Look {
        set: bool,
    },
}

/// How setting the mark ended.
pub(super) enum Marked {
    /// It is set. With what is on the volume, if that was not known.
    Set(Option<Saved>),
    /// It could not be set; these tenants have no index any more, and nothing is noted to be complete.
    Removed(Vec<TenantKey>),
    /// Neither could be done.
    Neither,
}

/// What is tried again later, after it has failed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Mark,
    Bundle(TenantKey),
    Complete,
    Clear,
}

/// The state of the volume, and what is wanted.
pub(super) struct Plan {
    wanted: Wanted,
    /// `None` until the volume was looked at.
    saved: Option<Saved>,
    mark: MarkSays,
    /// Whether the mark took longer than [`PATIENCE`] the last time.
    slow: bool,
    /// Edits that are about to come into force.
    acting: usize,
    /// Requests for the mark, and how many of them were answered.
    asked: u64,
    answered: u64,
    /// When the first of those that were not answered was made.
    asked_at: Option<Instant>,
    failed: BTreeSet<Step>,
    retry_at: Option<Instant>,
    look_at: Instant,
}

impl Plan {
    /// Begins with what an earlier run left, where that may count.
    pub(super) fn new(saved: Option<Saved>, wanted: Wanted, now: Instant) -> Self {
        let mark = if saved.is_some() { MarkSays::Clear } else { MarkSays::Unknown };
        let (asked, answered, asked_at) = (0, 0, None);
        let (failed, retry_at, look_at) = (BTreeSet::new(), None, now + EVERY);
        Self { wanted, saved, mark, slow: false, acting: 0, asked, answered, asked_at, failed, retry_at, look_at }
    }

    /// Takes what comes into force next, until [`Plan::acted`]. Returns what [`Plan::may_act`] has to be asked with.
    pub(super) fn act(&mut self, wanted: Wanted, now: Instant) -> u64 {
        self.wanted = wanted;
        self.acting += 1;
        if self.is_current() || self.mark == MarkSays::Set {
            return self.answered;
        }
        self.asked += 1;
        self.asked_at.get_or_insert(now);
        self.asked
    }

    /// Whether an edit need not wait any longer; else until when.
    pub(super) fn may_act(&self, round: u64, now: Instant) -> Result<(), Duration> {
        if self.has_answered(round) {
            return Ok(());
        }
        let waited = self.asked_at.map_or(PATIENCE, |asked| now.saturating_duration_since(asked));
        PATIENCE.checked_sub(waited).filter(|left| !left.is_zero()).map_or(Ok(()), Err)
    }

    /// Whether the mark was set for an edit, or tried to be.
    pub(super) fn has_answered(&self, round: u64) -> bool {
        self.answered >= round || self.mark == MarkSays::Set
    }

    pub(super) fn acted(&mut self) {
        self.acting = self.acting.saturating_sub(1);
    }

    /// Whether a restart would serve what is in force, and count it.
    pub(super) fn is_settled(&self) -> bool {
        self.acting == 0 && self.mark == MarkSays::Clear && self.is_current()
    }

    /// Whether what is saved is what is in force.
    fn is_current(&self) -> bool {
        let Some(saved) = &self.saved else {
            return false;
        };
        let is_saved = |key| saved.bundles.get(key).is_some_and(|found| self.is_wanted(key, found.as_ref()));
        saved.complete == self.wanted.complete
            && saved.bundles.len() == self.wanted.bundles.len()
            && saved.bundles.keys().all(is_saved)
    }

    /// The next change of the volume; else how long there is none.
    pub(super) fn next(&mut self, now: Instant) -> Result<Job, Duration> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.failed.clear();
        }
        let wants_mark = self.slow || !self.is_current();
        if wants_mark && self.mark != MarkSays::Set {
            if self.asked > self.answered || !self.failed.contains(&Step::Mark) {
                return Ok(Job::Mark { round: self.asked, stale: self.stale() });
            }
        } else if self.acting == 0 {
            if let Some(job) = self.change() {
                return Ok(job);
            }
            if !wants_mark && self.mark != MarkSays::Clear && !self.failed.contains(&Step::Clear) {
                // An edit that comes while this is written has to have it set again.
                self.mark = MarkSays::Unknown;
                return Ok(Job::Clear);
            }
        }
        if self.look_at <= now && self.mark != MarkSays::Unknown {
            return Ok(Job::Look { set: self.mark == MarkSays::Set });
        }
        let until = self.retry_at.map_or(self.look_at, |at| at.min(self.look_at));
        // One that is due, but has to wait for something else, comes up again at once when that ends.
        Err(until.checked_duration_since(now).filter(|left| !left.is_zero()).unwrap_or(EVERY))
    }

    /// Tenants whose saved bundle is not the one in force.
    fn stale(&self) -> Option<Vec<TenantKey>> {
        let is_stale = |(key, saved): &(&TenantKey, &Option<Arc<Decoded>>)| !self.is_wanted(key, saved.as_ref());
        let saved = self.saved.as_ref()?;
        Some(saved.bundles.iter().filter(is_stale).map(|(key, _)| key.clone()).collect())
    }

    fn is_wanted(&self, key: &TenantKey, saved: Option<&Arc<Decoded>>) -> bool {
        let wanted = self.wanted.bundles.get(key);
        saved.zip(wanted).is_some_and(|(saved, wanted)| Arc::ptr_eq(saved, wanted))
    }

    /// What is to be saved or removed: removals first, since they make room; the note of completeness last.
    fn change(&self) -> Option<Job> {
        let saved = self.saved.as_ref()?;
        let may = |key: &TenantKey| !self.failed.contains(&Step::Bundle(key.clone()));
        let gone = saved.bundles.keys().find(|key| !self.wanted.bundles.contains_key(*key) && may(key));
        if let Some(key) = gone {
            return Some(Job::Remove(key.clone()));
        }
        let is_saved = |key| saved.bundles.get(key).is_some_and(|saved| self.is_wanted(key, saved.as_ref()));
        if let Some((key, bundle)) = self.wanted.bundles.iter().find(|(key, _)| !is_saved(key) && may(key)) {
            return Some(Job::Save(key.clone(), Arc::clone(bundle)));
        }
        let complete = self.wanted.complete;
        (saved.complete != complete && !self.failed.contains(&Step::Complete)).then_some(Job::SetComplete(complete))
    }

    pub(super) fn marked(&mut self, round: u64, marked: Marked, took: Duration, now: Instant) {
        self.answered = round;
        self.asked_at = (self.asked > self.answered).then_some(now);
        self.slow = took > PATIENCE;
        self.look_at = now + EVERY;
        match marked {
            Marked::Set(found) => {
                self.mark = MarkSays::Set;
                self.saved = found.or(self.saved.take());
            }
            Marked::Removed(tenants) => {
                if let Some(saved) = &mut self.saved {
                    saved.bundles.retain(|key, _| !tenants.contains(key));
                    saved.complete = false;
                }
                self.mark_failed(Step::Mark, now);
            }
            Marked::Neither => self.mark_failed(Step::Mark, now),
        }
    }

    pub(super) fn saved(&mut self, key: TenantKey, bundle: Arc<Decoded>, success: bool, now: Instant) {
        if let Some(saved) = &mut self.saved {
            saved.bundles.insert(key.clone(), success.then_some(bundle));
        }
        self.tried(Step::Bundle(key), success, now);
    }

    pub(super) fn removed(&mut self, key: TenantKey, success: bool, now: Instant) {
        if let Some(saved) = self.saved.as_mut().filter(|_| success) {
            saved.bundles.remove(&key);
        }
        self.tried(Step::Bundle(key), success, now);
    }

    pub(super) fn completeness_noted(&mut self, complete: bool, success: bool, now: Instant) {
        if let Some(saved) = self.saved.as_mut().filter(|_| success) {
            saved.complete = complete;
        }
        self.tried(Step::Complete, success, now);
    }

    pub(super) fn cleared(&mut self, success: bool, took: Duration, now: Instant) {
        self.slow = took > PATIENCE;
        self.look_at = now + EVERY;
        if success {
            self.mark = MarkSays::Clear;
        } else {
            self.mark_failed(Step::Clear, now);
        }
    }

    pub(super) fn looked(&mut self, success: bool, took: Duration, now: Instant) {
        self.slow = took > PATIENCE;
        self.look_at = now + EVERY;
        if !success {
            // The mark is to be set at once, wherever the volume is now, and what is there to be saved anew.
            self.mark = MarkSays::Unknown;
            self.saved = None;
        }
    }

    fn mark_failed(&mut self, step: Step, now: Instant) {
        self.mark = MarkSays::Unknown;
        self.tried(step, false, now);
    }

    fn tried(&mut self, step: Step, success: bool, now: Instant) {
        if !success {
            self.failed.insert(step);
            self.retry_at.get_or_insert(now + EVERY);
        }
    }
}
