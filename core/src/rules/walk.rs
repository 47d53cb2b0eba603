//! One walk down a trie answers both questions: which topics cover what is asked, and which overlap it.
//!
//! A publish asks which topics match its name; a name is a filter that matches just itself, so that is "cover" too.
//! Each node of the trie is visited at most once, because there is one path to it.

use super::trie::{Entries, Entry, Node, NodeId, Trie};
use crate::audience::AudienceId;
use crate::client::Client;
use crate::policy::Effect;
use crate::template::Part;
use crate::template::render::{self, Position, Unusable};
use crate::topic::{Filter, Level, TopicName, covers, covers_with_dollars};
use crate::verdict::{Notation, Request};

/// Who asks for what, and which of the entries met concern them.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) selected: &'a [AudienceId],
    pub(super) request: &'a Request<'a>,
    pub(super) effect: Effect,
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

impl<'a> Asked<'a> {
    fn filter(self) -> Filter<'a> {
        match self {
            Self::Covered(filter) | Self::CoveredWhole(filter) | Self::Overlapped(filter) => filter,
        }
    }
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
        search.descend(Self::ROOT, Rest::of(asked.filter()), true);
        search.found
    }
}

/// The levels of what is asked that are still to be compared.
#[derive(Clone, Copy)]
struct Rest<'a>(Option<&'a str>);

impl<'a> Rest<'a> {
    fn of(filter: Filter<'a>) -> Self {
        Self(Some(filter.canonical()))
    }

    fn is_empty(self) -> bool {
        self.0.is_none()
    }

    fn split(self) -> (Option<Level<'a>>, Self) {
        let Some(text) = self.0 else { return (None, self) };
        let (level, rest) = text.split_once('/').map_or((text, None), |(level, rest)| (level, Some(rest)));
        (Some(Level::of(level)), Self(rest))
    }
}

struct Search<'a> {
    trie: &'a Trie,
    walk: &'a Walk<'a>,
    asked: Asked<'a>,
    found: Option<u32>,
}

impl<'a> Search<'a> {
    fn descend(&mut self, at: NodeId, levels: Rest<'a>, first: bool) {
        let trie = self.trie;
        let Some(node) = trie.node(at) else { return };
        let (next, rest) = levels.split();
        self.ambiguous(node, first);
        // A leading wildcard of the trie does not reach a level with `$`.
        if !(first && next.is_some_and(Level::is_dollar)) {
            self.collect(&node.hash);
        }
        match next {
            None => self.collect(&node.end),
            Some(Level::Literal(text)) => self.literal(node, text, rest, first),
            Some(Level::Plus) => self.plus(node, rest, first),
            Some(Level::Hash) => self.hash(node, first),
        }
    }

    /// Deny topics that cannot be read for this client grow, whatever is asked: a variable that ends its topic becomes
    /// `#` and so matches the parent too; one with a `/` in its value becomes `#` at once.
    fn ambiguous(&mut self, node: &'a Node, first: bool) {
        if self.walk.effect == Effect::Allow {
            return;
        }
        let trie = self.trie;
        for (parts, child) in &node.variable {
            match self.unusable(parts, first) {
                Some(Unusable::Below) => self.everything(*child, false),
                Some(Unusable::Level) => {
                    if let Some(child) = trie.node(*child) {
                        self.collect(&child.end);
                    }
                }
                None => {}
            }
        }
        if self.dotted() {
            node.dotted.iter().for_each(|child| self.everything(*child, false));
        }
    }

    fn literal(&mut self, node: &'a Node, text: &'a str, rest: Rest<'a>, first: bool) {
        if let Some(child) = node.literal.get(text) {
            self.descend(*child, rest, false);
        }
        if let Some(child) = node.plus.filter(|_| !(first && text.starts_with('$'))) {
            self.descend(child, rest, false);
        }
        for (parts, child) in &node.variable {
            if self.renders(parts, text, first) {
                self.descend(*child, rest, false);
            }
        }
    }

    /// Whether a level with variables stands for this one; with an unusable value it is none for an Allow, any for a Deny.
    fn renders(&self, parts: &[Part], level: &str, first: bool) -> bool {
        let client = self.walk.client;
        let spelt = render::spells(parts, level, |variable| client.variable(variable));
        match self.walk.effect {
            Effect::Allow => spelt && self.unusable(parts, first).is_none(),
            Effect::Deny => spelt || self.unusable(parts, first).is_some(),
        }
    }

    fn plus(&mut self, node: &'a Node, rest: Rest<'a>, first: bool) {
        if let Some(child) = node.plus {
            self.descend(child, rest, false);
        }
        if !matches!(self.asked, Asked::Overlapped(_)) {
            return;
        }
        // A lone `+` does not reach the empty level: there is no empty name.
        let lone = first && rest.is_empty();
        for (text, child) in &node.literal {
            if self.wildcard_reaches(text, first) && !(lone && text.is_empty()) {
                self.descend(*child, rest, false);
            }
        }
        for (parts, child) in &node.variable {
            if self.wildcard_reaches_variable(parts, first) {
                self.descend(*child, rest, false);
            }
        }
    }

    fn hash(&mut self, node: &'a Node, first: bool) {
        let trie = self.trie;
        match self.asked {
            // `+/#` matches exactly what a lone `#` matches.
            Asked::Covered(_) | Asked::CoveredWhole(_) => {
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
        node.plus.into_iter().for_each(|child| self.everything(child, true));
        for (text, child) in &node.literal {
            if self.wildcard_reaches(text, first) {
                self.everything(*child, true);
            }
        }
        for (parts, child) in &node.variable {
            if self.wildcard_reaches_variable(parts, first) {
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
        for child in node.literal.values().chain(&node.plus) {
            self.everything(*child, judged);
        }
        for (parts, child) in &node.variable {
            if !allow || self.unusable(parts, false).is_none() {
                self.everything(*child, judged);
            }
        }
    }

    /// Notes the first of the entries here that concern the client and the request.
    fn collect(&mut self, entries: &'a Entries) {
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

    fn wildcard_reaches_variable(&self, parts: &[Part], first: bool) -> bool {
        let leading = match parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        };
        let unusable = self.unusable(parts, first).is_some();
        match self.walk.effect {
            Effect::Allow => self.wildcard_reaches(leading, first) && !unusable,
            Effect::Deny => self.wildcard_reaches(leading, first) || unusable,
        }
    }

    fn unusable(&self, parts: &[Part], first: bool) -> Option<Unusable> {
        let client = self.walk.client;
        render::unusable(parts, self.position(first), |variable| client.variable(variable))
    }

    fn position(&self, first: bool) -> Position {
        Position { first, dotted: self.dotted() }
    }

    fn dotted(&self) -> bool {
        self.walk.request.notation == Notation::Dotted
    }
}
