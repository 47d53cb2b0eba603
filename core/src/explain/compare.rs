//! What changes for a client between two sets of rules: proved rule by rule, and never claimed where it is not proved.
//!
//! A rule is no change where a single rule of the other side says as much or more. Whoever finds no change this way gets the
//! same answer to every request from both sides; the opposite does not hold.

use crate::policy::{Action, Effect};
use crate::rules::{ClientRule, Conditions};
use crate::template::ClientTopic;
use crate::template::render::is_dotted;
use crate::topic::{Filter, covers, covers_with_dollars};

/// A rule for one action that the other side has nothing as wide as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whether the later side has it.
    pub added: bool,
    /// The place of the rule in the list of its side.
    pub rule: usize,
    /// The action.
    pub action: Action,
}

/// What two lists of [`crate::rules::Rules::of_client`] say differently. Nothing: every request is judged alike.
#[must_use]
pub fn changes(before: &[ClientRule<'_>], after: &[ClientRule<'_>]) -> Vec<Change> {
    let sides = [(false, before, after), (true, after, before)];
    let changes = sides.into_iter().flat_map(|(added, own, other)| {
        own.iter().enumerate().flat_map(move |(rule, own)| {
            let actions = [Action::Publish, Action::Subscribe].into_iter();
            let lost = actions.filter(move |action| {
                own.conditions.concern(*action) && !other.iter().any(|other| implies(other, own, *action))
            });
            lost.map(move |action| Change { added, rule, action })
        })
    });
    changes.collect()
}

/// Whether whatever the narrower rule grants or refuses for an action, the wider one does too.
fn implies(wider: &ClientRule<'_>, narrower: &ClientRule<'_>, action: Action) -> bool {
    wider.effect == narrower.effect
        && wider.conditions.concern(action)
        && holds_whenever(wider.conditions, narrower.conditions)
        && reaches(&wider.topic, &narrower.topic, wider.effect)
}

/// Whether conditions hold wherever others do, told or not told.
#[must_use]
pub fn holds_whenever(wider: Conditions, narrower: Conditions) -> bool {
    let qos = wider.qos().is_none_or(|wide| narrower.qos().is_some_and(|narrow| narrow.is_subset(&wide)));
    let retain = wider.retain().is_none_or(|wide| narrower.retain() == Some(wide));
    qos && retain
}

/// Whether whatever the narrower topic grants or refuses, the wider one does too.
pub(super) fn reaches(wider: &ClientTopic, narrower: &ClientTopic, effect: Effect) -> bool {
    if wider == narrower {
        return true;
    }
    let (wide, narrow) = match (wider, narrower) {
        (ClientTopic::Everything, _) => return effect == Effect::Deny,
        (ClientTopic::Filter(wide), ClientTopic::Filter(narrow) | ClientTopic::Exact(narrow))
        | (
            ClientTopic::WithDollars(wide),
            ClientTopic::Filter(narrow) | ClientTopic::WithDollars(narrow) | ClientTopic::Exact(narrow),
        ) => (wide, narrow),
        _ => return false,
    };
    // On RabbitMQ such a Deny grows from that level on, beyond what is wider elsewhere.
    if effect == Effect::Deny && narrow.split('/').any(is_dotted) {
        return false;
    }
    let (Ok(wide), Ok(narrow)) = (Filter::parse(wide), Filter::parse(narrow)) else { return false };
    match wider {
        ClientTopic::WithDollars(_) => covers_with_dollars(wide, narrow),
        _ => covers(wide, narrow),
    }
}
