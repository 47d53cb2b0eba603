//! Whatever moves or goes away leaves no grant behind: the same edits while the operator is down and while it is up.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use mqtt_access_tests::operator_fixture::{
    BUNDLES, Bundles, Cluster, DEVICES, Device, Manifest, POLICIES, SOON, TENANTS, allow, client_id, device, edited,
    namespace, policy, rule, tenant,
};
use mqtt_access_tests::{Program, wait};
use serde_json::json;
use tempfile::TempDir;

const EDGE: &str = "mqtt-access-edge-bundles";

/// Tenants of `edge` have to live in a namespace that says so, which takes a right that the default broker does not need.
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: mqtt-access-operator-namespaces}
rules: [{apiGroups: [''], resources: [namespaces], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mqtt-access-operator-namespaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: mqtt-access-operator-namespaces}
subjects: [{kind: ServiceAccount, namespace: mqtt-access, name: operator}]
---
apiVersion: v1
kind: Namespace
metadata: {name: mqtt-access-edge-bundles}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: mqtt-access-edge-bundles, name: mqtt-access-operator}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [delete]}
- {apiGroups: [''], resources: [configmaps], verbs: [list, watch, create, update, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: mqtt-access-edge-bundles, name: mqtt-access-operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: mqtt-access-operator}
subjects: [{kind: ServiceAccount, namespace: mqtt-access, name: operator}]
";

const CONFIG: &str = "
brokers:
- name: default
  bundleNamespace: mqtt-access-mqtt-access-bundles
  tenantNamespaceSelector: {}
- name: edge
  bundleNamespace: mqtt-access-edge-bundles
  tenantNamespaceSelector: {matchLabels: {edge: admitted}}
";

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn no_old_grant_survives_a_move_or_a_deletion() {
    let cluster = Cluster::start().await;
    cluster.plane.apply(RIGHTS).await.unwrap();
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let start = async || -> Program { cluster.operator_with(&["run", "--config", config.to_str().unwrap()]).await };

    let operator = start().await;
    let down = before_the_edits(&cluster, "down").await;
    cluster.settle().await;
    operator.terminate(SOON).await;
    edit(&cluster, "down").await;
    let _operator = start().await;
    after_the_edits(&cluster, "down", &down).await;

    let up = before_the_edits(&cluster, "up").await;
    edit(&cluster, "up").await;
    after_the_edits(&cluster, "up", &up).await;

    a_namespace_that_is_no_longer_admitted_loses_its_tenants(&cluster).await;
}

/// Devices as they know themselves, with the keys that they had before the edits.
struct Fleet {
    stays: Device,
    moves: Device,
    follows: Device,
    goes: Device,
    relabelled: Device,
    orphaned: Device,
    roams: Device,
}

/// Tenant `a` owns one prefix more, which it will hand over to `b` together with a device.
fn tenant_a(ns: &str) -> Manifest {
    let prefixes = json!([client_id(ns, "a", ""), handed_over(ns, "")]);
    edited(tenant(ns, "a"), &json!({"spec": {"clientIdPrefixes": prefixes}}))
}

fn handed_over(ns: &str, name: &str) -> String {
    format!("GID_{ns}_handed-over@@@{name}")
}

fn labelled(ns: &str, name: &str, fleet: &str) -> Manifest {
    edited(device(ns, "a", name), &json!({"metadata": {"labels": {"fleet": fleet}}}))
}

fn objects(ns: &str) -> Vec<Manifest> {
    let [a, b] = ["a", "b"].map(|tenant| format!("{ns}/{tenant}"));
    let [a_topic, b_topic] = [&a, &b].map(|space| format!("{space}/moved"));
    let trucks = json!({"deviceSelector": {"matchLabels": {"fleet": "trucks"}}});
    vec![
        edited(namespace(ns), &json!({"metadata": {"labels": {"edge": "admitted"}}})),
        tenant_a(ns),
        tenant(ns, "b"),
        tenant(ns, "doomed"),
        tenant(ns, "roaming"),
        device(ns, "a", "stays"),
        device(ns, "a", "moves"),
        edited(device(ns, "a", "follows"), &json!({"spec": {"clientId": handed_over(ns, "follows")}})),
        device(ns, "a", "goes"),
        labelled(ns, "relabelled", "trucks"),
        device(ns, "doomed", "orphaned"),
        device(ns, "roaming", "roams"),
        allow(ns, "a", "moving", &[&a_topic, &b_topic]),
        allow(ns, "a", "deleted", &[&format!("{a}/deleted")]),
        policy(ns, "a", "fleet", &trucks, &[rule("Allow", &[&format!("{a}/fleet/#")])]),
        allow(ns, "a", "kept", &[&format!("{a}/kept")]),
        allow(ns, "b", "kept-b", &[&format!("{b}/kept")]),
        allow(ns, "doomed", "doomed", &[&format!("{ns}/doomed/#")]),
        allow(ns, "roaming", "roaming", &[&format!("{ns}/roaming/#")]),
    ]
}

async fn before_the_edits(cluster: &Cluster, ns: &str) -> Fleet {
    cluster.apply(objects(ns)).await;
    for device in ["stays", "moves", "follows", "goes", "relabelled", "orphaned", "roams"] {
        cluster.wait_device(ns, device, "Ready").await;
    }
    let known = async |name| cluster.credentials(ns, name).await;
    let fleet = Fleet {
        stays: known("stays").await,
        moves: known("moves").await,
        follows: known("follows").await,
        goes: known("goes").await,
        relabelled: known("relabelled").await,
        orphaned: known("orphaned").await,
        roams: known("roams").await,
    };
    let granted = [
        (&fleet.stays, "a/moved", "moving"),
        (&fleet.stays, "a/deleted", "deleted"),
        (&fleet.moves, "a/kept", "kept"),
        (&fleet.follows, "a/kept", "kept"),
        (&fleet.goes, "a/kept", "kept"),
        (&fleet.relabelled, "a/fleet/x", "fleet"),
        (&fleet.orphaned, "doomed/x", "doomed"),
        (&fleet.roams, "roaming/x", "roaming"),
    ];
    for (device, topic, by) in granted {
        wait_verdict(cluster, BUNDLES, device, &format!("{ns}/{topic}"), &format!("Allow {ns}/{by} rules[0]")).await;
    }
    fleet
}

async fn edit(cluster: &Cluster, ns: &str) {
    let to_b = json!({"spec": {"tenantRef": {"name": "b"}}});
    cluster.patch(DEVICES, ns, "moves", &to_b).await;
    cluster.patch(DEVICES, ns, "follows", &to_b).await;
    // First claimed, then given up: `b` gets it once `a` has let it go.
    let both = json!([client_id(ns, "b", ""), handed_over(ns, "")]);
    cluster.patch(TENANTS, ns, "b", &json!({"spec": {"clientIdPrefixes": both}})).await;
    cluster.patch(TENANTS, ns, "a", &json!({"spec": {"clientIdPrefixes": [client_id(ns, "a", "")]}})).await;
    cluster.patch(POLICIES, ns, "moving", &to_b).await;
    cluster.patch(DEVICES, ns, "relabelled", &json!({"metadata": {"labels": {"fleet": "cars"}}})).await;
    cluster.patch(TENANTS, ns, "roaming", &json!({"spec": {"broker": "edge"}})).await;
    cluster.delete(POLICIES, ns, "deleted").await;
    cluster.delete(DEVICES, ns, "goes").await;
    cluster.delete(TENANTS, ns, "doomed").await;
}

async fn after_the_edits(cluster: &Cluster, ns: &str, fleet: &Fleet) {
    let ruled = |verdict: &str, policy: &str| format!("{verdict} {ns}/{policy} rules[0]");
    let refused = "Deny NotGranted".to_owned();
    let login = |reason: &str| format!("login: {reason}");
    let expected = [
        (&fleet.stays, "a/kept", ruled("Allow", "kept")),
        (&fleet.stays, "a/moved", refused.clone()),
        (&fleet.stays, "a/deleted", refused.clone()),
        (&fleet.relabelled, "a/fleet/x", refused.clone()),
        (&fleet.relabelled, "a/kept", ruled("Allow", "kept")),
        (&fleet.moves, "a/kept", login("UnknownKey")),
        (&fleet.follows, "a/kept", login("UnknownKey")),
        (&fleet.goes, "a/kept", login("UnknownKey")),
        (&fleet.orphaned, "doomed/x", login("UnknownInstance")),
        (&fleet.roams, "roaming/x", login("UnknownInstance")),
    ];
    for (device, topic, verdict) in expected {
        wait_verdict(cluster, BUNDLES, device, &format!("{ns}/{topic}"), &verdict).await;
    }
    wait_verdict(cluster, EDGE, &fleet.roams, &format!("{ns}/roaming/x"), &ruled("Allow", "roaming")).await;
    wait_verdict(cluster, EDGE, &fleet.stays, &format!("{ns}/a/kept"), &login("UnknownInstance")).await;
    the_new_tenant_has_what_it_owns(cluster, ns, fleet).await;
    everybody_is_told(cluster, ns).await;
    nothing_is_left_of_what_is_gone(cluster, ns).await;
}

async fn the_new_tenant_has_what_it_owns(cluster: &Cluster, ns: &str, fleet: &Fleet) {
    // Under the new tenant its username is another one, and its key the same.
    let follows = Device { username: follower(cluster, ns).await, ..fleet.follows.clone() };
    assert_ne!(follows.username, fleet.follows.username);
    for (topic, by) in [("b/kept", "kept-b"), ("b/moved", "moving")] {
        let verdict = format!("Allow {ns}/{by} rules[0]");
        wait_verdict(cluster, BUNDLES, &follows, &format!("{ns}/{topic}"), &verdict).await;
    }
    wait_verdict(cluster, BUNDLES, &follows, &format!("{ns}/a/moved"), "Deny NotGranted").await;
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.tenant(ns, "b").unwrap().device_key("moves"), None, "its client ID is not one of b");
}

