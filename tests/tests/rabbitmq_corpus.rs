//! The corpus of docs/semantics.md, put to a real RabbitMQ that asks the sidecar, with real clients: what it lets through is what is
//! allowed to them, and the questions that it asks are those of the model.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Device, KeyUse, LoginName, Revocations, SessionRules, Space,
    Spares, Tenant, encode,
};
use mqtt_access_core::client::{Client as Known, Mode};
use mqtt_access_core::credential::{self, MacAlgorithm};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Policy};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};
use mqtt_access_tests::corpus::{Case, cases};
use mqtt_access_tests::models::rabbitmq::asked_about;
use mqtt_access_tests::mqtt::Client;
use mqtt_access_tests::mqtt::rumqttc::QoS;
use mqtt_access_tests::reference::{self, World};
use mqtt_access_tests::{Program, RabbitMq, ports};
use serde_json::json;

const SECRET: &str = "the secret of the client under test";
const LIMIT: Duration = Duration::from_secs(20);
/// AMQP writes a routing key's length in one byte.
const LONGEST_KEY: usize = 255;

/// A case whose client can log in by a way that has one key: `tests/data/semantics` has tokens too, whose grants do not depend
/// on the broker.
struct Put {
    case: Case,
    policies: Vec<Policy>,
    mode: Mode,
}

#[derive(Debug, Default)]
struct Counts {
    clients: usize,
    kept_out: usize,
    tokens: usize,
    let_through: usize,
    refused: usize,
    unsayable: usize,
}

impl Put {
    fn of(case: Case) -> Self {
        let mode = match (&case.client.signature, case.client.unproven) {
            (Some(_), _) => Mode::Signature,
            (None, true) => Mode::Password,
            (None, false) => Mode::DeviceCredential,
        };
        Self { policies: case.policies(), mode, case }
    }

    fn client_id(&self) -> &str {
        self.case.client.client_id.as_deref().unwrap_or("c1")
    }

