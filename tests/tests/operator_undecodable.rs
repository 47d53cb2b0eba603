//! One object that does not decode never hides the others: stored under a laxer schema, as an older or a newer release
//! may have left it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use axum::http::Method;
use mqtt_access_tests::operator_fixture::{
    Bundles, Cluster, DEVICES, Device, Manifest, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace,
    policy, rule, tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_does_not_decode_never_hides_the_others() {
    let cluster = Cluster::start().await;
    cluster.apply(objects()).await;
    let operator = cluster.operator().await;
    let known = before(&cluster).await;
    let strict = loosen_schemas(&cluster).await;
    break_some(&cluster).await;
    the_broken_are_told_so_and_the_others_go_on(&cluster, &known).await;
    tighten_schemas(&cluster, strict).await;
    operator.terminate(SOON).await;
    let _operator = cluster.operator().await;
    cluster.apply([device("zoo", "t", "newcomer")]).await;
    cluster.wait_device("zoo", "newcomer", "Ready").await;
    the_broken_are_told_so_and_the_others_go_on(&cluster, &known).await;
    what_is_corrected_is_in_force_again(&cluster, &known).await;
}

struct Known {
    fine: Device,
    broken: Device,
    denied: Device,
    suspended: Device,
}

fn objects() -> Vec<Manifest> {
    vec![
        namespace("zoo"),
        tenant("zoo", "t"),
        tenant("zoo", "broken"),
        device("zoo", "t", "fine"),
        device("zoo", "t", "breaks"),
        device("zoo", "t", "denied"),
        device("zoo", "broken", "suspended"),
        allow("zoo", "t", "all", &["zoo/t/#"]),
        allow("zoo", "t", "breaks-allow", &["zoo/t/more/#"]),
        policy("zoo", "t", "breaks-deny", &denied(), &[rule("Deny", &["zoo/t/secret/#"])]),
        allow("zoo", "broken", "all-of-broken", &["zoo/broken/#"]),
    ]
}

fn denied() -> Value {
    json!({"clientIds": [client_id("zoo", "t", "denied")]})
}

async fn before(cluster: &Cluster) -> Known {
    for device in ["fine", "breaks", "denied", "suspended"] {
        cluster.wait_device("zoo", device, "Ready").await;
    }
    let known = Known {
        fine: cluster.credentials("zoo", "fine").await,
        broken: cluster.credentials("zoo", "breaks").await,
        denied: cluster.credentials("zoo", "denied").await,
        suspended: cluster.credentials("zoo", "suspended").await,
    };
    let allowed = |bundles: &Bundles| {
        let denied = bundles.publish(&known.denied, "zoo/t/x") == "Allow zoo/all rules[0]";
        let suspended = bundles.publish(&known.suspended, "zoo/broken/x") == "Allow zoo/all-of-broken rules[0]";
        (denied && suspended).then_some(())
    };
    cluster.wait_bundles("everything to be in force", allowed).await;
    known
}

fn definition(plural: &str) -> String {
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.mqttaccess.io")
}

/// Lets the API server store anything; gives the definitions as they were.
async fn loosen_schemas(cluster: &Cluster) -> Vec<Value> {
    let mut strict = Vec::new();
    for plural in [TENANTS, DEVICES, POLICIES] {
        let before = cluster.read(&definition(plural)).await.unwrap();
        let mut lax = before.clone();
        let version = lax["spec"]["versions"][0].as_object_mut().unwrap();
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        version.insert("schema".to_owned(), json!({ "openAPIV3Schema": anything }));
        version.remove("selectableFields");
        cluster.send(Method::PUT, &definition(plural), &lax).await.unwrap();
        strict.push(before);
    }
    strict
}

async fn tighten_schemas(cluster: &Cluster, strict: Vec<Value>) {
    for (mut before, plural) in strict.into_iter().zip([TENANTS, DEVICES, POLICIES]) {
        let now = cluster.read(&definition(plural)).await.unwrap();
        before["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        cluster.send(Method::PUT, &definition(plural), &before).await.unwrap();
    }
    let refused = async || {
        let path = "/apis/mqttaccess.io/v1alpha1/namespaces/zoo/devicecredentials?dryRun=All";
        cluster.send(Method::POST, path, &broken_device("refused", "refused")).await.is_err().then_some(())
    };
    wait::until("the schema to be strict again", SOON, refused).await;
}

fn broken_device(name: &str, id: &str) -> Manifest {
    edited(device("zoo", "t", name), &json!({"spec": {"clientId": client_id("zoo", "t", id), "disabled": "perhaps"}}))
}

/// A patch that the API server takes as soon as it knows the laxer schema.
async fn break_it(cluster: &Cluster, plural: &str, name: &str, patch: Value) {
    let path = format!("/apis/mqttaccess.io/v1alpha1/namespaces/zoo/{plural}/{name}");
    let taken = async || cluster.send(Method::PATCH, &path, &patch).await.ok().map(|_| ());
    wait::until("the laxer schema", SOON, taken).await;
}

async fn break_some(cluster: &Cluster) {
    let broken = |effect: &str| json!({"effect": effect, "actions": ["Dance"], "topics": ["zoo/t/#"]});
    break_it(cluster, DEVICES, "breaks", json!({"spec": {"disabled": "perhaps"}})).await;
    break_it(cluster, POLICIES, "breaks-allow", json!({"spec": {"rules": [broken("Allow")]}})).await;
    break_it(cluster, POLICIES, "breaks-deny", json!({"spec": {"rules": [broken("Deny")]}})).await;
    break_it(cluster, TENANTS, "broken", json!({"spec": {"suspended": "perhaps"}})).await;
    // Objects that were never whole, and one that wants what a broken one has.
    let hopeless = edited(tenant("zoo", "hopeless"), &json!({"spec": {"topicSpace": "everything"}}));
    let rival = edited(device("zoo", "t", "a-rival"), &json!({"spec": {"clientId": client_id("zoo", "t", "breaks")}}));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    cluster
        .create_all([hopeless, broken_device("born-broken", "born-broken"), rival, device("zoo", "t", "newborn")], 4)
        .await;
}

async fn the_broken_are_told_so_and_the_others_go_on(cluster: &Cluster, known: &Known) {
    for device in ["breaks", "born-broken"] {
        assert_eq!(cluster.wait_device("zoo", device, "Invalid").await.status, "False");
    }
    for policy in ["breaks-allow", "breaks-deny"] {
        cluster.wait_reason(POLICIES, "zoo", policy, "Accepted", "Invalid").await;
        cluster.wait_reason(POLICIES, "zoo", policy, "Compiled", "NotAccepted").await;
    }
    for tenant in ["broken", "hopeless"] {
        cluster.wait_reason(TENANTS, "zoo", tenant, "Ready", "Invalid").await;
    }
    cluster.wait_device("zoo", "suspended", "TenantNotReady").await;
    cluster.wait_device("zoo", "newborn", "Ready").await;
    cluster.wait_device("zoo", "a-rival", "ClientIdTaken").await;
    cluster.wait_reason(TENANTS, "zoo", "t", "Ready", "Ready").await;
    let newborn = cluster.credentials("zoo", "newborn").await;
    let bundles = cluster.bundles().await;
    for device in [&known.fine, &newborn] {
        assert_eq!(bundles.publish(device, "zoo/t/x"), "Allow zoo/all rules[0]");
        assert_eq!(bundles.subscribe(device, "zoo/t/#"), "Allow zoo/all rules[0]");
    }
    assert_eq!(bundles.publish(&known.denied, "zoo/t/x"), "Deny zoo/breaks-deny rules[0]");
    assert_eq!(bundles.subscribe(&known.denied, "zoo/t/x"), "Deny zoo/breaks-deny rules[0]");
    assert_eq!(bundles.login(&known.broken), "UnknownKey");
    assert_ne!(bundles.login(&known.suspended), "Allow");
    assert!(bundles.tenant("zoo", "broken").unwrap().bundle.tenant.suspended);
    assert!(bundles.tenant("zoo", "hopeless").is_none());
}

async fn what_is_corrected_is_in_force_again(cluster: &Cluster, known: &Known) {
    cluster.patch(DEVICES, "zoo", "breaks", &json!({"spec": {"disabled": false}})).await;
    cluster.patch(TENANTS, "zoo", "broken", &json!({"spec": {"suspended": false}})).await;
    let rules = json!({"spec": {"rules": [rule("Deny", &["zoo/t/secret/#"])]}});
    cluster.patch(POLICIES, "zoo", "breaks-deny", &rules).await;
    let back = |bundles: &Bundles| {
        let denied = bundles.publish(&known.denied, "zoo/t/x") == "Allow zoo/all rules[0]";
        let suspended = bundles.publish(&known.suspended, "zoo/broken/x") == "Allow zoo/all-of-broken rules[0]";
        (denied && suspended && bundles.login(&known.broken) == "Allow").then_some(())
    };
    cluster.wait_bundles("what was corrected to be in force with the keys of before", back).await;
    cluster.wait_device("zoo", "breaks", "Ready").await;
    cluster.wait_reason(POLICIES, "zoo", "breaks-deny", "Compiled", "Compiled").await;
    cluster.wait_reason(TENANTS, "zoo", "broken", "Ready", "Ready").await;
    assert_eq!(cluster.bundles().await.publish(&known.denied, "zoo/t/secret/x"), "Deny zoo/breaks-deny rules[0]");
}
