//! Writing a status: compare first, then patch what differs. Conditions of others are kept.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use mqtt_access_crds::{Condition, ConditionReason};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::ReportError;
use crate::cluster::controller::Context;
use crate::names::MANAGER;
use crate::shorten::shorten;

/// An object whose status can be compared.
pub(in crate::cluster) trait HasStatus:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
    /// The status as JSON; `null` where there is none.
    fn status(&self) -> Value;
}

/// The most bytes of a condition's message: Kubernetes' own conditions take 32,768.
const MAX_MESSAGE: usize = 8 * 1024;

/// A condition about this generation of an object. The time is settled when it is written.
pub(super) fn condition<R: ConditionReason>(object: &impl Resource, reason: R, message: String) -> Condition {
    reason.condition(shorten(message, MAX_MESSAGE), object.meta().generation, Time(Timestamp::UNIX_EPOCH))
}

/// Whether a status says so already, if in other words: those of another operator, of another version. Where both may speak,
/// they would correct each other for ever.
pub(super) fn is_said(object: &impl HasStatus, condition: &Condition) -> bool {
    let status = object.status();
    let known =
        status.get("conditions").cloned().and_then(|known| serde_json::from_value::<Vec<Condition>>(known).ok());
    known.is_some_and(|known| {
        known.iter().any(|known| {
            known.type_ == condition.type_
                && known.reason == condition.reason
                && known.observed_generation == condition.observed_generation
        })
    })
}

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It was different, and is written.
    Yes,
    /// It says so already, or the object changed meanwhile and is looked at again.
    No,
}

/// Writes conditions and fields of a status where they differ from what is there.
pub(super) async fn write_status<K: HasStatus>(
    context: &Context,
    object: &K,
    conditions: &[Condition],
    fields: Map<String, Value>,
) -> Result<Written, ReportError> {
    let before = object.status();
    let Some(patch) = patch(&before, conditions, fields) else { return Ok(Written::No) };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    // Under the version that was read: what somebody changed meanwhile is looked at again first.
    let version = object.resource_version();
    let body = json!({ "metadata": { "resourceVersion": version }, "status": patch });
    let manager = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(&name, &manager, &Patch::Merge(body)).await {
        Ok(_) => Ok(Written::Yes),
        // It changed or went away: its own event brings it back here.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Written::No),
        Err(source) => Err(ReportError { kind: K::kind(&()).into_owned(), name, source }),
    }
}

/// What has to change; `None` where nothing has.
fn patch(before: &Value, conditions: &[Condition], mut fields: Map<String, Value>) -> Option<Value> {
    let known: Vec<Condition> =
        before.get("conditions").and_then(|known| serde_json::from_value(known.clone()).ok()).unwrap_or_default();
    let mut all = known.clone();
    for condition in conditions {
        match all.iter_mut().find(|known| known.type_ == condition.type_) {
            Some(known) => *known = settle(condition, Some(&*known)),
            None => all.push(settle(condition, None)),
        }
    }
    fields.retain(|name, value| !same(before.get(name), value));
    fields.iter_mut().for_each(|(name, value)| remove_absent(before.get(name), value));
    if all != known {
        fields.insert("conditions".to_owned(), json!(all));
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// A condition keeps its time as long as its status stays.
fn settle(condition: &Condition, known: Option<&Condition>) -> Condition {
    let since = match known {
        Some(known) if known.status == condition.status => known.last_transition_time.clone(),
        _ => Time(Timestamp::now()),
    };
    Condition { last_transition_time: since, ..condition.clone() }
}

/// A merge patch keeps what it does not name: what an object does not have any more has to be named.
fn remove_absent(before: Option<&Value>, after: &mut Value) {
    let (Some(Value::Object(before)), Value::Object(after)) = (before, after) else { return };
    for (name, known) in before {
        remove_absent(Some(known), after.entry(name).or_insert(Value::Null));
    }
}

/// An absent field, `null` and an empty list say the same.
fn same(before: Option<&Value>, after: &Value) -> bool {
    let nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    match before {
        Some(before) => before == after || (nothing(before) && nothing(after)),
        None => nothing(after),
    }
}

#[cfg(test)]
mod tests {
    use mqtt_access_crds::{DeviceReady, MqttTenant};

    use super::*;

    fn ready(reason: DeviceReady) -> Condition {
        let tenant = MqttTenant::new("a", serde_json::from_value(json!({"instanceId": "a"})).unwrap());
        condition(&tenant, reason, String::new())
    }

    #[test]
    fn equal_is_silent_and_a_transition_has_a_new_time() {
        let written = patch(&Value::Null, &[ready(DeviceReady::Ready)], Map::new()).unwrap();
        assert_eq!(patch(&written, &[ready(DeviceReady::Ready)], Map::new()), None);
        let changed = patch(&written, &[ready(DeviceReady::Disabled)], Map::new()).unwrap();
        assert_eq!(changed["conditions"][0]["reason"], "Disabled");
    }

    #[test]
    fn a_message_has_an_end() {
        let tenant = MqttTenant::new("a", serde_json::from_value(json!({"instanceId": "a"})).unwrap());
        let condition = condition(&tenant, DeviceReady::Ready, "é".repeat(1_000_000));
        assert!(condition.message.len() <= MAX_MESSAGE && condition.message.ends_with("é..."));
    }

    #[test]
    fn conditions_of_others_are_kept() {
        let theirs = json!({"conditions": [{"type": "Theirs", "status": "True", "reason": "X", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let written = patch(&theirs, &[ready(DeviceReady::Ready)], Map::new()).unwrap();
        assert_eq!(written["conditions"][0]["type"], "Theirs");
        assert_eq!(written["conditions"][1]["type"], "Ready");
    }

    #[test]
    fn what_an_object_does_not_have_any_more_is_removed() {
        let fields = |value: Value| Map::from_iter([("rotation".to_owned(), value)]);
        let before = json!({"rotation": {"trigger": "a", "previousValidUntil": "soon", "more": {"x": 1, "y": 2}}});
        let after = json!({"trigger": "b", "more": {"x": 1}});
        let expected = json!({"rotation": {"trigger": "b", "previousValidUntil": null, "more": {"x": 1, "y": null}}});
        assert_eq!(patch(&before, &[], fields(after)), Some(expected));
        assert_eq!(patch(&before, &[], fields(Value::Null)), Some(json!({"rotation": null})));
    }

    #[test]
    fn absent_null_and_empty_are_the_same() {
        let fields = |value: Value| Map::from_iter([("findings".to_owned(), value)]);
        assert_eq!(patch(&Value::Null, &[], fields(json!([]))), None);
        assert_eq!(patch(&json!({"findings": ["a"]}), &[], fields(json!([]))), Some(json!({"findings": []})));
    }
}
