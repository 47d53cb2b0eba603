//! Secrets that somebody brings along: rotated by editing them.

use mqtt_access_tests::operator_fixture::{DEVICES, Device, Manifest, device, edited};
use serde_json::{Value, json};

use super::scene::{NAMESPACE, Scene, id, with_key};

fn brought(name: &str, secret: &str) -> Manifest {
    let spec = json!({"secretRef": {"name": secret}, "rotation": {"overlap": "1h"}});
    edited(device(NAMESPACE, "t", name), &json!({ "spec": spec }))
}

async fn client(scene: &Scene, name: &str) -> Device {
    let object = scene.get(DEVICES, NAMESPACE, name).await.unwrap();
    let key_id = object.pointer("/status/deviceAccessKeyId").and_then(Value::as_str).unwrap();
    let username = format!("DeviceCredential|{key_id}|mqtt-{NAMESPACE}-t");
    Device { client_id: id(name), username, password: String::new() }
}

async fn write(scene: &Scene, secret: &str, entries: Value) {
    scene.patch_secret(NAMESPACE, secret, &json!({ "stringData": entries })).await;
}

/// One Secret for two devices.
pub(crate) async fn a_secret_of_ones_own_is_rotated_by_editing_it(scene: &Scene) {
    let labels = json!({"mqttaccess.io/credential": "true"});
    scene.create_secret(NAMESPACE, "factory", &labels, &json!({"accessKeySecret": "one"})).await;
    scene.apply([brought("own", "factory"), brought("own-too", "factory")]).await;
    let mut clients = Vec::new();
    for name in ["own", "own-too"] {
        scene.wait_device(NAMESPACE, name, "Ready").await;
        clients.push(client(scene, name).await);
        scene.wait_login(&with_key(clients.last().unwrap(), "one"), "Allow").await;
    }
    write(scene, "factory", json!({"accessKeySecret": "two"})).await;
    for (name, client) in ["own", "own-too"].iter().zip(&clients) {
        scene.wait_login(&with_key(client, "two"), "Allow").await;
        assert_eq!(scene.login(&with_key(client, "one")).await, "Allow");
        scene.wait_status("an overlap", name, |told| told.get("previousValidUntil").is_some()).await;
        scene.wait_event(name, "Rotated", "its Secret was edited").await;
    }
    // Going back is an edit too.
    write(scene, "factory", json!({"accessKeySecret": "one"})).await;
    let went_back = async || Some(scene.spares("own").await?.previous?.secret.expose() == b"two");
    mqtt_access_tests::wait::until("the abandoned key", mqtt_access_tests::operator_fixture::SOON, async || {
        went_back().await.filter(|back| *back)
    })
    .await;
    for (key, secret) in [("one", "Allow"), ("two", "Allow")] {
        assert_eq!(scene.login(&with_key(&clients[0], key)).await, secret, "{key}");
    }
    scene.rotate("own", json!({"overlap": "0s"})).await;
    scene.wait_login(&with_key(&clients[0], "two"), "WrongProof").await;
    assert_eq!(scene.login(&with_key(&clients[1], "two")).await, "Allow", "the other device has its own overlap");
    let written = scene.secret(NAMESPACE, "factory").await.unwrap();
    assert_eq!(written.data.keys().collect::<Vec<_>>(), ["accessKeySecret"], "nothing is written to it");
    gone_empty_and_wrong(scene, &clients[1]).await;
}

/// Without a current key nothing is accepted, not even what was open; what comes back begins anew.
async fn gone_empty_and_wrong(scene: &Scene, client: &Device) {
    for (nothing, reason) in [
        (json!({"data": {"accessKeySecret": ""}}), "SecretInvalid"),
        (json!({"data": {"accessKeySecret": null}, "stringData": {"key": "misnamed"}}), "SecretInvalid"),
    ] {
        scene.patch_secret(NAMESPACE, "factory", &nothing).await;
        scene.wait_device(NAMESPACE, "own-too", reason).await;
        for key in ["one", "two", "", "misnamed"] {
            assert_eq!(scene.login(&with_key(client, key)).await, "UnknownKey", "{nothing}");
        }
    }
    scene.delete_secret(NAMESPACE, "factory").await;
    scene.wait_device(NAMESPACE, "own-too", "SecretMissing").await;
    assert_eq!(scene.login(&with_key(client, "one")).await, "UnknownKey");
    let labels = json!({"mqttaccess.io/credential": "true"});
    scene.create_secret(NAMESPACE, "factory", &labels, &json!({"accessKeySecret": "three"})).await;
    scene.wait_login(&with_key(client, "three"), "Allow").await;
    for key in ["one", "two"] {
        assert_eq!(scene.login(&with_key(client, key)).await, "WrongProof");
    }
}

pub(crate) async fn an_id_that_changes_with_its_key_cuts_over(scene: &Scene) {
    let labels = json!({"mqttaccess.io/credential": "true"});
    let data = json!({"accessKeyId": "DC.one", "accessKeySecret": "one"});
    scene.create_secret(NAMESPACE, "renamed", &labels, &data).await;
    scene.apply([brought("renamed", "renamed")]).await;
    scene.wait_device(NAMESPACE, "renamed", "Ready").await;
    let before = client(scene, "renamed").await;
    scene.wait_login(&with_key(&before, "one"), "Allow").await;
    write(scene, "renamed", json!({"accessKeyId": "DC.two", "accessKeySecret": "two"})).await;
    scene.wait_login(&with_key(&before, "one"), "UnknownKey").await;
    let after = Device { username: before.username.replace("DC.one", "DC.two"), ..before };
    scene.wait_login(&with_key(&after, "two"), "Allow").await;
    assert_eq!(scene.login(&with_key(&after, "one")).await, "WrongProof", "it was never a key of this ID");
    let told = scene.wait_status("a rotation", "renamed", |told| told.get("rotatedAt").is_some()).await;
    assert!(told.get("previousValidUntil").is_none(), "{told}");
}
