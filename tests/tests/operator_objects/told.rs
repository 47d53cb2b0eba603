//! What devices, policies and tenants are told, and that it follows what they say.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mqtt_access_tests::operator_fixture::{
    BUNDLES, Cluster, DEVICES, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace, policy, rule,
    tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

pub(crate) async fn strays_are_told_and_healed(cluster: &Cluster) {
    let policy = allow("stray", "later", "own", &["stray/later/#"]);
    cluster.apply([namespace("stray"), device("stray", "later", "d"), policy]).await;
    let told = cluster.wait_device("stray", "d", "TenantNotFound").await;
    assert!(told.message.contains("`later`"), "{told:?}");
    cluster.wait_reason(POLICIES, "stray", "own", "Accepted", "TenantNotFound").await;
    cluster.wait_reason(POLICIES, "stray", "own", "Compiled", "NotAccepted").await;
    assert_eq!(cluster.secrets("stray").await.len(), 0, "a key was made for nobody");
    cluster.apply([tenant("stray", "later")]).await;
    cluster.wait_device("stray", "d", "Ready").await;
    cluster.wait_reason(POLICIES, "stray", "own", "Accepted", "Accepted").await;
    cluster.wait_reason(POLICIES, "stray", "own", "Compiled", "Compiled").await;
    let device = cluster.credentials("stray", "d").await;
    assert_eq!(cluster.bundles().await.publish(&device, "stray/later/x"), "Allow stray/own rules[0]");
}

/// Age goes before the name; ages are told in seconds.
pub(crate) async fn the_older_of_two_devices_has_the_client_id(cluster: &Cluster) {
    let twin =
        |name: &str| edited(device("twins", "t", name), &json!({"spec": {"clientId": client_id("twins", "t", "x")}}));
    cluster.apply([namespace("twins"), tenant("twins", "t"), twin("z-older")]).await;
    cluster.wait_device("twins", "z-older", "Ready").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    cluster.apply([twin("a-younger")]).await;
    let told = cluster.wait_device("twins", "a-younger", "ClientIdTaken").await;
    assert!(told.message.contains("`z-older`"), "{told:?}");
    let (older, younger) =
        (cluster.credentials("twins", "z-older").await, cluster.credentials("twins", "a-younger").await);
    let bundles = cluster.bundles().await;
    assert_eq!((bundles.login(&older), bundles.login(&younger)), ("Allow".to_owned(), "WrongProof".to_owned()));
    cluster.delete(DEVICES, "twins", "z-older").await;
    cluster.wait_device("twins", "a-younger", "Ready").await;
    let bundles = cluster.bundles().await;
    assert_eq!((bundles.login(&older), bundles.login(&younger)), ("WrongProof".to_owned(), "Allow".to_owned()));
}

pub(crate) async fn devices_are_told_what_stands_in_their_way(cluster: &Cluster) {
    let with = |name: &str, spec: Value| edited(device("told", "t", name), &json!({ "spec": spec }));
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.apply([namespace("told")]).await;
    for theirs in ["foreign-mqtt", "t-foreign-access-key"] {
        cluster.create_secret("told", theirs, &Value::Null, &json!({"accessKeySecret": "theirs"})).await;
    }
    cluster.apply([edited(tenant("told", "t"), &json!({"spec": {"accessKeys": [{"name": "foreign"}]}}))]).await;
    for (name, key) in [("first", "one"), ("second", "two")] {
        cluster.create_secret("told", name, &labels, &json!({"accessKeyId": "DC.same", "accessKeySecret": key})).await;
    }
    cluster
        .apply([
            with("outside", json!({"clientId": "GID_elsewhere@@@x"})),
            with("disabled", json!({"disabled": true})),
            with("foreign", json!({})),
            with("super", json!({"superuser": true})),
            with("key-1", json!({"secretRef": {"name": "first"}})),
            with("key-2", json!({"secretRef": {"name": "second"}})),
        ])
        .await;
    let reasons = [
        ("outside", "ClientIdOutsidePrefix"),
        ("disabled", "Disabled"),
        ("super", "SuperuserNotAllowed"),
        ("key-2", "KeyIdTaken"),
    ];
    for (device, reason) in reasons {
        cluster.wait_device("told", device, reason).await;
    }
    cluster.wait_device("told", "key-1", "Ready").await;
    let disabled = cluster.credentials("told", "disabled").await;
    assert_eq!(cluster.bundles().await.login(&disabled), "Disabled");
    let wider = json!([client_id("told", "t", ""), "GID_elsewhere@@@"]);
    cluster.patch(TENANTS, "told", "t", &json!({"spec": {"clientIdPrefixes": wider, "superusersAllowed": true}})).await;
    cluster.patch(DEVICES, "told", "disabled", &json!({"spec": {"disabled": false}})).await;
    for device in ["outside", "disabled", "super"] {
        cluster.wait_device("told", device, "Ready").await;
    }
    assert_eq!(cluster.bundles().await.login(&disabled), "Allow");
    let counts = cluster.get(TENANTS, "told", "t").await.unwrap()["status"]["devices"].clone();
    assert_eq!(counts, json!({"total": 6, "active": 4}));
    let told = cluster.wait_reason(TENANTS, "told", "t", "Ready", "SecretProblem").await;
    assert!(told.message.contains("accessKeys[foreign]"), "{told:?}");
}

