//! One login: what is known of it, and how much room it takes.

use std::sync::Arc;

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::Kept;
use mqtt_access_core::ticket::{Resources, SplitTicket};

use super::shares::{Weighed, json_bytes};

const DAY: UnixSeconds = 24 * 60 * 60;
pub(super) const MAX_IDLE: UnixSeconds = 30 * DAY;
/// How long a broker may take to end the session whose client ID a new login takes over, in seconds.
const TAKEOVER: UnixSeconds = 1;
const MAX_CONTESTED: usize = 8;
/// Bytes of an entry beside its texts, by estimate: nodes, buckets and what the allocator adds.
const OVERHEAD: usize = 320;
/// Bytes of the digest of a list of resources, in a line of the journal.
const DIGEST_BYTES: usize = 67;

/// A login, by what RabbitMQ says in its questions. Username and client ID are both needed: a username may be shared by many
/// clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginKey {
    /// Instance ID of the tenant that owns the client ID, whose share of the table it takes: a login name does not tell.
    pub(super) tenant: Box<str>,
    pub(super) vhost: Box<str>,
    pub(super) username: Box<str>,
    pub(super) client_id: Box<str>,
}

/// A login that was accepted, as it enters the table.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) kept: Kept,
    pub(crate) expires_at: Option<UnixSeconds>,
    /// Whether the proof fixes the client ID.
    pub(crate) proves_client_id: bool,
}

/// What the table knows of a login.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) ticket: SplitTicket,
    /// Tickets that this one took the place of a moment ago, whose sessions the broker may not have ended yet.
    pub(super) contested_by: Vec<(Contesting, UnixSeconds)>,
    pub(super) proves_client_id: bool,
    pub(super) expires_at: Option<UnixSeconds>,
    /// When it was last asked for.
    pub(super) seen: UnixSeconds,
    /// What the journal says of that, which is at most a day behind.
    pub(super) noted: UnixSeconds,
    /// Its last line in the journal.
    pub(super) line: u64,
}

/// A login whose session may still be open.
#[derive(Debug, Clone)]
pub(super) enum Contesting {
    Ticket(SplitTicket),
    /// Too many to remember: what they may do is not known.
    TooMany,
}

impl LoginKey {
    pub(crate) fn new(tenant: &str, vhost: &str, username: &str, client_id: &str) -> Self {
        Self { tenant: tenant.into(), vhost: vhost.into(), username: username.into(), client_id: client_id.into() }
    }
}

impl Entry {
    pub(super) fn has_ended(&self, now: UnixSeconds) -> bool {
        self.has_expired(now) || now.saturating_sub(self.seen) > MAX_IDLE
    }

    pub(super) fn has_expired(&self, now: UnixSeconds) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Marks it as asked for; whether the journal should hear of it.
    pub(super) fn see(&mut self, now: UnixSeconds) -> bool {
        self.seen = self.seen.max(now);
        let is_due = self.seen - self.noted >= DAY;
        if is_due {
            self.noted = self.seen;
        }
        is_due
    }

    /// The tickets that contest a new one, the newest first: this one, and those that contest it. Two proofs of one client ID
    /// are of one client.
    pub(super) fn contests(
        &self,
        new: &SplitTicket,
        proves_client_id: bool,
        now: UnixSeconds,
    ) -> Vec<(Contesting, UnixSeconds)> {
        let same_client = self.ticket == *new || (self.proves_client_id && proves_client_id);
        let own = (!same_client).then(|| (Contesting::Ticket(self.ticket.clone()), now));
        let mut all: Vec<_> = own.into_iter().chain(self.contesting(now).cloned()).collect();
        if let Some((_, since)) = all.get(MAX_CONTESTED).cloned() {
            // Any of them may still be open: what is too much to remember allows nothing.
            all.truncate(MAX_CONTESTED - 1);
            all.push((Contesting::TooMany, since));
        }
        all
    }

    pub(super) fn contesting(&self, now: UnixSeconds) -> impl Iterator<Item = &(Contesting, UnixSeconds)> {
        self.contested_by.iter().filter(move |(_, since)| now.saturating_sub(*since) <= TAKEOVER)
    }

    /// Whether all that contested it have been ended by now: then they only take room.
    pub(super) fn is_settled(&self, now: UnixSeconds) -> bool {
        !self.contested_by.is_empty() && self.contesting(now).next().is_none()
    }
}

impl Weighed<LoginKey> for Entry {
    fn bytes(&self, key: &LoginKey) -> usize {
        let LoginKey { tenant, vhost, username, client_id } = key;
        let names: usize = [tenant, vhost, username, client_id].map(|text| json_bytes(text)).iter().sum();
        let contesting = self.contested_by.iter().map(|(contesting, _)| match contesting {
            Contesting::Ticket(ticket) => ticket.text().len() + 64,
            Contesting::TooMany => 64,
        });
        // A line of the journal has at most three quarters of this, names in JSON and digests of resources included.
        let digests = self.shared().count() * DIGEST_BYTES;
        OVERHEAD + (names + self.ticket.text().len() + digests + contesting.sum::<usize>()) * 4 / 3
    }

    fn shared(&self) -> impl Iterator<Item = &Arc<Resources>> {
        let contesting = self.contested_by.iter().filter_map(|(contesting, _)| match contesting {
            Contesting::Ticket(ticket) => Some(ticket),
            Contesting::TooMany => None,
        });
        std::iter::once(&self.ticket).chain(contesting).flat_map(SplitTicket::resources)
    }

    fn shared_mut(&mut self) -> impl Iterator<Item = &mut Arc<Resources>> {
        let contesting = self.contested_by.iter_mut().filter_map(|(contesting, _)| match contesting {
            Contesting::Ticket(ticket) => Some(ticket),
            Contesting::TooMany => None,
        });
        std::iter::once(&mut self.ticket).chain(contesting).flat_map(SplitTicket::resources_mut)
    }
}
