//! Events: what somebody who watches an object should hear of when it happens. The condition tells the same for good.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use mqtt_access_crds::{AclPolicy, Condition, ConditionReason as _, PolicyTestsPassed, Stored};

use crate::cluster::controller::Context;
use crate::names::MANAGER;

/// The most bytes that an event may say.
const MAX_NOTE: usize = 1000;

/// Tells that the tests of a policy fail, or that they pass again. `before` is the reason that stood there.
pub(super) async fn tests_passed(
    context: &Context,
    policy: &Stored<AclPolicy>,
    before: Option<&str>,
    condition: &Condition,
) {
    let (failed, passed) = (PolicyTestsPassed::Failed.as_str(), PolicyTestsPassed::Passed.as_str());
    let (type_, reason) = match (before, condition.reason.as_str()) {
        (before, now) if now == failed && before != Some(failed) => (EventType::Warning, "TestsFailed"),
        (Some(before), now) if now == passed && before == failed => (EventType::Normal, "TestsPassed"),
        _ => return,
    };
    let note = condition.message.chars().take(MAX_NOTE / 4).collect();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "EvaluateTests".to_owned(),
        secondary: None,
    };
    // A recorder of its own for each event: one that lives longer would repeat the first note, and needs the right to patch.
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
    let recorder = Recorder::new(context.client.clone(), reporter);
    if let Err(error) = recorder.publish(&event, &policy.object_ref(&())).await {
        // The condition is written: nothing hangs on the event.
        tracing::warn!(policy = ?policy.meta().name, error = %crate::error_chain(&error), "an event is not written");
    }
}