pub(crate) async fn conditions_follow_an_edit(cluster: &Cluster) {
    let own = allow("edits", "t", "own", &["edits/t/#"]);
    cluster.apply([namespace("edits"), tenant("edits", "t"), device("edits", "t", "d"), own]).await;
    cluster.wait_device("edits", "d", "Ready").await;
    let device = cluster.credentials("edits", "d").await;
    for round in 0..3 {
        // Both parts of a rule: what lies outside the topic space is not in force and is told, the rest is.
        let topics = json!([format!("edits/t/{round}"), "elsewhere/#"]);
        let rules = json!([{"effect": "Allow", "actions": ["Publish"], "topics": topics}]);
        cluster.patch(POLICIES, "edits", "own", &json!({"spec": {"rules": rules}})).await;
        let told = cluster.wait_reason(POLICIES, "edits", "own", "Compiled", "Findings").await;
        assert_eq!(told.generation, round + 2);
        let bundles = cluster.bundles().await;
        assert_eq!(bundles.publish(&device, &format!("edits/t/{round}")), "Allow edits/own rules[0]");
        assert_eq!(bundles.publish(&device, "elsewhere/x"), "Deny NotGranted");
        let status = cluster.get(POLICIES, "edits", "own").await.unwrap()["status"].clone();
        assert_eq!(status["observedGeneration"], json!(round + 2));
        let findings = status["findings"].as_array().unwrap();
        assert!(
            findings.len() == 1 && findings[0].as_str().unwrap().starts_with("rules[0].topics[1]: "),
            "{findings:?}"
        );
    }
    cluster.patch(TENANTS, "edits", "t", &json!({"spec": {"suspended": true}})).await;
    cluster.wait_reason(TENANTS, "edits", "t", "Ready", "Suspended").await;
    assert_eq!(cluster.bundles().await.login(&device), "Suspended");
    cluster.patch(TENANTS, "edits", "t", &json!({"spec": {"suspended": false}})).await;
    let told = cluster.wait_reason(TENANTS, "edits", "t", "Published", "Published").await;
    assert_eq!(told.generation, 3);
    assert_eq!(cluster.bundles().await.login(&device), "Allow");
    let found = cluster.bundles().await.tenant("edits", "t").cloned().unwrap();
    let status = cluster.get(TENANTS, "edits", "t").await.unwrap()["status"]["bundle"].clone();
    assert_eq!(status, json!({"revision": found.revision, "digest": found.digest}));
}

