//! Clients as they would be after a login, without one: for whoever compiles, explains or tests what they may do.

use super::TenantIndex;
use super::key::{Key, proves_client_id};
use super::tenant::Entry;
use crate::bundle::{Device, UnixSeconds};
use crate::client::{Client, Mode};
use crate::credential::ModeUsername;
use crate::rules::Principal;
use crate::verdict::Reason;

/// A client of a tenant, as it would be after a login in a mode; of a token, before what the token takes away.
#[derive(Debug)]
pub struct Persona<'i> {
    tenant: &'i TenantIndex,
    key: Key<'i>,
    mode: Mode,
    client_id: String,
    username: Option<String>,
}

impl TenantIndex {
    /// Every device, once for each mode in which it can log in; [`Persona::admitted`] tells whether it may now. In the order
    /// of their names: a bundle's own order is another one after it was encoded.
    pub fn devices(&self) -> impl Iterator<Item = Persona<'_>> {
        let mut entries: Vec<&Entry> = self.devices.iter().collect();
        entries.sort_by_key(|entry| entry.device.name.as_str());
        entries.into_iter().flat_map(move |entry| {
            let client_id = entry.device.client_id.one().unwrap_or_default();
            let modes = modes(&entry.device).into_iter();
            modes.map(move |mode| self.persona(Key::Device(&entry.device, &entry.audiences), mode, client_id))
        })
    }

    /// The client of a device's credential with this client ID, once for each mode in which it can log in.
    #[must_use]
    pub fn device_personas(&self, client_id: &str) -> Vec<Persona<'_>> {
        let Some(entry) = self.by_client_id.get(client_id).and_then(|place| self.devices.get(*place)) else {
            return Vec::new();
        };
        let key = Key::Device(&entry.device, &entry.audiences);
        modes(&entry.device).into_iter().map(|mode| self.persona(key, mode, client_id)).collect()
    }

    /// The client that logs in with a login name and this client ID: those of people too, whose client ID is their choice.
    #[must_use]
    pub fn login_persona(&self, login_name: &str, mode: Mode, client_id: &str) -> Option<Persona<'_>> {
        let entry = self.devices.get(*self.by_login.get(login_name)?)?;
        Some(self.persona(Key::Device(&entry.device, &entry.audiences), mode, client_id))
    }

    /// The client that logs in with an access key, by the key's name: in mode `Signature` or `Token`.
    #[must_use]
    pub fn access_key_persona(&self, name: &str, mode: Mode, client_id: &str) -> Option<Persona<'_>> {
        let key = self.tenant.access_keys.iter().find(|key| key.name == name)?;
        Some(self.persona(Key::Access(key), mode, client_id))
    }

    pub(super) fn persona<'i>(&'i self, key: Key<'i>, mode: Mode, client_id: &str) -> Persona<'i> {
        let mode_username = |key_id| Some(ModeUsername { mode, key_id, instance_id: self.instance_id() }.to_string());
        let username = match (key, mode) {
            (_, Mode::Scram) => None,
            (Key::Device(device, _), Mode::Password) => device.login.as_ref().map(|login| login.name.clone()),
            (Key::Device(device, _), _) => mode_username(&device.key_id),
            (Key::Access(key), _) => mode_username(&key.id),
        };
        Persona { tenant: self, key, mode, client_id: client_id.to_owned(), username }
    }
}

/// In which modes a device can log in.
pub(super) fn modes(device: &Device) -> Vec<Mode> {
    let Some(login) = &device.login else { return vec![Mode::DeviceCredential] };
    let scram = login.scram.as_ref().map(|_| Mode::Scram);
    // One that waits for its password is what it will be with one.
    let password = (login.password.is_some() || scram.is_none()).then_some(Mode::Password);
    scram.into_iter().chain(password).collect()
}

impl<'i> Persona<'i> {
    /// The client with the audiences that it belongs to.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        self.tenant.rules.principal(self.client())
    }

    pub(super) fn client(&self) -> Client<'_> {
        let client = match self.key {
            Key::Device(device, _) => self.tenant.device_client(device, self.mode),
            Key::Access(key) => self.tenant.key_client(key, self.mode),
        };
        // Nothing is known of a token but what its tenant requires of all.
        let client_id_proven = proves_client_id(self.key, self.mode, self.tenant.tenant.sessions.require_sub);
        let username = self.username.as_deref();
        Client { client_id: &self.client_id, client_id_proven, username, ..client }
    }

    /// Why its login would be refused although its proof is right; such a client may do nothing. Of a credential with a
    /// prefix, without a client ID: why that of everyone would be.
    pub fn admitted(&self, now: UnixSeconds) -> Result<(), Reason> {
        match self.key {
            Key::Device(device, _) if device.client_id.one().is_none() && self.client_id.is_empty() => {
                self.tenant.admit_anyone(device, self.mode, now)?;
            }
            key => self.tenant.admit_login(key, self.mode, &self.client_id, now)?,
        }
        if self.key.marks(self.mode, now).is_empty() { Err(Reason::KeyWithoutSecret) } else { Ok(()) }
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> &'i TenantIndex {
        self.tenant
    }

    /// In which modes its credential can log in; none for clients of an access key.
    pub(crate) fn modes(&self) -> Vec<Mode> {
        self.device().map(modes).unwrap_or_default()
    }

    /// How it logs in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its client ID; empty for a credential with a prefix, whose clients choose it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The username with which it logs in; of SCRAM it proves nothing, so there is none.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The name of the access key that it logs in with; `None` for clients with a credential.
    #[must_use]
    pub fn access_key(&self) -> Option<&'i str> {
        match self.key {
            Key::Device(..) => None,
            Key::Access(key) => Some(&key.name),
        }
    }

    /// Its credential; `None` for clients of an access key.
    #[must_use]
    pub fn device(&self) -> Option<&'i Device> {
        match self.key {
            Key::Device(device, _) => Some(device),
            Key::Access(_) => None,
        }
    }
}
