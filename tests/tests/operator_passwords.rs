//! Passwords in a cluster: made once, changed by a hand only, and lost rather than replaced behind somebody's back.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]
#![expect(clippy::print_stdout, reason = "prints figures")]

use std::time::Instant;

use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, Device, Manifest, SOON, Stored, TENANTS, allow, client_id, device, edited, namespace, tenant,
};
use serde_json::{Value, json};

/// Of `pencil`, as another tool made it.
const BCRYPT: &str = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";

/// Twice as many as one pass derives, and more.
const FLEET: usize = 100;

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_made_once_and_changed_only_by_a_hand() {
    let cluster = Cluster::start().await;
    cluster.apply([namespace("pw"), tenant("pw", "t"), allow("pw", "t", "own", &["pw/t/${username}/#"])]).await;
    let names = ["edited", "short", "emptied", "deleted"];
    cluster.apply(names.map(|name| login(name, &["Scram", "Password"]))).await;
    cluster.apply([person("alice", "alice"), device("pw", "t", "switching")]).await;
    let operator = cluster.operator().await;
    for name in names.into_iter().chain(["alice", "switching"]) {
        cluster.wait_device("pw", name, "Ready").await;
    }
    tokio::join!(
        a_person_is_let_in_with_any_client_id_of_the_prefix(&cluster),
        a_password_put_there_by_hand_is_the_new_one(&cluster),
        one_that_is_too_short_is_refused(&cluster),
        an_emptied_one_is_missing_until_it_is_set_again(&cluster),
        a_deleted_one_is_not_replaced_by_another(&cluster),
        a_hash_lets_in_whoever_knows_the_password(&cluster),
        a_login_name_has_one_owner(&cluster),
        a_device_that_changes_its_mechanisms_keeps_its_key_and_password(&cluster),
    );
    a_fleet_that_takes_several_passes_is_derived_to_the_end(&cluster).await;
    cluster.settle().await;
    assert!(operator.terminate(SOON).await.success());
    a_restart_writes_nothing(&cluster).await;
}

fn login(name: &str, mechanisms: &[&str]) -> Manifest {
    edited(device("pw", "t", name), &json!({"spec": {"username": name, "mechanisms": mechanisms}}))
}

fn person(name: &str, username: &str) -> Manifest {
    let mut person = login(name, &["Password"]);
    let spec = person.pointer_mut("/spec").and_then(Value::as_object_mut).unwrap();
    spec.remove("clientId");
    spec.insert("clientIdPrefix".to_owned(), json!(client_id("pw", "t", &format!("{name}-"))));
    spec.insert("username".to_owned(), json!(username));
    person
}

async fn secret(cluster: &Cluster, name: &str) -> Stored {
    cluster.secret("pw", &format!("{name}-mqtt")).await.unwrap()
}

async fn wait_login(cluster: &Cluster, device: &Device, outcome: &str) {
    let look =
        |bundles: &mqtt_access_tests::operator_fixture::Bundles| (bundles.login(device) == outcome).then_some(());
    cluster.wait_bundles(&format!("{outcome} for {}", device.username), look).await;
}

async fn set_password(cluster: &Cluster, name: &str, password: &Value) {
    cluster.patch_secret("pw", &format!("{name}-mqtt"), &json!({"stringData": {"password": password}})).await;
}

async fn a_person_is_let_in_with_any_client_id_of_the_prefix(cluster: &Cluster) {
    let stored = secret(cluster, "alice").await;
    assert_eq!(stored.data.keys().collect::<Vec<_>>(), ["clientIdPrefix", "instanceId", "password", "username"]);
    assert_eq!(stored.text("password").len(), 43);
    let at = |name: &str| Device { client_id: client_id("pw", "t", name), ..Device::of(&stored) };
    let bundles = cluster.bundles().await;
    assert_eq!(bundles.login(&at("alice-phone")), "Allow");
    assert_eq!(bundles.publish(&at("alice-laptop"), "pw/t/alice/up"), "Allow pw/own rules[0]");
    assert_eq!(bundles.login(&at("bob-phone")), "ClientIdMismatch");
    let status = cluster.get(DEVICES, "pw", "alice").await.unwrap();
    assert_eq!(status.pointer("/status/username"), Some(&json!("alice")));
    let listed = cluster.plane.kubectl(&["get", "mdc", "-n", "pw"]).await.unwrap();
    for shown in [client_id("pw", "t", "alice-"), client_id("pw", "t", "edited")] {
        assert!(listed.contains(&shown), "{listed}");
    }
}

