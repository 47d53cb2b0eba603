//! What is asked as conditions on items, each of them a union of sets.
//!
//! The sets of texts are the same for all blocks: they are found once. Those of variables are found anew for each span, which
//! has few of them.

use smallvec::SmallVec;

use super::asked::{Asked, Values};
use super::block::start_of;
use super::sets::{Set, SetId};
use super::{Group, Overlap, Span};
use crate::template::render::Unusable;

/// A set of items that belongs to a condition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<'i> {
    pub(super) set: Set<'i>,
    /// Where a search is in the set.
    pub(super) cursor: u32,
    pub(super) role: Role,
}

/// What a set means to its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Its items fulfil the condition.
    Match,
    /// Its items end in `#` here, since a value cannot be used: they fulfil this condition and those after it.
    Grow,
}

/// What items have to be, at one place or altogether.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'i> {
    /// The place that it is about; `None` where that is the whole topic.
    place: Option<usize>,
    /// Whether an item has to fulfil it; otherwise it says only what grows.
    pub(super) restricts: bool,
    /// The items that fulfil it, variables aside.
    pub(super) fixed: [Term<'i>; 2],
    /// The terms of variables in the span.
    pub(super) varying: (usize, usize),
    /// Whether one of these makes items grow.
    pub(super) grows: bool,
}

/// A condition that is asked about a span.
#[derive(Debug, Clone, Copy)]
pub(super) enum Active<'i> {
    /// The items of one set in bits fulfil it. Most are so.
    Bits(&'i [u64]),
    /// The number of another one.
    Other(usize),
}

