//! Who owns what, who has to wait, and who comes next.

use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, Manifest, SOON, TENANTS, allow, client_id, device, edited, namespace, tenant,
};
use mqtt_access_tests::wait;
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
    let host =
        |filter: &str, shares: bool| json!({"spec": space(filter, if shares { &["mqtt-visitors-t"] } else { &[] })});
    let visitor = |shares: bool| json!({"spec": space("plaza/north/#", if shares { &["mqtt-hosts-t"] } else { &[] })});
    cluster
        .apply([namespace("hosts"), namespace("visitors"), claiming("hosts", "t", &space("plaza/+/news", &[]))])
        .await;
    cluster.wait_reason(TENANTS, "hosts", "t", "Ready", "Ready").await;
    let guest = claiming("visitors", "t", &space("plaza/north/#", &["mqtt-hosts-t"]));
    cluster.apply([guest, device("visitors", "t", "d"), allow("visitors", "t", "all", &["plaza/north/#"])]).await;
    wait_conflict(cluster, "visitors", "t", "`plaza/north/news`", "hosts").await;
    cluster.wait_device("visitors", "d", "TenantNotReady").await;
    // The consent comes from the other side.
    cluster.patch(TENANTS, "hosts", "t", &host("plaza/+/news", true)).await;
    cluster.wait_reason(TENANTS, "visitors", "t", "Isolated", "NoConflict").await;
    cluster.wait_device("visitors", "d", "Ready").await;
    let device = cluster.credentials("visitors", "d").await;
    let judged = async |topic: &str, expected: &str| {
        let what = format!("{topic}: {expected}");
        cluster.wait_bundles(&what, |bundles| (bundles.publish(&device, topic) == expected).then_some(())).await;
    };
    let (allowed, withdrawn) = ("Allow visitors/all rules[0]", "Deny ConsentWithdrawn");
    judged("plaza/north/news", allowed).await;
    // The older tenant takes it back, then the younger too: the older one has the topics alone, and nothing else is refused.
    cluster.patch(TENANTS, "hosts", "t", &host("plaza/+/news", false)).await;
    both_are_told(cluster).await;
    judged("plaza/north/news", withdrawn).await;
    assert_eq!(cluster.bundles().await.subscribe(&device, "plaza/north/#"), withdrawn);
    assert_eq!(cluster.bundles().await.publish(&device, "plaza/north/weather"), allowed);
    cluster.patch(TENANTS, "visitors", "t", &visitor(false)).await;
    cluster.settle().await;
    judged("plaza/north/news", withdrawn).await;
    // One consent is not enough, whoever gives it.
    cluster.patch(TENANTS, "hosts", "t", &host("plaza/+/news", true)).await;
    cluster.settle().await;
    judged("plaza/north/news", withdrawn).await;
    cluster.patch(TENANTS, "visitors", "t", &visitor(true)).await;
    judged("plaza/north/news", allowed).await;
    for namespace in ["hosts", "visitors"] {
        cluster.wait_reason(TENANTS, namespace, "t", "Isolated", "NoConflict").await;
        wait_event(cluster, namespace, "ConsentRestored").await;
    }
    // The owner's filter is denied as it is when the younger tenant withdraws: after a widening that both agreed on.
    cluster.patch(TENANTS, "hosts", "t", &host("plaza/#", true)).await;
    cluster.settle().await;
    judged("plaza/north/weather", allowed).await;
    cluster.patch(TENANTS, "visitors", "t", &visitor(false)).await;
    judged("plaza/north/weather", withdrawn).await;
    both_are_told(cluster).await;
}

async fn both_are_told(cluster: &Cluster) {
    let younger = cluster.wait_reason(TENANTS, "visitors", "t", "Isolated", "ConsentWithdrawn").await;
    assert!(younger.message.contains("`plaza/north/#`") && !younger.message.contains("hosts"), "{younger:?}");
    let older = cluster.wait_reason(TENANTS, "hosts", "t", "Isolated", "OwnedAlone").await;
    assert!(older.message.contains("`plaza/") && !older.message.contains("visitors"), "{older:?}");
    assert_eq!((younger.status.as_str(), older.status.as_str()), ("False", "True"));
    for namespace in ["hosts", "visitors"] {
        cluster.wait_reason(TENANTS, namespace, "t", "Ready", "Ready").await;
        wait_event(cluster, namespace, "ConsentWithdrawn").await;
    }
}

async fn wait_event(cluster: &Cluster, namespace: &str, reason: &str) {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    wait::until(&format!("the event {reason} in {namespace}"), SOON, async || {
        let events = cluster.read(&path).await?;
        let about = |event: &Value| event["reason"] == reason && event["regarding"]["kind"] == "MqttTenant";
        events["items"].as_array()?.iter().any(about).then_some(())
    })
    .await;
}

/// An older credential comes to want the client ID that a younger one is published with.
pub(crate) async fn a_published_credential_keeps_its_client_id_from_an_older_one(cluster: &Cluster) {
    let id = client_id("keepers", "a", "x");
    let wanting =
        |tenant: &str, name: &str| edited(device("keepers", tenant, name), &json!({"spec": {"clientId": id}}));
    let tenants = [namespace("keepers"), tenant("keepers", "a"), tenant("keepers", "b")];
    cluster.apply(tenants.into_iter().chain([wanting("b", "elder")])).await;
    cluster.wait_device("keepers", "elder", "ClientIdOutsidePrefix").await;
    cluster.apply([wanting("a", "younger")]).await;
    cluster.wait_device("keepers", "younger", "Ready").await;
    let younger = cluster.credentials("keepers", "younger").await;
    cluster.patch(DEVICES, "keepers", "elder", &json!({"spec": {"tenantRef": {"name": "a"}}})).await;
    let told = cluster.wait_device("keepers", "elder", "ClientIdTaken").await;
    assert!(told.message.contains("`younger`"), "{told:?}");
    cluster.settle().await;
    cluster.wait_device("keepers", "younger", "Ready").await;
    assert_eq!(cluster.bundles().await.login(&younger), "Allow");
}
