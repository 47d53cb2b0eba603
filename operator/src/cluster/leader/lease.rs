//! The Lease in the cluster (client). It is written under the version that was read, so of two who try one fails.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use mqtt_access_core::bundle::Digest;

use crate::config::LeaderElection;
use crate::credential::{NoRandomness, random};
use crate::names::MANAGER;

/// How often a release is tried that somebody overtook.
const ATTEMPTS: u32 = 3;

pub(super) struct Leases {
    client: Client,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Who this replica is: no process before it or beside it is the same.
    pub(super) identity: String,
    seconds: i32,
}

impl Leases {
    pub(super) fn new(client: Client, settings: &LeaderElection) -> Result<Self, NoRandomness> {
        let LeaderElection { namespace, name, lease_duration_seconds } = settings.clone();
        Ok(Self {
            namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
            client,
            name,
            identity: identity()?,
            seconds: i32::try_from(lease_duration_seconds).unwrap_or(i32::MAX),
        })
    }

    pub(super) fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn read(&self) -> Result<Option<Lease>, kube::Error> {
        self.api().get_opt(&self.name).await
    }

    /// Makes the Lease this replica's, or renews it: in place of what was seen, or where there is none.
    pub(super) async fn take(&self, seen: Option<&Lease>) -> Result<Lease, kube::Error> {
        let now = Some(MicroTime(Timestamp::now()));
        let mut lease = seen.cloned().unwrap_or_else(|| self.fresh());
        let before = lease.spec.take().unwrap_or_default();
        let ours = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.seconds),
            acquire_time: if ours { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(if ours || seen.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        });
        match seen {
            Some(_) => self.replace(&mut lease).await,
            None => self.api().create(&PostParams::default(), &lease).await,
        }
    }

    /// Nobody holds the Lease, if it was this replica.
    pub(super) async fn release(&self) -> Result<(), kube::Error> {
        for _ in 0..ATTEMPTS {
            let Some(mut lease) = self.read().await? else { return Ok(()) };
            let held = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
            let Some(spec) = held else { return Ok(()) };
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            match self.replace(&mut lease).await {
                // The last renewal was carried out meanwhile.
                Err(error) if is_overtaken(&error) => {}
                written => return written.map(drop),
            }
        }
        Ok(())
    }

    async fn replace(&self, lease: &mut Lease) -> Result<Lease, kube::Error> {
        lease.metadata.managed_fields = None;
        self.api().replace(&self.name, &PostParams::default(), lease).await
    }

    fn fresh(&self) -> Lease {
        let label = ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        let metadata =
            ObjectMeta { name: Some(self.name.clone()), labels: Some([label].into()), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    }
}

/// Whether the Lease is not what it was when it was read.
pub(super) fn is_overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || status.is_not_found())
}

/// Who else holds a Lease: also nobody, where somebody cleared it. One that is gone can be made again.
pub(super) fn other_holder(found: Option<&Lease>, identity: &str) -> Option<String> {
    let holder = found?.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    (holder != identity).then_some(holder)
}

/// The name of the pod, which people look for, and what nobody else has.
fn identity() -> Result<String, NoRandomness> {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = std::env::var("POD_NAME").ok().or_else(host);
    let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    Ok(format!("{}_{:.8}", named.as_deref().unwrap_or(MANAGER), Digest::of(&random()?).as_str()))
}
