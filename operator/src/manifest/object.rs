//! From a document to one object: lists unfolded, kind and metadata checked (pure).

use std::fmt;

use mqtt_access_crds as crds;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Origin;
use super::files::Document;
use super::refused::{Fault, Place};
use super::validate::{Definitions, Kind};

/// Written by `kubectl apply`; it repeats the whole manifest, a Secret's values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// A kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReadKind {
    Secret,
    Custom(Kind),
}

impl ReadKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Custom(kind) => kind.as_str(),
        }
    }
}

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) kind: ReadKind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// An object of a kind that is read, with metadata as the API server would have stored it. Its body is not looked at yet.
///
/// No `Debug`: it may be a Secret.
pub(super) struct Envelope {
    pub(super) kind: ReadKind,
    /// `None` without a name.
    pub(super) identity: Option<Identity>,
    pub(super) value: Value,
    /// What is wrong with the metadata.
    pub(super) faults: Vec<Fault>,
}

/// The items of a `List`, or the object itself.
pub(super) fn unfold(document: Document) -> Vec<(Place, Value)> {
    let Document { place, mut value } = document;
    let kind = text(&value, "kind").unwrap_or_default().to_owned();
    let Some(item_kind) = kind.strip_suffix("List") else { return vec![(place, value)] };
    let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) else { return vec![(place, value)] };
    let api_version = value.get("apiVersion").cloned();
    let typed = |mut item: Value| {
        // The API server leaves these out of the items of a typed list.
        if let (Some(item), Some(version), false) = (item.as_object_mut(), &api_version, item_kind.is_empty()) {
            item.entry("apiVersion").or_insert_with(|| version.clone());
            item.entry("kind").or_insert_with(|| item_kind.into());
        }
        item
    };
    let numbered = items.into_iter().zip(1..);
    numbered.map(|(item, number)| (Place { item: Some(number), ..place.clone() }, typed(item))).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

/// The kind that is read, `None` for one that is passed over.
fn kind_of(value: &Value) -> Result<Option<ReadKind>, Fault> {
    let missing = |key| Fault::new(key, "is required: this is not a Kubernetes object without it");
    let kind = text(value, "kind").ok_or_else(|| missing("kind"))?;
    let api_version = text(value, "apiVersion").ok_or_else(|| missing("apiVersion"))?;
    let ours = format!("{}/{}", crds::GROUP, crds::VERSION);
    match Kind::parse(kind) {
        Some(kind) if api_version == ours => Ok(Some(ReadKind::Custom(kind))),
        Some(kind) => Err(Fault::new("apiVersion", format!("of {} must be `{ours}`", kind.as_str()))),
        None if api_version == crds::GROUP || api_version.starts_with(&format!("{}/", crds::GROUP)) => {
            Err(Fault::new("kind", format!("is none of {}", Kind::ALL.map(Kind::as_str).join(", "))))
        }
        None => Ok((kind == "Secret" && api_version == "v1").then_some(ReadKind::Secret)),
    }
}

impl Definitions {
    /// Checks kind and metadata; `None` for a kind that is passed over.
    pub(super) fn envelope(&self, value: Value, origin: Origin) -> Result<Option<Envelope>, Fault> {
        let Some(kind) = kind_of(&value)? else { return Ok(None) };
        let Value::Object(mut object) = value else { return Ok(None) };
        let metadata = object.remove("metadata").unwrap_or_else(|| json!({}));
        let (metadata, mut faults) = self.check_metadata(metadata);
        let namespace = text(&metadata, "namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
        let name = text(&metadata, "name").unwrap_or_default().to_owned();
        let identity = Identity { kind, namespace, name };
        let mut stored = stored_metadata(&identity, &metadata);
        if origin == Origin::Exported {
            faults.extend(exported(kind, &metadata, &mut stored));
        }
        object.insert("metadata".to_owned(), Value::Object(stored));
        let identity = Some(identity).filter(|identity| !identity.name.is_empty());
        Ok(Some(Envelope { kind, identity, value: Value::Object(object), faults }))
    }
}

/// Keeps what an API server said of the identity and the age of an object. Both are needed where they decide.
fn exported(kind: ReadKind, metadata: &Value, stored: &mut Map<String, Value>) -> Vec<Fault> {
    let decides = matches!(kind, ReadKind::Custom(Kind::MqttTenant | Kind::DeviceCredential));
    let mut faults = Vec::new();
    for key in ["uid", "creationTimestamp"] {
        match text(metadata, key).filter(|value| !value.is_empty()) {
            Some(value) => _ = stored.insert(key.to_owned(), value.into()),
            None if decides => {
                let message = "is missing: with `--exported` each MqttTenant and DeviceCredential has to be as the API server \
                               gave it out; dump it anew, or leave the option out";
                faults.push(Fault::new(format!("metadata.{key}"), message));
            }
            None => {}
        }
    }
    faults
}

/// What the API server would have stored: what it sets itself is set anew, whatever a manifest says.
fn stored_metadata(identity: &Identity, metadata: &Value) -> Map<String, Value> {
    let mut stored = Map::new();
    for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
        metadata.get(key).into_iter().for_each(|value| drop(stored.insert(key.to_owned(), value.clone())));
    }
    if let Some(annotations) = stored.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    let Identity { kind, namespace, name } = identity;
    stored.insert("name".to_owned(), name.as_str().into());
    stored.insert("namespace".to_owned(), namespace.as_str().into());
    stored.insert("uid".to_owned(), uid(kind.as_str(), namespace, name).into());
    stored.insert("generation".to_owned(), 1.into());
    stored
}

/// The UID of an object that no API server gave one: a hash of kind, namespace and name, in the form of a UUID (version 8).
#[must_use]
pub fn uid(kind: &str, namespace: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{kind}/{namespace}/{name}"));
    let bits = digest.iter().take(16).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let (mut rest, mut groups) = (hex.as_str(), Vec::new());
    for length in [8, 4, 4, 4, 12] {
        let (group, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        groups.push(group);
        rest = after;
    }
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_look_like_uuids_and_differ_by_kind_and_name() {
        let one = uid("MqttTenant", "acme", "acme");
        assert_eq!(one, uid("MqttTenant", "acme", "acme"));
        assert_ne!(one, uid("AclPolicy", "acme", "acme"));
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(one.split('-').nth(2).unwrap().starts_with('8'));
        assert!(one.split('-').nth(3).unwrap().starts_with(['8', '9', 'a', 'b']));
    }
}
