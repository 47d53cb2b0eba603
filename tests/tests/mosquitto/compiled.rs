//! The files that are written for the compiled examples.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mqtt_access_core::acl_file::mosquitto;
use mqtt_access_core::bundle::{decode, decode_index};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_operator::manifest;
use mqtt_access_tests::mqtt::rumqttc::{ConnectReturnCode, LastWill, QoS};
use mqtt_access_tests::mqtt::{Client, ConnectRefused};
use mqtt_access_tests::ports::free_address;
use mqtt_access_tests::{Mosquitto, Program};
use tempfile::TempDir;

use crate::watcher;

const OPERATOR: &str = "mqtt-access-operator";
const SOON: Duration = Duration::from_secs(30);

/// Who stands in a generated Secret, with what he logs in.
struct Identity {
    client_id: String,
    username: String,
    password: String,
}

impl Identity {
    async fn connect(&self, broker: &Mosquitto) -> Result<Client, ConnectRefused> {
        Client::connect(broker.mqtt(), &self.client_id, &self.username, &self.password).await
    }
}

/// The examples, and a person with a password, compiled for a broker that reads Mosquitto's files.
struct Compiled {
    acl: String,
    passwords: Vec<u8>,
    identities: BTreeMap<String, Identity>,
}

const ADA: &str = "apiVersion: mqttaccess.io/v1alpha1
kind: DeviceCredential
metadata: {namespace: acme, name: ada, labels: {fleet: trucks}}
spec:
  tenantRef: {name: acme}
  clientIdPrefix: GID_acme@@@ada-
  username: GID_acme@@@ada
  mechanisms: [Password]
";

const CONFIG: &str = "brokers:
  - name: default
    bundleNamespace: bundles
    tenantNamespaceSelector: {}
    aclFiles: [Mosquitto]
";

impl Compiled {
    async fn examples() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| path(name).display().to_string();
        fs::create_dir(path("manifests")).unwrap();
        for name in ["acme.yaml", "globex.yaml"] {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
            let example = fs::read_to_string(example).unwrap();
            let modes = "spec:\n  authentication: {modes: [DeviceCredential, Signature, Password]}\n  # The third part";
            fs::write(path("manifests").join(name), example.replace("spec:\n  # The third part", modes)).unwrap();
        }
        fs::write(path("manifests/ada.yaml"), ADA).unwrap();
        fs::write(path("config.yaml"), CONFIG).unwrap();
        let (manifests, state, out, config) = (text("manifests"), text("state"), text("out"), text("config.yaml"));
        let (http, admin) = (free_address(), free_address());
        let (http_text, admin_text) = (http.to_string(), admin.to_string());
        let common = ["--state-dir", &state, "--config", &config];
        let args = [&["standalone", &manifests, "--http", &http_text, "--admin", &admin_text], &common[..]].concat();
        let standalone = Program::start(OPERATOR, &args, &[]);
        standalone.wait_ready(admin, SOON).await;
        assert!(standalone.terminate(SOON).await.success());
        let args = [&["compile", &manifests, "--out", &out], &common[..]].concat();
        let compile = Program::start(OPERATOR, &args, &[]);
        compile.wait_end(SOON).await;
        let tenants = [path("out/default/acme.acme"), path("out/default/globex.globex")].map(|folder| index(&folder));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
        let sections = tenants.each_ref().map(|tenant| mosquitto::section(tenant, now));
        assert!(sections.iter().all(|section| section.narrowed.is_empty()), "{sections:?}");
        Self {
            acl: mosquitto::file(&sections),
            passwords: tenants.iter().flat_map(|it| mosquitto::passwords(it, now).expose().to_vec()).collect(),
            identities: identities(&path("state")),
        }
    }

    fn identity(&self, name: &str) -> &Identity {
        &self.identities[name]
    }
}

fn index(folder: &Path) -> TenantIndex {
    let file = decode_index(&fs::read(folder.join("index")).unwrap()).unwrap();
    let shard = |digest: &_| fs::read(folder.join(format!("shard-{digest}"))).ok().map(Cow::Owned);
    TenantIndex::new(decode(&file, shard).unwrap(), file.revision).unwrap()
}

