//! Devices: which client ID and key each of them has, and what stands in its way.

use std::collections::{BTreeMap, HashMap};

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{ClientIds, Device, UnixSeconds};
use mqtt_access_core::credential::{device_key_id, is_client_id};
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{DeviceCredential, DeviceCredentialSpec, DeviceReady, Stored, Undecodable};

use super::{DeviceReport, Gathered, Key, KeyProblem, created};

/// The most bytes of labels, and of client attributes, that a device may have.
const MAX_LABEL_BYTES: usize = 8 * 1024;

#[derive(Default)]
pub(super) struct Devices {
    pub(super) devices: Vec<Device>,
    pub(super) reports: BTreeMap<String, DeviceReport>,
    pub(super) next_expiry: Option<UnixSeconds>,
}

/// Who already has which client ID and which key ID: the older credential counts.
#[derive(Default)]
struct Taken {
    client_ids: HashMap<String, String>,
    key_ids: HashMap<String, String>,
}

pub(super) fn compile(gathered: &Gathered, now: UnixSeconds) -> Devices {
    let mut sources: Vec<_> = gathered.devices.iter().collect();
    sources.sort_by_key(|(device, _)| (created(device.as_ref()), device.name_any()));
    let mut devices = Devices::default();
    let mut taken = Taken::default();
    for (source, key) in sources {
        let (device, report) = match source.as_result() {
            Ok(device) => one(gathered, &mut taken, device, key, now),
            Err(broken) => undecodable(gathered, &mut taken, broken),
        };
        let expiry = device.as_ref().and_then(|device| device.expires_at).filter(|at| *at > now);
        devices.next_expiry = devices.next_expiry.into_iter().chain(expiry).min();
        devices.devices.extend(device);
        devices.reports.insert(source.name_any(), report);
    }
    devices
}

fn one(
    gathered: &Gathered,
    taken: &mut Taken,
    device: &DeviceCredential,
    key: &Key,
    now: UnixSeconds,
) -> (Option<Device>, DeviceReport) {
    let name = device.name_any();
    if let Err(report) = claim_client_id(gathered, taken, &name, &device.spec.client_id) {
        return (None, report);
    }
    if is_too_large(device) {
        return (Some(reserved(device.name_any(), &device.spec.client_id)), too_large());
    }
    let found = find_key(gathered, taken, device, key);
    let (key_id, secret, secret_name) = match &found {
        Ok(found) => (found.id.clone(), Some(found.secret.clone()), Some(found.secret_name.clone())),
        // Without a key the record still keeps the client ID from everybody else.
        Err(_) => (String::new(), None, None),
    };
    let shown = Some(key_id.clone()).filter(|id| !id.is_empty());
    let record = record(device, key_id, secret);
    let (reason, message) = match found {
        Err((reason, message)) => (reason, message),
        Ok(_) => standing(gathered, &record, now),
    };
    (Some(record), DeviceReport { reason, message, key_id: shown, secret_name })
}

fn record(device: &DeviceCredential, key_id: String, secret: Option<Secret>) -> Device {
    // Without `..`: a field that is added to the spec must be thought of here.
    let DeviceCredentialSpec {
        tenant_ref: _,
        client_id,
        client_attributes,
        disabled,
        superuser,
        expires_at,
        mechanisms: _,
        secret_ref,
    } = &device.spec;
    Device {
        name: device.name_any(),
        uid: device.uid().filter(|_| secret_ref.is_none()),
        client_id: ClientIds::One(client_id.clone()),
        key_id,
        secret,
        login: None,
        labels: device.labels().clone(),
        client_attributes: client_attributes.clone(),
        disabled: *disabled,
        superuser: *superuser,
        expires_at: expires_at.as_ref().map(|time| time.0.as_second()),
    }
}

/// What a device with a key is told.
fn standing(gathered: &Gathered, device: &Device, now: UnixSeconds) -> (DeviceReady, String) {
    if device.disabled {
        (DeviceReady::Disabled, "refused because `spec.disabled` is true".to_owned())
    } else if device.expires_at.is_some_and(|end| end <= now) {
        (DeviceReady::Expired, "refused because `spec.expiresAt` has passed; set a later time".to_owned())
    } else if device.superuser && !gathered.tenant.spec.superusers_allowed {
        let message = "an ordinary device: its tenant has not set `spec.superusersAllowed`";
        (DeviceReady::SuperuserNotAllowed, message.to_owned())
    } else {
        (DeviceReady::Ready, "the device can log in".to_owned())
    }
}

