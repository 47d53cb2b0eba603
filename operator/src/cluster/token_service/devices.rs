//! Devices that are registered by a call: `DeviceCredential`s like any other, whose keys the controller makes.
//!
//! Reads come from the caches. Whoever may call this may read and replace the key of every ordinary device of the tenant,
//! also of one that was declared by hand; superusers and devices with a Secret of their own are out of its reach. So is
//! what somebody else said about a device: one that was declared, ended or labelled by hand stays.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};
use mqtt_access_core::bundle::Digest;
use mqtt_access_core::credential::device_key_id;
use mqtt_access_crds::{DeviceCredential, Mechanism, Stored};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::cache::{Group, ObjectKey};
use crate::cluster::controller::{Context, now};
use crate::cluster::world::{Generated, is_owned_by};
use crate::compile::created;
use crate::credential::{Content, Owner, content, generate, generated_data, record_of};
use crate::names::{REFRESHED_ANNOTATION, REGISTERED_BY_LABEL, ROTATION_ANNOTATION, device_secret};
use crate::rotation::{self, Record, Spread, Wish};
use crate::service::directory::{ClusterError, DeviceError, DeviceKey, Issuer};

/// How long a registration waits for the key that the controller makes.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(25);
const ATTEMPTS: u32 = 5;

pub(super) async fn register(
    context: &Context,
    issuer: &Issuer,
    by: &str,
    client_id: &str,
) -> Result<DeviceKey, DeviceError> {
    let device = match find(context, issuer, client_id) {
        Some(device) => device,
        None => create(context, issuer, by, client_id).await?,
    };
    within_reach(&device)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some((key, _)) = key_of(context, issuer, &device) {
            return Ok(key);
        }
        if Instant::now() >= deadline {
            return Err(DeviceError::NotYet);
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) fn key(context: &Context, issuer: &Issuer, client_id: &str) -> Result<DeviceKey, DeviceError> {
    let device = find(context, issuer, client_id).ok_or(DeviceError::NotFound)?;
    within_reach(&device)?;
    key_of(context, issuer, &device).map(|(key, _)| key).ok_or(DeviceError::NotYet)
}

/// Writes a new key into the device's Secret, under the version that was read: the controller takes it from there.
pub(super) async fn refresh(context: &Context, issuer: &Issuer, client_id: &str) -> Result<DeviceKey, DeviceError> {
    let device = find(context, issuer, client_id).ok_or(DeviceError::NotFound)?;
    within_reach(&device)?;
    let (_, mut secret) = key_of(context, issuer, &device).ok_or(DeviceError::NotYet)?;
    let name = device_secret(&device.name_any());
    let api: Api<KubeSecret> = Api::namespaced(context.unfenced.clone(), &issuer.tenant.namespace);
    for _ in 0..ATTEMPTS {
        let key = generate().map_err(ClusterError::from)?;
        let owner = Owner::Device { client_id };
        secret.data = Some(generated_data(owner, issuer.index.instance_id(), (&key).into(), Some(&secret)));
        // Whoever calls this wants to be rid of the old key now: no overlap.
        let mark = rotation::mark(&issuer.index.tenant().ticket_key, &key);
        let wish = Wish::new(device.spec.rotation.as_ref(), Spread::new(&device.uid().unwrap_or_default()));
        let record = record_of(&secret).unwrap_or_else(|| Record::adopted(&wish, now())).refreshed(mark, now());
        secret.annotations_mut().insert(ROTATION_ANNOTATION.to_owned(), record.text());
        let at = k8s_openapi::jiff::Timestamp::now().as_millisecond().to_string();
        secret.annotations_mut().insert(REFRESHED_ANNOTATION.to_owned(), at);
        secret.metadata.managed_fields = None;
        match api.replace(&name, &PostParams::default(), &secret).await {
            Ok(written) => {
                context.world(|world| world.generated.insert(Generated(written)));
                context.wake([issuer.tenant.clone()].into());
                let (key, _) = key_of(context, issuer, &device).ok_or(DeviceError::NotYet)?;
                return Ok(key);
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                secret = api.get(&name).await.map_err(ClusterError::Api)?;
                if !is_owned_by(&secret, &device.uid().unwrap_or_default()) {
                    return Err(DeviceError::OutOfReach);
                }
            }
            Err(error) => return Err(ClusterError::Api(error).into()),
        }
    }
    Err(ClusterError::Conflict.into())
}

pub(super) async fn unregister(context: &Context, issuer: &Issuer, client_id: &str) -> Result<(), DeviceError> {
    let device = find(context, issuer, client_id).ok_or(DeviceError::NotFound)?;
    may_go(&device)?;
    let only_this = Preconditions { uid: device.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    match api(context, issuer).delete(&device.name_any(), &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => return Err(ClusterError::Api(error).into()),
    }
    context.world(|world| world.devices.remove(&ObjectKey::new(issuer.tenant.namespace.clone(), device.name_any())));
    context.wake([issuer.tenant.clone()].into());
    Ok(())
}

pub(super) fn client_ids(context: &Context, issuer: &Issuer, prefix: &str) -> Vec<String> {
    let group = Group::Tenant(issuer.tenant.clone());
    let mut found = context.world(|world| {
        let devices = world.devices.group(&group).filter_map(|device| device.decoded());
        let ours = devices.filter(|device| is_ordinary(device)).filter_map(client_id_of);
        ours.filter(|client_id| client_id.starts_with(prefix)).map(str::to_owned).collect::<Vec<_>>()
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// The device with a client ID; of several the oldest, which is the one in force.
fn find(context: &Context, issuer: &Issuer, client_id: &str) -> Option<DeviceCredential> {
    let group = Group::Tenant(issuer.tenant.clone());
    context.world(|world| {
        let devices = world.devices.group(&group).filter_map(|device| device.decoded());
        let with_it = devices.filter(|device| client_id_of(device) == Some(client_id));
        let present = with_it.filter(|device| device.metadata.deletion_timestamp.is_none());
        present.min_by_key(|device| (created(*device), device.name_any())).cloned()
    })
}

async fn create(
    context: &Context,
    issuer: &Issuer,
    by: &str,
    client_id: &str,
) -> Result<DeviceCredential, DeviceError> {
    let spec = json!({"tenantRef": {"name": issuer.tenant.name}, "clientId": client_id});
    let spec = serde_json::from_value(spec).map_err(|error| ClusterError::Api(kube::Error::SerdeError(error)))?;
    let name = name_of(issuer.index.instance_id(), client_id);
    let mut device = DeviceCredential::new(&name, spec);
    device.labels_mut().insert(REGISTERED_BY_LABEL.to_owned(), by.to_owned());
    let made = match api(context, issuer).create(&PostParams::default(), &device).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => api(context, issuer).get(&name).await,
        made => made,
    };
    let made = match made {
        Ok(made) => made,
        Err(kube::Error::Api(status)) if [403, 422].contains(&status.code) => {
            let (tenant, error) = (&issuer.tenant, &status.message);
            tracing::warn!(%tenant, device = name, error, "a device is not registered");
            return Err(DeviceError::Refused);
        }
        Err(error) => return Err(ClusterError::Api(error).into()),
    };
    if client_id_of(&made) != Some(client_id) {
        return Err(DeviceError::OutOfReach);
    }
    let groups = context.world(|world| {
        let at = ObjectKey::new(issuer.tenant.namespace.clone(), made.name_any());
        let known = world.devices.get(&at).is_some();
        if known { BTreeSet::default() } else { world.devices.insert(Stored::from(made.clone()).into()) }
    });
    context.wake(context.world(|world| world.concerned(groups, false)));
    Ok(made)
}

/// The same for one client ID, so that two calls at once make one device.
fn name_of(instance_id: &str, client_id: &str) -> String {
    let hash = Digest::of(format!("{instance_id}\0{client_id}").as_bytes());
    format!("device-{:.32}", hash.as_str())
}

fn client_id_of(device: &DeviceCredential) -> Option<&str> {
    device.spec.client_id.as_deref()
}

fn is_ordinary(device: &DeviceCredential) -> bool {
    let hmac = device.spec.mechanisms.iter().all(|mechanism| *mechanism == Mechanism::Hmac);
    hmac && device.spec.secret_ref.is_none() && !device.spec.superuser
}

fn within_reach(device: &DeviceCredential) -> Result<(), DeviceError> {
    if is_ordinary(device) { Ok(()) } else { Err(DeviceError::OutOfReach) }
}

/// Whether a call may remove a device: it could be registered anew, and what somebody else said about it would be gone.
fn may_go(device: &DeviceCredential) -> Result<(), DeviceError> {
    within_reach(device)?;
    let ended = device.spec.disabled || device.spec.expires_at.is_some();
    let marked =
        device.labels().keys().any(|key| key != REGISTERED_BY_LABEL) || !device.spec.client_attributes.is_empty();
    if ended || marked || device.labels().is_empty() { Err(DeviceError::Edited) } else { Ok(()) }
}

/// The key of a device and the Secret that holds it, as the cache has it.
fn key_of(context: &Context, issuer: &Issuer, device: &DeviceCredential) -> Option<(DeviceKey, KubeSecret)> {
    let at = ObjectKey::new(issuer.tenant.namespace.clone(), device_secret(&device.name_any()));
    let secret = context.world(|world| world.generated.get(&at))?.0.clone();
    if !is_owned_by(&secret, &device.uid()?) {
        return None;
    }
    let client_id = client_id_of(device)?;
    let Content::Held(held) = content(Owner::Device { client_id }, &secret) else { return None };
    let created = device.creation_timestamp().map_or(0, |time| time.0.as_millisecond());
    let refreshed = secret.annotations().get(REFRESHED_ANNOTATION).and_then(|text| text.parse().ok());
    let key = DeviceKey {
        id: device_key_id(issuer.index.instance_id(), client_id),
        secret: held,
        created,
        updated: refreshed.unwrap_or(created),
    };
    Some((key, secret))
}

fn api(context: &Context, issuer: &Issuer) -> Api<DeviceCredential> {
    Api::namespaced(context.unfenced.clone(), &issuer.tenant.namespace)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn device(more: &Value) -> DeviceCredential {
        let mut spec = json!({"tenantRef": {"name": "t"}, "clientId": "dev1"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut device = DeviceCredential::new("dev1", serde_json::from_value(spec).unwrap());
        device.labels_mut().insert(REGISTERED_BY_LABEL.to_owned(), "backend".to_owned());
        device
    }

    #[test]
    fn a_device_that_was_declared_or_edited_by_hand_cannot_be_removed_and_registered_anew() {
        assert!(may_go(&device(&json!({}))).is_ok());
        let attributes = json!({"clientAttributes": {"site": "lab"}});
        for edited in [json!({"disabled": true}), json!({"expiresAt": "2027-01-31T00:00:00Z"}), attributes] {
            assert!(matches!(may_go(&device(&edited)), Err(DeviceError::Edited)), "{edited}");
            assert!(within_reach(&device(&edited)).is_ok());
        }
        let (mut labelled, mut declared) = (device(&json!({})), device(&json!({})));
        labelled.labels_mut().insert("quarantine".to_owned(), "true".to_owned());
        declared.labels_mut().clear();
        for edited in [labelled, declared] {
            assert!(matches!(may_go(&edited), Err(DeviceError::Edited)));
        }
        for other in [json!({"superuser": true}), json!({"secretRef": {"name": "s"}}), json!({"mechanisms": ["Scram"]})]
        {
            assert!(matches!(may_go(&device(&other)), Err(DeviceError::OutOfReach)), "{other}");
        }
    }
}
