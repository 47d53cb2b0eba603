//! The corpus of docs/semantics.md, put to a real Mosquitto: what it lets through is allowed, what it does not let through although
//! it is allowed is told, and the model of it says the same.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::acl_file::{Section, mosquitto};
use mqtt_access_core::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, LoginName, Revocations, SessionRules, Space, Spares, Tenant,
};
use mqtt_access_core::client::{Client as Known, Mode};
use mqtt_access_core::credential::{self, MacAlgorithm, is_login_name};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Effect, Policy, Qos};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};
use mqtt_access_tests::Mosquitto;
use mqtt_access_tests::corpus::{Ask, Broker, Case, cases};
use mqtt_access_tests::models::mosquitto::{Access, AclFile};
use mqtt_access_tests::mqtt::Client;
use mqtt_access_tests::mqtt::rumqttc::QoS;
use mqtt_access_tests::reference::{Names, World};

use crate::watcher;

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "the secret of the client under test";

/// A case that can be put to Mosquitto: its client is a device that can log in.
struct Put {
    case: Case,
    policies: Vec<Policy>,
    username: String,
    mode: Mode,
    index: TenantIndex,
    section: Section,
}

#[derive(Debug, Default)]
struct Counts {
    clients: usize,
    put: usize,
    let_through: usize,
    refused: usize,
    narrower: BTreeMap<String, usize>,
}

impl Put {
    /// `None` where no such client can log in to Mosquitto.
    fn of(case: Case, number: usize) -> Option<Self> {
        let client = &case.client;
        let (of_device, id) = (client.signature.is_none() && client.tokens.is_none(), client_id(&case));
        if !of_device || !credential::is_client_id(id) {
            return None;
        }
        // A case that names a username, or leaves the client ID open, is about a login name.
        let chosen = client.username.clone().or_else(|| client.unproven.then(|| format!("user{number}")));
        let policies = case.policies();
        let compiled = World { namespace: "acme", policies: &policies, space: &case.space }.compiled();
        let key_id = format!("DC.{number}");
        let index = TenantIndex::new(bundle(&case, chosen.as_deref(), &key_id, compiled), 1).unwrap();
        let index = index.withholding(case.withheld.iter().map(String::as_str));
        let section = mosquitto::section(&index, NOW);
        let (username, mode) = match chosen {
            Some(name) => (name, Mode::Password),
            None => (format!("DeviceCredential|{key_id}|mqtt-acme"), Mode::DeviceCredential),
        };
        let is_written = section.text.lines().any(|line| line.strip_prefix("user ") == Some(username.as_str()));
        assert!(is_written || !is_login_name(&username), "{username}");
        is_written.then_some(Self { case, policies, username, mode, index, section })
    }

    fn password(&self) -> String {
        match self.mode {
            Mode::Password => SECRET.to_owned(),
            _ => credential::password(MacAlgorithm::HmacSha1, &Secret::from(SECRET), client_id(&self.case)),
        }
    }

    /// The rule by which docs/semantics.md allows a request, to the client as it is here.
    fn allowed_by(&self, target: Target<'_>, ask: &Ask) -> Option<String> {
        let withheld = Some(self.index.withheld());
        let client =
            Known { username: Some(&self.username), mode: self.mode, withheld, ..self.case.client.client(None) };
        let (qos, retain) = (Qos::try_from(ask.qos).ok(), Some(ask.retain));
        let world = World { namespace: "acme", policies: &self.policies, space: &self.case.space };
        let answer = world.decide(&client, &Request { target, qos, retain, notation: Notation::Mqtt });
        answer.allow.then(|| answer.cause.to_string())
    }

    /// What is told of the rule that allows, or of one that denies.
    fn told(&self, allowed_by: &str) -> Option<String> {
        let denies = |name: &str| {
            self.policies.iter().any(|policy| {
                let mut denies = policy.rules.iter().filter(|rule| rule.effect == Effect::Deny);
                denies.any(|rule| name == format!("acme/{} rules[{}]", policy.name, rule.index))
            })
        };
        let named =
            self.section.narrowed.iter().map(|it| (format!("acme/{} rules[{}]", it.policy, it.rule), &it.message));
        named.into_iter().find(|(name, _)| name == allowed_by || denies(name)).map(|(_, message)| message.clone())
    }
}

fn client_id(case: &Case) -> &str {
    case.client.client_id.as_deref().unwrap_or("c1")
}

