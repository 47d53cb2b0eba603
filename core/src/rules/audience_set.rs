//! The audiences that a client belongs to, with the Deny topics that are about them.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::overlap::{Block, ITEMS, block_of, fill, narrow, place_of, start_of, wide, words_at, words_for};
use crate::audience::AudienceId;

/// A client's audiences in ascending order. Many clients have the same ones, and share them.
#[derive(Debug)]
pub(crate) struct AudienceSet {
    ids: Box<[AudienceId]>,
    /// The same as bits, where there are many.
    members: Option<Box<[u64]>>,
    denied: Items,
    /// How many words a set of all items has.
    words: usize,
}

impl Deref for AudienceSet {
    type Target = [AudienceId];

    fn deref(&self) -> &Self::Target {
        &self.ids
    }
}

/// Items of the Deny index.
#[derive(Debug)]
enum Items {
    /// Items that follow each other: the first one, and the one after the last.
    Runs(Box<[(u32, u32)]>),
    Bits(Box<[u64]>),
}

/// The Deny items of each audience.
#[derive(Debug, Default)]
pub(super) struct ItemsByAudience {
    /// Where each audience's runs begin in `runs`; one more at the end.
    starts: Vec<u32>,
    runs: Vec<(u32, u32)>,
    items: u32,
    /// The bytes that kept sets in bits have taken beyond what their runs would.
    bytes: AtomicUsize,
}

/// As many audiences are searched through sooner than a bit of them is found.
const FEW_AUDIENCES: usize = 16;
/// Bits of audiences may take so many times as many bytes as their list.
const SPARSE: usize = 8;
/// More runs than this, or than one for so many words, take a search about as long as bits do.
const FEW_RUNS: usize = 8;
const WORDS_OF_A_RUN: usize = 16;
/// The most bytes that kept sets in bits may take altogether; those made later are slower.
const MAX_BYTES: usize = 32 * 1024 * 1024;

impl ItemsByAudience {
    /// Takes the audience of each item, in the order of items.
    pub(super) fn new(audiences: impl Iterator<Item = AudienceId>) -> Self {
        let mut runs: Vec<(AudienceId, u32, u32)> = Vec::new();
        let mut items = 0;
        for audience in audiences {
            match runs.last_mut() {
                Some((last, _, end)) if *last == audience => *end += 1,
                _ => runs.push((audience, items, items + 1)),
            }
            items += 1;
        }
        runs.sort_unstable();
        let mut found = Self { items, ..Self::default() };
        for (audience, start, end) in runs {
            while found.starts.len() <= wide(audience) {
                found.starts.push(narrow(found.runs.len()));
            }
            found.runs.push((start, end));
        }
        found.starts.push(narrow(found.runs.len()));
        found
    }

    fn of(&self, audience: AudienceId) -> &[(u32, u32)] {
        let start = self.starts.get(wide(audience)).copied().unwrap_or_default();
        let end = self.starts.get(wide(audience).saturating_add(1)).copied().unwrap_or_default();
        self.runs.get(wide(start)..wide(end)).unwrap_or_default()
    }

    /// A client's audiences, which are in ascending order, with their items: for one request, or (`kept`) for as long as the
    /// index lives.
    pub(super) fn set(&self, ids: Vec<AudienceId>, kept: bool) -> AudienceSet {
        let mut runs: Vec<(u32, u32)> = ids.iter().flat_map(|audience| self.of(*audience)).copied().collect();
        runs.sort_unstable();
        runs.dedup_by(|next, before| {
            let follows = next.0 <= before.1;
            before.1 = if follows { before.1.max(next.1) } else { before.1 };
            follows
        });
        let denied = if self.are_better_as_bits(&runs, kept) { self.bits(&runs) } else { Items::Runs(runs.into()) };
        AudienceSet { members: members(&ids), ids: ids.into(), denied, words: words_for(self.items) }
    }

    fn are_better_as_bits(&self, runs: &[(u32, u32)], kept: bool) -> bool {
        let words = words_for(self.items);
        let more = (words * size_of::<u64>()).saturating_sub(size_of_val(runs));
        if runs.len() <= 1 {
            return false;
        }
        let taken = |bytes: usize| Some(bytes.saturating_add(more)).filter(|bytes| *bytes <= MAX_BYTES);
        let has_room = || !kept || self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok();
        more == 0 || runs.len() > FEW_RUNS.max(words / WORDS_OF_A_RUN) && has_room()
    }

    fn bits(&self, runs: &[(u32, u32)]) -> Items {
        let mut bits = vec![0; words_for(self.items)];
        runs.iter().for_each(|(start, end)| fill(&mut bits, *start, *end));
        Items::Bits(bits.into())
    }
}

fn members(ids: &[AudienceId]) -> Option<Box<[u64]>> {
    let words = wide(ids.last()? / 64) + 1;
    if ids.len() <= FEW_AUDIENCES || words * size_of::<u64>() > SPARSE * size_of_val(ids) {
        return None;
    }
    let mut members = vec![0_u64; words];
    for id in ids {
        if let Some(word) = members.get_mut(wide(id / 64)) {
            *word |= 1 << (id % 64);
        }
    }
    Some(members.into())
}

/// Where a search is among the items of a client's audiences.
#[derive(Debug)]
pub(super) struct DeniedCursor<'a> {
    items: &'a Items,
    /// How many words a set of all items has.
    words: usize,
    run: usize,
}

impl AudienceSet {
    pub(super) fn holds(&self, audience: AudienceId) -> bool {
        let Some(members) = &self.members else { return self.ids.binary_search(&audience).is_ok() };
        members.get(wide(audience / 64)).is_some_and(|word| word >> (audience % 64) & 1 == 1)
    }

    pub(super) fn denied(&self) -> DeniedCursor<'_> {
        DeniedCursor { items: &self.denied, words: self.words, run: 0 }
    }
}

impl DeniedCursor<'_> {
    /// The first block at or after one that may hold an item. Blocks are asked in ascending order.
    pub(super) fn next(&mut self, at: usize) -> Option<usize> {
        match self.items {
            Items::Bits(bits) => (words_at(bits.len(), at) > 0).then_some(at),
            Items::Runs(runs) => {
                while runs.get(self.run).is_some_and(|(_, end)| *end <= start_of(at)) {
                    self.run += 1;
                }
                runs.get(self.run).map(|(start, _)| place_of(*start).0.max(at))
            }
        }
    }

    /// Writes the items of a block.
    pub(super) fn read(&mut self, at: usize, block: &mut Block) {
        match self.items {
            Items::Bits(bits) => block.copy(block_of(bits, at)),
            Items::Runs(runs) => {
                let start = start_of(at);
                block.clear(words_at(self.words, at));
                let rest = runs.iter().skip(self.run);
                rest.take_while(|run| run.0 < start.saturating_add(ITEMS)).for_each(|run| {
                    block.fill(run.0.saturating_sub(start), run.1.saturating_sub(start).min(ITEMS));
                });
            }
        }
    }
}
