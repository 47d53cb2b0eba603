//! Keys: every device and access key has one, and it is lost or replaced only when somebody means it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::control_plane::AuditMark;
use mqtt_access_tests::operator_fixture::{
    BUNDLES, Cluster, DEVICES, Device, Manifest, SOON, Stored, TENANTS, allow, client_id, device, edited, namespace,
    tenant,
};
use mqtt_access_tests::{StallingProxy, wait};
use serde_json::{Value, json};

const FLEET: usize = 200;

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn every_device_keeps_the_one_key_that_it_was_given() {
    let cluster = Cluster::start().await;
    let mark = cluster.plane.audit_mark().await;
    two_operators_at_once_make_one_key_for_each_device(&cluster).await;
    an_operator_killed_among_200_creations_goes_on_where_it_stopped(&cluster).await;
    a_restart_changes_no_key(&cluster).await;
    lost_statuses_change_no_key(&cluster).await;
    no_generated_secret_was_ever_written_twice(&cluster, mark).await;
    secrets_deleted_by_the_hundred_come_back_with_their_keys(&cluster).await;
}

async fn two_operators_at_once_make_one_key_for_each_device(cluster: &Cluster) {
    cluster.apply([namespace("pair"), tenant("pair", "t"), allow("pair", "t", "own", &["pair/t/${clientid}/#"])]).await;
    let operators = tokio::join!(cluster.operator(), cluster.operator());
    cluster.create_all(fleet("pair"), 8).await;
    let secrets = a_stable_fleet(cluster, "pair").await;
    drop(operators);
    assert_eq!(cluster.secrets("pair").await, secrets);
}

async fn an_operator_killed_among_200_creations_goes_on_where_it_stopped(cluster: &Cluster) {
    cluster.apply([namespace("killed"), tenant("killed", "t")]).await;
    let operator = cluster.operator().await;
    let some_keys = async || {
        let secrets = cluster.secrets("killed").await;
        (secrets.len() >= 30).then_some(())
    };
    let kill = async {
        wait::until("some keys to be made", SOON, some_keys).await;
        operator.kill();
        cluster.secrets("killed").await
    };
    let ((), before) = tokio::join!(cluster.create_all(fleet("killed"), 4), kill);
    assert!(before.len() < FLEET, "it was killed too late to prove anything");
    let _operator = cluster.operator().await;
    let after = a_stable_fleet(cluster, "killed").await;
    let kept: BTreeMap<String, Stored> = after.into_iter().filter(|(name, _)| before.contains_key(name)).collect();
    assert_eq!(kept, before);
}

async fn a_restart_changes_no_key(cluster: &Cluster) {
    let before = [cluster.secrets("pair").await, cluster.secrets("killed").await];
    let bundles = cluster.bundles().await.versions();
    for _ in 0..2 {
        let operator = cluster.operator().await;
        cluster.settle().await;
        assert!(operator.terminate(SOON).await.success());
    }
    assert_eq!([cluster.secrets("pair").await, cluster.secrets("killed").await], before);
    assert_eq!(cluster.bundles().await.versions(), bundles);
}

async fn lost_statuses_change_no_key(cluster: &Cluster) {
    let before = cluster.secrets("pair").await;
    let _operator = cluster.operator().await;
    let nothing = json!({"status": null});
    for number in 0..FLEET {
        cluster.patch_status(DEVICES, "pair", &name(number), &nothing).await;
    }
    cluster.patch_status(TENANTS, "pair", "t", &nothing).await;
    for number in 0..FLEET {
        cluster.wait_device("pair", &name(number), "Ready").await;
    }
    assert_eq!(a_stable_fleet(cluster, "pair").await, before);
}

