use super::*;

const LIMITS: Limits = Limits { total: 16, tenant: 8, other_names: 5 };
const HASH: Nanos = 100;

fn turn(tenant: &str, name: &str) -> Turn {
    let name = Account::Name(name.into());
    Turn { tenant: tenant.into(), name, source: None, again: false, failed: false, cost: HASH }
}

fn peer(last: usize) -> Option<Account> {
    Peer::of(&format!("192.0.2.{last}")).map(Account::Source)
}

/// The jobs of a tenant, each of another name.
fn flood(queue: &mut Queue<String>, tenant: &str, count: usize) -> usize {
    let mut put = |number: usize| {
        let job = format!("{tenant}{number}");
        queue.put(turn(tenant, &job), job).is_ok()
    };
    (0..count).filter(|number| put(*number)).count()
}

/// Takes one after the other; each takes as long as it was thought to.
fn drain(queue: &mut Queue<String>) -> Vec<String> {
    let next = || {
        let Taken { job, turn } = queue.take(0)?;
        queue.done(&turn, Duration::from_nanos(turn.cost), 0);
        Some(job)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn tenants_take_turns_and_each_is_served_in_order() {
    let mut queue = Queue::new(1, LIMITS);
    flood(&mut queue, "a", 4);
    flood(&mut queue, "b", 2);
    flood(&mut queue, "c", 1);
    assert_eq!(drain(&mut queue), ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]);
    assert!(queue.len() == 0 && queue.take(0).is_none());
}

#[test]
fn turns_are_taken_by_the_time_that_they_cost() {
    let mut queue = Queue::new(1, LIMITS);
    for number in 0..2 {
        let job = format!("dear{number}");
        queue.put(Turn { cost: 4 * HASH, ..turn("dear", &job) }, job).unwrap();
    }
    flood(&mut queue, "cheap", 8);
    let served = drain(&mut queue);
    let second = served.iter().position(|job| job == "dear1").unwrap();
    assert!((5..=6).contains(&second), "four cheap ones for a dear one: {served:?}");
}

#[test]
fn what_a_hash_took_counts_and_not_what_it_was_thought_to_take() {
    let mut queue = Queue::new(1, LIMITS);
    flood(&mut queue, "a", 4);
    flood(&mut queue, "b", 4);
    let first = queue.take(0).unwrap();
    assert_eq!(first.job, "a0");
    queue.done(&first.turn, Duration::from_nanos(3 * HASH), 0);
    assert_eq!(drain(&mut queue), ["b0", "b1", "b2", "a1", "b3", "a2", "a3"]);
}

#[test]
fn who_lately_used_less_goes_first() {
    let mut queue = Queue::new(1, LIMITS);
    let second = 1_000_000_000;
    let dear = |tenant: &str, name: &str| Turn { cost: second, ..turn(tenant, name) };
    for number in 0..5 {
        queue.put(dear("greedy", &number.to_string()), format!("greedy{number}")).unwrap();
        let Taken { turn, .. } = queue.take(number * second).unwrap();
        queue.done(&turn, Duration::from_secs(1), (number + 1) * second);
    }
    let now = 5 * second;
    for number in 0..2 {
        queue.put(dear("greedy", "x"), format!("greedy{number}")).unwrap();
        queue.put(dear("modest", &number.to_string()), format!("modest{number}")).unwrap();
    }
    let order: Vec<String> = std::iter::from_fn(|| Some(queue.take(now)?.job)).collect();
    assert_eq!(order, ["modest0", "modest1", "greedy0", "greedy1"]);
}

#[test]
fn inside_a_tenant_names_take_turns() {
    let mut queue = Queue::new(1, LIMITS);
    for number in 0..5 {
        queue.put(turn("a", "guessed"), format!("guess{number}")).unwrap();
    }
    queue.put(turn("a", "other"), "login".to_owned()).unwrap();
    assert_eq!(drain(&mut queue)[..2], ["guess0", "login"]);
}

#[test]
fn one_source_under_many_names_is_one_and_so_are_names_that_do_not_exist() {
    for source in [peer(1), None] {
        let mut queue = Queue::new(1, LIMITS);
        for number in 0..5 {
            let name = if source.is_some() { Account::Name(number.to_string().into()) } else { Account::OtherNames };
            queue.put(Turn { name, source: source.clone(), ..turn("a", "") }, format!("guess{number}")).unwrap();
        }
        queue.put(Turn { source: peer(2), ..turn("a", "3") }, "login".to_owned()).unwrap();
        assert_eq!(drain(&mut queue)[..2], ["guess0", "login"], "{source:?}");
    }
}

#[test]
fn what_had_no_turn_before_goes_first_and_what_failed_before_last() {
    let mut queue = Queue::new(1, LIMITS);
    for (job, again, failed) in [("failed", false, true), ("new", false, false), ("again", true, true)] {
        queue.put(Turn { again, failed, ..turn("a", job) }, job.to_owned()).unwrap();
    }
    assert_eq!(drain(&mut queue), ["again", "new", "failed"]);
}

#[test]
fn a_tenant_has_its_share() {
    let mut queue = Queue::new(1, LIMITS);
    assert_eq!(flood(&mut queue, "a", 20), 8);
    assert_eq!(queue.put(turn("a", "x"), String::new()), Err((NoRoom::Share, String::new())));
    assert_eq!(flood(&mut queue, "b", 1), 1);
}

#[test]
fn few_of_the_names_that_have_no_hash_wait() {
    let mut queue = Queue::new(1, LIMITS);
    let other = || Turn { name: Account::OtherNames, ..turn("a", "") };
    (0..5).for_each(|_| assert_eq!(queue.put(other(), String::new()), Ok(None)));
    assert_eq!(queue.put(other(), String::new()), Err((NoRoom::Share, String::new())));
    assert_eq!(flood(&mut queue, "a", 3), 3);
    let ahead = |account: &Account| queue.ahead("a", account).as_nanos();
    assert_eq!((ahead(&Account::OtherNames), ahead(&Account::Name("a0".into()))), (500, 100));
}

#[test]
fn within_a_full_share_the_last_gives_way() {
    let mut queue = Queue::new(1, LIMITS);
    for number in 0..8 {
        queue.put(turn("a", "guessed"), format!("guess{number}")).unwrap();
    }
    assert_eq!(queue.put(turn("a", "other"), "login".to_owned()), Ok(Some("guess7".to_owned())));
    assert_eq!(queue.put(turn("a", "guessed"), "guess8".to_owned()), Err((NoRoom::Share, "guess8".to_owned())));
    assert_eq!(drain(&mut queue)[..2], ["guess0", "login"]);
}

#[test]
fn who_would_hold_up_others_for_longest_gives_way() {
    let mut queue = Queue::new(1, LIMITS);
    let dear = |name: &str| Turn { cost: 4 * HASH, ..turn("dear", name) };
    for number in 0..8 {
        queue.put(dear(&number.to_string()), format!("dear{number}")).unwrap();
    }
    flood(&mut queue, "b", 8);
    assert_eq!(queue.len(), 16);
    // By time, not by number.
    for expected in ["dear7", "dear6", "dear5", "dear4", "dear3", "dear2"] {
        assert_eq!(queue.put(turn(expected, ""), String::new()), Ok(Some(expected.to_owned())));
    }
    let out = queue.put(turn("new", ""), "new".to_owned());
    assert!(matches!(out.as_ref().map(Option::as_deref), Ok(Some("b7" | "dear1"))), "{out:?}");
    assert_eq!(queue.len(), 16);
}

#[test]
fn a_full_queue_of_equal_shares_takes_nobody_s_place() {
    let mut queue = Queue::new(1, LIMITS);
    (0..16).for_each(|tenant| assert_eq!(flood(&mut queue, &format!("t{tenant}"), 1), 1));
    assert_eq!(queue.put(turn("t0", "x"), "x".to_owned()), Err((NoRoom::Full, "x".to_owned())));
    assert_eq!(queue.put(turn("new", "x"), "x".to_owned()), Err((NoRoom::Full, "x".to_owned())));
}

#[test]
fn a_cheaper_hash_does_not_wait_for_a_dearer_one() {
    let mut queue = Queue::new(1, LIMITS);
    flood(&mut queue, "a", 2);
    let running = queue.take(0).unwrap();
    for (tenant, cost) in [("a", 1), ("equal", HASH), ("cheap", HASH - 1)] {
        queue.put(Turn { cost, ..turn(tenant, tenant) }, tenant.to_owned()).unwrap();
    }
    let beside = queue.take_cheaper(0).unwrap();
    assert_eq!(beside.job, "cheap");
    assert!(queue.take_cheaper(0).is_none());
    queue.done(&running.turn, Duration::ZERO, 0);
    queue.done(&beside.turn, Duration::ZERO, 0);
    assert!(queue.take_cheaper(0).is_none(), "nothing runs");
}

#[test]
fn what_nobody_waits_for_leaves_its_place() {
    let mut queue = Queue::new(1, LIMITS);
    flood(&mut queue, "a", 8);
    flood(&mut queue, "b", 3);
    queue.retain(|job| job == "a3" || job == "b1");
    assert_eq!(queue.len(), 2);
    assert_eq!(drain(&mut queue), ["a3", "b1"]);
    assert_eq!(flood(&mut queue, "a", 1), 1);
    assert_eq!(drain(&mut queue), ["a0"]);
    assert!(queue.tenants.is_empty());
}
