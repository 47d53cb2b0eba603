//! What devices and policies are told for which their tenant has no place. They may be a hundred thousand, so they are told a few at a
//! time; the tenant's own condition says at once how many there are.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::NamespaceResourceScope;
use mqtt_access_crds::{AclPolicy, ConditionReason as _, DeviceCredential, DeviceReady, PolicyAccepted, Stored};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::objects::{self, Writes};
use super::{Homeless, ReportError};
use crate::cluster::cache::{Cached as _, Group, ObjectKey};
use crate::cluster::controller::Context;
use crate::cluster::entry::{Budgeted, Entry};
use crate::cluster::fill::{self, FillError};
use crate::compile::Reports;

/// How many of a tenant are told at once, and when the next are.
const AT_ONCE: usize = 200;
const PAUSE: Duration = Duration::from_secs(5);

/// Those that have not been told yet that they do not fit.
pub(super) fn over_budget<'a>(context: &'a Context, tenant: &ObjectKey, reports: &'a Reports) -> Writes<'a> {
    let due = Due::of(context, tenant, |reason| {
        [DeviceReady::OverBudget.as_str(), PolicyAccepted::OverBudget.as_str()].contains(&reason)
    });
    let devices = due.devices.into_iter().filter_map(|key| {
        let report = reports.devices.get(&key.name)?;
        let write = async move |device: Arc<Stored<DeviceCredential>>| {
            let same = kube::Resource::meta(device.as_ref()).generation == report.generation;
            if same { objects::write_device(context, device, report).await } else { Ok(()) }
        };
        Some(async move { tell(context, &key, write).await }.boxed())
    });
    let policies = due.policies.into_iter().filter_map(|key| {
        let report = reports.policies.get(&key.name)?;
        let write = async move |policy: Arc<Stored<AclPolicy>>| {
            let same = kube::Resource::meta(policy.as_ref()).generation == report.generation;
            if same { objects::write_policy(context, policy, report, None).await } else { Ok(()) }
        };
        Some(async move { tell(context, &key, write).await }.boxed())
    });
    devices.chain(policies).collect()
}

/// Those of a tenant without a bundle.
pub(super) fn homeless<'a>(context: &'a Context, tenant: &ObjectKey, told: &'a Homeless) -> Writes<'a> {
    let due = Due::of(context, tenant, |reason| [told.device.as_str(), told.policy.as_str()].contains(&reason));
    let devices = due.devices.into_iter().map(|key| {
        async move { tell(context, &key, async |device| objects::homeless_device(context, device, told).await).await }
            .boxed()
    });
    let policies = due.policies.into_iter().map(|key| {
        async move { tell(context, &key, async |policy| objects::homeless_policy(context, policy, told).await).await }
            .boxed()
    });
    devices.chain(policies).collect()
}

/// Reads an object, of which the cache has an outline only, and writes its status.
async fn tell<K>(
    context: &Context,
    key: &ObjectKey,
    write: impl AsyncFnOnce(Arc<Stored<K>>) -> Result<(), ReportError>,
) -> Result<(), ReportError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    match fill::read::<K>(context, key).await {
        Ok(Some(object)) => write(Arc::new(object)).await,
        Ok(None) | Err(FillError::Moving) => Ok(()),
        Err(FillError::Read(name, source)) => Err(ReportError { kind: K::kind(&()).into_owned(), name, source }),
    }
}

/// Who is to be told now.
#[derive(Default)]
struct Due {
    devices: Vec<ObjectKey>,
    policies: Vec<ObjectKey>,
}

impl Due {
    fn of(context: &Context, tenant: &ObjectKey, said: impl Fn(&str) -> bool) -> Self {
        let group = Group::Tenant(tenant.clone());
        let (devices, policies, more) = context.world(|world| {
            let mut devices = world.devices.group(&group).filter_map(|entry| untold(entry, &said));
            let mut policies = world.policies.group(&group).filter_map(|entry| untold(entry, &said));
            let some: Vec<ObjectKey> = devices.by_ref().take(AT_ONCE).collect();
            let others: Vec<ObjectKey> = policies.by_ref().take(AT_ONCE.saturating_sub(some.len())).collect();
            let more = devices.next().is_some() || policies.next().is_some();
            (some, others, more)
        });
        if devices.is_empty() && policies.is_empty() {
            return Self::default();
        }
        let wait = context.memory(tenant, |memory| {
            let wait = memory.outlines_told.map_or(Duration::ZERO, |at| PAUSE.saturating_sub(at.elapsed()));
            if wait.is_zero() {
                memory.outlines_told = Some(Instant::now());
            }
            wait
        });
        if !wait.is_zero() {
            context.queue.push(tenant.clone(), wait);
            return Self::default();
        }
        if more {
            context.queue.push(tenant.clone(), PAUSE);
        }
        Self { devices, policies }
    }
}

fn untold<K: Budgeted>(entry: &Arc<Entry<K>>, said: impl Fn(&str) -> bool) -> Option<ObjectKey> {
    let outline = entry.outlined()?;
    (!outline.told.as_deref().is_some_and(said)).then(|| entry.key())
}
