//! The Denies of a tenant: to at least the clients and topics that are meant.

use super::rule::{self, Share, Topics};
use super::topics::Refused;
use super::who::Who;
use super::{Draft, Written};
use crate::policy::{Effect, Topics as WrittenTopics};
use crate::rules::Conditions;
use crate::template::Topic;

/// A Deny as it stands in the file.
pub(super) struct Deny<'i> {
    pub(super) written: Written<'i>,
    pub(super) who: Who,
    pub(super) conditions: Conditions,
    pub(super) topics: Vec<Refused>,
}

/// Writes them, and tells them to those who write Allows.
pub(super) fn write<'i>(draft: &mut Draft<'_>, denies: &[Written<'i>]) -> Vec<Deny<'i>> {
    denies.iter().filter_map(|written| one(draft, *written)).collect()
}

fn one<'i>(draft: &mut Draft<'_>, written: Written<'i>) -> Option<Deny<'i>> {
    let conditions = written.conditions();
    let action = rule::action(conditions, Share::All)?;
    let selected = draft.clients.selected(&written.policy.subjects, Effect::Deny);
    let topics = topics(draft, written);
    if selected.who.is_nobody() || topics.is_empty() {
        return None;
    }
    if selected.by_scram {
        let message = "also refused to every SCRAM client whose client ID begins with a selected credential's \
                       `clientIdPrefix`: EMQX cannot tell them apart; let people log in with a password instead";
        draft.narrowed.insert(written.narrowed(message.to_owned()));
    }
    let terms: Option<Vec<_>> = topics.iter().map(Refused::term).collect();
    draft.name(&written);
    draft.rules.rule(Effect::Deny, &selected.who, [], action, terms.map_or(Topics::Everything, Topics::Listed));
    Some(Deny { written, who: selected.who, conditions, topics })
}

fn topics(draft: &mut Draft<'_>, written: Written<'_>) -> Vec<Refused> {
    let WrittenTopics::Listed(texts) = &written.rule.topics else { return vec![Refused::Everything] };
    let mut found = Vec::new();
    for text in texts {
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
            draft.narrowed.insert(written.narrowed(message));
        }
        found.push(refused);
    }
    found
}