pub(crate) async fn what_looks_wrong_is_told_and_in_force(cluster: &Cluster) {
    let narrow = rule("Allow", &["odd/t/a"]);
    let policy = policy("odd", "t", "twice", &json!({"everyone": true}), &[rule("Allow", &["odd/t/#"]), narrow]);
    // The tenant comes last, so that the first look at it sees all.
    cluster.apply([namespace("odd"), device("odd", "t", "d"), policy, tenant("odd", "t")]).await;
    let told = cluster.wait_reason(POLICIES, "odd", "twice", "Compiled", "CompiledWithWarnings").await;
    assert_eq!(told.status, "True");
    let findings = cluster.get(POLICIES, "odd", "twice").await.unwrap()["status"]["findings"].clone();
    let text = findings[0].as_str().unwrap();
    assert!(text.starts_with("rules[1].topics[0]: ") && text.ends_with(" (InsideAnotherAllow)"), "{findings}");
    cluster.wait_device("odd", "d", "Ready").await;
    let device = cluster.credentials("odd", "d").await;
    assert_eq!(cluster.bundles().await.publish(&device, "odd/t/a"), "Allow odd/twice rules[0]");
    // The first word about an edit knows all of it.
    let rules = json!([rule("Allow", &["odd/t/#"]), rule("Allow", &["odd/t/b"])]);
    cluster.patch(POLICIES, "odd", "twice", &json!({"spec": {"rules": rules}})).await;
    let first = wait::until("a word about the edit", SOON, async || {
        cluster.condition(POLICIES, "odd", "twice", "Compiled").await.filter(|told| told.generation == 2)
    });
    assert_eq!(first.await.reason, "CompiledWithWarnings");
}

pub(crate) async fn a_tenant_of_an_unknown_broker_is_not_served(cluster: &Cluster) {
    let unserved = edited(tenant("nowhere", "t"), &json!({"spec": {"broker": "unknown"}}));
    let own = allow("nowhere", "t", "own", &["nowhere/t/#"]);
    cluster.apply([namespace("nowhere"), unserved, device("nowhere", "t", "d"), own]).await;
    for (condition, status) in [("Ready", "False"), ("Isolated", "Unknown"), ("Published", "False")] {
        let told = cluster.wait_reason(TENANTS, "nowhere", "t", condition, "NotServed").await;
        assert_eq!(told.status, status, "{condition}");
    }
    // Another operator may serve it: its devices and policies are told nothing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.condition(DEVICES, "nowhere", "d", "Ready").await, None);
    assert_eq!(cluster.condition(POLICIES, "nowhere", "own", "Accepted").await, None);
    assert_eq!(cluster.secrets("nowhere").await.len(), 0, "a key was made for another operator's tenant");
    let to = |broker: &str| json!({"spec": {"broker": broker}});
    cluster.patch(TENANTS, "nowhere", "t", &to("default")).await;
    cluster.wait_device("nowhere", "d", "Ready").await;
    let device = cluster.credentials("nowhere", "d").await;
    cluster.patch(TENANTS, "nowhere", "t", &to("unknown")).await;
    cluster.wait_reason(TENANTS, "nowhere", "t", "Ready", "NotServed").await;
    let left = cluster.secrets(BUNDLES).await.into_keys().filter(|name| name.starts_with("nowhere."));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    cluster.patch(TENANTS, "nowhere", "t", &to("default")).await;
    cluster.wait_reason(TENANTS, "nowhere", "t", "Ready", "Ready").await;
    assert_eq!(cluster.bundles().await.login(&device), "Allow");
}

pub(crate) async fn a_credential_expires_by_itself(cluster: &Cluster) {
    cluster.apply([namespace("expiry"), tenant("expiry", "t")]).await;
    let end = Timestamp::now() + SignedDuration::from_secs(5);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let expiring = |name: &str, end: &str| edited(device("expiry", "t", name), &json!({"spec": {"expiresAt": end}}));
    cluster.apply([expiring("soon", &end), expiring("late", "2099-01-01T00:00:00Z")]).await;
    cluster.wait_device("expiry", "soon", "Ready").await;
    let told = cluster.wait_device("expiry", "soon", "Expired").await;
    assert!((told.status.as_str(), told.generation) == ("False", 1), "{told:?}");
    assert!(Timestamp::now() >= end.parse().unwrap(), "it was told so before its time");
    assert!(Timestamp::now() < end.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(5), "it was told so late");
    assert_eq!(cluster.bundles().await.login(&cluster.credentials("expiry", "soon").await), "Expired");
    assert_eq!(cluster.condition(DEVICES, "expiry", "late", "Ready").await.unwrap().reason, "Ready");
}