    fn username(&self) -> &'static str {
        match self.mode {
            Mode::Password => "somebody",
            Mode::Signature => "Signature|AK.1|mqtt-acme",
            _ => "DeviceCredential|DC.1|mqtt-acme",
        }
    }

    fn password(&self) -> String {
        match self.mode {
            Mode::Password => SECRET.to_owned(),
            _ => credential::password(MacAlgorithm::HmacSha1, &Secret::from(SECRET), self.client_id()),
        }
    }

    fn world(&self) -> World<'_> {
        World { namespace: "acme", policies: &self.policies, space: &self.case.space }
    }

    /// Whether docs/semantics.md allows to the client, as it is here, what RabbitMQ asks about.
    fn allows(&self, action: Action, topic: &str) -> bool {
        let Some(topic) = asked_about(topic) else { return false };
        let judged = match action {
            Action::Publish => reference::publish_name(&topic, true),
            Action::Subscribe => reference::subscribe_filter(&topic, true),
        };
        let Some(topic) = judged else { return false };
        let target = match action {
            Action::Publish => Target::Publish(TopicName::parse(&topic).unwrap()),
            Action::Subscribe => Target::Subscribe(Filter::parse(&topic).unwrap()),
        };
        let request = Request { target, qos: None, retain: None, notation: Notation::Dotted };
        let proven = self.mode != Mode::Password;
        let withheld = self.case.withheld();
        let client = Known { withheld: Some(&withheld), ..self.case.client.client(None) };
        let client = Known { username: Some(self.username()), client_id_proven: proven, mode: self.mode, ..client };
        self.world().decide(&client, &request).allow
    }

    fn device(&self, ticket_key: &Secret) -> Device {
        let client = &self.case.client;
        let login = (self.mode == Mode::Password).then(|| LoginName {
            name: self.username().to_owned(),
            scram: None,
            password: Some(Verifier::fast(ticket_key, &Secret::from(SECRET))),
            spares: Spares::default(),
        });
        let client_id = match self.mode {
            Mode::Password => ClientIds::Prefix { prefix: self.client_id().to_owned() },
            _ => ClientIds::from(self.client_id()),
        };
        let is_hmac = login.is_none();
        Device {
            name: "device".to_owned(),
            uid: None,
            client_id,
            key_id: if is_hmac { "DC.1".to_owned() } else { String::new() },
            secret: is_hmac.then(|| Secret::from(SECRET)),
            login,
            labels: client.labels.clone(),
            client_attributes: client.attributes.clone(),
            disabled: false,
            superuser: client.superuser,
            expires_at: None,
            spares: Spares::default(),
            brought_along: false,
            rests_until: None,
        }
    }

    fn bundle(&self) -> Bundle {
        let client = &self.case.client;
        let ticket_key = Secret::from("the ticket key of the corpus");
        let device = self.device(&ticket_key);
        let key = AccessKey {
            name: client.signature.clone().unwrap_or_default(),
            id: "AK.1".to_owned(),
            secret: Some(Secret::from(SECRET)),
            disabled: false,
            generated: false,
            client_id_prefixes: None,
            uses: [KeyUse::Connect].into(),
            spares: Spares::default(),
        };
        let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
        let tenant = Tenant {
            namespace: "acme".to_owned(),
            name: "shop".to_owned(),
            uid: "uid".to_owned(),
            created: 1,
            claims: Claims {
                instance_id: "mqtt-acme".to_owned(),
                // Beside another tenant it must have some.
                client_id_prefixes: self.owner().map(|_| self.client_id().to_owned()).into_iter().collect(),
                topic_space: self.case.space.iter().map(space).collect(),
            },
            suspended: false,
            client_attributes: client.tenant_attributes.clone(),
            access_keys: client.signature.iter().map(|_| key.clone()).collect(),
            modes: vec![Mode::Signature, Mode::DeviceCredential, Mode::Password],
            signature_algorithms: vec![MacAlgorithm::HmacSha1],
            superusers_allowed: true,
            ticket_key,
            scram: None,
            token_max_ttl: None,
            token_revocations: Revocations::default(),
            sessions: SessionRules::default(),
            acl_delivery: AclDelivery::default(),
        };
        let devices = if self.mode == Mode::Signature { Vec::new() } else { vec![device] };
        Bundle { tenant, policies: self.world().compiled(), devices }
    }

    /// The claims of an older tenant that owns what is withheld from this one.
    fn owner(&self) -> Option<Claims> {
        let space = |filter: &String| Space { filter: filter.clone(), shared_with: vec!["mqtt-acme".to_owned()] };
        let topic_space: Vec<Space> = self.case.withheld.iter().map(space).collect();
        let client_id_prefixes = vec!["owner of the rest".to_owned()];
        (!topic_space.is_empty()).then(|| Claims {
            instance_id: "mqtt-owner".to_owned(),
            client_id_prefixes,
            topic_space,
        })
    }
}

fn write(bundle: &Bundle, folder: &Path) {
    let folder = folder.join(format!("{}.{}", bundle.tenant.namespace, bundle.tenant.name));
    fs::create_dir_all(&folder).unwrap();
    let encoded = encode(bundle).unwrap();
    for (digest, bytes) in &encoded.shards {
        fs::write(folder.join(format!("shard-{digest}")), bytes).unwrap();
    }
    fs::write(folder.join("index"), encoded.index(1).unwrap()).unwrap();
}

async fn sidecar(folder: &Path, http: SocketAddr) -> Program {
    let (folder, admin) = (folder.to_str().unwrap(), ports::free_address());
    let (http, admin_arg) = (http.to_string(), admin.to_string());
    let args = ["run", "--source", "dir", "--path", folder, "--http", &http, "--admin", &admin_arg];
    let program = Program::start("mqtt-access-sidecar", &args, &[]);
    program.wait_ready(admin, LIMIT).await;
    program
}

