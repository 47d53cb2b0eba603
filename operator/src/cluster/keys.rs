//! Keys of devices and access keys: read where they exist, made where they are missing, restored where they were lost.
//!
//! A key is written only by `create` (somebody faster wins) or by `update` of the version that was read. So neither a
//! restart, nor a lost status, nor a second operator can ever make a second key for one owner.

mod generated;
mod held;
mod referenced;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::ResourceExt as _;
use mqtt_access_crds::{ConditionReason as _, DeviceCredential, DeviceReady, MqttTenant, Stored};
use thiserror::Error;
use tokio::time::Instant;

use super::cache::ObjectKey;
use super::controller::Context;
use crate::compile::{Key, KeyProblem};
use crate::config::Broker;
use crate::credential::{self, NoRandomness, Owner};
use generated::Wanted;
pub(super) use held::Held;

/// How many keys are made at once.
const CONCURRENCY: usize = 16;
/// How long keys are made before what there is gets published: an edit must not wait for ten thousand new devices.
const BUDGET: Duration = Duration::from_secs(1);

/// Why keys cannot be known. Until they are, the last bundle stays: without its key a device would be locked out.
#[derive(Debug, Error)]
pub(super) enum KeyError {
    #[error("cannot read the Secret `{0}`")]
    Read(String, #[source] kube::Error),
    #[error("cannot write the Secret `{0}`")]
    Write(String, #[source] kube::Error),
    #[error("cannot read the published bundle, which may hold lost keys")]
    Bundle(#[source] kube::Error),
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

pub(super) struct Keys {
    pub(super) access_keys: BTreeMap<String, Key>,
    pub(super) devices: Vec<(Arc<Stored<DeviceCredential>>, Key)>,
    pub(super) unfinished: bool,
}

/// Where a key has to come from.
enum Source {
    Nowhere,
    Referenced(String),
    Generated(Wanted),
}

/// A key to be found.
struct Task {
    place: Place,
    source: Source,
}

/// What is in force of a key.
enum Found {
    /// All there is to know.
    Now(Key),
    /// Time was up before its Secret could be made.
    Later(Key),
}

#[derive(Clone)]
enum Place {
    AccessKey(String),
    Device(Arc<Stored<DeviceCredential>>),
}

pub(super) async fn ensure(
    context: &Context,
    key: &ObjectKey,
    tenant: &Arc<MqttTenant>,
    broker: &Broker,
    devices: Vec<Arc<Stored<DeviceCredential>>>,
) -> Result<Keys, KeyError> {
    let instance_id = tenant.spec.instance_id.clone();
    let finder = Finder { context, tenant: key, broker, instance_id: &instance_id, deadline: Instant::now() + BUDGET };
    let access = tenant.spec.access_keys.iter().map(|spec| {
        let source = match &spec.secret_ref {
            Some(secret) => Source::Referenced(secret.name.clone()),
            None => Source::Generated(Wanted::access_key(tenant, &spec.name)),
        };
        Task { place: Place::AccessKey(spec.name.clone()), source }
    });
    let devices =
        devices.into_iter().map(|device| Task { source: device_source(&device), place: Place::Device(device) });
    let tasks: Vec<Task> = access.chain(devices).collect();
    let finds: Vec<_> = tasks.into_iter().map(|task| finder.find(task).boxed()).collect();
    let mut found = stream::iter(finds).buffered(CONCURRENCY);
    let mut keys = Keys { access_keys: BTreeMap::new(), devices: Vec::new(), unfinished: false };
    while let Some((place, found)) = found.next().await {
        let key = match found? {
            Found::Now(key) => key,
            Found::Later(key) => {
                keys.unfinished = true;
                key
            }
        };
        match place {
            Place::AccessKey(name) => _ = keys.access_keys.insert(name, key),
            Place::Device(device) => keys.devices.push((device, key)),
        }
    }
    Ok(keys)
}

fn device_source(device: &Stored<DeviceCredential>) -> Source {
    let Ok(decoded) = device.as_result() else { return Source::Nowhere };
    match &decoded.spec.secret_ref {
        Some(secret) => Source::Referenced(secret.name.clone()),
        None => Source::Generated(Wanted::device(decoded)),
    }
}

/// What every search for a key needs to know.
struct Finder<'a> {
    context: &'a Context,
    tenant: &'a ObjectKey,
    broker: &'a Broker,
    instance_id: &'a str,
    deadline: Instant,
}

impl Finder<'_> {
    async fn find(&self, task: Task) -> (Place, Result<Found, KeyError>) {
        let found = match task.source {
            Source::Nowhere => {
                let message = "the object does not decode".to_owned();
                Ok(Found::Now(credential::problem(KeyProblem::Invalid, message)))
            }
            Source::Referenced(name) => self.referenced(&name).await.map(Found::Now),
            Source::Generated(wanted) => self.generated(&wanted).await,
        };
        (task.place, found)
    }
}

impl Wanted {
    fn device(device: &DeviceCredential) -> Self {
        let name = device.name_any();
        let conflict = DeviceReady::SecretNameConflict.as_str();
        let mut conditions = device.status.iter().flat_map(|status| &status.conditions);
        Self {
            kind: "DeviceCredential",
            uid: device.uid().unwrap_or_default(),
            secret_name: crate::names::device_secret(&name),
            had_one: device.status.as_ref().is_some_and(|status| {
                status.secret_name.as_deref() == Some(crate::names::device_secret(&name).as_str())
            }),
            in_the_way: conditions.any(|condition| condition.reason == conflict),
            owner_name: name,
            key: generated::KeyOf::Device { client_id: device.spec.client_id.clone() },
        }
    }

    fn access_key(tenant: &MqttTenant, key: &str) -> Self {
        let secret_name = crate::names::access_key_secret(&tenant.name_any(), key);
        let known = tenant.status.iter().flat_map(|status| &status.access_keys);
        let had_one =
            known.filter(|known| known.name == key).any(|known| known.secret_name.as_ref() == Some(&secret_name));
        Self {
            kind: "MqttTenant",
            uid: tenant.uid().unwrap_or_default(),
            owner_name: tenant.name_any(),
            secret_name,
            had_one,
            // The status of a tenant does not tell, and there are few.
            in_the_way: true,
            key: generated::KeyOf::AccessKey { name: key.to_owned() },
        }
    }

    fn owner(&self) -> Owner<'_> {
        match &self.key {
            generated::KeyOf::Device { client_id } => Owner::Device { client_id },
            generated::KeyOf::AccessKey { name } => Owner::AccessKey { name },
        }
    }
}
