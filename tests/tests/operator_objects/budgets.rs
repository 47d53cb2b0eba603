//! Limits of tenants: which values the API server takes, and what becomes of a tenant that shrinks below what is in force.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use mqtt_access_tests::http::get;
use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, Device, Manifest, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace, policy,
    rule, tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

pub(crate) async fn limits_out_of_bounds_are_refused(cluster: &Cluster) {
    cluster.apply([namespace("bounds"), tenant("bounds", "t")]).await;
    for (field, value) in [("devices", 0), ("policies", -1), ("denyTopics", 200_001), ("maxBcryptCost", 15)] {
        let patch = json!({"spec": {"limits": {field: value}}});
        let path = "/apis/mqttaccess.io/v1alpha1/namespaces/bounds/mqtttenants/t";
        let refused = cluster.send(Method::PATCH, path, &patch).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("spec.limits.{field}")), "{refused}");
    }
    let told = cluster.wait_reason(TENANTS, "bounds", "t", "WithinBudget", "WithinBudget").await;
    assert_eq!(told.generation, 1, "nothing of it was taken: {told:?}");
}

/// Ages are told in seconds, so each object waits for the next.
pub(crate) async fn a_budget_that_shrinks_takes_the_newest_out_and_siblings_go_on(cluster: &Cluster) {
    cluster.apply([namespace("shrink"), tenant("shrink", "t"), tenant("shrink", "sibling")]).await;
    cluster.apply([device("shrink", "t", "z"), allow("shrink", "t", "z-open", &["shrink/t/#"])]).await;
    let siblings = [device("shrink", "sibling", "s"), allow("shrink", "sibling", "sibling", &["shrink/sibling/#"])];
    cluster.apply(siblings).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let subject = json!({"clientIds": [client_id("shrink", "t", "a")]});
    let newer = policy("shrink", "t", "a-quiet", &subject, &[rule("Deny", &["shrink/t/secret"])]);
    cluster.apply([device("shrink", "t", "a"), newer]).await;
    for device in ["z", "a", "s"] {
        cluster.wait_device("shrink", device, "Ready").await;
    }
    cluster.wait_reason(POLICIES, "shrink", "a-quiet", "Compiled", "Compiled").await;
    let (a, z) = (cluster.credentials("shrink", "a").await, cluster.credentials("shrink", "z").await);
    cluster
        .wait_bundles("the newest device to publish", |bundles| {
            (bundles.publish(&a, "shrink/t/x") == "Allow shrink/z-open rules[0]").then_some(())
        })
        .await;
    let before = cluster.bundles().await.versions().remove("shrink.sibling");
    fewer_policies(cluster, &a, &z).await;
    fewer_devices(cluster, &a, &z).await;
    // And a sibling's edit is in force all the while.
    let s = cluster.credentials("shrink", "s").await;
    assert_eq!(cluster.bundles().await.publish(&s, "shrink/sibling/x"), "Allow shrink/sibling rules[0]");
    assert_eq!(cluster.bundles().await.versions().remove("shrink.sibling"), before, "it was published anew");
    cluster.delete(POLICIES, "shrink", "sibling").await;
    cluster
        .wait_bundles("the sibling's edit", |bundles| {
            (bundles.publish(&s, "shrink/sibling/x") == "Deny NotGranted").then_some(())
        })
        .await;
}

async fn limit(cluster: &Cluster, limits: &Value) {
    cluster.patch(TENANTS, "shrink", "t", &json!({"spec": {"limits": limits}})).await;
}

/// The Deny does not fit any more: everything is denied to its device, until there is room again.
async fn fewer_policies(cluster: &Cluster, a: &Device, z: &Device) {
    limit(cluster, &json!({"policies": 1})).await;
    let told = cluster.wait_reason(POLICIES, "shrink", "a-quiet", "Accepted", "OverBudget").await;
    assert!(
        told.message.contains("everything is denied to its subjects: the tenant's `limits.policies` has no room"),
        "{told:?}"
    );
    cluster.wait_reason(POLICIES, "shrink", "a-quiet", "Compiled", "NotAccepted").await;
    let told = cluster.wait_reason(TENANTS, "shrink", "t", "WithinBudget", "OverBudget").await;
    assert!(told.message.contains("limits.policies: 2 of 1, so 1 objects are not in force"), "{told:?}");
    assert_eq!(cluster.condition(TENANTS, "shrink", "t", "Ready").await.unwrap().reason, "Ready");
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.publish(a, "shrink/t/x"), "Deny shrink/a-quiet rules[0]");
    assert_eq!(bundles.publish(z, "shrink/t/x"), "Allow shrink/z-open rules[0]");
    limit(cluster, &json!({"policies": 2})).await;
    cluster.wait_reason(POLICIES, "shrink", "a-quiet", "Accepted", "Accepted").await;
    cluster.wait_reason(TENANTS, "shrink", "t", "WithinBudget", "NearBudget").await;
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.publish(a, "shrink/t/x"), "Allow shrink/z-open rules[0]");
    assert_eq!(bundles.publish(a, "shrink/t/secret"), "Deny shrink/a-quiet rules[0]");
}

