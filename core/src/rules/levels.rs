//! The levels of what a request asks for, found once for all the walks and nodes that compare them.

use crate::template::MAX_TEMPLATE_BYTES;
use crate::topic::Filter;

/// Enough for most topics; making room for more would take longer than judging them.
const FEW: usize = 16;
/// As many levels as a path of a trie can have, and one more, which tells that there are more: nobody asks for the others.
const MOST: usize = MAX_TEMPLATE_BYTES + 2;

/// Hands the levels to `then`; of a topic with more than a path of a trie can have, the first ones.
pub(super) fn with_levels<T>(filter: Filter<'_>, then: impl FnOnce(&[&str]) -> T) -> T {
    let mut few = [""; FEW];
    match split(filter.canonical(), &mut few) {
        Some(levels) => then(levels),
        None => with_many(filter, then),
    }
}

/// Apart, so that only deep topics pay for the room on the stack.
#[cold]
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "16 KiB, once, so that nothing is allocated")]
fn with_many<T>(filter: Filter<'_>, then: impl FnOnce(&[&str]) -> T) -> T {
    let mut many = [""; MOST];
    if let Some(levels) = split(filter.canonical(), &mut many) {
        return then(levels);
    }
    then(&many)
}

/// The levels that fill the beginning of `room`; `None` where there are too many.
fn split<'t, 'r>(text: &'t str, room: &'r mut [&'t str]) -> Option<&'r [&'t str]> {
    let (mut rest, mut count) = (Some(text), 0);
    while let Some(text) = rest {
        // Levels are short: looking at each byte finds the next `/` sooner than a search for long texts would begin.
        let end = text.as_bytes().iter().position(|byte| *byte == b'/').unwrap_or(text.len());
        *room.get_mut(count)? = text.get(..end)?;
        rest = text.get(end + 1..);
        count += 1;
    }
    room.get(..count)
}