/// The audit log has every write, also those that were refused.
async fn no_generated_secret_was_ever_written_twice(cluster: &Cluster, mark: AuditMark) {
    let writes = cluster.writes_since(mark).await;
    let writes: Vec<_> = writes
        .iter()
        .filter(|write| write.resource == "secrets" && ["pair", "killed"].contains(&write.namespace.as_str()))
        .collect();
    assert!(writes.iter().all(|write| write.verb == "create"), "{writes:#?}");
    let made: Vec<(&str, &str)> = writes
        .iter()
        .filter(|write| write.code == 201)
        .map(|write| (write.namespace.as_str(), write.name.as_str()))
        .collect();
    let different: BTreeSet<_> = made.iter().collect();
    assert_eq!(made.len(), different.len(), "a Secret was made twice");
    // Of those that SIGKILL cut off the log does not tell how they ended.
    assert!((2 * FLEET - 16..=2 * FLEET).contains(&made.len()), "{}", made.len());
}

/// Their creation is slowed down, so that it takes longer than the operator waits before it publishes what it has.
async fn secrets_deleted_by_the_hundred_come_back_with_their_keys(cluster: &Cluster) {
    cluster.settle().await;
    let before = cluster.secrets("pair").await;
    let digest = cluster.bundles().await.tenant("pair", "t").unwrap().digest.clone();
    let deleted = cluster.plane.kubectl(&["delete", "secrets", "--all", "-n", "pair"]).await;
    assert_eq!(deleted.unwrap().lines().count(), FLEET);
    let slow = |method: &axum::http::Method, uri: &axum::http::Uri| {
        let creation = method == axum::http::Method::POST && uri.path() == "/api/v1/namespaces/pair/secrets";
        if creation { Duration::from_millis(200) } else { Duration::ZERO }
    };
    let proxy = StallingProxy::start(&cluster.plane, slow).await;
    let _operator = cluster.operator_behind(&proxy);
    let restored = async || (cluster.secrets("pair").await.len() == FLEET).then_some(());
    wait::until("all Secrets to be restored", SOON, restored).await;
    cluster.settle().await;
    let after = cluster.secrets("pair").await;
    assert_eq!(keys(&after), keys(&before));
    assert_eq!(cluster.bundles().await.tenant("pair", "t").unwrap().digest, digest);
    for number in 0..FLEET {
        cluster.wait_device("pair", &name(number), "Ready").await;
    }
}

/// Waits until each device of a fleet has its key in the bundle and nothing moves any more.
async fn a_stable_fleet(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Stored> {
    let complete = async || {
        let bundles = cluster.bundles().await;
        let keys = bundles.tenant(namespace, "t")?.device_keys();
        (keys.len() == FLEET && keys.values().all(|key| !key.is_empty())).then_some(())
    };
    wait::until("the bundle to be complete", SOON, complete).await;
    cluster.settle().await;
    let secrets = cluster.secrets(namespace).await;
    let expected: BTreeSet<String> = (0..FLEET).map(|number| format!("{}-mqtt", name(number))).collect();
    assert_eq!(secrets.keys().cloned().collect::<BTreeSet<_>>(), expected);
    cluster.assert_keys_differ(namespace).await;
    let published = cluster.bundles().await.tenant(namespace, "t").unwrap().device_keys();
    assert_eq!(published, keys(&secrets));
    secrets
}

fn keys(secrets: &BTreeMap<String, Stored>) -> BTreeMap<String, String> {
    let owner = |name: &String| name.strip_suffix("-mqtt").unwrap().to_owned();
    secrets.iter().map(|(name, secret)| (owner(name), secret.text("accessKeySecret"))).collect()
}

fn name(number: usize) -> String {
    format!("device-{number:03}")
}

fn fleet(namespace: &str) -> impl Iterator<Item = Manifest> {
    (0..FLEET).map(move |number| device(namespace, "t", &name(number)))
}

/// One operator, and whatever hands can do to Secrets.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_at_a_secret_replaces_a_key_only_by_another() {
    let cluster = Cluster::start().await;
    let tenant = edited(tenant("hand", "t"), &json!({"spec": {"accessKeys": [{"name": "backend"}]}}));
    cluster.apply([namespace("hand"), tenant, allow("hand", "t", "all", &["hand/t/#"])]).await;
    cluster.apply(["edited", "derived", "emptied", "deleted", "stripped", "reborn", "lost"].map(a_device)).await;
    let operator = cluster.operator().await;
    cluster.wait_device("hand", "reborn", "Ready").await;
    tokio::join!(
        a_key_put_there_by_hand_is_the_new_key(&cluster),
        what_is_derived_from_a_key_is_put_right(&cluster),
        an_emptied_secret_is_filled_with_the_key_that_is_in_force(&cluster),
        a_deleted_secret_comes_back_with_its_key(&cluster),
        a_secret_without_its_labels_gets_them_back(&cluster),
        the_secret_of_an_access_key_is_treated_alike(&cluster),
        a_recreated_device_gets_a_new_key(&cluster),
        a_secret_of_somebody_else_is_left_alone(&cluster),
        a_referenced_secret_counts_as_it_is_now(&cluster),
        a_generated_secret_cannot_be_referenced(&cluster),
    );
    cluster.settle().await;
    operator.terminate(SOON).await;
    a_key_that_nobody_knows_any_more_is_not_replaced(&cluster).await;
}

