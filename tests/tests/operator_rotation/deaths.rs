//! Operators that die, and what was lost while they were away: nothing is replaced that nobody asked for.

use std::time::{Duration, Instant};

use mqtt_access_tests::operator_fixture::{DEVICES, Device, TENANTS, device, namespace, tenant};
use serde_json::json;

use super::scene::{NAMESPACE, Scene, rotating};
use super::triggers::holds_previous;

pub(crate) async fn a_deleted_tenant_leaves_its_devices_what_they_had(scene: &Scene) {
    scene.apply([namespace("left"), tenant("left", "t"), device("left", "t", "d")]).await;
    scene.wait_device("left", "d", "Ready").await;
    let before = scene.secret("left", "d-mqtt").await.unwrap();
    scene.patch(DEVICES, "left", "d", &json!({"spec": {"rotation": {"trigger": "now"}}})).await;
    let rotated = async || scene.secret("left", "d-mqtt").await.filter(holds_previous);
    let after = mqtt_access_tests::wait::until("a rotation", mqtt_access_tests::operator_fixture::SOON, rotated).await;
    scene.delete(TENANTS, "left", "t").await;
    scene.wait_device("left", "d", "TenantNotFound").await;
    assert_eq!(scene.login(&Device::of(&after)).await, "UnknownInstance");
    // Asked for while nobody serves it: it waits for a tenant.
    scene.patch(DEVICES, "left", "d", &json!({"spec": {"rotation": {"overlap": "2h"}}})).await;
    scene.apply([tenant("left", "t")]).await;
    scene.wait_device("left", "d", "Ready").await;
    scene.wait_login(&Device::of(&after), "Allow").await;
    assert_eq!(scene.login(&Device::of(&before)).await, "Allow");
    assert_eq!(
        scene.secret("left", "d-mqtt").await.unwrap().text("accessKeySecret"),
        after.text("accessKeySecret"),
        "a key was replaced"
    );
}

pub(crate) async fn a_restart_rotates_nothing(scene: &Scene) {
    let before = scene.secrets(NAMESPACE).await;
    let operator = scene.operator(&["run"]).await;
    // One of them cannot be written, and is tried again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(operator.terminate(mqtt_access_tests::operator_fixture::SOON).await.success());
    assert_eq!(scene.secrets(NAMESPACE).await, before);
}

pub(crate) async fn a_secret_without_a_record_is_adopted(scene: &Scene) {
    let name = "trigger";
    let before = scene.secret_of(name).await;
    let lost = json!({"metadata": {"annotations": {"mqttaccess.io/rotation": null}}});
    scene.patch_secret(NAMESPACE, "trigger-mqtt", &lost).await;
    scene.rotate(name, json!({"trigger": "third"})).await;
    let operator = scene.operator(&["run"]).await;
    scene.wait_status("what was adopted", name, |told| told["trigger"] == "third").await;
    let after = scene.secret_of(name).await;
    assert_eq!(after.text("accessKeySecret"), before.text("accessKeySecret"));
    assert!(!holds_previous(&after), "what no record knows has no end, and is not kept");
    operator.kill();
}

pub(crate) async fn a_secret_that_was_deleted_and_is_to_be_replaced_is_replaced(scene: &Scene) {
    let name = "again";
    let before = scene.secret_of(name).await;
    scene.delete_secret(NAMESPACE, "again-mqtt").await;
    scene.rotate(name, json!({"trigger": "stolen", "overlap": "1h"})).await;
    let operator = scene.operator(&["run"]).await;
    let after = scene
        .wait_secret("another key", name, |now| now.text("accessKeySecret") != before.text("accessKeySecret"))
        .await;
    assert_eq!(after.text("previousAccessKeySecret"), before.text("accessKeySecret"));
    scene.wait_login(&Device::of(&after), "Allow").await;
    operator.kill();
}

/// SIGKILL at twelve times around what a rotation takes.
pub(crate) async fn an_operator_killed_at_any_time_rotates_once_and_locks_nobody_out(scene: &Scene) {
    let name = "killed";
    let operator = scene.operator(&["run"]).await;
    let mut current = scene.begin(rotating(name, &json!({"overlap": "1h"}))).await;
    operator.kill();
    let (mut done_by_the_killed, start) = (0, Instant::now());
    for round in 0..12_u64 {
        let operator = scene.operator(&["run"]).await;
        scene.rotate(name, json!({"trigger": format!("round {round}")})).await;
        tokio::time::sleep(Duration::from_millis(150 * round)).await;
        operator.kill();
        // Nobody is there to mend anything: what the Secret says is let in, and so is what it said before.
        let found = scene.secret_of(name).await;
        assert_eq!(scene.login(&Device::of(&found)).await, "Allow", "round {round}");
        assert_eq!(scene.login(&Device::of(&current)).await, "Allow", "round {round}");
        done_by_the_killed += u8::from(found.text("accessKeySecret") != current.text("accessKeySecret"));
        let again = scene.operator(&["run"]).await;
        let after = scene.wait_rotated(name, &current).await;
        let trigger = format!("round {round}");
        scene.wait_status("the trigger", name, |told| told["trigger"] == trigger.as_str()).await;
        scene.wait_login(&Device::of(&after), "Allow").await;
        let after = scene.secret_of(name).await;
        assert_eq!(after.text("previousAccessKeySecret"), current.text("accessKeySecret"), "round {round}: twice");
        assert_eq!(scene.login(&Device::of(&current)).await, "Allow", "round {round}");
        again.kill();
        current = after;
    }
    println!(
        "12 operators killed during a rotation: {done_by_the_killed} had written the Secret; {:?}",
        start.elapsed()
    );
}
