//! `gather` without a cluster: the same parts, from manifests.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use mqtt_access_core::bundle::{Claims, UnixSeconds};
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{
    ConditionReason as _, DeviceCredential, DeviceReady, MqttTenant, PolicyAccepted, Stored, TenantReady,
};
use thiserror::Error;

use super::before::Past;
use super::claims::{Collision, Decided, Owned, decide};
use super::secrets::{Found, Secrets, SecretsError, Wanted};
use crate::compile::{Beyond, BeyondDevice, Gathered, Identity, Key, KeyProblem, Proof, age, within};
use crate::config::{Broker, Config};
use crate::credential::{Owner, problem};
use crate::finding::Told;
use crate::login::{Derived, Job, Recipe};
use crate::manifest::Objects;
use crate::names;

/// Why it cannot be gathered.
#[derive(Debug, Error)]
pub enum GatherError {
    /// A secret is missing and may not be made, or cannot be kept.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

/// Where keys and passwords come from.
pub(super) struct Sources<'a> {
    pub(super) secrets: &'a mut Secrets,
    /// What was derived from passwords.
    pub(super) derived: &'a mut Derived,
}

/// The tenants of a broker.
pub(super) struct Gathering {
    pub(super) tenants: Vec<(Arc<MqttTenant>, Outcome)>,
    /// What two of them want, and nothing tells whose it is.
    pub(super) collisions: Vec<Collision>,
}

/// What became of a tenant.
pub(super) enum Outcome {
    /// It owns what it claims, or what it had.
    Gathered(Box<Tenant>),
    /// It owns nothing, and why.
    Refused(String),
}

/// A tenant with all that belongs to it.
pub(super) struct Tenant {
    pub(super) gathered: Gathered,
    /// The filters that are denied to its clients, since an older tenant owns them alone.
    pub(super) withheld: Vec<String>,
    /// What is not as its manifest says.
    pub(super) told: Vec<Told>,
}

/// The tenants of one broker with all that belongs to them.
pub(super) fn gather(
    objects: &Objects,
    config: &Config,
    broker: &Broker,
    sources: &mut Sources<'_>,
    past: Past<'_>,
) -> Result<Gathering, GatherError> {
    let tenants: Vec<&MqttTenant> = objects
        .tenants
        .iter()
        .filter(|tenant| serving(config, tenant).is_ok_and(|serving| serving.name == broker.name))
        .collect();
    let Decided { tenants: owned, collisions } = decide(&tenants, broker.allow_dollar_topics, past, objects);
    let mut gathered = Vec::new();
    for (tenant, owned) in tenants.into_iter().zip(owned) {
        let outcome = match owned {
            Err(why) => Outcome::Refused(why),
            Ok(Owned { claims, created, withheld, told }) => {
                let aged = Arc::new(aged(tenant, created));
                let gathered = one(objects, broker, sources, &aged, &claims, past)?;
                Outcome::Gathered(Box::new(Tenant { gathered, withheld, told }))
            }
        };
        gathered.push((Arc::new(tenant.clone()), outcome));
    }
    Ok(Gathering { tenants: gathered, collisions })
}

/// A tenant with the age that counts: its bundle holds it, so that it is the same the next time.
fn aged(tenant: &MqttTenant, created: UnixSeconds) -> MqttTenant {
    let mut tenant = tenant.clone();
    tenant.metadata.creation_timestamp = Timestamp::from_second(created).ok().map(Time);
    tenant
}

fn one(
    objects: &Objects,
    broker: &Broker,
    sources: &mut Sources<'_>,
    tenant: &Arc<MqttTenant>,
    claims: &Claims,
    past: Past<'_>,
) -> Result<Gathered, GatherError> {
    let namespace = tenant.namespace().unwrap_or_default();
    let bundle = names::bundle(&namespace, &tenant.name_any());
    let ticket_key = sources.secrets.ticket_key(&broker.bundle_namespace, &names::ticket_key(&bundle))?;
    let mut access_keys = BTreeMap::new();
    for spec in &tenant.spec.access_keys {
        let found = sources.secrets.find(&Wanted {
            namespace: &namespace,
            reference: spec.secret_ref.as_ref().map(|secret| secret.name.as_str()),
            generated: &names::access_key_secret(&tenant.name_any(), &spec.name),
            owner: Owner::AccessKey { name: &spec.name },
            instance_id: &claims.instance_id,
            scram: false,
            password: false,
            max_bcrypt_cost: tenant.spec.limits.filled().max_bcrypt_cost,
        })?;
        // A password is no access key; without an entry its report says so.
        if let Found::Key(key) = found {
            access_keys.insert(spec.name.clone(), key);
        }
    }
    let own =
        |of: &str, namespace_of: Option<String>| of == tenant.name_any() && namespace_of.as_deref() == Some(&namespace);
    let devices = objects.devices.iter().filter(|device| own(&device.spec.tenant_ref.name, device.namespace()));
    // One that does not fit needs no Secret.
    let (devices, beyond) = within(devices.collect(), tenant.spec.limits.filled().devices, |device| age(*device));
    let beyond = beyond.into_iter().map(|device| BeyondDevice::from(&Stored::from(device.clone()))).collect();
    let beyond = Beyond { devices: beyond, ..Beyond::default() };
    let devices = self::devices(sources, devices.into_iter(), broker, tenant, &ticket_key)?;
    let policies = objects.policies.iter().filter(|policy| own(&policy.spec.tenant_ref.name, policy.namespace()));
    let policies = policies.map(|policy| Arc::new(Stored::from(policy.clone()))).collect();
    let (tenant, claims, revoked_tokens) = (Arc::clone(tenant), claims.clone(), BTreeSet::new());
    let (incumbents, seniority) = (past.before.get(&namespace, &tenant.name_any()), past.seniority);
    let incumbents = incumbents.map(|published| Arc::clone(&published.incumbents));
    Ok(Gathered {
        tenant,
        claims,
        ticket_key,
        scram: broker.scram.into(),
        acl_delivery: broker.acl_delivery,
        will_grace_seconds: broker.will_grace_seconds,
        revoked_tokens,
        access_keys,
        devices,
        policies,
        beyond,
        // Manifests have no UIDs: what is gone cannot be told from what was made anew.
        before: None,
        session_expiry: 0,
        incumbents,
        seniority,
    })
}

