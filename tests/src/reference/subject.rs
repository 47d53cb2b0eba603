//! Which clients a policy selects.

use std::collections::BTreeMap;

use mqtt_access_core::client::Client;
use mqtt_access_core::policy::{Effect, Operator, Policy, Selector, Subject};

use super::value;

/// "It applies to a client when any subject selects it."
pub(super) fn applies(policy: &Policy, client: &Client<'_>, effect: Effect) -> bool {
    policy.subjects.iter().any(|subject| selects(subject, client, effect))
}

/// "Either `everyone: true` alone, or one or more of .., all of which must hold; an empty subject selects nobody."
fn selects(subject: &Subject, client: &Client<'_>, effect: Effect) -> bool {
    let Subject { everyone, device_selector, client_ids, attributes, access_keys } = subject;
    let mut conditions = Vec::new();
    if let Some(selector) = device_selector {
        conditions.push(client.labels.is_some_and(|labels| selected(selector, labels)));
    }
    if let Some(globs) = client_ids {
        conditions.push(match value::client_id(client) {
            Some(id) => globs.iter().any(|glob| glob_matches(glob.as_bytes(), id.as_bytes())),
            None => effect == Effect::Deny,
        });
    }
    if let Some(wanted) = attributes {
        conditions.push(!wanted.is_empty() && wanted.iter().all(|(name, wanted)| has(client, name, wanted, effect)));
    }
    if let Some(names) = access_keys {
        conditions.push(client.access_key.is_some_and(|key| names.iter().any(|name| name == key)));
    }
    match (everyone, conditions.is_empty()) {
        (true, true) => true,
        // Malformed, and "never widened by a mistake": an Allow is lost, a Deny holds.
        (true, false) => effect == Effect::Deny,
        (false, true) => false,
        (false, false) => !conditions.contains(&false),
    }
}

fn has(client: &Client<'_>, name: &str, wanted: &str, effect: Effect) -> bool {
    if value::is_unproven(client, name) {
        return effect == Effect::Deny;
    }
    value::attribute(client, name) == Some(wanted)
}

/// As Kubernetes does it, but "an empty one is refused".
fn selected(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    let Selector { match_labels, match_expressions } = selector;
    if match_labels.is_empty() && match_expressions.is_empty() {
        return false;
    }
    let equal = match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && match_expressions.iter().all(|requirement| match (requirement.operator, labels.get(&requirement.key)) {
            (Operator::In, Some(value)) => requirement.values.contains(value),
            (Operator::NotIn, Some(value)) => !requirement.values.contains(value),
            (Operator::In | Operator::Exists, None) | (Operator::DoesNotExist, Some(_)) => false,
            (Operator::NotIn | Operator::DoesNotExist, None) | (Operator::Exists, Some(_)) => true,
        })
}

/// "`*` = any run of bytes": try every run.
#[must_use]
pub fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', glob @ ..], text) => (0..=text.len()).any(|run| glob_matches(glob, &text[run..])),
        ([a, glob @ ..], [b, text @ ..]) => a == b && glob_matches(glob, text),
        _ => false,
    }
}
