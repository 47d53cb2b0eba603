//! A storm of one tenant's slow logins: nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mqtt_access_core::bundle::{Bundle, ClientIds, LoginName, Spares};
use mqtt_access_core::client::Mode;
use mqtt_access_core::password::Verifier;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::modes::PASSWORD;
use crate::fixture::{self, DEV1, DEV1_USERNAME, device_password, files, globex_key};
use crate::server::Server;
use crate::wire::{Wire, post};

const STORM: usize = 50;

/// How far a storm has to go before anything is asked.
const GATHERED: f64 = 10.0;

/// So that a hash takes its time in every build.
const COST: u32 = if cfg!(debug_assertions) { 8 } else { 10 };

/// With a device more, that has a slow hash.
fn with_slow(mut bundle: Bundle, name: &str, client_id: &str) -> Bundle {
    let hash = bcrypt::hash(PASSWORD, COST).unwrap().parse().unwrap();
    bundle.tenant.modes.push(Mode::Password);
    let mut device = bundle.devices[0].clone();
    device.client_id = ClientIds::from(client_id);
    name.clone_into(&mut device.name);
    device.key_id.clear();
    device.login = Some(LoginName {
        name: name.to_owned(),
        scram: None,
        password: Some(Verifier::Slow(hash)),
        spares: Spares::default(),
    });
    bundle.devices.push(device);
    bundle
}

async fn server() -> Server {
    let server = Server::start().await;
    let acme = with_slow(fixture::acme(), "imported", "GID_acme@@@imported");
    server.serve(&with_slow(acme, "second", "GID_acme@@@second"), 11);
    let globex = with_slow(fixture::globex(), "other", "GID_globex@@@other");
    server.store.apply(&globex_key(), files(&globex, 11)).unwrap();
    server
}

async fn waiting(server: &Server) -> f64 {
    server.metric("mqtt_access_sidecar_slow_hashes_waiting").await
}

