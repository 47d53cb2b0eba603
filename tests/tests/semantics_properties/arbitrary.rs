//! Random policies, clients and requests, small enough that they often meet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt_access_core::client::{Client, Grant, Map, Mode};
use mqtt_access_core::policy::{Action, Effect, Operator, Policy, Qos, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::rules::Withheld;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};
use mqtt_access_tests::models::rabbitmq;
use mqtt_access_tests::reference::World;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Everything one test case is about.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) policies: Vec<Policy>,
    pub(crate) space: Vec<String>,
    pub(crate) client: OwnedClient,
    pub(crate) asked: Vec<Asked>,
}

/// A client that owns what [`Client`] borrows.
#[derive(Debug, Clone)]
pub(crate) struct OwnedClient {
    pub(crate) client_id: String,
    pub(crate) client_id_proven: bool,
    username: Option<String>,
    mode: Mode,
    tenant_attributes: Map,
    own_attributes: Option<Map>,
    labels: Option<Map>,
    access_key: Option<String>,
    superuser: bool,
    grants: Option<Vec<Grant>>,
    /// Filters that belong to another tenant alone.
    pub(crate) withheld: Arc<Withheld>,
}

/// A request that owns its topic, which is valid.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    action: Action,
    topic: String,
    qos: Option<Qos>,
    retain: Option<bool>,
    pub(crate) notation: Notation,
}

impl Scenario {
    pub(crate) fn world(&self) -> World<'_> {
        World { namespace: "acme", policies: &self.policies, space: &self.space }
    }
}

impl OwnedClient {
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            client_id: &self.client_id,
            client_id_proven: self.client_id_proven,
            username: self.username.as_deref(),
            mode: self.mode,
            tenant_id: "acme.t",
            instance_id: "a",
            tenant_attributes: &self.tenant_attributes,
            own_attributes: self.own_attributes.as_ref(),
            labels: self.labels.as_ref(),
            access_key: self.access_key.as_deref(),
            superuser: self.superuser,
            grants: self.grants.as_deref(),
            withheld: Some(&self.withheld),
        }
    }

    /// Someone whom only `everyone` selects.
    pub(crate) fn plain(client_id: String) -> Self {
        Self {
            client_id,
            client_id_proven: true,
            username: None,
            mode: Mode::Signature,
            tenant_attributes: Map::new(),
            own_attributes: None,
            labels: None,
            access_key: None,
            superuser: false,
            grants: None,
            withheld: Arc::default(),
        }
    }
}

impl Asked {
    pub(crate) fn request(&self) -> Request<'_> {
        let target = match self.action {
            Action::Publish => Target::Publish(TopicName::parse(&self.topic).unwrap()),
            Action::Subscribe => Target::Subscribe(Filter::parse(&self.topic).unwrap()),
        };
        Request { target, qos: self.qos, retain: self.retain, notation: self.notation }
    }

    pub(crate) fn publish(topic: &str) -> Self {
        let (qos, retain) = (Qos::try_from(0).ok(), Some(false));
        Self { action: Action::Publish, topic: topic.to_owned(), qos, retain, notation: Notation::Mqtt }
    }

    pub(crate) fn of(action: Action, topic: &str, (qos, retain): (Option<u8>, Option<bool>)) -> Self {
        let qos = qos.and_then(|level| Qos::try_from(level).ok());
        Self { action, topic: topic.to_owned(), qos, retain, notation: Notation::Mqtt }
    }

    pub(crate) fn is(&self, action: Action, notation: Notation) -> bool {
        self.action == action && self.notation == notation
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn to_topic(&self, topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..self.clone() }
    }

    /// With a QoS and a retain flag, as brokers tell them that evaluate rules themselves.
    pub(crate) fn told(&self) -> Self {
        let (qos, retain) = (self.qos.or(Qos::try_from(0).ok()), self.retain.or(Some(false)));
        Self { qos, retain, ..self.clone() }
    }

    /// As RabbitMQ asks: without QoS and retain flag, and with the topic that the routing key reads like.
    pub(crate) fn as_rabbitmq_asks(&self) -> Option<Self> {
        let topic = rabbitmq::asked_about(&self.topic)?;
        let valid = match self.action {
            Action::Publish => TopicName::parse(&topic).is_ok(),
            Action::Subscribe => Filter::parse(&topic).is_ok(),
        };
        valid.then_some(Self { action: self.action, topic, qos: None, retain: None, notation: Notation::Dotted })
    }

    pub(crate) fn in_notation(&self, notation: Notation) -> Self {
        Self { notation, ..self.clone() }
    }
}

/// A policy may be split into parts, as the encoder of bundles does it, and the parts come in any order.
pub(crate) fn split(policies: &[Policy], cuts: &[Index]) -> Vec<Policy> {
    let mut parts = Vec::new();
    for (policy, cut) in policies.iter().zip(cuts) {
        let (first, second) = policy.rules.split_at(cut.index(policy.rules.len() + 1));
        parts.push(Policy { rules: first.to_vec(), ..policy.clone() });
        parts.push(Policy { rules: second.to_vec(), ..policy.clone() });
    }
    parts.reverse();
    parts
}

pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    let names = subsequence(vec!["p", "q", "r"], 1..=3).prop_shuffle();
    let policies = names.prop_flat_map(|names| names.into_iter().map(policy).collect::<Vec<_>>());
    (policies, space(), client(), vec(asked(), 1..8)).prop_map(|(policies, space, client, asked)| Scenario {
        policies,
        space,
        client,
        asked,
    })
}

fn space() -> impl Strategy<Value = Vec<String>> {
    let whole = Just(vec!["#".to_owned(), "$x/#".to_owned(), "a.b/#".to_owned()]);
    prop_oneof![3 => whole, 1 => vec(filter(), 0..3)]
}

fn policy(name: &'static str) -> impl Strategy<Value = Policy> {
    (vec(subject(), 1..3), vec(rule(), 1..6)).prop_map(move |(subjects, mut rules)| {
        for (index, rule) in (0..).zip(&mut rules) {
            rule.index = index;
        }
        Policy { name: name.to_owned(), subjects, rules }
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let qos = weighted(0.15, btree_set(qos(), 0..3));
    (effect, actions(), topics(), qos, weighted(0.15, any::<bool>()))
        .prop_map(|(effect, actions, topics, qos, retain)| Rule { index: 0, effect, actions, topics, qos, retain })
}

fn actions() -> impl Strategy<Value = BTreeSet<Action>> {
    let both = BTreeSet::from([Action::Publish, Action::Subscribe]);
    let one = |action| Just(BTreeSet::from([action]));
    prop_oneof![3 => Just(both), 1 => one(Action::Publish), 1 => one(Action::Subscribe)]
}

fn qos() -> impl Strategy<Value = Qos> {
    (0..3_u8).prop_map(|level| Qos::try_from(level).unwrap())
}

fn topics() -> impl Strategy<Value = Topics> {
    prop_oneof![
        60 => vec(topic(), 1..4).prop_map(Topics::Listed),
        1 => Just(Topics::Everything),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    let invalid = select(vec!["", "a/#/b", "${x}", "a+", "eq a/#/b", "eq ", "${client_attrs.}", "+${clientid}", "${a"]);
    prop_oneof![
        50 => levels(template_level()),
        12 => Just("#".to_owned()),
        15 => filter(),
        12 => filter().prop_map(|filter| format!("eq {filter}")),
        1 => Just("eq a/${clientid}".to_owned()),
        1 => invalid.prop_map(str::to_owned),
    ]
}

/// A valid filter.
pub(crate) fn filter() -> impl Strategy<Value = String> {
    // One that is easily got wrong: no name is empty, so its parent is none.
    prop_oneof![20 => levels(filter_level()), 1 => Just("/#".to_owned())]
}

/// Levels, and sometimes a `#`.
fn levels(level: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
    (vec(level, 0..4), weighted(0.4, Just("#"))).prop_map(|(levels, hash)| {
        let levels: Vec<_> = levels.into_iter().chain(hash).collect();
        // Not a topic at all: the smallest one instead.
        if levels.iter().all(|level| level.is_empty()) && levels.len() < 2 { "a".to_owned() } else { levels.join("/") }
    })
}

fn template_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => filter_level(), 3 => variable_level(), 1 => select(vec!["a.b", "*", "${$}x"])]
}

fn filter_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => name_level(), 1 => Just("+")]
}

fn name_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just("a"), 6 => Just("b"), 3 => Just(""), 3 => Just("$x"), 2 => Just("xa"), 1 => Just("${clientid}")]
}

fn variable_level() -> impl Strategy<Value = &'static str> {
    select(vec![
        "${clientid}",
        "${clientid}",
        "x${clientid}",
        "${username}",
        "${client_attrs.site}",
        "${client_attrs.site}",
        "x${client_attrs.site}",
        "${client_attrs.site}${clientid}",
        "$${client_attrs.site}",
        "${$}${client_attrs.site}b",
        "${client_attrs.client_id}",
        "${client_attrs.group_id}",
        "${client_attrs.device_id}",
        "${client_attrs.instance_id}",
        "${client_attrs.mqa_ticket}",
        "${client_attrs.none}",
    ])
}

/// Mostly values that occur as levels, sometimes one that no template may use.
fn value() -> impl Strategy<Value = String> {
    let unusable =
        select(vec!["", "a/b", "/", "+", "a+", "#", "${", "a${clientid}", "\u{7}", "a\u{85}", "$x", "a.b", "*"]);
    prop_oneof![6 => select(vec!["a", "a", "b", "x"]), 2 => unusable].prop_map(str::to_owned)
}

