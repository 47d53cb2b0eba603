//! An explanation as JSON: flat, and bounded, whatever was asked.

use serde::Serialize;

use super::{Explanation, Matched, NearMiss};
use crate::policy::Effect;
use crate::verdict::{Cause, RuleRef};

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
    /// The revision of the bundle.
    pub revision: u64,
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
            revision: *revision,
        }
    }
}
