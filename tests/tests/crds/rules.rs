//! Every CEL rule of the definitions, with its place.

use mqtt_access_operator::manifest::validate::Kind;
use serde_json::Value;

/// A step from a schema to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item,
    Entry,
}

/// A rule of a definition.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// Whether it compares with the old object.
    pub(crate) on_update: bool,
    path: Vec<Step>,
}

/// Every rule of every definition.
pub(crate) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for crd in mqtt_access_crds::all() {
        let kind = Kind::parse(&crd.spec.names.kind).unwrap();
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        collect(kind, &serde_json::to_value(schema).unwrap(), &[], &mut rules);
    }
    assert!(rules.len() > 30, "the definitions have {} rules only", rules.len());
    rules
}

fn collect(kind: Kind, schema: &Value, path: &[Step], rules: &mut Vec<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push(Rule {
            kind,
            message: rule["message"].as_str().expect("every rule has a message").to_owned(),
            on_update: rule["rule"].as_str().unwrap().contains("oldSelf"),
            path: path.to_vec(),
        });
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        collect(kind, schema, &[path, &[Step::Field(name.clone())]].concat(), rules);
    }
    for (key, step) in [("items", Step::Item), ("additionalProperties", Step::Entry)] {
        if schema[key].is_object() {
            collect(kind, &schema[key], &[path, &[step]].concat(), rules);
        }
    }
}

impl Rule {
    /// Whether `path`, as faults have it, leads to the rule's place.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        let mut rest = path;
        for step in &self.path {
            let after = match step {
                Step::Field(name) => rest.trim_start_matches('.').strip_prefix(name.as_str()),
                Step::Item => rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(_, rest)| rest),
                Step::Entry => Some(""),
            };
            match after {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Whether the object has something at the rule's place.
    pub(crate) fn applies_to(&self, object: &Value) -> bool {
        reaches(object, &self.path)
    }
}

fn reaches(value: &Value, path: &[Step]) -> bool {
    match path {
        [] => true,
        [Step::Field(name), rest @ ..] => value.get(name).is_some_and(|value| reaches(value, rest)),
        [Step::Item, rest @ ..] => value.as_array().is_some_and(|items| items.iter().any(|item| reaches(item, rest))),
        [Step::Entry, rest @ ..] => {
            value.as_object().is_some_and(|fields| fields.values().any(|value| reaches(value, rest)))
        }
    }
}