/// The newest device is out, and its key is kept for the day it fits again.
async fn fewer_devices(cluster: &Cluster, a: &Device, z: &Device) {
    limit(cluster, &json!({"devices": 1})).await;
    let told = cluster.wait_device("shrink", "a", "OverBudget").await;
    assert!(told.message.contains("`limits.devices` has no room for it"), "{told:?}");
    let bundles = cluster.bundles().await;
    assert_eq!((bundles.login(a), bundles.login(z)), ("UnknownKey".to_owned(), "Allow".to_owned()));
    limit(cluster, &json!({"devices": 2})).await;
    cluster.wait_device("shrink", "a", "Ready").await;
    assert_eq!(cluster.bundles().await.login(a), "Allow");
    // A third one is left over, for the metrics.
    let third = edited(device("shrink", "t", "0-third"), &json!({"metadata": {"labels": {"site": "lab"}}}));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    cluster.apply([third]).await;
    cluster.wait_device("shrink", "0-third", "OverBudget").await;
    assert!(cluster.get(DEVICES, "shrink", "0-third").await.unwrap()["status"]["secretName"].is_null());
    assert!(cluster.secret("shrink", "0-third-mqtt").await.is_none(), "a key was made for a device that does not fit");
}

/// How many policies beyond its limit a tenant has in the cache as a whole.
const SPARE: usize = 256;
const CROWD: usize = 300;

/// Far more large policies than the tenant may have: of most of them the operator keeps no more than an outline, and asks for them
/// when a place becomes free.
pub(crate) async fn a_crowd_of_large_policies_is_kept_in_outline_until_there_is_room(
    cluster: &Cluster,
    admin: SocketAddr,
) {
    let before = outlines(admin).await;
    cluster
        .apply([namespace("crowd"), edited(tenant("crowd", "t"), &json!({"spec": {"limits": {"policies": 4}}}))])
        .await;
    cluster.wait_reason(TENANTS, "crowd", "t", "WithinBudget", "WithinBudget").await;
    cluster.create_all((0..CROWD).map(large), 8).await;
    wait_outlines(admin, before + CROWD - 4 - SPARE).await;
    wait_accepted(cluster, 4).await;
    let told = cluster.wait_reason(TENANTS, "crowd", "t", "WithinBudget", "OverBudget").await;
    assert!(told.message.contains("limits.policies: 300 of 4, so 296 objects are not in force"), "{told:?}");

    let oldest = accepted(cluster, "Accepted").await.remove(0);
    cluster.delete(POLICIES, "crowd", &oldest).await;
    wait_accepted(cluster, 4).await;
    wait_outlines(admin, before + CROWD - 1 - 4 - SPARE).await;

    cluster.patch(TENANTS, "crowd", "t", &json!({"spec": {"limits": {"policies": 12}}})).await;
    wait_accepted(cluster, 12).await;
    wait_outlines(admin, before + CROWD - 1 - 12 - SPARE).await;
    assert_eq!(cluster.bundles().await.tenant("crowd", "t").unwrap().bundle.policies.len(), 12);
    cluster.settle().await;
}

/// A policy of 60 KiB.
fn large(number: usize) -> Manifest {
    let topics = |half: char| -> Vec<String> {
        (0..30).map(|topic| format!("crowd/t/{half}{topic}/{number:03}{}", "x".repeat(990))).collect()
    };
    let rule = |half| json!({"effect": "Allow", "actions": ["Publish"], "topics": topics(half)});
    let subject = json!({"clientIds": [client_id("crowd", "t", "d")]});
    policy("crowd", "t", &format!("p{number:03}"), &subject, &[rule('a'), rule('b')])
}

/// Names of the policies of the crowd with this reason of the condition `Accepted`.
async fn accepted(cluster: &Cluster, reason: &str) -> Vec<String> {
    let all = cluster.read("/apis/mqttaccess.io/v1alpha1/namespaces/crowd/aclpolicies").await.unwrap();
    let is_told = |policy: &&Value| {
        let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Accepted" && condition["reason"] == reason)
    };
    let told = all["items"].as_array().unwrap().iter().filter(is_told);
    told.map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// So many are accepted, and all others are told that they do not fit.
async fn wait_accepted(cluster: &Cluster, expected: usize) {
    wait::until("the policies of the crowd to be told", Duration::from_mins(1), async || {
        let [fit, over] = [accepted(cluster, "Accepted").await.len(), accepted(cluster, "OverBudget").await.len()];
        (fit == expected && fit + over >= CROWD - 1).then_some(())
    })
    .await;
}

async fn outlines(admin: SocketAddr) -> usize {
    let told = get(admin, "/metrics").await.unwrap().body;
    let series = "mqtt_access_operator_cached_objects{kind=\"AclPolicy\",kept=\"outline\"} ";
    told.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).expect("a metric of the caches")
}

async fn wait_outlines(admin: SocketAddr, expected: usize) {
    let start = std::time::Instant::now();
    loop {
        let found = outlines(admin).await;
        if found == expected {
            return;
        }
        assert!(start.elapsed() < SOON, "{found} outlines instead of {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
