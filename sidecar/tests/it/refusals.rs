//! Refused logins: to the client all are one, in the log and the metrics each is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::client::Mode;
use mqtt_access_core::token::Act;
use serde_json::json;

use crate::fixture::modes::{self, ALICE, PASSWORD, TOKEN_USERNAME, claims, tokens};
use crate::fixture::{self, BRIEF, DEV1, DEV1_USERNAME, SHARED_USERNAME, device_password, files, globex_key};
use crate::fixture::{START, shared_password};
use crate::server::Server;
use crate::wire::Reply;

struct Refused {
    client_id: &'static str,
    username: &'static str,
    password: String,
    reason: &'static str,
}

fn refused(client_id: &'static str, username: &'static str, password: &str, reason: &'static str) -> Refused {
    Refused { client_id, username, password: password.to_owned(), reason }
}

/// Everything wrong that a client can be told of, which it must not.
fn all() -> Vec<Refused> {
    let (off, brief) = ("GID_acme@@@off", "GID_acme@@@brief");
    let globex = "GID_globex@@@dev1";
    let signed = tokens(&[claims(Act::R, &["acme/#"])]);
    let past = mqtt_access_core::token::Claims { iat: START - 3600, exp: START, ..claims(Act::R, &["acme/#"]) };
    let forged = format!("{}AAAA", &signed[..signed.len() - 4]);
    vec![
        refused(DEV1, "DeviceCredential|DC.1|mqtt-nowhere", "x", "UnknownInstance"),
        refused(DEV1, "DeviceCredential|DC.9|mqtt-acme", "x", "UnknownKey"),
        refused(DEV1, DEV1_USERNAME, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "WrongProof"),
        refused(off, "DeviceCredential|DC.3|mqtt-acme", &device_password("DC.3", off), "Disabled"),
        refused(brief, "DeviceCredential|DC.2|mqtt-acme", &device_password("DC.2", brief), "Expired"),
        refused(globex, "DeviceCredential|DC.1|mqtt-globex", &device_password("DC.1", globex), "Suspended"),
        refused(ALICE, "nobody", PASSWORD, "UnknownKey"),
        refused(ALICE, "alice", "wrong", "WrongProof"),
        refused("GID_acme@@@imported", "imported", "wrong", "WrongProof"),
        refused("elsewhere", "alice", PASSWORD, "UnknownClientId"),
        refused("GID_acme@@@x", SHARED_USERNAME, &shared_password("GID_acme@@@x"), "ModeNotAccepted"),
        refused("GID_acme@@@x", TOKEN_USERNAME, "R|x", "TokenMalformed; code=1"),
        refused("GID_acme@@@x", TOKEN_USERNAME, &tokens(&[past]), "TokenExpired; code=2"),
        refused("GID_acme@@@x", TOKEN_USERNAME, &forged, "TokenSignatureInvalid; code=8"),
    ]
}

async fn server() -> Server {
    let server = Server::with_modes().await;
    let mut acme = modes::bundle();
    acme.tenant.modes.retain(|mode| *mode != Mode::Signature);
    server.serve(&acme, 12);
    let mut globex = fixture::globex();
    globex.tenant.suspended = true;
    server.store.apply(&globex_key(), files(&globex, 12)).unwrap();
    server.now.store(BRIEF, Relaxed);
    server
}

/// All that reaches the broker, but the clock and what only tests ask for.
fn told(reply: &Reply) -> (u16, BTreeMap<String, String>, String) {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    headers.remove("mqtt-access-cause").unwrap();
    (reply.status, headers, reply.body.clone())
}

async fn ask(server: &Server, path: &str, case: &Refused) -> Reply {
    let Refused { client_id, username, password, reason: _ } = case;
    let id = if path.starts_with("/emqx") { "clientid" } else { "client_id" };
    server.form(path, &[(id, client_id), ("username", username), ("password", password)]).await
}

#[tokio::test]
async fn every_refused_login_is_told_the_same() {
    let server = server().await;
    for (path, dialect) in
        [("/emqx/v5/authn", "emqx_v5"), ("/emqx/v6/authn", "emqx_v6"), ("/rabbitmq/user", "rabbitmq")]
    {
        let mut replies = Vec::new();
        for case in all() {
            let reply = ask(&server, path, &case).await;
            assert_eq!(reply.cause(), case.reason, "{path} {}", case.username);
            replies.push(told(&reply));
        }
        assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{replies:?}");
        let metrics = server.probe("/metrics").await.body;
        for reason in all().iter().map(|case| case.reason).collect::<BTreeSet<_>>() {
            let reason = reason.split(';').next().unwrap();
            let line = format!("{{dialect=\"{dialect}\",action=\"login\",verdict=\"deny\",reason=\"{reason}\"}}");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    }
}

#[tokio::test]
async fn too_many_wrong_passwords_are_called_so_and_the_right_one_still_fits() {
    let server = Server::with_modes().await;
    let login = async |password: &str| {
        let body = json!({"clientid": ALICE, "username": "alice", "password": password, "peerhost": "192.0.2.1"});
        server.json("/emqx/v5/authn", &body).await
    };
    let mut replies = Vec::new();
    for number in 0..15 {
        let reply = login(&format!("guess {number}")).await;
        assert_eq!(reply.cause(), if number < 10 { "WrongProof" } else { "TooManyFailures" }, "{number}");
        replies.push(told(&reply));
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(login(PASSWORD).await.cause(), "ProofAccepted");
    assert_eq!(login("guess 3").await.cause(), "WrongProof", "the broker asked once more");
    assert_eq!(login("guess 14").await.cause(), "TooManyFailures");
    server.now.store(START + 3600, Relaxed);
    assert_eq!(login("guess 14").await.cause(), "WrongProof");
}
