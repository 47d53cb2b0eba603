//! What is asked as conditions on items, each of them a union of sets.

use super::sets::{Set, SetId};
use super::{Overlap, Question, TooWide};
use crate::template::render::{Position, Unusable};
use crate::template::{Group, Variable};

/// Room for conditions, so that nothing is allocated.
pub(super) struct Room<'i, const TERMS: usize, const CONDITIONS: usize> {
    terms: [Term<'i>; TERMS],
    conditions: [Condition; CONDITIONS],
}

/// A set of items that belongs to a condition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<'i> {
    pub(super) set: Set<'i>,
    /// How many items it has.
    pub(super) len: u32,
    /// Where a search is in the set.
    pub(super) cursor: usize,
    pub(super) role: Role,
}

/// What a set means to its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Its items fulfil the condition.
    Match,
    /// Its items fulfil the conditions after this one: they end in `#` here, since a value cannot be used.
    Grow,
    /// Both.
    MatchAndGrow,
}

/// The terms up to `end`, from the end of the condition before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Condition {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether an item has to fulfil it; otherwise it says only what grows.
    pub(super) restricts: bool,
}

/// The conditions of a question, in the order of places.
#[derive(Debug)]
pub(super) struct Conditions<'r, 'i> {
    pub(super) terms: &'r mut [Term<'i>],
    pub(super) conditions: &'r mut [Condition],
    /// Whether the order matters, because something grows.
    pub(super) grows: bool,
}

impl<const TERMS: usize, const CONDITIONS: usize> Default for Room<'_, TERMS, CONDITIONS> {
    fn default() -> Self {
        let none = Term { set: Set::List(&[]), len: 0, cursor: 0, role: Role::Match };
        Self { terms: [none; TERMS], conditions: [Condition::default(); CONDITIONS] }
    }
}

/// Conditions while they are written.
struct Writer<'r, 'i> {
    index: &'i Overlap,
    terms: &'r mut [Term<'i>],
    conditions: &'r mut [Condition],
    terms_used: usize,
    used: usize,
    start: usize,
    grows: bool,
}

impl Overlap {
    pub(super) fn conditions<'r, 'i, const TERMS: usize, const CONDITIONS: usize>(
        &'i self,
        question: &Question<'_>,
        room: &'r mut Room<'i, TERMS, CONDITIONS>,
    ) -> Result<Conditions<'r, 'i>, TooWide> {
        let Room { terms, conditions } = room;
        let mut writer = Writer { index: self, terms, conditions, terms_used: 0, used: 0, start: 0, grows: false };
        let (levels, hash) = match question.levels {
            // `+/#` matches exactly what `#` matches.
            ["+", "#"] => (&[][..], true),
            [levels @ .., "#"] => (levels, true),
            levels => (levels, false),
        };
        writer.lead(question, levels, hash)?;
        for (place, level) in levels.iter().enumerate().take(self.places.len()) {
            writer.level(question, place, level)?;
        }
        writer.end(question, levels.len(), hash)?;
        let Writer { terms, conditions, terms_used, used, grows, .. } = writer;
        let (terms, _) = terms.split_at_mut_checked(terms_used).ok_or(TooWide)?;
        let (conditions, _) = conditions.split_at_mut_checked(used).ok_or(TooWide)?;
        Ok(Conditions { terms, conditions, grows })
    }

    /// The items that end where what is asked ends, or that `#` reaches from there.
    fn ends(&self, levels: usize, hash: bool) -> Option<SetId> {
        let by_levels = if hash { &self.at_least } else { &self.exactly };
        by_levels.get(levels).copied().unwrap_or(self.hashes)
    }
}

impl Writer<'_, '_> {
    /// What a leading wildcard does not reach.
    fn lead(&mut self, question: &Question<'_>, levels: &[&str], hash: bool) -> Result<(), TooWide> {
        let index = self.index;
        let wildcard = levels.first().is_none_or(|level| *level == "+");
        if let Some(undollared) = index.undollared.filter(|_| wildcard && !question.dotted) {
            self.set(undollared, Role::Match)?;
            // Where a value cannot be used, it does not start with `$` either.
            self.groups(question, 0, |writer, sets, _| writer.set(sets.all, Role::Match))?;
            self.close(true)?;
        }
        // A lone `+` does not reach the empty level: there is no empty name.
        if let Some(not_empty_led) = index.not_empty_led.filter(|_| levels == ["+"] && !hash) {
            self.set(not_empty_led, Role::Match)?;
            self.close(true)?;
        }
        Ok(())
    }

