//! Rotation (pure): from what a Secret holds, what is in force and what its owner wishes, to what the Secret should hold.
//!
//! ```text
//!   Steady --due--> next one announced --in force everywhere--> Overlap (current, previous) --end--> Steady
//!      \---------------------- edited by hand ----------------------/
//! ```
//!
//! Clock and randomness are the caller's. A secret is replaced only when somebody asked for it: by a trigger, by an age, or
//! with his own hands. What is accepted beside the current secret ends at a time that was fixed when it began, and that only
//! an edit of the wish moves.

mod record;
mod spread;

use mqtt_access_core::bundle::{Spare, UnixSeconds};
use mqtt_access_crds::{Rotation, RotationStatus};

pub(crate) use record::{Record, mark};
pub(crate) use spread::Spread;

/// Clocks of two replicas may differ by this much. A record from a time beyond is the work of a clock that was set back.
const SKEW: i64 = 3600;

/// What the owner of a secret wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) trigger: Option<String>,
    /// Seconds.
    pub(crate) interval: Option<i64>,
    /// Seconds.
    pub(crate) overlap: i64,
    pub(crate) spread: Spread,
}

impl Wish {
    pub(crate) fn new(spec: Option<&Rotation>, spread: Spread) -> Self {
        let default = Rotation::default();
        let spec = spec.unwrap_or(&default);
        Self {
            trigger: spec.trigger.clone(),
            interval: spec.interval_seconds(),
            overlap: spec.overlap_seconds(),
            spread,
        }
    }

    /// Of a secret that knows no overlap.
    pub(crate) fn cutting_over(self) -> Self {
        Self { overlap: 0, ..self }
    }
}

/// What a Secret holds, or should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held<S> {
    pub(crate) current: S,
    pub(crate) previous: Option<Spare<S>>,
    /// `None` where nobody has kept one yet.
    pub(crate) record: Option<Record>,
}

impl<S> Held<S> {
    /// Where an edit is in force that the Secret's record does not know, because it could not be written: the published
    /// secret before it is the previous one.
    pub(crate) fn catching_up(self, published: Option<Spare<S>>, mark: &str) -> Self {
        match (self, published) {
            (Self { current, previous: None, record: Some(record) }, Some(published)) if record.is_of_another(mark) => {
                let record = Some(record.of(&published, mark.to_owned()));
                Self { current, previous: Some(published), record }
            }
            (held, _) => held,
        }
    }

    /// A Secret that somebody wrote back whole, its record with it, was edited since that record; and what was done since
    /// is not done again.
    pub(crate) fn rolled_back(self, told: Option<&RotationStatus>) -> Self {
        let later = |record: &Record| {
            let at = told?.rotated_at.as_ref()?.0.as_second();
            (at > record.rotated_at).then(|| told?.trigger.clone())
        };
        match self {
            Self { current, previous, record: Some(record) } => {
                let record = match later(&record) {
                    Some(trigger) => record.rolled_back(trigger),
                    None => record,
                };
                Self { current, previous, record: Some(record) }
            }
            held => held,
        }
    }
}

/// Why a secret is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    Trigger,
    Interval,
    /// Somebody wrote another one into the Secret.
    Edit,
}

impl Cause {
    /// Every cause.
    pub(crate) const ALL: [Self; 3] = [Self::Trigger, Self::Interval, Self::Edit];

    /// As metrics have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Interval => "interval",
            Self::Edit => "edit",
        }
    }
}

/// What changed in a step; what people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Transition {
    Rotated(Cause),
    OverlapEnded,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step<S> {
    /// What the Secret should hold.
    pub(crate) held: Held<S>,
    pub(crate) transition: Option<Transition>,
    /// Why the current secret is to be replaced, since when: see [`replace`].
    pub(crate) due: Option<(Cause, UnixSeconds)>,
    /// When it will be.
    pub(crate) next_rotation_at: Option<UnixSeconds>,
}

