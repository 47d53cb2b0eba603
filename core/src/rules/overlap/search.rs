//! Going through the blocks of items for those that fulfil every condition.

use smallvec::SmallVec;

use super::asked::Asked;
use super::block::{Block, Words, chunks_of};
use super::plan::{Active, Condition, Conditions, Role, Term};
use super::runs::Best;
use super::sets::Set;
use super::{Concerned, Overlap, Runs};

/// What searches cost, in words looked at: the measure in which their bound is stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::rules) struct Work {
    pub(in crate::rules) words: u64,
}

/// What a search works on.
struct Blocks<'i, const LEVELS: usize> {
    /// Sets of which the items are sought that are in all of them: they wait for each other.
    together: SmallVec<[&'i [Words]; LEVELS]>,
    /// The items that fulfil all conditions so far, those that wait aside.
    block: Block,
    /// Those that fulfil one condition.
    fulfilled: Block,
    /// Those that fulfil all conditions because they end in `#` above, since a value cannot be used.
    grown: Block,
    has_grown: bool,
}

/// The item that concerns the request, fulfils every condition, and has the preferred rule.
pub(super) fn first<'i, const LEVELS: usize, const TERMS: usize>(
    index: &'i Overlap,
    asked: &Asked<'_, TERMS>,
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
        let terms = fixed.iter_mut().chain(varying);
        terms.filter_map(|term| term.set.next_block(at, &mut term.cursor)).min()
    }

    /// Leaves of a block the items that fulfil every condition, and tells whether there is any.
    fn narrow(&mut self, at: usize, blocks: &mut Blocks<'i, LEVELS>, work: &mut Work) -> bool {
        let Self { all, active, varying, .. } = self;
        blocks.together.clear();
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
            let Some(condition) = all.get_mut(number) else { continue };
            let (start, end) = condition.varying;
            let varying = varying.get_mut(start..end).unwrap_or_default();
            work.words += words * varying.len() as u64;
            if condition.grows {
                if !blocks.take_together() {
                    return blocks.finish(false);
                }
                blocks.grow(varying, at);
            }
            if condition.restricts && !blocks.take(condition, varying, at) {
                return blocks.finish(false);
            }
        }
        let any = blocks.take_together();
        blocks.finish(any)
    }
}

impl<'i, const LEVELS: usize> Blocks<'i, LEVELS> {
    fn new() -> Self {
        let [block, fulfilled, grown] = [(); 3].map(|()| Block::empty(0));
        Self { together: SmallVec::new(), block, fulfilled, grown, has_grown: false }
    }

    /// Leaves the items that are in all the sets which wait, and tells whether there is any.
    fn take_together(&mut self) -> bool {
        let any = self.block.and_all(&self.together);
        self.together.clear();
        any
    }

    /// Notes those of the items left that grow here. They need not fulfil anything else, but others may still be preferred.
    fn grow(&mut self, varying: &mut [Term<'i>], at: usize) {
        let Self { block, grown, has_grown, .. } = self;
        for Term { set, cursor, .. } in varying.iter_mut().filter(|term| term.role == Role::Grow) {
            if !*has_grown {
                grown.clear(block.words().len());
            }
            *has_grown = true;
            set.add_common(at, cursor, block, grown);
        }
    }

    /// Leaves the items that fulfil a condition, and tells whether there may be any.
    fn take(&mut self, condition: &mut Condition<'i>, varying: &mut [Term<'i>], at: usize) -> bool {
        let Self { together, block, fulfilled, .. } = self;
        let varying = varying.iter_mut().filter(|term| term.role == Role::Match);
        let mut bits = None;
        let mut has_more = false;
        for Term { set, cursor, .. } in condition.fixed.iter_mut().chain(varying) {
            match set {
                Set::Bits(set) if bits.is_none() => bits = Some(chunks_of(set, at)),
                _ if set.next_block(at, cursor) != Some(at) => {}
                _ => {
                    if !has_more {
                        fulfilled.clear(block.words().len());
                    }
                    has_more = true;
                    set.add_block(at, cursor, fulfilled);
                }
            }
        }
        match (bits, has_more) {
            (None, false) => false,
            (None, true) => block.and(fulfilled.words()),
            (Some(bits), false) => {
                together.push(bits);
                true
            }
            (Some(bits), true) => block.and_either(bits, fulfilled),
        }
    }

    /// Adds the items that have grown to those that fulfil every condition, if `any` do, and tells whether there are any.
    fn finish(&mut self, any: bool) -> bool {
        let Self { block, grown, has_grown, .. } = self;
        match (any, *has_grown) {
            (any, false) => any,
            (true, true) => {
                block.or(grown.words());
                true
            }
            (false, true) => {
                block.copy(grown.words());
                !block.is_empty()
            }
        }
    }
}
