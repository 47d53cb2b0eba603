//! Names do not change hands without a cluster either: whoever is published with one keeps it, and of two that nobody is published
//! with nobody gets it.

use std::fs;
use std::time::Duration;

use mqtt_access_core::bundle::{Bundle, decode, decode_index};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::{Program, wait};
use serde_json::{Value, json};

use crate::{Desk, OPERATOR, SOON, ask};

/// A device with the client ID of another one, in a name and a file that sort before it.
const A0: &str = "\
apiVersion: mqttaccess.io/v1alpha1
kind: DeviceCredential
metadata: {namespace: acme, name: a0, creationTimestamp: '2001-01-01T00:00:00Z'}
spec: {tenantRef: {name: acme}, clientId: GID_acme@@@dev1}
";

/// A tenant in an earlier namespace, which claims what acme has.
const EARLIER: &str = "\
apiVersion: mqttaccess.io/v1alpha1
kind: MqttTenant
metadata: {namespace: aaa, name: aaa, creationTimestamp: '2001-01-01T00:00:00Z'}
spec:
  instanceId: mqtt-aaa
  clientIdPrefixes: [GID_aaa@@@]
  topicSpace: [{filter: +/dev1/#}]
";

impl Desk {
    fn add(&self, name: &str, text: &str) {
        fs::write(self.path("manifests").join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path("manifests").join(name)).unwrap();
    }

    fn bundle(&self, out: &str, tenant: &str) -> Bundle {
        let folder = self.path(out).join("default").join(tenant);
        let index = decode_index(&fs::read(folder.join("index")).unwrap()).unwrap();
        let shard = |digest: &_| fs::read(folder.join(format!("shard-{digest}"))).ok().map(std::borrow::Cow::Owned);
        decode(&index, shard).unwrap()
    }

    async fn make_secrets(&self) -> [String; 2] {
        assert!(self.standalone().await.program.terminate(SOON).await.success());
        ["--state-dir".to_owned(), self.text("state")]
    }
}

#[tokio::test]
async fn an_incumbent_keeps_its_client_id_across_reloads_and_restarts() {
    let desk = Desk::new();
    let first = desk.standalone().await;
    assert_eq!(desk.login(first.http, "dev1").await.1, "ProofAccepted");
    desk.add("a0.yaml", A0);
    first.program.wait_for_line("belongs to the DeviceCredential `dev1`", SOON).await;
    assert_eq!(desk.login(first.http, "dev1").await.1, "ProofAccepted");
    assert_eq!(desk.login(first.http, "a0").await.1, "WrongProof");
    assert!(first.program.terminate(SOON).await.success());

    let second = desk.standalone().await;
    assert_eq!(desk.login(second.http, "dev1").await.1, "ProofAccepted");
    assert_eq!(desk.login(second.http, "a0").await.1, "WrongProof");
    // It gives the client ID up: now the other one may have it.
    desk.edit("acme.yaml", "clientId: GID_acme@@@dev1", "clientId: GID_acme@@@dev9");
    let taken = async || (desk.login(second.http, "a0").await.1 == "ProofAccepted").then_some(());
    wait::until("the client ID to be a0's", SOON, taken).await;
    desk.edit("acme.yaml", "clientId: GID_acme@@@dev9", "clientId: GID_acme@@@dev1");
    second.program.wait_for_line("belongs to the DeviceCredential `a0`", SOON).await;
    assert_eq!(desk.login(second.http, "a0").await.1, "ProofAccepted");
}

#[tokio::test]
async fn at_a_first_start_nobody_gets_what_two_want_and_nobody_else_may_use_it() {
    let desk = Desk::new();
    desk.add("a0.yaml", A0);
    let first = desk.standalone().await;
    for device in ["a0", "dev1"] {
        assert_eq!(desk.login(first.http, device).await.1, "UnknownKey", "{device}");
    }
    assert_eq!(desk.login(first.http, "dev2").await.1, "ProofAccepted", "nothing else is refused");
    let key = &desk.secrets()["acme-backend-access-key"];
    let client_id = "GID_acme@@@dev1";
    let signed = password(MacAlgorithm::HmacSha1, &Secret::from(key["accessKeySecret"].as_str()), client_id);
    let username = format!("Signature|{}|mqtt-acme", key["accessKeyId"]);
    let body = json!({"clientid": client_id, "username": username, "password": signed});
    assert_eq!(ask(first.http, "/emqx/v5/authn", &body).await.1, "ClientIdTaken");
    // The file of one of them goes: the other one has it, and is an incumbent from then on.
    desk.remove("a0.yaml");
    let let_in = async || (desk.login(first.http, "dev1").await.1 == "ProofAccepted").then_some(());
    wait::until("the device to be let in", SOON, let_in).await;
    desk.add("a0.yaml", A0);
    first.program.wait_for_line("belongs to the DeviceCredential `dev1`", SOON).await;
    assert_eq!(desk.login(first.http, "dev1").await.1, "ProofAccepted");
}

#[tokio::test]
async fn a_tenant_in_an_earlier_namespace_takes_nothing_over() {
    let desk = Desk::new();
    let first = desk.standalone().await;
    for (field, text) in [
        ("topic `acme/dev1`", EARLIER.to_owned()),
        ("client ID `GID_acme@@@`", EARLIER.replace("[GID_aaa@@@]", "[GID_acme@@@]").replace("+/dev1/#", "aaa/#")),
        ("instance ID `mqtt-acme`", EARLIER.replace("mqtt-aaa", "mqtt-acme").replace("+/dev1/#", "aaa/#")),
    ] {
        desk.add("aaa.yaml", &text);
        first.program.wait_for_line(&format!("MqttTenant acme/acme holds the {field}"), SOON).await;
        assert_eq!(desk.publish(first.http, "dev1", "acme/dev1/up").await.1, "acme/own-topics rules[0]", "{field}");
    }
    assert!(first.program.terminate(SOON).await.success());
    let second = desk.standalone().await;
    assert_eq!(
        desk.publish(second.http, "dev1", "acme/dev1/up").await.1,
        "acme/own-topics rules[0]",
        "after a restart"
    );
}

#[tokio::test]
async fn compile_keeps_what_stands_in_its_folder_and_writes_nothing_where_nothing_tells() {
    let desk = Desk::new();
    let [option, state] = desk.make_secrets().await;
    let with_state = [option.as_str(), state.as_str()];
    desk.compile(&with_state).await;
    let before = desk.bundle("out", "acme.acme");
    desk.add("a0.yaml", A0);
    // Its Secret: `compile` makes none.
    desk.make_secrets().await;
    let (status, summary, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3), "{told}");
    assert!(told.contains("DeviceCredential acme/a0: ") && told.contains("`dev1`"), "{told}");
    assert!(summary.contains("0 written"), "{summary}");
    assert_eq!(desk.bundle("out", "acme.acme"), before);

    let (status, summary, told) = desk.compile_to("fresh", &with_state).await;
    assert_eq!((status.code(), summary.as_str()), (Some(1), ""), "{told}");
    for expected in [
        "client ID `GID_acme@@@dev1`",
        "DeviceCredential acme/a0 (spec.clientId in ",
        "a0.yaml, document 1",
        "DeviceCredential acme/dev1 (spec.clientId in ",
        "acme.yaml, document 3",
        "compile into the folder that holds what is in force",
        "--exported",
    ] {
        assert!(told.contains(expected), "`{expected}` is not in {told}");
    }
    assert!(!desk.path("fresh").exists(), "nothing is written");

    desk.remove("a0.yaml");
    desk.add("aaa.yaml", EARLIER);
    desk.make_secrets().await;
    let (status, _, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3), "{told}");
    assert!(told.contains("MqttTenant aaa/aaa: MqttTenant acme/acme holds the topic `acme/dev1`"), "{told}");
    let (status, _, told) = desk.compile_to("fresh", &with_state).await;
    assert_eq!(status.code(), Some(1), "{told}");
    for expected in ["MqttTenant aaa/aaa (spec.topicSpace in ", "aaa.yaml", "MqttTenant acme/acme (spec.topicSpace in "]
    {
        assert!(told.contains(expected), "`{expected}` is not in {told}");
    }
    assert!(!desk.path("fresh").exists(), "nothing is written");
}