/// Looks at a secret. `in_force` is the one that clients log in with now, where that is known, and `mark` marks the current one.
pub(crate) fn step<S: Clone + PartialEq>(
    held: Held<S>,
    in_force: Option<&S>,
    mark: &str,
    wish: &Wish,
    now: UnixSeconds,
) -> Step<S> {
    let Held { current, previous, record } = held;
    let known = record.is_some();
    let mut record = record.unwrap_or_else(|| Record::adopted(wish, now));
    let marked = known && record.mark == mark;
    let is_another = known && record.is_of_another(mark);
    mark.clone_into(&mut record.mark);
    record.settle_clock(now);
    let edited = in_force.filter(|in_force| !marked && **in_force != current);
    let (previous, transition) = if let Some(old) = edited {
        record.begin(wish, now);
        (spare(old.clone(), wish, now), Some(Transition::Rotated(Cause::Edit)))
    } else {
        // Where nobody knows what was in force, only the mark tells.
        let by_hand = is_another && in_force.is_none();
        // Somebody went back to it.
        let previous = previous.filter(|previous| previous.secret != current);
        match &previous {
            None if by_hand => record.begin(wish, now),
            Some(_) if by_hand => record.rotated_at = now,
            _ => {}
        }
        let open = previous.is_some();
        let kept = previous.and_then(|previous| record.keep(previous, wish, now));
        let ended = (open && kept.is_none()).then_some(Transition::OverlapEnded);
        (kept, by_hand.then_some(Transition::Rotated(Cause::Edit)).or(ended))
    };
    let next_rotation_at = wish.next_rotation(&record, previous.as_ref().map(|spare| spare.until));
    let due = record.due(wish, now).or_else(|| {
        let at = next_rotation_at.filter(|at| *at <= now)?;
        Some((Cause::Interval, at))
    });
    // Until the current one is in force, the one that is would be cut off.
    let due = due.filter(|_| in_force.is_none_or(|in_force| *in_force == current));
    Step { held: Held { current, previous, record: Some(record) }, transition, due, next_rotation_at }
}

/// Puts the next secret in the place of the current one, which becomes the previous one.
pub(crate) fn replace<S>(held: Held<S>, next: S, mark: String, wish: &Wish, now: UnixSeconds) -> Held<S> {
    let Held { current, previous: _, record } = held;
    let mut record = record.unwrap_or_else(|| Record::adopted(wish, now));
    record.begin(wish, now);
    record.done(wish);
    record.mark = mark;
    Held { current: next, previous: spare(current, wish, now), record: Some(record) }
}

/// The previous secret of a Secret that somebody brought along: nothing is written there, so what is published tells.
pub(crate) fn own<S: Clone + PartialEq>(
    current: &S,
    in_force: Option<(&S, Option<&Spare<S>>)>,
    wish: &Wish,
    now: UnixSeconds,
) -> (Option<Spare<S>>, Option<Transition>) {
    match in_force {
        Some((old, _)) if old != current => (spare(old.clone(), wish, now), Some(Transition::Rotated(Cause::Edit))),
        None | Some((_, None)) => (None, None),
        Some((_, Some(previous))) => {
            // A clock that was set back must not move the end at every look.
            let since = previous.since.min(now);
            let until = since.saturating_add(wish.overlap);
            // What has ended does not begin again.
            let kept = (now < until && now < previous.until).then(|| Spare { since, until, ..previous.clone() });
            let ended = kept.is_none().then_some(Transition::OverlapEnded);
            (kept, ended)
        }
    }
}

fn spare<S>(secret: S, wish: &Wish, now: UnixSeconds) -> Option<Spare<S>> {
    (wish.overlap > 0).then(|| Spare { secret, since: now, until: now.saturating_add(wish.overlap) })
}

impl Wish {
    /// When an age is reached. Not while two secrets are accepted: a third would cut one of them off before its end.
    fn next_rotation(&self, record: &Record, until: Option<UnixSeconds>) -> Option<UnixSeconds> {
        let interval = self.interval?;
        let at = record.rotated_at.saturating_add(interval - self.spread.of(interval));
        Some(at.max(until.unwrap_or(UnixSeconds::MIN)))
    }
}

impl<S> Step<S> {
    /// What the owner is told.
    pub(crate) fn status(&self, cut_over: bool) -> RotationStatus {
        let record = self.held.record.as_ref();
        RotationStatus {
            trigger: record.and_then(|record| record.trigger.clone()),
            rotated_at: record.and_then(|record| record::time(record.rotated_at)),
            next_rotation_at: self.next_rotation_at.and_then(record::time),
            previous_valid_until: self.held.previous.as_ref().and_then(|spare| record::time(spare.until)),
            cut_over,
        }
    }
}

#[cfg(test)]
mod tests;
