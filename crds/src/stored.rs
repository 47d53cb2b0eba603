//! [`Stored`]: an object as the API server stores it, whether or not this program can decode it.
//!
//! A newer or older operator, or an object from before a rule was tightened, must never hide the others: one object that
//! does not decode would fail a whole list.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object that may not decode. Use it wherever objects are listed or watched: `Api<Stored<MqttTenant>>`.
#[derive(Clone, Debug)]
pub enum Stored<K> {
    /// The object.
    Decoded(Box<K>),
    /// What is left of an object that does not decode.
    Undecodable(Box<Undecodable>),
}

/// What is left of an object that does not decode as its type.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Its metadata: enough to name it, to report on it and to notice its deletion.
    pub metadata: ObjectMeta,
    /// Its spec as it stands, for what can be told without its type (the tenant it names, the client ID it takes). Resources
    /// of this group hold no secrets.
    pub spec: Value,
    /// Its status as it stands, so that a report can be compared with it.
    pub status: Value,
    /// Why it does not decode.
    pub error: String,
}

impl Undecodable {
    /// The string at `spec.<path>`, if there is one: `["tenantRef", "name"]`.
    #[must_use]
    pub fn spec_str(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(&self.spec, |value, key| value.get(key))?.as_str()
    }
}

impl<K> Stored<K> {
    /// The object, if it decodes.
    #[must_use]
    pub fn decoded(&self) -> Option<&K> {
        match self {
            Self::Decoded(object) => Some(object),
            Self::Undecodable(_) => None,
        }
    }

    /// The object, or what is left of it.
    ///
    /// # Errors
    /// What is left of the object, when it does not decode.
    pub fn as_result(&self) -> Result<&K, &Undecodable> {
        match self {
            Self::Decoded(object) => Ok(object),
            Self::Undecodable(rest) => Err(rest),
        }
    }
}

impl<K> From<K> for Stored<K> {
    fn from(object: K) -> Self {
        Self::Decoded(Box::new(object))
    }
}

#[derive(Deserialize)]
struct MetadataOnly {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let error = match decode(&value) {
            Ok(object) => return Ok(Self::Decoded(Box::new(object))),
            Err(error) => error,
        };
        let spec = value.get_mut("spec").map(Value::take).unwrap_or_default();
        let status = value.get_mut("status").map(Value::take).unwrap_or_default();
        let MetadataOnly { metadata } = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self::Undecodable(Box::new(Undecodable { metadata, spec, status, error })))
    }
}

/// Decodes an object all of whose spec is understood. A field that is ignored could be one that narrows an Allow, written
/// under newer CRDs.
fn decode<K: DeserializeOwned>(value: &Value) -> Result<K, String> {
    let mut unknown = None;
    let object = serde_ignored::deserialize(value, |path| {
        let path = path.to_string();
        if path.starts_with("spec.") {
            unknown.get_or_insert(path);
        }
    });
    match (object, unknown) {
        (Ok(object), None) => Ok(object),
        (Ok(_), Some(path)) => Err(format!("`{path}` is unknown to this operator; remove it or upgrade the operator")),
        (Err(error), _) => Err(error.to_string()),
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Decoded(object) => object.meta(),
            Self::Undecodable(rest) => &rest.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Decoded(object) => object.meta_mut(),
            Self::Undecodable(rest) => &mut rest.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;
    use crate::DeviceCredential;

    #[test]
    fn a_field_that_is_not_understood_is_not_passed_over() {
        let spec = json!({ "tenantRef": { "name": "acme" }, "clientId": "dev1", "onlyFrom": "10.0.0.0/8" });
        let object = json!({ "apiVersion": "mqttaccess.io/v1alpha1", "kind": "DeviceCredential",
            "metadata": { "name": "dev1", "unheardOf": true }, "spec": spec });
        let stored: Stored<DeviceCredential> = serde_json::from_value(object).unwrap();
        let error = &stored.as_result().unwrap_err().error;
        assert!(error.contains("`spec.onlyFrom`"), "{error}");
    }

    fn list() -> ObjectList<Stored<DeviceCredential>> {
        let good = json!({ "tenantRef": { "name": "acme" }, "clientId": "dev1" });
        let newer = json!({ "tenantRef": { "name": "acme" }, "clientId": "dev2", "mechanisms": ["Quantum"] });
        let broken = json!("nonsense");
        let item = |name: &str, spec: &Value| json!({ "apiVersion": "mqttaccess.io/v1alpha1", "kind": "DeviceCredential", "metadata": { "name": name }, "spec": spec });
        let items = [item("good", &good), item("newer", &newer), item("broken", &broken)];
        serde_json::from_value(json!({
            "apiVersion": "mqttaccess.io/v1alpha1",
            "kind": "DeviceCredentialList",
            "metadata": { "resourceVersion": "7" },
            "items": items,
        }))
        .unwrap()
    }

    #[test]
    fn one_object_that_does_not_decode_does_not_hide_the_others() {
        let names: Vec<_> =
            list().items.iter().map(|object| (object.meta().name.clone(), object.decoded().is_some())).collect();
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(names, [(name("good"), true), (name("newer"), false), (name("broken"), false)]);
    }

    #[test]
    fn what_is_left_tells_the_tenant_and_the_client_id() {
        let list = list();
        let newer = list.items[1].as_result().unwrap_err();
        assert_eq!(newer.spec_str(&["tenantRef", "name"]), Some("acme"));
        assert_eq!(newer.spec_str(&["clientId"]), Some("dev2"));
        assert!(newer.error.contains("Quantum"), "{}", newer.error);
        let broken = list.items[2].as_result().unwrap_err();
        assert_eq!(broken.spec_str(&["clientId"]), None);
    }

    #[test]
    fn even_an_object_without_metadata_is_kept() {
        let object: Stored<DeviceCredential> = serde_json::from_value(json!({ "spec": 1 })).unwrap();
        assert_eq!(object.meta().name, None);
    }
}
