//! The order in which topics are numbered.
//!
//! Topics whose variables stand alike follow each other, and among very many of them those of like depth. So the levels and
//! variables that a block has to be asked about are those of its own topics, not of all the tenant's.

use std::collections::BTreeMap;

use crate::template::{Layout, TemplateLevel, Topic};

/// So many topics with the same variables are put in order by their depth as well.
const MANY: usize = 1024;

/// Topics by their numbers in a slice, as an index wants them: in *runs*, each in the order in which verdicts prefer rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::rules) struct Order {
    /// The topics.
    pub(in crate::rules) topics: Vec<usize>,
    /// Where each run begins in `topics`.
    pub(in crate::rules) starts: Vec<u32>,
}

impl Order {
    /// Orders topics, which come in the order in which verdicts prefer their rules. `None` is every topic there is.
    pub(in crate::rules) fn of(topics: &[Option<&Topic>]) -> Self {
        let mut layouts: BTreeMap<Layout, Vec<usize>> = BTreeMap::new();
        for (number, topic) in topics.iter().enumerate() {
            layouts.entry(topic.map(Layout::of).unwrap_or_default()).or_default().push(number);
        }
        let mut order = Self::default();
        for mut same in layouts.into_values() {
            let depth_of = |number: &usize| topics.get(*number).copied().flatten().map_or(0, depth);
            let many = same.len() > MANY;
            if many {
                // Stable: topics of like depth stay as they are.
                same.sort_by_cached_key(depth_of);
            }
            let mut before = None;
            for number in same {
                let depth = many.then(|| depth_of(&number));
                if before.replace(depth) != Some(depth) {
                    order.starts.push(super::narrow(order.topics.len()));
                }
                order.topics.push(number);
            }
        }
        order
    }
}

/// The least power of two that is no less than the number of levels, `#` aside.
fn depth(topic: &Topic) -> usize {
    let levels = match topic {
        Topic::Template(levels) => levels.iter().filter(|level| **level != TemplateLevel::Hash).count(),
        Topic::Exact(filter) => filter.split('/').filter(|level| *level != "#").count(),
    };
    levels.next_power_of_two().max(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_the_same_variables_follow_each_other_in_their_order() {
        let topics: Vec<Topic> = ["a", "x/${clientid}", "b/c/d/e/f", "y/${clientid}/#", "${username}", "z"]
            .map(|text| Topic::parse(text).unwrap())
            .into();
        let topics: Vec<Option<&Topic>> = topics.iter().map(Some).chain([None]).collect();
        let Order { topics, starts } = Order::of(&topics);
        assert_eq!(topics, [0, 2, 5, 6, 4, 1, 3]);
        assert_eq!(starts, [0, 4, 5]);
    }

    #[test]
    fn very_many_topics_are_ordered_by_depth() {
        let topic = |number: usize| Topic::parse(if number.is_multiple_of(2) { "a/b/c/d/e" } else { "a" }).unwrap();
        let topics: Vec<Topic> = (0..=MANY).map(topic).collect();
        let topics: Vec<Option<&Topic>> = topics.iter().map(Some).collect();
        let Order { topics, starts } = Order::of(&topics);
        assert_eq!(starts, [0, 512]);
        assert_eq!((topics[0], topics[511], topics[512], topics[1024]), (1, 1023, 0, 1024));
    }
}
