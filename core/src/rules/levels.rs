//! The levels of what a request asks for, found once for all the sets and nodes that compare them.

use smallvec::SmallVec;

use crate::template::MAX_TEMPLATE_BYTES;
use crate::topic::Filter;

/// As many levels as a path of a trie can have, and one more, which tells that there are more: nobody asks for the others.
const MOST: usize = MAX_TEMPLATE_BYTES + 2;

/// Hands the levels to `then`; of a topic with more than a path of a trie can have, the first ones.
pub(super) fn with_levels<T>(filter: Filter<'_>, then: impl FnOnce(&[&str]) -> T) -> T {
    let mut levels = SmallVec::<[&str; MOST]>::new();
    let mut rest = Some(filter.canonical());
    while let Some(text) = rest.filter(|_| levels.len() < MOST) {
        // Levels are short: looking at each byte finds the next `/` sooner than a search for long texts would begin.
        let end = text.as_bytes().iter().position(|byte| *byte == b'/').unwrap_or(text.len());
        levels.push(text.get(..end).unwrap_or_default());
        rest = text.get(end + 1..);
    }
    then(&levels)
}