/// The username that the Secret of `follows` has come to hold.
async fn follower(cluster: &Cluster, ns: &str) -> String {
    cluster.wait_device(ns, "follows", "Ready").await;
    let renamed = async || {
        let device = cluster.credentials(ns, "follows").await;
        device.username.ends_with(&format!("mqtt-{ns}-b")).then_some(device.username)
    };
    wait::until("the Secret to follow its device", SOON, renamed).await
}

async fn everybody_is_told(cluster: &Cluster, ns: &str) {
    cluster.wait_device(ns, "moves", "ClientIdOutsidePrefix").await;
    cluster.wait_device(ns, "orphaned", "TenantNotFound").await;
    cluster.wait_device(ns, "roams", "Ready").await;
    cluster.wait_reason(POLICIES, ns, "doomed", "Accepted", "TenantNotFound").await;
    cluster.wait_reason(POLICIES, ns, "doomed", "Compiled", "NotAccepted").await;
    // `a` no longer covers what b's topic needs, and the other way round.
    cluster.wait_reason(POLICIES, ns, "moving", "Compiled", "Findings").await;
    for tenant in ["a", "b", "roaming"] {
        cluster.wait_reason(TENANTS, ns, tenant, "Ready", "Ready").await;
    }
}

async fn nothing_is_left_of_what_is_gone(cluster: &Cluster, ns: &str) {
    for tenant in ["doomed", "roaming"] {
        let left =
            cluster.secrets(BUNDLES).await.into_keys().filter(|name| name.starts_with(&format!("{ns}.{tenant}")));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    }
    let gone = async || cluster.secret(ns, "goes-mqtt").await.is_none().then_some(());
    wait::until("the Secret of a deleted device to be collected", SOON, gone).await;
}

