//! Events: what somebody who watches an object should hear of when it happens. The condition tells the same for good.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use mqtt_access_crds::{
    AclPolicy, Condition, ConditionReason as _, MqttTenant, PolicyTestsPassed, Stored, TenantIsolated,
};

use crate::cluster::broker_claims::Isolation;
use crate::cluster::cache::ObjectKey;
use crate::cluster::controller::Context;
use crate::cluster::keys::Turned;
use crate::names::MANAGER;
use crate::rotation::{Cause, Transition};
use crate::shorten::shorten;

/// Of how many rotations of one pass events tell.
const MAX_EVENTS: usize = 100;
const CONCURRENCY: usize = 8;
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
    publish(context, &event, &policy.object_ref(&())).await;
}

/// Tells of rotations of a tenant's keys, and of overlaps that ended.
pub(super) async fn rotated(context: &Context, tenant: &ObjectKey) {
    let turned = context.memory(tenant, |memory| std::mem::take(&mut memory.turned));
    let left = turned.len().saturating_sub(MAX_EVENTS);
    if left > 0 {
        tracing::info!(%tenant, left, "more rotations than events; the others are in the status of their objects");
    }
    let events: Vec<_> = turned.iter().take(MAX_EVENTS).map(|turned| one(context, tenant, turned).boxed()).collect();
    stream::iter(events).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

async fn one(context: &Context, tenant: &ObjectKey, turned: &Turned) {
    let Turned { kind, name, uid, key, transition } = turned;
    let what = key.as_ref().map_or_else(|| "the credential".to_owned(), |key| format!("the access key `{key}`"));
    let (reason, note) = match transition {
        Transition::Rotated(Cause::Trigger) => ("Rotated", format!("{what} was replaced: `rotation.trigger` changed")),
        Transition::Rotated(Cause::Interval) => {
            ("Rotated", format!("{what} was replaced: it reached `rotation.interval`"))
        }
        Transition::Rotated(Cause::Edit) => ("Rotated", format!("{what} was replaced: its Secret was edited")),
        Transition::OverlapEnded => ("OverlapEnded", format!("of {what}, only the current secret is accepted now")),
    };
    let (reason, action) = (reason.to_owned(), "Rotate".to_owned());
    let event = Event { type_: EventType::Normal, reason, note: Some(note), action, secondary: None };
    let owner = ObjectReference {
        api_version: Some(format!("{}/{}", mqtt_access_crds::GROUP, mqtt_access_crds::VERSION)),
        kind: Some((*kind).to_owned()),
        namespace: Some(tenant.namespace.clone()),
        name: Some(name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    };
    publish(context, &event, &owner).await;
}

/// Tells that topics are no longer shared, or that they are again. `before` is the reason of `Isolated` that stood there.
pub(super) async fn consent(
    context: &Context,
    key: &ObjectKey,
    tenant: &MqttTenant,
    before: Option<&str>,
    standing: &Isolation,
) {
    // Of a tenant that is refused something besides, the condition tells both.
    if standing.witness().is_some() {
        return;
    }
    let (reason, message) = super::consent::standing(standing);
    let ended = [TenantIsolated::ConsentWithdrawn, TenantIsolated::OwnedAlone];
    let was = ended.iter().any(|reason| Some(reason.as_str()) == before);
    let (type_, name, note) = if ended.contains(&reason) && before != Some(reason.as_str()) {
        (EventType::Warning, "ConsentWithdrawn", message)
    } else if was && !ended.contains(&reason) {
        let note = "what the tenant shares with others is shared by mutual consent again";
        (EventType::Normal, "ConsentRestored", note.to_owned())
    } else {
        return;
    };
    let others =
        standing.unshared().into_iter().flat_map(|unshared| unshared.withheld.iter().chain(&unshared.owned_alone));
    let others: BTreeSet<String> = others.map(|(other, _)| other.to_string()).collect();
    tracing::warn!(tenant = %key, ?others, reason = name, "the consent of two tenants to own the same topics changed");
    let event = Event {
        type_,
        reason: name.to_owned(),
        note: Some(shorten(note, MAX_NOTE)),
        action: "ResolveClaims".to_owned(),
        secondary: None,
    };
    publish(context, &event, &tenant.object_ref(&())).await;
}

async fn publish(context: &Context, event: &Event, about: &ObjectReference) {
    // A recorder of its own for each event: one that lives longer would repeat the first note, and needs the right to patch.
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
    let recorder = Recorder::new(context.client.clone(), reporter);
    if let Err(error) = recorder.publish(event, about).await {
        // The condition is written: nothing hangs on the event.
        tracing::warn!(object = ?about.name, error = %crate::error_chain(&error), "an event is not written");
    }
}