fn a_device(name: &str) -> Manifest {
    device("hand", "t", name)
}

async fn hand_secret(cluster: &Cluster, device: &str) -> Stored {
    cluster.secret("hand", &format!("{device}-mqtt")).await.unwrap()
}

async fn wait_key(cluster: &Cluster, device: &str, key: &str) {
    let what = format!("the key of {device} in the bundle");
    let holds = |bundles: &mqtt_access_tests::operator_fixture::Bundles| {
        (bundles.tenant("hand", "t")?.device_key(device)? == key).then_some(())
    };
    cluster.wait_bundles(&what, holds).await;
}

/// Waits until a Secret has been written since `before`, and gives it.
async fn wait_rewritten(cluster: &Cluster, name: &str, before: &Stored) -> Stored {
    let rewritten = async || cluster.secret("hand", name).await.filter(|now| now.version != before.version);
    wait::until(&format!("{name} to be written again"), SOON, rewritten).await
}

async fn a_key_put_there_by_hand_is_the_new_key(cluster: &Cluster) {
    let at_once = json!({"spec": {"rotation": {"overlap": "0s"}}});
    cluster.patch(DEVICES, "hand", "edited", &at_once).await;
    let old = cluster.credentials("hand", "edited").await;
    let edit = json!({"stringData": {"accessKeySecret": "made by hand"}});
    cluster.patch_secret("hand", "edited-mqtt", &edit).await;
    wait_key(cluster, "edited", "made by hand").await;
    let id = client_id("hand", "t", "edited");
    let expected = password(MacAlgorithm::HmacSha1, &Secret::from("made by hand"), &id);
    let fits = async || (hand_secret(cluster, "edited").await.text("password") == expected).then_some(());
    wait::until("the password to follow the key", SOON, fits).await;
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.login(&old), "WrongProof");
    assert_eq!(bundles.login(&cluster.credentials("hand", "edited").await), "Allow");
}

async fn what_is_derived_from_a_key_is_put_right(cluster: &Cluster) {
    let before = hand_secret(cluster, "derived").await;
    let edit = json!({"stringData": {"password": "x", "username": "y", "clientId": null, "more": "z"}});
    cluster.patch_secret("hand", "derived-mqtt", &edit).await;
    let right = async || (hand_secret(cluster, "derived").await.data == before.data).then_some(());
    wait::until("what is derived to be put right", SOON, right).await;
}

async fn an_emptied_secret_is_filled_with_the_key_that_is_in_force(cluster: &Cluster) {
    let before = hand_secret(cluster, "emptied").await;
    for nothing in
        [json!({"data": {"accessKeySecret": ""}}), json!({"data": {"accessKeySecret": null}}), json!({"data": null})]
    {
        let mark = hand_secret(cluster, "emptied").await;
        cluster.patch_secret("hand", "emptied-mqtt", &nothing).await;
        wait_rewritten(cluster, "emptied-mqtt", &mark).await;
        let filled = async || (hand_secret(cluster, "emptied").await.data == before.data).then_some(());
        wait::until("the key to be back", SOON, filled).await;
    }
    assert_eq!(cluster.wait_device("hand", "emptied", "Ready").await.status, "True");
}

