//! Which of the items that meet has the rule that a verdict prefers.

use super::block::{Block, ITEMS, narrow, place_of, start_of, wide};

/// The rule of each item. Within a run rules ascend: the first item is the preferred one.
#[derive(Debug, Default)]
pub(in crate::rules) struct Runs {
    rules: Vec<u32>,
    starts: Vec<u32>,
}

/// The best item that a search has found so far, and where it is among the runs.
#[derive(Debug)]
pub(super) struct Best<'r> {
    runs: &'r Runs,
    run: usize,
    found: Option<(u32, u32)>,
}

impl Runs {
    /// Takes the rule of each item, and the first item of each run.
    pub(in crate::rules) fn new(rules: Vec<u32>, starts: Vec<u32>) -> Self {
        Self { rules, starts }
    }

    /// The rule of an item. One without a rule is a fault of ours, and must deny: it has a number that no rule has.
    pub(in crate::rules) fn rule(&self, item: u32) -> u32 {
        self.rules.get(wide(item)).copied().unwrap_or(u32::MAX)
    }

    fn end(&self, run: usize) -> u32 {
        self.starts.get(run + 1).copied().unwrap_or_else(|| narrow(self.rules.len()))
    }
}

impl<'r> Best<'r> {
    pub(super) fn new(runs: &'r Runs) -> Self {
        Self { runs, run: 0, found: None }
    }

    /// Notes the items of a block that meet what is asked, and tells which block may hold a better one.
    pub(super) fn note(&mut self, at: usize, block: &Block) -> usize {
        let start = start_of(at);
        let end = start.saturating_add(ITEMS);
        self.go_to(start);
        loop {
            let run_end = self.runs.end(self.run);
            let run_start = self.runs.starts.get(self.run).copied().unwrap_or_default();
            let first = block.first_between(run_start.saturating_sub(start), run_end.min(end).saturating_sub(start));
            let first = first.map(|place| start + place);
            if let Some(item) = first {
                let candidate = (self.runs.rule(item), item);
                self.found = Some(self.found.map_or(candidate, |found| found.min(candidate)));
            }
            if run_end >= end {
                // The rest of the run is less preferred than what was found in it.
                return if first.is_some() { place_of(run_end).0.max(at + 1) } else { at + 1 };
            }
            if run_end >= narrow(self.runs.rules.len()) {
                return at + 1;
            }
            self.run += 1;
        }
    }

    /// The block to go on with instead of one that holds nothing better than what was found.
    pub(super) fn beyond(&mut self, at: usize) -> Option<usize> {
        let (best, _) = self.found?;
        let start = start_of(at);
        self.go_to(start);
        let run_end = self.runs.end(self.run);
        let is_worse = run_end >= start.saturating_add(ITEMS) && self.runs.rule(start) >= best;
        is_worse.then(|| place_of(run_end).0.max(at + 1))
    }

    pub(super) fn item(&self) -> Option<u32> {
        self.found.map(|(_, item)| item)
    }

    fn go_to(&mut self, item: u32) {
        while self.runs.starts.get(self.run + 1).is_some_and(|start| *start <= item) {
            self.run += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(places: &[u32]) -> Block {
        let mut block = Block::empty(64);
        places.iter().for_each(|place| block.insert(*place));
        block
    }

    #[test]
    fn the_preferred_rule_is_found_among_all_runs() {
        // The second of three runs ends where the fourth block begins.
        let second = 100..3 * ITEMS;
        let third = 3 * ITEMS..4 * ITEMS;
        let first = (0..100).map(|item| item * 200);
        let rules: Vec<u32> = first.chain(second.map(|item| item + 1)).chain(third).collect();
        let runs = Runs::new(rules, vec![0, 100, 3 * ITEMS]);
        let mut best = Best::new(&runs);
        assert_eq!(best.note(0, &block(&[50, 60])), 1, "the second run is not behind");
        assert_eq!((best.item(), best.beyond(1)), (Some(50), None));
        assert_eq!(best.note(1, &block(&[8, 9])), 3, "the rest of the second run is worse");
        assert_eq!((best.item(), best.beyond(3)), (Some(ITEMS + 8), Some(4)));
        let mut best = Best::new(&runs);
        assert_eq!(best.note(0, &block(&[0, 120])), 3, "both runs have been met");
        assert_eq!(best.item(), Some(0));
    }
}
