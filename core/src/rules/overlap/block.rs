//! Sets of items, a block at a time: what one step of a search looks at.

/// How many items a word is about.
const WORD: u32 = u64::BITS;
/// How many words a block has: enough for the compiler to work on several at once, and for what a step costs besides to count
/// little.
const WORDS: usize = 64;
/// How many items a block is about.
pub(in crate::rules) const ITEMS: u32 = 4096;

/// How many words are looked at together: as many as fit into registers.
const TOGETHER: usize = 8;

/// Some words of a set that follow each other.
pub(super) type Words = [u64; TOGETHER];

/// One bit for each of [`ITEMS`] items that follow each other; the last block of an index has fewer.
#[derive(Debug)]
pub(in crate::rules) struct Block {
    words: [u64; WORDS],
    used: usize,
}

impl Block {
    /// A block with no item, which has as many words as the block of a set.
    pub(in crate::rules) fn empty(used: usize) -> Self {
        Self { words: [0; WORDS], used: used.min(WORDS) }
    }

    /// Becomes a block with no item, which has as many words as the block of a set.
    pub(in crate::rules) fn clear(&mut self, used: usize) {
        self.used = used.min(WORDS);
        self.words.iter_mut().take(used).for_each(|word| *word = 0);
    }

    /// Becomes the block of a set.
    pub(in crate::rules) fn copy(&mut self, own: &[u64]) {
        self.used = own.len().min(WORDS);
        self.words.iter_mut().zip(own).for_each(|(word, own)| *word = *own);
    }

    pub(in crate::rules) fn words(&self) -> &[u64] {
        self.words.get(..self.used).unwrap_or_default()
    }

    pub(in crate::rules) fn or(&mut self, other: &[u64]) {
        self.words.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
    }

    /// Adds some words of a set, of which the first is at a place of the block.
    pub(super) fn or_part(&mut self, place: usize, bits: &[u64]) {
        self.words.iter_mut().skip(place).zip(bits).for_each(|(word, other)| *word |= other);
    }

    /// Adds what is in another block and in some words of a set, of which the first is at a place of the block.
    pub(super) fn or_common(&mut self, other: &Self, place: usize, bits: &[u64]) {
        let others = other.words.iter().skip(place).zip(bits);
        self.words.iter_mut().skip(place).zip(others).for_each(|(word, (other, bits))| *word |= other & bits);
    }

    /// Leaves what is in another set too, and tells whether there is any.
    pub(in crate::rules) fn and(&mut self, other: &[u64]) -> bool {
        let mut any = 0;
        for (word, other) in self.words.iter_mut().zip(other) {
            *word &= other;
            any |= *word;
        }
        any != 0
    }

    /// Leaves what is in one of two other sets too, and tells whether there is any.
    pub(super) fn and_either(&mut self, bits: &[Words], block: &Self) -> bool {
        let mut any = 0;
        let own = self.words.as_chunks_mut::<TOGETHER>().0.iter_mut();
        for ((own, bits), more) in own.zip(bits).zip(block.words.as_chunks::<TOGETHER>().0) {
            for ((word, bits), more) in own.iter_mut().zip(bits).zip(more) {
                *word &= bits | more;
                any |= *word;
            }
        }
        any != 0
    }

    /// Leaves what is in all of several sets, of which this block is given, and tells whether there is any.
    pub(in crate::rules) fn and_all(&mut self, others: &[&[Words]]) -> bool {
        let mut any = 0;
        let (own, _) = self.words.get_mut(..self.used).unwrap_or_default().as_chunks_mut::<TOGETHER>();
        for (place, own) in own.iter_mut().enumerate() {
            let mut left = *own;
            // Asking whether there is any takes about as long as looking at one more set.
            for pair in others.chunks(2) {
                if left.iter().fold(0, |all, word| all | word) == 0 {
                    break;
                }
                for other in pair.iter().filter_map(|other| other.get(place)) {
                    left.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
                }
            }
            *own = left;
            any |= left.iter().fold(0, |all, word| all | word);
        }
        any != 0
    }

    pub(in crate::rules) fn is_empty(&self) -> bool {
        self.words().iter().fold(0, |all, word| all | word) == 0
    }

    /// Adds an item by its place in the block.
    pub(in crate::rules) fn insert(&mut self, place: u32) {
        if let Some(word) = self.words.get_mut(wide(place / WORD)) {
            *word |= 1 << (place % WORD);
        }
    }

    pub(super) fn holds(&self, place: u32) -> bool {
        self.words.get(wide(place / WORD)).is_some_and(|word| word >> (place % WORD) & 1 == 1)
    }

    /// Adds the items from one place up to another, which does not belong to them.
    pub(in crate::rules) fn fill(&mut self, from: u32, to: u32) {
        fill(&mut self.words, from, to.min(narrow(self.used) * WORD));
    }