async fn a_deleted_secret_comes_back_with_its_key(cluster: &Cluster) {
    let before = hand_secret(cluster, "deleted").await;
    cluster.delete_secret("hand", "deleted-mqtt").await;
    let back = async || cluster.secret("hand", "deleted-mqtt").await.filter(|now| now.uid != before.uid);
    assert_eq!(wait::until("the Secret to be back", SOON, back).await.data, before.data);
    assert_eq!(cluster.bundles().await.login(&cluster.credentials("hand", "deleted").await), "Allow");
}

async fn a_secret_without_its_labels_gets_them_back(cluster: &Cluster) {
    let before = hand_secret(cluster, "stripped").await;
    cluster.patch_secret("hand", "stripped-mqtt", &json!({"metadata": {"labels": null}})).await;
    let labelled = async || {
        let secret = cluster.read("/api/v1/namespaces/hand/secrets/stripped-mqtt").await?;
        (secret["metadata"]["labels"]["mqttaccess.io/generated"] == "device").then_some(())
    };
    wait::until("the labels to be back", SOON, labelled).await;
    let after = hand_secret(cluster, "stripped").await;
    assert_eq!((after.uid, after.data), (before.uid, before.data));
}

async fn the_secret_of_an_access_key_is_treated_alike(cluster: &Cluster) {
    let name = "t-backend-access-key";
    let before = cluster.secret("hand", name).await.unwrap();
    cluster.delete_secret("hand", name).await;
    let back = async || cluster.secret("hand", name).await.filter(|now| now.uid != before.uid);
    assert_eq!(wait::until("the Secret to be back", SOON, back).await.data, before.data);
    cluster.patch_secret("hand", name, &json!({"stringData": {"accessKeySecret": "by hand"}})).await;
    cluster
        .wait_bundles("the access key in the bundle", |bundles| {
            (bundles.tenant("hand", "t")?.access_key("backend")? == "by hand").then_some(())
        })
        .await;
}

async fn a_recreated_device_gets_a_new_key(cluster: &Cluster) {
    let before = hand_secret(cluster, "reborn").await;
    let old = cluster.credentials("hand", "reborn").await;
    cluster.delete(DEVICES, "hand", "reborn").await;
    cluster.apply([a_device("reborn")]).await;
    let made = async || cluster.secret("hand", "reborn-mqtt").await.filter(|now| now.uid != before.uid);
    let after = wait::until("a new Secret", SOON, made).await;
    assert_ne!(after.text("accessKeySecret"), before.text("accessKeySecret"));
    cluster.wait_device("hand", "reborn", "Ready").await;
    wait_key(cluster, "reborn", &after.text("accessKeySecret")).await;
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.login(&old), "WrongProof");
    assert_eq!(bundles.login(&Device::of(&after)), "Allow");
}

async fn a_secret_of_somebody_else_is_left_alone(cluster: &Cluster) {
    let theirs = json!({"accessKeySecret": "theirs", "password": "theirs"});
    let ours = json!({"mqttaccess.io/generated": "device", "mqttaccess.io/tenant": "t"});
    cluster.create_secret("hand", "plain-mqtt", &Value::Null, &theirs).await;
    cluster.create_secret("hand", "disguised-mqtt", &ours, &theirs).await;
    let before = [hand_secret(cluster, "plain").await, hand_secret(cluster, "disguised").await];
    cluster.apply([a_device("plain"), a_device("disguised")]).await;
    for device in ["plain", "disguised"] {
        assert_eq!(cluster.wait_device("hand", device, "SecretNameConflict").await.status, "False");
        wait_key(cluster, device, "").await;
    }
    assert_eq!([hand_secret(cluster, "plain").await, hand_secret(cluster, "disguised").await], before);
    cluster.delete_secret("hand", "disguised-mqtt").await;
    cluster.wait_device("hand", "disguised", "Ready").await;
    assert_ne!(hand_secret(cluster, "disguised").await.text("accessKeySecret"), "theirs");
    // Nobody tells the operator that an unlabelled Secret is gone: it looks again when the device changes.
    cluster.delete_secret("hand", "plain-mqtt").await;
    cluster.patch(DEVICES, "hand", "plain", &json!({"spec": {"clientAttributes": {"site": "berlin"}}})).await;
    cluster.wait_device("hand", "plain", "Ready").await;
}

