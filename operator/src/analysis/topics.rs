//! The topics of a tenant's rules as a tree, which finds those that cover a given one without looking at the others.
//!
//! A topic covers another here where it does so for every client, whatever the values of its variables are: a variable covers
//! the same variable only.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use mqtt_access_core::template::{Part, TemplateLevel, Topic};

use super::Limit;
use super::subjects::Group;

/// The number of a topic among all topics of a tenant's rules.
pub(super) type Number = usize;

/// The steps of a visit to a place.
const VISIT: usize = 4;

/// Topics by where they stand in the tree; those of each place by the subjects of their policies.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// `eq` topics by their text.
    exact: HashMap<Box<str>, Place>,
}

/// Topics of one place, by the subjects of their policies.
pub(super) type Place = BTreeMap<Group, Vec<Number>>;

#[derive(Debug, Default)]
struct Node {
    children: HashMap<TemplateLevel, usize>,
    end: Place,
    hash: Place,
}

impl Tree {
    /// The place at which a topic stands.
    pub(super) fn place(&mut self, topic: &Topic) -> Option<&mut Place> {
        let Topic::Template(levels) = topic else { return Some(self.exact.entry(text(topic)?.into()).or_default()) };
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (mut at, levels) = (0, canonical(levels));
        for level in &levels[..] {
            if *level == TemplateLevel::Hash {
                return Some(&mut self.nodes.get_mut(at)?.hash);
            }
            let fresh = self.nodes.len();
            let child = *self.nodes.get_mut(at)?.children.entry(level.clone()).or_insert(fresh);
            if child == fresh {
                self.nodes.push(Node::default());
            }
            at = child;
        }
        Some(&mut self.nodes.get_mut(at)?.end)
    }

    /// The places of the topics that cover a topic, in an order that is always the same; without those for which the limit did
    /// not suffice.
    pub(super) fn covering(&self, topic: &Topic, limit: &Limit) -> Vec<&Place> {
        let mut found = Vec::new();
        let exact = text(topic).and_then(|text| self.exact.get(text.as_ref()));
        found.extend(exact);
        let levels = levels(topic);
        self.descend(0, &canonical(&levels), limit, &mut found);
        found
    }

    /// Two ways go on from each level that is no wildcard, so there may be as many as there are topics.
    fn descend<'t>(&'t self, at: usize, levels: &[TemplateLevel], limit: &Limit, found: &mut Vec<&'t Place>) {
        let Some(node) = self.nodes.get(at).filter(|_| limit.lasts()) else { return };
        limit.spend(VISIT);
        let first = at == 0;
        let Some((level, rest)) = levels.split_first() else {
            return found.extend([&node.hash, &node.end]);
        };
        let reached = !(first && begins_with_dollar(level));
        if reached {
            found.push(&node.hash);
        }
        if *level == TemplateLevel::Hash {
            return;
        }
        let plus = node.children.get(&TemplateLevel::Plus).filter(|_| reached && *level != TemplateLevel::Plus);
        for child in node.children.get(level).into_iter().chain(plus) {
            self.descend(*child, rest, limit, found);
        }
    }
}

/// Whether one topic covers another for every client.
pub(super) fn covers(outer: &Topic, inner: &Topic) -> bool {
    let mut tree = Tree::default();
    tree.place(outer).map(|place| place.insert(0, Vec::new()));
    tree.covering(inner, &Limit::default()).iter().any(|place| !place.is_empty())
}

/// `+/#` matches exactly what `#` matches.
fn canonical(levels: &[TemplateLevel]) -> Cow<'_, [TemplateLevel]> {
    match levels {
        [TemplateLevel::Plus, TemplateLevel::Hash] => vec![TemplateLevel::Hash].into(),
        _ => levels.into(),
    }
}

fn begins_with_dollar(level: &TemplateLevel) -> bool {
    let text = match level {
        TemplateLevel::Literal(text) => text,
        TemplateLevel::Variable(parts) => match parts.first() {
            Some(Part::Text(text)) => text,
            _ => return false,
        },
        TemplateLevel::Plus | TemplateLevel::Hash => return false,
    };
    text.starts_with('$')
}

/// The levels of a topic; an `eq` topic has no variables.
fn levels(topic: &Topic) -> Cow<'_, [TemplateLevel]> {
    match topic {
        Topic::Template(levels) => levels.as_slice().into(),
        Topic::Exact(filter) => filter.split('/').map(literally).collect(),
    }
}

fn literally(level: &str) -> TemplateLevel {
    match level {
        "+" => TemplateLevel::Plus,
        "#" => TemplateLevel::Hash,
        text => TemplateLevel::Literal(text.into()),
    }
}

/// The text of a topic that means exactly one request: an `eq` topic, or a template that is a topic name.
fn text(topic: &Topic) -> Option<Cow<'_, str>> {
    let levels = match topic {
        Topic::Exact(filter) => return Some((&**filter).into()),
        Topic::Template(levels) => levels,
    };
    let literal = |level: &TemplateLevel| match level {
        TemplateLevel::Literal(text) => Some(text.to_string()),
        _ => None,
    };
    let levels: Option<Vec<String>> = levels.iter().map(literal).collect();
    Some(levels?.join("/").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_covers_another_where_it_does_so_for_every_client() {
        for (outer, inner, expected) in [
            ("a/#", "a/${clientid}/b", true),
            ("a/+", "a/${clientid}", true),
            ("a/${clientid}", "a/+", false),
            ("a/${clientid}/#", "a/${clientid}/b", true),
            ("a/${clientid}/#", "a/${username}/b", false),
            ("a/x${clientid}", "a/x${clientid}", true),
            ("a/b", "a/${clientid}", false),
            ("a/#", "a", true),
            ("a/+/#", "a/#", false),
            ("#", "+/#", true),
            ("+/#", "#", true),
            ("#", "$x/a", false),
            ("+/a", "$${clientid}/a", false),
            ("a/+", "eq a/+", true),
            ("eq a/+", "a/+", false),
            ("eq a/b", "a/b", true),
            ("a/b", "eq a/b", true),
            ("a/${clientid}", "eq a/${clientid}", false),
            ("eq a/${clientid}", "eq a/${clientid}", true),
        ] {
            let parsed = [outer, inner].map(|text| Topic::parse(text).unwrap());
            assert_eq!(covers(&parsed[0], &parsed[1]), expected, "{outer} covers {inner}");
        }
    }
}
