//! The principal that a broker's session belongs to: whether the one that logs in now is the one that subscribed before.
//!
//! A persistent session keeps its subscriptions, and brokers hand it to the next client with the same client ID. Two logins
//! may share it only if they are of one principal with the same grants: then none of them reads more than it may.

use serde::Serialize;

use super::key::Key;
use super::{BrokerIndex, Login, TenantIndex};
use crate::client::Mode;
use crate::credential::hmac_sha256;
use crate::ticket::{SplitTicket, Ticket, Unverified};
use crate::token::{Act, Token};

const OWNER_DOMAIN: &[u8] = b"mqtt-access/session-owner/v1\0";
const OWNER_BYTES: usize = 16;

/// Names a principal with its grants and its client ID; equal for two logins if and only if they may share a session. It is a
/// MAC with the tenant's ticket key and tells nothing of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionOwner(pub [u8; OWNER_BYTES]);

/// A login in the form that a table of logins keeps.
#[derive(Debug)]
pub struct Kept {
    /// The ticket.
    pub ticket: SplitTicket,
    /// Whose sessions it may take up.
    pub owner: SessionOwner,
    /// Whether the client ID is that of one credential alone, so that no other principal logs in with it.
    pub owns_client_id: bool,
}

/// What has to be the same. Its JSON is what the MAC covers.
#[derive(Serialize)]
struct Principal<'a> {
    mode: Mode,
    credential: Credential<'a>,
    client_id: &'a str,
    grants: Vec<Granted<'a>>,
}

#[derive(Serialize)]
enum Credential<'a> {
    AccessKey(&'a str),
    /// A credential that is deleted and made again is another one: it has another UID.
    Uid(&'a str),
    /// Manifests on disk have no UIDs.
    Name(&'a str),
}

#[derive(Serialize)]
struct Granted<'a> {
    /// A token that is not bound to a client ID may be any client's: only the same token is the same principal.
    token_id: Option<&'a str>,
    act: Act,
    resources: &'a [String],
}

impl BrokerIndex {
    /// The login for a table of logins; `None` where the tenant has gone.
    #[must_use]
    pub fn keep(&self, login: &Login) -> Option<Kept> {
        let unverified = Unverified::parse(login.ticket())?;
        let tenant = self.tenant(unverified.instance_id()).ok()?;
        let ticket = unverified.verify(&tenant.tenant().ticket_key)?;
        tenant.keep(ticket)
    }
}

impl TenantIndex {
    fn keep(&self, ticket: Ticket) -> Option<Kept> {
        let key = self.key(ticket.mode, &ticket.key_id)?;
        let owner = self.session_owner(key, &ticket)?;
        let owns_client_id = matches!(key, Key::Device(device, _) if device.client_id.one().is_some());
        Some(Kept { ticket: ticket.split(&self.tenant().ticket_key)?, owner, owns_client_id })
    }

    fn session_owner(&self, key: Key<'_>, ticket: &Ticket) -> Option<SessionOwner> {
        let credential = match key {
            Key::Access(key) => Credential::AccessKey(&key.id),
            Key::Device(device, _) => match &device.uid {
                Some(uid) => Credential::Uid(uid),
                None => Credential::Name(&device.name),
            },
        };
        let grants = ticket.tokens.iter().map(granted).collect();
        let principal = Principal { mode: ticket.mode, credential, client_id: &ticket.client_id, grants };
        let message = [OWNER_DOMAIN, &serde_json::to_vec(&principal).ok()?].concat();
        let mac = hmac_sha256(self.tenant().ticket_key.expose(), &message);
        mac.get(..OWNER_BYTES)?.try_into().ok().map(SessionOwner)
    }
}

fn granted(token: &Token) -> Granted<'_> {
    let Token { id, issued_at: _, expires_at: _, act, resources, client_id } = token;
    Granted { token_id: client_id.is_none().then_some(id), act: *act, resources }
}
