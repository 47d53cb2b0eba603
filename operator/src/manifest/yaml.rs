//! YAML in and out: the only module that knows the YAML crate, so that it can be replaced in one place.
//!
//! Values pass through the YAML crate's own value type, because that one refuses duplicate keys, as `kubectl` does;
//! `serde_json`'s would keep the last.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_yaml::Value as Yaml;
use thiserror::Error;

/// Why text is not YAML or JSON, or a value not expressible in it. Never quotes values: they may be secrets.
#[derive(Debug, Error)]
pub enum YamlError {
    /// The text cannot be parsed.
    #[error("is not YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// The text cannot be parsed as JSON.
    #[error("is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something that JSON, and so Kubernetes, cannot express.
    #[error("{0}: Kubernetes knows strings, numbers, booleans, lists and maps with string keys only")]
    NotJson(&'static str),
}

/// Prints a value as one YAML document, with a newline at the end.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    Ok(serde_yaml::to_string(value)?)
}

/// The documents of a YAML text, empty ones included (they count); stops at the first one that cannot be parsed.
#[must_use]
pub fn documents(text: &str) -> Vec<Result<Value, YamlError>> {
    let documents = serde_yaml::Deserializer::from_str(text);
    up_to_error(documents.map(|document| from_yaml(Yaml::deserialize(document)?)))
}

/// The values of a JSON text, one after the other; stops at the first one that cannot be parsed.
#[must_use]
pub fn json_documents(text: &str) -> Vec<Result<Value, YamlError>> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Yaml>();
    up_to_error(values.map(|value| from_yaml(value?)))
}

fn up_to_error<T>(results: impl Iterator<Item = Result<T, YamlError>>) -> Vec<Result<T, YamlError>> {
    let mut failed = false;
    results.take_while(|result| !std::mem::replace(&mut failed, result.is_err())).collect()
}

fn from_yaml(mut yaml: Yaml) -> Result<Value, YamlError> {
    yaml.apply_merge()?;
    to_json(yaml)
}

fn to_json(yaml: Yaml) -> Result<Value, YamlError> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => to_number(&number)?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => Value::Object(to_object(entries)?),
        Yaml::Tagged(_) => return Err(YamlError::NotJson("has a YAML tag")),
    })
}

fn to_number(number: &serde_yaml::Number) -> Result<Value, YamlError> {
    let integer = number.as_i64().map(Value::from).or_else(|| number.as_u64().map(Value::from));
    let float = || number.as_f64().and_then(serde_json::Number::from_f64).map(Value::Number);
    integer.or_else(float).ok_or(YamlError::NotJson("has an infinite number"))
}

fn to_object(entries: serde_yaml::Mapping) -> Result<Map<String, Value>, YamlError> {
    entries.into_iter().map(|(key, value)| Ok((to_key(key)?, to_json(value)?))).collect()
}

/// `kubectl` turns keys such as `1` and `true` into strings.
fn to_key(key: Yaml) -> Result<String, YamlError> {
    match key {
        Yaml::String(text) => Ok(text),
        Yaml::Bool(value) => Ok(value.to_string()),
        Yaml::Number(number) => Ok(number.to_string()),
        _ => Err(YamlError::NotJson("has a key that is no string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        documents(text).into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
    }

    #[test]
    fn documents_are_told_apart_and_empty_ones_count() {
        let values: Vec<_> = documents("a: 1\n---\n---\nb: [x, 2.5, true]\n").into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [serde_json::json!({"a": 1}), Value::Null, serde_json::json!({"b": ["x", 2.5, true]})]);
    }

    #[test]
    fn merge_keys_and_keys_that_are_no_strings_are_resolved() {
        let values: Vec<_> = documents("a: &a {x: 1}\nb: {<<: *a, 2: y}\n").into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [serde_json::json!({"a": {"x": 1}, "b": {"x": 1, "2": "y"}})]);
    }

    #[test]
    fn a_duplicate_key_is_refused_in_yaml_and_in_json() {
        assert!(faults("a: 1\na: 2\n")[0].contains("duplicate"), "{:?}", faults("a: 1\na: 2\n"));
        assert!(json_documents(r#"{"a": 1, "a": 2}"#)[0].is_err());
    }

    #[test]
    fn reading_stops_at_the_first_fault() {
        assert_eq!(documents("a: 1\n---\nb: [\n---\nc: 1\n").len(), 2);
        assert_eq!(json_documents(r#"{"a": 1} {"b": } {"c": 1}"#).len(), 2);
    }

    #[test]
    fn tags_and_infinities_are_refused() {
        assert_eq!(faults("a: !secret x\n").len(), 1);
        assert_eq!(faults("a: .inf\n").len(), 1);
    }
}
