use mqtt_access_core::index::{Kept, SessionOwner};
use mqtt_access_core::ticket::Resources;
use std::path::PathBuf;

use super::entry::MAX_IDLE;
use super::shares::Weighed as _;
use super::*;

const DAY: UnixSeconds = 24 * 60 * 60;
/// Room for everything that a test puts there.
const ROOMY: Limits = Limits { logins: 1 << 20, marks: 1 << 20, journal: 4 << 20, backlog: 8 << 20 };

/// A table with room for so many logins of `flood`.
fn table(logins: usize, state: Option<&Path>, now: UnixSeconds) -> LoginTable {
    let ticket = SplitTicket::kept("acme".into(), Vec::new());
    let entry = Entry {
        ticket,
        contested_by: Vec::new(),
        proves_client_id: true,
        expires_at: None,
        seen: 0,
        noted: 0,
        line: 0,
    };
    // Names of tenants and numbers of clients differ a little in length.
    with(Limits { logins: logins * (entry.bytes(&of("initech", 999)) + 8), ..ROOMY }, state, now)
}

fn with(limits: Limits, state: Option<&Path>, now: UnixSeconds) -> LoginTable {
    LoginTable::with_limits(limits, state, now, Arc::new(Metrics::new()))
}

fn kept(ticket: &str, resources: Vec<Arc<Resources>>) -> Kept {
    let owner = SessionOwner([0; 16]);
    Kept { ticket: SplitTicket::kept(ticket.into(), resources), owner, owns_client_id: true }
}

fn proven(ticket: &str, expires_at: Option<UnixSeconds>) -> Accepted {
    Accepted { kept: kept(ticket, Vec::new()), expires_at, proves_client_id: true }
}

fn unproven(ticket: &str) -> Accepted {
    Accepted { kept: kept(ticket, Vec::new()), expires_at: None, proves_client_id: false }
}

/// For closures: the number of a login is for the broker alone.
fn void(_: LoginNumber) {}

