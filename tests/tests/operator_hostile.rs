//! A team that turns against its platform: nothing it may write keeps a revocation from taking effect, or an old key alive.

use std::collections::BTreeMap;

use mqtt_access_tests::operator_fixture::{
    Bundles, Cluster, DEVICES, Device, TENANTS, allow, client_id, device, edited, namespace, policy, rule, tenant,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_team_keeps_nothing_that_was_taken_away() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator().await;
    an_immutable_secret_does_not_hold_a_suspension_up(&cluster).await;
    a_huge_device_does_not_hold_a_suspension_up(&cluster).await;
    a_reference_that_is_taken_away_takes_its_key_along(&cluster).await;
    subjects_that_cost_too_much_narrow(&cluster).await;
    assert!(operator.ended().is_none());
}

async fn with_device(cluster: &Cluster, name: &str) {
    let own = format!("{name}/t/${{clientid}}/#");
    cluster.apply([namespace(name), tenant(name, "t"), device(name, "t", "d"), allow(name, "t", "own", &[&own])]).await;
    cluster.wait_device(name, "d", "Ready").await;
}

async fn suspend(cluster: &Cluster, name: &str) {
    cluster.patch(TENANTS, name, "t", &json!({"spec": {"suspended": true}})).await;
    let suspended =
        |found: &Bundles| found.tenant(name, "t").is_some_and(|found| found.bundle.tenant.suspended).then_some(());
    cluster.wait_bundles("the suspension to be published", suspended).await;
}

async fn an_immutable_secret_does_not_hold_a_suspension_up(cluster: &Cluster) {
    with_device(cluster, "immutable").await;
    cluster
        .patch_secret("immutable", "d-mqtt", &json!({"immutable": true, "stringData": {"accessKeySecret": "mine"}}))
        .await;
    cluster
        .wait_bundles("the edited key", |found| {
            (found.tenant("immutable", "t")?.device_key("d")? == "mine").then_some(())
        })
        .await;
    suspend(cluster, "immutable").await;
}

async fn a_huge_device_does_not_hold_a_suspension_up(cluster: &Cluster) {
    with_device(cluster, "huge").await;
    let labels: BTreeMap<String, String> = (0..9000).map(|number| (format!("k{number:05}"), "v".repeat(63))).collect();
    let huge = edited(device("huge", "t", "d"), &json!({"metadata": {"name": "huge", "labels": labels}}));
    let huge = edited(huge, &json!({"spec": {"clientId": client_id("huge", "t", "huge")}}));
    cluster.create_all([huge], 1).await;
    let told = cluster.wait_device("huge", "huge", "Invalid").await;
    assert!(told.message.contains("labels"), "{}", told.message);
    let reserved = |found: &Bundles| {
        let devices = &found.tenant("huge", "t")?.bundle.devices;
        devices.iter().find(|device| device.name == "huge").map(|device| (device.disabled, device.labels.len()))
    };
    assert_eq!(cluster.wait_bundles("its client ID to be reserved", reserved).await, (true, 0));
    suspend(cluster, "huge").await;
}

async fn a_reference_that_is_taken_away_takes_its_key_along(cluster: &Cluster) {
    cluster.apply([namespace("leak"), tenant("leak", "t")]).await;
    let label = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("leak", "leaked", &label, &json!({"accessKeySecret": "LEAKED-KEY"})).await;
    cluster.apply([edited(device("leak", "t", "d"), &json!({"spec": {"secretRef": {"name": "leaked"}}}))]).await;
    cluster.wait_device("leak", "d", "Ready").await;
    cluster.patch(DEVICES, "leak", "d", &json!({"spec": {"secretRef": null}})).await;
    let key = cluster
        .wait_bundles("a key of its own", |found| {
            found.tenant("leak", "t")?.device_key("d").filter(|key| !key.is_empty() && key != "LEAKED-KEY")
        })
        .await;
    assert_eq!(cluster.credentials("leak", "d").await.client_id, client_id("leak", "t", "d"));
    assert_eq!(key.len(), 43);
}

async fn subjects_that_cost_too_much_narrow(cluster: &Cluster) {
    with_device(cluster, "costly").await;
    let publishes = |found: &Bundles, who: &Device| found.publish(who, &format!("costly/t/{}/up", who.client_id));
    let credentials = cluster.credentials("costly", "d").await;
    let selector = |number: usize| {
        let values: Vec<String> = (0..32).map(|value| format!("{number:02}{value:02}{}", "v".repeat(59))).collect();
        let expressions: Vec<Value> =
            (0..16).map(|key| json!({"key": format!("k{key}"), "operator": "NotIn", "values": values})).collect();
        json!({"deviceSelector": {"matchExpressions": expressions}})
    };
    let subjects: Vec<Value> = (0..16).map(selector).collect();
    let big = policy("costly", "t", "big", &json!({"everyone": true}), &[rule("Deny", &["costly/t/secret"])]);
    cluster.create_all([edited(big, &json!({"spec": {"subjects": subjects}}))], 1).await;
    let told = cluster.wait_reason("aclpolicies", "costly", "big", "Accepted", "Invalid").await;
    assert!(told.message.contains("everything is denied"), "{}", told.message);
    cluster
        .wait_bundles("everything to be denied", |found| {
            (publishes(found, &credentials) == "Deny costly/big rules[0]").then_some(())
        })
        .await;
    cluster.delete("aclpolicies", "costly", "big").await;
    cluster
        .wait_bundles("the grant to be back", |found| {
            (publishes(found, &credentials) == "Allow costly/own rules[0]").then_some(())
        })
        .await;
}