fn client_id() -> impl Strategy<Value = String> {
    let grouped = select(vec!["b@@@a", "a@@@b@@@a", "@@@a", "a@@@"]).prop_map(str::to_owned);
    prop_oneof![4 => value(), 1 => grouped]
}

pub(crate) fn client() -> impl Strategy<Value = OwnedClient> {
    let attributes = || btree_map(attribute_name(), value(), 0..3);
    let proof = (client_id(), weighted_bool(0.8), proptest::option::of(value()), weighted(0.5, key_name()));
    let rest = (attributes(), proptest::option::of(attributes()), proptest::option::of(labels()));
    let withheld = prop_oneof![4 => Just(Vec::new()), 1 => vec(filter(), 1..3)];
    (proof, rest, weighted_bool(0.1), weighted(0.15, vec(grant(), 0..3)), withheld).prop_map(
        |((client_id, client_id_proven, username, access_key), (tenant, own, labels), superuser, grants, withheld)| {
            OwnedClient {
                client_id,
                client_id_proven,
                username,
                mode: if access_key.is_some() { Mode::Signature } else { Mode::DeviceCredential },
                tenant_attributes: tenant,
                own_attributes: own,
                labels,
                access_key,
                superuser,
                grants,
                withheld: Arc::new(Withheld::new(withheld.iter().map(String::as_str))),
            }
        },
    )
}

fn weighted_bool(probability: f64) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(probability)
}

fn attribute_name() -> impl Strategy<Value = String> {
    select(vec!["site", "site", "device_id", "client_id", "group_id", "tenant_id", "mqa_ticket"])
        .prop_map(str::to_owned)
}

fn key_name() -> impl Strategy<Value = String> {
    select(vec!["backend", "ops"]).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(label_key(), select(vec!["a", "b"]).prop_map(str::to_owned), 0..3)
}

fn label_key() -> impl Strategy<Value = String> {
    select(vec!["kind", "floor"]).prop_map(str::to_owned)
}

fn grant() -> impl Strategy<Value = Grant> {
    let filter = prop_oneof![1 => Just("#".to_owned()), 1 => filter()];
    (filter, any::<bool>(), any::<bool>()).prop_map(|(filter, publish, subscribe)| Grant { filter, publish, subscribe })
}

fn subject() -> impl Strategy<Value = Subject> {
    let everyone = Just(Subject { everyone: true, ..Subject::default() });
    let conditions = (
        weighted(0.4, selector()),
        weighted(0.4, vec(glob(), 0..3)),
        weighted(0.4, wanted_attributes()),
        weighted(0.3, vec(key_name(), 0..2)),
    );
    let one_of_each = (weighted_bool(0.03), conditions).prop_map(|(everyone, conditions)| {
        let (device_selector, client_ids, attributes, access_keys) = conditions;
        Subject { everyone, device_selector, client_ids, attributes, access_keys }
    });
    prop_oneof![2 => everyone, 3 => one_of_each]
}

fn wanted_attributes() -> impl Strategy<Value = Map> {
    let known = prop_oneof![
        3 => (attribute_name(), value()),
        1 => select(vec![("auth_mode", "Signature"), ("tenant_id", "acme.t"), ("instance_id", "a"), ("client_id", "a")])
            .prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
    ];
    vec(known, 0..3).prop_map(|entries| entries.into_iter().collect())
}

fn selector() -> impl Strategy<Value = Selector> {
    (prop_oneof![2 => labels(), 1 => Just(Map::new())], vec(requirement(), 0..2))
        .prop_map(|(match_labels, match_expressions)| Selector { match_labels, match_expressions })
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let operator = select(vec![Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist]);
    let values = btree_set(select(vec!["a", "b"]).prop_map(str::to_owned), 0..2);
    (label_key(), operator, values).prop_map(|(key, operator, values)| Requirement { key, operator, values })
}

pub(crate) fn glob() -> impl Strategy<Value = String> {
    vec(select(vec!["*", "a", "b", "@", "é"]), 0..6).prop_map(|parts| parts.concat())
}

fn asked() -> impl Strategy<Value = Asked> {
    let action = prop_oneof![Just(Action::Publish), Just(Action::Subscribe)];
    let notation = prop_oneof![3 => Just(Notation::Mqtt), 1 => Just(Notation::Dotted)];
    let dot = prop_oneof![8 => name_level(), 1 => select(vec!["a.b", "*"])];
    let topic = prop_oneof![3 => filter(), 2 => levels(dot)];
    (action, topic, weighted(0.8, qos()), weighted(0.8, any::<bool>()), notation).prop_map(
        |(action, topic, qos, retain, notation)| {
            // RabbitMQ cannot ask about a `.` or `*`: the routing key has them for `/` and `+`.
            let topic = if notation == Notation::Dotted { topic.replace('.', "/").replace('*', "a") } else { topic };
            let topic = if action == Action::Publish { topic.replace(['+', '#'], "a") } else { topic };
            Asked { action, topic, qos, retain, notation }
        },
    )
}
