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
const COST: u32 = if cfg!(debug_assertions) { 6 } else { 10 };

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

async fn waiting(server: &Server, lane: &str) -> f64 {
    server.metric(&format!("mqtt_access_sidecar_slow_hashes_waiting{{lane=\"{lane}\"}}")).await
}

/// So many wrong passwords at once, and how many of them were answered.
async fn storm(server: &Server, lane: &str) -> (JoinSet<String>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut storm = JoinSet::new();
    for number in 0..STORM {
        let body = login("GID_acme@@@imported", "imported", &format!("guess {number}")).to_string();
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
    while waiting(server, lane).await < GATHERED {
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

fn login(client_id: &str, username: &str, password: &str) -> Value {
    json!({"clientid": client_id, "username": username, "password": password})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_tenant_stalls_nobody_else() {
    let server = server().await;
    let (storm, answered) = storm(&server, "normal").await;
    // In turn: it waits for the hashes that are being made and for one more, not for the storm.
    let other = login("GID_globex@@@other", "other", PASSWORD);
    let before = overtaken(&server, &answered, &other).await;
    assert!(before < STORM / 3, "{before} of {STORM} went before another tenant's");
    // Not at all.
    let fast = login(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1));
    let before = overtaken(&server, &answered, &fast).await;
    assert!(before < STORM / 3, "{before} of {STORM} went before one that needs no slow hash");
    let causes = storm.join_all().await;
    let known = ["WrongProof", "TooManyFailures", "TooManyLogins"];
    assert!(causes.iter().all(|cause| known.contains(&cause.as_str())), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_wait_behind_their_own_tenant_s_logins_too() {
    let server = server().await;
    for number in 0..10 {
        let guess = login("GID_acme@@@imported", "imported", &format!("first guess {number}"));
        assert_eq!(server.json("/emqx/v5/authn", &guess).await.cause(), "WrongProof");
    }
    let (storm, answered) = storm(&server, "low").await;
    let before = overtaken(&server, &answered, &login("GID_acme@@@second", "second", PASSWORD)).await;
    assert!(before < STORM / 3, "{before} of {STORM} guesses went before");
    let causes = storm.join_all().await;
    assert!(causes.iter().all(|cause| ["TooManyFailures", "TooManyLogins"].contains(&cause.as_str())), "{causes:?}");
}
