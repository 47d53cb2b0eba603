//! Going through the blocks of items for those that fulfil every condition.

use smallvec::SmallVec;

use super::asked::Asked;
use super::block::{Block, Words, chunks_of};
use super::plan::{Active, Condition, Conditions, Role, Term};
use super::runs::Best;
use super::{Concerned, Overlap, Runs};

/// What searches cost, in words looked at: the measure in which their bound is stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::rules) struct Work {
    pub(in crate::rules) words: u64,
}

/// What a search works on.
struct Blocks<'i, const LEVELS: usize> {
    /// Sets of which the items are sought that are in all of them.
    together: SmallVec<[&'i [Words]; LEVELS]>,
    /// The items that fulfil all conditions so far.
    block: Block,
    /// Those that fulfil one condition.
    fulfilled: Block,
    /// Those that end in `#` above, since a value cannot be used.
    grown: Block,
    has_grown: bool,
}

/// The item that concerns the request, fulfils every condition, and has the preferred rule.
pub(super) fn first<'i, const LEVELS: usize, const TERMS: usize>(
    index: &'i Overlap,
    asked: &Asked<LEVELS, TERMS>,
    conditions: &mut Conditions<'i, LEVELS, TERMS>,
    runs: &Runs,
    concerned: &mut impl Concerned,
    work: &mut Work,
) -> Option<u32> {
    conditions.begin(index, asked, index.spans.last().map_or(0, |span| span.end));
    let mut blocks = Blocks::new();
    let mut best = Best::new(runs);
    let mut at = 0;
    for span in &index.spans {
        if at >= span.end {
            continue;
        }
        let Some(next) = concerned.next(at) else { break };
        at = best.beyond(next).unwrap_or(next);
        if at < span.end {
            conditions.enter(index, asked, span, at);
            at = conditions.search(at..span.end, &mut blocks, &mut best, concerned, work);
        }
    }
    best.item()
}

impl<'i, const LEVELS: usize, const TERMS: usize> Conditions<'i, LEVELS, TERMS> {
    /// Searches the blocks of a span, and tells with which block to go on.
    fn search(
        &mut self,
        places: std::ops::Range<usize>,
        blocks: &mut Blocks<'i, LEVELS>,
        best: &mut Best<'_>,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> usize {
        let mut at = places.start;
        while at < places.end {
            let Some(next) = concerned.next(at) else { return usize::MAX };
            let Some(next) = self.next_block(next) else { return places.end };
            let next = best.beyond(next).unwrap_or(next);
            if next > at {
                at = next;
                continue;
            }
            concerned.read(at, &mut blocks.block);
            let any = self.narrow(at, blocks, work);
            at = if any { best.note(at, &blocks.block) } else { at + 1 };
        }
        at
    }

    /// The first block at or after one in which the first condition may be fulfilled.
    fn next_block(&mut self, at: usize) -> Option<usize> {
        let Self { all, active, varying, .. } = self;
        let number = match active.first() {
            Some(Active::Other(number)) => *number,
            Some(Active::Bits(_)) | None => return Some(at),
        };
        let Some(Condition { fixed, varying: (start, end), restricts: true, .. }) = all.get_mut(number) else {
            return Some(at);
        };
        let varying = varying.get_mut(*start..*end).unwrap_or_default();
        let terms = fixed.iter_mut().flatten().chain(varying);
        terms.filter_map(|term| term.set.next_block(at, &mut term.cursor)).min()
    }

    /// Leaves of a block the items that fulfil every condition, and tells whether there is any.
    fn narrow(&mut self, at: usize, blocks: &mut Blocks<'i, LEVELS>, work: &mut Work) -> bool {
        let Self { all, active, varying, .. } = self;
        blocks.has_grown = false;
        let words = blocks.block.words().len() as u64;
        work.words += words * (1 + active.len() as u64);
        for active in &*active {
            let number = match active {
                Active::Bits(bits) => {
                    blocks.together.push(chunks_of(bits, at));
                    continue;
                }
                Active::Other(number) => *number,
            };
            if !blocks.take_together() {
                return false;
            }
            let Some(condition) = all.get_mut(number) else { continue };
            let (start, end) = condition.varying;
            let varying = varying.get_mut(start..end).unwrap_or_default();
            work.words += words * varying.len() as u64;
            if !blocks.take(condition, varying, at) {
                return false;
            }
        }
        blocks.take_together()
    }
}

impl<const LEVELS: usize> Blocks<'_, LEVELS> {
    fn new() -> Self {
        let [block, fulfilled, grown] = [(); 3].map(|()| Block::empty(0));
        Self { together: SmallVec::new(), block, fulfilled, grown, has_grown: false }
    }

    /// Leaves the items that are in all the sets which wait for it, or have grown; tells whether there is any.
    fn take_together(&mut self) -> bool {
        let Self { together, block, fulfilled, grown, has_grown } = self;
        if together.is_empty() {
            return !block.is_empty();
        }
        let kept = *has_grown && {
            fulfilled.copy(block.words());
            fulfilled.and(grown.words())
        };
        let any = block.and_all(together);
        together.clear();
        if kept {
            block.or(fulfilled.words());
        }
        any || kept
    }

    /// Leaves the items that fulfil a condition, or have grown, and notes those that grow there; tells whether there is any.
    fn take(&mut self, condition: &mut Condition<'_>, varying: &mut [Term<'_>], at: usize) -> bool {
        let Self { together: _, block, fulfilled, grown, has_grown } = self;
        let words = block.words().len();
        if *has_grown {
            fulfilled.copy(grown.words());
        } else {
            fulfilled.clear(words);
            grown.clear(words);
        }
        condition.fixed.iter_mut().flatten().for_each(|term| term.set.add_block(at, &mut term.cursor, fulfilled));
        for Term { set, cursor, role } in varying {
            *has_grown |= *role != Role::Match;
            match role {
                Role::Match => set.add_block(at, cursor, fulfilled),
                Role::Grow => set.add_block(at, cursor, grown),
                Role::MatchAndGrow => {
                    set.add_block(at, &mut cursor.clone(), fulfilled);
                    set.add_block(at, cursor, grown);
                }
            }
        }
        if condition.restricts { block.and(fulfilled.words()) } else { !block.is_empty() }
    }
}
