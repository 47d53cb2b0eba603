use super::*;

const NOW: UnixSeconds = 1_000_000;

fn attempt<'a>(username: &'a str, password: &'a str, peer: Option<&str>) -> Attempt<'a> {
    let credentials = Credentials { username, password: password.as_bytes(), client_id: "c" };
    Attempt { credentials, peer: peer.and_then(Peer::of), vhost: "" }
}

fn failures() -> Arc<Failures> {
    Arc::new(Failures::new())
}

/// Asks for a comparison, which shows that the password is wrong. Whether it was made.
fn guess(failures: &Arc<Failures>, username: &str, password: &str, peer: Option<&str>, now: UnixSeconds) -> bool {
    let admitted = failures.admit(&attempt(username, password, peer), "acme", now);
    admitted.map(|admitted| admitted.token.spend()).is_some()
}

/// How many of so many different wrong passwords, one after the other, were compared.
fn guesses(failures: &Arc<Failures>, username: &str, peer: Option<&str>, count: usize, now: UnixSeconds) -> usize {
    (0..count).filter(|number| guess(failures, username, &format!("{now} {number}"), peer, now)).count()
}

/// How many of so many different wrong proofs that are fast to judge were not too many.
fn fast_guesses(failures: &Failures, username: &str, count: usize, now: UnixSeconds) -> usize {
    let wrong = |number: usize| format!("{now} {number} {username}");
    (0..count).filter(|number| !failures.count(&attempt(username, &wrong(*number), None), "acme", now)).count()
}

/// So many names log in rightly from a source.
fn crowd(failures: &Failures, peer: &str, names: usize, now: UnixSeconds) {
    (0..names).for_each(|name| failures.succeed(&attempt(&format!("person {name}"), "x", Some(peer)), "acme", now));
}

const HOME: Option<&str> = Some("192.0.2.1");
const ELSEWHERE: Option<&str> = Some("198.51.100.1");

#[test]
fn a_name_has_ten_guesses_from_a_source_and_gets_one_back_every_half_minute() {
    let failures = failures();
    assert_eq!(guesses(&failures, "alice", ELSEWHERE, 50, NOW), 10);
    assert_eq!(guesses(&failures, "alice", ELSEWHERE, 50, NOW + 29), 0);
    assert_eq!(guesses(&failures, "alice", ELSEWHERE, 50, NOW + 30), 1);
    assert_eq!(guesses(&failures, "alice", ELSEWHERE, 50, NOW + 30 + 3600), 10);
    // No other bucket is the emptier for it: of another name, source or tenant.
    assert_eq!(guesses(&failures, "bob", ELSEWHERE, 50, NOW), 10);
    assert_eq!(guesses(&failures, "alice", HOME, 50, NOW), 10);
    assert!(failures.admit(&attempt("alice", "x", ELSEWHERE), "globex", NOW).is_some());
}

#[test]
fn without_a_source_a_name_has_five_and_then_one_every_half_minute() {
    // The broker tells none, or its own.
    for none in [None, Some("127.0.0.1"), Some("")] {
        let failures = failures();
        let made: usize = (0..600).map(|second| guesses(&failures, "alice", none, 1, NOW + second)).sum();
        assert_eq!(made, 5 + 19, "{none:?}");
    }
}

#[test]
fn a_source_that_many_share_tells_nothing() {
    let failures = failures();
    crowd(&failures, "192.0.2.1", 8, NOW);
    assert_eq!(guesses(&failures, "alice", HOME, 50, NOW), 10, "a household");
    crowd(&failures, "192.0.2.1", 9, NOW);
    assert_eq!(guesses(&failures, "bob", HOME, 50, NOW), 5, "a router");
    assert_eq!(guesses(&failures, "bob", None, 50, NOW), 0, "it is the bucket of all that tell nothing");
    assert_eq!(guesses(&failures, "bob", ELSEWHERE, 50, NOW), 10);
    let day = 24 * 60 * 60;
    assert_eq!(guesses(&failures, "alice", HOME, 50, NOW + day), 10, "long ago");
    // Another tenant's logins say nothing of this one's source.
    let attempts = (0..9).map(|name| format!("other {name}"));
    attempts.for_each(|name| failures.succeed(&attempt(&name, "x", ELSEWHERE), "globex", NOW));
    assert_eq!(guesses(&failures, "carol", ELSEWHERE, 50, NOW), 10);
}

#[test]
fn a_password_that_is_asked_again_gets_the_next_token() {
    let failures = failures();
    assert_eq!(guesses(&failures, "alice", None, 50, NOW), 5);
    // A guess every second, each another one; a person who tries every ten seconds.
    let person = attempt("alice", "right", None);
    let mut let_in = None;
    for second in 1..120 {
        let now = NOW + second;
        assert!(!guess(&failures, "alice", &format!("guess {second}"), None, now) || second > 30, "{second}");
        if let_in.is_none() && second % 10 == 5 {
            let_in = failures.admit(&person, "acme", now).map(|admitted| (second, admitted.again));
        }
    }
    assert_eq!(let_in, Some((35, true)), "at its first try after the first token");
}

#[test]
fn of_two_that_are_asked_again_the_older_one_goes_first() {
    let failures = failures();
    assert_eq!(guesses(&failures, "alice", None, 50, NOW), 5);
    let ask = |password: &str, now| guess(&failures, "alice", password, None, now);
    assert!(!ask("older", NOW + 1) && !ask("younger", NOW + 2));
    assert!(!ask("younger", NOW + 10) && !ask("older", NOW + 11));
    assert!(!ask("younger", NOW + 30), "kept for the older one");
    assert!(ask("older", NOW + 31));
    assert!(!ask("younger", NOW + 40) && !ask("new", NOW + 60));
    assert!(ask("younger", NOW + 61));
    // What never comes again is waited for a while, and no longer.
    assert!(!ask("gone", NOW + 70) && !ask("gone", NOW + 80));
    assert!(!ask("new", NOW + 80 + 20));
    assert!(ask("newer", NOW + 80 + AWAITED));
}

