//! Policies as they stand in a bundle: who is meant, and what is allowed or denied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One `AclPolicy`, or a part of its rules, after the compiler has taken out what is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Name of the `AclPolicy`; its namespace is the tenant's.
    pub name: String,
    /// It applies to a client when any of these selects it.
    pub subjects: Vec<Subject>,
    /// Allow and Deny rules; their order never matters.
    pub rules: Vec<Rule>,
}

/// Selects clients: `everyone` alone, or all of the other conditions that are present.
///
/// A subject without any condition selects nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subject {
    /// Every client of the tenant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everyone: bool,
    /// Clients whose `DeviceCredential` has matching labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_selector: Option<Selector>,
    /// Clients whose client ID matches one of these globs; `*` is any run of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ids: Option<Vec<String>>,
    /// Clients that have all these client attributes with exactly these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Clients that proved one of the tenant's access keys, by the key's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_keys: Option<Vec<String>>,
}

/// A Kubernetes label selector; all requirements must hold. An empty one selects nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
}

/// The operators of Kubernetes label selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its place in the resource's `rules`, from 0: what a verdict names.
    pub index: u32,
    /// Allow or Deny.
    pub effect: Effect,
    /// The actions it is about.
    pub actions: BTreeSet<Action>,
    /// What it is about.
    pub topics: Topics,
    /// QoS levels it is about; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<BTreeSet<Qos>>,
    /// Retain flag of a publish that it is about; both when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
}

/// The topics of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topics {
    /// Entries as the resource has them: templates, or `eq ` and a filter.
    Listed(Vec<String>),
    /// Every topic there is. The compiler writes it for a Deny it cannot read, never for an Allow.
    Everything,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Grants, unless a Deny stands against it.
    Allow,
    /// Refuses, whatever else allows.
    Deny,
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// PUBLISH to a topic name.
    Publish,
    /// SUBSCRIBE to a topic filter.
    Subscribe,
}

impl Action {
    /// For metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

/// A quality of service: 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Qos(u8);

impl Qos {
    pub(crate) fn bit(self) -> u8 {
        1 << self.0
    }
}

impl TryFrom<u8> for Qos {
    type Error = &'static str;

    fn try_from(level: u8) -> Result<Self, Self::Error> {
        if level <= 2 { Ok(Self(level)) } else { Err("a QoS is not 0, 1 or 2") }
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        qos.0
    }
}

impl Subject {
    /// Whether a client must have one of a few exact values to be selected: a client ID, a label, an attribute, an access key.
    /// Others are compared with every client.
    #[must_use]
    pub fn has_equality_gate(&self) -> bool {
        crate::audience::gates(self).is_some()
    }
}

impl Selector {
    /// Whether there is no requirement at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether a set of labels fulfils every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.is_empty()
            && self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
