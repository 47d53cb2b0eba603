//! Two releases in one cluster, with brokers of the same name for different namespaces, and tenants of a broker that neither knows.

use std::time::Duration;

use mqtt_access_tests::operator_fixture::{
    BUNDLES, Cluster, DEVICES, SOON, TENANTS, Told, device, edited, namespace, tenant,
};
use serde_json::{Value, json};

use crate::operator_replicas::replica::{Replica, object, role_ref, subject, user, writes_by};
use crate::operator_replicas::scope::SCOPED_BUNDLES;

/// Longer than the operator that does not serve a tenant leaves the word to another.
const WHILE: Duration = Duration::from_secs(7);

fn rights() -> Vec<Value> {
    let rules = json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}]);
    let subjects = json!([subject("one"), subject("two")]);
    let bundles = json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "create", "update", "delete"]},
    ]);
    let binding = |kind: &str| json!({"roleRef": role_ref(kind, "releases"), "subjects": subjects});
    vec![
        object("ClusterRole", "", "releases", &json!({"rules": rules})),
        object("ClusterRoleBinding", "", "releases", &binding("ClusterRole")),
        object("Role", SCOPED_BUNDLES, "releases", &json!({"rules": bundles})),
        object("RoleBinding", SCOPED_BUNDLES, "releases", &binding("Role")),
    ]
}

fn config(bundles: &str, team: &str) -> Value {
    let selector = json!({"matchLabels": {"team": team}});
    json!({"brokers": [{"name": "default", "bundleNamespace": bundles, "tenantNamespaceSelector": selector}]})
}

pub(crate) async fn two_releases_do_not_contradict_each_other(cluster: &Cluster) {
    cluster.apply(rights()).await;
    for team in ["red", "blue"] {
        let labelled = edited(namespace(team), &json!({"metadata": {"labels": {"team": team}}}));
        let nowhere = edited(tenant(team, "nowhere"), &json!({"spec": {"broker": "nobodys"}}));
        cluster
            .apply([labelled, tenant(team, "t"), device(team, "t", "d"), device(team, "ghost", "orphan"), nowhere])
            .await;
    }
    let red = Replica::start(cluster, "one", &config(BUNDLES, "red")).await;
    let blue = Replica::start(cluster, "two", &config(SCOPED_BUNDLES, "blue")).await;
    for team in ["red", "blue"] {
        cluster.wait_device(team, "d", "Ready").await;
        cluster.wait_device(team, "orphan", "TenantNotFound").await;
        cluster.wait_reason(TENANTS, team, "nowhere", "Ready", "NotServed").await;
    }
    let since = ready_since(cluster).await;
    let mark = cluster.plane.audit_mark().await;
    for round in 0..5 {
        for team in ["red", "blue"] {
            let edit = json!({"spec": {"clientAttributes": {"round": round.to_string()}}});
            cluster.patch(TENANTS, team, "t", &edit).await;
            cluster.wait_reason(TENANTS, team, "t", "Ready", "Ready").await;
        }
    }
    tokio::time::sleep(WHILE).await;
    let events = cluster.plane.audit_since(mark).await;
    for (account, other) in [("one", "blue"), ("two", "red")] {
        let meddling: Vec<_> =
            writes_by(&events, account).into_iter().filter(|event| event.namespace == other).collect();
        assert!(meddling.is_empty(), "{meddling:#?}");
    }
    assert_eq!(ready_since(cluster).await, since, "a condition went to and fro");
    let mark = cluster.plane.audit_mark().await;
    tokio::time::sleep(WHILE).await;
    let events = cluster.plane.audit_since(mark).await;
    let ours = [user("one"), user("two")];
    let writes: Vec<_> = events.iter().filter(|event| ours.contains(&event.user) && event.is_write()).collect();
    assert!(writes.is_empty(), "they go on writing: {writes:#?}");
    a_namespace_that_changes_hands_is_served_by_the_other(cluster).await;
    assert!(red.program.terminate(SOON).await.success());
    assert!(blue.program.terminate(SOON).await.success());
}

async fn a_namespace_that_changes_hands_is_served_by_the_other(cluster: &Cluster) {
    let label = json!({"metadata": {"labels": {"team": "blue"}}});
    cluster.send(axum::http::Method::PATCH, "/api/v1/namespaces/red", &label).await.unwrap();
    cluster
        .wait_bundles_in(SCOPED_BUNDLES, "the tenant to be published by the other", |found| {
            found.tenant("red", "t").map(drop)
        })
        .await;
    cluster
        .wait_bundles_in(BUNDLES, "and no longer by the first", |found| {
            found.tenant("red", "t").is_none().then_some(())
        })
        .await;
    cluster.wait_reason(TENANTS, "red", "t", "Ready", "Ready").await;
    cluster.wait_device("red", "d", "Ready").await;
    let mark = cluster.plane.audit_mark().await;
    tokio::time::sleep(WHILE).await;
    let events = cluster.plane.audit_since(mark).await;
    let late = [writes_by(&events, "one"), writes_by(&events, "two")].concat();
    assert!(late.iter().filter(|event| event.namespace == "red").count() <= 4, "{late:#?}");
    let told: Option<Told> = cluster.condition(DEVICES, "red", "d", "Ready").await;
    assert_eq!(told.map(|told| told.reason).as_deref(), Some("Ready"));
}

/// When the tenants became ready, for the API server's clock.
async fn ready_since(cluster: &Cluster) -> Vec<Value> {
    let mut since = Vec::new();
    for team in ["red", "blue"] {
        let found = cluster.get(TENANTS, team, "t").await.unwrap();
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array).unwrap();
        since.extend(conditions.iter().map(|condition| condition.get("lastTransitionTime").cloned().unwrap()));
    }
    since
}