    fn level(&mut self, question: &Question<'_>, place: usize, level: &str) -> Result<(), TooWide> {
        let index = self.index;
        let wild = index.places.get(place).and_then(|place| place.wild);
        let restricts = match level {
            "+" if !question.whole => false,
            "+" => self.optional(wild).map(|()| true)?,
            text => {
                let beyond = if place == 0 && text.starts_with('$') { index.everything } else { wild };
                self.text(question, place, text, beyond)?;
                true
            }
        };
        self.groups(question, place, |writer, sets, fault| match fault {
            Unusable::Below => writer.set(sets.all, Role::MatchAndGrow),
            Unusable::Level => {
                if restricts {
                    writer.set(sets.all, Role::Match)?;
                }
                writer.set(sets.last, Role::Grow)
            }
        })?;
        self.close(restricts)
    }

    /// The items that match a text at a place: those with it, and those with something that matches any.
    fn text(&mut self, question: &Question<'_>, place: usize, text: &str, wild: Option<SetId>) -> Result<(), TooWide> {
        let index = self.index;
        let known = index.texts.get(place, text);
        known.into_iter().try_for_each(|set| self.set(set, Role::Match))?;
        // Sets in bits hold what matches any text already.
        if !known.is_some_and(|known| matches!(index.sets.get(known), Set::Bits(_))) {
            self.optional(wild)?;
        }
        let Some(at) = index.places.get(place) else { return Ok(()) };
        let value = |variable: &Variable| question.client.variable(variable);
        let mut wrote = Ok(());
        for group in at.spellings.groups() {
            if group.unusable(position(question, place), value).is_none() {
                at.spellings.spelt(group, text, value, |set| wrote = wrote.and_then(|()| self.set(set, Role::Match)));
            }
        }
        wrote
    }

    /// Writes the groups at a place that a client's values make unusable.
    fn groups(
        &mut self,
        question: &Question<'_>,
        place: usize,
        mut write: impl FnMut(&mut Self, &super::GroupSets, Unusable) -> Result<(), TooWide>,
    ) -> Result<(), TooWide> {
        let index = self.index;
        let Some(at) = index.places.get(place) else { return Ok(()) };
        let fault =
            |group: &Group| group.unusable(position(question, place), |variable| question.client.variable(variable));
        for (group, sets) in at.spellings.groups().iter().zip(&at.groups) {
            if let Some(fault) = fault(group) {
                write(self, sets, fault)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, question: &Question<'_>, levels: usize, hash: bool) -> Result<(), TooWide> {
        let index = self.index;
        // What becomes `#` one level further on matches its parent.
        if !hash || question.whole {
            self.groups(question, levels, |writer, sets, fault| match fault {
                Unusable::Below => writer.set(sets.all, Role::Grow),
                Unusable::Level => writer.set(sets.last, Role::Grow),
            })?;
            self.close(false)?;
        }
        if hash && question.whole {
            // Only a `#` covers a `#`.
            self.optional(index.ends(levels, false))?;
            self.close(true)?;
            self.optional(index.places.get(levels).map_or(index.hashes, |place| place.wild))?;
        } else {
            self.optional(index.ends(levels, hash))?;
        }
        self.close(true)
    }

    fn optional(&mut self, set: Option<SetId>) -> Result<(), TooWide> {
        set.into_iter().try_for_each(|set| self.set(set, Role::Match))
    }

    fn set(&mut self, set: SetId, role: Role) -> Result<(), TooWide> {
        let len = self.index.sets.len(set);
        if len == 0 {
            return Ok(());
        }
        let term = self.terms.get_mut(self.terms_used).ok_or(TooWide)?;
        *term = Term { set: self.index.sets.get(set), len, cursor: 0, role };
        self.terms_used += 1;
        self.grows |= role != Role::Match;
        Ok(())
    }

    fn close(&mut self, restricts: bool) -> Result<(), TooWide> {
        let (start, end) = (self.start, self.terms_used);
        // Nothing to say.
        if !restricts && start == end {
            return Ok(());
        }
        *self.conditions.get_mut(self.used).ok_or(TooWide)? = Condition { start, end, restricts };
        self.used += 1;
        self.start = end;
        Ok(())
    }
}

fn position(question: &Question<'_>, place: usize) -> Position {
    Position { first: place == 0, dotted: question.dotted }
}
