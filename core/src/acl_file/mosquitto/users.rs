//! Who stands in the files: clients whose password is fixed, by usernames that are theirs on the whole broker.

use std::collections::BTreeSet;

use super::format::is_username;
use super::passwords::Password;
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::index::{Persona, TenantIndex};

/// A client that may log in.
pub(super) struct User<'i> {
    pub(super) persona: Persona<'i>,
    pub(super) device: &'i str,
    /// What it logs in with, or why it cannot to Mosquitto.
    pub(super) entry: Result<Entry, LeftOut>,
}

/// The two fields of a line of the `password_file`.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) password: Password,
}

/// Why a client that may log in elsewhere stands in neither file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// No line can carry its username.
    Username,
    /// Another tenant could have the same login name.
    LoginName,
    /// Nothing that a `password_file` can hold is known of its password.
    Password,
}

impl LeftOut {
    /// In words, with what to do.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Username => {
                "left out: its username holds a `:` or white space, or begins with `#`; give it another `username`"
            }
            Self::LoginName => {
                "left out: usernames are one name space in Mosquitto, and another tenant could have this one; begin \
                 `username` with one of the tenant's `clientIdPrefixes`"
            }
            Self::Password => {
                "left out: its password was chosen or imported, or generated while `aclFiles` of the broker did not list \
                 Mosquitto, or is a MAC that its tenant does not take"
            }
        }
    }
}

/// The clients that may log in now. SCRAM is not for Mosquitto.
pub(super) fn users(index: &TenantIndex, now: UnixSeconds) -> impl Iterator<Item = User<'_>> {
    let mut known = BTreeSet::new();
    index.devices().filter_map(move |persona| {
        // A username counts for the first of the tenant's credentials that has it, whether or not that one may log in.
        let is_its_own = known.insert(persona.username()?.to_owned());
        if !is_its_own || persona.admitted(now).is_err() {
            return None;
        }
        let device = persona.device()?.name.as_str();
        Some(User { entry: entry(&persona), device, persona })
    })
}

fn entry(persona: &Persona<'_>) -> Result<Entry, LeftOut> {
    let name = persona.username().unwrap_or_default();
    if !is_username(name) {
        Err(LeftOut::Username)
    } else if !is_tenants_own(persona, name) {
        Err(LeftOut::LoginName)
    } else {
        let password = Password::of(persona).ok_or(LeftOut::Password)?;
        Ok(Entry { name: name.to_owned(), password })
    }
}

/// Whether no other tenant of the broker can have the username. Mosquitto knows one name space of them, and blocks of one
/// name add up. Instance IDs have one owner each, and so have client-ID prefixes: a login name has to begin with one, unless
/// the tenant has the broker to itself.
fn is_tenants_own(persona: &Persona<'_>, username: &str) -> bool {
    let prefixes = &persona.tenant().tenant().claims.client_id_prefixes;
    persona.mode() != Mode::Password
        || prefixes.is_empty()
        || prefixes.iter().any(|prefix| username.starts_with(prefix.as_str()))
}
