//! The trie of Allow topics: one node per distinct template prefix.
//!
//! No path has more than 1,025 levels, since neither a template nor a filter of a topic space is longer than
//! [`MAX_TEMPLATE_BYTES`](crate::template::MAX_TEMPLATE_BYTES): whatever is asked, a walk goes no deeper.

mod children;
mod variables;

use super::{AudienceSet, Conditions};
use crate::audience::AudienceId;
use crate::policy::Rule;
use crate::template::{TemplateLevel, Topic};
use crate::topic::{Filter, Level};
use children::Children;
use variables::Variables;

pub(super) type NodeId = u32;

/// Template prefixes; node 0 is the root.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The filters of `eq` topics, by the number their entries hold.
    exact: Vec<Box<str>>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) literal: Children,
    pub(super) plus: Option<NodeId>,
    pub(super) variable: Variables,
    /// Topics that end here.
    pub(super) end: Entries,
    /// Topics that end here with a further `#`.
    pub(super) hash: Entries,
}

/// One topic of one rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) rule: u32,
    pub(super) audience: AudienceId,
    pub(super) conditions: Conditions,
    /// For an `eq` topic, which one.
    pub(super) exact: Option<u32>,
}

impl Entry {
    /// For filters that are no rule's.
    pub(super) const UNCONDITIONAL: Self = Self { rule: 0, audience: 0, conditions: Conditions::NONE, exact: None };

    pub(super) fn new(rule: u32, audience: AudienceId, source: &Rule) -> Self {
        Self { rule, audience, conditions: Conditions::of(source), exact: None }
    }
}

/// So many entries for each audience of a client are looked at sooner than that audience is searched for.
const SOON_SCANNED: usize = 16;

/// Entries of one place.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// In the order of rules, so that a client which most are about finds the first soon.
    by_rule: Vec<Entry>,
    /// Their places there by audience, so that a client which few are about does not look at the others; none where all are few.
    by_audience: Vec<u32>,
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.by_rule.push(entry);
    }

    /// Of rules that say the same about one topic only the first can ever be a cause.
    pub(super) fn finish(&mut self) {
        let Self { by_rule, by_audience } = self;
        let says = |entry: &Entry| (entry.audience, entry.conditions, entry.exact.is_some());
        by_rule.sort_by_key(|entry| (says(entry), entry.rule));
        by_rule.dedup_by_key(|entry| says(entry));
        by_rule.sort_by_key(|entry| entry.rule);
        by_rule.shrink_to_fit();
        if by_rule.len() > SOON_SCANNED {
            let mut places: Vec<(AudienceId, u32)> = by_rule.iter().map(|entry| entry.audience).zip(0..).collect();
            places.sort_unstable();
            *by_audience = places.into_iter().map(|(_, place)| place).collect();
        }
    }

    /// The first rule whose audience is one of `selected` (`None`: of any), and whose entry passes a test; nothing where that is no
    /// earlier than one that was found already.
    pub(super) fn first(
        &self,
        selected: Option<&AudienceSet>,
        found: Option<u32>,
        test: impl Fn(&Entry) -> bool,
    ) -> Option<u32> {
        let is_earlier = |entry: &&Entry| found.is_none_or(|found| entry.rule < found);
        let Some(selected) = selected.filter(|selected| self.by_rule.len() > SOON_SCANNED * selected.len()) else {
            let concerns = |entry: &Entry| selected.is_none_or(|selected| selected.holds(entry.audience));
            let mut earlier = self.by_rule.iter().take_while(is_earlier);
            return earlier.find(|entry| concerns(entry) && test(entry)).map(|entry| entry.rule);
        };
        let entry = |place: &u32| self.by_rule.get(usize::try_from(*place).ok()?);
        let of = |audience: &AudienceId| {
            let is_before = |place: &u32| entry(place).is_some_and(|entry| entry.audience < *audience);
            let start = self.by_audience.partition_point(is_before);
            let own = self.by_audience.iter().skip(start).filter_map(entry);
            // In the order of rules: the first that passes is the first of this audience.
            let mut own = own.take_while(|entry| entry.audience == *audience);
            own.find(|entry| test(entry)).map(|entry| entry.rule)
        };
        selected.iter().filter_map(of).min()
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], exact: Vec::new() }
    }
}