#[test]
fn a_token_comes_back_unless_it_was_spent() {
    let failures = failures();
    for _ in 0..100 {
        drop(failures.admit(&attempt("alice", "right", HOME), "acme", NOW));
    }
    assert_eq!(failures.lock().buckets.len(), 0, "a full bucket is none");
    // As many as there are tokens may be compared at one time.
    let guesses: Vec<_> = (0..20)
        .filter_map(|number| failures.admit(&attempt("alice", &number.to_string(), HOME), "acme", NOW))
        .collect();
    assert_eq!(guesses.len(), 10);
    assert_eq!(guesses.iter().filter(|admitted| admitted.failed).count(), 9);
    drop(guesses);
    assert!(failures.admit(&attempt("alice", "right", HOME), "acme", NOW).is_some_and(|admitted| !admitted.failed));
}

#[test]
fn what_had_no_turn_is_known_when_it_comes_again() {
    let failures = failures();
    let again = |now| failures.admit(&attempt("alice", "right", HOME), "acme", now).unwrap().again;
    failures.defer(&attempt("alice", "right", HOME), "acme", NOW);
    assert!(!again(NOW), "the very same");
    assert!(again(NOW + 1) && again(NOW + AGAIN - 1));
    assert!(!again(NOW + AGAIN) && !again(NOW - 10));
    assert!(!failures.admit(&attempt("alice", "guess", HOME), "acme", NOW + 1).unwrap().again);
}

#[test]
fn a_key_is_one_identity_in_both_modes_that_it_is_for() {
    let failures = Failures::new();
    assert_eq!(fast_guesses(&failures, "Signature|AK.1|mqtt-acme", 50, NOW), 5);
    assert_eq!(fast_guesses(&failures, "Token|AK.1|mqtt-acme", 50, NOW), 0);
    assert_eq!(fast_guesses(&failures, "DeviceCredential|AK.1|mqtt-acme", 50, NOW), 5);
    assert_eq!(fast_guesses(&failures, "Signature|AK.1|mqtt-other", 50, NOW), 5);
}

#[test]
fn the_same_attempt_within_ten_seconds_counts_once_and_is_called_the_same() {
    let failures = Failures::new();
    for _ in 0..50 {
        assert!(!failures.count(&attempt("alice", "same", None), "acme", NOW + 9));
    }
    assert_eq!(fast_guesses(&failures, "alice", 50, NOW + 9), 4);
    assert!(!failures.count(&attempt("alice", "same", None), "acme", NOW + 18), "it was the first of them");
    assert!(failures.count(&attempt("alice", "same", None), "acme", NOW + 19));
    // Another source, client ID or password is another attempt.
    let other = Failures::new();
    assert!(!other.count(&attempt("alice", "same", None), "acme", NOW));
    other.count(&attempt("alice", "same", HOME), "acme", NOW);
    assert_eq!(fast_guesses(&other, "alice", 50, NOW), 4);
}

#[test]
fn a_tenant_under_attack_forgets_its_own_buckets_only_and_no_flood_of_fast_ones_does() {
    let failures = Arc::new(Failures::with_capacity(NonZeroUsize::new(100).unwrap()));
    assert_eq!(guesses(&failures, "alice", None, 10, NOW), 5);
    for number in 0..1000 {
        let name = format!("made up {number}");
        failures.count(&attempt(&name, "x", None), "acme", NOW);
        failures.defer(&attempt(&name, "x", None), "acme", NOW);
        // Of another tenant, compared; of the same one, not.
        failures.admit(&attempt(&name, "x", HOME), "globex", NOW).unwrap().token.spend();
        drop(failures.admit(&attempt(&name, "x", HOME), "acme", NOW));
        failures.succeed(&attempt(&name, "x", Some(&format!("192.0.2.{}", number % 200))), "globex", NOW);
    }
    assert_eq!(guesses(&failures, "alice", None, 10, NOW), 0);
    let Inner { buckets, fast, counted, crowds, deferred } = &*failures.lock();
    assert_eq!([fast.len(), counted.len(), deferred.len()], [100; 3]);
    assert!((99..=100).contains(&buckets.len()), "one that was not needed made room for itself");
    assert_eq!(crowds.len(), 100);
}

#[test]
fn a_clock_that_was_set_back_leaves_no_bucket_empty_for_longer() {
    let failures = failures();
    assert_eq!(guesses(&failures, "alice", None, 10, NOW), 5);
    let earlier = NOW - 1_000_000;
    assert_eq!(guesses(&failures, "alice", None, 10, earlier), 0);
    assert_eq!(guesses(&failures, "alice", None, 10, earlier + 30), 1);
}

#[test]
fn what_is_not_the_proof_s_fault_is_no_guess() {
    for (reason, expected) in [
        (Reason::WrongProof, true),
        (Reason::UnknownKey, true),
        (Reason::TokenSignatureInvalid, true),
        (Reason::Disabled, false),
        (Reason::Expired, false),
        (Reason::TokenExpired, false),
        (Reason::Suspended, false),
        (Reason::TooManyLogins, false),
        (Reason::ClientIdMismatch, false),
    ] {
        assert_eq!(is_guess(reason), expected, "{reason:?}");
    }
}
