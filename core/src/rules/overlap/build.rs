//! Making an index: each topic goes into the sets of its levels and of its end.

use std::collections::BTreeSet;

use super::block::{blocks_for, insert, narrow, place_of, wide};
use super::sets::{Growing, SetId, Sets};
use super::steps::{Step, Steps};
use super::texts::Texts;
use super::{Group, Overlap, Place, Span};
use crate::template::{Spellings, Topic};

/// An index that still grows. Topics come in their [`Order`](super::Order).
#[derive(Debug, Default)]
pub(super) struct Builder {
    items: u32,
    growing: Growing,
    texts: Texts,
    places: Vec<GrowingPlace>,
    groups: Vec<Group>,
    spans: Vec<Span>,
    /// Of the last block.
    block: GrowingSpan,
    ends: Vec<End>,
    /// Items that are every topic there is, names that start with `$` included.
    everything: Vec<u32>,
    /// Items whose first level starts with `$`.
    dollar_led: Vec<u32>,
    /// Items whose first level is empty.
    empty_led: Vec<u32>,
}

#[derive(Debug)]
struct GrowingPlace {
    plus: SetId,
    spellings: Spellings,
    /// The numbers of its groups among all, by those in the spellings.
    groups: Vec<u32>,
}

/// The depth and the variables of the items of one block.
#[derive(Debug, Default)]
struct GrowingSpan {
    depth: usize,
    /// Places and numbers of groups.
    groups: BTreeSet<(usize, u32)>,
}

/// How an item ends: the number of its levels before a `#`, and what follows.
#[derive(Debug, Clone, Copy)]
struct End {
    levels: u32,
    hash: bool,
    exact: bool,
}

impl Builder {
    pub(super) fn add(&mut self, topic: Option<&Topic>, dotted: bool) {
        let Steps { levels, hash, exact, everything } = Steps::of(topic, dotted);
        let item = self.items;
        if place_of(item).1 == 0 {
            self.end_block();
        }
        self.block.depth = self.block.depth.max(levels.len());
        // A level that starts with `$` is asked for at the first place, whatever the topics are.
        self.place(0);
        for (place, step) in levels.iter().enumerate() {
            let last = !hash && place + 1 == levels.len();
            self.add_level(item, place, *step, exact, last);
        }
        self.everything.extend(everything.then_some(item));
        self.ends.push(End { levels: narrow(levels.len()), hash, exact });
        self.items += 1;
    }

    /// Notes what the items of the last block have; blocks of which that is the same are one span.
    fn end_block(&mut self) {
        let GrowingSpan { depth, groups } = std::mem::take(&mut self.block);
        let end = blocks_for(self.items);
        let groups: Box<[u32]> = groups.into_iter().map(|(_, group)| group).collect();
        match self.spans.last_mut() {
            Some(last) if (last.depth, &last.groups) == (depth, &groups) => last.end = end,
            _ if self.items > 0 => self.spans.push(Span { end, depth, groups }),
            _ => {}
        }
    }

    /// Makes the place, and those before it.
    fn place(&mut self, place: usize) {
        while self.places.len() <= place {
            let plus = self.growing.start();
            self.places.push(GrowingPlace { plus, spellings: Spellings::default(), groups: Vec::new() });
        }
    }

    fn add_level(&mut self, item: u32, place: usize, step: Step<'_>, exact: bool, last: bool) {
        self.place(place);
        let Self { growing, texts, places, groups, block, .. } = self;
        let Some(at) = places.get_mut(place) else { return };
        let leading = match step {
            Step::Literal(text) => {
                let set = texts.get_or_insert(place, text, || growing.start());
                growing.insert(set, item);
                text
            }
            // No literal covers the `+` of an `eq` topic.
            Step::Plus if !exact => {
                growing.insert(at.plus, item);
                return;
            }
            Step::Plus | Step::Hash => return,
            Step::Variable(parts) => {
                let (number, set) = at.spellings.get_or_insert(parts, place == 0, || growing.start());
                growing.insert(set, item);
                while at.groups.len() <= number {
                    at.groups.push(narrow(groups.len()));
                    groups.push(Group {
                        place,
                        number: at.groups.len() - 1,
                        all: growing.start(),
                        last: growing.start(),
                    });
                }
                let group = at.groups.get(number).copied().unwrap_or_default();
                block.groups.insert((place, group));
                if let Some(group) = groups.get(wide(group)) {
                    growing.insert(group.all, item);
                    if last {
                        growing.insert(group.last, item);
                    }
                }
                super::leading(parts)
            }
        };
        if place == 0 && leading.starts_with('$') {
            self.dollar_led.push(item);
        } else if place == 0 && step == Step::Literal("") {
            self.empty_led.push(item);
        }
    }

