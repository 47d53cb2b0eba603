use super::*;

fn table(capacity: usize, state: Option<&Path>, now: UnixSeconds) -> LoginTable {
    LoginTable::with_capacity(NonZeroUsize::new(capacity).unwrap(), state, now, Arc::new(Metrics::new()))
}

fn proven(ticket: &str, expires_at: Option<UnixSeconds>) -> Accepted<'_> {
    Accepted { ticket, expires_at, proves_client_id: true }
}

fn ticket(table: &LoginTable, key: &LoginKey, now: UnixSeconds) -> Option<Arc<str>> {
    table.tickets(key, now).into_iter().next()
}

fn key(client_id: &str) -> LoginKey {
    LoginKey::new("t", "/", "u", client_id)
}

fn enter(table: &LoginTable, client_id: &str, now: UnixSeconds) {
    table.enter(key(client_id), proven(&format!("ticket of {client_id}"), None), now);
}

fn has(table: &LoginTable, client_id: &str, now: UnixSeconds) -> bool {
    ticket(table, &key(client_id), now).is_some_and(|ticket| *ticket == *format!("ticket of {client_id}"))
}

#[test]
fn a_client_is_found_by_username_and_client_id_together() {
    let table = table(10, None, 0);
    enter(&table, "a", 0);
    assert!(has(&table, "a", 1));
    assert!(ticket(&table, &LoginKey::new("t", "/", "u", "b"), 1).is_none());
    assert!(ticket(&table, &LoginKey::new("t", "/", "v", "a"), 1).is_none());
    // Nothing in one part can stand for the other.
    assert!(ticket(&table, &LoginKey::new("t", "/", "ua", ""), 1).is_none());
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
    LoginKey::new(tenant, "/", "a login name", &format!("{tenant} client {number}"))
}

fn flood(table: &LoginTable, tenant: &str, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| table.enter(of(tenant, number), proven(tenant, None), 0));
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
    assert!(ticket(&table, &of("acme", 0), 1).is_some());
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
    table.enter(key("short"), proven("t", Some(100)), 0);
    enter(&table, "idle", 0);
    assert!(ticket(&table, &key("short"), 99).is_some());
    // Once more, to be told why.
    assert!(ticket(&table, &key("short"), 100).is_some());
    assert!(ticket(&table, &key("short"), 100).is_none());
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
        assert!(ticket(&table, &LoginKey::new("acme", "/", "Signature|AK.1|acme", "a"), now).is_some());
        assert!(ticket(&table, &LoginKey::new("", "/", "somebody", "b"), now).is_some());
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

fn tickets(table: &LoginTable, vhost: &str, now: UnixSeconds) -> Vec<String> {
    table.tickets(&LoginKey::new("t", vhost, "u", "a"), now).iter().map(ToString::to_string).collect()
}

#[test]
fn a_login_that_proves_no_client_id_is_contested_by_the_one_before_until_the_broker_has_ended_it() {
    let table = table(9, None, 0);
    let unproven = |ticket| Accepted { ticket, expires_at: None, proves_client_id: false };
    let enter = |ticket, now| table.enter(key("a"), unproven(ticket), now);
    enter("weak", 0);
    assert_eq!(tickets(&table, "/", 0), ["weak"]);
    enter("strong", 100);
    assert_eq!(tickets(&table, "/", 100), ["strong", "weak"]);
    assert_eq!(tickets(&table, "/", 101), ["strong", "weak"]);
    assert_eq!(tickets(&table, "/", 102), ["strong"]);
    // The same again is nobody else.
    enter("strong", 200);
    assert_eq!(tickets(&table, "/", 200), ["strong"]);
    enter("weak", 201);
    enter("other", 202);
    assert_eq!(tickets(&table, "/", 202), ["other", "weak", "strong"]);
    // Whoever proves the client ID takes it from somebody who did not, and whose session is not ended any sooner.
    table.enter(key("a"), proven("device", None), 203);
    assert_eq!(tickets(&table, "/", 203), ["device", "other", "weak"]);
    table.enter(key("a"), proven("device with a new key", None), 204);
    assert_eq!(tickets(&table, "/", 204), ["device with a new key", "other"]);
    assert_eq!(tickets(&table, "/", 205), ["device with a new key"]);
    // Two that prove it are one client.
    table.enter(key("a"), proven("device", None), 205);
    assert_eq!(tickets(&table, "/", 205), ["device"]);
}

#[test]
fn a_session_from_before_a_restart_contests_too_where_it_may_be_somebody_else_s() {
    let state = tempfile::tempdir().unwrap();
    let key = |mode: &str| LoginKey::new("t", "/", &format!("{mode}|AK.1|t"), "a");
    let first = table(9, Some(state.path()), 0);
    ["Token", "Signature"].iter().for_each(|mode| first.enter(key(mode), proven("old", None), 0));
    drop(first);
    let again = table(9, Some(state.path()), 1);
    for (mode, expected) in [("Token", 2), ("Signature", 1)] {
        again.enter(key(mode), proven("new", None), 1);
        assert_eq!(again.tickets(&key(mode), 1).len(), expected, "{mode}");
    }
}

#[test]
fn a_flood_of_logins_does_not_push_out_the_one_that_may_still_be_open() {
    let table = table(9, None, 0);
    for number in 0..100 {
        let ticket = number.to_string();
        table.enter(key("a"), Accepted { ticket: &ticket, expires_at: None, proves_client_id: false }, 0);
    }
    let contested = tickets(&table, "/", 0);
    assert_eq!(contested, ["99", "98", "97", "96", "95", "94", "93", "92", ""], "the last one allows nothing");
}

#[test]
fn a_login_in_one_virtual_host_is_none_in_another() {
    let state = tempfile::tempdir().unwrap();
    let table = table(9, Some(state.path()), 0);
    table.enter(LoginKey::new("t", "two", "u", "a"), proven("ticket", None), 0);
    assert!(tickets(&table, "/", 0).is_empty());
    let again = self::table(9, Some(state.path()), 0);
    assert_eq!((tickets(&again, "two", 0).len(), tickets(&again, "/", 0).len()), (1, 0));
}