fn bundle(case: &Case, login_name: Option<&str>, key_id: &str, policies: Vec<Policy>) -> Bundle {
    let ticket_key = Secret::from("ticket key");
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let secret = Secret::from(SECRET);
    let login = login_name.map(|name| LoginName {
        name: name.to_owned(),
        scram: None,
        password: Some(Verifier::filed(&ticket_key, name, &secret)),
        spares: Spares::default(),
    });
    let prefix = || ClientIds::Prefix { prefix: String::new() };
    let device = Device {
        name: "device".to_owned(),
        uid: None,
        client_id: if case.client.unproven { prefix() } else { ClientIds::from(client_id(case)) },
        key_id: if login.is_none() { key_id.to_owned() } else { String::new() },
        secret: login.is_none().then_some(secret),
        login,
        labels: case.client.labels.clone(),
        client_attributes: case.client.attributes.clone(),
        disabled: false,
        superuser: case.client.superuser,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    };
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
        access_keys: Vec::new(),
        modes: vec![Mode::DeviceCredential, Mode::Password],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: true,
        ticket_key,
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    Bundle { tenant, policies, devices: vec![device] }
}

/// A request as it can be put: a publish, or a message on each of some names while the client is subscribed.
fn requests(ask: &Ask) -> Vec<(Access, String)> {
    if ask.broker != Broker::Plain {
        return Vec::new();
    }
    let publish = ask.publish.iter().map(|name| (Access::Write, name.clone()));
    let read = ask.subscribe.iter().flat_map(|filter| names_in(filter)).map(|name| (Access::Read, name));
    publish.chain(read).filter(|(_, name)| TopicName::parse(name).is_ok() && name.len() < 10_000).collect()
}

/// Some names that a filter matches.
fn names_in(filter: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    for (place, level) in filter.split('/').enumerate() {
        let choices: &[&str] = match level {
            "+" => &["a", "b", "c1", "secret"],
            "#" => &["", "a", "c1", "secret", "a/b"],
            literal => &[literal],
        };
        let slash = if place == 0 { "" } else { "/" };
        names = names.iter().flat_map(|name| choices.iter().map(move |it| format!("{name}{slash}{it}"))).collect();
        // A subscription is refused by nobody; a few names of it tell what it delivers.
        names.truncate(40);
    }
    let parents = filter.strip_suffix("/#").filter(|parent| !parent.contains('+')).map(str::to_owned);
    let received = |name: &String| Filter::parse(filter).is_ok() && Names::of(filter).contains(name);
    names.into_iter().chain(parents).filter(received).collect()
}

/// Groups in which every username is there once: Mosquitto knows one name space of them.
fn groups(puts: Vec<Put>) -> Vec<Vec<Put>> {
    let mut groups: Vec<Vec<Put>> = Vec::new();
    for put in puts {
        match groups.iter_mut().find(|group| group.iter().all(|other| other.username != put.username)) {
            Some(group) => group.push(put),
            None => groups.push(vec![put]),
        }
    }
    groups
}

/// Whether a message gets through, from the client or to it.
async fn gets_through(client: &mut Client, watcher: &mut Client, ask: &Ask, of: (Access, &str), payload: &str) -> bool {
    let (access, name) = of;
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(ask.qos)];
    let messages = match access {
        Access::Write => {
            client.publish_with(name, payload, qos, ask.retain).await.unwrap();
            watcher::received(client).await;
            watcher::received(watcher).await
        }
        Access::Read => {
            let filter = ask.subscribe.as_deref().unwrap();
            client.subscribe(filter, qos).await.unwrap();
            watcher.publish(name, payload).await.unwrap();
            let messages = watcher::received(client).await;
            client.unsubscribe(filter).await.unwrap();
            messages
        }
    };
    messages.iter().any(|message| message.payload == payload && message.topic == name)
}

impl Counts {
    async fn put(&mut self, put: &Put, broker: &Mosquitto, watcher: &mut Client, file: &AclFile) {
        let connected = Client::connect(broker.mqtt(), client_id(&put.case), &put.username, &put.password()).await;
        let mut client = connected.unwrap_or_else(|error| panic!("{}: {error}", put.username));
        self.clients += 1;
        for ask in &put.case.ask {
            for (access, name) in requests(ask) {
                let payload = format!("{} {:?} {name}", self.put, put.case.sentence);
                let through = gets_through(&mut client, watcher, ask, (access, &name), &payload).await;
                let told = format!("{} {access:?} `{name}` {ask:?}", put.case.sentence);
                assert_eq!(through, file.allows(&put.username, access, &name), "the model is wrong: {told}");
                let target = match access {
                    Access::Write => Target::Publish(TopicName::parse(&name).unwrap()),
                    Access::Read => Target::Subscribe(Filter::parse(&name).unwrap()),
                };
                self.judge(put, through, put.allowed_by(target, ask), &told);
            }
        }
    }

