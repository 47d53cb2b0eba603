//! Who owns what, who has to wait, and who comes next.

use mqtt_access_tests::operator_fixture::{Cluster, Manifest, TENANTS, allow, device, edited, namespace, tenant};
use serde_json::{Value, json};

fn claiming(namespace: &str, name: &str, claims: &Value) -> Manifest {
    edited(tenant(namespace, name), &json!({ "spec": claims }))
}

/// The message has an example of what is held, and says nothing of who holds it.
async fn wait_conflict(cluster: &Cluster, namespace: &str, name: &str, witness: &str, winner: &str) {
    let told = cluster.wait_reason(TENANTS, namespace, name, "Isolated", "ClaimConflict").await;
    assert!(told.message.contains(witness) && !told.message.contains(winner), "{told:?}");
    assert_eq!(told.status, "False");
    cluster.wait_reason(TENANTS, namespace, name, "Ready", "ClaimConflict").await;
}

pub(crate) async fn an_instance_id_has_one_owner(cluster: &Cluster) {
    let id = json!({"instanceId": "mqtt-precious"});
    cluster
        .apply([
            namespace("winners"),
            namespace("losers"),
            claiming("winners", "best", &id),
            device("winners", "best", "d"),
        ])
        .await;
    cluster.wait_device("winners", "d", "Ready").await;
    cluster.apply([claiming("losers", "t", &id), device("losers", "t", "d")]).await;
    wait_conflict(cluster, "losers", "t", "`mqtt-precious`", "winners").await;
    cluster.wait_device("losers", "d", "TenantNotReady").await;
    let bundles = cluster.bundles().await;
    assert!(bundles.tenant("losers", "t").is_none() && bundles.tenant("winners", "best").is_some());
    cluster.wait_reason(TENANTS, "winners", "best", "Isolated", "NoConflict").await;
    cluster.delete(TENANTS, "winners", "best").await;
    cluster.wait_device("losers", "d", "Ready").await;
    cluster.wait_reason(TENANTS, "losers", "t", "Isolated", "NoConflict").await;
    let bundles = cluster.bundles().await;
    assert!(bundles.tenant("winners", "best").is_none() && bundles.tenant("losers", "t").is_some());
}

/// The older tenant comes to want what the younger one has published. It keeps what it had until the other lets go.
pub(crate) async fn an_incumbent_keeps_its_prefix_and_an_older_tenant_waits_for_it(cluster: &Cluster) {
    let prefixes = |prefixes: &[&str]| json!({"spec": {"clientIdPrefixes": prefixes}});
    cluster
        .apply([namespace("old"), namespace("young"), claiming("old", "t", &json!({"clientIdPrefixes": ["old-"]}))])
        .await;
    cluster.wait_reason(TENANTS, "old", "t", "Ready", "Ready").await;
    let younger = claiming("young", "t", &json!({"clientIdPrefixes": ["young-", "disputed-thing-"]}));
    let with_id = |name: &str, id: &str| edited(device("old", "t", name), &json!({"spec": {"clientId": id}}));
    cluster.apply([younger, with_id("a", "old-a"), with_id("b", "disputed-b")]).await;
    cluster.wait_reason(TENANTS, "young", "t", "Ready", "Ready").await;
    cluster.patch(TENANTS, "old", "t", &prefixes(&["old-", "disputed-"])).await;
    wait_conflict(cluster, "old", "t", "`disputed-thing-`", "young").await;
    cluster.wait_reason(TENANTS, "young", "t", "Isolated", "NoConflict").await;
    cluster.wait_device("old", "b", "ClientIdOutsidePrefix").await;
    // What it had goes on, with the devices of now.
    cluster.apply([with_id("c", "old-c")]).await;
    cluster.wait_device("old", "c", "Ready").await;
    let login = async |device: &str| cluster.bundles().await.login(&cluster.credentials("old", device).await);
    assert_eq!((login("a").await, login("c").await), ("Allow".to_owned(), "Allow".to_owned()));
    // An edit of the other one, and of nothing else.
    cluster.patch(TENANTS, "young", "t", &prefixes(&["young-"])).await;
    cluster.wait_device("old", "b", "Ready").await;
    cluster.wait_reason(TENANTS, "old", "t", "Isolated", "NoConflict").await;
    assert_eq!(login("b").await, "Allow");
    let everything = prefixes(&[]);
    cluster.patch(TENANTS, "young", "t", &everything).await;
    cluster.wait_reason(TENANTS, "young", "t", "Isolated", "PrefixRequired").await;
}

pub(crate) async fn topics_are_shared_by_mutual_consent(cluster: &Cluster) {
    let space = |filter: &str, with: &[&str]| json!({"topicSpace": [{"filter": filter, "sharedWith": with}]});
    cluster.apply([namespace("hosts"), namespace("guests"), claiming("hosts", "t", &space("plaza/+/news", &[]))]).await;
    cluster.wait_reason(TENANTS, "hosts", "t", "Ready", "Ready").await;
    let guest = claiming("guests", "t", &space("plaza/north/#", &["mqtt-hosts-t"]));
    cluster.apply([guest, device("guests", "t", "d"), allow("guests", "t", "all", &["plaza/north/#"])]).await;
    wait_conflict(cluster, "guests", "t", "`plaza/north/news`", "hosts").await;
    cluster.wait_device("guests", "d", "TenantNotReady").await;
    // The consent comes from the other side.
    cluster.patch(TENANTS, "hosts", "t", &json!({"spec": space("plaza/+/news", &["mqtt-guests-t"])})).await;
    cluster.wait_reason(TENANTS, "guests", "t", "Isolated", "NoConflict").await;
    cluster.wait_device("guests", "d", "Ready").await;
    let device = cluster.credentials("guests", "d").await;
    assert_eq!(cluster.bundles().await.publish(&device, "plaza/north/news"), "Allow guests/all rules[0]");
    // And is taken back: who has published stays, and neither grows.
    cluster.patch(TENANTS, "hosts", "t", &json!({"spec": space("plaza/+/news", &[])})).await;
    wait_conflict(cluster, "hosts", "t", "`plaza/north/news`", "guests").await;
    assert_eq!(cluster.bundles().await.publish(&device, "plaza/north/news"), "Allow guests/all rules[0]");
}