type Devices = Vec<(Arc<Stored<DeviceCredential>>, Key)>;

fn devices<'o>(
    sources: &mut Sources<'_>,
    devices: impl Iterator<Item = &'o DeviceCredential>,
    broker: &Broker,
    tenant: &MqttTenant,
    ticket_key: &Secret,
) -> Result<Devices, GatherError> {
    // A key, or the Secret whose password is derived from.
    let mut found: Vec<(&DeviceCredential, Result<Key, String>)> = Vec::new();
    let mut jobs = Vec::new();
    for device in devices {
        let key = match Identity::of(&device.spec) {
            Err(why) => Ok(problem(KeyProblem::Invalid, why.to_owned())),
            Ok(identity) => match find(sources.secrets, device, &identity, tenant)? {
                Found::Key(key) => Ok(key),
                Found::Password(password, secret) => {
                    if let Proof::Login(by) = &identity.proof {
                        let recipe = Recipe::new(by, broker, ticket_key);
                        jobs.push(Job { device: job_name(device), recipe, password });
                    }
                    Err(secret)
                }
            },
        };
        found.push((device, key));
    }
    let mut logins = sources.derived.derive_all(jobs).map_err(SecretsError::from)?;
    let keys = found.into_iter().map(|(device, key)| {
        let key = key.unwrap_or_else(|secret| match logins.remove(&job_name(device)) {
            Some(login) => login.into_key(&secret),
            None => missing(&secret),
        });
        (Arc::new(Stored::from(device.clone())), key)
    });
    Ok(keys.collect())
}

fn find(
    secrets: &mut Secrets,
    device: &DeviceCredential,
    identity: &Identity,
    tenant: &MqttTenant,
) -> Result<Found, SecretsError> {
    let Identity { client_ids, proof } = identity;
    let (owner, scram, password) = match proof {
        Proof::Hmac => (Owner::Device { client_id: client_ids.one().unwrap_or_default() }, false, false),
        Proof::Login(by) => (Owner::Login { client_ids, name: &by.name }, by.scram, by.password),
    };
    secrets.find(&Wanted {
        namespace: &device.namespace().unwrap_or_default(),
        reference: device.spec.secret_ref.as_ref().map(|secret| secret.name.as_str()),
        generated: &names::device_secret(&device.name_any()),
        owner,
        instance_id: &tenant.spec.instance_id,
        scram,
        password,
        max_bcrypt_cost: tenant.spec.limits.filled().max_bcrypt_cost,
    })
}

fn job_name(device: &DeviceCredential) -> String {
    format!("{}/{}", device.namespace().unwrap_or_default(), device.name_any())
}

/// The broker of a tenant, or why it has none. Manifests tell of a namespace no more than its name.
fn serving<'c>(config: &'c Config, tenant: &MqttTenant) -> Result<&'c Broker, &'static str> {
    let broker = config.broker(&tenant.spec.broker);
    let broker = broker.ok_or("`spec.broker` names no broker of the configuration")?;
    let namespace = tenant.namespace().unwrap_or_default();
    if !config.sees(&namespace) {
        return Err("`namespaces` of the configuration does not list its namespace");
    }
    let labels = [("kubernetes.io/metadata.name".to_owned(), namespace)];
    if broker.admits(&labels.into()) {
        Ok(broker)
    } else {
        Err("`tenantNamespaceSelector` of the broker does not select its namespace by name")
    }
}

/// Objects that belong to no tenant of any broker.
pub(super) fn strays(objects: &Objects, config: &Config) -> Vec<Told> {
    let unserved = objects.tenants.iter().filter_map(|tenant| {
        let why = serving(config, tenant).err()?.to_owned();
        let namespace = tenant.namespace().unwrap_or_default();
        Some(Told::whole("MqttTenant", &namespace, &tenant.name_any(), TenantReady::NotServed.as_str(), why))
    });
    let known: HashSet<(Option<String>, String)> =
        objects.tenants.iter().map(|tenant| (tenant.namespace(), tenant.name_any())).collect();
    let stray = |kind, namespace: Option<String>, name: &str, reason, tenant: &str| {
        let shown = namespace.clone().unwrap_or_default();
        let why = || format!("there is no MqttTenant `{tenant}` in its namespace");
        (!known.contains(&(namespace, tenant.to_owned()))).then(|| Told::whole(kind, &shown, name, reason, why()))
    };
    let devices = objects.devices.iter().filter_map(|device| {
        let (reason, tenant) = (DeviceReady::TenantNotFound.as_str(), &device.spec.tenant_ref.name);
        stray("DeviceCredential", device.namespace(), &device.name_any(), reason, tenant)
    });
    let policies = objects.policies.iter().filter_map(|policy| {
        let (reason, tenant) = (PolicyAccepted::TenantNotFound.as_str(), &policy.spec.tenant_ref.name);
        stray("AclPolicy", policy.namespace(), &policy.name_any(), reason, tenant)
    });
    unserved.chain(devices).chain(policies).collect()
}

/// A key that is not among the manifests.
pub(super) fn missing(name: &str) -> Key {
    problem(KeyProblem::Missing, format!("the Secret `{name}` is not among the manifests; add it"))
}