async fn a_password_put_there_by_hand_is_the_new_one(cluster: &Cluster) {
    let old = cluster.credentials("pw", "edited").await;
    assert_eq!(cluster.bundles().await.login(&old), "Allow");
    let new = Device { password: "chosen by a person".to_owned(), ..old.clone() };
    let start = Instant::now();
    set_password(cluster, "edited", &json!(new.password)).await;
    wait_login(cluster, &new, "Allow").await;
    println!("from a hand edit to a login with the new password: {} ms", start.elapsed().as_millis());
    assert_eq!(cluster.bundles().await.login(&old), "WrongProof");
    assert_eq!(secret(cluster, "edited").await.text("password"), new.password);
}

async fn one_that_is_too_short_is_refused(cluster: &Cluster) {
    set_password(cluster, "short", &json!("hunter2")).await;
    let told = cluster.wait_device("pw", "short", "SecretInvalid").await;
    assert!(told.message.contains("fewer than 8 bytes") && !told.message.contains("hunter2"), "{}", told.message);
    assert_eq!(secret(cluster, "short").await.text("password"), "hunter2", "what a hand put there is left there");
}

async fn an_emptied_one_is_missing_until_it_is_set_again(cluster: &Cluster) {
    let before = cluster.credentials("pw", "emptied").await;
    for nothing in [json!({"data": {"password": null}}), json!({"data": {"password": ""}})] {
        cluster.patch_secret("pw", "emptied-mqtt", &nothing).await;
        let told = cluster.wait_device("pw", "emptied", "SecretMissing").await;
        assert!(told.message.contains("put one there"), "{}", told.message);
        wait_login(cluster, &before, "UnknownKey").await;
        set_password(cluster, "emptied", &json!(before.password)).await;
        wait_login(cluster, &before, "Allow").await;
        cluster.wait_device("pw", "emptied", "Ready").await;
    }
}

async fn a_deleted_one_is_not_replaced_by_another(cluster: &Cluster) {
    let before = cluster.credentials("pw", "deleted").await;
    cluster.delete_secret("pw", "deleted-mqtt").await;
    let told = cluster.wait_device("pw", "deleted", "SecretMissing").await;
    assert!(told.message.contains("`spec.secretRef`"), "{}", told.message);
    wait_login(cluster, &before, "UnknownKey").await;
    assert_eq!(cluster.secret("pw", "deleted-mqtt").await, None);
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("pw", "instead", &labels, &json!({"password": before.password})).await;
    cluster.patch(DEVICES, "pw", "deleted", &json!({"spec": {"secretRef": {"name": "instead"}}})).await;
    wait_login(cluster, &before, "Allow").await;
}

async fn a_hash_lets_in_whoever_knows_the_password(cluster: &Cluster) {
    let brought =
        |mechanisms: &[&str]| edited(login("brought", mechanisms), &json!({"spec": {"secretRef": {"name": "hash"}}}));
    cluster.apply([brought(&["Password"])]).await;
    cluster.wait_device("pw", "brought", "SecretMissing").await;
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("pw", "hash", &labels, &json!({"passwordHash": BCRYPT})).await;
    let (client_id, username) = (client_id("pw", "t", "brought"), "brought".to_owned());
    let old = Device { client_id, username, password: "pencil".to_owned() };
    wait_login(cluster, &old, "Allow").await;
    cluster.apply([brought(&["Password", "Scram"])]).await;
    let told = cluster.wait_device("pw", "brought", "SecretInvalid").await;
    assert!(told.message.contains("take `Scram` out"), "{}", told.message);
    cluster.apply([brought(&["Password"])]).await;
    wait_login(cluster, &old, "Allow").await;
    let dearer = |cost: &str| json!({"stringData": {"passwordHash": BCRYPT.replace("$04$", cost)}});
    cluster.patch_secret("pw", "hash", &dearer("$09$")).await;
    wait_login(cluster, &old, "WrongProof").await;
    // A limit that is lowered locks nobody out, and nothing as costly is accepted any more.
    cluster.patch(TENANTS, "pw", "t", &json!({"spec": {"limits": {"maxBcryptCost": 8}}})).await;
    cluster.wait_device("pw", "brought", "HashTooCostly").await;
    assert_eq!(cluster.bundles().await.login(&old), "WrongProof", "it is compared with the hash");
    cluster.patch_secret("pw", "hash", &dearer("$10$")).await;
    let told = cluster.wait_device("pw", "brought", "SecretInvalid").await;
    assert!(told.message.contains("`limits.maxBcryptCost` of 8"), "{}", told.message);
    cluster.patch(TENANTS, "pw", "t", &json!({"spec": {"limits": null}})).await;
    cluster.wait_device("pw", "brought", "Ready").await;
    cluster.patch_secret("pw", "hash", &dearer("$15$")).await;
    let told = cluster.wait_device("pw", "brought", "SecretInvalid").await;
    assert!(told.message.contains("`passwordHash` that costs too much"), "{}", told.message);
    wait_login(cluster, &old, "UnknownKey").await;
    let plain = json!({"stringData": {"password": "correct horse"}, "data": {"passwordHash": null}});
    cluster.patch_secret("pw", "hash", &plain).await;
    wait_login(cluster, &Device { password: "correct horse".to_owned(), ..old.clone() }, "Allow").await;
    assert_eq!(cluster.bundles().await.login(&old), "WrongProof");
}

