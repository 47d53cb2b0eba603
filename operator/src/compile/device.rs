//! Devices: which client IDs, key and login name each of them has, and what stands in its way.

mod taken;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{ClientIds, Device, LoginName, Spares, UnixSeconds};
use mqtt_access_core::credential::{device_key_id, is_client_id};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{DeviceCredential, DeviceCredentialSpec, DeviceReady, Stored, Undecodable};

use super::budget::{Age, BeyondDevice, Book, Budget, age};
use super::exclusive::Shares;
use super::identity::{Identity, Proof};
use super::incumbents::NameKind;
use super::{DeviceReport, Gathered, Key, KeyProblem, RotationReport};
use crate::credential::is_too_costly;
pub use taken::Contested;
pub(super) use taken::Refusal;
use taken::Taken;
pub(crate) use taken::any_wanted_twice;

/// The most bytes of labels, and of client attributes, that a device may have.
const MAX_LABEL_BYTES: usize = 8 * 1024;
/// The most client IDs that are kept for devices that do not fit.
const MAX_RESERVED: usize = 100_000;

#[derive(Default)]
pub(super) struct Devices {
    /// Those that fit by their number, in the order of their age.
    pub(super) devices: Vec<(Age, Device)>,
    /// Records that keep the client IDs of those that do not fit.
    reserved: Vec<Device>,
    /// Whether there were too many of these.
    pub(super) keys_closed: bool,
    pub(super) reports: BTreeMap<String, DeviceReport>,
    pub(super) next_change: Option<UnixSeconds>,
    /// Names that several credentials want and none of them got.
    pub(super) contested: Vec<Contested>,
}

pub(super) fn compile(gathered: &Gathered, shares: &Shares, book: &mut Book, now: UnixSeconds) -> Devices {
    let mut sources: Vec<_> =
        gathered.devices.iter().map(|(device, key)| (age(device.as_ref()), device, key)).collect();
    sources.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut devices = Devices::default();
    let mut taken = Taken::of(gathered);
    let prefixes = &gathered.claims.client_id_prefixes;
    for (age, source, key) in sources {
        if !book.take(Budget::Devices, 1) {
            devices.leave_out(prefixes, &mut taken, BeyondDevice::from(source.as_ref()));
            continue;
        }
        let (device, mut report) = match (shares.refusal(&source.name_any()), source.as_result()) {
            (Some(refusal), _) => (None, told(refusal)),
            (None, Ok(device)) => one(gathered, &mut taken, device, key, now),
            (None, Err(broken)) => undecodable(gathered, &mut taken, broken),
        };
        let expiry = device.as_ref().and_then(|device| device.expires_at).filter(|at| *at > now);
        let rotation = report.rotation.as_ref().and_then(|rotation| rotation.next_change(now));
        devices.next_change = devices.next_change.into_iter().chain(expiry).chain(rotation).min();
        devices.devices.extend(device.map(|device| (age, device)));
        report.generation = kube::Resource::meta(source.as_ref()).generation;
        devices.reports.insert(source.name_any(), report);
    }
    let mut beyond = gathered.beyond.devices.clone();
    beyond.sort_by_key(BeyondDevice::age);
    for device in beyond {
        book.take(Budget::Devices, 1);
        devices.leave_out(prefixes, &mut taken, device);
    }
    devices.contested = taken.contested();
    for contested in devices.contested.clone() {
        devices.keep(reserve_contested(gathered, &contested));
    }
    devices
}

/// Keeps a client ID that several credentials want from everybody else too. No credential has a name with a space, so none
/// comes to be published with it.
fn reserve_contested(gathered: &Gathered, contested: &Contested) -> Option<Device> {
    let Contested { kind, name, devices } = contested;
    let reserved = *kind == NameKind::ClientId && is_owned(gathered, name);
    reserved.then(|| reserve(devices.join(" and "), None, ClientIds::from(name.as_str())))?
}

