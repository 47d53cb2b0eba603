//! Which ticket a client was given when it logged in, for brokers that cannot bring it back.
//!
//! Bounded: when the table is full, the tenant with the most logins loses the one that was silent longest, and that client
//! has to log in again; so one tenant, however many client IDs it makes up, ends nobody else's sessions. An entry ends with
//! its credential, or after 30 idle days. What it grants is judged anew at every request, by its ticket.
//!
//! Two clients may log in with one username and one client ID and have different rights: with tokens that are not bound to
//! a client ID, of one access key. The broker then ends the older session, but not at once, and its requests cannot be told
//! from those of the newer one. For a second or two, therefore, only what both may do is allowed.

mod journal;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::shares::Shares;

use crate::metrics::Metrics;
use journal::{Journal, Record};

/// RabbitMQ's, unless a client or a port names another.
pub(crate) const DEFAULT_VHOST: &str = "/";
const DAY: UnixSeconds = 24 * 60 * 60;
const MAX_IDLE: UnixSeconds = 30 * DAY;
/// How long a broker may take to end the session whose client ID a new login takes over, in seconds.
const TAKEOVER: UnixSeconds = 1;
const MAX_CONTESTED: usize = 8;
const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Whose login it was. Username and client ID are both needed: a username may be shared by many clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginKey {
    /// Instance ID of the tenant that owns the client ID, whose share of the table it takes: a login name does not tell.
    tenant: Box<str>,
    vhost: Box<str>,
    username: Box<str>,
    client_id: Box<str>,
}

/// A login that was accepted, as it enters the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    pub(crate) ticket: &'a str,
    pub(crate) expires_at: Option<UnixSeconds>,
    /// Whether the proof fixes the client ID.
    pub(crate) proves_client_id: bool,
}

/// What the table knows of a login.
struct Entry {
    ticket: Arc<str>,
    /// Tickets that this one took the place of a moment ago, whose sessions the broker may not have ended yet.
    contested_by: Vec<(Arc<str>, UnixSeconds)>,
    proves_client_id: bool,
    expires_at: Option<UnixSeconds>,
    /// When it was last asked for.
    seen: UnixSeconds,
    /// What the journal says of that, which is at most a day behind.
    noted: UnixSeconds,
}

/// The logins of one broker.
pub(crate) struct LoginTable {
    /// Never held across an await; a write to the journal is a write to a memory-backed volume.
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
}

struct Inner {
    entries: Shares<LoginKey, Entry>,
    journal: Option<Journal>,
}

impl LoginKey {
    pub(crate) fn new(tenant: &str, vhost: &str, username: &str, client_id: &str) -> Self {
        Self { tenant: tenant.into(), vhost: vhost.into(), username: username.into(), client_id: client_id.into() }
    }
}

impl Entry {
    fn has_ended(&self, now: UnixSeconds) -> bool {
        self.expires_at.is_some_and(|end| end <= now) || now.saturating_sub(self.seen) > MAX_IDLE
    }

    /// The tickets that contest a new one, the newest first: this one, and those that contest it. Two proofs of one client ID
    /// are of one client.
    fn contests(&self, new: Accepted<'_>, now: UnixSeconds) -> Vec<(Arc<str>, UnixSeconds)> {
        let same_client = *self.ticket == *new.ticket || (self.proves_client_id && new.proves_client_id);
        let own = (!same_client).then(|| (Arc::clone(&self.ticket), now));
        let mut all: Vec<_> = own.into_iter().chain(self.contesting(now).cloned()).collect();
        if let Some((_, since)) = all.get(MAX_CONTESTED).cloned() {
            // Any of them may still be open: what is too much to remember allows nothing.
            all.truncate(MAX_CONTESTED - 1);
            all.push((Arc::from(""), since));
        }
        all
    }

