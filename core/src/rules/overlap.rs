//! Which Deny topics meet what is asked: found by sets of topics, not topic by topic.
//!
//! Every topic of every Deny rule is an *item*. For each place of a level there are sets of items: those with a given text there,
//! those that match any text there (`+`, or `#` at or above the place), those with given variables there; and sets by length.
//! A question is a conjunction of one condition for each of its literal levels and one for its end, each of them a union of a
//! few sets. A search goes through them 4,096 items at a time: it costs one bit of a set for each level of each item, however the
//! topics and the question are made.
//!
//! Items with the same variables are numbered one after the other ([`Order`]), and a search looks at the sets of variables only
//! in the *spans* of blocks that have them. Within a *run* of items the first that meets is the one whose rule a verdict
//! prefers; among runs the rules decide.
//!
//! ```text
//!   order     topics -> their numbers      block     4,096 items as bits
//!   steps     a topic as levels            sets      bits, or lists where there are few items
//!   texts     place and text -> set        asked     a question and the values in it, looked up once
//!   build     topics -> sets               plan      a question and a span -> conditions
//!   runs      items -> rules               search    conditions -> first item
//!   meets     one topic and one question, the slow way
//! ```

mod asked;
mod block;
mod build;
mod meets;
mod order;
mod plan;
mod runs;
mod search;
mod sets;
mod steps;
#[cfg(test)]
mod tests;
mod texts;

use crate::client::Client;
use crate::template::{Part, Spellings, Topic};
use crate::verdict::Target;
use asked::Asked;
pub(super) use block::{Block, ITEMS, block_of, fill, insert, narrow, place_of, start_of, wide, words_at, words_for};
use build::Builder;
pub(super) use meets::{filter_meets, meets};
pub(super) use order::Order;
use plan::Conditions;
pub(super) use runs::Runs;
pub(super) use search::Work;
use sets::{SetId, Sets};
use steps::grows_dotted;

/// The items of a tenant's Deny rules, for one notation.
#[derive(Debug)]
pub(super) struct Overlap {
    sets: Sets,
    texts: texts::Texts,
    /// By place, as many as the longest topic has levels.
    places: Vec<Place>,
    /// All groups of all places.
    groups: Vec<Group>,
    /// In how many ways text and variables follow each other, at all places together.
    shapes: usize,
    spans: Vec<Span>,
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
}

/// The items with the same variables at one place.
#[derive(Debug, Clone, Copy)]
struct Group {
    place: usize,
    /// Its number in the spellings of the place.
    number: usize,
    all: SetId,
    /// Those of which it is the last level.
    last: SetId,
}

/// Blocks of which the items have the same variables: from the end of the span before.
#[derive(Debug, Default, PartialEq, Eq)]
struct Span {
    /// The number of the first block behind it.
    end: usize,
    /// How many levels the longest item has, `#` aside.
    depth: usize,
    /// The groups, in the order of their places.
    groups: Box<[u32]>,
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

/// More variables than there is room for: more than any budget has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooWide;

/// Items that concern a request, whatever their topics are, block by block.
pub(super) trait Concerned {
    /// The first block at or after one that may hold such an item. Blocks are asked in ascending order.
    fn next(&mut self, at: usize) -> Option<usize>;
    /// Writes those of a block.
    fn read(&mut self, at: usize, block: &mut Block);
}

impl Overlap {
    /// Indexes topics, in an [`Order`]. `None` is every topic there is.
    pub(super) fn new<'t>(topics: impl Iterator<Item = Option<&'t Topic>>, dotted: bool) -> Self {
        let mut builder = Builder::default();
        topics.for_each(|topic| builder.add(topic, dotted));
        builder.finish()
    }

    /// The item that concerns the request, meets what is asked, and has the rule that a verdict prefers.
    pub(super) fn first(
        &self,
        question: &Question<'_>,
        runs: &Runs,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Result<Option<u32>, TooWide> {
        if self.spans.is_empty() {
            return Ok(None);
        }
        let terms = self.shapes.saturating_mul(TERMS_OF_A_SHAPE);
        if question.levels.len() + MORE_CONDITIONS <= FEW_LEVELS && terms <= FEW_TERMS {
            Ok(self.within::<FEW_LEVELS, FEW_TERMS>(question, runs, concerned, work))
        } else if terms <= MOST_TERMS {
            Ok(self.wide(question, runs, concerned, work))
        } else {
            Err(TooWide)
        }
    }

    /// Apart, so that only wide questions pay for the room on the stack.
    #[cold]
    #[inline(never)]
    fn wide(
        &self,
        question: &Question<'_>,
        runs: &Runs,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Option<u32> {
        self.within::<MOST_LEVELS, MOST_TERMS>(question, runs, concerned, work)
    }

    #[inline(never)]
    fn within<const LEVELS: usize, const TERMS: usize>(
        &self,
        question: &Question<'_>,
        runs: &Runs,
        concerned: &mut impl Concerned,
        work: &mut Work,
    ) -> Option<u32> {
        let asked = Asked::<TERMS>::new(self, question);
        let mut conditions = Conditions::<LEVELS, TERMS>::default();
        search::first(self, &asked, &mut conditions, runs, concerned, work)
    }
}

/// Whether any topic is another one where the broker confuses `.` with `/`, so that an index for that is needed.
pub(super) fn any_grows_dotted<'t>(mut topics: impl Iterator<Item = &'t Topic>) -> bool {
    topics.any(grows_dotted)
}

/// Room on the stack for questions within a tenant's usual budget.
const FEW_LEVELS: usize = 40;
/// A question has so many conditions besides those of its levels.
const MORE_CONDITIONS: usize = 5;
const FEW_TERMS: usize = 48;
/// A group has no more terms than this for each of its shapes.
const TERMS_OF_A_SHAPE: usize = 3;
/// As many as the longest topic has levels.
const MOST_LEVELS: usize = crate::template::MAX_TEMPLATE_BYTES + 8;
const MOST_TERMS: usize = 1536;

/// The text that a level with variables begins with.
fn leading(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}
