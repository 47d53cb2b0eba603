//! One walk down the trie of Allow topics answers two questions: which of them cover what is asked, and which overlap it.
//!
//! A publish asks which topics match its name; a name is a filter that matches just itself, so that is "cover" too.
//! Each node of the trie is visited at most once, because there is one path to it. A walk for topics that cover what is asked
//! visits, at each depth, at most one node for each way in which wildcards and variables stand above it.

use super::AudienceSet;
use super::trie::{Entries, Entry, Node, NodeId, Trie};
use crate::client::Client;
use crate::policy::Effect;
use crate::template::render::Position;
use crate::topic::{Filter, Level, covers};
use crate::verdict::{Notation, Request};

/// Who asks for what, and which of the entries met concern them.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) client: &'a Client<'a>,
    /// The client's audiences; `None` where the entries are no rule's.
    pub(super) selected: Option<&'a AudienceSet>,
    pub(super) request: &'a Request<'a>,
    /// The levels of what is asked.
    pub(super) levels: &'a [&'a str],
}

/// What is sought in the trie.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Topics that cover this filter.
    Covered(Filter<'a>),
    /// Topics that overlap this filter.
    Overlapped(Filter<'a>),
}

impl Trie {
    /// The first rule, in the order of causes, with a topic that is sought.
    pub(super) fn first(&self, walk: &Walk<'_>, asked: Asked<'_>) -> Option<u32> {
        let mut search = Search { trie: self, walk, asked, found: None };
        search.descend(Self::ROOT, walk.levels, true);
        search.found
    }
}

struct Search<'a> {
    trie: &'a Trie,
    walk: &'a Walk<'a>,
    asked: Asked<'a>,
    found: Option<u32>,
}

impl<'a> Search<'a> {
    fn descend(&mut self, at: NodeId, levels: &'a [&'a str], first: bool) {
        let trie = self.trie;
        let Some(node) = trie.node(at) else { return };
        let next = levels.split_first().map(|(level, after)| (Level::of(level), after));
        // A leading wildcard of the trie does not reach a level with `$`.
        if !(first && next.is_some_and(|(level, _)| level.is_dollar())) {
            self.collect(&node.hash);
        }
        match next {
            None => self.collect(&node.end),
            Some((Level::Literal(text), after)) => self.literal(node, text, after, first),
            Some((Level::Plus, after)) => self.plus(node, after, first),
            Some((Level::Hash, _)) => self.hash(node, first),
        }
    }

    fn literal(&mut self, node: &'a Node, text: &'a str, after: &'a [&'a str], first: bool) {
        if let Some(child) = node.literal.get(text) {
            self.descend(child, after, false);
        }
        if let Some(child) = node.plus.filter(|_| !(first && text.starts_with('$'))) {
            self.descend(child, after, false);
        }
        let client = self.walk.client;
        node.variable.spelt(text, client, self.position(first), |child| self.descend(child, after, false));
    }

    fn plus(&mut self, node: &'a Node, after: &'a [&'a str], first: bool) {
        if let Some(child) = node.plus {
            self.descend(child, after, false);
        }
        if matches!(self.asked, Asked::Covered(_)) {
            return;
        }
        // A lone `+` does not reach the empty level: there is no empty name.
        let lone = first && after.is_empty();
        for (text, child) in node.literal.iter() {
            if self.wildcard_reaches(text.as_bytes(), first) && !(lone && text.is_empty()) {
                self.descend(child, after, false);
            }
        }
        let client = self.walk.client;
        node.variable.each(client, self.position(first), |leading, child| {
            if self.wildcard_reaches(leading, first) {
                self.descend(child, after, false);
            }
        });
    }

    fn hash(&mut self, node: &'a Node, first: bool) {
        let trie = self.trie;
        match self.asked {
            // `+/#` matches exactly what a lone `#` matches.
            Asked::Covered(_) => {
                if let Some(child) = node.plus.filter(|_| first).and_then(|child| trie.node(child)) {
                    self.collect(&child.hash);
                }
            }
            Asked::Overlapped(_) => self.below(node, first),
        }
    }

    /// Every topic at or below a node overlaps `#`.
    fn below(&mut self, node: &'a Node, first: bool) {
        self.collect(&node.end);
        self.collect(&node.hash);
        if let Some(child) = node.plus {
            self.everything(child);
        }
        for (text, child) in node.literal.iter() {
            if self.wildcard_reaches(text.as_bytes(), first) {
                self.everything(child);
            }
        }
        let client = self.walk.client;
        node.variable.each(client, self.position(first), |leading, child| {
            if self.wildcard_reaches(leading, first) {
                self.everything(child);
            }
        });
    }

    /// Collects a whole subtree, for a `#` that reaches it.
    fn everything(&mut self, at: NodeId) {
        if let Some(node) = self.trie.node(at) {
            self.below(node, false);
        }
    }

    /// Notes the first of the entries here that concern the client and the request.
    fn collect(&mut self, entries: &'a Entries) {
        if entries.is_empty() {
            return;
        }
        let passes = |entry: &Entry| {
            entry.conditions.hold(self.walk.request, Effect::Allow)
                && entry.exact.is_none_or(|number| self.applies_exactly(number))
        };
        let rule = entries.first(self.walk.selected, self.found, passes);
        self.found = self.found.into_iter().chain(rule).min();
    }

    /// `eq F` grants just F. A filter that cannot be found again is a fault of ours, and must not allow.
    fn applies_exactly(&self, number: u32) -> bool {
        self.trie.exact(number).is_some_and(|filter| match self.asked {
            Asked::Covered(asked) => asked == filter,
            Asked::Overlapped(asked) => covers(asked, filter),
        })
    }

    fn wildcard_reaches(&self, text: &[u8], first: bool) -> bool {
        !(first && text.starts_with(b"$")) || self.dotted()
    }

    fn position(&self, first: bool) -> Position {
        Position { first, dotted: self.dotted() }
    }

    fn dotted(&self) -> bool {
        self.walk.request.notation == Notation::Dotted
    }
}
