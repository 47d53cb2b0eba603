//! A JSON schema as the API server would enforce it: nulls pruned, defaults filled in, unknown fields refused, lists with
//! unique keys (pure).
//!
//! Faults never quote a value: the value may be a secret.

use std::collections::BTreeSet;
use std::fmt::Write;

use jsonschema::error::ValidationErrorKind as Wrong;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use super::refused::Fault;

/// A schema, ready to check values.
pub(super) struct Shape {
    schema: Value,
    validator: Validator,
}

/// What a shape says about a value.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) faults: Vec<Fault>,
    /// Whether rules over several fields make no sense any more: a type is wrong, a field missing, or something too large to
    /// look at. The API server draws the same line.
    pub(super) blocking: bool,
}

impl Shape {
    /// Prepares an `OpenAPI` v3 schema. Fails only for a schema that is none.
    pub(super) fn new(schema: Value) -> Result<Self, String> {
        let closed = closed(&schema);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft7)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(&closed)
            .map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// The value without nulls that mean "absent", and with the defaults.
    pub(super) fn defaulted(&self, mut value: Value) -> Value {
        prune(&self.schema, &mut value);
        kube::core::cel::apply_defaults(&self.schema, &value)
    }

    /// Everything that is wrong with the value.
    pub(super) fn verdict(&self, value: &Value) -> Verdict {
        let mut verdict = Verdict::default();
        for error in self.validator.iter_errors(value) {
            verdict.blocking |= is_blocking(error.kind());
            verdict.faults.extend(faults(&path_of(error.instance_path()), error.kind()));
        }
        repeated(&self.schema, value, "", &mut verdict.faults);
        verdict
    }
}

/// The schema with unknown fields refused: the API server prunes them, or refuses them as `kubectl` asks it to.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut fields: Map<_, _> = fields.iter().map(|(key, value)| (key.clone(), closed(value))).collect();
            let is_object = fields.get("properties").is_some_and(Value::is_object);
            if is_object && fields.get("type").is_some_and(|kind| kind == "object") {
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.iter().map(closed).collect()),
        other => other.clone(),
    }
}

fn child<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let property = schema.get("properties").and_then(|properties| properties.get(key));
    property.or_else(|| schema.get("additionalProperties"))
}

/// Takes out nulls where null is not a value: there, `null` and absence are the same.
fn prune(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let nullable = |schema: &Value| schema.get("nullable").is_some_and(|nullable| nullable == true);
            fields.retain(|key, value| !value.is_null() || child(schema, key).is_none_or(nullable));
            for (key, value) in fields {
                let Some(schema) = child(schema, key) else { continue };
                prune(schema, value);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for item in items {
                prune(schema, item);
            }
        }
        _ => {}
    }
}

/// Lists that are sets or maps must not say the same thing twice.
fn repeated(schema: &Value, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let Some(schema) = child(schema, key) else { continue };
                repeated(schema, value, &join(path, key), faults);
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (item, index) in items.iter().zip(0..) {
                let path = format!("{path}[{index}]");
                if identity(schema, item).is_some_and(|identity| !seen.insert(identity)) {
                    faults.push(Fault::new(path.as_str(), "is there twice: remove one"));
                }
                let Some(schema) = schema.get("items") else { continue };
                repeated(schema, item, &path, faults);
            }
        }
        _ => {}
    }
}

/// What must be unique among the items of a list.
fn identity(schema: &Value, item: &Value) -> Option<String> {
    match schema.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(item.to_string()),
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
            let values = keys.iter().map(|key| item.get(key.as_str()?));
            Some(values.map(|value| value.unwrap_or(&Value::Null).to_string()).collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

fn is_blocking(wrong: &Wrong) -> bool {
    matches!(
        wrong,
        Wrong::Type { .. }
            | Wrong::Required { .. }
            | Wrong::MaxItems { .. }
            | Wrong::MaxLength { .. }
            | Wrong::MaxProperties { .. }
    )
}

fn faults(path: &str, wrong: &Wrong) -> Vec<Fault> {
    match wrong {
        Wrong::AdditionalProperties { unexpected } => {
            let unknown = |name: &String| Fault::new(join(path, name), "is not a field: remove it or correct its name");
            unexpected.iter().map(unknown).collect()
        }
        Wrong::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Fault::new(join(path, name), "is required: add it")]
        }
        Wrong::PropertyNames { error } => vec![Fault::new(path, format!("has a key that {}", describe(error.kind())))],
        wrong => vec![Fault::new(path, describe(wrong))],
    }
}

fn describe(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Type { kind } => format!("must be {}: correct or quote it", type_name(kind)),
        Wrong::Enum { options } => format!("must be one of {options}"),
        Wrong::Pattern { pattern } => format!("should match '{pattern}'"),
        Wrong::Format { format } => format!("must be a {format}, for example 2027-01-31T00:00:00Z"),
        Wrong::MinLength { limit } => format!("should be at least {limit} chars long"),
        Wrong::MaxLength { limit } => format!("may not be longer than {limit} characters"),
        Wrong::MinItems { limit } => format!("should have at least {limit} items; leave the field out for none"),
        Wrong::MaxItems { limit } => format!("must have at most {limit} items"),
        Wrong::MinProperties { limit } => format!("should have at least {limit} entries; leave the field out for none"),
        Wrong::MaxProperties { limit } => format!("must have at most {limit} entries"),
        Wrong::Minimum { limit } => format!("should be greater than or equal to {limit}"),
        Wrong::Maximum { limit } => format!("should be less than or equal to {limit}"),
        other => format!("is refused by `{}` of the schema", other.keyword()),
    }
}

fn type_name(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => format!("of type {one}"),
        jsonschema::error::TypeKind::Multiple(_) => "of another type".to_owned(),
    }
}

fn path_of(location: &Location) -> String {
    location.iter().fold(String::new(), |path, segment| match segment {
        LocationSegment::Property(name) => join(&path, &name),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

/// `a.b`, or `a["b c"]` where the key is no plain name.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) && !key.is_empty();
    let mut joined = path.to_owned();
    let written = match (plain, path.is_empty()) {
        (true, true) => write!(joined, "{key}"),
        (true, false) => write!(joined, ".{key}"),
        (false, _) => write!(joined, "[{key:?}]"),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    joined
}