fn ticket(table: &LoginTable, key: &LoginKey, now: UnixSeconds) -> Option<String> {
    table.find(key, now).ticket.map(|ticket| ticket.text().to_owned())
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

/// Bytes of the journal's files, and their paths.
fn journal(state: &Path) -> (u64, Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(state.join("login-journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    (paths.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum(), paths)
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
    let limits = Limits { logins: 800, ..ROOMY };
    let table = with(limits, None, 0);
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
    numbers.for_each(|number| void(table.enter(of(tenant, number), proven("acme", None), 0)));
}

/// Which of a tenant's first clients are there, without use of them being noted.
fn there(table: &LoginTable, tenant: &str) -> Vec<u32> {
    let inner = table.shared.lock();
    (0..1000).filter(|number| inner.entries.iter().any(|(key, _)| *key == of(tenant, *number))).collect()
}

#[test]
fn a_flood_of_one_tenant_pushes_out_its_own_logins_only() {
    let table = table(10, None, 0);
    flood(&table, "acme", 0..3);
    flood(&table, "globex", 0..500);
    assert_eq!(there(&table, "acme"), [0, 1, 2]);
    assert_eq!(there(&table, "globex"), (493..500).collect::<Vec<u32>>());
    assert_eq!(table.shared.lock().entries.len(), 10);
    // Whoever has less than the largest still finds room, down to equal shares.
    flood(&table, "acme", 3..100);
    assert_eq!(there(&table, "globex").len(), 5);
    assert_eq!(there(&table, "acme"), (95..100).collect::<Vec<u32>>());
    flood(&table, "initech", 0..1);
    assert_eq!(there(&table, "initech"), [0]);
    assert_eq!(table.shared.lock().entries.len(), 10);
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
    let inner = table.shared.lock();
    assert_eq!((inner.entries.len(), inner.entries.iter().count()), (3, 3));
    assert!(inner.marks.len() > 3, "marks have a bound of their own");
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
    let path = journal(state.path()).1.pop().unwrap();
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
fn the_journal_stays_within_its_bound_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { journal: 1 << 20, backlog: 64 << 20, ..ROOMY };
    let first = with(limits, Some(state.path()), 0);
    enter(&first, "idle", 0);
    // Twenty times as much as fits.
    for number in 0..100_000 {
        enter(&first, &format!("busy {}", number % 100), 0);
        if number % 10_000 == 0 {
            assert!(journal_bytes(state.path()) <= 1 << 20);
        }
    }
    drop(first);
    let (bytes, paths) = journal(state.path());
    assert!((1 << 18..=1 << 20).contains(&bytes), "{bytes}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(paths.iter().all(|path| mode(path) == 0o600), "{paths:?}");
    let again = with(limits, Some(state.path()), 1);
    assert!(has(&again, "idle", 1), "what is silent is written anew before its segment goes");
    assert!((0..100).all(|number| has(&again, &format!("busy {number}"), 1)));
    assert_eq!(unsaved(&again), 0);
}

/// The journal may be written to while it is looked at.
fn journal_bytes(state: &Path) -> u64 {
    let found = std::fs::read_dir(state.join("login-journal")).into_iter().flatten().filter_map(Result::ok);
    found.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn unsaved(table: &LoginTable) -> u64 {
    let text = table.shared.metrics.render(None, 0);
    let line = text.lines().find(|line| line.starts_with("mqtt_access_sidecar_logins_unsaved_total "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

fn list(name: &str) -> Arc<Resources> {
    Arc::new(Resources::new((0..100).map(|number| format!("{name}/{number}/{}", "x".repeat(500))).collect()))
}

fn with_list(ticket: &str, name: &str) -> Accepted {
    Accepted { kept: kept(ticket, vec![list(name)]), expires_at: None, proves_client_id: true }
}

#[test]
fn equal_grants_are_kept_once_in_memory_and_in_the_journal() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { logins: 4 << 20, ..ROOMY };
    let first = with(limits, Some(state.path()), 0);
    (0..1000).for_each(|number| void(first.enter(of("acme", number), with_list("ticket", "a"), 0)));
    // Some 50 MB of tickets, if each had a list of its own.
    assert!(first.shared.lock().entries.bytes() < 1 << 20);
    drop(first);
    let (bytes, _) = journal(state.path());
    assert!(bytes < 1 << 20, "{bytes}");
    let again = with(limits, Some(state.path()), 1);
    let inner = again.shared.lock();
    assert_eq!(inner.entries.len(), 1000);
    assert!(inner.entries.iter().all(|(_, entry)| entry.ticket.resources() == [list("a")]));
}

#[test]
fn lists_outlive_the_segment_that_first_had_them_and_go_with_their_last_login() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { logins: 256 << 10, marks: 64 << 10, journal: 1 << 20, backlog: 64 << 20 };
    let first = with(limits, Some(state.path()), 0);
    first.enter(of("acme", 0), with_list("ticket", "kept"), 0);
    for number in 0..3000 {
        first.enter(of("globex", number % 50), with_list("ticket", &format!("list {}", number % 7)), 0);
    }
    drop(first);
    let (bytes, _) = journal(state.path());
    assert!(bytes <= 1 << 20, "{bytes}");
    for now in [1, 2] {
        let again = with(limits, Some(state.path()), now);
        let found = again.find(&of("acme", 0), now).ticket.unwrap();
        assert_eq!(found.resources(), [list("kept")]);
    }
}

#[test]
fn large_tokens_of_one_tenant_push_out_its_own_logins_only() {
    let table = with(Limits { logins: 1 << 20, ..ROOMY }, None, 0);
    flood(&table, "acme", 0..100);
    (0..200).for_each(|number| void(table.enter(of("globex", number), with_list("ticket", &number.to_string()), 0)));
    assert_eq!(there(&table, "acme").len(), 100);
    assert!((5..20).contains(&there(&table, "globex").len()));
    assert!(table.shared.lock().entries.bytes() <= 1 << 20);
}

/// A pipe that nothing reads takes no byte and refuses none: so does a volume that has gone.
#[test]
fn a_volume_that_hangs_holds_up_no_answer() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("login-journal");
    std::fs::create_dir(&folder).unwrap();
    let pipe = folder.join("00000001");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let table = with(Limits { backlog: 1 << 20, ..ROOMY }, Some(state.path()), 0);
    // One tenant's flood leaves room for another's lines.
    (0..1000).for_each(|round| flood(&table, "acme", round..round + 5));
    let lost = unsaved(&table);
    assert!(lost > 1000, "{lost}");
    flood(&table, "globex", 0..20);
    assert_eq!(unsaved(&table), lost);
    assert_eq!(there(&table, "globex").len(), 20);
    // The thread ends when the volume is back.
    let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap().len());
    drop(table);
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn the_single_file_of_earlier_versions_is_taken_over() {
    let state = tempfile::tempdir().unwrap();
    let line = |client_id: &str, ticket: &str| {
        format!("{{\"u\":\"Signature|AK.1|acme\",\"c\":\"{client_id}\",\"t\":\"{ticket}\",\"s\":0}}\n")
    };
    let lines: String = (0..2000).map(|number| line("a", &number.to_string())).chain([line("b", "x")]).collect();
    std::fs::write(state.path().join("logins"), lines).unwrap();
    for now in [1, 2] {
        let table = table(9, Some(state.path()), now);
        let found = |id| ticket(&table, &LoginKey::new("acme", "/", "Signature|AK.1|acme", id), now);
        assert_eq!((found("a").as_deref(), found("b").as_deref()), (Some("1999"), Some("x")));
        drop(table);
        assert!(!state.path().join("logins").exists());
        assert!(journal(state.path()).0 < 1000, "each login once");
    }
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
    let LoggedIn { ticket, contested_by, contested_by_too_many } =
        table.find(&LoginKey::new("t", vhost, "u", "a"), now);
    let mut all: Vec<String> = ticket.into_iter().chain(contested_by).map(|ticket| ticket.text().to_owned()).collect();
    all.extend(contested_by_too_many.then(|| "too many".to_owned()));
    all
}

#[test]
fn a_login_that_proves_no_client_id_is_contested_by_the_one_before_until_the_broker_has_ended_it() {
    let table = table(9, None, 0);
    let enter = |ticket, now| void(table.enter(key("a"), unproven(ticket), now));
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
    ["Token", "Signature"].iter().for_each(|mode| void(first.enter(key(mode), proven("old", None), 0)));
    drop(first);
    let again = table(9, Some(state.path()), 1);
    for (mode, expected) in [("Token", 2), ("Signature", 1)] {
        again.enter(key(mode), proven("new", None), 1);
        assert_eq!(1 + again.find(&key(mode), 1).contested_by.len(), expected, "{mode}");
    }
}

#[test]
fn a_flood_of_logins_does_not_push_out_the_one_that_may_still_be_open() {
    let table = table(9, None, 0);
    for number in 0..100 {
        let ticket = number.to_string();
        table.enter(key("a"), unproven(&ticket), 0);
    }
    let contested = tickets(&table, "/", 0);
    assert_eq!(contested, ["99", "98", "97", "96", "95", "94", "93", "92", "too many"], "the last one allows nothing");
}

#[test]
fn a_login_in_one_virtual_host_is_none_in_another() {
    let state = tempfile::tempdir().unwrap();
    let table = table(9, Some(state.path()), 0);
    table.enter(LoginKey::new("t", "two", "u", "a"), proven("ticket", None), 0);
    assert!(tickets(&table, "/", 0).is_empty());
    drop(table);
    let again = self::table(9, Some(state.path()), 0);
    assert_eq!((tickets(&again, "two", 0).len(), tickets(&again, "/", 0).len()), (1, 0));
}

#[test]
fn whose_session_a_client_id_is_survives_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let session = SessionKey::new("t", "/", "a");
    let as_owner = |number: u8| {
        let owner = SessionOwner([number; 16]);
        Accepted { kept: Kept { owner, ..kept("ticket", Vec::new()) }, expires_at: None, proves_client_id: true }
    };
    let read = |table: &LoginTable, login| table.queue(&session, Queue::Persistent, QueuePermission::Read, Some(login));
    let first = table(9, Some(state.path()), 0);
    let login = first.enter(key("a"), as_owner(1), 0);
    assert_eq!(read(&first, login), Ok(()));
    drop(first);
    let second = table(9, Some(state.path()), 1);
    let login = second.enter(key("a"), as_owner(2), 1);
    assert_eq!(read(&second, login), Err(Reason::SessionForeign));
    drop(second);
    // The other one is still another, and the owner still the owner.
    let third = table(9, Some(state.path()), 2);
    let login = third.enter(key("a"), as_owner(2), 2);
    assert_eq!(read(&third, login), Err(Reason::SessionForeign));
    for permission in [QueuePermission::Configure; 2] {
        assert_eq!(third.queue(&session, Queue::Persistent, permission, Some(login)), Ok(()));
    }
    drop(third);
    let fourth = table(9, Some(state.path()), 3);
    let login = fourth.enter(key("a"), as_owner(1), 3);
    assert_eq!(read(&fourth, login), Err(Reason::SessionForeign), "the clean start was kept too");
    let unknown = SessionKey::new("t", "two", "a");
    let judged = |permission| fourth.queue(&unknown, Queue::Persistent, permission, Some(login));
    assert_eq!(judged(QueuePermission::Read), Err(Reason::SessionOwnerUnknown));
    assert_eq!(judged(QueuePermission::Write), Err(Reason::SessionOwnerUnknown));
}

#[test]
fn marks_have_a_share_for_each_tenant() {
    let table = with(Limits { marks: 20 << 10, ..ROOMY }, None, 0);
    flood(&table, "acme", 0..10);
    flood(&table, "globex", 0..900);
    let inner = table.shared.lock();
    let marked = |tenant: &str| inner.marks.iter().filter(|(key, _)| *key.tenant == *tenant).count();
    assert_eq!(marked("acme"), 10);
    assert!((20..100).contains(&marked("globex")) && inner.marks.bytes() <= 20 << 10);
}
