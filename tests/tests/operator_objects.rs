//! What each object is told, who owns what, and what becomes of a bundle that somebody has laid hands on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::Duration;

use axum::http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mqtt_access_crds::{
    ConditionReason, DeviceReady, PolicyAccepted, PolicyCompiled, TenantIsolated, TenantPublished, TenantReady,
};
use mqtt_access_tests::operator_fixture::{
    BUNDLES, Bundles, Cluster, DEVICES, Manifest, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace,
    policy, rule, tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

/// One control plane and one operator for all that follows: their start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_told_what_became_of_them_and_bundles_are_what_objects_say() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator().await;
    tokio::join!(
        strays_are_told_and_healed(&cluster),
        the_older_of_two_devices_has_the_client_id(&cluster),
        devices_are_told_what_stands_in_their_way(&cluster),
        conditions_follow_an_edit(&cluster),
        a_tenant_of_an_unknown_broker_is_not_served(&cluster),
        a_credential_expires_by_itself(&cluster),
        an_instance_id_has_one_owner(&cluster),
        an_incumbent_keeps_its_prefix_and_an_older_tenant_waits_for_it(&cluster),
        topics_are_shared_by_mutual_consent(&cluster),
        an_index_is_repaired(&cluster),
        a_shard_that_was_deleted_comes_back(&cluster),
        a_deleted_ticket_key_is_replaced(&cluster),
    );
    every_reason_is_one_of_the_closed_lists(&cluster).await;
    operator.terminate(SOON).await;
    a_forged_shard_is_replaced(&cluster).await;
    a_restart_among_all_this_writes_nothing(&cluster).await;
}