/// Objects as an API server gives them out.
fn dumped(kind: &str, name: &str, created: &str, spec: &Value) -> Value {
    let uid = format!("00000000-0000-4000-8000-0000000000{}", name.len());
    json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "creationTimestamp": created}})
}

#[tokio::test]
async fn of_objects_dumped_from_a_cluster_the_older_gets_a_name() {
    let desk = Desk::new();
    desk.remove("acme.yaml");
    desk.remove("globex.yaml");
    let tenant = |name: &str, prefix: &str, created| {
        let spec = json!({"instanceId": format!("mqtt-{name}"), "clientIdPrefixes": [prefix], "topicSpace": []});
        dumped("MqttTenant", name, created, &spec)
    };
    let device = |name: &str, created| {
        dumped("DeviceCredential", name, created, &json!({"tenantRef": {"name": "zz"}, "clientId": "x-1"}))
    };
    let objects = [
        tenant("a", "x-", "2026-01-03T00:00:00Z"),
        tenant("zz", "x-", "2026-01-01T00:00:00Z"),
        device("a0", "2026-01-02T00:00:00Z"),
        device("d1-older", "2026-01-01T00:00:00Z"),
    ];
    let list = |objects: &[Value]| json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    desk.add("dump.json", &list(&objects));
    // Secrets for the tenant that wins below.
    desk.add("dump.json", &list(&objects[1..]));
    let [option, state] = desk.make_secrets().await;
    desk.add("dump.json", &list(&objects));
    let with_state = [option.as_str(), state.as_str()];
    let (status, _, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(1), "a timestamp is its author's word: {told}");

    let exported = ["--exported", option.as_str(), state.as_str()];
    let (status, _, told) = desk.compile(&exported).await;
    assert_eq!(status.code(), Some(3), "{told}");
    assert!(told.contains("MqttTenant ns/a: MqttTenant ns/zz holds the client ID `x-`"), "{told}");
    assert!(told.contains("DeviceCredential ns/a0: ") && told.contains("`d1-older`"), "{told}");
    let bundle = desk.bundle("out", "ns.zz");
    assert_eq!(bundle.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["d1-older"]);

    let mut without = objects.clone();
    without[3]["metadata"].as_object_mut().unwrap().remove("uid");
    desk.add("dump.json", &list(&without));
    let (status, _, told) = desk.compile(&exported).await;
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("metadata.uid: is missing") && told.contains("d1-older"), "{told}");
}

