//! Rules for clients that choose their client ID: those of access keys, and of credentials with a prefix. What they may do hangs
//! on the choice, so their rules are compared as they were written.

use super::compare::{holds_whenever, reaches};
use crate::client::{Client, Map, is_from_client_id};
use crate::index::Persona;
use crate::policy::{Action, Effect, Subject, Topics};
use crate::rules::Conditions;
use crate::template::{ClientTopic, TemplateLevel, Topic};

/// One topic of a rule that concerns a client with some client ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRule<'i> {
    /// The subjects that may select it.
    subjects: Vec<&'i Subject>,
    /// Allow or Deny.
    pub effect: Effect,
    /// The actions, QoS levels and retain flags that it is about.
    pub conditions: Conditions,
    /// The topic as it was written; `None` for every topic.
    pub topic: Option<&'i str>,
}

/// What the rules may ask of a client besides its client ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenValues {
    attributes: Map,
    labels: Map,
    username: Option<String>,
    client_id_proven: bool,
}

impl<'i> Persona<'i> {
    /// Every rule that could concern the client if it chose its client ID well.
    #[must_use]
    pub fn open_rules(&self) -> Vec<OpenRule<'i>> {
        let principal = self.principal();
        let mut rules = Vec::new();
        for policy in self.tenant().policies() {
            let subjects: Vec<_> =
                policy.subjects.iter().filter(|subject| may_select(subject, principal.client())).collect();
            for rule in policy.rules.iter().filter(|_| !subjects.is_empty()) {
                let open = |topic| OpenRule {
                    subjects: subjects.clone(),
                    effect: rule.effect,
                    conditions: Conditions::of(rule),
                    topic,
                };
                match &rule.topics {
                    Topics::Listed(topics) => rules.extend(topics.iter().map(|topic| open(Some(topic.as_str())))),
                    Topics::Everything => rules.push(open(None)),
                }
            }
        }
        rules
    }

    /// What rules may ask of it besides its client ID.
    #[must_use]
    pub fn open_values(&self) -> OpenValues {
        let principal = self.principal();
        let client = principal.client();
        let mut attributes = client.attributes();
        attributes.retain(|name, value| !is_from_client_id(name) || client.declares(name, value));
        OpenValues {
            attributes,
            labels: client.labels.cloned().unwrap_or_default(),
            username: client.username.map(str::to_owned),
            client_id_proven: client.client_id_proven,
        }
    }
}

impl OpenRule<'_> {
    /// Whether whatever the other rule says for an action, this one says too, whichever client ID is chosen.
    #[must_use]
    pub fn says_all_of(&self, other: &OpenRule<'_>, action: Action) -> bool {
        self.effect == other.effect
            && self.reaches(other)
            && self.conditions.concern(action)
            && holds_whenever(self.conditions, other.conditions)
            && other.subjects.iter().all(|subject| self.subjects.contains(subject))
    }
}

impl OpenRule<'_> {
    /// The same text renders alike; without variables, one topic may lie within another.
    fn reaches(&self, other: &OpenRule<'_>) -> bool {
        let within = || Some(reaches(&self.literal()?, &other.literal()?, self.effect));
        self.topic == other.topic || within().unwrap_or_default()
    }

    /// The topic, where it has no variables.
    fn literal(&self) -> Option<ClientTopic> {
        let Some(text) = self.topic else { return Some(ClientTopic::Everything) };
        let topic = Topic::parse(text).ok()?;
        let variable = |level: &TemplateLevel| matches!(level, TemplateLevel::Variable(_));
        match &topic {
            Topic::Template(levels) if levels.iter().any(variable) => None,
            _ => topic.for_client(self.effect, |_| None),
        }
    }
}

/// Whether a subject selects the client with some client ID: what hangs on that is taken to hold.
fn may_select(subject: &Subject, client: &Client<'_>) -> bool {
    let Subject { everyone, device_selector, client_ids: _, attributes, access_keys } = subject;
    let labels =
        device_selector.as_ref().is_none_or(|wanted| client.labels.is_some_and(|labels| wanted.matches(labels)));
    let has = |(name, wanted): (&String, &String)| {
        is_from_client_id(name) || client.attribute(name).is_some_and(|found| found == wanted)
    };
    let attributes = attributes.iter().flatten().all(has);
    let key = access_keys
        .as_ref()
        .is_none_or(|names| client.access_key.is_some_and(|key| names.iter().any(|name| name == key)));
    *everyone || (labels && attributes && key)
}
