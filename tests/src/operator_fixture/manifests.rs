//! Objects as tests write them: what does not matter to a test is settled here.

use serde_json::{Value, json};

/// An object, as JSON.
pub type Manifest = Value;

const VERSION: &str = "mqttaccess.io/v1alpha1";

/// A namespace.
#[must_use]
pub fn namespace(name: &str) -> Manifest {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A tenant that owns the client IDs `GID_<namespace>_<name>@@@...` and the topics `<namespace>/<name>/#`.
#[must_use]
pub fn tenant(namespace: &str, name: &str) -> Manifest {
    json!({
        "apiVersion": VERSION,
        "kind": "MqttTenant",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "instanceId": format!("mqtt-{namespace}-{name}"),
            "clientIdPrefixes": [format!("GID_{namespace}_{name}@@@")],
            "topicSpace": [{"filter": format!("{namespace}/{name}/#")}],
        },
    })
}

/// The client ID that [`device`] gives.
#[must_use]
pub fn client_id(namespace: &str, tenant: &str, name: &str) -> String {
    format!("GID_{namespace}_{tenant}@@@{name}")
}

/// A device of [`tenant`] with a client ID that is its own.
#[must_use]
pub fn device(namespace: &str, tenant: &str, name: &str) -> Manifest {
    json!({
        "apiVersion": VERSION,
        "kind": "DeviceCredential",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"tenantRef": {"name": tenant}, "clientId": client_id(namespace, tenant, name)},
    })
}

/// A policy with one subject.
#[must_use]
pub fn policy(namespace: &str, tenant: &str, name: &str, subject: &Value, rules: &[Value]) -> Manifest {
    json!({
        "apiVersion": VERSION,
        "kind": "AclPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"tenantRef": {"name": tenant}, "subjects": [subject], "rules": rules},
    })
}

/// A rule about publishing and subscribing.
#[must_use]
pub fn rule(effect: &str, topics: &[&str]) -> Value {
    json!({"effect": effect, "actions": ["Publish", "Subscribe"], "topics": topics})
}

/// A policy that allows everyone these topics.
#[must_use]
pub fn allow(namespace: &str, tenant: &str, name: &str, topics: &[&str]) -> Manifest {
    policy(namespace, tenant, name, &json!({"everyone": true}), &[rule("Allow", topics)])
}

/// The object with a merge patch applied.
#[must_use]
pub fn edited(mut object: Manifest, patch: &Value) -> Manifest {
    merge(&mut object, patch);
    object
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// One object that holds them all, for kubectl.
#[must_use]
pub fn list(objects: impl IntoIterator<Item = Manifest>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects.into_iter().collect::<Vec<_>>()})
}

/// Where an object is created.
pub(super) fn collection(object: &Manifest) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let plural = match text("/kind") {
        "MqttTenant" => super::TENANTS,
        "DeviceCredential" => super::DEVICES,
        "AclPolicy" => super::POLICIES,
        other => panic!("no collection is known for {other}"),
    };
    format!("/apis/{VERSION}/namespaces/{}/{plural}", text("/metadata/namespace"))
}
