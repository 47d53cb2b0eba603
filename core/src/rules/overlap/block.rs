//! Sets of items, 512 at a time: what one step of a search looks at.

/// How many words a block has: enough for the compiler to work on several at once.
const WORDS: usize = 8;
/// How many items a block is about.
pub(in crate::rules) const ITEMS: u32 = 512;

/// One bit for each of [`ITEMS`] items that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) struct Block([u64; WORDS]);

impl Block {
    pub(in crate::rules) const EMPTY: Self = Self([0; WORDS]);
    /// How much work it is to look at one block of one set.
    pub(in crate::rules) const COST: u64 = WORDS as u64;

    /// How many blocks so many items take.
    pub(in crate::rules) fn count_for(items: u32) -> usize {
        wide(items.div_ceil(ITEMS))
    }

    pub(in crate::rules) fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    pub(in crate::rules) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub(in crate::rules) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// Adds an item by its place in the block.
    pub(in crate::rules) fn insert(&mut self, place: u32) {
        if let Some(word) = self.0.get_mut(wide(place / 64)) {
            *word |= 1 << (place % 64);
        }
    }

    /// Adds the items from one place up to another, which does not belong to them.
    pub(in crate::rules) fn fill(&mut self, from: u32, to: u32) {
        for (word, start) in self.0.iter_mut().zip((0_u32..).step_by(64)) {
            let from = from.clamp(start, start + 64) - start;
            let to = to.clamp(start, start + 64) - start;
            *word |= ones_below(to) & !ones_below(from);
        }
    }

    /// The place of the first item.
    pub(in crate::rules) fn first(&self) -> Option<u32> {
        let mut words = self.0.iter().zip((0_u32..).step_by(64));
        words.find(|(word, _)| **word != 0).map(|(word, start)| start + word.trailing_zeros())
    }

    pub(in crate::rules) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
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
        for (from, to) in [(0, 0), (0, 1), (0, 512), (63, 65), (64, 128), (500, 512), (130, 131)] {
            let mut filled = Block::EMPTY;
            filled.fill(from, to);
            let mut each = Block::EMPTY;
            (from..to).for_each(|place| each.insert(place));
            assert_eq!(filled, each, "{from}..{to}");
            assert_eq!((filled.len(), filled.first()), (to - from, (from < to).then_some(from)));
            assert_eq!(filled.is_empty(), from == to);
        }
    }
}
