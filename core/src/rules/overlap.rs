//! Which Deny topics meet what is asked: found by sets of topics, not topic by topic.
//!
//! Every topic of every Deny rule is an *item*; items are numbered in the order in which verdicts prefer their rules, so that
//! the first item found is the cause. For each place of a level there are sets of items: those with a given text there, those
//! that match any text there (`+`, or `#` at or above the place), those with given variables there; and sets by length. What is
//! asked is a conjunction of one condition for each of its literal levels and one for its end, each of them a union of a few
//! sets. A search goes through them 512 items at a time and stops at the first that fulfils all: it costs one bit of each set
//! for every item, however the topics and the question are made.
//!
//! ```text
//!   steps     a topic as levels            block     512 items as bits
//!   texts     place and text -> set        sets      bits, or lists where there are few items
//!   build     topics -> sets               plan      a question -> conditions
//!   search    conditions -> first item     meets     one topic and one question, the slow way
//! ```

mod block;
mod build;
mod meets;
mod plan;
mod search;
mod sets;
mod steps;
#[cfg(test)]
mod tests;
mod texts;

use crate::client::Client;
use crate::template::{Part, Spellings, Topic};
use crate::verdict::Target;
pub(super) use block::{Block, ITEMS, narrow, place_of, start_of, wide};
use build::Builder;
pub(super) use meets::{filter_meets, meets};
use plan::Room;
pub(super) use search::Work;
use sets::{SetId, Sets};
use steps::grows_dotted;

/// The items of a tenant's Deny rules, for one notation.
#[derive(Debug)]
pub(super) struct Overlap {
    items: u32,
    sets: Sets,
    texts: texts::Texts,
    /// By place, as many as the longest topic has levels.
    places: Vec<Place>,
    /// Items that are every topic there is, names that start with `$` included.
    everything: Option<SetId>,
    /// Items that a leading wildcard reaches; `None` where that is all of them.
    undollared: Option<SetId>,
    /// Items whose first level is not empty; `None` where that is all of them.
    not_empty_led: Option<SetId>,
    /// By the number of levels of what is asked, if it does not end in `#`: items as long as that, or with a `#` by then.
    exactly: Vec<Option<SetId>>,
    /// By the number of levels before the `#` of what is asked: items as long as that or longer, or with a `#`.
    at_least: Vec<Option<SetId>>,
    /// Items that end in `#`.
    hashes: Option<SetId>,
}

/// The items by what they have at one place.
#[derive(Debug)]
struct Place {
    /// Those with `+` there, or `#` there or above.
    wild: Option<SetId>,
    /// Those with variables there: sets by level.
    spellings: Spellings,
    /// Sets by the number of the group in `spellings`.
    groups: Vec<GroupSets>,
}

/// The items with the same variables at one place.
#[derive(Debug, Clone, Copy)]
struct GroupSets {
    all: SetId,
    /// Those of which it is the last level.
    last: SetId,
}

/// What is asked of an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) target: Target<'a>,
    /// The levels of the target.
    pub(super) levels: &'a [&'a str],
    pub(super) client: &'a Client<'a>,
    /// Whether the broker confuses `.` with `/`, as RabbitMQ does.
    pub(super) dotted: bool,
    /// Whether items are sought that cover all of the target, instead of those that overlap it.
    pub(super) whole: bool,
}

/// A question with more conditions than there is room for: more variables at the places asked about than a tenant's budget
/// has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooWide;

/// Items that concern a request, whatever their topics are, block by block.
pub(super) trait Concerned {
    /// The first block at or after one that may hold such an item. Blocks are asked in ascending order.
    fn next(&mut self, at: usize) -> Option<usize>;
    /// Those of a block.
    fn block(&mut self, at: usize) -> Block;
}

impl Overlap {
    /// Indexes topics, which come in the order in which verdicts prefer their rules. `None` is every topic there is.
    pub(super) fn new<'t>(topics: impl Iterator<Item = Option<&'t Topic>>, dotted: bool) -> Self {
        let mut builder = Builder::default();
        topics.for_each(|topic| builder.add(topic, dotted));
        builder.finish()
    }

    /// The first item that concerns the request and meets what is asked.
    pub(super) fn first(
        &self,
        question: &Question<'_>,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Result<Option<u32>, TooWide> {
        if self.items == 0 {
            return Ok(None);
        }
        let few = question.levels.len() <= FEW_LEVELS;
        let found =
            if few { self.within::<FEW_TERMS, FEW_CONDITIONS>(question, concerned, work) } else { Err(TooWide) };
        found
            .or_else(|TooWide| self.within::<MORE_TERMS, MORE_CONDITIONS>(question, concerned, work))
            .or_else(|TooWide| self.wide(question, concerned, work))
    }

    /// Apart, so that only wide questions pay for the room on the stack.
    #[cold]
    #[inline(never)]
    fn wide(
        &self,
        question: &Question<'_>,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Result<Option<u32>, TooWide> {
        self.within::<MOST_TERMS, MOST_CONDITIONS>(question, concerned, work)
    }

    #[inline(never)]
    fn within<const TERMS: usize, const CONDITIONS: usize>(
        &self,
        question: &Question<'_>,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Result<Option<u32>, TooWide> {
        let mut room = Room::<TERMS, CONDITIONS>::default();
        let mut conditions = self.conditions(question, &mut room)?;
        Ok(search::first(&mut conditions, concerned, work))
    }
}

/// Whether any topic is another one where the broker confuses `.` with `/`, so that an index for that is needed.
pub(super) fn any_grows_dotted<'t>(mut topics: impl Iterator<Item = &'t Topic>) -> bool {
    topics.any(grows_dotted)
}

/// Most questions have no more levels than this.
const FEW_LEVELS: usize = 12;
const FEW_TERMS: usize = 32;
const FEW_CONDITIONS: usize = 16;
/// As many as a question has within a tenant's budget.
const MORE_TERMS: usize = 192;
const MORE_CONDITIONS: usize = 40;
/// As many as the longest topic has levels, and its end.
const MOST_CONDITIONS: usize = crate::template::MAX_TEMPLATE_BYTES + 8;
const MOST_TERMS: usize = 4 * crate::template::MAX_TEMPLATE_BYTES;

/// The text that a level with variables begins with.
fn leading(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}