fn claim_client_id(gathered: &Gathered, taken: &mut Taken, name: &str, client_id: &str) -> Result<(), DeviceReport> {
    let refuse = |reason, message| Err(DeviceReport { reason, message, key_id: None, secret_name: None });
    let prefixes = &gathered.claims.client_id_prefixes;
    let owned = prefixes.is_empty() || prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str()));
    if !owned || !is_client_id(client_id) {
        let message =
            "`spec.clientId` begins with none of the tenant's `spec.clientIdPrefixes` in force; use one that does";
        return refuse(DeviceReady::ClientIdOutsidePrefix, message.to_owned());
    }
    if let Some(older) = taken.client_ids.get(client_id) {
        let message =
            format!("`spec.clientId` belongs to the older DeviceCredential `{older}`; use another or delete that");
        return refuse(DeviceReady::ClientIdTaken, message);
    }
    taken.client_ids.insert(client_id.to_owned(), name.to_owned());
    Ok(())
}

struct Found {
    id: String,
    secret: Secret,
    secret_name: String,
}

fn find_key(
    gathered: &Gathered,
    taken: &mut Taken,
    device: &DeviceCredential,
    key: &Key,
) -> Result<Found, (DeviceReady, String)> {
    let (id, secret, secret_name) = match key {
        Key::Ready { id, secret, secret_name } => (id, secret, secret_name),
        Key::Problem { reason, message } => return Err((ready_reason(*reason), message.clone())),
    };
    let id = id.clone().unwrap_or_else(|| device_key_id(&gathered.claims.instance_id, &device.spec.client_id));
    if let Some(older) = taken.key_ids.get(&id) {
        let message =
            format!("the key ID `{id}` belongs to the older DeviceCredential `{older}`; give the Secret another");
        return Err((DeviceReady::KeyIdTaken, message));
    }
    taken.key_ids.insert(id.clone(), device.name_any());
    Ok(Found { id, secret: secret.clone(), secret_name: secret_name.clone() })
}

fn ready_reason(problem: KeyProblem) -> DeviceReady {
    match problem {
        KeyProblem::Missing => DeviceReady::SecretMissing,
        KeyProblem::Invalid => DeviceReady::SecretInvalid,
        KeyProblem::NameConflict => DeviceReady::SecretNameConflict,
    }
}

/// An object that does not decode keeps its client ID, if that can be read, from everybody else.
fn undecodable(gathered: &Gathered, taken: &mut Taken, broken: &Undecodable) -> (Option<Device>, DeviceReport) {
    let name = broken.metadata.name.clone().unwrap_or_default();
    let message = format!("the object does not decode, so the device is refused; correct it: {}", broken.error);
    let report = DeviceReport { reason: DeviceReady::Invalid, message, key_id: None, secret_name: None };
    let Some(client_id) = broken.spec_str(&["clientId"]) else { return (None, report) };
    if claim_client_id(gathered, taken, &name, client_id).is_err() {
        return (None, report);
    }
    (Some(reserved(name, client_id)), report)
}

/// A record that keeps a client ID from everybody.
fn reserved(name: String, client_id: &str) -> Device {
    Device {
        name,
        uid: None,
        client_id: ClientIds::from(client_id),
        key_id: String::new(),
        secret: None,
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: true,
        superuser: false,
        expires_at: None,
    }
}

/// Labels are bounded by the API server only as a whole object is; a bundle must not be.
fn is_too_large(device: &DeviceCredential) -> bool {
    let bytes = |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    bytes(device.labels()) > MAX_LABEL_BYTES || bytes(&device.spec.client_attributes) > MAX_LABEL_BYTES
}

fn too_large() -> DeviceReport {
    let message = format!("its labels have more than {MAX_LABEL_BYTES} bytes, so the device is refused; remove some");
    DeviceReport { reason: DeviceReady::Invalid, message, key_id: None, secret_name: None }
}

/// Whether a stored object names this tenant, decoded or not.
#[must_use]
pub(crate) fn tenant_of(device: &Stored<DeviceCredential>) -> Option<String> {
    match device.as_result() {
        Ok(device) => Some(device.spec.tenant_ref.name.clone()),
        Err(broken) => broken.spec_str(&["tenantRef", "name"]).map(str::to_owned),
    }
}
