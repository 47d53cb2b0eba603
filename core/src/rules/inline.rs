//! What one client may do as a list of which the first rule that matches decides: for brokers that take it at the login.
//!
//! A broker that evaluates such a list (EMQX: `emqx_topic:match/2`) compares the filter that a client subscribes to as if it
//! were a name. It takes `t/#` for something within `t/+`, and does not see that `a/+` meets a Deny of `a/b`. So the list
//! holds only what comes out there as [`Rules::decide`] would have it:
//!
//! - Denies first, as far as they meet anything that is allowed, then Allows. Publishes are compared as everywhere.
//! - An Allow for subscriptions stands in the list only if every Deny that it meets matches whatever both are about.
//! - One that ends in `+` would let `#` in: just before it stands a Deny of exactly that filter. Where one filter does not
//!   suffice (`a/+/+` would let `a/b/#` and all its like in), it does not stand in the list.
//! - A topic that the broker would read otherwise (`${..}`, a leading `eq `) does not stand in the list.
//!
//! An action of which nothing had to be left out is *closed*: whatever matches no rule is denied at the end of the list. Of
//! the others it is left to be asked, which decides exactly. So is a topic whose first level starts with `$` and is none of
//! the usual ones: the language has no wildcard for it.

mod build;
mod part;

use super::{Conditions, Principal, Rules};
use crate::policy::{Action, Effect};
use crate::topic::Filter;

/// The most rules of a list, those at its end aside. The broker goes through it at every publish, and keeps it as long as
/// the session lasts: 100 comparisons take it about as long as a request over a local socket would.
const MAX_RULES: usize = 100;
/// The most bytes of topics in a list. A login reply with it is as large as the requests that brokers are known to bear.
const MAX_BYTES: usize = 16 * 1024;
/// First levels that start with `$` and mean something to brokers; what is closed is closed below them too.
const DOLLAR_ROOTS: [&str; 6] = ["$SYS", "$share", "$queue", "$exclusive", "$delayed", "$events"];

/// A client's rules for a broker that evaluates them itself, first match first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineAcl {
    rules: Vec<InlineRule>,
    closing: Vec<InlineRule>,
}

/// One rule of an [`InlineAcl`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineRule {
    /// Allow or Deny.
    pub effect: Effect,
    /// The actions, QoS levels and retain flags that it is about; retain does not restrict subscriptions.
    pub conditions: Conditions,
    /// The topics that it is about.
    pub topic: InlineTopic,
}

/// What a rule's topic is compared as. Neither holds `${`, and a filter does not begin with `eq `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InlineTopic {
    /// A valid topic filter, of which the broker asks whether it matches.
    Filter(String),
    /// A valid topic filter or name that has to be equal, byte by byte.
    Exact(String),
}

impl InlineTopic {
    /// The filter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Filter(text) | Self::Exact(text) => text,
        }
    }

    fn filter(&self) -> Option<Filter<'_>> {
        Filter::parse(self.as_str()).ok()
    }

    /// Whether a broker reads the topic as it is meant. What stands for itself only where brokers expand nothing is not
    /// escaped: they differ in how.
    fn is_plain(&self) -> bool {
        !self.as_str().contains("${") && !matches!(self, Self::Filter(text) if text.starts_with("eq "))
    }

    fn dollar_root(&self) -> Option<&str> {
        self.as_str().split('/').next().filter(|root| root.starts_with('$'))
    }
}

impl InlineAcl {
    /// The rules, in the order in which they are looked at.
    pub fn rules(&self) -> impl Iterator<Item = &InlineRule> {
        self.rules.iter().chain(&self.closing)
    }

    /// Whether what matches no rule is denied, but for unusual topics that start with `$`; otherwise it has to be asked.
    #[must_use]
    pub fn is_closed(&self, action: Action) -> bool {
        self.closing.iter().any(|rule| rule.conditions.concern(action))
    }

    /// A list with its end; `None` where it is too long, or says nothing.
    fn of(rules: Vec<InlineRule>, closed: Conditions) -> Option<Self> {
        let bytes: usize = rules.iter().map(|rule| rule.topic.as_str().len()).sum();
        if rules.len() > MAX_RULES || bytes > MAX_BYTES {
            return None;
        }
        let closing = if closed.publish || closed.subscribe { closing(&rules, closed) } else { Vec::new() };
        (!(rules.is_empty() && closing.is_empty())).then_some(Self { rules, closing })
    }
}

fn closing(rules: &[InlineRule], conditions: Conditions) -> Vec<InlineRule> {
    let mut roots = DOLLAR_ROOTS.to_vec();
    for root in rules.iter().filter_map(|rule| rule.topic.dollar_root()) {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let topics = std::iter::once("#".to_owned()).chain(roots.into_iter().map(|root| format!("{root}/#")));
    let deny = |topic| InlineRule { effect: Effect::Deny, conditions, topic: InlineTopic::Filter(topic) };
    topics.map(deny).collect()
}

impl Rules {
    /// What a client may do as a list for its broker; `None` where it would be too long, or would say nothing.
    #[must_use]
    pub fn inline(&self, principal: &Principal<'_>) -> Option<InlineAcl> {
        build::build(self, principal)
    }
}

#[cfg(test)]
mod tests;
