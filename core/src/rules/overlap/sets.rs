//! Sets of items: those of many as bits, those of few as lists.

use super::block::{Block, ITEMS, block_of, count, insert, narrow, part_of_block, place_of, start_of, wide, words_for};

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
    /// One bit for every item there is.
    Bits(&'i [u64]),
    /// The same without the words before one and behind another, which have no bits: those of items that follow each other.
    Part {
        first: usize,
        bits: &'i [u64],
    },
}

/// Sets, none of which changes any more.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// How many words a set in bits has.
    words: usize,
    held: Vec<Held>,
    lists: Vec<u32>,
    bits: Vec<u64>,
}

/// Where a set is held: from where in `lists` or in `bits`.
#[derive(Debug, Clone, Copy)]
struct Held {
    form: Form,
    start: u32,
    len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    List,
    Bits,
    /// The number of the first word, and how many there are.
    Part(u32, u32),
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
        // How many items each set has, the first and the last.
        let mut extents = vec![(0_u32, u32::MAX, 0_u32); wide(self.sets)];
        for (set, item) in &self.members {
            if let Some((len, first, last)) = extents.get_mut(wide(*set)) {
                *len += 1;
                *first = (*first).min(*item);
                *last = *item;
            }
        }
        let mut sets = Sets { words: words_for(items), ..Sets::default() };
        let (mut listed, mut dense) = (0_u32, 0_usize);
        for (len, first, last) in extents {
            let first_word = word_of(first);
            let words = word_of(last).saturating_sub(first_word) + 1;
            let is_dense = len > ALWAYS_LISTED && u64::from(len) * DENSE_ABOVE_ONE_OF > u64::from(items);
            let form = match is_dense {
                false => Form::List,
                true if wide(words) <= sets.words / 2 => Form::Part(first_word, words),
                true => Form::Bits,
            };
            let start = if is_dense { narrow(dense) } else { listed };
            sets.held.push(Held { form, start, len: 0 });
            match form {
                Form::List => listed += len,
                Form::Bits => dense += sets.words,
                Form::Part(_, words) => dense += wide(words),
            }
        }
        sets.bits = vec![0; dense];
        sets.lists = vec![0; wide(listed)];
        self.members.into_iter().for_each(|(set, item)| sets.insert(set, item));
        sets
    }
}

impl Sets {
    fn insert(&mut self, set: SetId, item: u32) {
        let Some(held) = self.held.get_mut(wide(set)) else { return };
        let bits = self.bits.get_mut(wide(held.start)..);
        match held.form {
            Form::List => {
                self.lists.get_mut(wide(held.start + held.len)).into_iter().for_each(|listed| *listed = item);
            }
            Form::Bits => insert(bits.unwrap_or_default(), item),
            Form::Part(first, _) => insert(bits.unwrap_or_default(), item - first * u64::BITS),
        }
        held.len += 1;
    }