async fn strays_are_told_and_healed(cluster: &Cluster) {
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
async fn the_older_of_two_devices_has_the_client_id(cluster: &Cluster) {
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

async fn devices_are_told_what_stands_in_their_way(cluster: &Cluster) {
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

async fn conditions_follow_an_edit(cluster: &Cluster) {
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

async fn a_tenant_of_an_unknown_broker_is_not_served(cluster: &Cluster) {
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

async fn a_credential_expires_by_itself(cluster: &Cluster) {
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

async fn an_instance_id_has_one_owner(cluster: &Cluster) {
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
async fn an_incumbent_keeps_its_prefix_and_an_older_tenant_waits_for_it(cluster: &Cluster) {
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

async fn topics_are_shared_by_mutual_consent(cluster: &Cluster) {
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

async fn set_up(cluster: &Cluster, ns: &str) {
    cluster
        .apply([namespace(ns), tenant(ns, "t"), device(ns, "t", "d"), allow(ns, "t", "own", &[&format!("{ns}/t/#")])])
        .await;
    cluster.wait_device(ns, "d", "Ready").await;
    // Reported after it was published: from here on the bundle is complete.
    cluster.wait_reason(POLICIES, ns, "own", "Compiled", "Compiled").await;
}

async fn wait_repaired(cluster: &Cluster, ns: &str, what: &str, (revision, digest): (u64, String)) {
    let device = cluster.credentials(ns, "d").await;
    let repaired = |bundles: &Bundles| {
        let found = bundles.tenant(ns, "t")?;
        let right = found.digest == digest && found.revision > revision;
        (right && bundles.login(&device) == "Allow").then_some(())
    };
    cluster.wait_bundles(&format!("the bundle to be right again after {what}"), repaired).await;
}

async fn an_index_is_repaired(cluster: &Cluster) {
    set_up(cluster, "index").await;
    let version = async || cluster.bundles().await.versions()["index.t"].clone();
    let whole = cluster.secret(BUNDLES, "index.t").await.unwrap().data["index"].clone();
    let half = String::from_utf8_lossy(&whole[..whole.len() / 2]).into_owned();
    let damages = [
        ("rubbish", json!({"stringData": {"index": "rubbish"}})),
        ("half of it", json!({"stringData": {"index": half}})),
        ("no data", json!({"data": null})),
        ("labels of another tenant", json!({"metadata": {"labels": {"mqttaccess.io/tenant": "nobody"}}})),
        ("no labels", json!({"metadata": {"labels": null}})),
    ];
    for (what, damage) in damages {
        let before = version().await;
        cluster.patch_secret(BUNDLES, "index.t", &damage).await;
        let labelled = what.contains("labels");
        if labelled {
            wait_labelled(cluster, what).await;
        } else {
            wait_repaired(cluster, "index", what, before).await;
        }
    }
    let before = version().await;
    cluster.delete_secret(BUNDLES, "index.t").await;
    wait_repaired(cluster, "index", "its deletion", before).await;
    cluster.wait_reason(TENANTS, "index", "t", "Published", "Published").await;
}

async fn wait_labelled(cluster: &Cluster, what: &str) {
    let labelled = async || {
        let secret = cluster.read(&format!("/api/v1/namespaces/{BUNDLES}/secrets/index.t")).await?;
        let labels = &secret["metadata"]["labels"];
        (labels["mqttaccess.io/bundle"] == "index" && labels["mqttaccess.io/tenant"] == "t").then_some(())
    };
    wait::until(&format!("the labels of an index after {what}"), SOON, labelled).await;
}

async fn shards(cluster: &Cluster, ns: &str) -> Vec<String> {
    let secrets = cluster.secrets(BUNDLES).await;
    let shards = secrets
        .into_iter()
        .filter(|(name, secret)| name.starts_with(&format!("{ns}.t.")) && secret.data.contains_key("shard"));
    shards.map(|(name, _)| name).collect()
}

async fn a_shard_that_was_deleted_comes_back(cluster: &Cluster) {
    set_up(cluster, "shard").await;
    let before = cluster.bundles().await.versions()["shard.t"].clone();
    let device = cluster.credentials("shard", "d").await;
    for shard in shards(cluster, "shard").await {
        cluster.delete_secret(BUNDLES, &shard).await;
    }
    cluster.wait_bundles("the shards to be back", |bundles| (bundles.login(&device) == "Allow").then_some(())).await;
    assert_eq!(cluster.bundles().await.versions()["shard.t"], before, "the index had to be written, too");
}

async fn a_deleted_ticket_key_is_replaced(cluster: &Cluster) {
    set_up(cluster, "ticket").await;
    let key =
        async || cluster.secret(BUNDLES, "ticket.t.ticket-key").await.map(|secret| secret.data["ticketKey"].clone());
    let before = key().await.unwrap();
    assert_eq!(before.len(), 32);
    cluster.delete_secret(BUNDLES, "ticket.t.ticket-key").await;
    let replaced = |bundles: &Bundles| {
        let now = bundles.tenant("ticket", "t")?.bundle.tenant.ticket_key.expose().to_vec();
        (now != before).then_some(now)
    };
    let published = cluster.wait_bundles("a new ticket key", replaced).await;
    assert_eq!((published.len(), Some(published)), (32, key().await));
}

/// A shard cannot be edited, but deleted and made anew under its name: here by somebody who meets no operator.
async fn a_forged_shard_is_replaced(cluster: &Cluster) {
    let device = cluster.credentials("shard", "d").await;
    let name = shards(cluster, "shard").await.remove(0);
    let labels =
        cluster.read(&format!("/api/v1/namespaces/{BUNDLES}/secrets/{name}")).await.unwrap()["metadata"]["labels"]
            .clone();
    cluster.delete_secret(BUNDLES, &name).await;
    cluster.create_secret(BUNDLES, &name, &labels, &json!({"shard": "forged"})).await;
    let _operator = cluster.operator().await;
    cluster
        .wait_bundles("the forged shard to be replaced", |bundles| (bundles.login(&device) == "Allow").then_some(()))
        .await;
}

/// With losers, conflicts and findings about, which are looked at again and again.
async fn a_restart_among_all_this_writes_nothing(cluster: &Cluster) {
    let mark = cluster.plane.audit_mark().await;
    let _operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(cluster.writes_since(mark).await, []);
}

async fn every_reason_is_one_of_the_closed_lists(cluster: &Cluster) {
    let mut seen = 0;
    for plural in [TENANTS, DEVICES, POLICIES] {
        for object in cluster.all(plural).await {
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            assert!(!conditions.is_empty(), "it was told nothing: {object}");
            for condition in conditions {
                seen += 1;
                assert!(is_known(plural, &condition), "{plural}: {condition}");
                assert_eq!(condition["observedGeneration"], object["metadata"]["generation"], "{object}");
            }
        }
    }
    assert!(seen > 50, "only {seen} conditions were looked at");
}

fn is_known(plural: &str, condition: &Value) -> bool {
    match plural {
        TENANTS => {
            is_one_of::<TenantReady>(condition)
                || is_one_of::<TenantIsolated>(condition)
                || is_one_of::<TenantPublished>(condition)
        }
        DEVICES => is_one_of::<DeviceReady>(condition),
        _ => is_one_of::<PolicyAccepted>(condition) || is_one_of::<PolicyCompiled>(condition),
    }
}

/// Type, status and reason fit each other.
fn is_one_of<R: ConditionReason>(condition: &Value) -> bool {
    condition["type"] == R::CONDITION
        && R::ALL
            .iter()
            .any(|reason| condition["reason"] == reason.as_str() && condition["status"] == reason.status().as_str())
}
