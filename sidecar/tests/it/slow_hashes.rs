//! A storm of one tenant's slow logins: nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mqtt_access_core::bundle::{Bundle, ClientIds, LoginName};
use mqtt_access_core::client::Mode;
use mqtt_access_core::password::Verifier;
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::modes::PASSWORD;
use crate::fixture::{self, DEV1, DEV1_USERNAME, device_password, files, globex_key};
use crate::server::Server;
use crate::wire::{Wire, post};

const STORM: usize = 50;

/// A tenant whose device `imported` has a hash that takes its time, in a build without optimisation too.
fn slow(mut bundle: Bundle, name: &str, client_id: &str) -> Bundle {
    let hash = bcrypt::hash(PASSWORD, 6).unwrap().parse().unwrap();
    bundle.tenant.modes.push(Mode::Password);
    let mut device = bundle.devices[0].clone();
    device.client_id = ClientIds::from(client_id);
    "imported".clone_into(&mut device.name);
    device.key_id.clear();
    device.login = Some(LoginName { name: name.to_owned(), scram: None, password: Some(Verifier::Slow(hash)) });
    bundle.devices.push(device);
    bundle
}

async fn server() -> Server {
    let server = Server::start().await;
    server.serve(&slow(fixture::acme(), "imported", "GID_acme@@@imported"), 11);
    let globex = slow(fixture::globex(), "other", "GID_globex@@@imported");
    server.store.apply(&globex_key(), files(&globex, 11)).unwrap();
    server
}

/// So many wrong passwords at once, and how many of them were answered.
async fn storm(server: &Server) -> (JoinSet<String>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut storm = JoinSet::new();
    for number in 0..STORM {
        let body =
            json!({"clientid": "GID_acme@@@imported", "username": "imported", "password": format!("guess {number}")});
        let (http, answered) = (server.http, Arc::clone(&answered));
        storm.spawn(async move {
            let mut wire = Wire::open(http).await;
            wire.send(&post("/emqx/v5/authn", "application/json", body.to_string().as_bytes())).await;
            let reply = wire.reply().await.unwrap();
            answered.fetch_add(1, Relaxed);
            reply.cause().to_owned()
        });
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.metric("mqtt_access_sidecar_slow_hashes_waiting ").await < 10.0 {
        assert!(Instant::now() < deadline, "the storm never came");
    }
    (storm, answered)
}

fn login(client_id: &str, username: &str, password: &str) -> serde_json::Value {
    json!({"clientid": client_id, "username": username, "password": password})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_tenant_stalls_nobody_else() {
    let server = server().await;
    let (storm, answered) = storm(&server).await;
    let before = answered.load(Relaxed);
    let reply = server.json("/emqx/v5/authn", &login("GID_globex@@@imported", "other", PASSWORD)).await;
    let meanwhile = answered.load(Relaxed) - before;
    assert_eq!(reply.cause(), "ProofAccepted");
    // In turn: it waited for the hashes that were being made and for one more, not for the storm.
    assert!(meanwhile < STORM / 3, "{meanwhile} of {STORM} went before");
    let before = answered.load(Relaxed);
    let right = device_password("DC.1", DEV1);
    assert_eq!(server.json("/emqx/v5/authn", &login(DEV1, DEV1_USERNAME, &right)).await.cause(), "ProofAccepted");
    assert!(answered.load(Relaxed) - before < STORM / 3);
    let causes = storm.join_all().await;
    let known = ["WrongProof", "TooManyFailures", "TooManyLogins"];
    assert!(causes.iter().all(|cause| known.contains(&cause.as_str())), "{causes:?}");
}
