//! Whose a client ID is, over time: what a session that a broker keeps would pass on, and what changes for nobody who did not
//! ask for it.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_core::credential::{MacAlgorithm, access_key_id, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::operator_fixture::{
    BUNDLES, Bundles, Cluster, DEVICES, Device, Manifest, SOON, TENANTS, client_id, device, edited, namespace, tenant,
};
use mqtt_access_tests::{Program, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "
brokers:
- name: default
  bundleNamespace: mqtt-access-mqtt-access-bundles
  tenantNamespaceSelector: {}
  sessionExpiry: 2h
";

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn client_ids_change_hands_only_as_the_platform_team_wants_it() {
    let cluster = Cluster::start().await;
    an_upgrade_refuses_no_login(&cluster).await;
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let start = async || -> Program { cluster.operator_with(&["run", "--config", config.to_str().unwrap()]).await };
    let operator = start().await;
    tokio::join!(exclusive_client_ids_have_one_owner(&cluster), a_deleted_client_id_rests(&cluster));
    cluster.settle().await;
    let before = cluster.bundles().await.versions();
    operator.terminate(SOON).await;
    // Made anew while nobody looked.
    cluster.delete(DEVICES, "rest", "unseen").await;
    cluster.apply([device("rest", "t", "unseen")]).await;
    let _operator = start().await;
    cluster.wait_device("rest", "unseen", "ClientIdResting").await;
    cluster.settle().await;
    assert_eq!(cluster.bundles().await.login(&of(&cluster, "rest", "unseen").await), "ClientIdResting");
    // A restart forgets nothing, and changes nothing of those that nobody touched.
    assert_eq!(cluster.bundles().await.login(&of(&cluster, "rest", "d").await), "ClientIdResting");
    assert_eq!(cluster.bundles().await.versions()["excl.t"], before["excl.t"]);
    the_platform_team_frees_one(&cluster).await;
}

/// What a device knows of itself.
async fn of(cluster: &Cluster, namespace: &str, device: &str) -> Device {
    cluster.credentials(namespace, device).await
}

/// A client of an access key of [`tenant`].
async fn key_client(cluster: &Cluster, namespace: &str, tenant: &str, key: &str, client_id: &str) -> Device {
    let instance = match (namespace, tenant) {
        ("acme", "acme") => "mqtt-acme".to_owned(),
        _ => format!("mqtt-{namespace}-{tenant}"),
    };
    let secret = cluster.secret(namespace, &format!("{tenant}-{key}-access-key")).await.unwrap();
    let secret = Secret::from(secret.text("accessKeySecret").as_str());
    Device {
        client_id: client_id.to_owned(),
        username: format!("Signature|{}|{instance}", access_key_id(&instance, key)),
        password: password(MacAlgorithm::HmacSha256, &secret, client_id),
    }
}

/// Everyone who could log in to today's examples, and to a tenant with two keys, still can; and nothing is written anew.
async fn an_upgrade_refuses_no_login(cluster: &Cluster) {
    for example in ["acme", "globex", "people"] {
        let file = format!("{}/../examples/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
        cluster.plane.kubectl(&["apply", "-f", &file]).await.unwrap();
    }
    let two_keys = edited(tenant("two", "t"), &json!({"spec": {"accessKeys": [{"name": "one"}, {"name": "other"}]}}));
    let person = json!({"spec": {"clientId": null, "clientIdPrefix": client_id("two", "t", "p-"), "username": "p",
        "mechanisms": ["Password"]}});
    cluster
        .apply([namespace("two"), two_keys, device("two", "t", "d"), edited(device("two", "t", "p"), &person)])
        .await;
    let operator = cluster.operator().await;
    for (namespace, name) in [("acme", "dev1"), ("acme", "alice"), ("acme", "sensor1"), ("globex", "meter1")] {
        cluster.wait_device(namespace, name, "Ready").await;
    }
    cluster.wait_device("two", "p", "Ready").await;
    let told = cluster.wait_reason(TENANTS, "two", "t", "Ready", "Ready").await;
    assert!(told.message.contains("`one` and `other`") && told.message.ends_with("(SharedClientIds)"), "{told:?}");
    let told = cluster.wait_reason(TENANTS, "acme", "acme", "Ready", "Ready").await;
    assert_eq!(told.message, "clients can log in");
    cluster.settle().await;
    operator.terminate(SOON).await;
    // As the version before has written it: nothing of these tenants is new in the format.
    let (bundles, found) = (cluster.bundles().await, cluster.secrets(BUNDLES).await);
    for (name, stored) in found.iter().filter(|(_, stored)| stored.data.contains_key("index")) {
        let text = stored.text("index");
        let older = text.replacen("mqtt-access-index 5 ", "mqtt-access-index 4 ", 1);
        assert_ne!(older, text, "{name}");
        cluster.patch_secret(BUNDLES, name, &json!({"data": {"index": STANDARD.encode(older)}})).await;
    }
    let upgraded = cluster.bundles().await;
    assert_eq!(upgraded.versions(), bundles.versions());
    everyone_logs_in(cluster, &upgraded).await;
    let operator = cluster.operator().await;
    cluster.settle().await;
    assert_eq!(cluster.bundles().await.versions(), bundles.versions());
    everyone_logs_in(cluster, &cluster.bundles().await).await;
    operator.terminate(SOON).await;
}

async fn everyone_logs_in(cluster: &Cluster, bundles: &Bundles) {
    let any = client_id("two", "t", "any");
    let mut clients = BTreeMap::from([
        ("one", key_client(cluster, "two", "t", "one", &any).await),
        ("other", key_client(cluster, "two", "t", "other", &any).await),
        ("among people", key_client(cluster, "two", "t", "one", &client_id("two", "t", "p-1")).await),
        ("backend", key_client(cluster, "acme", "acme", "backend", "GID_acme@@@alice-1").await),
    ]);
    for (namespace, name, client_id) in [
        ("acme", "dev1", None),
        ("acme", "dev2", None),
        ("acme", "alice", Some("GID_acme@@@alice-1".to_owned())),
        ("acme", "sensor1", None),
        ("globex", "meter1", None),
        ("two", "d", None),
        ("two", "p", Some(self::client_id("two", "t", "p-1"))),
    ] {
        let client = of(cluster, namespace, name).await;
        clients.insert(name, Device { client_id: client_id.unwrap_or(client.client_id), ..client });
    }
    for (name, client) in clients {
        assert_eq!(bundles.login(&client), "Allow", "{name}");
    }
}

fn with_keys(keys: &Value) -> Manifest {
    let people = [client_id("excl", "t", "people-")];
    let spec = json!({"exclusiveClientIds": true, "peopleClientIdPrefixes": people, "accessKeys": keys});
    edited(tenant("excl", "t"), &json!({ "spec": spec }))
}

fn person(name: &str, prefix: &str) -> Manifest {
    let spec = json!({"clientId": null, "clientIdPrefix": client_id("excl", "t", prefix), "username": name,
        "mechanisms": ["Password"]});
    edited(device("excl", "t", name), &json!({ "spec": spec }))
}

async fn exclusive_client_ids_have_one_owner(cluster: &Cluster) {
    let key = |name: &str, prefix: &str| json!({"name": name, "clientIdPrefixes": [client_id("excl", "t", prefix)]});
    let people = [person("alice", "people-alice-"), person("bob", "b-bob-")];
    let [alice, bob] = people;
    cluster.apply([namespace("excl"), with_keys(&json!([key("old", "b-")])), alice, bob]).await;
    cluster.wait_device("excl", "alice", "Ready").await;
    let told = cluster.wait_device("excl", "bob", "ClientIdPrefixTaken").await;
    assert!(told.message.contains("access key `old`"), "{told:?}");
    let login = async |key: &str, name: &str| {
        let client = key_client(cluster, "excl", "t", key, &client_id("excl", "t", name)).await;
        cluster.bundles().await.login(&client)
    };
    assert_eq!((login("old", "b-1").await, login("old", "c-1").await), answers("Allow", "ClientIdOutsideKeyPrefixes"));
    assert_eq!(login("old", "people-alice-1").await, "ClientIdOutsideKeyPrefixes");
    // A newer key stands before the older one in the list, and is refused all the same.
    cluster.apply([with_keys(&json!([key("new", "b-1"), key("old", "b-")]))]).await;
    let told = cluster.wait_reason(TENANTS, "excl", "t", "Ready", "ClientIdPrefixTaken").await;
    assert!(told.message.contains("accessKeys[new]") && told.message.contains("access key `old`"), "{told:?}");
    assert_eq!((login("old", "b-1").await, login("new", "b-1").await), answers("Allow", "ClientIdOutsideKeyPrefixes"));
    // A device that is new takes nothing from a key, and one that is older keeps what it has.
    cluster.apply([device("excl", "t", "b-2")]).await;
    cluster.wait_device("excl", "b-2", "ClientIdPrefixTaken").await;
    cluster.apply([with_keys(&json!([key("new", "b-1")]))]).await;
    cluster.wait_reason(TENANTS, "excl", "t", "Ready", "Ready").await;
    assert_eq!(login("new", "b-1").await, "Allow");
    cluster.wait_device("excl", "b-2", "Ready").await;
    cluster.wait_device("excl", "bob", "Ready").await;
    cluster.apply([with_keys(&json!([key("new", "b-1"), key("late", "b-2")]))]).await;
    cluster.wait_reason(TENANTS, "excl", "t", "Ready", "Ready").await;
    assert_eq!(cluster.bundles().await.login(&of(cluster, "excl", "b-2").await), "Allow");
}

fn answers(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

async fn a_deleted_client_id_rests(cluster: &Cluster) {
    let with_key = edited(tenant("rest", "t"), &json!({"spec": {"accessKeys": [{"name": "k"}]}}));
    cluster.apply([namespace("rest"), with_key, device("rest", "t", "d"), device("rest", "t", "unseen")]).await;
    cluster.wait_device("rest", "d", "Ready").await;
    cluster.wait_device("rest", "unseen", "Ready").await;
    let key = key_client(cluster, "rest", "t", "k", &client_id("rest", "t", "d")).await;
    let old = of(cluster, "rest", "d").await;
    let bundles = cluster.bundles().await;
    assert_eq!((bundles.login(&old), bundles.login(&key)), answers("Allow", "ClientIdTaken"));
    cluster.delete(DEVICES, "rest", "d").await;
    wait::until("the client ID to rest", SOON, async || {
        (cluster.bundles().await.login(&key) == "ClientIdResting").then_some(())
    })
    .await;
    assert_eq!(cluster.bundles().await.login(&old), "UnknownKey");
    cluster.apply([device("rest", "t", "d")]).await;
    let told = cluster.wait_device("rest", "d", "ClientIdResting").await;
    assert!(told.message.contains("spec.releasedClientIds"), "{told:?}");
    assert_eq!(cluster.bundles().await.login(&of(cluster, "rest", "d").await), "ClientIdResting");
    // An edit of the new one is no end of it.
    cluster.patch(DEVICES, "rest", "d", &json!({"metadata": {"labels": {"x": "y"}}})).await;
    cluster.settle().await;
    cluster.wait_device("rest", "d", "ClientIdResting").await;
}

async fn the_platform_team_frees_one(cluster: &Cluster) {
    let released = json!({"spec": {"releasedClientIds": [client_id("rest", "t", "d")]}});
    cluster.patch(TENANTS, "rest", "t", &released).await;
    cluster.wait_device("rest", "d", "Ready").await;
    let bundles = cluster.bundles().await;
    let (freed, waits) = (of(cluster, "rest", "d").await, of(cluster, "rest", "unseen").await);
    assert_eq!((bundles.login(&freed), bundles.login(&waits)), answers("Allow", "ClientIdResting"));
    // The others waits on, whatever else is edited.
    cluster.patch(TENANTS, "rest", "t", &json!({"spec": {"releasedClientIds": null}})).await;
    cluster.settle().await;
    let bundles = cluster.bundles().await;
    assert_eq!((bundles.login(&freed), bundles.login(&waits)), answers("Allow", "ClientIdResting"));
}
