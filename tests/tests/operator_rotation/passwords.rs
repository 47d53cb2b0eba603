//! Passwords: generated ones overlap, all others cut over and say so.

use mqtt_access_tests::operator_fixture::{Device, Manifest, edited};
use serde_json::json;

use super::scene::{Scene, rotating, with_password};
use super::triggers::holds_previous;

fn login(name: &str, mechanisms: &[&str]) -> Manifest {
    let spec = json!({"username": name, "mechanisms": mechanisms});
    edited(rotating(name, &json!({"overlap": "1h"})), &json!({ "spec": spec }))
}

pub(crate) async fn a_generated_password_overlaps(scene: &Scene) {
    let before = scene.begin(login("generated", &["Password"])).await;
    let old = Device::of(&before);
    scene.wait_login(&old, "Allow").await;
    scene.rotate("generated", json!({"trigger": "now"})).await;
    let after = scene.wait_rotated("generated", &before).await;
    assert_eq!(after.text("previousPassword"), before.text("password"));
    assert!(!after.data.contains_key("previousAccessKeySecret"));
    for device in [&old, &Device::of(&after)] {
        scene.wait_login(device, "Allow").await;
    }
    let told = scene.wait_status("an overlap", "generated", |told| told.get("previousValidUntil").is_some()).await;
    assert_eq!(told.get("cutOver"), None);
    scene.rotate("generated", json!({"overlap": "0s"})).await;
    scene.wait_login(&old, "WrongProof").await;
    scene.wait_secret("to lose the previous password", "generated", |now| !holds_previous(now)).await;
    assert_eq!(scene.login(&Device::of(&after)).await, "Allow");
}

pub(crate) async fn scram_and_chosen_passwords_cut_over_and_say_so(scene: &Scene) {
    let before = scene.begin(login("scram", &["Scram", "Password"])).await;
    scene.wait_status("that it cuts over", "scram", |told| told["cutOver"] == true).await;
    scene.rotate("scram", json!({"trigger": "now"})).await;
    let after = scene.wait_rotated("scram", &before).await;
    assert!(!holds_previous(&after));
    scene.wait_login(&Device::of(&after), "Allow").await;
    assert_eq!(scene.login(&Device::of(&before)).await, "WrongProof");
    let told = scene.wait_status("the trigger", "scram", |told| told["trigger"] == "now").await;
    assert!(told["cutOver"] == true && told.get("previousValidUntil").is_none(), "{told}");
    scene.wait_event("scram", "Rotated", "`rotation.trigger` changed").await;

    let before = scene.begin(login("chosen", &["Password"])).await;
    let old = Device::of(&before);
    scene.wait_login(&old, "Allow").await;
    scene.write("chosen", json!({"password": "correct horse"})).await;
    scene.wait_login(&with_password(&old, "correct horse"), "Allow").await;
    assert_eq!(scene.login(&old).await, "WrongProof");
    scene.wait_status("that it cuts over", "chosen", |told| told["cutOver"] == true).await;
    scene.wait_event("chosen", "Rotated", "its Secret was edited").await;
    assert!(!holds_previous(&scene.secret_of("chosen").await));
}