#[tokio::test]
async fn topics_that_are_no_longer_shared_belong_to_whoever_was_published_first() {
    let desk = Desk::new();
    let acme = fs::read_to_string(desk.path("manifests/acme.yaml")).unwrap();
    desk.remove("acme.yaml");
    let shares = "filter: globex/#\n    - filter: shared/#\n      sharedWith: [mqtt-acme]";
    desk.edit("globex.yaml", "filter: globex/#", shares);
    let [option, state] = desk.make_secrets().await;
    let with_state = [option.as_str(), state.as_str()];
    assert_eq!(desk.compile(&with_state).await.0.code(), Some(0));
    // The age of a tenant counts in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let acme =
        acme.replace("filter: acme/#", "filter: acme/#\n    - filter: shared/+/x\n      sharedWith: [mqtt-globex]");
    desk.add("acme.yaml", &acme);
    let before = desk.path("before");
    fs::create_dir(&before).unwrap();
    for name in ["acme.yaml", "globex.yaml"] {
        fs::copy(desk.path("manifests").join(name), before.join(name)).unwrap();
    }
    desk.make_secrets().await;
    let (status, _, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(0), "{told}");

    desk.edit("globex.yaml", "sharedWith: [mqtt-acme]", "sharedWith: []");
    let (status, _, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3), "{told}");
    let denied = "MqttTenant acme/acme: topics of `shared/+/x`, for example `shared/x/x`, belong to MqttTenant globex/globex alone";
    assert!(told.contains(denied) && told.contains("(ConsentWithdrawn)"), "{told}");
    assert!(told.contains("MqttTenant globex/globex: topics of `shared/#`") && told.contains("(OwnedAlone)"), "{told}");
    let report: Value = serde_json::from_slice(&fs::read(desk.path("out/report.json")).unwrap()).unwrap();
    let expected = json!([{"owner": "globex/globex", "refused": "acme/acme", "filters": ["shared/#", "shared/+/x"],
        "witness": "shared/x/x"}]);
    assert_eq!(report["brokers"][0]["isolation"]["withdrawn"], expected);
    assert_eq!(report["summary"]["violations"], 0);
    let acl = fs::read_to_string(desk.path("out/default/acl/acme.acme/acl.conf")).unwrap_or_default();
    assert!(acl.is_empty() || acl.contains("ConsentWithdrawn"), "{acl}");

    let (manifests, before) = (desk.text("manifests"), before.display().to_string());
    let diff = Program::start(OPERATOR, &["diff", &before, &manifests], &[]);
    assert_eq!(diff.wait_end(SOON).await.code(), Some(5));
    let told = diff.stdout();
    assert!(told.contains("+ Deny Publish shared/") && told.contains("+ Deny Subscribe shared/"), "{told}");
}
