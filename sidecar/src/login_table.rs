//! Which ticket a client was given when it logged in, for brokers that cannot bring it back, and whose sessions they keep.
//!
//! Bounded in bytes: when the table is full, the tenant that uses most loses the login that was silent longest, and that client
//! has to log in again; so one tenant, however many client IDs it makes up and however large its tokens are, ends no session of
//! another. What many tokens grant alike is kept once for each tenant. An entry ends with its credential, or after 30 idle
//! days. What it grants is judged anew at every request, by its ticket.
//!
//! Two clients may log in with one username and one client ID and have different rights: with tokens that are not bound to
//! a client ID, of one access key. The broker then ends the older session, but not at once, and its requests cannot be told
//! from those of the newer one. For a second or two, therefore, only what both may do is allowed.
//!
//! Beside the logins stand marks ([`marks`]), under a bound of their own: whose session the broker keeps for a client ID.
//!
//! Answers need the lock for map operations only. The journal is written, and compacted, by a thread of its own.

mod entry;
mod journal;
mod marks;
mod shares;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::verdict::Reason;

use crate::login_number::{LoginNumber, LoginNumbers};
use crate::metrics::Metrics;
pub(crate) use entry::{Accepted, LoginKey};
use entry::{Contesting, Entry};
use journal::{Backlog, Item, Line, Loaded};
use marks::Mark;
pub(crate) use marks::{Queue, QueuePermission, SessionKey};
use mqtt_access_core::ticket::SplitTicket;
use shares::ByteShares;

/// RabbitMQ's, unless a client or a port names another.
pub(crate) const DEFAULT_VHOST: &str = "/";

/// How much room the logins of one broker take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of logins in memory.
    logins: usize,
    /// Bytes of marks in memory.
    marks: usize,
    /// Bytes of the journal on the state volume: at least 4/3 of both together, so that there is always something to compact.
    journal: usize,
    /// Bytes of lines that wait to be written.
    backlog: usize,
}

/// Some 65,000 logins of devices, and as many marks; half of the state volume of 128 MiB that the examples have.
const LIMITS: Limits = Limits { logins: 48 << 20, marks: 16 << 20, journal: 64 << 20, backlog: 8 << 20 };

/// The logins of one broker.
pub(crate) struct LoginTable {
    shared: Arc<Shared>,
    writer: Option<journal::Writer>,
}

/// What answers and the journal's writer share.
struct Shared {
    /// Never held across an await or a write.
    inner: Mutex<Inner>,
    /// Lines for the journal, if there is one.
    backlog: Option<Backlog>,
    numbers: LoginNumbers,
    metrics: Arc<Metrics>,
}

struct Inner {
    entries: ByteShares<LoginKey, Entry>,
    marks: ByteShares<SessionKey, Mark>,
    next_line: u64,
}

/// A client that has logged in: what it asks has to be allowed by its own ticket and by all that contest it.
#[derive(Debug, Default)]
pub(crate) struct LoggedIn {
    pub(crate) ticket: Option<SplitTicket>,
    pub(crate) contested_by: Vec<SplitTicket>,
    /// Whether more contest it than are remembered: then nothing is allowed.
    pub(crate) contested_by_too_many: bool,
}

impl LoginTable {
    /// A table that starts with what the journal in the state folder holds, if there is one.
    pub(crate) fn open(state_dir: Option<&Path>, now: UnixSeconds, metrics: Arc<Metrics>) -> Self {
        Self::with_limits(LIMITS, state_dir, now, metrics)
    }

    fn with_limits(limits: Limits, state_dir: Option<&Path>, now: UnixSeconds, metrics: Arc<Metrics>) -> Self {
        let mut inner =
            Inner { entries: ByteShares::new(limits.logins), marks: ByteShares::new(limits.marks), next_line: 1 };
        let segments =
            state_dir.map(|state_dir| journal::open(state_dir, limits.journal, |loaded| inner.load(loaded, now)));
        let backlog = state_dir.map(|_| Backlog::new(limits.backlog));
        let shared = Arc::new(Shared { inner: Mutex::new(inner), backlog, numbers: LoginNumbers::new(), metrics });
        shared.count(&shared.lock());
        let writer = segments.and_then(|segments| journal::start(Arc::clone(&shared), segments));
        Self { shared, writer }
    }

    /// Remembers a login. The last one of a client counts; it is contested for a moment by the one before, unless both
    /// prove the client ID. The number is for the broker to repeat in its questions.
    pub(crate) fn enter(&self, key: LoginKey, accepted: Accepted, now: UnixSeconds) -> LoginNumber {
        let Accepted { kept, expires_at, proves_client_id } = accepted;
        let number = self.shared.numbers.next();
        let mut inner = self.shared.lock();
        let session = SessionKey::new(&key.tenant, &key.vhost, &key.client_id);
        let before = inner.marks.peek(&key.tenant, &session);
        let mark = Mark::claimed(before, kept.owner, kept.owns_client_id, number);
        if mark.differs(before) {
            self.shared.note_mark(&mut inner, session, mark);
        } else {
            inner.marks.put(&key.tenant, session, mark);
        }
        let before = inner.entries.peek(&key.tenant, &key);
        let contested_by = before.map(|before| before.contests(&kept.ticket, proves_client_id, now));
        let contested_by = contested_by.unwrap_or_default();
        let ticket = kept.ticket;
        let entry = Entry { ticket, contested_by, proves_client_id, expires_at, seen: now, noted: now, line: 0 };
        self.shared.note_login(&mut inner, key, entry);
        self.shared.count(&inner);
        number
    }

