//! What people and brokers do with a release, in one namespace: each step waits until the operator has done its part.

use axum::http::Method;
use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, Device, Manifest, POLICIES, SOON, TENANTS, allow, client_id, device, edited, tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

use super::release::{BROKERS, Release, Scope, Team};
use super::service;

/// A tenant, a device of each kind, and a policy with a test that passes.
pub(crate) async fn declare(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let space = json!([{"filter": format!("{ns}/#")}]);
    let spec = json!({"broker": BROKERS[team.own], "accessKeys": keys("first"), "topicSpace": space});
    let brought = edited(device(ns, "t", "brought"), &json!({"spec": {"secretRef": {"name": "own"}}}));
    let login = json!({"spec": {"username": format!("{ns}-person"), "mechanisms": ["Password", "Scram"]}});
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret(ns, "own", &labels, &json!({"accessKeySecret": "first"})).await;
    cluster.apply([edited(tenant(ns, "t"), &json!({"spec": spec})), policy(ns, "Allow")]).await;
    cluster.apply([device(ns, "t", "d"), brought, edited(device(ns, "t", "person"), &login)]).await;
    for name in ["d", "brought", "person"] {
        cluster.wait_device(ns, name, "Ready").await;
    }
    cluster.wait_reason(TENANTS, ns, "t", "Ready", "Ready").await;
    cluster.wait_reason(POLICIES, ns, "all", "TestsPassed", "Passed").await;
    logs_in(release, team.own, &cluster.credentials(ns, "d").await).await;
}

fn keys(trigger: &str) -> Value {
    json!([
        {"name": "backend", "uses": ["Connect", "IssueTokens"], "rotation": {"trigger": trigger}},
        {"name": "registrar", "uses": ["ManageDevices"]},
    ])
}

/// A policy that allows everything, and says what one device should get.
fn policy(ns: &str, expect: &str) -> Manifest {
    let topic = format!("{ns}/t/x");
    let test = json!({"as": {"clientId": client_id(ns, "t", "d")}, "publish": topic, "expect": expect});
    edited(allow(ns, "t", "all", &[&topic]), &json!({"spec": {"tests": [test]}}))
}

/// What no tenant has a place for is read by its name, to be told so.
async fn leave_strays(cluster: &Cluster, Team { name: ns, .. }: Team) {
    cluster.apply([device(ns, "nobody", "stray"), allow(ns, "nobody", "stray", &["stray/#"])]).await;
    cluster.wait_device(ns, "stray", "TenantNotFound").await;
    cluster.wait_reason(POLICIES, ns, "stray", "Accepted", "TenantNotFound").await;
    cluster.delete(DEVICES, ns, "stray").await;
    cluster.delete(POLICIES, ns, "stray").await;
}

pub(crate) async fn use_everything(release: &Release<'_>, team: Team) {
    rotate(release, team).await;
    test_policies(release.cluster, team).await;
    leave_strays(release.cluster, team).await;
    edit_secrets(release, team).await;
    if release.scope.has_acl_files(team.own) {
        damage_acl_files(release, team).await;
    } else {
        leave_an_acl_file(release, team).await;
    }
    service::use_tokens(release, team).await;
    service::register_devices(release, team).await;
    move_to_the_other_broker(release, team).await;
    if release.scope == Scope::Cluster && team.own == 1 {
        be_selected_by_labels(release, team).await;
    }
}

/// Twice: only one key before the present one is accepted. Then its overlap ends early.
async fn rotate(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let mut known = Vec::new();
    for trigger in ["first", "second"] {
        known.push(cluster.credentials(ns, "d").await);
        let rotation = json!({"spec": {"rotation": {"trigger": trigger, "overlap": "1h"}}});
        cluster.patch(DEVICES, ns, "d", &rotation).await;
        wait::until("a trigger to be carried out", SOON, async || {
            let found = cluster.get(DEVICES, ns, "d").await?;
            (found.pointer("/status/rotation/trigger")? == trigger).then_some(())
        })
        .await;
    }
    known.push(cluster.credentials(ns, "d").await);
    assert_ne!(known[1].password, known[2].password);
    for accepted in &known[1..] {
        logs_in(release, team.own, accepted).await;
    }
    told(cluster, ns, "Rotated").await;
    cluster.patch(DEVICES, ns, "d", &json!({"spec": {"rotation": {"overlap": "0s"}}})).await;
    told(cluster, ns, "OverlapEnded").await;
    is_kept_out(release, team.own, &known[1]).await;

    let key = async || Some(cluster.secret(ns, "t-backend-access-key").await?.text("accessKeySecret"));
    let before = key().await;
    cluster.patch(TENANTS, ns, "t", &json!({"spec": {"accessKeys": keys("second")}})).await;
    wait::until("an access key to be rotated", SOON, async || (key().await? != before.clone()?).then_some(())).await;
}

async fn told(cluster: &Cluster, ns: &str, reason: &str) {
    wait::until(&format!("an event {reason}"), SOON, async || {
        let found = cluster.read(&format!("/apis/events.k8s.io/v1/namespaces/{ns}/events")).await?;
        let mut events = found["items"].as_array()?.iter();
        events.any(|event| event["reason"] == reason).then_some(())
    })
    .await;
}