    fn judge(&mut self, put: &Put, through: bool, allowed_by: Option<String>, told: &str) {
        self.put += 1;
        assert!(!through || allowed_by.is_some(), "wider than docs/semantics.md: {told}");
        if through {
            self.let_through += 1;
            return;
        }
        self.refused += 1;
        if let Some(rule) = allowed_by {
            let why = put.told(&rule).unwrap_or_else(|| panic!("nobody told that {rule} is narrower: {told}"));
            *self.narrower.entry(why).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_lets_through_only_what_the_corpus_allows() {
    let all = cases();
    let (written, asked) = (all.len(), all.iter().map(|case| case.ask.len()).sum::<usize>());
    let puts: Vec<Put> = all.into_iter().enumerate().filter_map(|(number, case)| Put::of(case, number)).collect();
    let root = |(_, name): (Access, String)| name.split('/').next().filter(|it| it.starts_with('$')).map(str::to_owned);
    let dollars: BTreeSet<String> =
        puts.iter().flat_map(|put| &put.case.ask).flat_map(requests).filter_map(root).collect();
    let mut counts = Counts::default();
    let mut brokers = 0;
    for group in groups(puts) {
        let text = mosquitto::file(group.iter().map(|put| &put.section));
        let passwords: Vec<u8> =
            group.iter().flat_map(|put| mosquitto::passwords(&put.index, NOW).expose().to_vec()).collect();
        let broker = watcher::start(&text, &passwords, &dollars).await;
        let mut watcher = watcher::connect(&broker, &dollars).await;
        let file = AclFile::parse(&text).unwrap();
        for put in &group {
            counts.put(put, &broker, &mut watcher, &file).await;
        }
        brokers += 1;
    }
    let Counts { clients, put, let_through, refused, narrower } = &counts;
    println!("{written} cases with {asked} requests: {clients} clients on {brokers} brokers, {put} requests put");
    println!(
        "{let_through} let through, {refused} refused, {} of these although allowed:",
        narrower.values().sum::<usize>()
    );
    narrower.iter().for_each(|(why, count)| println!("{count:5} {why}"));
    assert!(*clients > 40 && *let_through > 50 && *refused > 50, "{counts:?}");
}

/// Filters with what is easily got wrong: empty levels, parents, names with dollars.
const FILTERS: [&str; 24] = [
    "#", "+", "+/+", "+/#", "/#", "/+", "/", "//", "a", "a/", "a/#", "a/+", "a/+/#", "a//#", "+//#", "+/b/#", "a/+/b",
    "+/+/+", "$x/#", "$x/+", "$x", "$y/#", "a b/ c", "é/+",
];
const NAMES: [&str; 24] = [
    "a", "/", "//", "///", "a/", "a//", "/a", "a/b", "a/b/", "a/b/c", "a//b", "ab", "b", "a/a/b", "$x", "$x/", "$x/y",
    "$x/y/z", "x/y", "$y", "a b/ c", "é/b", "é", "c/c/c",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_model_matches_topics_as_mosquitto_does() {
    let users = || FILTERS.iter().enumerate().map(|(number, filter)| (format!("user{number}"), *filter));
    let blocks: Vec<String> =
        users().map(|(user, filter)| format!("user {user}\ntopic readwrite {filter}\n")).collect();
    let text = blocks.concat();
    let passwords: Vec<u8> = users().flat_map(|(user, _)| watcher::line(&user, SECRET).into_bytes()).collect();
    let dollars: BTreeSet<String> = ["$x", "$y"].map(str::to_owned).into();
    let broker = watcher::start(&text, &passwords, &dollars).await;
    let (mut watcher, file) = (watcher::connect(&broker, &dollars).await, AclFile::parse(&text).unwrap());
    for (user, filter) in users() {
        let mut client = Client::connect(broker.mqtt(), &user, &user, SECRET).await.unwrap();
        for name in NAMES {
            client.publish(name, &user).await.unwrap();
        }
        let written: Vec<String> = watcher::received(&mut watcher).await.into_iter().map(|it| it.topic).collect();
        let matching = |access| NAMES.into_iter().filter(|name| file.allows(&user, access, name)).collect::<Vec<_>>();
        assert_eq!(written, matching(Access::Write), "{filter}");
        for everything in ["#", "$x/#", "$y/#"] {
            client.subscribe(everything, QoS::AtMostOnce).await.unwrap();
        }
        for name in NAMES {
            watcher.publish(name, "").await.unwrap();
        }
        let read: Vec<String> = watcher::received(&mut client).await.into_iter().map(|it| it.topic).collect();
        assert_eq!(read, matching(Access::Read), "{filter}");
        watcher::received(&mut watcher).await;
    }
}
