//! `diff`, as a real program on the files of `examples/`: what an edit changes for whom, and the exit codes.

#![expect(clippy::unwrap_used, reason = "tests: a panic is a failed test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use mqtt_access_tests::Program;
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// Two copies of an example, of which the second one is edited.
fn copies(edits: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/acme.yaml");
    let mut text = fs::read_to_string(example).unwrap();
    fs::create_dir_all(folder.path().join("before")).unwrap();
    fs::write(folder.path().join("before/acme.yaml"), &text).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "no `{from}`");
        text = text.replacen(from, to, 1);
    }
    fs::write(folder.path().join("after.yaml"), text).unwrap();
    folder
}

async fn diff(edits: &[(&str, &str)], more: &[&str]) -> (Option<i32>, String, String) {
    let folder = copies(edits);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (before, after) = (path("before"), path("after.yaml"));
    let program = Program::start("mqtt-access-operator", &[&["diff", &before, &after], more].concat(), &[]);
    let status = program.wait_end(SOON).await;
    (status.code(), program.stdout(), program.stderr())
}

#[tokio::test]
async fn an_edit_without_effect_is_told_to_have_none() {
    let nothing = (Some(0), "nothing changes for anybody\n".to_owned(), String::new());
    assert_eq!(diff(&[], &[]).await, nothing);
    assert_eq!(diff(&[("name: own-topics", "name: renamed")], &[]).await, nothing);
    let twice = ("[\"acme/fleet/#\"]", "[\"acme/fleet/#\", \"acme/fleet/news/#\"]");
    assert_eq!(diff(&[twice], &[]).await, nothing);
}

#[tokio::test]
async fn who_gains_and_who_loses_what_is_told_with_the_devices_together() {
    let (code, text, told) = diff(&[("acme/fleet/secret/#", "acme/fleet/hidden/#")], &[]).await;
    assert_eq!((code, told.as_str()), (Some(5), ""));
    let expected = "\
~ MqttTenant acme/acme, broker default
  3 clients (DeviceCredential dev1, DeviceCredential dev2, DeviceCredential dev3):
    + Deny Publish acme/fleet/hidden/#
    + Deny Subscribe acme/fleet/hidden/#
    - Deny Publish acme/fleet/secret/#
    - Deny Subscribe acme/fleet/secret/#
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn programs_read_it_as_json() {
    let edits = [("name: dev2", "name: dev9"), ("@@@dev2", "@@@dev9"), ("qos: [1, 2]", "qos: [2]")];
    let (code, text, _) = diff(&edits, &["--format", "json"]).await;
    assert_eq!(code, Some(5));
    let tenant = &serde_json::from_str::<Value>(&text).unwrap()["tenants"][0];
    assert_eq!((&tenant["tenant"], &tenant["change"]), (&json!("acme/acme"), &json!("Changed")));
    assert_eq!(tenant["settings"], json!(["- DeviceCredential dev2", "+ DeviceCredential dev9"]));
    let backend = &tenant["clients"][0];
    assert_eq!(backend["clients"], json!(["access key backend"]));
    let lost = "- Allow Publish acme/+/command, QoS 1 2";
    assert!(backend["changes"].as_array().unwrap().contains(&json!(lost)), "{backend}");
}

#[tokio::test]
async fn manifests_that_are_refused_are_an_error_that_names_the_side() {
    let (code, text, told) = diff(&[("effect: Deny", "effect: Maybe")], &[]).await;
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(told.contains("after.yaml` are refused") && told.contains("effect"), "{told}");
}
