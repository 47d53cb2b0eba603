//! One walk down a trie answers both questions: which topics cover what is asked, and which overlap it.
//!
//! A publish asks which topics match its name; a name is a filter that matches just itself, so that is "cover" too.
//! Each node of the trie is visited at most once, because there is one path to it.

use super::trie::{Entries, Entry, Node, NodeId, Trie};
use crate::audience::AudienceId;
use crate::client::Client;
use crate::policy::Effect;
use crate::template::Part;
use crate::template::render::{self, Position, Unusable, is_dotted};
use crate::topic::{Filter, Level, TopicName, covers, covers_with_dollars};
use crate::verdict::{Notation, Request};

/// Who asks for what, and which of the entries met concern them.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) selected: &'a [AudienceId],
    pub(super) request: &'a Request<'a>,
    pub(super) effect: Effect,
    /// The levels of what is asked.
    pub(super) levels: &'a [&'a str],
}

/// What is sought in the trie.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Topics that cover this filter.
    Covered(Filter<'a>),
    /// Topics that cover this filter and every filter within it.
    CoveredWhole(Filter<'a>),
    /// Topics that overlap this filter.
    Overlapped(Filter<'a>),
}

impl Walk<'_> {
    /// The first rule among the entries that concern the client and the request, and pass a further test.
    pub(super) fn first(&self, entries: &Entries, test: impl Fn(&Entry) -> bool) -> Option<u32> {
        entries.first(self.selected, |entry| entry.conditions.hold(self.request, self.effect) && test(entry))
    }
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
            None => self.end(node, first),
            Some((Level::Literal(text), after)) => self.literal(node, text, after, first),
            Some((Level::Plus, after)) => self.plus(node, after, first),
            Some((Level::Hash, _)) => self.hash(node, first),
        }
    }

    fn end(&mut self, node: &'a Node, first: bool) {
        self.collect(&node.end);
        self.grown(node);
        for (parts, child) in &node.variable {
            self.reads(parts, *child, first, |_| false);
        }
    }

    fn literal(&mut self, node: &'a Node, text: &'a str, after: &'a [&'a str], first: bool) {
        self.grown(node);
        if let Some(child) = node.literal.get(text) {
            self.descend(child, after, false);
        }
        if let Some(child) = node.plus.filter(|_| !(first && text.starts_with('$'))) {
            self.descend(child, after, false);
        }
        let client = self.walk.client;
        for (parts, child) in &node.variable {
            let spelt = |_: &Self| render::spells(parts, text, |variable| client.variable(variable));
            if self.reads(parts, *child, first, spelt) {
                self.descend(*child, after, false);
            }
        }
    }

    /// Deny topics that RabbitMQ cannot keep apart from others grow, whatever is asked.
    fn grown(&mut self, node: &'a Node) {
        if self.grows() {
            node.dotted.iter().for_each(|child| self.everything(*child, false));
        }
    }

    /// Whether a level with variables is to be followed for what is asked: where it stands for that, unless a value of it
    /// cannot be used. Then it stands for nothing in an Allow and for anything in a Deny, whose topics grow, whatever is
    /// asked: a variable that ends its topic becomes `#` and so matches the parent too; one with a `/` in its value becomes
    /// `#` at once, and there is nothing left to follow.
    fn reads(&mut self, parts: &[Part], child: NodeId, first: bool, stands: impl FnOnce(&Self) -> bool) -> bool {
        if self.walk.effect == Effect::Allow {
            return stands(self) && self.unusable(parts, first).is_none();
        }
        match self.unusable(parts, first) {
            None => stands(self),
            Some(Unusable::Below) => {
                self.everything(child, false);
                false
            }
            Some(Unusable::Level) => {
                let trie = self.trie;
                trie.node(child).into_iter().for_each(|child| self.collect(&child.end));
                true
            }
        }
    }

    fn plus(&mut self, node: &'a Node, after: &'a [&'a str], first: bool) {
        self.grown(node);
        if let Some(child) = node.plus {
            self.descend(child, after, false);
        }
        let overlapped = matches!(self.asked, Asked::Overlapped(_));
        // A lone `+` does not reach the empty level: there is no empty name.
        let lone = first && after.is_empty();
        for (text, child) in node.literal.iter().filter(|_| overlapped) {
            if self.wildcard_follows(text, first) && !(lone && text.is_empty()) {
                self.descend(child, after, false);
            }
        }
        for (parts, child) in &node.variable {
            if self.reads(parts, *child, first, |it| overlapped && it.wildcard_reaches(leading(parts), first))
                && overlapped
            {
                self.descend(*child, after, false);
            }
        }
    }

    fn hash(&mut self, node: &'a Node, first: bool) {
        let trie = self.trie;
        self.grown(node);
        match self.asked {
            // `+/#` matches exactly what a lone `#` matches.
            Asked::Covered(_) | Asked::CoveredWhole(_) => {
                if let Some(child) = node.plus.filter(|_| first).and_then(|child| trie.node(child)) {
                    self.collect(&child.hash);
                }
                for (parts, child) in &node.variable {
                    self.reads(parts, *child, first, |_| false);
                }
            }
            Asked::Overlapped(_) => self.below(node, first),
        }
    }

    /// Every topic at or below a node overlaps `#`.
    fn below(&mut self, node: &'a Node, first: bool) {
        self.collect(&node.end);
        self.collect(&node.hash);
        node.plus.into_iter().for_each(|child| self.everything(child, true));
        for (text, child) in node.literal.iter() {
            if self.wildcard_follows(text, first) {
                self.everything(child, true);
            }
        }
        for (parts, child) in &node.variable {
            if self.reads(parts, *child, first, |it| it.wildcard_reaches(leading(parts), first)) {
                self.everything(*child, true);
            }
        }
    }

    /// Collects a whole subtree: for a `#` that reaches it, or (not `judged`) for a topic that grew.
    fn everything(&mut self, at: NodeId, judged: bool) {
        let trie = self.trie;
        let Some(node) = trie.node(at) else { return };
        for entries in [&node.end, &node.hash] {
            if judged { self.collect(entries) } else { self.keep(self.walk.first(entries, |_| true)) }
        }
        let allow = self.walk.effect == Effect::Allow;
        for child in node.literal.iter().map(|(_, child)| child).chain(node.plus) {
            self.everything(child, judged);
        }
        for (parts, child) in &node.variable {
            if !allow || self.unusable(parts, false).is_none() {
                self.everything(*child, judged);
            }
        }
    }

    /// Notes the first of the entries here that concern the client and the request.
    fn collect(&mut self, entries: &'a Entries) {
        if entries.is_empty() {
            return;
        }
        let exact = |entry: &Entry| entry.exact.is_none_or(|number| self.applies_exactly(number));
        self.keep(self.walk.first(entries, exact));
    }

    /// `eq F`: an Allow grants just F; a Deny refuses a publish to F and every subscription that covers F.
    fn applies_exactly(&self, number: u32) -> bool {
        // A filter that cannot be found again is a fault of ours: it must not allow, and must deny.
        let Some(filter) = self.trie.exact(number) else {
            return self.walk.effect == Effect::Deny;
        };
        match self.asked {
            Asked::Covered(asked) => asked == filter,
            // What is asked for is one of several, and `eq` is about one.
            Asked::CoveredWhole(asked) => asked == filter && TopicName::parse(asked.as_str()).is_ok(),
            Asked::Overlapped(asked) if self.dotted() => covers_with_dollars(asked, filter),
            Asked::Overlapped(asked) => covers(asked, filter),
        }
    }

    fn keep(&mut self, rule: Option<u32>) {
        self.found = self.found.into_iter().chain(rule).min();
    }

    fn wildcard_reaches(&self, text: &str, first: bool) -> bool {
        !(first && text.starts_with('$')) || self.dotted()
    }

    /// The same, but for topics that grew and are collected already: each node is visited once.
    fn wildcard_follows(&self, text: &str, first: bool) -> bool {
        self.wildcard_reaches(text, first) && !(self.grows() && is_dotted(text))
    }

    fn unusable(&self, parts: &[Part], first: bool) -> Option<Unusable> {
        let client = self.walk.client;
        render::unusable(parts, self.position(first), |variable| client.variable(variable))
    }

    fn position(&self, first: bool) -> Position {
        Position { first, dotted: self.dotted() }
    }

    fn grows(&self) -> bool {
        self.walk.effect == Effect::Deny && self.dotted()
    }

    fn dotted(&self) -> bool {
        self.walk.request.notation == Notation::Dotted
    }
}

/// The text that a level with variables begins with.
fn leading(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}