async fn test_policies(cluster: &Cluster, team: Team) {
    let ns = team.name;
    cluster.apply([policy(ns, "Deny")]).await;
    cluster.wait_reason(POLICIES, ns, "all", "TestsPassed", "Failed").await;
    told(cluster, ns, "TestsFailed").await;
    cluster.apply([policy(ns, "Allow")]).await;
    told(cluster, ns, "TestsPassed").await;
}

/// One that its owner brought is edited, one that the operator made is deleted.
async fn edit_secrets(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    cluster.patch_secret(ns, "own", &json!({"stringData": {"accessKeySecret": "second"}})).await;
    cluster
        .wait_bundles_in(&release.bundles(team.own), "the Secret of a user's own to count", |found| {
            (found.tenant(ns, "t")?.device_key("brought")? == "second").then_some(())
        })
        .await;
    let before = cluster.credentials(ns, "d").await;
    let made = async || Some(cluster.secret(ns, "d-mqtt").await?.uid);
    let uid = made().await;
    cluster.delete_secret(ns, "d-mqtt").await;
    wait::until("a deleted Secret to be restored", SOON, async || {
        let now = made().await;
        (now.is_some() && now != uid).then_some(())
    })
    .await;
    assert_eq!(cluster.credentials(ns, "d").await.password, before.password);
}

/// Somebody deletes the file of a tenant, and edits that of the broker.
async fn damage_acl_files(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let bundles = release.bundles(team.own);
    let path = |name: &str| format!("/api/v1/namespaces/{bundles}/configmaps/{name}");
    let (own, all) = (path(&format!("{ns}.t.acl")), path("acl"));
    wait::until("ACL files", SOON, async || cluster.read(&own).await.and(cluster.read(&all).await)).await;
    cluster.send(Method::DELETE, &own, &Value::Null).await.unwrap();
    cluster.send(Method::PATCH, &all, &json!({"data": {"strange": "entry"}})).await.unwrap();
    wait::until("ACL files to be mended", SOON, async || {
        cluster.read(&own).await?;
        cluster.read(&all).await?["data"].get("strange").is_none().then_some(())
    })
    .await;
    let username = cluster.credentials(ns, "d").await.username;
    let passwords = cluster.secret(&bundles, "mosquitto-passwords").await.unwrap();
    assert!(passwords.data.values().any(|text| String::from_utf8_lossy(text).contains(&username)), "{username}");
}

/// As it is there of the time before they were switched off.
async fn leave_an_acl_file(release: &Release<'_>, team: Team) {
    let bundles = release.bundles(team.own);
    let labels = json!({"mqttaccess.io/bundle": "acl"});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": bundles, "name": "acl", "labels": labels}});
    release.cluster.apply([map]).await;
    wait::until("ACL files to go", SOON, async || {
        let found = release.cluster.read(&format!("/api/v1/namespaces/{bundles}/configmaps/acl")).await;
        found.is_none().then_some(())
    })
    .await;
}

/// And back: what the one publishes, the other one takes away.
async fn move_to_the_other_broker(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let known = cluster.credentials(ns, "d").await;
    for (from, to) in [(team.own, 1 - team.own), (1 - team.own, team.own)] {
        cluster.patch(TENANTS, ns, "t", &json!({"spec": {"broker": BROKERS[to]}})).await;
        logs_in(release, to, &known).await;
        is_kept_out(release, from, &known).await;
    }
}

async fn be_selected_by_labels(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let label = async |value: Value| {
        let patch = json!({"metadata": {"labels": {"edge": value}}});
        cluster.send(Method::PATCH, &format!("/api/v1/namespaces/{ns}"), &patch).await.unwrap();
    };
    label(json!(null)).await;
    cluster.wait_reason(TENANTS, ns, "t", "Ready", "NotServed").await;
    is_kept_out(release, team.own, &cluster.credentials(ns, "d").await).await;
    label(json!("admitted")).await;
    cluster.wait_reason(TENANTS, ns, "t", "Ready", "Ready").await;
}

/// Everything goes.
pub(crate) async fn end(release: &Release<'_>, team: Team) {
    let (cluster, ns) = (release.cluster, team.name);
    let known = cluster.credentials(ns, "d").await;
    logs_in(release, team.own, &known).await;
    cluster.delete(DEVICES, ns, "d").await;
    is_kept_out(release, team.own, &known).await;
    cluster.delete(POLICIES, ns, "all").await;
    cluster.delete(TENANTS, ns, "t").await;
    let bundles = release.bundles(team.own);
    wait::until("nothing to be left of a tenant", SOON, async || {
        let of_tenant = |name: &String| name.starts_with(&format!("{ns}.t"));
        let secrets = cluster.secrets(&bundles).await;
        let map = cluster.read(&format!("/api/v1/namespaces/{bundles}/configmaps/{ns}.t.acl")).await;
        (!secrets.keys().any(of_tenant) && map.is_none()).then_some(())
    })
    .await;
    cluster.wait_device(ns, "brought", "TenantNotFound").await;
}

async fn logs_in(release: &Release<'_>, broker: usize, Device { client_id, username, password }: &Device) {
    wait::until("a device to be let in", SOON, async || {
        release.lets_in(broker, client_id, username, password).await.then_some(())
    })
    .await;
}

async fn is_kept_out(release: &Release<'_>, broker: usize, Device { client_id, username, password }: &Device) {
    wait::until("a device to be kept out", SOON, async || {
        (!release.lets_in(broker, client_id, username, password).await).then_some(())
    })
    .await;
}
