//! A client's rules as a login reply of EMQX carries them: `permission`, `action`, `topics`, `qos` and `retain`, and nothing else.
//!
//! EMQX 5.8 drops a field that it does not know without a word, and the rule then holds for everybody; so nothing is written
//! that only later versions know.

use mqtt_access_core::policy::{Action, Effect};
use mqtt_access_core::rules::{Conditions, InlineAcl, InlineRule, InlineTopic};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

/// The field `acl`.
pub(super) struct Acl<'a>(pub(super) &'a InlineAcl);

/// Rules that differ in their topics only.
struct Rule<'a> {
    effect: Effect,
    conditions: Conditions,
    topics: Vec<&'a InlineTopic>,
}

#[derive(Serialize)]
struct Written<'a> {
    permission: &'static str,
    action: &'static str,
    topics: Vec<Topic<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
}

struct Topic<'a>(&'a InlineTopic);

impl Serialize for Topic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            InlineTopic::Filter(text) => serializer.serialize_str(text),
            InlineTopic::Exact(text) => serializer.collect_str(&format_args!("eq {text}")),
        }
    }
}

impl Serialize for Acl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rules: Vec<Rule<'_>> = Vec::new();
        for InlineRule { effect, conditions, topic } in self.0.rules() {
            match rules.last_mut() {
                Some(last) if (last.effect, last.conditions) == (*effect, *conditions) => last.topics.push(topic),
                _ => rules.push(Rule { effect: *effect, conditions: *conditions, topics: vec![topic] }),
            }
        }
        let mut sequence = serializer.serialize_seq(Some(rules.len()))?;
        for rule in rules.iter().filter_map(Rule::written) {
            sequence.serialize_element(&rule)?;
        }
        sequence.end()
    }
}

impl<'a> Rule<'a> {
    /// `None` for a rule about nothing.
    fn written(&self) -> Option<Written<'a>> {
        let Self { effect, conditions, topics } = self;
        Some(Written {
            permission: permission(*effect),
            action: action(*conditions)?,
            topics: topics.iter().copied().map(Topic).collect(),
            qos: qos(*conditions),
            retain: conditions.retain(),
        })
    }
}

pub(super) fn permission(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

pub(super) fn action(conditions: Conditions) -> Option<&'static str> {
    match (conditions.concern(Action::Publish), conditions.concern(Action::Subscribe)) {
        (true, true) => Some("all"),
        (true, false) => Some("publish"),
        (false, true) => Some("subscribe"),
        (false, false) => None,
    }
}

/// Numbers, not a text such as `0,1`.
pub(super) fn qos(conditions: Conditions) -> Option<Vec<u8>> {
    conditions.qos().map(|levels| levels.into_iter().map(u8::from).collect())
}