/// So many wrong passwords at once for one name from as many sources, and how many of them were answered.
async fn storm(server: &Server) -> (JoinSet<String>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut storm = JoinSet::new();
    for number in 0..STORM {
        let body = login("GID_acme@@@imported", "imported", &format!("guess {number}"), number).to_string();
        let (http, answered) = (server.http, Arc::clone(&answered));
        storm.spawn(async move {
            let mut wire = Wire::open(http).await;
            wire.send(&post("/emqx/v5/authn", "application/json", body.as_bytes())).await;
            let reply = wire.reply().await.unwrap();
            answered.fetch_add(1, Relaxed);
            reply.cause().to_owned()
        });
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while waiting(server).await < GATHERED {
        assert!(Instant::now() < deadline, "the storm never came");
    }
    (storm, answered)
}

/// How many of the storm were answered while this one waited.
async fn overtaken(server: &Server, answered: &AtomicUsize, login: &Value) -> usize {
    let before = answered.load(Relaxed);
    assert_eq!(server.json("/emqx/v5/authn", login).await.cause(), "ProofAccepted");
    answered.load(Relaxed) - before
}

fn login(client_id: &str, username: &str, password: &str, source: usize) -> Value {
    let source = format!("192.0.2.{source}");
    json!({"clientid": client_id, "username": username, "password": password, "peerhost": source})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_tenant_stalls_nobody_else() {
    let server = server().await;
    let (storm, answered) = storm(&server).await;
    // In turn: it waits for the hashes that are being made and for one more, not for the storm.
    let other = login("GID_globex@@@other", "other", PASSWORD, 200);
    let before = overtaken(&server, &answered, &other).await;
    assert!(before < STORM / 3, "{before} of {STORM} went before another tenant's");
    // Not at all.
    let fast = login(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1), 201);
    let before = overtaken(&server, &answered, &fast).await;
    assert!(before < STORM / 3, "{before} of {STORM} went before one that needs no slow hash");
    let causes = storm.join_all().await;
    let known = ["WrongProof", "TooManyFailures", "TooManyLogins"];
    assert!(causes.iter().all(|cause| known.contains(&cause.as_str())), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_hold_up_none_of_their_own_tenant_s_logins() {
    let server = server().await;
    let (storm, answered) = storm(&server).await;
    let before = overtaken(&server, &answered, &login("GID_acme@@@second", "second", PASSWORD, 200)).await;
    assert!(before < STORM / 3, "{before} of {STORM} guesses went before another name's login");
    let causes = storm.join_all().await;
    let known = ["WrongProof", "TooManyLogins"];
    assert!(causes.iter().all(|cause| known.contains(&cause.as_str())), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_too_many_is_not_compared_and_keeps_nobody_else_out() {
    let server = server().await;
    let ask = async |password: &str, source| {
        let login = login("GID_acme@@@imported", "imported", password, source);
        server.json("/emqx/v5/authn", &login).await.cause().to_owned()
    };
    for number in 0..15 {
        let expected = if number < 10 { "WrongProof" } else { "TooManyFailures" };
        assert_eq!(ask(&format!("guess {number}"), 1).await, expected, "{number}");
    }
    let compared = server.metric("mqtt_access_sidecar_slow_hash_duration_seconds_count").await;
    assert_eq!(ask(PASSWORD, 1).await, "TooManyFailures", "from where the guesses came");
    assert!((compared - 10.0).abs() < 0.5, "{compared}");
    assert_eq!(ask(PASSWORD, 2).await, "ProofAccepted", "from elsewhere");
    assert_eq!(ask(PASSWORD, 1).await, "ProofAccepted", "found right before");
    assert_eq!(ask("guess 3", 1).await, "WrongProof", "found wrong before");
}

/// A person's right password, of a name that nobody logged in with before: so the hash is made. How long it took.
async fn first_login(http: std::net::SocketAddr, number: usize) -> (String, Duration) {
    let name = format!("person{number}");
    let body = login(&format!("GID_globex@@@{name}"), &name, PASSWORD, 100 + number).to_string();
    let started = Instant::now();
    let mut wire = Wire::open(http).await;
    wire.send(&post("/emqx/v5/authn", "application/json", body.as_bytes())).await;
    let cause = wire.reply().await.unwrap().cause().to_owned();
    (cause, started.elapsed())
}

/// Twenty people, four a second; the slowest of them, in milliseconds.
async fn people(server: &Server, first: usize) -> u128 {
    let mut logins = JoinSet::new();
    for number in first..first + 20 {
        logins.spawn(first_login(server.http, number));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let logins = logins.join_all().await;
    assert!(logins.iter().all(|(cause, _)| cause == "ProofAccepted"), "{logins:?}");
    logins.iter().map(|(_, took)| took.as_millis()).max().unwrap()
}

/// Forty wrong logins a second, until it is aborted.
fn attack(server: &Server, client_id: &'static str, name: &'static str) -> tokio::task::JoinHandle<()> {
    let http = server.http;
    tokio::spawn(async move {
        let mut guesses = JoinSet::new();
        for number in 0.. {
            let body = login(client_id, name, &format!("guess {number}"), number % 90).to_string();
            guesses.spawn(async move {
                let mut wire = Wire::open(http).await;
                wire.send(&post("/emqx/v5/authn", "application/json", body.as_bytes())).await;
                _ = wire.reply().await;
            });
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_let_in_beside_attacks_of_every_kind() {
    let server = server().await;
    let globex = (0..80).fold(fixture::globex(), |bundle, number| {
        with_slow(bundle, &format!("person{number}"), &format!("GID_globex@@@person{number}"))
    });
    server.store.apply(&globex_key(), files(&globex, 12)).unwrap();
    println!("slowest of 20 first logins with bcrypt {COST}, alone: {} ms", people(&server, 0).await);
    for (place, (kind, client_id, name)) in [
        ("beside another tenant's wrong logins", "GID_acme@@@imported", "imported"),
        ("beside guesses at names that the tenant has not", "GID_globex@@@x", "nobody"),
        ("beside client IDs of no tenant", "elsewhere", "nobody"),
    ]
    .into_iter()
    .enumerate()
    {
        let attack = attack(&server, client_id, name);
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("{kind}: {} ms", people(&server, 20 * (place + 1)).await);
        attack.abort();
    }
}
