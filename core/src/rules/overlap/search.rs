//! Going through the blocks of items until one fulfils every condition.

use super::Concerned;
use super::block::{Block, start_of};
use super::plan::{Condition, Conditions, Role, Term};

/// What searches cost, in words looked at: the measure in which their bound is stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::rules) struct Work {
    pub(in crate::rules) words: u64,
}

/// The first item that concerns the request and fulfils every condition.
pub(super) fn first(
    conditions: &mut Conditions<'_, '_>,
    concerned: &mut impl Concerned,
    work: &mut Work,
) -> Option<u32> {
    if !conditions.grows {
        conditions.strictest_first();
    }
    let mut at = 0;
    loop {
        at = concerned.next(at)?;
        let possible = conditions.next_block(at)?;
        if possible > at {
            at = possible;
            continue;
        }
        let mut block = concerned.block(at);
        work.words += Block::COST;
        conditions.apply(at, &mut block, work);
        if let Some(place) = block.first() {
            return Some(start_of(at) + place);
        }
        at += 1;
    }
}

impl Conditions<'_, '_> {
    /// Lets the condition that the fewest items fulfil go first, so that the others are asked about few blocks.
    fn strictest_first(&mut self) {
        let size = |condition: &Condition| -> u64 {
            let terms = self.terms.get(condition.start..condition.end).unwrap_or_default();
            terms.iter().map(|term| u64::from(term.len)).sum()
        };
        let strictest = self.conditions.iter().enumerate().filter(|(_, condition)| condition.restricts);
        let place = strictest.min_by_key(|(_, condition)| size(condition)).map_or(0, |(place, _)| place);
        if place > 0 {
            self.conditions.swap(0, place);
        }
    }

    /// The first block at or after one in which the first condition may be fulfilled.
    fn next_block(&mut self, at: usize) -> Option<usize> {
        let first = self.conditions.first().copied().filter(|first| first.restricts && !self.grows);
        let Some(first) = first else { return Some(at) };
        let terms = self.terms.get_mut(first.start..first.end).unwrap_or_default();
        terms.iter_mut().filter_map(|term| term.set.next_block(at, &mut term.cursor)).min()
    }

    /// Leaves of a block the items that fulfil every condition.
    fn apply(&mut self, at: usize, block: &mut Block, work: &mut Work) {
        let mut grown = Block::EMPTY;
        for condition in self.conditions.iter() {
            if block.is_empty() {
                return;
            }
            let mut fulfilled = grown;
            let terms = self.terms.get_mut(condition.start..condition.end).unwrap_or_default();
            for Term { set, len: _, cursor, role } in terms {
                work.words += Block::COST;
                match role {
                    Role::Match => set.add_block(at, cursor, &mut fulfilled),
                    Role::Grow => set.add_block(at, cursor, &mut grown),
                    Role::MatchAndGrow => {
                        let mut both = Block::EMPTY;
                        set.add_block(at, cursor, &mut both);
                        fulfilled.or(&both);
                        grown.or(&both);
                    }
                }
            }
            if condition.restricts {
                block.and(&fulfilled);
            }
        }
    }
}
