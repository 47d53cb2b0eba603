//! The Denies of a tenant: to at least the clients and topics that are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::clients::Selected;
use super::rule::{self, Lines, Share};
use super::topics::Refused;
use super::{Draft, Written, by_policy};
use crate::policy::{Effect, Policy, Topics as WrittenTopics};
use crate::rules::Conditions;
use crate::template::Topic;

/// A Deny as it stands in the file.
pub(super) struct Deny<'i> {
    pub(super) written: Written<'i>,
    pub(super) clients: Rc<Selected>,
    pub(super) conditions: Conditions,
    pub(super) topics: Vec<Refused>,
}

/// Writes them, and tells them to those who write Allows.
pub(super) fn write<'i>(draft: &mut Draft<'i, '_>, denies: &[Written<'i>]) -> Vec<Deny<'i>> {
    let mut found = Vec::new();
    for written in by_policy(denies) {
        let Some(policy) = written.first().map(|it| it.policy).filter(|_| draft.meter.step(1)) else { break };
        of_policy(draft, policy, written, &mut found);
    }
    found
}

fn of_policy<'i>(draft: &mut Draft<'i, '_>, policy: &'i Policy, denies: &[Written<'i>], found: &mut Vec<Deny<'i>>) {
    let clients = draft.selected(policy, Effect::Deny);
    if clients.who.is_nobody() {
        return;
    }
    // Denies of every topic, and of those that filters say.
    let mut everything: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    let mut lines = Lines::default();
    for written in denies {
        let conditions = written.conditions();
        let Some(action) = rule::action(conditions, Share::All) else { continue };
        let topics = topics(draft, *written);
        if topics.is_empty() {
            continue;
        }
        if clients.by_scram {
            let message = "also refused to every SCRAM client whose client ID begins with a selected credential's \
                           `clientIdPrefix`: EMQX cannot tell them apart; let people log in with a password instead";
            draft.tell(written, message.to_owned());
        }
        let terms: Option<Vec<_>> = topics.iter().map(Refused::term).collect();
        match terms {
            None => _ = everything.entry(action).or_default().insert(written.rule.index),
            Some(terms) => {
                for term in terms {
                    lines.add(&action, &BTreeSet::new(), written.rule.index, term);
                }
            }
        }
        found.push(Deny { written: *written, clients: Rc::clone(&clients), conditions, topics });
    }
    for (action, rules) in everything {
        draft.name(policy, &rules);
        draft.rules.rule(Effect::Deny, &clients.who, [], action, rule::Topics::Everything);
    }
    draft.write(policy, Effect::Deny, &clients.who, lines);
}

fn topics<'i>(draft: &mut Draft<'i, '_>, written: Written<'i>) -> Vec<Refused> {
    let WrittenTopics::Listed(texts) = &written.rule.topics else { return vec![Refused::Everything] };
    let mut found = Vec::new();
    for text in texts.iter().take_while(|_| draft.meter.step(1)) {
        // The index would not have been made with a topic that does not parse; whatever it is, it must deny.
        let (refused, grown) = Topic::parse(text).map_or((Refused::Everything, true), |topic| {
            Refused::of(&topic, |variable| draft.clients.has_slash(variable))
        });
        if grown {
            let reached = match &refused {
                Refused::Everything => "every topic".to_owned(),
                Refused::Filter(filter) | Refused::Exact(filter) => format!("`{filter}`"),
            };
            let message = format!(
                "`{text}` refuses {reached}: EMQX skips a Deny with a variable that has no value, so that it can have none; \
                 write the topic without variables, or do without the Deny by allowing less"
            );
            draft.tell(&written, message);
        }
        found.push(refused);
    }
    found
}