    pub(super) fn finish(mut self) -> Overlap {
        self.end_block();
        let Self {
            items,
            growing,
            mut texts,
            places,
            groups,
            spans,
            block: _,
            ends,
            everything,
            dollar_led,
            empty_led,
        } = self;
        let mut sets = growing.finish(items);
        let undollared = without(&mut sets, items, &dollar_led);
        let not_empty_led = without(&mut sets, items, &empty_led);
        let everything = add(&mut sets, everything.into_iter());
        let plus: Vec<SetId> = places.iter().map(|place| place.plus).collect();
        let derived = Derived::of(&ends, &plus, &mut sets);
        let places: Vec<Place> = places
            .into_iter()
            .zip(&derived.wild)
            .map(|(GrowingPlace { plus: _, mut spellings, groups: _ }, wild)| {
                spellings.shrink();
                Place { wild: *wild, spellings }
            })
            .collect();
        for (place, text, set) in texts.iter() {
            let leads_with_dollar = place == 0 && text.starts_with('$');
            let wild = if leads_with_dollar { everything } else { places.get(place).and_then(|place| place.wild) };
            if let Some(wild) = wild {
                sets.widen(set, wild);
            }
        }
        texts.shrink();
        sets.shrink();
        let Derived { wild: _, exactly, at_least, hashes } = derived;
        let shapes = places.iter().map(|place| place.spellings.shapes()).sum();
        Overlap {
            sets,
            texts,
            places,
            groups,
            shapes,
            spans,
            everything,
            undollared,
            not_empty_led,
            exactly,
            at_least,
            hashes,
        }
    }
}

/// The sets that hang on how items end, and on `#` above a level.
struct Derived {
    wild: Vec<Option<SetId>>,
    exactly: Vec<Option<SetId>>,
    at_least: Vec<Option<SetId>>,
    hashes: Option<SetId>,
}

impl Derived {
    fn of(ends: &[End], plus: &[SetId], sets: &mut Sets) -> Self {
        let mut by_levels: Vec<Vec<(u32, End)>> = vec![Vec::new(); plus.len() + 1];
        for (item, end) in (0..).zip(ends) {
            if let Some(same) = by_levels.get_mut(wide(end.levels)) {
                same.push((item, *end));
            }
        }
        // A `#` of an `eq` topic is matched by nothing but another one.
        let is_hash = |end: &End| end.hash && !end.exact;
        let mut derived = Self { wild: Vec::new(), exactly: Vec::new(), at_least: Vec::new(), hashes: None };
        let mut hashes = sets.empty();
        for (place, same) in by_levels.iter().enumerate() {
            same.iter().filter(|(_, end)| is_hash(end)).for_each(|(item, _)| insert(&mut hashes, *item));
            let mut exactly = hashes.clone();
            same.iter().filter(|(_, end)| !end.hash).for_each(|(item, _)| insert(&mut exactly, *item));
            derived.exactly.push(sets.add_some(&exactly));
            if let Some(plus) = plus.get(place) {
                let mut wild = hashes.clone();
                sets.get(*plus).add_to(&mut wild);
                derived.wild.push(sets.add_some(&wild));
            }
        }
        derived.hashes = sets.add_some(&hashes);
        let mut at_least = hashes;
        for same in by_levels.iter().rev() {
            same.iter().for_each(|(item, _)| insert(&mut at_least, *item));
            derived.at_least.push(sets.add_some(&at_least));
        }
        derived.at_least.reverse();
        derived
    }
}

fn add(sets: &mut Sets, items: impl Iterator<Item = u32>) -> Option<SetId> {
    let mut bits = sets.empty();
    items.for_each(|item| insert(&mut bits, item));
    sets.add_some(&bits)
}

/// All items but some, which are in ascending order; `None` where those are none.
fn without(sets: &mut Sets, items: u32, left_out: &[u32]) -> Option<SetId> {
    let mut bits = sets.empty();
    let mut rest = left_out.iter().peekable();
    let kept = (0..items).filter(|item| rest.next_if_eq(&item).is_none());
    kept.for_each(|item| insert(&mut bits, item));
    (!left_out.is_empty()).then(|| sets.add(&bits))
}
