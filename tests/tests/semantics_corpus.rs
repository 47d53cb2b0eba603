//! Every sentence of SEMANTICS.md as data, against both engines; see tests/data/semantics/README.md.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{AccessKey, AclDelivery, Bundle, Claims, Revocations, Space, Tenant};
use mqtt_access_core::client::{Client, Grant, Mode};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Qos, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Notation, Request, Target, Verdict};
use mqtt_access_tests::reference::{self, World};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    sentence: String,
    #[serde(default)]
    rules: Vec<RuleCase>,
    #[serde(default)]
    policies: Vec<PolicyCase>,
    #[serde(default = "everything")]
    space: Vec<String>,
    #[serde(default)]
    client: ClientCase,
    #[serde(default)]
    ask: Vec<Ask>,
    #[serde(default)]
    could_use: Vec<CouldUse>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyCase {
    name: String,
    subjects: Vec<Subject>,
    rules: Vec<RuleCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleCase {
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    #[serde(default = "both")]
    actions: BTreeSet<Action>,
    qos: Option<BTreeSet<Qos>>,
    retain: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClientCase {
    client_id: Option<String>,
    unproven: bool,
    username: Option<String>,
    signature: Option<String>,
    tenant_attributes: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    superuser: bool,
    tokens: Option<Vec<Token>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    act: String,
    filter: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ask {
    publish: Option<String>,
    subscribe: Option<String>,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    untold: Vec<Untold>,
    #[serde(default)]
    broker: Broker,
    expect: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CouldUse {
    publish: Option<String>,
    subscribe: Option<String>,
    expect: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Untold {
    Qos,
    Retain,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Broker {
    #[default]
    #[serde(rename = "plain")]
    Plain,
    #[serde(rename = "prefixed")]
    Prefixed,
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
    fn policies(&self) -> Vec<Policy> {
        let everyone = Subject { everyone: true, ..Subject::default() };
        let shorthand = (!self.rules.is_empty()).then(|| policy("p", &[everyone], &self.rules));
        let others = self.policies.iter().map(|case| policy(&case.name, &case.subjects, &case.rules));
        others.chain(shorthand).collect()
    }
}

fn policy(name: &str, subjects: &[Subject], rules: &[RuleCase]) -> Policy {
    let rules = (0..).zip(rules).map(|(index, rule)| rule.rule(index)).collect();
    Policy { name: name.to_owned(), subjects: subjects.to_vec(), rules }
}

impl RuleCase {
    fn rule(&self, index: u32) -> Rule {
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
    fn grants(&self) -> Option<Vec<Grant>> {
        let grant = |Token { act, filter }: &Token| Grant {
            filter: filter.clone(),
            publish: act.contains('W'),
            subscribe: act.contains('R'),
        };
        self.tokens.as_ref().map(|tokens| tokens.iter().map(grant).collect())
    }

    fn client<'a>(&'a self, grants: Option<&'a [Grant]>) -> Client<'a> {
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
        }
    }
}

impl Ask {
    fn request<'a>(&self, target: Target<'a>) -> Request<'a> {
        let told = |what| !self.untold.contains(&what);
        Request {
            target,
            qos: told(Untold::Qos).then(|| Qos::try_from(self.qos).unwrap()),
            retain: told(Untold::Retain).then_some(self.retain),
            notation: if self.broker == Broker::RabbitMq { Notation::Dotted } else { Notation::Mqtt },
        }
    }

    /// What the fast engine is asked; `None` where the topic is refused before any rule is.
    fn fast(&self) -> Option<Target<'_>> {
        let prefixes = if self.broker == Broker::Prefixed { Prefixes::Strip } else { Prefixes::Stripped };
        match (&self.publish, &self.subscribe) {
            (Some(name), None) => publish_name(name, prefixes).ok().map(Target::Publish),
            (None, Some(filter)) => subscribe_filter(filter, prefixes).ok().map(Target::Subscribe),
            _ => panic!("a request either publishes or subscribes"),
        }
    }

    /// What the reference makes of the topic.
    fn slow(&self) -> Option<String> {
        let stripped = self.broker != Broker::Prefixed;
        let name = self.publish.iter().find_map(|name| reference::publish_name(name, stripped));
        name.or_else(|| self.subscribe.iter().find_map(|filter| reference::subscribe_filter(filter, stripped)))
    }

    fn slow_target<'a>(&self, topic: &'a str) -> Target<'a> {
        match self.publish {
            Some(_) => Target::Publish(TopicName::parse(topic).unwrap()),
            None => Target::Subscribe(Filter::parse(topic).unwrap()),
        }
    }
}

fn answer(allow: bool, cause: Cause<'_>) -> String {
    format!("{} {cause}", if allow { "Allow" } else { "Deny" })
}

/// Runs a case; the answers that are not as expected.
fn failures(case: &Case) -> Vec<String> {
    let policies = case.policies();
    let world = World { namespace: "acme", policies: &policies, space: &case.space };
    let rules = Rules::compile("acme", &world.compiled(), case.space.iter().map(String::as_str)).unwrap();
    let grants = case.client.grants();
    let client = case.client.client(grants.as_deref());
    let refused = || "Deny Malformed".to_owned();
    let mut failures = Vec::new();
    for ask in &case.ask {
        let fast = ask.fast().map(|target| rules.decide(&rules.principal(client), &ask.request(target)));
        let fast = fast.map_or_else(refused, |verdict: Verdict<'_>| answer(verdict.is_allow(), verdict.cause()));
        let slow = ask.slow().map(|topic| {
            let slow = world.decide(&client, &ask.request(ask.slow_target(&topic)));
            answer(slow.allow, slow.cause)
        });
        for (engine, found) in [("core", fast), ("reference", slow.unwrap_or_else(refused))] {
            if found != ask.expect {
                let asked = ask.publish.as_ref().or(ask.subscribe.as_ref());
                failures.push(format!("{}\n  {asked:?}: {engine} says {found}, not {}", case.sentence, ask.expect));
            }
        }
    }
    failures
}

/// What a token of the client's access key could be used for. The bound is the fast engine's alone; the reference has to allow
/// nothing where it says no.
fn wrong_bounds(case: &Case) -> Vec<String> {
    let policies = case.policies();
    let world = World { namespace: "acme", policies: &policies, space: &case.space };
    let key = access_key(case.client.signature.as_deref().unwrap_or("backend"));
    let tenant = TenantIndex::new(bundle(case, &key, world.compiled()), 1).unwrap();
    let client_id = (!case.client.unproven).then(|| case.client.client_id.as_deref().unwrap_or("c1"));
    let mut failures = Vec::new();
    for ask in &case.could_use {
        let (action, text) = match (&ask.publish, &ask.subscribe) {
            (Some(filter), None) => (Action::Publish, filter),
            (None, Some(filter)) => (Action::Subscribe, filter),
            _ => panic!("a resource is for publishing or for subscribing"),
        };
        let could = tenant.could_use(&key, client_id, action, Filter::parse(text).unwrap());
        if could != ask.expect {
            failures.push(format!("{}\n  core says {could} of {action:?} {text}", case.sentence));
        }
        if let Some(topic) = allowed_within(&world, case, action, text).filter(|_| !ask.expect) {
            failures.push(format!("{}\n  the reference allows {action:?} {topic} within {text}", case.sentence));
        }
    }
    failures
}

/// A topic within a filter that the reference allows: of those that can be made of what the case writes.
fn allowed_within(world: &World<'_>, case: &Case, action: Action, filter: &str) -> Option<String> {
    let grants = [Grant { filter: filter.to_owned(), publish: true, subscribe: true }];
    let client =
        Client { mode: Mode::Token, username: Some("Token|AK|mqtt-acme"), ..case.client.client(Some(&grants)) };
    let choices: Vec<Vec<&str>> = filter
        .split('/')
        .map(|level| match level {
            "+" | "#" => vec!["a", "b", "c1", "x", "secret", "+", "#", "Token|AK|mqtt-acme"],
            literal => vec![literal],
        })
        .collect();
    let mut topics = vec![String::new()];
    for (place, levels) in choices.iter().enumerate() {
        let slash = if place == 0 { "" } else { "/" };
        topics =
            topics.iter().flat_map(|topic| levels.iter().map(move |level| format!("{topic}{slash}{level}"))).collect();
    }
    topics.into_iter().find(|topic| {
        let target = match action {
            Action::Publish => TopicName::parse(topic).ok().map(Target::Publish),
            Action::Subscribe => Filter::parse(topic).ok().map(Target::Subscribe),
        };
        let flags = (0..=2).flat_map(|qos| [false, true].map(|retain| (Qos::try_from(qos).ok(), Some(retain))));
        target.is_some_and(|target| {
            flags.into_iter().any(|(qos, retain)| {
                world.decide(&client, &Request { target, qos, retain, notation: Notation::Mqtt }).allow
            })
        })
    })
}

fn access_key(name: &str) -> AccessKey {
    AccessKey {
        name: name.to_owned(),
        id: "AK".to_owned(),
        secret: None,
        disabled: false,
        generated: false,
        uses: BTreeSet::new(),
    }
}

fn bundle(case: &Case, key: &AccessKey, policies: Vec<Policy>) -> Bundle {
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let tenant = Tenant {
        namespace: "acme".to_owned(),
        name: "shop".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: "mqtt-acme".to_owned(),
            client_id_prefixes: Vec::new(),
            topic_space: case.space.iter().map(space).collect(),
        },
        suspended: false,
        client_attributes: case.client.tenant_attributes.clone(),
        access_keys: vec![key.clone()],
        modes: vec![Mode::Token],
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: Secret::from("key"),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        acl_delivery: AclDelivery::default(),
    };
    Bundle { tenant, policies, devices: Vec::new() }
}

#[test]
fn both_engines_answer_every_sentence_as_it_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/semantics");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (mut asked, mut wrong) = (0, Vec::new());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        asked += cases.iter().map(|case| case.ask.len()).sum::<usize>();
        wrong.extend(cases.iter().flat_map(failures));
        asked += cases.iter().map(|case| case.could_use.len()).sum::<usize>();
        wrong.extend(cases.iter().flat_map(wrong_bounds));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 200, "only {asked} requests were asked");
}