    fn contesting(&self, now: UnixSeconds) -> impl Iterator<Item = &(Arc<str>, UnixSeconds)> {
        self.contested_by.iter().filter(move |(_, since)| now.saturating_sub(*since) <= TAKEOVER)
    }
}

impl LoginTable {
    /// A table that starts with what the journal in the state folder holds, if there is one.
    pub(crate) fn open(state_dir: Option<&Path>, now: UnixSeconds, metrics: Arc<Metrics>) -> Self {
        Self::with_capacity(CAPACITY, state_dir, now, metrics)
    }

    fn with_capacity(
        capacity: NonZeroUsize,
        state_dir: Option<&Path>,
        now: UnixSeconds,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut inner = Inner { entries: Shares::new(capacity), journal: None };
        if let Some(state_dir) = state_dir {
            let journal = Journal::at(state_dir);
            // In the order they were written, so that the last ones seen stay.
            journal.read(|record| {
                let (key, entry) = record.into_entry();
                if entry.has_ended(now) {
                    inner.entries.remove(&key.tenant, &key);
                } else {
                    inner.entries.put(&key.tenant.clone(), key, entry);
                }
            });
            inner.journal = Some(journal);
        }
        inner.compact(&metrics);
        metrics.logins(inner.entries.len());
        Self { inner: Mutex::new(inner), metrics }
    }

    /// Remembers a login. The last one of a client counts; it is contested for a moment by the one before, unless both
    /// prove the client ID.
    pub(crate) fn enter(&self, key: LoginKey, accepted: Accepted<'_>, now: UnixSeconds) {
        let Accepted { ticket, expires_at, proves_client_id } = accepted;
        let mut inner = self.lock();
        let before = inner.entries.get_mut(&key.tenant, &key);
        let contested_by = before.map(|before| before.contests(accepted, now)).unwrap_or_default();
        let entry = Entry { ticket: ticket.into(), contested_by, proves_client_id, expires_at, seen: now, noted: now };
        inner.note(&key, &entry, &self.metrics);
        inner.entries.put(&key.tenant.clone(), key, entry);
        self.metrics.logins(inner.entries.len());
    }

    /// The ticket of a client that has logged in, and after it those that contest it: all have to allow what is asked.
    pub(crate) fn tickets(&self, key: &LoginKey, now: UnixSeconds) -> Vec<Arc<str>> {
        let inner = &mut *self.lock();
        let Some(entry) = inner.entries.get_mut(&key.tenant, key) else {
            return Vec::new();
        };
        if entry.has_ended(now) {
            // Asked for the last time: the ticket itself says why it counts no more, unless it was forgotten for its age.
            let expired = entry.expires_at.is_some_and(|end| end <= now).then(|| Arc::clone(&entry.ticket));
            inner.entries.remove(&key.tenant, key);
            self.metrics.logins(inner.entries.len());
            return expired.into_iter().collect();
        }
        entry.seen = entry.seen.max(now);
        let own = std::iter::once(&entry.ticket);
        let tickets = own.chain(entry.contesting(now).map(|(ticket, _)| ticket)).cloned().collect();
        if entry.seen - entry.noted >= DAY {
            entry.noted = entry.seen;
            let record = Record::of(key, entry);
            inner.append(&record, &self.metrics);
        }
        tickets
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, key: &LoginKey, entry: &Entry, metrics: &Metrics) {
        if self.journal.is_some() {
            self.append(&Record::of(key, entry), metrics);
        }
    }

    fn append(&mut self, record: &Record, metrics: &Metrics) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        journal.append(record, metrics);
        if journal.has_doubled() {
            self.compact(metrics);
        }
    }

    fn compact(&mut self, metrics: &Metrics) {
        let Self { entries, journal } = self;
        if let Some(journal) = journal {
            // Each tenant's oldest first, as they would have been appended.
            journal.rewrite(entries.iter().map(|(key, entry)| Record::of(key, entry)), metrics);
        }
    }
}

#[cfg(test)]
mod tests;