async fn a_namespace_that_is_no_longer_admitted_loses_its_tenants(cluster: &Cluster) {
    let namespace = "/api/v1/namespaces/up";
    let label = |value: serde_json::Value| json!({"metadata": {"labels": {"edge": value}}});
    let send = async |patch| cluster.send(axum::http::Method::PATCH, namespace, &patch).await.unwrap();
    send(label(json!(null))).await;
    cluster.wait_reason(TENANTS, "up", "roaming", "Ready", "NotServed").await;
    let isolated = cluster.wait_reason(TENANTS, "up", "roaming", "Isolated", "NotServed").await;
    assert_eq!(isolated.status, "Unknown");
    cluster.wait_device("up", "roams", "TenantNotReady").await;
    assert_eq!(cluster.bundles_in(EDGE).await.names(), ["down.roaming"]);
    cluster.wait_reason(TENANTS, "up", "a", "Ready", "Ready").await;
    send(label(json!("admitted"))).await;
    cluster.wait_device("up", "roams", "Ready").await;
    assert_eq!(cluster.bundles_in(EDGE).await.names(), ["down.roaming", "up.roaming"]);
}

async fn wait_verdict(cluster: &Cluster, bundles: &str, device: &Device, topic: &str, expected: &str) {
    let what = format!("{} publishing to {topic}: {expected}", device.client_id);
    let told = |bundles: &Bundles| (bundles.publish(device, topic) == expected).then_some(());
    cluster.wait_bundles_in(bundles, &what, told).await;
}