    /// The first place between two, of which the second does not belong to them.
    pub(in crate::rules) fn first_between(&self, from: u32, to: u32) -> Option<u32> {
        let start = wide(from / WORD);
        let words = self.words().iter().enumerate().skip(start);
        let mut first = words.map(|(number, word)| {
            let ones = if number == start { word & !ones_below(from % WORD) } else { *word };
            (number, ones)
        });
        let (number, ones) = first.find(|(_, ones)| *ones != 0)?;
        Some(narrow(number) * WORD + ones.trailing_zeros()).filter(|place| *place < to)
    }
}

/// How many words so many items take.
pub(in crate::rules) fn words_for(items: u32) -> usize {
    wide(items.div_ceil(WORD)).next_multiple_of(TOGETHER)
}

/// How many blocks so many items take.
pub(in crate::rules) fn blocks_for(items: u32) -> usize {
    wide(items.div_ceil(ITEMS))
}

/// How many words the block at some place of so many has.
pub(in crate::rules) fn words_at(words: usize, at: usize) -> usize {
    words.saturating_sub(at.saturating_mul(WORDS)).min(WORDS)
}

/// The words of a set that are about a block.
pub(in crate::rules) fn block_of(bits: &[u64], at: usize) -> &[u64] {
    let start = at.saturating_mul(WORDS).min(bits.len());
    let end = start.saturating_add(WORDS).min(bits.len());
    bits.get(start..end).unwrap_or_default()
}

/// The words about a block of a set that is held from one word on, and the place in the block of the first of them.
pub(super) fn part_of_block(first: usize, bits: &[u64], at: usize) -> (usize, &[u64]) {
    let start = at.saturating_mul(WORDS);
    let place = first.saturating_sub(start).min(WORDS);
    let behind = start.saturating_sub(first).min(bits.len());
    let end = behind.saturating_add(WORDS - place).min(bits.len());
    (place, bits.get(behind..end).unwrap_or_default())
}

/// The words of a set that are about a block, some at a time.
pub(super) fn chunks_of(bits: &[u64], at: usize) -> &[Words] {
    block_of(bits, at).as_chunks().0
}

/// Adds one item to a set.
pub(in crate::rules) fn insert(bits: &mut [u64], item: u32) {
    if let Some(word) = bits.get_mut(wide(item / WORD)) {
        *word |= 1 << (item % WORD);
    }
}

/// Adds the items from one up to another, which does not belong to them, to a set.
pub(in crate::rules) fn fill(bits: &mut [u64], from: u32, to: u32) {
    if from >= to {
        return;
    }
    let first = wide(from / WORD);
    let last = wide((to - 1) / WORD);
    let above = !ones_below(from % WORD);
    let below = ones_below(to - narrow(last) * WORD);
    if first == last {
        bits.get_mut(first).into_iter().for_each(|word| *word |= above & below);
        return;
    }
    bits.get_mut(first).into_iter().for_each(|word| *word |= above);
    let between = bits.get_mut(first + 1..last).unwrap_or_default();
    between.fill(u64::MAX);
    bits.get_mut(last).into_iter().for_each(|word| *word |= below);
}

/// How many items a set has.
pub(in crate::rules) fn count(bits: &[u64]) -> u32 {
    bits.iter().map(|word| word.count_ones()).sum()
}

/// The number of the block that an item is in, and its place there.
pub(in crate::rules) fn place_of(item: u32) -> (usize, u32) {
    (wide(item / ITEMS), item % ITEMS)
}

/// The number of the first item of a block.
pub(in crate::rules) fn start_of(block: usize) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX).saturating_mul(ITEMS)
}

fn ones_below(bit: u32) -> u64 {
    1_u64.checked_shl(bit).map_or(u64::MAX, |bit| bit - 1)
}

pub(in crate::rules) fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(in crate::rules) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_block_holds_just_the_items_between() {
        for (from, to) in [(0, 0), (0, 1), (0, ITEMS), (63, 65), (64, 128), (4_000, ITEMS), (130, 131)] {
            let mut filled = Block::empty(WORDS);
            filled.fill(from, to);
            let mut each = Block::empty(WORDS);
            (from..to).for_each(|place| each.insert(place));
            assert_eq!(filled.words(), each.words(), "{from}..{to}");
            assert_eq!(filled.first_between(0, ITEMS), (from < to).then_some(from));
            assert_eq!((count(filled.words()), filled.is_empty()), (to - from, from == to));
        }
    }

    #[test]
    fn the_first_place_is_looked_for_between_two() {
        let mut block = Block::empty(2);
        [3, 70].into_iter().for_each(|place| block.insert(place));
        for (from, to, first) in [(0, 128, Some(3)), (3, 4, Some(3)), (4, 70, None), (4, 71, Some(70)), (71, 128, None)]
        {
            assert_eq!(block.first_between(from, to), first, "{from}..{to}");
        }
    }

    #[test]
    fn the_last_block_of_a_set_has_fewer_words() {
        let bits = [1; WORDS + 8];
        assert_eq!([0, 1, 2].map(|at| block_of(&bits, at).len()), [WORDS, 8, 0]);
        assert_eq!([0, 1, 2].map(|at| words_at(WORDS + 8, at)), [WORDS, 8, 0]);
    }
}
