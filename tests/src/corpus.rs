//! Decisions as data: the files of `tests/data/semantics`; their README says what stands in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mqtt_access_core::client::{Client, Grant, Mode};
use mqtt_access_core::policy::{Action, Effect, Policy, Qos, Rule, Subject, Topics};
use mqtt_access_core::rules::Withheld;
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};
use serde::Deserialize;

use crate::reference;

/// All cases of all files.
#[must_use]
pub fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/semantics");
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file of the corpus").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file| fs::read(file).expect("a file of the corpus is read");
    let parse = |file| serde_json::from_slice::<Vec<Case>>(&read(file)).expect("a file of the corpus holds cases");
    files.iter().flat_map(parse).collect()
}

/// A sentence of docs/semantics.md with what follows from it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// The sentence.
    pub sentence: String,
    /// Rules of a policy `p` for everyone.
    #[serde(default)]
    pub rules: Vec<RuleCase>,
    /// More policies.
    #[serde(default)]
    pub policies: Vec<PolicyCase>,
    /// Filters of the topic space.
    #[serde(default = "everything")]
    pub space: Vec<String>,
    /// Filters that belong to another tenant alone.
    #[serde(default)]
    pub withheld: Vec<String>,
    /// Who asks.
    #[serde(default)]
    pub client: ClientCase,
    /// Requests.
    #[serde(default)]
    pub ask: Vec<Ask>,
    /// Resources of tokens.
    #[serde(default)]
    pub could_use: Vec<CouldUse>,
}

/// A policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyCase {
    /// Its name.
    pub name: String,
    /// Whom it selects.
    pub subjects: Vec<Subject>,
    /// Its rules.
    pub rules: Vec<RuleCase>,
}

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleCase {
    /// What it allows.
    pub allow: Option<Vec<String>>,
    /// What it denies.
    pub deny: Option<Vec<String>>,
    /// The actions that it is about.
    #[serde(default = "both")]
    pub actions: BTreeSet<Action>,
    /// The QoS levels that it is about.
    pub qos: Option<BTreeSet<Qos>>,
    /// The retain flag that it is about.
    pub retain: Option<bool>,
}

/// A client.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientCase {
    /// Its client ID; `c1` when absent.
    pub client_id: Option<String>,
    /// Whether its proof leaves the client ID open.
    pub unproven: bool,
    /// The username that its proof verified.
    pub username: Option<String>,
    /// The access key that it proved; otherwise it is a device.
    pub signature: Option<String>,
    /// Attributes of the tenant.
    pub tenant_attributes: BTreeMap<String, String>,
    /// Attributes of its credential.
    pub attributes: BTreeMap<String, String>,
    /// Labels of its credential.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Its tokens.
    pub tokens: Option<Vec<Token>>,
}

/// A token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// `R`, `W` or `RW`.
    pub act: String,
    /// Its resource.
    pub filter: String,
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// The name that it publishes to.
    pub publish: Option<String>,
    /// The filter that it subscribes to.
    pub subscribe: Option<String>,
    /// Its QoS.
    #[serde(default)]
    pub qos: u8,
    /// Its retain flag.
    #[serde(default)]
    pub retain: bool,
    /// What the broker does not tell.
    #[serde(default)]
    pub untold: Vec<Untold>,
    /// How the broker tells topics.
    #[serde(default)]
    pub broker: Broker,
    /// The verdict and its cause.
    pub expect: String,
}

/// Whether a resource of a token could be used for anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CouldUse {
    /// A filter to publish within.
    pub publish: Option<String>,
    /// The filter that it subscribes to.
    pub subscribe: Option<String>,
    /// Whether it could.
    pub expect: bool,
}

/// What a broker may not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Untold {
    /// The QoS.
    Qos,
    /// The retain flag.
    Retain,
}

/// How a broker tells topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Broker {
    /// As MQTT writes them, without reserved prefixes.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// With reserved prefixes.
    #[serde(rename = "prefixed")]
    Prefixed,
    /// As routing keys, translated back.
    #[serde(rename = "RabbitMQ")]
    RabbitMq,
}

fn everything() -> Vec<String> {
    vec!["#".to_owned()]
}

fn both() -> BTreeSet<Action> {
    [Action::Publish, Action::Subscribe].into()
}

