//! Devices: which client IDs, key and login name each of them has, and what stands in its way.

mod taken;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{ClientIds, Device, LoginName, Spares, UnixSeconds};
use mqtt_access_core::credential::device_key_id;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{DeviceCredential, DeviceCredentialSpec, DeviceReady, Stored, Undecodable};

use super::identity::{Identity, Proof};
use super::{DeviceReport, Gathered, Key, KeyProblem, RotationReport, created};
use taken::{Refusal, Taken};

/// The most bytes of labels, and of client attributes, that a device may have.
const MAX_LABEL_BYTES: usize = 8 * 1024;

#[derive(Default)]
pub(super) struct Devices {
    pub(super) devices: Vec<Device>,
    pub(super) reports: BTreeMap<String, DeviceReport>,
    pub(super) next_change: Option<UnixSeconds>,
}

pub(super) fn compile(gathered: &Gathered, now: UnixSeconds) -> Devices {
    let mut sources: Vec<_> = gathered.devices.iter().collect();
    sources.sort_by_key(|(device, _)| (created(device.as_ref()), device.name_any()));
    let mut devices = Devices::default();
    let mut taken = Taken::default();
    for (source, key) in sources {
        let (device, mut report) = match source.as_result() {
            Ok(device) => one(gathered, &mut taken, device, key, now),
            Err(broken) => undecodable(gathered, &mut taken, broken),
        };
        let expiry = device.as_ref().and_then(|device| device.expires_at).filter(|at| *at > now);
        let rotation = report.rotation.as_ref().and_then(|rotation| rotation.next_change(now));
        devices.next_change = devices.next_change.into_iter().chain(expiry).chain(rotation).min();
        devices.devices.extend(device);
        report.generation = kube::Resource::meta(source.as_ref()).generation;
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
    let prefixes = &gathered.claims.client_id_prefixes;
    let identity = match Identity::of(&device.spec) {
        Ok(identity) => identity,
        Err(why) => {
            let report = told((DeviceReady::Invalid, why.to_owned()));
            let reserved = device.spec.client_id.as_ref().map(|one| ClientIds::One(one.clone()));
            let reserved = reserved.filter(|one| taken.client_ids(prefixes, &name, one).is_ok());
            return (reserved.and_then(|one| reserve(name, one)), report);
        }
    };
    if let Err(refusal) = taken.client_ids(prefixes, &name, &identity.client_ids) {
        return (None, told(refusal));
    }
    if is_too_large(device) {
        return (reserve(name, identity.client_ids), too_large());
    }
    let found = find(gathered, taken, &name, &identity, key);
    // Without a key the record still keeps the client ID from everybody else.
    let record = record(device, identity.client_ids, found.as_ref().ok());
    let (secret_name, rotation) = match &found {
        Ok(found) => (Some(found.secret_name.clone()), Some(found.rotation.clone())),
        Err(_) => (None, None),
    };
    let (reason, message) = match &found {
        Err(refusal) => refusal.clone(),
        Ok(_) => standing(gathered, &record, now),
    };
    let report = DeviceReport {
        reason,
        message,
        key_id: Some(record.key_id.clone()).filter(|id| !id.is_empty()),
        username: record.login.as_ref().map(|login| login.name.clone()),
        secret_name,
        rotation,
        generation: None,
    };
    (Some(record), report)
}

fn record(device: &DeviceCredential, client_ids: ClientIds, found: Option<&Found>) -> Device {
    // Without `..`: a field that is added to the spec must be thought of here.
    let DeviceCredentialSpec {
        tenant_ref: _,
        client_id: _,
        client_id_prefix: _,
        username: _,
        client_attributes,
        disabled,
        superuser,
        expires_at,
        mechanisms: _,
        secret_ref,
        rotation: _,
    } = &device.spec;
    let (key_id, secret, spares, login) = match found.map(|found| found.proof.clone()) {
        Some(Proven::Key(id, secret, spares)) => (id, Some(secret), spares, None),
        Some(Proven::Login(login)) => (String::new(), None, Spares::default(), Some(login)),
        None => (String::new(), None, Spares::default(), None),
    };
    Device {
        name: device.name_any(),
        uid: device.uid(),
        brought_along: secret_ref.is_some(),
        client_id: client_ids,
        key_id,
        secret,
        spares,
        login,
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

/// What a device proves itself by, and the Secret that it comes from.
struct Found {
    proof: Proven,
    secret_name: String,
    rotation: RotationReport,
}

#[derive(Clone)]
enum Proven {
    Key(String, Secret, Spares<Secret>),
    Login(LoginName),
}

fn find(
    gathered: &Gathered,
    taken: &mut Taken,
    device: &str,
    identity: &Identity,
    key: &Key,
) -> Result<Found, Refusal> {
    // A login name is taken whatever became of its Secret: it must not change hands because of that.
    if let Proof::Login(login) = &identity.proof {
        taken.login_name(device, &login.name)?;
    }
    let (proof, secret_name, rotation) = match (&identity.proof, key) {
        (_, Key::Problem { reason, message }) => return Err((ready_reason(*reason), message.clone())),
        (Proof::Hmac, Key::Ready { id, secret, rotated, secret_name }) => {
            let client_id = identity.client_ids.one().unwrap_or_default();
            let id = id.clone().unwrap_or_else(|| device_key_id(&gathered.claims.instance_id, client_id));
            taken.key_id(device, &id)?;
            (Proven::Key(id, secret.clone(), rotated.spares.clone()), secret_name, rotated.report())
        }
        (Proof::Login(by), Key::Login { scram, password, rotated, secret_name }) => {
            let (name, spares) = (by.name.clone(), rotated.spares.clone());
            let login = LoginName { name, scram: scram.clone(), password: password.clone(), spares };
            (Proven::Login(login), secret_name, rotated.report())
        }
        (Proof::Hmac, Key::Login { .. }) | (Proof::Login(_), Key::Ready { .. }) => {
            return Err((DeviceReady::SecretMissing, "its Secret was not looked at; reconcile again".to_owned()));
        }
    };
    Ok(Found { proof, secret_name: secret_name.clone(), rotation })
}

fn ready_reason(problem: KeyProblem) -> DeviceReady {
    match problem {
        KeyProblem::Missing => DeviceReady::SecretMissing,
        KeyProblem::Invalid => DeviceReady::SecretInvalid,
        KeyProblem::NameConflict => DeviceReady::SecretNameConflict,
    }
}

/// An object that does not decode keeps its client ID and its login name, if they can be read, from everybody else.
fn undecodable(gathered: &Gathered, taken: &mut Taken, broken: &Undecodable) -> (Option<Device>, DeviceReport) {
    let name = broken.metadata.name.clone().unwrap_or_default();
    let message = format!("the object does not decode, so the device is refused; correct it: {}", broken.error);
    let report = told((DeviceReady::Invalid, message));
    if let Some(login) = broken.spec_str(&["username"]) {
        // Whoever has it already is older, and keeps it.
        _ = taken.login_name(&name, login);
    }
    let Some(client_id) = broken.spec_str(&["clientId"]).map(ClientIds::from) else { return (None, report) };
    if taken.client_ids(&gathered.claims.client_id_prefixes, &name, &client_id).is_err() {
        return (None, report);
    }
    (reserve(name, client_id), report)
}

/// A record that keeps a client ID from everybody. A prefix keeps nobody out, so there is nothing to record.
fn reserve(name: String, client_ids: ClientIds) -> Option<Device> {
    client_ids.one()?;
    Some(Device {
        name,
        uid: None,
        client_id: client_ids,
        key_id: String::new(),
        brought_along: false,
        secret: None,
        spares: Spares::default(),
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: true,
        superuser: false,
        expires_at: None,
    })
}

fn told((reason, message): Refusal) -> DeviceReport {
    DeviceReport { reason, message, key_id: None, username: None, secret_name: None, rotation: None, generation: None }
}

/// Labels are bounded by the API server only as a whole object is; a bundle must not be.
fn is_too_large(device: &DeviceCredential) -> bool {
    let bytes = |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    bytes(device.labels()) > MAX_LABEL_BYTES || bytes(&device.spec.client_attributes) > MAX_LABEL_BYTES
}

fn too_large() -> DeviceReport {
    let message = format!("its labels have more than {MAX_LABEL_BYTES} bytes, so the device is refused; remove some");
    told((DeviceReady::Invalid, message))
}

/// Whether a stored object names this tenant, decoded or not.
#[must_use]
pub(crate) fn tenant_of(device: &Stored<DeviceCredential>) -> Option<String> {
    match device.as_result() {
        Ok(device) => Some(device.spec.tenant_ref.name.clone()),
        Err(broken) => broken.spec_str(&["tenantRef", "name"]).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
