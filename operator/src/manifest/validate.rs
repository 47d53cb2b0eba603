//! What the API server would say about one object: the definition's schema, then its CEL rules (pure).

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use mqtt_access_crds as crds;
use serde_json::{Map, Value, json};

use super::refused::Fault;
use super::shape::{Shape, Verdict};

/// A kind of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `MqttTenant`
    MqttTenant,
    /// `DeviceCredential`
    DeviceCredential,
    /// `AclPolicy`
    AclPolicy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::MqttTenant, Self::DeviceCredential, Self::AclPolicy];

    /// As it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MqttTenant => "MqttTenant",
            Self::DeviceCredential => "DeviceCredential",
            Self::AclPolicy => "AclPolicy",
        }
    }

    /// The kind of this name, in this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The definitions of all kinds, ready to check objects. Costs some milliseconds to make.
pub struct Definitions {
    metadata: Result<Shape, String>,
    secret: Result<Shape, String>,
    custom: Vec<(String, Result<Definition, String>)>,
    cel: Validator,
}

struct Definition {
    shape: Shape,
    rules: CompiledSchema,
}

impl Default for Definitions {
    fn default() -> Self {
        Self::new()
    }
}

impl Definitions {
    /// Prepares the definitions of the package `mqtt-access-crds`.
    #[must_use]
    pub fn new() -> Self {
        let custom = crds::all().into_iter().map(|crd| {
            let version = crd.spec.versions.into_iter().next();
            let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
            let schema = serde_json::to_value(schema).map_err(|error| error.to_string());
            (crd.spec.names.kind, schema.and_then(Definition::new))
        });
        Self {
            metadata: Shape::new(metadata_schema()),
            secret: Shape::new(super::secret::schema()),
            custom: custom.collect(),
            cel: Validator::new(),
        }
    }

    /// The object as the API server would store it, or everything that it would refuse it for.
    ///
    /// `old` is what is stored now: then rules over updates count too. `metadata` is looked at by rules only, `status` is
    /// dropped, as for every object that a user writes.
    pub fn check(&self, kind: Kind, object: Value, old: Option<&Value>) -> Result<Value, Vec<Fault>> {
        let found = self.custom.iter().find(|(name, _)| name == kind.as_str());
        match found {
            Some((_, Ok(definition))) => definition.check(&self.cel, object, old),
            Some((_, Err(error))) => Err(unusable(kind.as_str(), error)),
            None => Err(unusable(kind.as_str(), "it is missing")),
        }
    }

    /// A Secret without the nulls that mean "absent". `metadata` is not looked at.
    pub(super) fn check_secret(&self, secret: Value) -> Result<Value, Vec<Fault>> {
        let shape = self.secret.as_ref().map_err(|error| unusable("Secret", error))?;
        let secret = shape.defaulted(secret);
        let Verdict { faults, .. } = shape.verdict(&body(&secret));
        if faults.is_empty() { Ok(secret) } else { Err(faults) }
    }

    /// `metadata` without the nulls that mean "absent", and everything that is wrong with it.
    pub(super) fn check_metadata(&self, metadata: Value) -> (Value, Vec<Fault>) {
        let shape = match &self.metadata {
            Ok(shape) => shape,
            Err(error) => return (metadata, unusable("metadata", error)),
        };
        let mut object = shape.defaulted(json!({ "metadata": metadata }));
        let faults = shape.verdict(&object).faults;
        let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
        (metadata, faults)
    }
}

fn unusable(what: &str, error: &str) -> Vec<Fault> {
    vec![Fault::new("", format!("the built-in definition of {what} is unusable, which is a bug: {error}"))]
}

impl Definition {
    fn new(schema: Value) -> Result<Self, String> {
        let rules = compile_schema(&schema);
        if let Some(error) = rules.compilation_errors().first() {
            return Err(error.to_string());
        }
        Ok(Self { shape: Shape::new(schema)?, rules })
    }

    fn check(&self, cel: &Validator, object: Value, old: Option<&Value>) -> Result<Value, Vec<Fault>> {
        let object = self.shape.defaulted(without_status(object));
        let old = old.map(|old| self.shape.defaulted(without_status(old.clone())));
        let Verdict { mut faults, blocking } = self.shape.verdict(&body(&object));
        if !blocking && let Err(errors) = cel.validate_compiled(&self.rules, &object, old.as_ref()) {
            faults.extend(errors.into_iter().map(|error| Fault::new(error.field_path, error.message)));
        }
        if faults.is_empty() { Ok(object) } else { Err(faults) }
    }
}

/// The part that the definition's schema is about.
fn body(object: &Value) -> Value {
    let Value::Object(fields) = object else { return object.clone() };
    let known = ["apiVersion", "kind", "metadata"];
    Value::Object(fields.iter().filter(|(key, _)| !known.contains(&key.as_str())).map(owned).collect::<Map<_, _>>())
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn without_status(mut object: Value) -> Value {
    object.as_object_mut().map(|fields| fields.remove("status"));
    object
}

/// `metadata` of a namespaced object, in the words of the API server.
fn metadata_schema() -> Value {
    let label = "([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)";
    let subdomain = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
    let key = json!({ "pattern": format!("^({subdomain}/)?{label}$"), "maxLength": 317 });
    let set_by_server = json!({});
    json!({
        "type": "object",
        "required": ["metadata"],
        "properties": { "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "maxLength": 253, "pattern": format!("^{subdomain}$") },
                "namespace": { "type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
                "labels": {
                    "type": "object",
                    "propertyNames": key,
                    "additionalProperties": { "type": "string", "pattern": format!("^{label}?$") },
                },
                "annotations": { "type": "object", "propertyNames": key, "additionalProperties": { "type": "string" } },
                "finalizers": { "type": "array", "items": { "type": "string" } },
                "ownerReferences": { "type": "array", "items": owner_reference() },
                "creationTimestamp": set_by_server,
                "deletionGracePeriodSeconds": set_by_server,
                "deletionTimestamp": set_by_server,
                "generation": set_by_server,
                "managedFields": set_by_server,
                "resourceVersion": set_by_server,
                "selfLink": set_by_server,
                "uid": set_by_server,
            },
        } },
    })
}

fn owner_reference() -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "name", "uid"],
        "properties": {
            "apiVersion": { "type": "string", "minLength": 1 },
            "kind": { "type": "string", "minLength": 1 },
            "name": { "type": "string", "minLength": 1 },
            "uid": { "type": "string", "minLength": 1 },
            "controller": { "type": "boolean" },
            "blockOwnerDeletion": { "type": "boolean" },
        },
    })
}