/// Whether the broker lets a client of its own connection do it: a refusal would end the connection of the next request too.
async fn lets_through(put: &Put, mqtt: SocketAddr, action: Action, topic: &str, qos: QoS) -> bool {
    let mut client = Client::connect(mqtt, put.client_id(), put.username(), &put.password()).await.unwrap();
    let passed = match action {
        Action::Publish => client.publish(topic, "x").await.is_ok(),
        Action::Subscribe => client.subscribe(topic, qos).await.is_ok(),
    };
    if passed {
        client.disconnect().await;
    }
    passed
}

/// The requests of a case that an MQTT client can make; RabbitMQ is not told QoS and retain flag.
fn requests(case: &Case) -> (BTreeSet<(Action, String, bool)>, usize) {
    let mut unsayable = 0;
    let mut found = BTreeSet::new();
    for ask in &case.ask {
        let (action, topic) = match (&ask.publish, &ask.subscribe) {
            (Some(topic), _) => (Action::Publish, topic),
            (None, topic) => (Action::Subscribe, topic.as_ref().unwrap()),
        };
        let valid = match action {
            Action::Publish => TopicName::parse(topic).is_ok(),
            Action::Subscribe => Filter::parse(topic).is_ok(),
        };
        if valid && topic.len() <= LONGEST_KEY {
            found.insert((action, topic.clone(), action == Action::Subscribe && ask.qos > 0));
        } else {
            unsayable += 1;
        }
    }
    (found, unsayable)
}

async fn put_to(broker: &RabbitMq, http: SocketAddr, put: &Put, counts: &mut Counts, wrong: &mut Vec<String>) {
    let folder = tempfile::TempDir::with_prefix("mqtt-access-corpus-").unwrap();
    let bundle = put.bundle();
    write(&bundle, folder.path());
    if let Some(claims) = put.owner() {
        let tenant = Tenant { name: "owner".to_owned(), created: 0, claims, ..bundle.tenant };
        write(&Bundle { tenant, policies: Vec::new(), devices: Vec::new() }, folder.path());
    }
    let _sidecar = sidecar(folder.path(), http).await;
    let id = put.client_id();
    if !credential::is_client_id(id) || id.contains(['.', '*']) {
        counts.kept_out += 1;
        if Client::connect(broker.mqtt(), id, put.username(), &put.password()).await.is_ok() {
            wrong.push(format!("{}\n  `{id}` is let in", put.case.sentence));
        }
        return;
    }
    counts.clients += 1;
    let (requests, unsayable) = requests(&put.case);
    counts.unsayable += unsayable;
    for (action, topic, acknowledged) in requests {
        let qos = if acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut found = lets_through(put, broker.mqtt(), action, &topic, qos).await;
        // Of a client ID that others may use it is not known whose session RabbitMQ may keep: the second clean start shows
        // that there is none.
        if !found && acknowledged && put.mode != Mode::DeviceCredential {
            found = lets_through(put, broker.mqtt(), action, &topic, qos).await;
        }
        *if found { &mut counts.let_through } else { &mut counts.refused } += 1;
        if found != put.allows(action, &topic) {
            wrong.push(format!("{}\n  {action:?} `{topic}`: RabbitMQ says {found}", put.case.sentence));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_rabbitmq_lets_through_what_the_corpus_allows_and_nothing_else() {
    let http = ports::free_address();
    let broker = RabbitMq::start(http).await;
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    let ambiguous = ["a.b", "a*"].map(|id| {
        let sentence = "client IDs with `.` or `*` cannot log in";
        let case = json!({"sentence": sentence, "client": {"clientId": id}, "rules": [{"allow": ["#"]}]});
        serde_json::from_value(case).unwrap()
    });
    for case in cases().into_iter().chain(ambiguous) {
        if case.client.tokens.is_some() {
            counts.tokens += 1;
            continue;
        }
        put_to(&broker, http, &Put::of(case), &mut counts, &mut wrong).await;
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        counts.clients > 40 && counts.let_through > 60 && counts.refused > 60 && counts.kept_out == 2,
        "{counts:?}"
    );
}
