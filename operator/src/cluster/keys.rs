//! Keys and passwords of devices and access keys: read where they exist, made where they are missing, restored where they
//! were lost.
//!
//! A key is written only by `create` (somebody faster wins) or by `update` of the version that was read. So neither a
//! restart, nor a lost status, nor a second operator can ever make a second key for one owner.

mod generated;
mod held;
mod login;
mod referenced;
mod rotating;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::ResourceExt as _;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{AccessKey, ConditionReason as _, DeviceCredential, DeviceReady, MqttTenant, Stored};
use thiserror::Error;
use tokio::time::Instant;

use super::cache::ObjectKey;
use super::controller::Context;
use crate::compile::{Before, Identity, Key, KeyProblem, Proof, Rotated};
use crate::config::Broker;
use crate::credential::{self, NoRandomness, Owner};
use crate::login::Password;
use generated::{KeyOf, Wanted};
pub(super) use held::{Held, incumbents};
use login::{LoginOf, with_spares};
pub(super) use referenced::Seen;
use rotating::Own;
pub(super) use rotating::{Staged, Turned};

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
    #[error("cannot derive what a broker needs of a password")]
    Derive(#[source] tokio::task::JoinError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

pub(super) struct Keys {
    pub(super) access_keys: BTreeMap<String, Key>,
    pub(super) devices: Vec<(Arc<Stored<DeviceCredential>>, Key)>,
    pub(super) unfinished: bool,
    pub(super) before: Option<Arc<Before>>,
}

/// Where a key has to come from.
enum Source {
    Nowhere(String),
    Referenced(String, Own),
    Generated(Wanted),
}

/// A key to be found.
struct Task {
    place: Place,
    source: Source,
    /// Where it is a password.
    login: Option<LoginOf>,
}

/// What is in force of a key.
enum Found {
    /// All there is to know.
    Now(Key),
    /// Time was up before its Secret could be made, or its login derived.
    Later(Key),
}

/// What was found in a Secret, or instead of it.
enum Raw {
    Found(Found),
    /// A password with the name of its Secret.
    Password(Password, String, Rotated<Secret>),
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
    ticket_key: &Secret,
    devices: Vec<Arc<Stored<DeviceCredential>>>,
) -> Result<Keys, KeyError> {
    let (instance_id, deadline) = (&tenant.spec.instance_id, Instant::now() + BUDGET);
    let max_bcrypt_cost = tenant.spec.limits.filled().max_bcrypt_cost;
    let finder = Finder { context, tenant: key, broker, ticket_key, instance_id, max_bcrypt_cost, deadline };
    let access = tenant.spec.access_keys.iter().map(|spec| {
        let source = match &spec.secret_ref {
            Some(secret) => Source::Referenced(secret.name.clone(), Own::access_key(tenant, spec)),
            None => Source::Generated(Wanted::access_key(tenant, spec)),
        };
        Task { place: Place::AccessKey(spec.name.clone()), source, login: None }
    });
    let tasks: Vec<Task> = access.chain(devices.into_iter().map(|device| finder.device_task(device))).collect();
    let logins: BTreeSet<String> = tasks.iter().filter_map(|task| Some(task.login.as_ref()?.device.clone())).collect();
    let made: BTreeSet<&str> = tasks.iter().filter_map(Task::secret_made).collect();
    context.memory(key, |memory| {
        memory.derived.keep_only(&logins);
        memory.staged.retain(|secret, _| made.contains(secret.as_str()));
        memory.staged.values_mut().for_each(Staged::leave);
    });
    let finds: Vec<_> = tasks.into_iter().map(|task| finder.find(task).boxed()).collect();
    let mut found = stream::iter(finds).buffered(CONCURRENCY);
    let before = if remembers(tenant, broker) { finder.before().await? } else { None };
    let mut keys = Keys { access_keys: BTreeMap::new(), devices: Vec::new(), unfinished: false, before };
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
    // What nobody asked for in this pass is in no bundle, and nothing waits for it.
    context.memory(key, |memory| memory.staged.retain(|_, staged| staged.is_wanted()));
    Ok(keys)
}

/// Whether what is in force depends on what was: reading a whole bundle back is not for nothing.
fn remembers(tenant: &MqttTenant, broker: &Broker) -> bool {
    broker.session_expiry.seconds() > 0 || tenant.spec.exclusive_client_ids == Some(true)
}

/// What every search for a key needs to know.
struct Finder<'a> {
    context: &'a Context,
    tenant: &'a ObjectKey,
    broker: &'a Broker,
    ticket_key: &'a Secret,
    instance_id: &'a str,
    /// The dearest hash that it may bring along.
    max_bcrypt_cost: u32,
    deadline: Instant,
}