    /// The ticket of a client that has logged in, and those that contest it.
    pub(crate) fn find(&self, key: &LoginKey, now: UnixSeconds) -> LoggedIn {
        let inner = &mut *self.shared.lock();
        let Some(entry) = inner.entries.get_mut(&key.tenant, key) else {
            return LoggedIn::default();
        };
        if entry.has_ended(now) {
            // Asked for the last time: the ticket itself says why it counts no more, unless it was forgotten for its age.
            let ticket = entry.has_expired(now).then(|| entry.ticket.clone());
            inner.entries.remove(&key.tenant, key);
            self.shared.count(inner);
            return LoggedIn { ticket, ..LoggedIn::default() };
        }
        let is_due = entry.see(now);
        let mut found = LoggedIn { ticket: Some(entry.ticket.clone()), ..LoggedIn::default() };
        for (contesting, _) in entry.contesting(now) {
            match contesting {
                Contesting::Ticket(ticket) => found.contested_by.push(ticket.clone()),
                Contesting::TooMany => found.contested_by_too_many = true,
            }
        }
        if is_due || entry.is_settled(now) {
            let contested_by = entry.contesting(now).cloned().collect();
            let entry = Entry { contested_by, ..entry.clone() };
            if is_due {
                self.shared.note_login(inner, key.clone(), entry);
            } else {
                inner.entries.put(&key.tenant, key.clone(), entry);
            }
        }
        found
    }

    /// Judges a question about a queue of a client that is admitted.
    pub(crate) fn queue(
        &self,
        key: &SessionKey,
        queue: Queue,
        permission: QueuePermission,
        login: Option<LoginNumber>,
    ) -> Result<(), Reason> {
        let inner = &mut *self.shared.lock();
        let Some(mark) = inner.marks.get_mut(&key.tenant, key) else {
            let may = queue == Queue::Transient || permission == QueuePermission::Configure;
            return if may { Ok(()) } else { Err(Reason::SessionOwnerUnknown) };
        };
        let before = mark.clone();
        let judged = mark.judge(queue, permission, login);
        if mark.differs(Some(&before)) {
            let mark = mark.clone();
            self.shared.note_mark(inner, key.clone(), mark);
        }
        judged
    }
}

impl Drop for LoginTable {
    /// Lines that wait are written, as far as the disk takes them soon.
    fn drop(&mut self) {
        if let (Some(backlog), Some(writer)) = (&self.shared.backlog, self.writer.take()) {
            backlog.close();
            writer.wait();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, inner: &Inner) {
        self.metrics.logins(inner.entries.len(), inner.entries.bytes() + inner.marks.bytes());
    }

    /// Puts a login into the table and its line into the backlog: in one order, since both happen under the lock.
    fn note_login(&self, inner: &mut Inner, key: LoginKey, mut entry: Entry) {
        entry.line = inner.take_line();
        self.push(Item::login(&key, &entry));
        inner.entries.put(&key.tenant.clone(), key, entry);
    }

    fn note_mark(&self, inner: &mut Inner, key: SessionKey, mut mark: Mark) {
        mark.line = inner.take_line();
        self.push(Item::mark(&key, &mark));
        inner.marks.put(&key.tenant.clone(), key, mark);
    }

    fn push(&self, item: Item) {
        if self.backlog.as_ref().is_some_and(|backlog| !backlog.push(item)) {
            self.metrics.login_not_saved();
        }
    }

    /// Those of some lines of the journal that are what the table still says, to be written anew before the old ones go.
    fn renew(&self, lines: &[(u64, Line)]) -> Vec<Item> {
        let inner = &mut *self.lock();
        lines.iter().filter_map(|(number, line)| inner.renew(*number, line)).collect()
    }
}

impl Inner {
    fn take_line(&mut self) -> u64 {
        let line = self.next_line;
        self.next_line += 1;
        line
    }

    /// Takes a line of the journal, in the order they were written: the last ones stay.
    fn load(&mut self, loaded: Loaded, now: UnixSeconds) {
        let line = match loaded {
            Loaded::Login(key, entry) => {
                let line = entry.line;
                if entry.has_ended(now) {
                    self.entries.remove(&key.tenant, &key);
                } else {
                    self.entries.put(&key.tenant.clone(), key, entry);
                }
                line
            }
            Loaded::Mark(key, mark) => {
                let line = mark.line;
                self.marks.put(&key.tenant.clone(), key, mark);
                line
            }
        };
        self.next_line = self.next_line.max(line.saturating_add(1));
    }

    fn renew(&mut self, number: u64, line: &Line) -> Option<Item> {
        let next = self.next_line;
        let item = match line {
            Line::Login(key) => {
                let entry = self.entries.peek_mut(&key.tenant, key).filter(|entry| entry.line == number)?;
                entry.line = next;
                Item::login(key, entry)
            }
            Line::Mark(key) => {
                let mark = self.marks.peek_mut(&key.tenant, key).filter(|mark| mark.line == number)?;
                mark.line = next;
                Item::mark(key, mark)
            }
            Line::Resources { tenant, digest } => Item::resources(tenant, self.entries.holds(tenant, digest)?),
        };
        self.next_line += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests;
