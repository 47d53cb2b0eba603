//! One tenant's bundle, indexed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Session;
use crate::audience::AudienceId;
use crate::bundle::{AccessKey, Bundle, Device, Tenant, UnixSeconds};
use crate::claims::Claimant;
use crate::client::{Client, Mode};
use crate::credential::{self, ModeUsername};
use crate::rules::{Rules, known_principal};
use crate::secret::Secret;
use crate::template::TemplateError;
use crate::ticket::{Ticket, Unverified, generation};
use crate::verdict::{Allowed, Cause, Reason, Request, Verdict};

/// A bundle in the form that answers questions.
#[derive(Debug)]
pub struct TenantIndex {
    tenant: Tenant,
    tenant_id: String,
    revision: u64,
    rules: Rules,
    devices: Vec<Entry>,
    by_client_id: HashMap<String, usize>,
    by_key_id: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    device: Device,
    audiences: Arc<[AudienceId]>,
}

/// The key that a client proved, or wants to prove, to have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'i> {
    Access(&'i AccessKey),
    Device(&'i Device, &'i [AudienceId]),
}

impl<'i> Key<'i> {
    pub(super) fn secret(self) -> Option<&'i Secret> {
        let secret = match self {
            Self::Access(key) => key.secret.as_ref(),
            Self::Device(device, _) => device.secret.as_ref(),
        };
        secret.filter(|secret| !secret.expose().is_empty())
    }

    pub(super) fn expires_at(self) -> Option<UnixSeconds> {
        match self {
            Self::Access(_) => None,
            Self::Device(device, _) => device.expires_at,
        }
    }
}

impl TenantIndex {
    /// Indexes a bundle. Fails only on a topic that the compiler would have refused.
    pub fn new(bundle: Bundle, revision: u64) -> Result<Self, TemplateError> {
        let Bundle { tenant, policies, devices } = bundle;
        let space = tenant.claims.topic_space.iter().map(|space| space.filter.as_str());
        let rules = Rules::compile(&tenant.namespace, &policies, space)?;
        let mut index = Self {
            tenant_id: format!("{}.{}", tenant.namespace, tenant.name),
            by_client_id: HashMap::with_capacity(devices.len()),
            by_key_id: HashMap::with_capacity(devices.len()),
            devices: Vec::with_capacity(devices.len()),
            tenant,
            revision,
            rules,
        };
        let mut known = HashSet::new();
        for device in devices {
            index.add(device, &mut known);
        }
        Ok(index)
    }

    fn add(&mut self, device: Device, known: &mut HashSet<Arc<[AudienceId]>>) {
        let place = self.devices.len();
        let found = self.rules.audiences_of(&self.device_client(&device, None));
        let audiences = known.get(found.as_slice()).cloned().unwrap_or_else(|| {
            let shared: Arc<[AudienceId]> = found.into();
            known.insert(Arc::clone(&shared));
            shared
        });
        // The compiler writes each client ID and key ID once; should one come twice, the first one keeps it.
        self.by_client_id.entry(device.client_id.clone()).or_insert(place);
        self.by_key_id.entry(device.key_id.clone()).or_insert(place);
        self.devices.push(Entry { device, audiences });
    }

    /// The tenant's settings.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The revision of the bundle.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many devices the bundle holds.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// How many devices each policy selects; policies that select none are absent.
    #[must_use]
    pub fn devices_by_policy(&self) -> BTreeMap<&str, usize> {
        self.rules.count_by_policy(self.devices.iter().map(|entry| &*entry.audiences))
    }

