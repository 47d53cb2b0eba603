use super::*;

const NOW: UnixSeconds = 1_000_000;

fn attempt<'a>(username: &'a str, password: &'a str, peer: Option<&str>) -> Attempt<'a> {
    let credentials = Credentials { username, password: password.as_bytes(), client_id: "c" };
    Attempt { credentials, peer: peer.and_then(Peer::of), vhost: "" }
}

/// How many of so many different wrong passwords, one after the other, were not too many.
fn guesses(failures: &Failures, username: &str, peer: Option<&str>, count: usize, now: UnixSeconds) -> usize {
    let wrong = |number: usize| format!("{now} {number} {username}");
    (0..count).filter(|number| !failures.count(&attempt(username, &wrong(*number), peer), "acme", now)).count()
}

#[test]
fn an_identity_has_ten_guesses_and_gets_one_back_every_half_minute() {
    let failures = Failures::new();
    let alice = attempt("alice", "x", None);
    assert!(!failures.too_many(&alice, "acme", NOW));
    assert_eq!(guesses(&failures, "alice", None, 50, NOW), 10);
    assert!(failures.too_many(&alice, "acme", NOW + 29));
    assert!(!failures.too_many(&alice, "acme", NOW + 30));
    assert_eq!(guesses(&failures, "alice", None, 50, NOW + 30), 1);
    assert_eq!(guesses(&failures, "alice", None, 50, NOW + 30 + 3600), 10);
    // Nobody else's bucket is the emptier for it.
    assert_eq!(guesses(&failures, "bob", None, 50, NOW), 10);
    assert!(!failures.too_many(&alice, "globex", NOW));
}

#[test]
fn a_key_is_one_identity_in_both_modes_that_it_is_for() {
    let failures = Failures::new();
    assert_eq!(guesses(&failures, "Signature|AK.1|mqtt-acme", None, 50, NOW), 10);
    assert_eq!(guesses(&failures, "Token|AK.1|mqtt-acme", None, 50, NOW), 0);
    assert_eq!(guesses(&failures, "DeviceCredential|AK.1|mqtt-acme", None, 50, NOW), 10);
    assert_eq!(guesses(&failures, "Signature|AK.1|mqtt-other", None, 50, NOW), 10);
}

#[test]
fn a_source_has_a_hundred_guesses_whatever_names_it_tries() {
    let failures = Failures::new();
    let peer = Some("192.0.2.1");
    let passed: usize = (0..300).map(|number| guesses(&failures, &format!("name {number}"), peer, 1, NOW)).sum();
    assert_eq!(passed, 100);
    assert!(failures.too_many(&attempt("anybody", "x", peer), "acme", NOW));
    assert!(!failures.too_many(&attempt("anybody", "x", Some("192.0.2.2")), "acme", NOW));
    // Where the broker gives no address, or its own, only names count.
    for none in [None, Some("127.0.0.1"), Some("")] {
        assert!(!failures.too_many(&attempt("anybody", "x", none), "acme", NOW));
    }
}

#[test]
fn the_same_attempt_within_ten_seconds_counts_once_and_is_called_the_same() {
    let failures = Failures::new();
    for _ in 0..50 {
        assert!(!failures.count(&attempt("alice", "same", None), "acme", NOW + 9));
    }
    assert_eq!(guesses(&failures, "alice", None, 50, NOW + 9), 9);
    assert!(!failures.count(&attempt("alice", "same", None), "acme", NOW + 18), "it was the first of them");
    assert!(failures.count(&attempt("alice", "same", None), "acme", NOW + 19));
    // Another source, client ID or password is another attempt.
    let other = Failures::new();
    assert!(!other.count(&attempt("alice", "same", None), "acme", NOW));
    other.count(&attempt("alice", "same", Some("192.0.2.1")), "acme", NOW);
    assert_eq!(guesses(&other, "alice", None, 50, NOW), 8);
}

#[test]
fn a_tenant_under_attack_forgets_its_own_buckets_only() {
    let failures = Failures::with_capacity(NonZeroUsize::new(100).unwrap());
    assert_eq!(guesses(&failures, "alice", None, 10, NOW), 10);
    for number in 0..1000 {
        failures.count(&attempt(&format!("made up {number}"), "x", None), "globex", NOW);
    }
    assert!(failures.too_many(&attempt("alice", "x", None), "acme", NOW));
    let inner = failures.lock();
    assert_eq!((inner.by_identity.len(), inner.counted.len(), inner.by_peer.len()), (100, 100, 0));
}

#[test]
fn a_clock_that_was_set_back_leaves_no_bucket_empty_for_longer() {
    let failures = Failures::new();
    assert_eq!(guesses(&failures, "alice", None, 10, NOW), 10);
    let earlier = NOW - 1_000_000;
    assert!(failures.too_many(&attempt("alice", "x", None), "acme", earlier));
    assert!(!failures.too_many(&attempt("alice", "x", None), "acme", earlier + 30));
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
