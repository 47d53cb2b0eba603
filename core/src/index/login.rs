//! Logins: is this client who it says.

use std::sync::LazyLock;

use super::{BrokerIndex, TenantIndex};
use crate::bundle::UnixSeconds;
use crate::client::{Map, TICKET_ATTRIBUTE};
use crate::credential::{self, MacAlgorithm, ModeUsername};
use crate::index::tenant::Key;
use crate::secret::Secret;
use crate::ticket::{Ticket, generation};
use crate::verdict::Reason;

/// What a client presents when it connects.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The MQTT username.
    pub username: &'a str,
    /// The MQTT password.
    pub password: &'a [u8],
    /// The MQTT client ID.
    pub client_id: &'a str,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { username, password: _, client_id } = self;
        f.debug_struct("Credentials").field("username", username).field("client_id", client_id).finish_non_exhaustive()
    }
}

/// The answer to a login, with the tenant where one was found.
#[derive(Debug)]
pub struct LoginVerdict<'i> {
    /// The login, or why it is refused.
    pub result: Result<Login, Reason>,
    /// Whose bundle gave it.
    pub tenant: Option<&'i TenantIndex>,
}

/// A login that was accepted. Only this crate can make one.
#[derive(Clone)]
pub struct Login {
    ticket: String,
    attributes: Map,
    expires_at: Option<UnixSeconds>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Login {
    /// What the broker has to hand back with every authorization request.
    #[must_use]
    pub fn ticket(&self) -> &str {
        &self.ticket
    }

    /// The client attributes for the broker, the ticket among them.
    #[must_use]
    pub fn attributes(&self) -> &Map {
        &self.attributes
    }

    /// When the broker should end the session; never when absent.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixSeconds> {
        self.expires_at
    }
}

/// Stands in for the key of an unknown user, so that a refusal takes as long as any other.
static NOBODY: LazyLock<Secret> = LazyLock::new(|| Secret::new(vec![0; 43]));

pub(super) fn login<'i>(index: &'i BrokerIndex, credentials: &Credentials<'_>, now: UnixSeconds) -> LoginVerdict<'i> {
    let named = ModeUsername::parse(credentials.username);
    let tenant = match named {
        Some(named) => index.tenant(named.instance_id),
        None => Err(Reason::ModeNotAccepted),
    };
    let key = named.and_then(|named| tenant.ok()?.key(named.mode, named.key_id));
    let secret = key.and_then(Key::secret);
    // Computed for everybody, in the same order: what follows tells nobody why it failed.
    let proof = verify(secret.unwrap_or(&NOBODY), credentials);
    let result = match (named, tenant) {
        (Some(named), Ok(tenant)) => accept(tenant, named, key, proof.filter(|_| secret.is_some()), credentials, now),
        (_, Err(reason)) => Err(reason),
        (None, Ok(_)) => Err(Reason::ModeNotAccepted),
    };
    LoginVerdict { result, tenant: tenant.ok() }
}

fn verify(secret: &Secret, credentials: &Credentials<'_>) -> Option<MacAlgorithm> {
    let Credentials { username: _, password, client_id } = credentials;
    // A MAC over a client ID of megabytes would be work for nothing; no such client ID is ever accepted.
    let client_id = if client_id.len() > credential::MAX_CLIENT_ID_BYTES { "" } else { client_id };
    credential::verify(secret, client_id, password)
}

fn accept(
    tenant: &TenantIndex,
    named: ModeUsername<'_>,
    key: Option<Key<'_>>,
    proof: Option<MacAlgorithm>,
    credentials: &Credentials<'_>,
    now: UnixSeconds,
) -> Result<Login, Reason> {
    let client_id = credentials.client_id;
    if !credential::is_client_id(client_id) {
        return Err(Reason::ClientIdInvalid);
    }
    let key = key.ok_or(Reason::UnknownKey)?;
    let secret = key.secret().ok_or(Reason::KeyWithoutSecret)?;
    let algorithm = proof.ok_or(Reason::WrongProof)?;
    if !tenant.tenant().signature_algorithms.contains(&algorithm) {
        return Err(Reason::WrongProof);
    }
    tenant.admit(key, named.mode, client_id, now)?;
    let ticket = Ticket {
        instance_id: named.instance_id.to_owned(),
        mode: named.mode,
        key_id: named.key_id.to_owned(),
        generation: generation(&tenant.tenant().ticket_key, secret),
        client_id: client_id.to_owned(),
        expires_at: key.expires_at(),
    };
    let ticket = ticket.seal(&tenant.tenant().ticket_key).ok_or(Reason::InternalError)?;
    let mut attributes = tenant.client(key, client_id).attributes();
    attributes.insert(TICKET_ATTRIBUTE.to_owned(), ticket.clone());
    Ok(Login { ticket, attributes, expires_at: key.expires_at() })
}
