//! An explanation as JSON: flat, and bounded, whatever was asked.

use serde::Serialize;

use super::{Explanation, Matched, NearMiss};
use crate::bundle::UnixSeconds;
use crate::index::Persona;
use crate::policy::Effect;
use crate::verdict::{Cause, Request, RuleRef};

/// An [`Explanation`] in the words of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownExplanation {
    /// `Allow` or `Deny`.
    pub verdict: Effect,
    /// The rule, or the reason.
    pub cause: String,
    /// The reason for which the client could not log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_admitted: Option<&'static str>,
    /// The rules that match, what decided first.
    pub matched: Vec<ShownRule>,
    /// How many more match.
    pub matched_omitted: usize,
    /// The rules that nearly match.
    pub near: Vec<ShownRule>,
    /// How many more nearly match.
    pub near_omitted: usize,
    /// The revision of the bundle; none where nothing was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A client with what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownClient {
    /// Its client ID.
    pub client_id: String,
    /// How it logs in.
    pub mode: &'static str,
    /// The username that it logs in with; of SCRAM any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its `DeviceCredential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The access key that it logs in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// What it may do.
    #[serde(flatten)]
    pub explanation: ShownExplanation,
}

/// A rule of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownRule {
    /// `namespace/policy rules[index]`, or the reason `Superuser`.
    pub rule: String,
    /// `Allow` or `Deny`.
    pub effect: Effect,
    /// The topic, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Why it does not match: the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// Why it does not match, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the rule stands in the manifests, such as `acme.yaml:41`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl ShownClient {
    /// Explains what a client may do.
    pub fn of(
        persona: &Persona<'_>,
        request: &Request<'_>,
        now: UnixSeconds,
        place: impl Fn(RuleRef<'_>) -> Option<String>,
    ) -> Self {
        Self {
            client_id: persona.client_id().to_owned(),
            mode: persona.mode().as_str(),
            username: persona.username().map(str::to_owned),
            device: persona.device().map(|device| device.name.clone()),
            access_key: persona.access_key().map(str::to_owned),
            explanation: ShownExplanation::of(&persona.explain(request, now), place),
        }
    }
}

impl ShownExplanation {
    /// `place` tells where a rule stands, where that is known.
    pub fn of(explanation: &Explanation<'_>, place: impl Fn(RuleRef<'_>) -> Option<String>) -> Self {
        let Explanation { verdict: _, admitted, matched, near, revision } = explanation;
        let outcome = explanation.outcome();
        let matches = |Matched { cause, effect, topic }: &Matched<'_>| ShownRule {
            rule: cause.to_string(),
            effect: *effect,
            topic: topic.map(str::to_owned),
            why: None,
            message: None,
            place: match cause {
                Cause::Rule(rule) => place(*rule),
                Cause::Reason(_) => None,
            },
        };
        let misses = |NearMiss { rule, effect, topic, why }: &NearMiss<'_>| ShownRule {
            rule: rule.to_string(),
            effect: *effect,
            topic: topic.map(str::to_owned),
            why: Some(why.as_str()),
            message: Some(why.to_string()),
            place: place(*rule),
        };
        Self {
            verdict: if outcome.is_allow() { Effect::Allow } else { Effect::Deny },
            cause: outcome.cause().to_string(),
            not_admitted: admitted.err().map(crate::verdict::Reason::as_str),
            matched: matched.rules.iter().map(matches).collect(),
            matched_omitted: matched.omitted,
            near: near.rules.iter().map(misses).collect(),
            near_omitted: near.omitted,
            revision: Some(*revision).filter(|revision| *revision > 0),
        }
    }
}