    #[inline]
    pub(super) fn get(&self, set: SetId) -> Set<'_> {
        let Some(held) = self.held.get(wide(set)) else { return Set::List(&[]) };
        let start = wide(held.start);
        let bits = |words| self.bits.get(start..start + words).unwrap_or_default();
        match held.form {
            Form::List => Set::List(self.lists.get(start..start + wide(held.len)).unwrap_or_default()),
            Form::Bits => Set::Bits(bits(self.words)),
            Form::Part(first, words) => Set::Part { first: wide(first), bits: bits(wide(words)) },
        }
    }

    /// How many items a set has.
    pub(super) fn count(&self, set: SetId) -> u32 {
        self.held.get(wide(set)).map_or(0, |held| held.len)
    }

    /// A set in bits that may be added, without items.
    pub(super) fn empty(&self) -> Vec<u64> {
        vec![0; self.words]
    }

    /// Adds a set in bits.
    pub(super) fn add(&mut self, bits: &[u64]) -> SetId {
        let len = count(bits);
        let start = narrow(self.bits.len());
        self.bits.extend_from_slice(bits);
        self.held.push(Held { form: Form::Bits, start, len });
        narrow(self.held.len() - 1)
    }

    /// Adds a set in bits; `None` where it would be empty.
    pub(super) fn add_some(&mut self, bits: &[u64]) -> Option<SetId> {
        bits.iter().any(|word| *word != 0).then(|| self.add(bits))
    }

    /// Adds the items of another set to one that is held in bits for all items; others stay as they are.
    pub(super) fn widen(&mut self, set: SetId, by: SetId) {
        let Set::Bits(_) = self.get(set) else { return };
        let mut bits = self.empty();
        self.get(set).add_to(&mut bits);
        self.get(by).add_to(&mut bits);
        let Some(held) = self.held.get_mut(wide(set)) else { return };
        held.len = count(&bits);
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

fn word_of(item: u32) -> u32 {
    item / u64::BITS
}

impl Set<'_> {
    /// Adds the items to bits.
    pub(super) fn add_to(self, bits: &mut [u64]) {
        match self {
            Self::Bits(own) => bits.iter_mut().zip(own).for_each(|(word, own)| *word |= own),
            Self::Part { first, bits: own } => {
                bits.iter_mut().skip(first).zip(own).for_each(|(word, own)| *word |= own);
            }
            Self::List(items) => items.iter().for_each(|item| insert(bits, *item)),
        }
    }

    /// How many items of a list stand before one.
    pub(super) fn cursor_at(self, item: u32) -> u32 {
        match self {
            Self::List(items) if item > 0 => narrow(items.partition_point(|listed| *listed < item)),
            Self::List(_) | Self::Bits(_) | Self::Part { .. } => 0,
        }
    }

    /// Adds the items in one block to it. `cursor` is how many items of a list are behind; blocks are asked in ascending order.
    pub(super) fn add_block(self, at: usize, cursor: &mut u32, block: &mut Block) {
        match self {
            Self::Bits(bits) => block.or(block_of(bits, at)),
            Self::Part { first, bits } => {
                let (place, bits) = part_of_block(first, bits, at);
                block.or_part(place, bits);
            }
            Self::List(items) => places_in_block(items, at, cursor).for_each(|place| block.insert(place)),
        }
    }

    /// Adds the items in one block to it that another one holds too. `cursor` is the one of [`Self::add_block`].
    pub(super) fn add_common(self, at: usize, cursor: &mut u32, other: &Block, block: &mut Block) {
        match self {
            Self::Bits(bits) => block.or_common(other, 0, block_of(bits, at)),
            Self::Part { first, bits } => {
                let (place, bits) = part_of_block(first, bits, at);
                block.or_common(other, place, bits);
            }
            Self::List(items) => {
                let places = places_in_block(items, at, cursor);
                places.filter(|place| other.holds(*place)).for_each(|place| block.insert(place));
            }
        }
    }

    /// The first block at or after one that may hold an item.
    pub(super) fn next_block(self, at: usize, cursor: &mut u32) -> Option<usize> {
        match self {
            Self::Bits(bits) => (wide(start_of(at)) < bits.len() * 64).then_some(at),
            Self::Part { first, bits } => {
                let block = |word: usize| place_of(narrow(word) * u64::BITS).0;
                let last = block(first + bits.len().saturating_sub(1));
                (at <= last).then_some(at.max(block(first)))
            }
            Self::List(items) => {
                while items.get(wide(*cursor)).is_some_and(|item| *item < start_of(at)) {
                    *cursor += 1;
                }
                items.get(wide(*cursor)).map(|item| place_of(*item).0)
            }
        }
    }
}

/// The places in a block of the items of a list that are in it. `cursor` goes behind them.
fn places_in_block<'l>(items: &'l [u32], at: usize, cursor: &mut u32) -> impl Iterator<Item = u32> + use<'l> {
    let start = start_of(at);
    let rest = items.get(wide(*cursor)..).unwrap_or_default();
    let before = rest.iter().take_while(|item| **item < start).count();
    let inside = rest.iter().skip(before).take_while(|item| **item < start.saturating_add(ITEMS)).count();
    *cursor += narrow(before + inside);
    rest.iter().skip(before).take(inside).map(move |item| item - start)
}