impl Trie {
    pub(super) const ROOT: NodeId = 0;

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?)
    }

    pub(super) fn exact(&self, number: u32) -> Option<Filter<'_>> {
        let text = self.exact.get(usize::try_from(number).ok()?)?;
        Filter::parse(text).ok()
    }

    pub(super) fn insert(&mut self, topic: &Topic, entry: Entry) {
        match topic {
            Topic::Template(levels) => self.insert_levels(levels, entry),
            Topic::Exact(filter) => {
                let exact = u32::try_from(self.exact.len()).ok();
                self.exact.push(filter.clone());
                self.insert_filter(topic, Entry { exact, ..entry });
            }
        }
    }

    /// Inserts the filter of an `eq` topic level by level, without expansion.
    pub(super) fn insert_filter(&mut self, topic: &Topic, entry: Entry) {
        let Topic::Exact(filter) = topic else {
            return self.insert(topic, entry);
        };
        let levels: Vec<_> = filter
            .split('/')
            .map(|text| match Level::of(text) {
                Level::Literal(text) => TemplateLevel::Literal(text.into()),
                Level::Plus => TemplateLevel::Plus,
                Level::Hash => TemplateLevel::Hash,
            })
            .collect();
        self.insert_levels(&levels, entry);
    }

    fn insert_levels(&mut self, levels: &[TemplateLevel], entry: Entry) {
        let mut at = Self::ROOT;
        for level in levels {
            if *level == TemplateLevel::Hash {
                return self.edit(at, |node| node.hash.push(entry));
            }
            at = self.child(at, level);
        }
        self.edit(at, |node| node.end.push(entry));
    }

    fn edit(&mut self, at: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.node_mut(at) {
            change(node);
        }
    }

    fn child(&mut self, at: NodeId, level: &TemplateLevel) -> NodeId {
        let fresh = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        let Some(node) = self.node_mut(at) else {
            return at;
        };
        let child = match level {
            TemplateLevel::Literal(text) => node.literal.get_or_insert(text, fresh),
            TemplateLevel::Plus | TemplateLevel::Hash => *node.plus.get_or_insert(fresh),
            TemplateLevel::Variable(parts) => node.variable.get_or_insert(parts, fresh),
        };
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    pub(super) fn finish(&mut self) {
        for node in &mut self.nodes {
            node.end.finish();
            node.hash.finish();
            node.variable.shrink();
        }
        self.nodes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::audience_set::ItemsByAudience;

    #[test]
    fn the_first_rule_is_found_whether_few_or_many_entries_are_about_a_client() {
        // Each policy says the same twice, and every other one only of subscriptions.
        let entry = |number: u32| {
            let conditions = Conditions { publish: number.is_multiple_of(2), ..Conditions::NONE };
            Entry { rule: 4_000 - number, audience: number / 2 % 500, conditions, exact: None }
        };
        let all: Vec<Entry> = (0..2_000).map(entry).collect();
        let mut entries = Entries::default();
        all.iter().for_each(|entry| entries.push(*entry));
        entries.finish();
        assert_eq!(entries.by_rule.len(), 1_000);
        for count in [0, 1, 3, 40, 499] {
            for from in [0, 1, 250] {
                let ids: Vec<AudienceId> = (from..500).take(count).collect();
                let selected = ItemsByAudience::default().set(ids.clone(), true);
                let publishes = |entry: &Entry| entry.conditions.publish;
                let own = all.iter().filter(|entry| ids.contains(&entry.audience) && publishes(entry));
                let expected = own.map(|entry| entry.rule).min();
                assert_eq!(entries.first(Some(&selected), None, publishes), expected, "{count} from {from}");
                let after = expected.map(|rule| rule + 1);
                assert_eq!(entries.first(Some(&selected), after, publishes), expected, "{count} from {from}");
            }
        }
        let first = all.iter().map(|entry| entry.rule).min();
        assert_eq!(entries.first(None, None, |_| true), first);
        assert_eq!(entries.first(None, first, |_| true), None);
    }
}