fn is_owned(gathered: &Gathered, client_id: &str) -> bool {
    let prefixes = &gathered.claims.client_id_prefixes;
    is_client_id(client_id)
        && (prefixes.is_empty() || prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str())))
}

impl Devices {
    /// A device beyond the number that there may be: it cannot log in, and nobody else can with its client ID.
    fn leave_out(&mut self, prefixes: &[String], taken: &mut Taken, device: BeyondDevice) {
        let BeyondDevice { name, created: _, generation, client_id } = device;
        let client_id = client_id.map(ClientIds::One).filter(|one| taken.client_ids(prefixes, &name, one).is_ok());
        let record = client_id.and_then(|one| reserve(name.clone(), None, one));
        self.keep(record);
        let report = DeviceReport { generation, ..told(over_budget(Budget::Devices)) };
        self.reports.insert(name, report);
    }

    /// A device whose record does not fit into the bundle.
    pub(super) fn shrink(&mut self, device: Device) {
        if let Some(report) = self.reports.get_mut(&device.name) {
            let generation = report.generation;
            *report = DeviceReport { generation, ..told(over_budget(Budget::BundleBytes)) };
        }
        self.keep(reserve(device.name, device.uid, device.client_id));
    }

    fn keep(&mut self, record: Option<Device>) {
        let Some(record) = record else { return };
        if self.reserved.len() < MAX_RESERVED {
            self.reserved.push(record);
        } else {
            self.keys_closed = true;
        }
    }

    /// The records of the bundle.
    pub(super) fn records(&mut self) -> Vec<Device> {
        let devices = std::mem::take(&mut self.devices).into_iter().map(|(_, device)| device);
        let mut devices: Vec<Device> = devices.chain(std::mem::take(&mut self.reserved)).collect();
        if self.keys_closed {
            devices
                .iter_mut()
                .filter(|device| device.client_id.one().is_none())
                .for_each(|device| device.disabled = true);
        }
        devices
    }
}

fn over_budget(budget: Budget) -> Refusal {
    let message = format!(
        "the tenant's `limits.{}` has no room for it, because it is among the newest; remove devices, or have the \
         platform team raise the limit",
        budget.as_str()
    );
    (DeviceReady::OverBudget, message)
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
            return (reserved.and_then(|one| reserve(name, device.uid(), one)), report);
        }
    };
    if let Err(refusal) = taken.client_ids(prefixes, &name, &identity.client_ids) {
        return (None, told(refusal));
    }
    if is_too_large(device) {
        return (reserve(name, device.uid(), identity.client_ids), too_large());
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
        rests_until: None,
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
    } else if let Some(limit) = costs_more_than(gathered, device) {
        let message = format!(
            "the device can log in, and its `passwordHash` costs more than the tenant's `limits.maxBcryptCost` of {limit}, so \
             that no other one as costly is accepted; make a cheaper one"
        );
        (DeviceReady::HashTooCostly, message)
    } else {
        (DeviceReady::Ready, "the device can log in".to_owned())
    }
}

/// The limit of its tenant that a hash exceeds: it was accepted before.
fn costs_more_than(gathered: &Gathered, device: &Device) -> Option<u32> {
    let limit = gathered.tenant.spec.limits.filled().max_bcrypt_cost;
    match device.login.as_ref()?.password.as_ref()? {
        Verifier::Slow(hash) if is_too_costly(hash, limit) => Some(limit),
        _ => None,
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
    (reserve(name, broken.metadata.uid.clone(), client_id), report)
}

/// A record that keeps a client ID from everybody. A prefix keeps nobody out, so there is nothing to record.
fn reserve(name: String, uid: Option<String>, client_ids: ClientIds) -> Option<Device> {
    client_ids.one()?;
    Some(Device {
        name,
        uid,
        client_id: client_ids,
        key_id: String::new(),
        brought_along: false,
        rests_until: None,
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