/// The conditions of a question. Nothing is allocated up to so many levels and terms.
#[derive(Debug, Default)]
pub(super) struct Conditions<'i, const LEVELS: usize, const TERMS: usize> {
    /// In the order of places.
    pub(super) all: SmallVec<[Condition<'i>; LEVELS]>,
    /// How many items fulfil each of them, variables aside, with its number; the fewest first.
    strictest_first: SmallVec<[(u32, u32); LEVELS]>,
    /// Where the conditions on levels begin.
    first_level: usize,
    /// Those that are asked about the span.
    pub(super) active: SmallVec<[Active<'i>; LEVELS]>,
    /// The terms of variables in the span, by condition.
    pub(super) varying: SmallVec<[Term<'i>; TERMS]>,
    /// The conditions that have such terms.
    varied: SmallVec<[usize; TERMS]>,
    /// The first condition at which items grow in the span.
    first_growing: Option<usize>,
}

impl<'i, const LEVELS: usize, const TERMS: usize> Conditions<'i, LEVELS, TERMS> {
    /// The conditions of a question, without those of variables. `blocks` are how many will be searched.
    pub(super) fn begin(&mut self, index: &'i Overlap, asked: &Asked<'_, TERMS>, blocks: usize) {
        self.lead(index, asked);
        self.first_level = self.all.len();
        for (place, text) in asked.texts.iter().enumerate().take(index.places.len()) {
            let level = index.level(place, text, asked.whole);
            self.add(index, Some(place), level.restricts, [level.text, level.wild]);
        }
        self.end(index, asked);
        self.order(blocks);
    }

    /// What a leading wildcard does not reach.
    fn lead(&mut self, index: &'i Overlap, asked: &Asked<'_, TERMS>) {
        if let Some(undollared) = index.undollared.filter(|_| asked.stops_at_dollar()) {
            self.add(index, None, true, [Some(undollared), None]);
        }
        // A lone `+` does not reach the empty level: there is no empty name.
        if let Some(not_empty_led) = index.not_empty_led.filter(|_| asked.is_lone_plus()) {
            self.add(index, None, true, [Some(not_empty_led), None]);
        }
    }

    fn end(&mut self, index: &'i Overlap, asked: &Asked<'_, TERMS>) {
        let Asked { hash, whole, .. } = *asked;
        let depth = asked.depth();
        let by_levels = if hash && !whole { &index.at_least } else { &index.exactly };
        let ends = by_levels.get(depth).copied().unwrap_or(index.hashes);
        // The level behind the last one that is asked for: see `vary_level`.
        self.add(index, None, false, [None, None]);
        self.add(index, None, true, [ends, None]);
        if hash && whole {
            // Only a `#` covers a `#`.
            let wild = index.places.get(depth).map_or(index.hashes, |place| place.wild);
            self.add(index, None, true, [wild, None]);
        }
    }

    fn add(&mut self, index: &'i Overlap, place: Option<usize>, restricts: bool, sets: [Option<SetId>; 2]) {
        let number = super::narrow(self.all.len());
        self.all.push(Condition { place, restricts, ..Condition::NONE });
        let Some(own) = self.all.last_mut() else { return };
        let mut size = 0_u32;
        for (term, set) in own.fixed.iter_mut().zip(sets.into_iter().flatten()) {
            term.set = index.sets.get(set);
            size = size.saturating_add(index.sets.count(set));
        }
        if restricts {
            self.strictest_first.push((size, number));
        }
    }

    /// Lets the conditions that the fewest items fulfil go first, so that the others are asked about few blocks. All of them are
    /// put in order where there are many blocks.
    fn order(&mut self, blocks: usize) {
        const MANY_BLOCKS: usize = 4;
        let order = &mut self.strictest_first;
        if blocks >= MANY_BLOCKS {
            order.sort_unstable();
        } else if let Some((place, _)) = order.iter().enumerate().min_by_key(|(_, order)| **order) {
            order.swap(0, place);
        }
    }

    /// Goes on to a span, which is searched from a block on.
    pub(super) fn enter(&mut self, index: &'i Overlap, asked: &Asked<'_, TERMS>, span: &'i Span, at: usize) {
        self.varying.clear();
        self.first_growing = None;
        for number in self.varied.drain(..) {
            let condition = self.all.get_mut(number);
            condition.into_iter().for_each(|it| (it.varying, it.grows) = ((0, 0), false));
        }
        let groups = span.groups.iter().filter_map(|number| {
            let number = super::wide(*number);
            index.groups.get(number).map(|group| (group, asked.values(number)))
        });
        let from = start_of(at);
        if asked.stops_at_dollar() && index.undollared.is_some() {
            // Where a value cannot be used, it does not start with `$` either.
            let faulty = groups.clone().filter(|(group, values)| group.place == 0 && values.fault.is_some());
            faulty.for_each(|(group, _)| self.vary(0, Term::new(index, group.all, from, Role::Match)));
        }
        // What becomes `#` one level further on matches its parent.
        let parents = !asked.hash || asked.whole;
        let is_asked = |place: usize| place < asked.depth() || (place == asked.depth() && parents);
        for (group, values) in groups.filter(|(group, _)| is_asked(group.place)) {
            self.vary_level(index, asked, group, values, from);
        }
        self.activate(span.depth.max(1));
    }

    /// Adds what a group means at its level, or at the one behind the last, which restricts nothing.
    fn vary_level(&mut self, index: &'i Overlap, asked: &Asked<'_, TERMS>, group: &Group, values: Values, from: u32) {
        let condition = self.first_level + group.place;
        let restricts = self.all.get(condition).is_some_and(|condition| condition.restricts);
        let mut vary = |set, role| self.vary(condition, Term::new(index, set, from, role));
        match values.fault {
            None => asked.spelt(values).iter().for_each(|set| vary(*set, Role::Match)),
            Some(Unusable::Below) => vary(group.all, Role::Grow),
            Some(Unusable::Level) => {
                if restricts {
                    vary(group.all, Role::Match);
                }
                vary(group.last, Role::Grow);
            }
        }
    }

    /// Adds a term to a condition; conditions come in ascending order.
    fn vary(&mut self, condition: usize, term: Option<Term<'i>>) {
        let (Some(term), Some(own)) = (term, self.all.get_mut(condition)) else { return };
        let (start, end) = own.varying;
        let used = self.varying.len();
        if start == end {
            self.varied.push(condition);
        }
        own.varying = (if start == end { used } else { start }, used + 1);
        if term.role == Role::Grow {
            own.grows = true;
            self.first_growing.get_or_insert(condition);
        }
        self.varying.push(term);
    }

    /// Chooses the conditions for items of so many levels. The end decides about items that are not as deep; a level that
    /// starts with `$` is asked for in any case.
    ///
    /// Those before the first that makes items grow come in any order, so the strictest come first.
    fn activate(&mut self, depth: usize) {
        let Self { all, strictest_first, active, first_growing, .. } = self;
        active.clear();
        let first_growing = first_growing.unwrap_or(all.len());
        let is_asked = |condition: &Condition<'_>| condition.place.is_none_or(|place| place < depth);
        for (size, number) in strictest_first.iter() {
            let number = super::wide(*number);
            let condition = all.get(number).filter(|condition| number < first_growing && is_asked(condition));
            let Some(condition) = condition else { continue };
            if *size == 0 && condition.varying == (0, 0) {
                // No item fulfils it: nothing else has to be asked.
                active.clear();
                active.push(Active::Other(number));
                return;
            }
            active.push(condition.as_active(number));
        }
        let rest = (0..).zip(all.iter()).skip(first_growing);
        let rest = rest.filter(|(_, condition)| condition.grows || (condition.restricts && is_asked(condition)));
        active.extend(rest.map(|(number, condition)| condition.as_active(number)));
    }
}

impl<'i> Condition<'i> {
    /// One that no item fulfils.
    const NONE: Self = Self { place: None, restricts: true, fixed: [Term::EMPTY; 2], varying: (0, 0), grows: false };

    fn as_active(&self, number: usize) -> Active<'i> {
        match (&self.fixed, self.varying) {
            ([Term { set: Set::Bits(bits), .. }, Term { set: Set::List([]), .. }], (0, 0)) if self.restricts => {
                Active::Bits(bits)
            }
            _ => Active::Other(number),
        }
    }
}

impl<'i> Term<'i> {
    const EMPTY: Self = Self { set: Set::List(&[]), cursor: 0, role: Role::Match };

    /// A term, unless its set is empty.
    fn new(index: &'i Overlap, set: SetId, from: u32, role: Role) -> Option<Self> {
        let set = index.sets.get(set);
        (!matches!(set, Set::List([]))).then(|| Self { set, cursor: set.cursor_at(from), role })
    }
}
