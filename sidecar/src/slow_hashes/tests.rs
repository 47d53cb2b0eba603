use mqtt_access_core::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, LoginName, Revocations, SessionRules, Spares, Tenant,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::{BrokerIndex, Credentials, LoginStep, TenantIndex};
use mqtt_access_core::password::Verifier;

use super::*;
use crate::dialect::Attempt;
use crate::failures::Failures;

/// A bcrypt hash of `pencil` at the lowest cost.
const HASH: &str = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";

fn tenant(name: &str) -> Arc<TenantIndex> {
    let tenant = Tenant {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: name.to_owned(),
            client_id_prefixes: vec![format!("{name}-")],
            topic_space: Vec::new(),
        },
        suspended: false,
        client_attributes: [].into(),
        access_keys: Vec::new(),
        modes: vec![Mode::Password],
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: name.into(),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    let login = LoginName {
        name: "user".to_owned(),
        scram: None,
        password: HASH.parse().ok().map(Verifier::Slow),
        spares: Spares::default(),
    };
    let device = Device {
        name: "user".to_owned(),
        uid: None,
        client_id: ClientIds::Prefix { prefix: format!("{name}-") },
        key_id: String::new(),
        secret: None,
        login: Some(login),
        labels: [].into(),
        client_attributes: [].into(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    };
    Arc::new(TenantIndex::new(Bundle { tenant, policies: Vec::new(), devices: vec![device] }, 1).unwrap())
}

fn index() -> BrokerIndex {
    BrokerIndex::new(["acme", "globex"].map(tenant))
}

fn slow(index: &BrokerIndex, client_id: &str, username: &str, password: &str) -> SlowLogin {
    let credentials = Credentials { username, password: password.as_bytes(), client_id };
    match index.begin_login(&credentials, 0) {
        LoginStep::Slow(login) => *login,
        LoginStep::Done(verdict) => panic!("{verdict:?}"),
    }
}

/// The token for a comparison, from a bucket that is never empty.
fn admitted() -> Admitted {
    let credentials = Credentials { username: "user", password: b"", client_id: "" };
    Arc::new(Failures::new()).admit(&Attempt { credentials, peer: None, vhost: "" }, "acme", 0).unwrap()
}

async fn check(hashes: &SlowHashes, login: SlowLogin) -> Answer {
    check_on(hashes, login, &Line::default()).await
}

async fn check_on(hashes: &SlowHashes, login: SlowLogin, line: &Line) -> Answer {
    match hashes.recall(Box::new(login)) {
        Ok(known) => Ok(known),
        Err(login) => hashes.check(login, admitted(), line).await,
    }
}

/// No worker ever takes anything: what waits stays.
fn stuck(limits: Limits) -> (SlowHashes, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (SlowHashes::with_workers(0, limits, Arc::clone(&metrics)), metrics)
}

fn counted(metrics: &Metrics, line: &str) -> bool {
    metrics.render(None, 0).lines().any(|found| found == format!("mqtt_access_sidecar_{line}"))
}

#[tokio::test]
async fn a_password_is_compared_once_and_then_remembered() {
    let (index, metrics) = (index(), Arc::new(Metrics::new()));
    let hashes = SlowHashes::with_workers(1, LIMITS, Arc::clone(&metrics));
    for _ in 0..3 {
        for (password, expected) in [("pencil", None), ("wrong", Some(Reason::WrongProof))] {
            let login = slow(&index, "acme-1", "user", password);
            let checked = check(&hashes, login).await.unwrap();
            assert_eq!(index.finish_login(&checked, 0).result.err(), expected);
        }
    }
    assert!(counted(&metrics, "slow_hash_duration_seconds_count 2"));
    assert!(counted(&metrics, "slow_hashes_waiting 0"));
}

#[tokio::test]
async fn the_same_comparison_in_flight_is_made_once_for_all() {
    let (index, metrics) = (index(), Arc::new(Metrics::new()));
    let hashes = SlowHashes::with_workers(2, LIMITS, Arc::clone(&metrics));
    let all = (0..40).map(|client| {
        let login = slow(&index, &format!("acme-{client}"), "user", "pencil");
        check(&hashes, login)
    });
    for checked in futures::future::join_all(all).await {
        assert!(index.finish_login(&checked.unwrap(), 0).result.is_ok());
    }
    assert!(counted(&metrics, "slow_hash_duration_seconds_count 1"));
}

#[tokio::test]
async fn one_decoy_s_answer_tells_nothing_of_the_next() {
    let (index, metrics) = (index(), Arc::new(Metrics::new()));
    let hashes = SlowHashes::with_workers(1, LIMITS, Arc::clone(&metrics));
    for name in ["nobody", "nobody else", "user", "nobody"] {
        let checked = check(&hashes, slow(&index, "acme-1", name, "guess")).await.unwrap();
        assert!(index.finish_login(&checked, 0).result.is_err());
    }
    assert!(counted(&metrics, "slow_hash_duration_seconds_count 3"), "a hash for each name, existing or not");
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_longer_than_its_broker() {
    let (index, (hashes, metrics)) = (index(), stuck(LIMITS));
    let first = check(&hashes, slow(&index, "acme-1", "user", "x"));
    let joined = check(&hashes, slow(&index, "acme-2", "user", "x"));
    let started = tokio::time::Instant::now();
    let (first, joined) = futures::join!(first, joined);
    assert_eq!((first.err(), joined.err()), (Some(Reason::TooManyLogins), Some(Reason::TooManyLogins)));
    assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"waited\"} 2"));
    // What nobody waits for gives its place back.
    let limits = Limits { total: 1, tenant: 1, other_names: 1 };
    let (hashes, metrics) = stuck(limits);
    for password in ["a", "b", "c"] {
        assert!(check(&hashes, slow(&index, "acme-1", "user", password)).await.is_err());
    }
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"waited\"} 3"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_held_up_by_one_login_after_the_other() {
    let (index, (hashes, metrics)) = (index(), stuck(LIMITS));
    let line = Line::default();
    let ask = |client_id, password| check_on(&hashes, slow(&index, client_id, "user", password), &line);
    // On a slow machine, and behind many of its own name's.
    let cost = slow(&index, "acme-1", "user", "").cost();
    (0..100).for_each(|_| hashes.0.lock().pace.note(cost, Duration::from_mins(1)));
    let passwords: Vec<String> = (0..20).map(|number| format!("guess {number}")).collect();
    let mut elsewhere: Vec<_> =
        passwords.iter().map(|password| Box::pin(check(&hashes, slow(&index, "acme-1", "user", password)))).collect();
    for login in &mut elsewhere {
        assert!(futures::poll!(login).is_pending());
    }
    assert!(ask("acme-1", "a").await.is_err());
    let started = tokio::time::Instant::now();
    assert_eq!(ask("acme-1", "b").await.err(), Some(Reason::TooManyLogins));
    assert_eq!(started.elapsed(), Duration::ZERO, "what stands behind moves on");
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"line\"} 1"));
    // What one owes keeps no other out, and it waited for hashes that are not its own.
    for _ in 0..3 {
        assert!(ask("globex-1", "c").await.is_err());
    }
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"line\"} 1"));
    tokio::time::sleep(4 * PATIENCE).await;
    assert!(futures::poll!(Box::pin(ask("acme-1", "d"))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_full_share_is_refused_at_once_and_others_find_room() {
    let (index, (hashes, metrics)) = (index(), stuck(Limits { total: 4, tenant: 2, other_names: 1 }));
    let ask =
        |client_id: &'static str, password: &'static str| check(&hashes, slow(&index, client_id, "user", password));
    let mut waiting = futures::stream::FuturesUnordered::new();
    for password in ["1", "2"] {
        waiting.push(ask("acme-1", password));
        assert!(futures::poll!(futures::StreamExt::next(&mut waiting)).is_pending());
    }
    assert_eq!(ask("acme-1", "3").await.err(), Some(Reason::TooManyLogins));
    waiting.push(ask("globex-1", "4"));
    assert!(futures::poll!(futures::StreamExt::next(&mut waiting)).is_pending());
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"share\"} 1"));
    assert!(counted(&metrics, "slow_hashes_waiting 3"));
}

