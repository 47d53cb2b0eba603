//! Two folders of manifests: a tenant with devices, a person, a key, and policies that change.

use std::fs;

use tempfile::TempDir;

use super::*;

const TENANT: &str = "
apiVersion: mqttaccess.io/v1alpha1
kind: MqttTenant
metadata: {namespace: a, name: t}
spec:
  instanceId: i
  topicSpace: [{filter: a/#}]
  accessKeys: [{name: backend}]
";

fn device(name: &str, more: &str) -> String {
    let kind = "apiVersion: mqttaccess.io/v1alpha1\nkind: DeviceCredential";
    let spec = format!("spec: {{tenantRef: {{name: t}}, clientId: {name}{more}}}");
    format!("---\n{kind}\nmetadata: {{namespace: a, name: {name}, labels: {{site: x}}}}\n{spec}\n")
}

fn policy(name: &str, subjects: &str, rules: &[&str]) -> String {
    let kind = "apiVersion: mqttaccess.io/v1alpha1\nkind: AclPolicy";
    let rules = rules.join(", ");
    let spec = format!("spec: {{tenantRef: {{name: t}}, subjects: [{subjects}], rules: [{rules}]}}");
    format!("---\n{kind}\nmetadata: {{namespace: a, name: {name}}}\n{spec}\n")
}

fn allow(topic: &str) -> String {
    format!("{{effect: Allow, actions: [Publish, Subscribe], topics: [\"{topic}\"]}}")
}

fn deny(topic: &str) -> String {
    format!("{{effect: Deny, actions: [Publish, Subscribe], topics: [\"{topic}\"]}}")
}

const EVERYONE: &str = "{everyone: true}";

fn world(parts: &[String]) -> String {
    let devices = ["d1", "d2", "d3"].map(|name| device(name, "")).concat();
    [TENANT, &devices, &parts.concat()].concat()
}

fn diff(before: &str, after: &str) -> Diff {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    Diff::of(&file("before.yaml", before), &file("after.yaml", after), &Config::default()).unwrap()
}

fn lines(before: &str, after: &str) -> Vec<String> {
    diff(before, after).to_string().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_same_manifests_change_nothing() {
    let world = world(&[policy("p", EVERYONE, &[&allow("a/${clientid}/#")])]);
    assert_eq!(lines(&world, &world), ["nothing changes for anybody"]);
}

#[test]
fn clients_with_the_same_change_are_one_line_at_the_level_of_templates() {
    let before = world(&[policy("p", EVERYONE, &[&allow("a/${clientid}/up")])]);
    let after = world(&[policy("p", EVERYONE, &[&allow("a/${clientid}/#")])]);
    let told = lines(&before, &after);
    assert_eq!(told[0], "~ MqttTenant a/t, broker default");
    let devices = "3 clients (DeviceCredential d1, DeviceCredential d2, DeviceCredential d3):";
    let start = told.iter().position(|line| line == devices).unwrap_or_else(|| panic!("{told:?}"));
    // What was allowed still is.
    assert_eq!(told[start + 1..][..2], ["+ Allow Publish a/${clientid}/#", "+ Allow Subscribe a/${clientid}/#"]);
    let back = lines(&after, &before);
    assert!(back.contains(&"- Allow Publish a/${clientid}/#".to_owned()), "{back:?}");
}

#[test]
fn another_text_that_says_the_same_is_no_change() {
    let before = world(&[policy("p", EVERYONE, &[&allow("a/b/#"), &allow("a/b/c"), &deny("a/x/#")])]);
    let renamed = world(&[policy("q", EVERYONE, &[&deny("a/x/#"), &allow("a/b/#")])]);
    assert!(diff(&before, &renamed).is_empty(), "{}", diff(&before, &renamed));
    let inside = world(&[policy("p", EVERYONE, &[&allow("a/b/#"), &deny("a/x/#"), &deny("a/x/y")])]);
    assert!(diff(&before, &inside).is_empty(), "{}", diff(&before, &inside));
    // With a variable in it, only the same text is known to say the same to clients that choose their client IDs.
    let with = |topic: &str| world(&[policy("p", EVERYONE, &[&allow("a/b/#"), &allow(topic)])]);
    let told = diff(&with("a/b/${clientid}"), &with("a/b/c")).tenants;
    let clients: Vec<_> = told.iter().flat_map(|tenant| &tenant.clients).flat_map(|clients| &clients.clients).collect();
    assert_eq!(clients, ["access key backend"]);
}

#[test]
fn a_denial_and_its_end_are_told() {
    let before = world(&[policy("p", EVERYONE, &[&allow("a/#")])]);
    let after = world(&[policy("p", EVERYONE, &[&allow("a/#")]), policy("q", "{clientIds: [d1]}", &[&deny("a/x")])]);
    let told = diff(&before, &after).tenants.remove(0).clients;
    let of_d1 = told.iter().find(|diff| diff.clients.iter().any(|client| client == "DeviceCredential d1")).unwrap();
    assert_eq!(of_d1.clients.first().map(String::as_str), Some("DeviceCredential d1"));
    assert_eq!(of_d1.changes, ["+ Deny Publish a/x", "+ Deny Subscribe a/x"]);
    assert!(!told.iter().any(|diff| diff.clients.iter().any(|client| client == "DeviceCredential d2")), "{told:?}");
    // A client of the key could be d1, as far as rules are concerned.
    assert!(told.iter().any(|diff| diff.clients.iter().any(|client| client.starts_with("access key"))), "{told:?}");
}

#[test]
fn values_that_change_under_the_same_template_are_told_with_the_values() {
    let rules = policy("p", EVERYONE, &[&allow("a/${client_attrs.site}/up")]);
    let with = |site: &str| world(&[device("d4", &format!(", clientAttributes: {{site: {site}}}")), rules.clone()]);
    let told = lines(&with("rome"), &with("bonn"));
    assert!(told.contains(&"+ Allow Publish a/bonn/up (from a/${client_attrs.site}/up)".to_owned()), "{told:?}");
    assert!(told.contains(&"- Allow Publish a/rome/up (from a/${client_attrs.site}/up)".to_owned()), "{told:?}");
    let unused = |site: &str| world(&[device("d4", &format!(", clientAttributes: {{site: {site}}}"))]);
    assert!(diff(&unused("rome"), &unused("bonn")).is_empty());
}

#[test]
fn who_comes_who_goes_and_who_is_shut_out_is_told_by_name() {
    let before = world(&[device("old", ""), device("off", "")]);
    let after = world(&[device("new", ""), device("off", ", disabled: true")]);
    let told = lines(&before, &after.replace("accessKeys: [{name: backend}]", "accessKeys: [{name: other}]"));
    for expected in [
        "- DeviceCredential old",
        "+ DeviceCredential new",
        "~ DeviceCredential off: disabled: false -> true",
        "- access key backend",
        "+ access key other",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected} in {told:?}");
    }
    let required = after.replace("instanceId: i", "instanceId: i\n  authentication: {token: {requireSub: true}}");
    assert!(lines(&after, &required).contains(&"~ token.requireSub: false -> true".to_owned()));
    let suspended = after.replace("instanceId: i", "instanceId: i\n  suspended: true");
    assert!(lines(&after, &suspended).contains(&"~ suspended: false -> true".to_owned()));
    assert_eq!(lines(&after, "").first().map(String::as_str), Some("- MqttTenant a/t, broker default"));
}

#[test]
fn a_rule_outside_the_topic_space_is_no_change_because_it_is_not_in_force() {
    let rules = |topic: &str| world(&[policy("p", EVERYONE, &[&allow("a/up"), &allow(topic)])]);
    assert!(diff(&rules("b/#"), &rules("c/#")).is_empty());
    let wider = |world: &str| world.replace("{filter: a/#}", "{filter: \"#\"}");
    let told = lines(&rules("b/#"), &wider(&rules("b/#")));
    assert!(told.contains(&"+ Allow Publish b/#".to_owned()), "{told:?}");
}
