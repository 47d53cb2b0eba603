//! The corpus: objects with what must become of them.

use std::path::Path;

use mqtt_access_operator::manifest::validate::Kind;
use mqtt_access_operator::manifest::yaml;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What must become of an object.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Accepted,
    /// Refused, with this in the message.
    Refused(String),
}

/// One object, or one object and what it is changed into.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) object: Value,
    pub(crate) update: Option<Value>,
    pub(crate) expected: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    base: Value,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    change: Value,
    update: Option<Value>,
    refused: Option<String>,
}

/// Every case of `tests/data/crds/`.
pub(crate) fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/crds");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|file| cases(&file)).collect()
}

fn cases(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut documents = yaml::documents(&text);
    let document = documents.remove(0).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let File { base, cases } = serde_json::from_value(document).unwrap();
    cases.into_iter().map(|entry| case(&base, entry)).collect()
}

fn case(base: &Value, entry: Entry) -> Case {
    let object = merged(base.clone(), entry.change);
    Case {
        name: entry.name,
        kind: Kind::parse(base["kind"].as_str().unwrap()).unwrap(),
        update: entry.update.map(|update| merged(object.clone(), update)),
        object,
        expected: entry.refused.map_or(Expected::Accepted, Expected::Refused),
    }
}

/// RFC 7386, but that nulls within lists stay, and with `{repeat, times}` spelt out.
fn merged(base: Value, change: Value) -> Value {
    match (base, change) {
        (base, Value::Null) => base,
        (base, Value::Object(change)) if change.contains_key("repeat") => {
            drop(base);
            expanded(Value::Object(change))
        }
        (base, Value::Object(change)) => {
            let mut fields = if let Value::Object(fields) = base { fields } else { Map::new() };
            for (key, value) in change {
                match value {
                    Value::Null => drop(fields.remove(&key)),
                    value => {
                        let old = fields.remove(&key).unwrap_or_default();
                        fields.insert(key, merged(old, value));
                    }
                }
            }
            Value::Object(fields)
        }
        (_, change) => expanded(change),
    }
}

fn expanded(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("repeat") => {
            let times = usize::try_from(fields["times"].as_u64().unwrap()).unwrap();
            fields["repeat"].as_str().unwrap().repeat(times).into()
        }
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, expanded(value))).collect(),
        Value::Array(items) => items.into_iter().map(expanded).collect(),
        other => other,
    }
}
