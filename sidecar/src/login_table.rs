//! Which ticket a client was given when it logged in, for brokers that cannot bring it back.
//!
//! Bounded: when the table is full, the tenant with the most logins loses the one that was silent longest, and that client
//! has to log in again; so one tenant, however many client IDs it makes up, ends nobody else's sessions. An entry ends with
//! its credential, or after 30 idle days. What it grants is judged anew at every request, by its ticket.

mod journal;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;

use crate::metrics::Metrics;
use crate::shares::Shares;
use journal::{Journal, Record};

const DAY: UnixSeconds = 24 * 60 * 60;
const MAX_IDLE: UnixSeconds = 30 * DAY;
const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Whose login it was. Username and client ID are both needed: a username may be shared by many clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginKey {
    /// Instance ID of the tenant that owns the client ID, whose share of the table it takes: a login name does not tell.
    tenant: Box<str>,
    username: Box<str>,
    client_id: Box<str>,
}

/// A login that was accepted.
struct Entry {
    ticket: Arc<str>,
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
    pub(crate) fn new(tenant: &str, username: &str, client_id: &str) -> Self {
        Self { tenant: tenant.into(), username: username.into(), client_id: client_id.into() }
    }
}

impl Entry {
    fn has_ended(&self, now: UnixSeconds) -> bool {
        self.expires_at.is_some_and(|end| end <= now) || now.saturating_sub(self.seen) > MAX_IDLE
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

    /// Remembers a login. The last one of a client counts.
    pub(crate) fn enter(&self, key: LoginKey, ticket: &str, expires_at: Option<UnixSeconds>, now: UnixSeconds) {
        let mut inner = self.lock();
        let entry = Entry { ticket: ticket.into(), expires_at, seen: now, noted: now };
        inner.note(&key, &entry, &self.metrics);
        inner.entries.put(&key.tenant.clone(), key, entry);
        self.metrics.logins(inner.entries.len());
    }

    /// The ticket of a client that has logged in.
    pub(crate) fn ticket(&self, key: &LoginKey, now: UnixSeconds) -> Option<Arc<str>> {
        let inner = &mut *self.lock();
        let entry = inner.entries.get_mut(&key.tenant, key)?;
        if entry.has_ended(now) {
            inner.entries.remove(&key.tenant, key);
            self.metrics.logins(inner.entries.len());
            return None;
        }
        entry.seen = entry.seen.max(now);
        let ticket = Arc::clone(&entry.ticket);
        if entry.seen - entry.noted >= DAY {
            entry.noted = entry.seen;
            let record = Record::of(key, entry);
            inner.append(&record, &self.metrics);
        }
        Some(ticket)
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
mod tests {
    use super::*;

    fn table(capacity: usize, state: Option<&Path>, now: UnixSeconds) -> LoginTable {
        LoginTable::with_capacity(NonZeroUsize::new(capacity).unwrap(), state, now, Arc::new(Metrics::new()))
    }

    fn key(client_id: &str) -> LoginKey {
        LoginKey::new("t", "u", client_id)
    }

    fn enter(table: &LoginTable, client_id: &str, now: UnixSeconds) {
        table.enter(key(client_id), &format!("ticket of {client_id}"), None, now);
    }

    fn has(table: &LoginTable, client_id: &str, now: UnixSeconds) -> bool {
        table.ticket(&key(client_id), now).is_some_and(|ticket| *ticket == *format!("ticket of {client_id}"))
    }

    #[test]
    fn a_client_is_found_by_username_and_client_id_together() {
        let table = table(10, None, 0);
        enter(&table, "a", 0);
        assert!(has(&table, "a", 1));
        assert!(table.ticket(&LoginKey::new("t", "u", "b"), 1).is_none());
        assert!(table.ticket(&LoginKey::new("t", "v", "a"), 1).is_none());
        // Nothing in one part can stand for the other.
        assert!(table.ticket(&LoginKey::new("t", "ua", ""), 1).is_none());
    }

    #[test]
    fn the_least_recently_used_goes_when_the_table_is_full() {
        let table = table(2, None, 0);
        enter(&table, "a", 0);
        enter(&table, "b", 0);
        assert!(has(&table, "a", 1));
        enter(&table, "c", 2);
        assert!(has(&table, "a", 3) && has(&table, "c", 3) && !has(&table, "b", 3));
    }

    fn of(tenant: &str, number: u32) -> LoginKey {
        LoginKey::new(tenant, "a login name", &format!("{tenant} client {number}"))
    }

    fn flood(table: &LoginTable, tenant: &str, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| table.enter(of(tenant, number), tenant, None, 0));
    }

    /// Which of a tenant's first clients are there, without use of them being noted.
    fn there(table: &LoginTable, tenant: &str) -> Vec<u32> {
        let inner = table.lock();
        (0..1000).filter(|number| inner.entries.iter().any(|(key, _)| *key == of(tenant, *number))).collect()
    }

    #[test]
    fn a_flood_of_one_tenant_pushes_out_its_own_logins_only() {
        let table = table(10, None, 0);
        flood(&table, "acme", 0..3);
        flood(&table, "globex", 0..500);
        assert_eq!(there(&table, "acme"), [0, 1, 2]);
        assert_eq!(there(&table, "globex"), (493..500).collect::<Vec<u32>>());
        assert_eq!(table.lock().entries.len(), 10);
        // Whoever has less than the largest still finds room, down to equal shares.
        flood(&table, "acme", 3..100);
        assert_eq!(there(&table, "globex").len(), 5);
        assert_eq!(there(&table, "acme"), (95..100).collect::<Vec<u32>>());
        flood(&table, "initech", 0..1);
        assert_eq!(there(&table, "initech"), [0]);
        assert_eq!(table.lock().entries.len(), 10);
    }

    #[test]
    fn use_counts_within_a_tenant_and_a_second_login_takes_no_second_place() {
        let table = table(4, None, 0);
        flood(&table, "acme", 0..3);
        flood(&table, "globex", 0..1);
        flood(&table, "acme", 1..2);
        assert!(table.ticket(&of("acme", 0), 1).is_some());
        flood(&table, "globex", 1..2);
        assert_eq!((there(&table, "acme"), there(&table, "globex")), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn the_bound_holds_when_every_login_is_of_another_tenant() {
        let table = table(3, None, 0);
        (0..50).for_each(|number| flood(&table, &format!("tenant {number}"), 0..1));
        let inner = table.lock();
        assert_eq!((inner.entries.len(), inner.entries.iter().count()), (3, 3));
    }

    #[test]
    fn a_restart_keeps_the_shares() {
        let state = tempfile::tempdir().unwrap();
        let first = table(10, Some(state.path()), 0);
        flood(&first, "acme", 0..3);
        flood(&first, "globex", 0..999);
        drop(first);
        // First from the journal as it was appended, then from the compacted one.
        for now in [1, 2] {
            let again = table(10, Some(state.path()), now);
            assert_eq!(there(&again, "acme"), [0, 1, 2]);
            assert_eq!(there(&again, "globex"), (992..999).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn an_entry_ends_with_its_credential_or_after_idle_days() {
        let table = table(10, None, 0);
        table.enter(key("short"), "t", Some(100), 0);
        enter(&table, "idle", 0);
        assert!(table.ticket(&key("short"), 99).is_some());
        assert!(table.ticket(&key("short"), 100).is_none());
        assert!(has(&table, "idle", MAX_IDLE));
        assert!(has(&table, "idle", 2 * MAX_IDLE));
        assert!(!has(&table, "idle", 3 * MAX_IDLE + 1));
    }

    #[test]
    fn a_restart_loses_no_login_and_revives_none() {
        let state = tempfile::tempdir().unwrap();
        let first = table(2, Some(state.path()), 0);
        ["gone", "a", "b"].iter().for_each(|id| enter(&first, id, 0));
        drop(first);
        let second = table(2, Some(state.path()), 10);
        assert!(has(&second, "a", 10) && has(&second, "b", 10) && !has(&second, "gone", 10));
        drop(second);
        let third = table(2, Some(state.path()), MAX_IDLE + 11);
        assert!(!has(&third, "a", MAX_IDLE + 11));
    }

    #[test]
    fn use_is_noted_once_a_day_so_that_a_restart_does_not_end_a_busy_session() {
        let state = tempfile::tempdir().unwrap();
        let first = table(2, Some(state.path()), 0);
        enter(&first, "a", 0);
        assert!(has(&first, "a", 20 * DAY));
        drop(first);
        let second = table(2, Some(state.path()), 40 * DAY);
        assert!(has(&second, "a", 40 * DAY));
    }

    #[test]
    fn a_damaged_journal_loses_only_its_damaged_lines() {
        let state = tempfile::tempdir().unwrap();
        let first = table(9, Some(state.path()), 0);
        ["a", "b"].iter().for_each(|id| enter(&first, id, 0));
        drop(first);
        let path = state.path().join("logins");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"\xFF\xFE garbage\n{\"u\":\"u\"}\n{\"u\":\"u\",\"c\":\"tr");
        std::fs::write(&path, bytes).unwrap();
        let second = table(9, Some(state.path()), 1);
        assert!(has(&second, "a", 1) && has(&second, "b", 1));
        enter(&second, "c", 1);
        drop(second);
        let third = table(9, Some(state.path()), 1);
        assert!(has(&third, "a", 1) && has(&third, "c", 1));
    }

    #[test]
    fn the_journal_is_compacted_when_it_doubles_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        let table = table(9, Some(state.path()), 0);
        (0..5000).for_each(|_| enter(&table, "a", 0));
        let path = state.path().join("logins");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 2500, "{lines}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(has(&table, "a", 0));
    }

    #[test]
    fn a_line_that_names_no_tenant_belongs_to_that_of_its_username() {
        let state = tempfile::tempdir().unwrap();
        let line = "{\"u\":\"Signature|AK.1|acme\",\"c\":\"a\",\"t\":\"ticket\",\"s\":0}\n";
        let unknown = "{\"u\":\"somebody\",\"c\":\"b\",\"t\":\"ticket\",\"s\":0}\n";
        std::fs::write(state.path().join("logins"), [line, unknown].concat()).unwrap();
        for now in [1, 2] {
            let table = table(9, Some(state.path()), now);
            assert!(table.ticket(&LoginKey::new("acme", "Signature|AK.1|acme", "a"), now).is_some());
            assert!(table.ticket(&LoginKey::new("", "somebody", "b"), now).is_some());
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_no_login() {
        let state = tempfile::tempdir().unwrap();
        let blocked = state.path().join("file");
        std::fs::write(&blocked, b"").unwrap();
        let table = table(9, Some(&blocked), 0);
        enter(&table, "a", 0);
        assert!(has(&table, "a", 1));
    }
}
