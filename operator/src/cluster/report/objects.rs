//! What devices and policies are told.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use kube::ResourceExt as _;
use mqtt_access_crds::{
    AclPolicy, DeviceCredential, MqttTenant, PolicyAccepted, PolicyCompiled, RotationStatus, Stored,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::tests_passed::{reason_before, tests_passed};
use super::write::{HasStatus, Written, condition, is_said, write_status};
use super::{Homeless, ReportError, events, outlines};
use crate::cluster::cache::ObjectKey;
use crate::cluster::controller::Context;
use crate::compile::{DeviceReport, PolicyReport, Reports, RotationReport};
use crate::finding;
use crate::policy_tests::TestOutcome;

const CONCURRENCY: usize = 16;
/// How long conditions are written before the next bundle gets its turn.
const BUDGET: Duration = Duration::from_secs(1);

pub(super) type Writes<'a> = Vec<BoxFuture<'a, Result<(), ReportError>>>;

/// Devices and policies of a tenant with a bundle. `false` where time ran out before all were written. What was edited since
/// it was compiled is not in force yet: its own event brings it back here.
pub(super) async fn served(context: &Context, key: &ObjectKey, reports: &Reports) -> Result<bool, ReportError> {
    let (devices, policies) = context.world(|world| (world.devices_of(key), world.policies_of(key)));
    let mut writes: Writes<'_> = Vec::new();
    for device in devices {
        let report = reports.devices.get(&device.name_any());
        if let Some(report) =
            report.filter(|report| report.generation == kube::Resource::meta(device.as_ref()).generation)
        {
            writes.push(write_device(context, device, report).boxed());
        }
    }
    for policy in policies {
        let report = reports.policies.get(&policy.name_any());
        if let Some(report) =
            report.filter(|report| report.generation == kube::Resource::meta(policy.as_ref()).generation)
        {
            let tests = reports.tests.get(&policy.name_any());
            writes.push(write_policy(context, policy, report, tests).boxed());
        }
    }
    writes.extend(outlines::over_budget(context, key, reports));
    run(writes, Some(Instant::now() + BUDGET)).await
}

/// Devices and policies of a tenant without a bundle.
pub(super) async fn homeless(context: &Context, key: &ObjectKey, told: &Homeless) -> Result<(), ReportError> {
    let (devices, policies) = context.world(|world| (world.devices_of(key), world.policies_of(key)));
    let devices = devices.into_iter().map(|device| homeless_device(context, device, told).boxed());
    let policies = policies.into_iter().map(|policy| homeless_policy(context, policy, told).boxed());
    let outlines = outlines::homeless(context, key, told);
    run(devices.chain(policies).chain(outlines).collect(), None).await.map(|_| ())
}

pub(super) async fn homeless_device(
    context: &Context,
    device: Arc<Stored<DeviceCredential>>,
    told: &Homeless,
) -> Result<(), ReportError> {
    let ready = condition(device.as_ref(), told.device, told.message.clone());
    let news: Vec<_> = [ready].into_iter().filter(|ready| !is_said(device.as_ref(), ready)).collect();
    write_status(context, device.as_ref(), &news, generation(device.as_ref())).await.map(drop)
}

pub(super) async fn homeless_policy(
    context: &Context,
    policy: Arc<Stored<AclPolicy>>,
    told: &Homeless,
) -> Result<(), ReportError> {
    let accepted = condition(policy.as_ref(), told.policy, told.message.clone());
    let compiled = condition(policy.as_ref(), PolicyCompiled::NotAccepted, told.message.clone());
    let tested = tests_passed(&policy, None);
    let conditions = [accepted, compiled].into_iter().chain(tested);
    let news: Vec<_> = conditions.filter(|condition| !is_said(policy.as_ref(), condition)).collect();
    write_status(context, policy.as_ref(), &news, generation(policy.as_ref())).await.map(drop)
}

/// Runs the writes, and tells whether it was all of them: none is begun after the deadline, and what has begun is
/// finished, because a request that is cut off may still be carried out. An error does not keep the others from being tried.
async fn run(writes: Writes<'_>, deadline: Option<Instant>) -> Result<bool, ReportError> {
    let (mut waiting, mut begun) = (writes.into_iter().peekable(), FuturesUnordered::new());
    let mut first_error = Ok(());
    loop {
        let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
        let room = if in_time { CONCURRENCY.saturating_sub(begun.len()) } else { 0 };
        begun.extend(waiting.by_ref().take(room));
        match begun.next().await {
            Some(result) => first_error = first_error.and(result),
            None => return first_error.map(|()| waiting.peek().is_none()),
        }
    }
}

pub(super) async fn write_device(
    context: &Context,
    device: Arc<Stored<DeviceCredential>>,
    report: &DeviceReport,
) -> Result<(), ReportError> {
    let ready = condition(device.as_ref(), report.reason, report.message.clone());
    let mut fields = generation(device.as_ref());
    fields.insert("deviceAccessKeyId".to_owned(), json!(report.key_id));
    fields.insert("username".to_owned(), json!(report.username));
    let before = device.decoded().and_then(|device| device.status.as_ref()?.rotation.as_ref());
    fields.insert("rotation".to_owned(), json!(report.rotation.as_ref().map(|report| rotation(report, before))));
    // A Secret that is lost is remembered: a new key is never made in its place by itself.
    if let Some(name) = &report.secret_name {
        fields.insert("secretName".to_owned(), json!(name));
    }
    write_status(context, device.as_ref(), &[ready], fields).await.map(drop)
}

/// Of a Secret that was brought along only the status remembers when it was replaced, once the overlap is over.
pub(super) fn rotation(report: &RotationReport, before: Option<&RotationStatus>) -> RotationStatus {
    let status = report.status.clone();
    let rotated_at = status.rotated_at.clone().or_else(|| before?.rotated_at.clone());
    RotationStatus { rotated_at, ..status }
}

pub(super) async fn write_policy(
    context: &Context,
    policy: Arc<Stored<AclPolicy>>,
    report: &PolicyReport,
    tests: Option<&TestOutcome>,
) -> Result<(), ReportError> {
    let accepted = condition(policy.as_ref(), report.accepted, report.message.to_string());
    let compiled = condition(policy.as_ref(), report.compiled(), compiled_message(report));
    let mut fields = generation(policy.as_ref());
    fields.insert("findings".to_owned(), json!(finding::listed(&report.findings)));
    if report.matched.is_some() || report.accepted == PolicyAccepted::OverBudget {
        fields.insert("matchedDevices".to_owned(), json!(report.matched));
    }
    let tested = tests_passed(&policy, tests);
    let conditions: Vec<_> = [accepted, compiled].into_iter().chain(tested.clone()).collect();
    let written = write_status(context, policy.as_ref(), &conditions, fields).await?;
    if let (Written::Yes, Some(tested)) = (written, tested) {
        events::tests_passed(context, &policy, reason_before(&policy).as_deref(), &tested).await;
    }
    Ok(())
}

fn compiled_message(report: &PolicyReport) -> String {
    match report.compiled() {
        PolicyCompiled::Compiled => "every rule is in force as written".to_owned(),
        PolicyCompiled::CompiledWithWarnings => {
            "every rule is in force as written, and some look wrong; see `status.findings`".to_owned()
        }
        PolicyCompiled::Findings => "some of it is not in force as written; see `status.findings`".to_owned(),
        PolicyCompiled::NotAccepted => report.message.to_string(),
    }
}

fn generation(object: &impl kube::Resource) -> Map<String, Value> {
    Map::from_iter([("observedGeneration".to_owned(), json!(object.meta().generation))])
}

fn status_of<K>(stored: &Stored<K>, status: impl FnOnce(&K) -> Value) -> Value {
    match stored.as_result() {
        Ok(object) => status(object),
        Err(broken) => broken.status.clone(),
    }
}

impl HasStatus for Stored<MqttTenant> {
    fn status(&self) -> Value {
        status_of(self, |tenant| json!(tenant.status))
    }
}

impl HasStatus for Stored<DeviceCredential> {
    fn status(&self) -> Value {
        status_of(self, |device| json!(device.status))
    }
}

impl HasStatus for Stored<AclPolicy> {
    fn status(&self) -> Value {
        status_of(self, |policy| json!(policy.status))
    }
}