async fn a_login_name_has_one_owner(cluster: &Cluster) {
    let second = || person("second", "alice");
    cluster.apply([second()]).await;
    let told = cluster.wait_device("pw", "second", "LoginNameTaken").await;
    assert!(told.message.contains("`alice`"), "{}", told.message);
    cluster.apply([edited(second(), &json!({"spec": {"username": "second"}}))]).await;
    cluster.wait_device("pw", "second", "Ready").await;
    let own = Device { client_id: client_id("pw", "t", "second-1"), ..cluster.credentials("pw", "second").await };
    wait_login(cluster, &own, "Allow").await;
}

async fn a_device_that_changes_its_mechanisms_keeps_its_key_and_password(cluster: &Cluster) {
    let by_key = cluster.credentials("pw", "switching").await;
    let key = secret(cluster, "switching").await.text("accessKeySecret");
    let switch = async |mechanism: &str| {
        let patch = json!({"spec": {"mechanisms": [mechanism]}});
        cluster.patch(DEVICES, "pw", "switching", &patch).await;
        cluster.wait_device("pw", "switching", "Ready").await;
    };
    switch("Password").await;
    let by_password = cluster.credentials("pw", "switching").await;
    assert_eq!(by_password.username, by_key.client_id);
    assert_eq!((by_password.password.len(), secret(cluster, "switching").await.text("accessKeySecret")), (43, key));
    wait_login(cluster, &by_password, "Allow").await;
    assert_eq!(cluster.bundles().await.login(&by_key), "UnknownKey");
    switch("Hmac").await;
    wait_login(cluster, &by_key, "Allow").await;
    assert_eq!(cluster.bundles().await.login(&by_password), "UnknownKey");
    assert_eq!(cluster.credentials("pw", "switching").await.password, by_key.password);
    switch("Scram").await;
    switch("Password").await;
    wait_login(cluster, &by_password, "Allow").await;
}

/// One password that somebody chose, for more devices than can be derived before what there is gets published.
async fn a_fleet_that_takes_several_passes_is_derived_to_the_end(cluster: &Cluster) {
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("pw", "shared", &labels, &json!({"password": "correct horse"})).await;
    let name = |number: usize| format!("fleet-{number}");
    let shared = json!({"spec": {"secretRef": {"name": "shared"}}});
    let fleet = (0..FLEET).map(|number| edited(login(&name(number), &["Password"]), &shared));
    let start = Instant::now();
    cluster.create_all(fleet, 8).await;
    for number in 0..FLEET {
        cluster.wait_device("pw", &name(number), "Ready").await;
    }
    println!("{FLEET} devices with a chosen password: {} ms", start.elapsed().as_millis());
    let last = name(FLEET - 1);
    let (client_id, password) = (client_id("pw", "t", &last), "correct horse".to_owned());
    wait_login(cluster, &Device { client_id, username: last, password }, "Allow").await;
}

/// What was derived is forgotten, and derived again to the same bytes. It takes several passes, in which every device keeps
/// the login that is in force.
async fn a_restart_writes_nothing(cluster: &Cluster) {
    let (mark, versions) = (cluster.plane.audit_mark().await, cluster.bundles().await.versions());
    let operator = cluster.operator().await;
    cluster.settle().await;
    assert!(operator.terminate(SOON).await.success());
    assert_eq!(cluster.bundles().await.versions(), versions);
    let writes = cluster.writes_since(mark).await;
    // How many devices a policy selects is counted every half minute, so its status may just be due.
    let writes: Vec<_> = writes.iter().filter(|write| write.resource != "aclpolicies").collect();
    assert!(writes.is_empty(), "{writes:#?}");
}
