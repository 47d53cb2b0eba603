//! What of a list rmqtt can be told, and what it would read otherwise.
//!
//! Source: `rmqtt` 0.24, `src/acl.rs` and `src/topic.rs`. Its topics differ from MQTT's where a level other than the first
//! starts with `$`: a rule that has one is an error, which drops the whole list; a wildcard does not match one (so a Deny of
//! `a/#` lets `a/$x` pass), and a `+` in the last place matches it with everything below. An Allow with `retain` true also
//! lets through what is not retained.

use super::part::is_name;
use super::{InlineAcl, InlineRule, InlineTopic, closing};
use crate::policy::{Action, Effect};
use crate::rules::Conditions;
use crate::topic::{Filter, Level, overlaps};

impl InlineAcl {
    /// The same list for rmqtt, or less: Allows that it would take for more are left out, and whatever matches no rule is
    /// denied.
    #[must_use]
    pub fn for_rmqtt(&self) -> Self {
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            match rule.effect {
                Effect::Deny => rules.extend(writable(rule.clone())),
                Effect::Allow if self.survives(rule) => rules.extend(writable(rule.clone()).and_then(without_retained)),
                Effect::Allow => {}
            }
        }
        let closing = closing(&rules, Conditions::NONE);
        Self { rules, closing }
    }

    /// Whether nothing is let through that a Deny of the list refuses, or that the Allow is not about.
    fn survives(&self, allow: &InlineRule) -> bool {
        let Some(allowed) = allow.topic.filter() else { return false };
        let reach = match &allow.topic {
            InlineTopic::Exact(_) => later_dollar(allowed),
            InlineTopic::Filter(_) => match first_unchecked(allowed) {
                Ok(reach) => reach,
                Err(TooWide) => return false,
            },
        };
        let denies = self.rules.iter().filter(|rule| rule.effect == Effect::Deny && meet(rule, allow));
        denies.into_iter().all(|deny| match (&deny.topic, deny.topic.filter()) {
            (InlineTopic::Exact(_), _) => true,
            (InlineTopic::Filter(_), None) => false,
            (InlineTopic::Filter(_), Some(denied)) => {
                !overlaps(denied, allowed) || (!misses(denied, reach) && writable(deny.clone()).is_some())
            }
        })
    }
}

fn meet(deny: &InlineRule, allow: &InlineRule) -> bool {
    [Action::Publish, Action::Subscribe].into_iter().any(|action| deny.conditions.meet(allow.conditions, action))
}

/// An Allow that rmqtt takes for more than it says.
struct TooWide;

/// The first level at which what an Allow matches may start with `$` without being compared with text; none for a filter that
/// does not let it in.
fn first_unchecked(allowed: Filter<'_>) -> Result<Option<usize>, TooWide> {
    let levels: Vec<Level<'_>> = allowed.levels().collect();
    match levels.as_slice() {
        // It would match `$SYS` and all below.
        [Level::Plus, Level::Hash] | [.., Level::Plus] => Err(TooWide),
        [above @ .., Level::Plus, Level::Hash] => Ok(Some(above.len())),
        [above @ .., Level::Hash] => Ok(Some(above.len() + 1)),
        _ => Ok(None),
    }
}

fn later_dollar(allowed: Filter<'_>) -> Option<usize> {
    allowed.levels().skip(1).position(Level::is_dollar).map(|place| place + 1)
}

/// Whether a Deny has a wildcard from there on.
fn misses(denied: Filter<'_>, reach: Option<usize>) -> bool {
    reach.is_some_and(|reach| denied.levels().skip(reach).any(|level| !matches!(level, Level::Literal(_))))
}

/// The rule as rmqtt reads it; `None` where it cannot.
fn writable(rule: InlineRule) -> Option<InlineRule> {
    let filter = rule.topic.filter()?;
    let readable = matches!(rule.topic, InlineTopic::Exact(_)) || later_dollar(filter).is_none();
    let exact = is_name(filter).then(|| InlineTopic::Exact(filter.as_str().to_owned()));
    if readable { Some(rule) } else { exact.map(|topic| InlineRule { topic, ..rule }) }
}

fn without_retained(allow: InlineRule) -> Option<InlineRule> {
    if allow.conditions.retain() != Some(true) {
        return Some(allow);
    }
    let conditions = allow.conditions.only(Action::Subscribe);
    allow.conditions.concern(Action::Subscribe).then_some(InlineRule { conditions, ..allow })
}
