//! A secret that is being replaced: the previous one ends by the sidecar's own clock, whoever else is away.

use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::bundle::{Bundle, Spare};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::secret::Secret;
use serde_json::json;

use crate::fixture::{self, BRIEF, DEV1, DEV1_USERNAME, START, device_password};
use crate::server::Server;

const OLD: &str = "the key before";
const NEXT: &str = "the key after";
const UNTIL: i64 = START + 50;
const ALLOWED: &str = "shop/own-topics rules[0]";

fn rotating() -> Bundle {
    let mut acme = fixture::acme();
    let spares = &mut acme.devices[0].spares;
    spares.previous = Some(Spare { secret: Secret::from(OLD), since: START, until: UNTIL });
    spares.next = Some(Spare { secret: Secret::from(NEXT), since: START, until: START + 3600 });
    acme
}

async fn cause(server: &Server, secret: &str) -> String {
    let proof = password(MacAlgorithm::HmacSha1, &Secret::from(secret), DEV1);
    let emqx = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": proof});
    let emqx = server.json("/emqx/v5/authn", &emqx).await;
    let pairs = [("username", DEV1_USERNAME), ("password", proof.as_str()), ("vhost", "/"), ("client_id", DEV1)];
    let rabbitmq = server.form("/rabbitmq/user", &pairs).await;
    assert_eq!(emqx.cause(), rabbitmq.cause());
    emqx.cause().to_owned()
}

#[tokio::test]
async fn the_previous_key_ends_by_the_sidecars_own_clock_and_the_broker_is_told_when() {
    let server = Server::start().await;
    server.serve(&rotating(), 11);
    let proof = password(MacAlgorithm::HmacSha1, &Secret::from(OLD), DEV1);
    let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": proof});
    let reply = server.json("/emqx/v5/authn", &body).await;
    assert!(reply.body.ends_with(&format!("}},\"expire_at\":{UNTIL}}}")), "{}", reply.body);
    let by_old = server.emqx_ticket(DEV1, DEV1_USERNAME, &proof).await;
    let by_current = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    let publish = async |ticket: &str| server.emqx_publish(DEV1, ticket, "acme/dev1/up").await.cause().to_owned();
    server.now.store(UNTIL - 1, Relaxed);
    assert_eq!((cause(&server, OLD).await, publish(&by_old).await), ("ProofAccepted".into(), ALLOWED.to_owned()));
    // Nothing reaches it from now on, and nothing has to.
    server.now.store(UNTIL, Relaxed);
    assert_eq!((cause(&server, OLD).await, publish(&by_old).await), ("WrongProof".into(), "TicketExpired".to_owned()));
    assert_eq!(publish(&by_current).await, ALLOWED);
    assert_eq!(cause(&server, NEXT).await, "ProofAccepted");
    server.now.store(START + 3600, Relaxed);
    assert_eq!(cause(&server, NEXT).await, "WrongProof");
}

#[tokio::test]
async fn a_sidecar_that_starts_again_without_an_operator_holds_to_the_ends_it_was_told() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    first.serve(&rotating(), 11);
    assert_eq!(cause(&first, OLD).await, "ProofAccepted");
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    assert_eq!(cause(&second, OLD).await, "ProofAccepted");
    let brief = "GID_acme@@@brief";
    let body = json!({"clientid": brief, "username": "DeviceCredential|DC.2|mqtt-acme", "password": device_password("DC.2", brief)});
    assert_eq!(second.json("/emqx/v5/authn", &body).await.cause(), "ProofAccepted");
    second.now.store(BRIEF, Relaxed);
    assert_eq!(cause(&second, OLD).await, "WrongProof");
    assert_eq!(second.json("/emqx/v5/authn", &body).await.cause(), "Expired");
}

#[tokio::test]
async fn a_sidecar_whose_clock_is_ten_minutes_off_lets_the_current_and_the_next_key_in() {
    for clock in [START - 600, START + 600] {
        let server = Server::start().await;
        server.serve(&rotating(), 11);
        server.now.store(clock, Relaxed);
        let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": device_password("DC.1", DEV1)});
        assert_eq!(server.json("/emqx/v5/authn", &body).await.cause(), "ProofAccepted");
        assert_eq!(cause(&server, NEXT).await, "ProofAccepted");
        let expected = if clock < UNTIL { "ProofAccepted" } else { "WrongProof" };
        assert_eq!(cause(&server, OLD).await, expected);
    }
}