async fn a_referenced_secret_counts_as_it_is_now(cluster: &Cluster) {
    let brought = edited(a_device("brought"), &json!({"spec": {"secretRef": {"name": "factory"}}}));
    cluster.apply([brought]).await;
    cluster.wait_device("hand", "brought", "SecretMissing").await;
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("hand", "factory", &labels, &json!({"accessKeySecret": "one"})).await;
    cluster.wait_device("hand", "brought", "Ready").await;
    wait_key(cluster, "brought", "one").await;
    let edit = |key: &str| json!({"stringData": {"accessKeySecret": key}});
    cluster.patch_secret("hand", "factory", &edit("two")).await;
    wait_key(cluster, "brought", "two").await;
    cluster.patch_secret("hand", "factory", &edit("")).await;
    cluster.wait_device("hand", "brought", "SecretInvalid").await;
    wait_key(cluster, "brought", "").await;
    cluster.patch_secret("hand", "factory", &edit("three")).await;
    wait_key(cluster, "brought", "three").await;
    cluster.patch_secret("hand", "factory", &json!({"metadata": {"labels": null}})).await;
    cluster.wait_device("hand", "brought", "SecretInvalid").await;
    wait_key(cluster, "brought", "").await;
    cluster.patch_secret("hand", "factory", &json!({"metadata": {"labels": labels}})).await;
    wait_key(cluster, "brought", "three").await;
    cluster.delete_secret("hand", "factory").await;
    cluster.wait_device("hand", "brought", "SecretMissing").await;
    wait_key(cluster, "brought", "").await;
    cluster.create_secret("hand", "factory", &labels, &json!({"accessKeySecret": "four"})).await;
    wait_key(cluster, "brought", "four").await;
    assert_eq!(cluster.secret("hand", "brought-mqtt").await, None, "a key was generated beside the one brought along");
}

async fn a_generated_secret_cannot_be_referenced(cluster: &Cluster) {
    // Also not by somebody who may label it.
    cluster
        .patch_secret("hand", "derived-mqtt", &json!({"metadata": {"labels": {"mqttaccess.io/credential": "true"}}}))
        .await;
    let thief = edited(a_device("thief"), &json!({"spec": {"secretRef": {"name": "derived-mqtt"}}}));
    cluster.apply([thief]).await;
    cluster.wait_device("hand", "thief", "SecretInvalid").await;
    wait_key(cluster, "thief", "").await;
}

/// The operator is down while the Secret and the bundle vanish: only the status remembers that there was a key.
async fn a_key_that_nobody_knows_any_more_is_not_replaced(cluster: &Cluster) {
    cluster.delete_secret("hand", "lost-mqtt").await;
    for name in cluster.secrets(BUNDLES).await.keys().filter(|name| name.starts_with("hand.t")) {
        cluster.delete_secret(BUNDLES, name).await;
    }
    let others = cluster.secrets("hand").await;
    let _operator = cluster.operator().await;
    assert_eq!(cluster.wait_device("hand", "lost", "SecretMissing").await.status, "False");
    cluster.settle().await;
    // The key that records of rotations hang on is lost too: they are written anew, and nothing else is.
    let held = |secrets: BTreeMap<String, Stored>| secrets.into_iter().map(|(name, it)| (name, it.uid, it.data));
    let after = cluster.secrets("hand").await;
    assert!(held(after).eq(held(others.clone())), "a Secret was made, or holds something else");
    wait_key(cluster, "lost", "").await;
    wait_key(cluster, "derived", &others["derived-mqtt"].text("accessKeySecret")).await;
}