impl Finder<'_> {
    fn device_task(&self, device: Arc<Stored<DeviceCredential>>) -> Task {
        let (source, login) = match device.as_result() {
            Err(_) => (Source::Nowhere("the object does not decode".to_owned()), None),
            Ok(decoded) => match Identity::of(&decoded.spec) {
                Err(why) => (Source::Nowhere(why.to_owned()), None),
                Ok(identity) => self.device_source(decoded, identity),
            },
        };
        Task { place: Place::Device(device), source, login }
    }

    fn device_source(&self, device: &DeviceCredential, identity: Identity) -> (Source, Option<LoginOf>) {
        let Identity { client_ids, proof } = identity;
        let (key, login) = match proof {
            Proof::Hmac => (KeyOf::Device { client_id: client_ids.one().unwrap_or_default().to_owned() }, None),
            Proof::Login(by) => {
                let login = LoginOf::new(device, client_ids.clone(), &by, self);
                (KeyOf::Login { client_ids, name: by.name, scram: by.scram }, Some(login))
            }
        };
        let source = match &device.spec.secret_ref {
            Some(secret) => Source::Referenced(secret.name.clone(), Own::device(device)),
            None => Source::Generated(Wanted::device(device, key)),
        };
        (source, login)
    }

    async fn find(&self, task: Task) -> (Place, Result<Found, KeyError>) {
        let Task { place, source, login } = task;
        (place, self.find_in(source, login.as_ref()).await)
    }

    async fn find_in(&self, source: Source, login: Option<&LoginOf>) -> Result<Found, KeyError> {
        let raw = match (source, login) {
            (Source::Nowhere(why), _) => return Ok(Found::Now(credential::problem(KeyProblem::Invalid, why))),
            (Source::Generated(wanted), _) => self.generated(&wanted).await?,
            (Source::Referenced(name, own), None) => {
                let key = self.referenced_key(&name).await?;
                Raw::Found(Found::Now(self.own_rotation(&own, key).await?))
            }
            (Source::Referenced(name, _), Some(of)) => self.referenced_password(&name, of).await?,
        };
        match (raw, login) {
            (Raw::Found(found), _) => Ok(found),
            (Raw::Password(password, secret, rotated), Some(of)) => {
                let found = self.login(of, password, &secret).await?;
                Ok(found.map(|key| with_spares(key, rotated, self.ticket_key)))
            }
            (Raw::Password(_, secret, _), None) => {
                let message = format!("the Secret `{secret}` holds a password; an access key needs a key");
                Ok(Found::Now(credential::problem(KeyProblem::Invalid, message)))
            }
        }
    }
}

impl Task {
    /// Name of the Secret that is made for it.
    fn secret_made(&self) -> Option<&str> {
        match &self.source {
            Source::Generated(wanted) => Some(&wanted.secret_name),
            Source::Nowhere(_) | Source::Referenced(..) => None,
        }
    }
}

impl Found {
    fn map(self, change: impl FnOnce(Key) -> Key) -> Self {
        match self {
            Self::Now(key) => Self::Now(change(key)),
            Self::Later(key) => Self::Later(change(key)),
        }
    }
}

impl Own {
    fn device(device: &DeviceCredential) -> Self {
        Self {
            kind: "DeviceCredential",
            name: device.name_any(),
            uid: device.uid().unwrap_or_default(),
            key: None,
            rotation: device.spec.rotation.clone(),
        }
    }

    fn access_key(tenant: &MqttTenant, spec: &AccessKey) -> Self {
        Self {
            kind: "MqttTenant",
            name: tenant.name_any(),
            uid: tenant.uid().unwrap_or_default(),
            key: Some(spec.name.clone()),
            rotation: spec.rotation.clone(),
        }
    }
}

impl Wanted {
    fn device(device: &DeviceCredential, key: KeyOf) -> Self {
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
            rotation: device.spec.rotation.clone(),
            told: device.status.as_ref().and_then(|status| status.rotation.clone()),
            key,
        }
    }

    fn access_key(tenant: &MqttTenant, spec: &AccessKey) -> Self {
        let key = spec.name.as_str();
        let secret_name = crate::names::access_key_secret(&tenant.name_any(), key);
        let mut known = tenant.status.iter().flat_map(|status| &status.access_keys);
        let known = known.find(|known| known.name == key);
        let had_one = known.is_some_and(|known| known.secret_name.as_ref() == Some(&secret_name));
        Self {
            kind: "MqttTenant",
            uid: tenant.uid().unwrap_or_default(),
            owner_name: tenant.name_any(),
            secret_name,
            had_one,
            // The status of a tenant does not tell, and there are few.
            in_the_way: true,
            rotation: spec.rotation.clone(),
            told: known.and_then(|known| known.rotation.clone()),
            key: KeyOf::AccessKey { name: key.to_owned() },
        }
    }

    fn owner(&self) -> Owner<'_> {
        match &self.key {
            KeyOf::Device { client_id } => Owner::Device { client_id },
            KeyOf::Login { client_ids, name, scram: _ } => Owner::Login { client_ids, name },
            KeyOf::AccessKey { name } => Owner::AccessKey { name },
        }
    }
}
