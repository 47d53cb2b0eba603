//! Silence where nothing has changed, and patience while anything is still unknown.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::path::Path;
use std::time::Duration;

use axum::http::{Method, Uri};
use futures::future::join_all;
use mqtt_access_tests::control_plane::AuditEvent;
use mqtt_access_tests::operator_fixture::{
    BUNDLES, COMPLETE, Cluster, DEVICES, POLICIES, SOON, device, edited, namespace, tenant,
};
use mqtt_access_tests::{Program, StallingProxy, wait};
use serde_json::json;

const STALL: Duration = Duration::from_secs(10);

/// Every list that the operator begins with: part of the path, part of the query.
const LISTS: [(&str, &str); 8] = [
    ("/mqtttenants", ""),
    ("/devicecredentials", ""),
    ("/aclpolicies", ""),
    ("/api/v1/secrets", "mqttaccess.io%2Fgenerated"),
    ("/api/v1/secrets", "mqttaccess.io%2Fcredential"),
    (BUNDLES, "bundle%3Dindex"),
    (BUNDLES, "bundle%3Dticket-key"),
    (BUNDLES, "bundle%3Dshard"),
];

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_writes_only_what_differs_and_only_when_it_knows_everything() {
    let cluster = Cluster::start().await;
    apply_examples(&cluster).await;
    cluster.apply([namespace("own"), tenant("own", "t"), brought_along()]).await;
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("own", "factory", &labels, &json!({"accessKeySecret": "from the factory"})).await;
    let operator = cluster.operator().await;
    everything_is_settled(&cluster).await;
    an_identical_apply_causes_no_write(&cluster).await;
    operator.terminate(SOON).await;
    a_restart_writes_nothing(&cluster).await;
    nothing_happens_while_any_list_is_incomplete(&cluster).await;
}

async fn apply_examples(cluster: &Cluster) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    cluster.plane.kubectl(&["apply", "-f", examples.to_str().unwrap()]).await.unwrap();
}

fn brought_along() -> serde_json::Value {
    edited(device("own", "t", "brought"), &json!({"spec": {"secretRef": {"name": "factory"}}}))
}

async fn everything_is_settled(cluster: &Cluster) {
    for (namespace, device, reason) in [
        ("acme", "dev1", "Ready"),
        ("acme", "dev3", "Disabled"),
        ("globex", "meter1", "Ready"),
        ("own", "brought", "Ready"),
    ] {
        cluster.wait_device(namespace, device, reason).await;
    }
    let counted = async || {
        let policies = cluster.all(POLICIES).await;
        policies.iter().all(|policy| policy.pointer("/status/matchedDevices").is_some()).then_some(())
    };
    wait::until("the devices of every policy to be counted", Duration::from_mins(1), counted).await;
    cluster.settle().await;
}

async fn an_identical_apply_causes_no_write(cluster: &Cluster) {
    let mark = cluster.plane.audit_mark().await;
    apply_examples(cluster).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.writes_since(mark).await, []);
}

async fn a_restart_writes_nothing(cluster: &Cluster) {
    let mark = cluster.plane.audit_mark().await;
    let operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(cluster.writes_since(mark).await, []);
    assert!(operator.terminate(SOON).await.success());
}

/// Eight operators at once, each of which has to wait for another list, and a device that waits for a key.
async fn nothing_happens_while_any_list_is_incomplete(cluster: &Cluster) {
    cluster.apply([device("own", "t", "late")]).await;
    let (acme, own, versions) =
        (cluster.secrets("acme").await, cluster.secrets("own").await, cluster.bundles().await.versions());
    let before = cluster.bundles().await;
    let mark = cluster.plane.audit_mark().await;
    let stalled: Vec<(StallingProxy, Program)> = join_all(LISTS.map(|list| stalled(cluster, list))).await;
    tokio::time::sleep(STALL.mul_f32(0.85)).await;
    for ((_, operator), list) in stalled.iter().zip(LISTS) {
        assert!(!operator.stderr().contains(COMPLETE), "it did not wait for {list:?}");
    }
    assert_eq!(cluster.writes_since(mark).await, []);
    for ((proxy, operator), list) in stalled.iter().zip(LISTS) {
        operator.wait_for_line(COMPLETE, SOON).await;
        assert_eq!(proxy.seen().iter().filter(|(method, uri)| is_list(method, uri, list)).count(), 1, "{list:?}");
    }
    cluster.wait_device("own", "late", "Ready").await;
    cluster.settle().await;
    let after = cluster.bundles().await;
    for tenant in ["acme.acme", "globex.globex"] {
        assert_eq!(after.versions().get(tenant), versions.get(tenant), "{tenant} was published anew");
    }
    assert_eq!(cluster.secrets("acme").await, acme);
    let mut secrets = cluster.secrets("own").await;
    let late = secrets.remove("late-mqtt").unwrap();
    assert_eq!(secrets, own);
    let mut keys = after.tenant("own", "t").unwrap().device_keys();
    assert_eq!(keys.remove("late"), Some(late.text("accessKeySecret")));
    assert_eq!(keys, before.tenant("own", "t").unwrap().device_keys());
    no_key_was_made_twice(&cluster.writes_since(mark).await);
    assert_eq!(cluster.condition(DEVICES, "own", "brought", "Ready").await.unwrap().reason, "Ready");
}

fn no_key_was_made_twice(writes: &[AuditEvent]) {
    let keys = writes.iter().filter(|write| write.resource == "secrets" && write.namespace != BUNDLES);
    let keys: Vec<_> = keys.map(|write| (write.verb.as_str(), write.namespace.as_str(), write.code)).collect();
    assert!(keys.iter().all(|(verb, namespace, _)| *verb == "create" && *namespace == "own"), "{keys:?}");
    assert_eq!(keys.iter().filter(|(_, _, code)| *code == 201).count(), 1, "{keys:?}");
}

async fn stalled(cluster: &Cluster, list: (&'static str, &'static str)) -> (StallingProxy, Program) {
    let delay = move |method: &Method, uri: &Uri| if is_list(method, uri, list) { STALL } else { Duration::ZERO };
    let proxy = StallingProxy::start(&cluster.plane, delay).await;
    let operator = cluster.operator_behind(&proxy);
    (proxy, operator)
}

fn is_list(method: &Method, uri: &Uri, (path, query): (&str, &str)) -> bool {
    let asked = uri.query().unwrap_or_default();
    let all = path.starts_with("/api/v1/").then_some(path);
    method == Method::GET
        && !asked.contains("watch=")
        && all.map_or_else(|| uri.path().contains(path), |all| uri.path() == all)
        && asked.contains(query)
}
