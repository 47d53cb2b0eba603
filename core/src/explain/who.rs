//! Whom a question is about: from a client ID and perhaps a key or a login name to the clients that this may be.

use thiserror::Error;

use crate::bundle::ClientIds;
use crate::client::Mode;
use crate::index::{Persona, TenantIndex};

/// A client as a person names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// Its client ID; may be left out where a login name has just one.
    pub client_id: Option<&'a str>,
    /// The name of the access key that it logs in with.
    pub access_key: Option<&'a str>,
    /// The login name that it logs in with.
    pub username: Option<&'a str>,
    /// How it logs in, where there are several ways.
    pub mode: Option<Mode>,
}

/// Why nobody is meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unidentified {
    /// The client ID has no credential of its own.
    #[error("no DeviceCredential has the client ID `{client_id}`; {}", list_of(.could))]
    NoDevice {
        /// The client ID.
        client_id: String,
        /// Who may log in with it.
        could: Vec<String>,
    },
    /// There is no such access key.
    #[error("the tenant has no access key `{0}`; name one of `spec.accessKeys`")]
    NoAccessKey(String),
    /// There is no such login name.
    #[error("no DeviceCredential of the tenant has the login name `{0}`; correct it")]
    NoLogin(String),
    /// The credential has no such way.
    #[error("it does not log in by `{0}`; name another mode, or none")]
    NoMode(&'static str),
    /// The client chooses its client ID.
    #[error("a client ID is needed, which is the client's choice here; name one")]
    NoClientId,
    /// Both were named.
    #[error("an access key and a login name are two clients; name one of them")]
    Both,
}

fn list_of(could: &[String]) -> String {
    if could.is_empty() {
        return "and no other credential of the tenant opens it".to_owned();
    }
    format!("it may be held by: {}; name which is meant", could.join(", "))
}

impl TenantIndex {
    /// The clients that may be meant, one for each way to log in; never none. Ways that the tenant does not accept are left out
    /// where there are others.
    pub fn identify(&self, who: Who<'_>) -> Result<Vec<Persona<'_>>, Unidentified> {
        let Who { client_id, access_key, username, mode } = who;
        let personas = match (access_key, username) {
            (Some(_), Some(_)) => return Err(Unidentified::Both),
            (Some(name), None) => self.of_access_key(name, client_id.ok_or(Unidentified::NoClientId)?)?,
            (None, Some(name)) => self.of_login(name, client_id)?,
            (None, None) => self.of_client_id(client_id.ok_or(Unidentified::NoClientId)?)?,
        };
        if let Some(mode) = mode {
            let one: Vec<_> = personas.into_iter().filter(|persona| persona.mode() == mode).collect();
            return if one.is_empty() { Err(Unidentified::NoMode(mode.as_str())) } else { Ok(one) };
        }
        let accepted = |persona: &Persona<'_>| self.tenant().modes.contains(&persona.mode());
        let any = personas.iter().any(accepted);
        let personas = personas.into_iter().filter(|persona| !any || accepted(persona)).collect::<Vec<_>>();
        // A signature proves more than a token and needs none: without a word about it, that is meant.
        let keep = if access_key.is_some() { 1 } else { personas.len() };
        Ok(personas.into_iter().take(keep).collect())
    }

    fn of_access_key(&self, name: &str, client_id: &str) -> Result<Vec<Persona<'_>>, Unidentified> {
        let modes = [Mode::Signature, Mode::Token].into_iter();
        let personas: Vec<_> = modes.filter_map(|mode| self.access_key_persona(name, mode, client_id)).collect();
        if personas.is_empty() { Err(Unidentified::NoAccessKey(name.to_owned())) } else { Ok(personas) }
    }

    fn of_login(&self, name: &str, client_id: Option<&str>) -> Result<Vec<Persona<'_>>, Unidentified> {
        let unknown = || Unidentified::NoLogin(name.to_owned());
        // Any mode finds the credential, which tells its own.
        let found = self.login_persona(name, Mode::Password, "").ok_or_else(unknown)?;
        let device = found.device().ok_or_else(unknown)?;
        let client_id = client_id.or(device.client_id.one()).ok_or(Unidentified::NoClientId)?;
        let modes = found.modes().into_iter();
        Ok(modes.filter_map(|mode| self.login_persona(name, mode, client_id)).collect())
    }

    fn of_client_id(&self, client_id: &str) -> Result<Vec<Persona<'_>>, Unidentified> {
        let personas = self.device_personas(client_id);
        if personas.is_empty() {
            return Err(Unidentified::NoDevice { client_id: client_id.to_owned(), could: self.could_hold(client_id) });
        }
        Ok(personas)
    }

    fn could_hold(&self, client_id: &str) -> Vec<String> {
        let keys = self.tenant().access_keys.iter().filter(|key| self.opens(key, client_id));
        let keys = keys.map(|key| format!("access key `{}`", key.name));
        let logins = self.devices().filter_map(|persona| {
            let device = persona.device()?;
            let opens = matches!(&device.client_id, ClientIds::Prefix { .. }) && device.client_id.contain(client_id);
            opens.then(|| format!("login name `{}`", device.login.as_ref().map_or("", |login| &login.name)))
        });
        let mut could: Vec<String> = keys.chain(logins).collect();
        could.dedup();
        could.truncate(8);
        could
    }
}
