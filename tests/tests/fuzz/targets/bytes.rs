//! Choices read from bytes, so that every input means something; where they end, the first choice is taken.

pub(super) struct Bytes<'d>(&'d [u8]);

impl<'d> Bytes<'d> {
    pub(super) fn of(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(super) fn below(&mut self, choices: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % choices.max(1)
    }

    pub(super) fn one_in(&mut self, choices: usize) -> bool {
        self.below(choices) == choices - 1
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    pub(super) fn some<T>(&mut self, one_in: usize, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(one_in).then(|| read(self))
    }

    pub(super) fn many<T>(&mut self, most: usize, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| read(self)).collect()
    }
}
