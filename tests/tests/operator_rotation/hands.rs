//! What hands do to a rotation: ending it, going back, deleting.

use std::time::Duration;

use mqtt_access_tests::operator_fixture::Device;
use serde_json::json;

use super::scene::{NAMESPACE, Scene, rotating, with_key};
use super::triggers::holds_previous;

pub(crate) async fn an_overlap_is_ended_by_shortening_it(scene: &Scene) {
    let before = scene.begin(rotating("shortened", &json!({"overlap": "1h"}))).await;
    scene.rotate("shortened", json!({"trigger": "now"})).await;
    let after = scene.wait_rotated("shortened", &before).await;
    let old = Device::of(&before);
    scene.wait_login(&old, "Allow").await;
    scene.rotate("shortened", json!({"overlap": "0s"})).await;
    scene.wait_login(&old, "WrongProof").await;
    let ended = scene.wait_secret("to lose the previous key", "shortened", |now| !holds_previous(now)).await;
    assert_eq!(ended.text("accessKeySecret"), after.text("accessKeySecret"));
    scene.wait_event("shortened", "OverlapEnded", "only the current secret").await;
    // What has ended does not come back, and what cuts over knows no previous one.
    scene.rotate("shortened", json!({"overlap": "2h"})).await;
    scene.rotate("shortened", json!({"overlap": "0s", "trigger": "again"})).await;
    let third = scene.wait_rotated("shortened", &after).await;
    assert!(!holds_previous(&third));
    scene.wait_login(&Device::of(&after), "WrongProof").await;
    assert_eq!(scene.login(&Device::of(&third)).await, "Allow");
    assert_eq!(scene.login(&old).await, "WrongProof");
}

pub(crate) async fn a_key_written_by_hand_overlaps_and_so_does_going_back(scene: &Scene) {
    let before = scene.begin(rotating("hand", &json!({"overlap": "1h"}))).await;
    let old = Device::of(&before);
    scene.write("hand", json!({"accessKeySecret": "made by hand"})).await;
    let after = scene.wait_secret("the previous key", "hand", holds_previous).await;
    assert_eq!(after.text("previousAccessKeySecret"), before.text("accessKeySecret"));
    let by_hand = with_key(&old, "made by hand");
    assert_eq!(Device::of(&after).password, by_hand.password);
    for device in [&old, &by_hand] {
        scene.wait_login(device, "Allow").await;
    }
    scene.wait_event("hand", "Rotated", "its Secret was edited").await;
    scene.write("hand", json!({"accessKeySecret": before.text("accessKeySecret")})).await;
    let back = scene
        .wait_secret("the abandoned key", "hand", |now| now.text("previousAccessKeySecret") == "made by hand")
        .await;
    assert_eq!(back.text("password"), before.text("password"));
    for device in [&old, &by_hand] {
        scene.wait_login(device, "Allow").await;
    }
    // Taken out by hand, the overlap is over.
    let nothing = json!({"data": {"previousAccessKeySecret": null}});
    scene.patch_secret(NAMESPACE, "hand-mqtt", &nothing).await;
    scene.wait_login(&by_hand, "WrongProof").await;
    scene.wait_secret("to lose the rest", "hand", |now| !holds_previous(now)).await;
    assert_eq!(scene.login(&old).await, "Allow");
}

pub(crate) async fn a_deleted_secret_comes_back_with_the_key_before_it(scene: &Scene) {
    let before = scene.begin(rotating("deleted", &json!({"overlap": "1h"}))).await;
    scene.rotate("deleted", json!({"trigger": "now"})).await;
    let after = scene.wait_rotated("deleted", &before).await;
    for device in [Device::of(&before), Device::of(&after)] {
        scene.wait_login(&device, "Allow").await;
    }
    scene.wait_status("the trigger", "deleted", |told| told["trigger"] == "now").await;
    scene.delete_secret(NAMESPACE, "deleted-mqtt").await;
    let back = scene.wait_secret("to be back", "deleted", |now| now.uid != after.uid).await;
    assert_eq!(back.data, after.data);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.secret_of("deleted").await.data, after.data, "it was rotated again");
    for device in [Device::of(&before), Device::of(&after)] {
        assert_eq!(scene.login(&device).await, "Allow");
    }
}

/// Made immutable: nothing can be written there, and nobody hammers at it.
pub(crate) async fn a_secret_that_takes_no_change_is_left_in_peace(scene: &Scene) {
    let before = scene.begin(rotating("frozen", &json!({"overlap": "1h"}))).await;
    scene.patch_secret(NAMESPACE, "frozen-mqtt", &json!({"immutable": true})).await;
    let mark = scene.plane.audit_mark().await;
    scene.rotate("frozen", json!({"trigger": "now"})).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let writes = scene.writes_since(mark).await;
    let refused = writes.iter().filter(|write| write.name == "frozen-mqtt" && write.code >= 400).count();
    assert!((1..=3).contains(&refused), "{refused} attempts in 6 s");
    assert_eq!(scene.secret_of("frozen").await.data, before.data);
    assert_eq!(scene.login(&Device::of(&before)).await, "Allow");
    assert_eq!(scene.events("frozen", "Rotated").await, Vec::<String>::new());
}
