//! Whole manifests through [`super::read`].

use std::fs;

use super::*;

const TENANT: &str = "
apiVersion: mqttaccess.io/v1alpha1
kind: MqttTenant
metadata: {name: acme}
spec: {instanceId: mqtt-acme}
";

fn read_text(text: &str) -> Result<Objects, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    read(&[folder.path().to_owned()]).map_err(|refused| refused.to_string().replace(&prefix, ""))
}

fn refused(text: &str) -> String {
    read_text(text).map_or_else(|refused| refused, |objects| panic!("{objects:?} was read"))
}

fn secret(body: &str) -> String {
    format!("{{apiVersion: v1, kind: Secret, metadata: {{name: key}}, {body}}}")
}

#[test]
fn an_object_gets_what_the_api_server_would_have_given_it() {
    let objects = read_text(TENANT).unwrap();
    let tenant = &objects.tenants[0];
    assert_eq!(tenant.namespace().as_deref(), Some("default"));
    assert_eq!(tenant.uid(), Some(uid("MqttTenant", "default", "acme")));
    assert_eq!(tenant.metadata.generation, Some(1));
    assert_eq!(tenant.metadata.creation_timestamp, None);
    assert_eq!(tenant.spec.broker, "default");
}

#[test]
fn what_a_server_sets_is_set_anew_in_an_exported_object() {
    let exported = TENANT.replace(
        "{name: acme}",
        "{name: acme, uid: x, resourceVersion: '7', generation: 9, creationTimestamp: '2026-01-01T00:00:00Z', \
          labels: null, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', example.org/a: b}}",
    );
    let objects = read_text(&format!("{exported}status: {{bundle: nonsense}}\n")).unwrap();
    let metadata = &objects.tenants[0].metadata;
    assert_eq!(metadata.uid, Some(uid("MqttTenant", "default", "acme")));
    assert_eq!((metadata.resource_version.as_ref(), metadata.creation_timestamp.as_ref()), (None, None));
    assert_eq!(metadata.annotations, Some([("example.org/a".to_owned(), "b".to_owned())].into()));
    assert_eq!(objects.tenants[0].status, None);
}

#[test]
fn lists_are_unfolded_with_or_without_types() {
    let item = "{metadata: {name: NAME, namespace: b}, spec: {instanceId: i}}";
    let typed = item
        .replace("NAME", "z")
        .replace("{metadata", "{apiVersion: mqttaccess.io/v1alpha1, kind: MqttTenant, metadata");
    let text = format!(
        "{{apiVersion: v1, kind: List, items: [{typed}]}}\n---\n\
         {{apiVersion: mqttaccess.io/v1alpha1, kind: MqttTenantList, metadata: {{}}, items: [{}]}}\n",
        item.replace("NAME", "a")
    );
    let names: Vec<_> = read_text(&text).unwrap().tenants.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "z"]);
    let faulty = text.replace("instanceId: i}}]}\n---", "instanceId: /}}]}\n---");
    assert!(
        refused(&faulty).contains("a.yaml, document 1, item 1: MqttTenant b/z: spec.instanceId: "),
        "{}",
        refused(&faulty)
    );
}

#[test]
fn every_fault_of_every_object_is_told_with_its_place() {
    let text = format!(
        "{}---\n{}---\n{TENANT}---\n{TENANT}",
        TENANT.replace("name: acme", "name: a").replace("mqtt-acme", "/, brokers: x, suspended: 1"),
        TENANT.replace("name: acme", "labels: {a: '/'}").replace("mqtt-acme", "/")
    );
    let refused = refused(&text);
    for line in [
        "7 fault(s) in the manifests:",
        "a.yaml, document 1: MqttTenant default/a: spec.brokers: is not a field",
        "a.yaml, document 1: MqttTenant default/a: spec.instanceId: should match",
        "a.yaml, document 1: MqttTenant default/a: spec.suspended: must be of type boolean",
        "a.yaml, document 2: metadata.labels.a: should match",
        "a.yaml, document 2: metadata.name: is required",
        "a.yaml, document 2: spec.instanceId: should match",
        "a.yaml, document 4: MqttTenant default/acme: is declared twice, first in a.yaml, document 3",
    ] {
        assert!(refused.contains(line), "`{line}` is not in {refused}");
    }
}

#[test]
fn other_groups_are_passed_over_and_misspelt_ones_are_not() {
    let other = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, anything: [1]}";
    assert_eq!(read_text(other).unwrap().tenants.len(), 0);
    for (text, message) in [
        ("{kind: MqttTenant}", "apiVersion: is required"),
        ("{apiVersion: mqttaccess.io/v1}", "kind: is required"),
        ("just text", "kind: is required"),
        ("{apiVersion: mqttaccess.io/v1, kind: MqttTenant}", "must be `mqttaccess.io/v1alpha1`"),
        ("{apiVersion: mqttacces.io/v1alpha1, kind: AclPolicy}", "must be `mqttaccess.io/v1alpha1`"),
        ("{apiVersion: mqttaccess.io/v1alpha1, kind: AclPolice}", "is none of MqttTenant, DeviceCredential, AclPolicy"),
        ("{apiVersion: mqttaccess.io/v1alpha1, kind: MqttTenant}", "metadata.name: is required"),
    ] {
        assert!(refused(text).contains(message), "`{message}` is not in {}", refused(text));
    }
}

#[test]
fn string_data_wins_over_data() {
    let text = secret("data: {a: YQ==, b: Yg==}, stringData: {b: text}, type: Opaque, immutable: true");
    let objects = read_text(&text).unwrap();
    let data = objects.secrets[0].data.as_ref().unwrap();
    assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"a"[..], &b"text"[..]));
    assert_eq!(objects.secrets[0].string_data, None);
}

#[test]
fn a_refused_secret_is_never_quoted() {
    for (body, message) in [
        ("data: {a: hush!}", "data.a: is not base64"),
        ("data: {a: 'aHVzaA'}", "data.a: is not base64"),
        ("stringData: {a: 4711}", "stringData.a: must be of type string"),
        ("stringData: {a: [hush]}", "stringData.a: must be of type string"),
        ("stringData: hush", "stringData: must be of type object"),
        ("stringDate: {a: hush}", "stringDate: is not a field"),
        ("stringData: {'a b': hush}", "stringData: has a key that should match"),
        ("immutable: hush", "immutable: must be of type boolean"),
    ] {
        let refused = refused(&secret(body));
        assert!(refused.contains(message), "`{message}` is not in {refused}");
        assert!(["hush", "4711", "aHVza"].iter().all(|value| !refused.contains(value)), "{refused}");
    }
    let objects = read_text(&secret("stringData: {a: hush}")).unwrap();
    assert_eq!(format!("{objects:?}"), "Objects { tenants: 0, devices: 0, policies: 0, secrets: 1 }");
}

#[test]
fn a_large_secret_is_refused() {
    let text = secret(&format!("stringData: {{a: {}}}", "x".repeat((1 << 20) + 1)));
    assert!(refused(&text).contains("is larger than 1048576 bytes"));
}
