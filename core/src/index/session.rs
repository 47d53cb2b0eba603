//! Clients that have logged in, as their tickets tell: what is judged anew at each of their requests.

use super::key::{Key, proves_client_id};
use super::{Session, TenantIndex};
use crate::bundle::{AclDelivery, UnixSeconds};
use crate::client::{Client, Grant, Mode};
use crate::credential::ModeUsername;
use crate::policy::Action;
use crate::rules::{InlineAcl, Principal};
use crate::ticket::{Ticket, Unverified, generation};
use crate::token::Token;
use crate::verdict::{Allowed, Cause, Reason, Request, Verdict};

/// The times by which a session is judged.
#[derive(Clone, Copy)]
struct Moments {
    /// By which the lifetimes of tickets, credentials and tokens count.
    lifetimes: UnixSeconds,
    /// By which everything else counts: a secret that was rotated out gets no grace.
    now: UnixSeconds,
}

impl TenantIndex {
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

    /// As [`Self::authorize`], for a broker that asks about a last will only after its session has expired, and does not
    /// say that it is one. Within the tenant's grace the expiry alone does not refuse a publish; everything else does.
    pub(super) fn authorize_last_will(
        &self,
        unverified: Unverified<'_>,
        session: Session<'_>,
        request: &Request<'_>,
        now: UnixSeconds,
    ) -> Verdict<'_> {
        let Some(ticket) = unverified.verify(&self.tenant.ticket_key) else {
            return Verdict::deny(Reason::TicketForged);
        };
        let before_expiry = ticket.expires_at.filter(|end| self.in_grace(*end, request, now)).map(|end| end - 1);
        match self.open(&ticket, session.client_id, Moments { lifetimes: before_expiry.unwrap_or(now), now }) {
            Err(reason) => Verdict::deny(reason),
            Ok(key) => match self.decide(&ticket, key, request) {
                Verdict::Allow(_) if before_expiry.is_some() => {
                    Verdict::Allow(Allowed::new(Cause::Reason(Reason::WillGrace)))
                }
                verdict => verdict,
            },
        }
    }

    fn in_grace(&self, end: UnixSeconds, request: &Request<'_>, now: UnixSeconds) -> bool {
        let grace = UnixSeconds::from(self.tenant.sessions.will_grace_seconds);
        request.action() == Action::Publish && end <= now && now < end.saturating_add(grace)
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
        let key = self.open(&ticket, session.client_id, Moments { lifetimes: now, now })?;
        Ok((ticket, key))
    }

    fn open(&self, ticket: &Ticket, client_id: &str, moments: Moments) -> Result<Key<'_>, Reason> {
        let Moments { lifetimes, now } = moments;
        if ticket.client_id != client_id {
            return Err(Reason::TicketForeign);
        }
        if ticket.expires_at.is_some_and(|end| end <= lifetimes) {
            return Err(Reason::TicketExpired);
        }
        let key = self.key(ticket.mode, &ticket.key_id).ok_or(Reason::UnknownKey)?;
        self.admit(key, ticket.mode, client_id, lifetimes)?;
        let marks = key.marks(ticket.mode, now);
        if marks.is_empty() {
            return Err(Reason::KeyWithoutSecret);
        }
        if !marks.into_iter().any(|mark| generation(&self.tenant.ticket_key, mark) == ticket.generation) {
            return Err(Reason::KeyReplaced);
        }
        self.check_tokens(&ticket.tokens, client_id, lifetimes)?;
        Ok(key)
    }

    fn decide(&self, ticket: &Ticket, key: Key<'_>, request: &Request<'_>) -> Verdict<'_> {
        self.as_principal(ticket, key, |principal| self.rules.decide(principal, request))
    }

    /// The rules of a client that logs in, where its broker is to evaluate them itself.
    pub(super) fn inline_acl(&self, ticket: &Ticket, key: Key<'_>) -> Option<InlineAcl> {
        let delivered = self.tenant.acl_delivery == AclDelivery::Inline;
        delivered.then(|| self.as_principal(ticket, key, |principal| self.rules.inline(principal))).flatten()
    }

    fn as_principal<T>(&self, ticket: &Ticket, key: Key<'_>, judge: impl FnOnce(&Principal<'_>) -> T) -> T {
        let username = verified_username(ticket);
        let grants: Vec<Grant> = ticket.tokens.iter().flat_map(Token::grants).collect();
        let grants = (ticket.mode == Mode::Token).then_some(grants.as_slice());
        let client = Client { grants, ..self.client(key, ticket, username.as_deref()) };
        judge(&self.principal(key, client))
    }

    /// A client as its ticket tells; without the grants of its tokens.
    pub(super) fn client<'a>(&'a self, key: Key<'a>, ticket: &'a Ticket, username: Option<&'a str>) -> Client<'a> {
        let client_id_proven = proves_client_id(key, ticket.mode, is_bound(&ticket.tokens));
        let client = match key {
            Key::Device(device, _) => self.device_client(device, ticket.mode),
            Key::Access(key) => self.key_client(key, ticket.mode),
        };
        Client { client_id: &ticket.client_id, client_id_proven, username, ..client }
    }
}

/// Tokens that are all bound to a client ID fix it: one that is not could be anybody's.
fn is_bound(tokens: &[Token]) -> bool {
    !tokens.is_empty() && tokens.iter().all(|token| token.client_id.is_some())
}

/// The username, where the mechanism verified it: a SCRAM client chooses the one it connects with freely.
fn verified_username(ticket: &Ticket) -> Option<String> {
    let Ticket { mode, key_id, instance_id, .. } = ticket;
    match mode {
        Mode::Signature | Mode::DeviceCredential | Mode::Token => {
            Some(ModeUsername { mode: *mode, key_id, instance_id }.to_string())
        }
        Mode::Password => Some(key_id.clone()),
        Mode::Scram => None,
    }
}
