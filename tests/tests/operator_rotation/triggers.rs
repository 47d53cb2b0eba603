//! What replaces a key: a trigger, and an age.

use std::time::Instant;

use mqtt_access_tests::operator_fixture::Device;
use serde_json::{Value, json};

use super::scene::{NAMESPACE, Scene, now, rotating, seconds};

pub(crate) async fn a_trigger_rotates_once_and_is_told_everywhere(scene: &Scene) {
    let before = scene.begin(rotating("trigger", &json!({"trigger": "first"}))).await;
    let adopted = scene.wait_status("the trigger", "trigger", |told| told["trigger"] == "first").await;
    assert!(adopted.get("previousValidUntil").is_none(), "{adopted}");
    scene.rotate("trigger", json!({"trigger": "second"})).await;
    let after = scene.wait_rotated("trigger", &before).await;
    assert_eq!(after.text("previousAccessKeySecret"), before.text("accessKeySecret"));
    assert_eq!(after.text("previousPassword"), before.text("password"));
    let (old, new) = (Device::of(&before), Device::of(&after));
    for device in [&old, &new] {
        scene.wait_login(device, "Allow").await;
    }
    let told = scene.wait_status("the trigger", "trigger", |told| told["trigger"] == "second").await;
    let until = told["previousValidUntil"].as_str().unwrap();
    assert_eq!(after.text("previousValidUntil"), until);
    // A day, where nobody said anything else.
    let (until, rotated) = (seconds(until), seconds(told["rotatedAt"].as_str().unwrap()));
    assert_eq!(until - rotated, 86_400);
    assert!((now() - 30..=now()).contains(&rotated), "{told}");
    assert_eq!((told.get("cutOver"), told.get("nextRotationAt")), (None, None), "{told}");
    scene.wait_event("trigger", "Rotated", "`rotation.trigger` changed").await;
    let columns = scene.plane.kubectl(&["get", "mdc", "trigger", "-n", NAMESPACE, "-o", "wide"]).await.unwrap();
    assert!(columns.contains("PREVIOUS UNTIL") && columns.contains(&after.text("previousValidUntil")), "{columns}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(scene.secret_of("trigger").await, after, "it was rotated, or written, again");
    assert_eq!(scene.events("trigger", "Rotated").await.len(), 1);
}

pub(crate) async fn a_trigger_that_comes_back_rotates_again(scene: &Scene) {
    let mut secret = scene.begin(rotating("again", &json!({"trigger": "a", "overlap": "1h"}))).await;
    let mut keys = vec![secret.text("accessKeySecret")];
    for trigger in ["b", "a"] {
        scene.rotate("again", json!({"trigger": trigger})).await;
        secret = scene.wait_rotated("again", &secret).await;
        assert_eq!(secret.text("previousAccessKeySecret"), *keys.last().unwrap());
        assert!(!keys.contains(&secret.text("accessKeySecret")), "an earlier key came back");
        keys.push(secret.text("accessKeySecret"));
        scene.wait_status("the trigger", "again", |told| told["trigger"] == trigger).await;
    }
    scene.rotate("again", json!({"trigger": null})).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(scene.secret_of("again").await, secret, "a trigger that is removed rotates nothing");
}

pub(crate) async fn an_overlap_ends_by_itself(scene: &Scene) {
    let before = scene.begin(rotating("brief", &json!({"overlap": "4s"}))).await;
    scene.rotate("brief", json!({"trigger": "now"})).await;
    let after = scene.wait_rotated("brief", &before).await;
    let until = seconds(&after.text("previousValidUntil"));
    let (old, start) = (Device::of(&before), Instant::now());
    scene.wait_login(&old, "WrongProof").await;
    assert!(now() >= until, "it ended early");
    let left = scene.wait_secret("to lose the previous key", "brief", |now| !holds_previous(now)).await;
    println!("an overlap of 4 s: its Secret lost the previous key {:?} after it was written", start.elapsed());
    assert_eq!(left.text("accessKeySecret"), after.text("accessKeySecret"));
    scene.wait_login(&Device::of(&left), "Allow").await;
    scene.wait_status("no overlap", "brief", |told| told.get("previousValidUntil").is_none()).await;
    scene.wait_event("brief", "OverlapEnded", "only the current secret").await;
    assert!(scene.spares("brief").await.unwrap().is_empty());
}

pub(crate) fn holds_previous(secret: &mqtt_access_tests::operator_fixture::Stored) -> bool {
    secret.data.keys().any(|entry| entry.starts_with("previous"))
}

/// Nobody waits for an hour: the record is told that the key is old.
pub(crate) async fn an_age_is_reached(scene: &Scene) {
    let before = scene.begin(rotating("aged", &json!({"interval": "1h", "overlap": "30m"}))).await;
    let told = scene.wait_status("an age", "aged", |told| told.get("nextRotationAt").is_some()).await;
    let next = seconds(told["nextRotationAt"].as_str().unwrap()) - seconds(told["rotatedAt"].as_str().unwrap());
    assert!((3240..=3600).contains(&next), "{told}");
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/aged-mqtt");
    let secret = scene.read(&path).await.unwrap();
    let record = secret["metadata"]["annotations"]["mqttaccess.io/rotation"].as_str().unwrap();
    let mut record: Value = serde_json::from_str(record).unwrap();
    record["rotatedAt"] = json!(now() - 3600);
    let older = json!({"metadata": {"annotations": {"mqttaccess.io/rotation": record.to_string()}}});
    scene.patch_secret(NAMESPACE, "aged-mqtt", &older).await;
    let after = scene.wait_rotated("aged", &before).await;
    assert_eq!(after.text("previousAccessKeySecret"), before.text("accessKeySecret"));
    scene.wait_event("aged", "Rotated", "`rotation.interval`").await;
    for device in [Device::of(&before), Device::of(&after)] {
        scene.wait_login(&device, "Allow").await;
    }
    scene
        .wait_status("the next age", "aged", |told| {
            told["nextRotationAt"].as_str().is_some_and(|at| seconds(at) > now())
        })
        .await;
}