impl Case {
    /// All its policies.
    #[must_use]
    pub fn policies(&self) -> Vec<Policy> {
        let everyone = Subject { everyone: true, ..Subject::default() };
        let shorthand = (!self.rules.is_empty()).then(|| policy("p", &[everyone], &self.rules));
        let others = self.policies.iter().map(|case| policy(&case.name, &case.subjects, &case.rules));
        others.chain(shorthand).collect()
    }

    /// What is withheld from its tenant.
    #[must_use]
    pub fn withheld(&self) -> Withheld {
        Withheld::new(self.withheld.iter().map(String::as_str))
    }
}

fn policy(name: &str, subjects: &[Subject], rules: &[RuleCase]) -> Policy {
    let rules = (0..).zip(rules).map(|(index, rule)| rule.rule(index)).collect();
    Policy { name: name.to_owned(), subjects: subjects.to_vec(), rules }
}

impl RuleCase {
    /// The rule at a place.
    #[must_use]
    pub fn rule(&self, index: u32) -> Rule {
        let (effect, topics) = match (&self.allow, &self.deny) {
            (Some(topics), None) => (Effect::Allow, topics),
            (None, Some(topics)) => (Effect::Deny, topics),
            _ => panic!("a rule either allows or denies"),
        };
        let topics = Topics::Listed(topics.clone());
        Rule { index, effect, actions: self.actions.clone(), topics, qos: self.qos.clone(), retain: self.retain }
    }
}

impl ClientCase {
    /// What its tokens grant.
    #[must_use]
    pub fn grants(&self) -> Option<Vec<Grant>> {
        let grant = |Token { act, filter }: &Token| Grant {
            filter: filter.clone(),
            publish: act.contains('W'),
            subscribe: act.contains('R'),
        };
        self.tokens.as_ref().map(|tokens| tokens.iter().map(grant).collect())
    }

    /// The client itself.
    #[must_use]
    pub fn client<'a>(&'a self, grants: Option<&'a [Grant]>) -> Client<'a> {
        let is_device = self.signature.is_none();
        Client {
            client_id: self.client_id.as_deref().unwrap_or("c1"),
            client_id_proven: !self.unproven,
            username: self.username.as_deref(),
            mode: if is_device { Mode::DeviceCredential } else { Mode::Signature },
            tenant_id: "acme.shop",
            instance_id: "mqtt-acme",
            tenant_attributes: &self.tenant_attributes,
            own_attributes: is_device.then_some(&self.attributes),
            labels: is_device.then_some(&self.labels),
            access_key: self.signature.as_deref(),
            superuser: self.superuser,
            grants,
            withheld: None,
        }
    }
}

impl Ask {
    /// The request for a topic.
    #[must_use]
    pub fn request<'a>(&self, target: Target<'a>) -> Request<'a> {
        let told = |what| !self.untold.contains(&what);
        Request {
            target,
            qos: told(Untold::Qos).then(|| Qos::try_from(self.qos).expect("a QoS")),
            retain: told(Untold::Retain).then_some(self.retain),
            notation: if self.broker == Broker::RabbitMq { Notation::Dotted } else { Notation::Mqtt },
        }
    }

    /// What the fast engine is asked; `None` where the topic is refused before any rule is.
    #[must_use]
    pub fn fast(&self) -> Option<Target<'_>> {
        let prefixes = if self.broker == Broker::Prefixed { Prefixes::Strip } else { Prefixes::Stripped };
        match (&self.publish, &self.subscribe) {
            (Some(name), None) => publish_name(name, prefixes).ok().map(Target::Publish),
            (None, Some(filter)) => subscribe_filter(filter, prefixes).ok().map(Target::Subscribe),
            _ => panic!("a request either publishes or subscribes"),
        }
    }

    /// What the reference makes of the topic.
    #[must_use]
    pub fn slow(&self) -> Option<String> {
        let stripped = self.broker != Broker::Prefixed;
        let name = self.publish.iter().find_map(|name| reference::publish_name(name, stripped));
        name.or_else(|| self.subscribe.iter().find_map(|filter| reference::subscribe_filter(filter, stripped)))
    }

    /// The topic as it is asked for.
    #[must_use]
    pub fn slow_target<'a>(&self, topic: &'a str) -> Target<'a> {
        match self.publish {
            Some(_) => Target::Publish(TopicName::parse(topic).expect("a name")),
            None => Target::Subscribe(Filter::parse(topic).expect("a filter")),
        }
    }
}