fn identities(state: &Path) -> BTreeMap<String, Identity> {
    let secrets = manifest::read(&[state.to_path_buf()]).unwrap().secrets.into_iter();
    let identity = secrets.filter_map(|secret| {
        let name = secret.metadata.name?.strip_suffix("-mqtt")?.to_owned();
        let data = secret.data?;
        let text = |key: &str| Some(String::from_utf8(data.get(key)?.0.clone()).unwrap());
        let client_id = text("clientId").unwrap_or_else(|| "GID_acme@@@ada-phone".to_owned());
        Some((name, Identity { client_id, username: text("username")?, password: text("password")? }))
    });
    identity.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_work_on_a_stock_mosquitto() {
    let (compiled, none) = (Compiled::examples().await, BTreeSet::new());
    let broker = watcher::start(&compiled.acl, &compiled.passwords, &none).await;
    only_who_is_known_comes_in(&compiled, &broker).await;
    messages_go_where_they_may(&compiled, &broker).await;
    a_client_id_is_nobodys_key(&compiled, &broker).await;
    a_will_goes_only_where_its_client_may_publish(&compiled, &broker).await;
}

async fn only_who_is_known_comes_in(compiled: &Compiled, broker: &Mosquitto) {
    let dev1 = compiled.identity("dev1");
    assert_eq!(dev1.client_id, "GID_acme@@@dev1");
    assert!(dev1.username.starts_with("DeviceCredential|DC.") && dev1.username.ends_with("|mqtt-acme"));
    for name in ["dev1", "dev2", "ada", "meter1"] {
        compiled.identity(name).connect(broker).await.unwrap().disconnect().await;
    }
    let with = |name: &str, username: &str, password: &str| Identity {
        client_id: compiled.identity(name).client_id.clone(),
        username: username.to_owned(),
        password: password.to_owned(),
    };
    let refused = [
        with("dev1", &dev1.username, "wrong"),
        with("dev1", &dev1.username, ""),
        with("dev1", &dev1.username, &compiled.identity("dev2").password),
        with("dev1", &format!("{} ", dev1.username), &dev1.password),
        with("dev1", "nobody", &dev1.password),
        with("dev1", "", ""),
        // Disabled.
        with("dev3", &compiled.identity("dev3").username, &compiled.identity("dev3").password),
    ];
    for identity in refused {
        let refused = identity.connect(broker).await.unwrap_err();
        assert_eq!(refused, ConnectRefused::Code(ConnectReturnCode::NotAuthorized), "{}", identity.username);
    }
}

async fn messages_go_where_they_may(compiled: &Compiled, broker: &Mosquitto) {
    let mut watcher = watcher::connect(broker, &BTreeSet::new()).await;
    let mut dev1 = compiled.identity("dev1").connect(broker).await.unwrap();
    let mut dev2 = compiled.identity("dev2").connect(broker).await.unwrap();
    let mut meter = compiled.identity("meter1").connect(broker).await.unwrap();
    for client in [&mut dev1, &mut dev2, &mut meter] {
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    }
    for topic in [
        "acme/dev1/up",
        "acme/dev2/up",
        "acme/fleet/news",
        "acme/fleet/secret/x",
        "acme/x",
        "globex/GID_globex@@@meter1/up",
    ] {
        dev1.publish(topic, topic).await.unwrap();
        watcher.publish(topic, "watcher").await.unwrap();
    }
    let topics = |messages: Vec<mqtt_access_tests::mqtt::Message>| -> Vec<(String, String)> {
        messages.into_iter().map(|message| (message.topic, message.payload)).collect()
    };
    let pair = |topic: &str, payload: &str| (topic.to_owned(), payload.to_owned());
    let own =
        [pair("acme/dev1/up", "acme/dev1/up"), pair("acme/dev1/up", "watcher"), pair("acme/fleet/news", "watcher")];
    assert_eq!(topics(watcher::received(&mut dev1).await), own);
    let theirs = [pair("acme/dev2/up", "watcher"), pair("acme/fleet/news", "watcher")];
    assert_eq!(topics(watcher::received(&mut dev2).await), theirs);
    assert_eq!(topics(watcher::received(&mut meter).await), [pair("globex/GID_globex@@@meter1/up", "watcher")]);
    let by_dev1 = topics(watcher::received(&mut watcher).await);
    let by_dev1: Vec<_> = by_dev1.into_iter().filter(|(_, payload)| payload != "watcher").collect();
    assert_eq!(by_dev1, [pair("acme/dev1/up", "acme/dev1/up")]);
}

/// With `use_username_as_clientid`, another's client ID takes over no session.
async fn a_client_id_is_nobodys_key(compiled: &Compiled, broker: &Mosquitto) {
    let mut dev1 = compiled.identity("dev1").connect(broker).await.unwrap();
    dev1.subscribe("acme/dev1/#", QoS::AtMostOnce).await.unwrap();
    let dev2 = compiled.identity("dev2");
    let connected =
        Client::connect(broker.mqtt(), &compiled.identity("dev1").client_id, &dev2.username, &dev2.password);
    let mut thief = connected.await.unwrap();
    thief.subscribe("acme/dev1/#", QoS::AtMostOnce).await.unwrap();
    dev1.publish("acme/dev1/up", "mine").await.unwrap();
    assert_eq!(watcher::received(&mut dev1).await.len(), 1);
    assert!(watcher::received(&mut thief).await.is_empty());
}

async fn a_will_goes_only_where_its_client_may_publish(compiled: &Compiled, broker: &Mosquitto) {
    let mut watcher = watcher::connect(broker, &BTreeSet::new()).await;
    for (topic, allowed) in [("acme/dev1/will", true), ("acme/dev2/will", false)] {
        let Identity { client_id, username, password } = compiled.identity("dev1");
        let will = LastWill::new(topic, "gone", QoS::AtLeastOnce, false);
        let connected = Client::connect_with(broker.mqtt(), client_id, username, password, |options| {
            options.set_last_will(will);
        });
        // It is judged when it is published, not before.
        drop(connected.await.unwrap());
        let message = watcher.next_message(if allowed { SOON } else { Duration::from_millis(300) }).await;
        assert_eq!(message.map(|message| message.topic), allowed.then(|| topic.to_owned()));
    }
}
