//! Logins: is this client who it says.
//!
//! Every proof is checked in the same order for everybody, whoever is asked for: what follows tells nobody why it failed.
//! A password that has to be compared with a slow hash takes two steps, so that a server can do the hash elsewhere:
//! [`BrokerIndex::begin_login`] gives a [`SlowLogin`], whose [`CheckedLogin`] goes to [`BrokerIndex::finish_login`].

mod hmac;
mod password;
mod scram;
mod token;

use super::{BrokerIndex, TenantIndex};
use crate::bundle::UnixSeconds;
use crate::client::{Map, Mode, TICKET_ATTRIBUTE};
use crate::credential::{self, ModeUsername};
use crate::index::key::{Accepted, Key};
use crate::password::Verifier;
use crate::rules::InlineAcl;
use crate::secret::Secret;
use crate::ticket::{Ticket, generation};
use crate::token::Token;
use crate::verdict::Reason;

pub use password::{CheckedLogin, SlowLogin};
pub use scram::ScramVerdict;

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
    /// ApsaraMQ's code, where a token client is refused.
    pub token_code: Option<i8>,
}

/// What is known of a login before any slow hash.
#[derive(Debug)]
pub enum LoginStep<'i> {
    /// All.
    Done(LoginVerdict<'i>),
    /// A password has to be compared first.
    Slow(Box<SlowLogin>),
}

/// A login that was accepted. Only this crate can make one.
#[derive(Clone)]
pub struct Login {
    ticket: String,
    attributes: Map,
    expires_at: Option<UnixSeconds>,
    proves_client_id: bool,
    acl: Option<InlineAcl>,
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

    /// Whether the proof fixes the client ID. Two logins with one username and client ID are of one client only if both do:
    /// tokens of one access key may be anybody's, and have other rights.
    #[must_use]
    pub fn proves_client_id(&self) -> bool {
        self.proves_client_id
    }

    /// When the broker should end the session; never when absent.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixSeconds> {
        self.expires_at
    }

    /// The client's rules for the broker, where its tenant delivers them with the login and they are not too many.
    #[must_use]
    pub fn acl(&self) -> Option<&InlineAcl> {
        self.acl.as_ref()
    }
}

impl BrokerIndex {
    /// Checks a client's proof, as far as no slow hash is needed.
    #[must_use]
    pub fn begin_login(&self, credentials: &Credentials<'_>, now: UnixSeconds) -> LoginStep<'_> {
        let Some(named) = ModeUsername::parse(credentials.username) else {
            return password::begin(self, credentials, now);
        };
        let tenant = self.tenant(named.instance_id);
        let result = match named.mode {
            Mode::Token => token::login(tenant, named, credentials, now),
            _ => hmac::login(tenant, named, credentials, now),
        };
        let token_code = result.as_ref().err().filter(|_| named.mode == Mode::Token).map(|reason| reason.token_code());
        LoginStep::Done(LoginVerdict { result, tenant: tenant.ok(), token_code })
    }

    /// Judges a login whose password has been compared.
    #[must_use]
    pub fn finish_login(&self, checked: &CheckedLogin, now: UnixSeconds) -> LoginVerdict<'_> {
        password::finish(self, checked, now)
    }

    /// Checks a client's proof to the end, slow hashes included. For callers that may block.
    #[must_use]
    pub fn login(&self, credentials: &Credentials<'_>, now: UnixSeconds) -> LoginVerdict<'_> {
        match self.begin_login(credentials, now) {
            LoginStep::Done(verdict) => verdict,
            LoginStep::Slow(slow) => self.finish_login(&slow.check(), now),
        }
    }

    /// What a broker needs to check a SCRAM proof itself. Whoever logs in proves it to the broker afterwards.
    #[must_use]
    pub fn scram(&self, login_name: &str, client_id: &str, now: UnixSeconds) -> ScramVerdict<'_> {
        scram::scram(self, login_name, client_id, now)
    }
}

/// A client whose proof was right.
struct Proven<'i, 'a> {
    tenant: &'i TenantIndex,
    key: Key<'i>,
    mode: Mode,
    key_id: &'a str,
    client_id: &'a str,
    tokens: Vec<Token>,
    by: By<'i>,
}

/// The secret that a proof was made with.
#[derive(Clone, Copy)]
struct By<'i> {
    /// What marks it.
    mark: &'i [u8],
    /// When its sessions end: it is on its way out.
    ends: Option<UnixSeconds>,
}

impl<'i> By<'i> {
    fn secret(accepted: &Accepted<'i, Secret>) -> Self {
        Self { mark: accepted.secret.expose(), ends: accepted.ends }
    }

    fn verifier(accepted: &Accepted<'i, Verifier>) -> Self {
        Self { mark: accepted.secret.mark(), ends: accepted.ends }
    }
}

impl Proven<'_, '_> {
    /// Judges everything but the proof, and seals the ticket.
    fn admit(self, now: UnixSeconds) -> Result<Login, Reason> {
        let Self { tenant, key, mode, key_id, client_id, tokens, by } = self;
        tenant.admit_login(key, mode, client_id, now)?;
        let ends = key.expires_at().into_iter().chain(by.ends);
        let expires_at = ends.chain(tokens.iter().map(|token| token.expires_at)).min();
        let ticket_key = &tenant.tenant().ticket_key;
        let ticket = Ticket {
            instance_id: tenant.instance_id().to_owned(),
            mode,
            key_id: key_id.to_owned(),
            generation: generation(ticket_key, by.mark),
            client_id: client_id.to_owned(),
            expires_at,
            tokens,
        };
        let sealed = ticket.seal(ticket_key).ok_or(Reason::InternalError)?;
        let client = tenant.client(key, &ticket, None);
        let (mut attributes, proves_client_id) = (client.attributes(), client.client_id_proven);
        attributes.insert(TICKET_ATTRIBUTE.to_owned(), sealed.clone());
        let acl = tenant.inline_acl(&ticket, key);
        Ok(Login { ticket: sealed, attributes, expires_at, proves_client_id, acl })
    }
}

/// A client ID that MACs and tickets are made of: one of megabytes would be work for nothing.
fn usable(client_id: &str) -> Result<(), Reason> {
    if credential::is_client_id(client_id) { Ok(()) } else { Err(Reason::ClientIdInvalid) }
}
