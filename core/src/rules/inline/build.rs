//! Making a list: what may stand in it, and in which order.

use std::collections::BTreeSet;

use super::part::{Beyond, Denied, Fate, Part, is_name};
use super::{InlineAcl, InlineRule, InlineTopic, MAX_RULES};
use crate::client::Grant;
use crate::policy::{Action, Effect};
use crate::rules::{ClientRule, Conditions, Principal, Rules};
use crate::template::ClientTopic;
use crate::topic::{Filter, covers, intersection};

/// More topics of rules than this are not looked at: a list is made at every login, and most that would be too long would
/// otherwise be found so only at their end.
const MAX_TOPICS: usize = MAX_RULES;

#[derive(Default)]
struct Builder {
    denies: Vec<Denied>,
    /// Allows that need no guard.
    plain: Vec<Part>,
    /// Allows for subscriptions, each with the filter that has to be denied just before.
    guarded: Vec<(Part, String)>,
    /// What has to be asked.
    left: Vec<Part>,
    /// The Denies that what is listed meets.
    needed: BTreeSet<usize>,
}

pub(super) fn build(rules: &Rules, principal: &Principal<'_>) -> Option<InlineAcl> {
    if rules.count_topics(principal) > MAX_TOPICS {
        return None;
    }
    let mut builder = Builder::default();
    let mut parts = Vec::new();
    for rule in rules.of_client(principal).into_iter().filter(|rule| rule.conditions.any_qos()) {
        let ClientRule { cause: _, effect, conditions, topic } = rule;
        match effect {
            Effect::Deny => builder.denies.push(Denied { conditions, topic }),
            Effect::Allow => allowed(conditions, &topic, principal.client.grants, &mut parts),
        }
        if parts.len() > 2 * MAX_TOPICS {
            return None;
        }
    }
    for part in parts {
        builder.place(part);
    }
    builder.keep_guards_apart();
    builder.finish()
}

/// The parts of an Allow that the client's tokens leave of it, those of one topic beside each other.
fn allowed(conditions: Conditions, topic: &ClientTopic, grants: Option<&[Grant]>, parts: &mut Vec<Part>) {
    let topic = match topic {
        ClientTopic::Filter(text) => InlineTopic::Filter(text.clone()),
        ClientTopic::Exact(text) => InlineTopic::Exact(text.clone()),
        ClientTopic::WithDollars(_) | ClientTopic::Everything => return,
    };
    let Some(grants) = grants else {
        return add(conditions, [true, true], &topic, parts);
    };
    for grant in grants {
        if let Some(topic) = within(&topic, grant) {
            add(conditions, [grant.publish, grant.subscribe], &topic, parts);
        }
    }
}

fn add(conditions: Conditions, granted: [bool; 2], topic: &InlineTopic, parts: &mut Vec<Part>) {
    for (action, granted) in [Action::Publish, Action::Subscribe].into_iter().zip(granted) {
        // Nobody can publish to a filter.
        let possible = match (topic, action) {
            (InlineTopic::Exact(_), Action::Publish) => topic.filter().is_some_and(is_name),
            _ => true,
        };
        let part = Part { action, conditions: conditions.only(action), topic: topic.clone() };
        if granted && possible && conditions.concern(action) && !parts.contains(&part) {
            parts.push(part);
        }
    }
}

/// What a token leaves of a topic.
fn within(topic: &InlineTopic, grant: &Grant) -> Option<InlineTopic> {
    let (own, granted) = (topic.filter()?, Filter::parse(&grant.filter).ok()?);
    match topic {
        InlineTopic::Filter(_) => intersection(own, granted).map(InlineTopic::Filter),
        InlineTopic::Exact(text) => covers(granted, own).then(|| InlineTopic::Exact(text.clone())),
    }
}

impl Builder {
    fn place(&mut self, part: Part) {
        match (part.fate(&self.denies), part.beyond()) {
            (Fate::Refused, _) => {}
            (Fate::Left, _) | (Fate::Listed(_), Beyond::Many) => self.left.push(part),
            (Fate::Listed(needed), Beyond::Nothing) => {
                self.needed.extend(needed);
                self.plain.push(part);
            }
            (Fate::Listed(needed), Beyond::One(guard)) => {
                self.needed.extend(needed);
                self.guarded.push((part, guard));
            }
        }
    }

    /// A guard must not deny what somebody else allows. What is in the list stands before it: shorter filters first, since
    /// only those can cover a longer guard. What was left out does not, so the guarded Allow is left out too.
    fn keep_guards_apart(&mut self) {
        self.guarded.sort_by_key(|(_, guard)| guard.split('/').count());
        for (part, guard) in std::mem::take(&mut self.guarded) {
            let asked = Filter::parse(&guard);
            let allowed_elsewhere = |left: &Part| {
                let meets = left.conditions.meet(part.conditions, Action::Subscribe);
                meets && asked.as_ref().map_or(true, |asked| left.grants(*asked))
            };
            if self.left.iter().any(allowed_elsewhere) {
                self.left.push(part);
            } else {
                self.guarded.push((part, guard));
            }
        }
    }

    fn finish(self) -> Option<InlineAcl> {
        let Self { denies, plain, guarded, left, needed } = self;
        let mut rules = Vec::new();
        for (place, denied) in denies.into_iter().enumerate() {
            let topic = denied.listed().filter(|_| needed.contains(&place));
            let rule = topic.map(|topic| InlineRule { effect: Effect::Deny, conditions: denied.conditions, topic });
            rules.extend(rule.filter(|rule| !rules.contains(rule)));
        }
        plain.into_iter().for_each(|part| push_allow(&mut rules, part));
        for (part, guard) in guarded {
            let (effect, conditions) = (Effect::Deny, part.conditions);
            rules.push(InlineRule { effect, conditions, topic: InlineTopic::Exact(guard) });
            push_allow(&mut rules, part);
        }
        let closed = |action| !left.iter().any(|part| part.action == action);
        let (publish, subscribe) = (closed(Action::Publish), closed(Action::Subscribe));
        InlineAcl::of(rules, Conditions { publish, subscribe, ..Conditions::NONE })
    }
}

/// Both actions of one topic are one rule.
fn push_allow(rules: &mut Vec<InlineRule>, part: Part) {
    let Part { action, conditions, topic } = part;
    match rules.last_mut() {
        Some(InlineRule { effect: Effect::Allow, conditions: before, topic: same })
            if *same == topic && action == Action::Subscribe && !before.subscribe && before.qos == conditions.qos =>
        {
            before.subscribe = true;
        }
        _ => rules.push(InlineRule { effect: Effect::Allow, conditions, topic }),
    }
}