    /// The compiled policies.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The tenant's instance ID.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.tenant.claims.instance_id
    }

    pub(super) fn claimant(&self) -> Claimant<'_> {
        Claimant {
            created: self.tenant.created,
            namespace: &self.tenant.namespace,
            name: &self.tenant.name,
            published: Some(&self.tenant.claims),
            wanted: None,
        }
    }

    pub(super) fn key(&self, mode: Mode, key_id: &str) -> Option<Key<'_>> {
        match mode {
            Mode::Signature => self.tenant.access_keys.iter().find(|key| key.id == key_id).map(Key::Access),
            Mode::DeviceCredential => {
                let entry = self.by_key_id.get(key_id).and_then(|place| self.devices.get(*place))?;
                Some(Key::Device(&entry.device, &entry.audiences))
            }
        }
    }

    /// Everything but the proof itself: what is judged at a login and again at every request.
    pub(super) fn admit(&self, key: Key<'_>, mode: Mode, client_id: &str, now: UnixSeconds) -> Result<(), Reason> {
        if self.tenant.suspended {
            return Err(Reason::Suspended);
        }
        if !self.tenant.modes.contains(&mode) {
            return Err(Reason::ModeNotAccepted);
        }
        if !self.owns(client_id) {
            return Err(Reason::ClientIdOutsidePrefixes);
        }
        match key {
            Key::Access(key) if key.disabled => Err(Reason::Disabled),
            Key::Device(device, _) if device.client_id != client_id => Err(Reason::ClientIdMismatch),
            Key::Device(device, _) if device.disabled => Err(Reason::Disabled),
            Key::Device(device, _) if device.expires_at.is_some_and(|end| end <= now) => Err(Reason::Expired),
            Key::Access(_) if self.by_client_id.contains_key(client_id) => Err(Reason::ClientIdTaken),
            Key::Access(_) | Key::Device(..) => Ok(()),
        }
    }

    fn owns(&self, client_id: &str) -> bool {
        let prefixes = &self.tenant.claims.client_id_prefixes;
        credential::is_client_id(client_id)
            && (prefixes.is_empty() || prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str())))
    }

    pub(super) fn authorize(
        &self,
        unverified: Unverified<'_>,
        session: Session<'_>,
        request: &Request<'_>,
        now: UnixSeconds,
    ) -> Verdict<'_> {
        match self.verify(unverified, session, now) {
            Err(reason) => Verdict::deny(reason),
            Ok((ticket, key)) => self.decide(&ticket, key, request),
        }
    }

    pub(super) fn recognize(&self, unverified: Unverified<'_>, session: Session<'_>, now: UnixSeconds) -> Verdict<'_> {
        match self.verify(unverified, session, now) {
            Err(reason) => Verdict::deny(reason),
            Ok(_) => Verdict::Allow(Allowed::new(Cause::Reason(Reason::ProofAccepted))),
        }
    }

    fn verify(
        &self,
        unverified: Unverified<'_>,
        session: Session<'_>,
        now: UnixSeconds,
    ) -> Result<(Ticket, Key<'_>), Reason> {
        let ticket = unverified.verify(&self.tenant.ticket_key).ok_or(Reason::TicketForged)?;
        let key = self.open(&ticket, session.client_id, now)?;
        Ok((ticket, key))
    }

    fn open(&self, ticket: &Ticket, client_id: &str, now: UnixSeconds) -> Result<Key<'_>, Reason> {
        if ticket.client_id != client_id {
            return Err(Reason::TicketForeign);
        }
        if ticket.expires_at.is_some_and(|end| end <= now) {
            return Err(Reason::TicketExpired);
        }
        let key = self.key(ticket.mode, &ticket.key_id).ok_or(Reason::UnknownKey)?;
        self.admit(key, ticket.mode, client_id, now)?;
        let secret = key.secret().ok_or(Reason::KeyWithoutSecret)?;
        if generation(&self.tenant.ticket_key, secret) != ticket.generation {
            return Err(Reason::KeyReplaced);
        }
        Ok(key)
    }

    fn decide(&self, ticket: &Ticket, key: Key<'_>, request: &Request<'_>) -> Verdict<'_> {
        let Ticket { mode, key_id, client_id, instance_id, .. } = ticket;
        let username = ModeUsername { mode: *mode, key_id, instance_id }.to_string();
        match key {
            Key::Device(device, audiences) => {
                let client = self.device_client(device, Some(&username));
                self.rules.decide(&known_principal(client, audiences), request)
            }
            Key::Access(key) => {
                let client = self.key_client(key, client_id, Some(&username));
                self.rules.decide(&self.rules.principal(client), request)
            }
        }
    }

    pub(super) fn client<'a>(&'a self, key: Key<'a>, client_id: &'a str) -> Client<'a> {
        match key {
            Key::Device(device, _) => self.device_client(device, None),
            Key::Access(key) => self.key_client(key, client_id, None),
        }
    }

    fn device_client<'a>(&'a self, device: &'a Device, username: Option<&'a str>) -> Client<'a> {
        Client {
            client_id: &device.client_id,
            client_id_proven: true,
            username,
            mode: Mode::DeviceCredential,
            tenant_id: &self.tenant_id,
            instance_id: self.instance_id(),
            tenant_attributes: &self.tenant.client_attributes,
            own_attributes: Some(&device.client_attributes),
            labels: Some(&device.labels),
            access_key: None,
            superuser: device.superuser && self.tenant.superusers_allowed,
            grants: None,
        }
    }

    fn key_client<'a>(&'a self, key: &'a AccessKey, client_id: &'a str, username: Option<&'a str>) -> Client<'a> {
        Client {
            client_id,
            // The MAC covers the client ID.
            client_id_proven: true,
            username,
            mode: Mode::Signature,
            tenant_id: &self.tenant_id,
            instance_id: self.instance_id(),
            tenant_attributes: &self.tenant.client_attributes,
            own_attributes: None,
            labels: None,
            access_key: Some(&key.name),
            superuser: false,
            grants: None,
        }
    }
}
