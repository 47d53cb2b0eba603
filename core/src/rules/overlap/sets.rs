//! Sets of items: those of many as bits, those of few as lists.

use super::block::{Block, ITEMS, narrow, place_of, start_of, wide};

/// The number of a set.
pub(super) type SetId = u32;

/// A set with more than one of so many items is held as bits. Bits cost an eighth of a byte for every item there is, so that
/// each member of a set costs 128 bytes at most.
const DENSE_ABOVE_ONE_OF: u64 = 1024;
/// A set with no more items than this is a list, however few items there are.
const ALWAYS_LISTED: u32 = 8;

/// The items of one set, in ascending order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Set<'i> {
    List(&'i [u32]),
    Bits(&'i [Block]),
}

/// Sets, none of which changes any more.
#[derive(Debug, Default)]
pub(super) struct Sets {
    blocks: usize,
    held: Vec<Held>,
    lists: Vec<u32>,
    bits: Vec<Block>,
}

/// Where a set is held: from where in `lists` or, in blocks, in `bits`.
#[derive(Debug, Clone, Copy)]
struct Held {
    dense: bool,
    start: u32,
    len: u32,
}

/// Sets that grow, item by item in ascending order.
#[derive(Debug, Default)]
pub(super) struct Growing {
    sets: u32,
    members: Vec<(SetId, u32)>,
}

impl Growing {
    /// A set without items.
    pub(super) fn start(&mut self) -> SetId {
        self.sets += 1;
        self.sets - 1
    }

    pub(super) fn insert(&mut self, set: SetId, item: u32) {
        self.members.push((set, item));
    }

    /// The sets of so many items.
    pub(super) fn finish(self, items: u32) -> Sets {
        let mut lengths = vec![0_u32; wide(self.sets)];
        for (set, _) in &self.members {
            if let Some(length) = lengths.get_mut(wide(*set)) {
                *length += 1;
            }
        }
        let mut sets = Sets { blocks: Block::count_for(items), ..Sets::default() };
        let (mut listed, mut dense) = (0_u32, 0_usize);
        for len in lengths {
            let is_dense = len > ALWAYS_LISTED && u64::from(len) * DENSE_ABOVE_ONE_OF > u64::from(items);
            let start = if is_dense { narrow(dense) } else { listed };
            sets.held.push(Held { dense: is_dense, start, len: 0 });
            if is_dense {
                dense += sets.blocks;
            } else {
                listed += len;
            }
        }
        sets.bits = vec![Block::EMPTY; dense];
        sets.lists = vec![0; wide(listed)];
        self.members.into_iter().for_each(|(set, item)| sets.insert(set, item));
        sets
    }
}

impl Sets {
    fn insert(&mut self, set: SetId, item: u32) {
        let Some(held) = self.held.get_mut(wide(set)) else { return };
        if held.dense {
            let (block, place) = place_of(item);
            if let Some(block) = self.bits.get_mut(wide(held.start) + block) {
                block.insert(place);
            }
        } else if let Some(listed) = self.lists.get_mut(wide(held.start + held.len)) {
            *listed = item;
        }
        held.len += 1;
    }

    pub(super) fn get(&self, set: SetId) -> Set<'_> {
        let Some(held) = self.held.get(wide(set)) else { return Set::List(&[]) };
        let start = wide(held.start);
        if held.dense {
            Set::Bits(self.bits.get(start..start + self.blocks).unwrap_or_default())
        } else {
            Set::List(self.lists.get(start..start + wide(held.len)).unwrap_or_default())
        }
    }

    /// How many items a set has.
    pub(super) fn len(&self, set: SetId) -> u32 {
        self.held.get(wide(set)).map_or(0, |held| held.len)
    }

    /// How many blocks a set of all items has.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Adds a set in bits.
    pub(super) fn add(&mut self, bits: &[Block]) -> SetId {
        let len = bits.iter().map(Block::len).sum();
        let start = narrow(self.bits.len());
        self.bits.extend_from_slice(bits);
        self.held.push(Held { dense: true, start, len });
        narrow(self.held.len() - 1)
    }

    /// Adds a set in bits; `None` where it would be empty.
    pub(super) fn add_some(&mut self, bits: &[Block]) -> Option<SetId> {
        bits.iter().any(|block| !block.is_empty()).then(|| self.add(bits))
    }

    /// Adds the items of another set to one that is held in bits; a list stays as it is.
    pub(super) fn widen(&mut self, set: SetId, by: SetId) {
        let Set::Bits(_) = self.get(set) else { return };
        let mut bits = vec![Block::EMPTY; self.blocks];
        self.get(set).add_to(&mut bits);
        self.get(by).add_to(&mut bits);
        let Some(held) = self.held.get_mut(wide(set)) else { return };
        held.len = bits.iter().map(Block::len).sum();
        let start = wide(held.start);
        if let Some(own) = self.bits.get_mut(start..start + bits.len()) {
            own.copy_from_slice(&bits);
        }
    }

    pub(super) fn shrink(&mut self) {
        self.held.shrink_to_fit();
        self.bits.shrink_to_fit();
    }
}

impl Set<'_> {
    /// Adds the items to bits.
    pub(super) fn add_to(self, bits: &mut [Block]) {
        match self {
            Self::Bits(own) => bits.iter_mut().zip(own).for_each(|(block, own)| block.or(own)),
            Self::List(items) => items.iter().for_each(|item| insert(bits, *item)),
        }
    }

    /// Adds the items in one block to it. `cursor` is how many items of a list are behind; blocks are asked in ascending order.
    pub(super) fn add_block(self, at: usize, cursor: &mut usize, block: &mut Block) {
        match self {
            Self::Bits(blocks) => {
                if let Some(own) = blocks.get(at) {
                    block.or(own);
                }
            }
            Self::List(items) => {
                let start = start_of(at);
                while let Some(item) = items.get(*cursor) {
                    if *item >= start.saturating_add(ITEMS) {
                        break;
                    }
                    if *item >= start {
                        block.insert(*item - start);
                    }
                    *cursor += 1;
                }
            }
        }
    }

    /// The first block at or after one that may hold an item.
    pub(super) fn next_block(self, at: usize, cursor: &mut usize) -> Option<usize> {
        match self {
            Self::Bits(blocks) => (at < blocks.len()).then_some(at),
            Self::List(items) => {
                while items.get(*cursor).is_some_and(|item| *item < start_of(at)) {
                    *cursor += 1;
                }
                items.get(*cursor).map(|item| place_of(*item).0)
            }
        }
    }
}

/// Adds one item to bits.
pub(super) fn insert(bits: &mut [Block], item: u32) {
    let (block, place) = place_of(item);
    if let Some(block) = bits.get_mut(block) {
        block.insert(place);
    }
}