#[tokio::test]
async fn client_ids_of_no_tenant_are_compared_only_while_a_worker_is_free() {
    let (index, metrics) = (index(), Arc::new(Metrics::new()));
    let hashes = SlowHashes::with_workers(1, LIMITS, Arc::clone(&metrics));
    let login = slow(&index, "elsewhere", "user", "pencil");
    assert!(login.is_decoy() && login.tenant().is_none());
    let checked = check(&hashes, login).await.unwrap();
    assert_eq!(index.finish_login(&checked, 0).result.err(), Some(Reason::UnknownClientId));
    let (stuck, metrics) = stuck(LIMITS);
    let refused = check(&stuck, slow(&index, "elsewhere", "user", "pencil")).await;
    assert_eq!(refused.err(), Some(Reason::TooManyLogins));
    assert!(counted(&metrics, "slow_hash_refusals_total{reason=\"stranger\"} 1"));
    assert!(counted(&metrics, "slow_hashes_waiting 0"), "it takes nobody's place");
}

#[tokio::test]
async fn a_wrong_password_keeps_its_token_and_a_right_one_gives_it_back() {
    let index = index();
    let (hashes, failures) = (SlowHashes::with_workers(1, LIMITS, Arc::new(Metrics::new())), Arc::new(Failures::new()));
    let ask = async |password: &str| {
        let credentials = Credentials { username: "user", password: password.as_bytes(), client_id: "acme-1" };
        let admitted = failures.admit(&Attempt { credentials, peer: None, vhost: "" }, "acme", 0)?;
        let login = Box::new(slow(&index, "acme-1", "user", password));
        Some(hashes.check(login, admitted, &Line::default()).await.unwrap().is_right())
    };
    for _ in 0..10 {
        assert_eq!(ask("pencil").await, Some(true));
    }
    for number in 0..8 {
        assert_eq!(ask(&format!("guess {number}")).await, (number < 5).then_some(false), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_gone_leaves_its_place_unless_another_waits_for_the_same() {
    let (index, (hashes, _)) = (index(), stuck(Limits { total: 1, tenant: 1, other_names: 1 }));
    let ask = |client_id: &'static str, password: &'static str| {
        Box::pin(check(&hashes, slow(&index, client_id, "user", password)))
    };
    let (mut first, mut joined) = (ask("acme-1", "same"), ask("acme-2", "same"));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut joined).is_pending());
    drop(first);
    assert_eq!(ask("acme-3", "other").await.err(), Some(Reason::TooManyLogins), "the place is still taken");
    drop(joined);
    assert!(futures::poll!(ask("acme-3", "other")).is_pending());
}
