//! SCRAM users in EMQX's words: a user and a decoy in the same form, and nothing that only the sidecar should know.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::scram::{Keys, ScramAlgorithm, ScramSettings, salt};
use mqtt_access_core::secret::Secret;
use serde_json::{Value, json};

use crate::fixture::modes::{self, ALICE, NAMED, PASSWORD};
use crate::fixture::{self, BRIEF, globex_key};
use crate::server::Server;
use crate::wire::Reply;

const DENY: &str = r#"{"result":"deny"}"#;

async fn ask(server: &Server, username: &str, client_id: &str) -> Reply {
    let body = json!({"username": username, "clientid": client_id, "peerhost": "192.0.2.7"});
    server.json("/emqx/v5/scram", &body).await
}

fn names(reply: &Reply) -> BTreeSet<String> {
    let value: Value = serde_json::from_str(&reply.body).unwrap();
    assert!(value.as_object().unwrap().values().all(|value| !value.is_null()), "{}", reply.body);
    value.as_object().unwrap().keys().cloned().collect()
}

fn hex(secret: &Secret) -> String {
    secret
        .expose()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from_digit(half.into(), 16).unwrap())
        .collect()
}

#[tokio::test]
async fn a_user_is_answered_byte_for_byte() {
    let server = Server::with_modes().await;
    let ticket_key = modes::bundle().tenant.ticket_key;
    let Keys { salt, stored_key, server_key } =
        Keys::derive(ScramSettings::default(), salt(&ticket_key, "named"), &Secret::from(PASSWORD));
    for path in ["/emqx/v5/scram", "/emqx/v6/scram"] {
        let reply = server.json(path, &json!({"username": "named", "clientid": NAMED})).await;
        assert_eq!((reply.status, reply.cause()), (200, "KeysIssued"));
        assert_eq!(reply.headers["content-type"], "application/json");
        let value: Value = serde_json::from_str(&reply.body).unwrap();
        let ticket = value["client_attrs"]["mqa_ticket"].as_str().unwrap();
        let expected = format!(
            "{{\"stored_key\":\"{}\",\"server_key\":\"{}\",\"salt\":\"{}\",\"is_superuser\":false,\
             \"client_attrs\":{{\"auth_mode\":\"Scram\",\"client_id\":\"{NAMED}\",\"device_id\":\"named\",\
             \"group_id\":\"GID_acme\",\"instance_id\":\"mqtt-acme\",\"mqa_ticket\":\"{ticket}\",\
             \"plant\":\"north\",\"tenant_id\":\"shop.acme\"}}}}",
            hex(&stored_key),
            hex(&server_key),
            hex(&salt)
        );
        assert_eq!(reply.body, expected);
        assert_eq!(server.emqx_publish(NAMED, ticket, "acme/named/up").await.cause(), "shop/own-topics rules[0]");
    }
    let brief = ask(&server, "brief-name", "GID_acme@@@brief-name").await;
    assert!(brief.body.ends_with(&format!("}},\"expire_at\":{BRIEF}}}")), "{}", brief.body);
}

#[tokio::test]
async fn whoever_may_not_log_in_is_given_a_decoy_in_the_same_form() {
    let server = Server::with_modes().await;
    server.now.store(BRIEF, Relaxed);
    let user: Value = serde_json::from_str(&ask(&server, "named", NAMED).await.body).unwrap();
    for (username, client_id, cause) in [
        ("nobody", NAMED, "UnknownKey"),
        ("named", "GID_acme@@@other", "ClientIdMismatch"),
        ("named", "elsewhere", "UnknownClientId"),
        ("off-name", "GID_acme@@@off-name", "Disabled"),
        ("brief-name", "GID_acme@@@brief-name", "Expired"),
        ("alice", NAMED, "ClientIdMismatch"),
        ("", NAMED, "UnknownKey"),
        ("Signature|AK.1|mqtt-acme", NAMED, "UnknownKey"),
    ] {
        let reply = ask(&server, username, client_id).await;
        assert_eq!((reply.status, reply.cause()), (200, cause), "{username} {client_id}");
        let expected = ["is_superuser", "salt", "server_key", "stored_key"].map(str::to_owned);
        assert_eq!(names(&reply), BTreeSet::from(expected), "no attributes, no ticket");
        let decoy: Value = serde_json::from_str(&reply.body).unwrap();
        for name in ["salt", "server_key", "stored_key"] {
            let (decoy, user) = (decoy[name].as_str().unwrap(), user[name].as_str().unwrap());
            assert!(decoy.len() == user.len() && decoy.bytes().all(|byte| byte.is_ascii_hexdigit()), "{decoy}");
        }
        assert_eq!(ask(&server, username, client_id).await.body, reply.body, "the same every time");
    }
    let metrics = server.probe("/metrics").await.body;
    let denied = "action=\"login\",verdict=\"deny\",reason=\"Disabled\"} 2";
    assert!(metrics.contains(denied), "counted as what it is: {metrics}");
}

#[tokio::test]
async fn a_suspended_tenant_s_user_looks_like_any_other() {
    let server = Server::with_modes().await;
    let before: Value = serde_json::from_str(&ask(&server, "alice", ALICE).await.body).unwrap();
    let mut suspended = modes::bundle();
    suspended.tenant.suspended = true;
    server.serve(&suspended, 12);
    let reply = ask(&server, "alice", ALICE).await;
    let decoy: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(reply.cause(), "Suspended");
    assert_eq!(decoy["salt"], before["salt"], "a salt that changed would tell");
    assert_ne!(decoy["stored_key"], before["stored_key"]);
    assert_ne!(decoy["server_key"], before["server_key"]);
}

#[tokio::test]
async fn without_keys_there_is_a_plain_denial() {
    let server = Server::start().await;
    for (username, client_id, cause) in
        [("named", NAMED, "UnknownKey"), ("dev1", fixture::DEV1, "UnknownKey"), ("x", "elsewhere", "UnknownClientId")]
    {
        let reply = ask(&server, username, client_id).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, DENY, cause), "nobody here has SCRAM");
    }
    server.serve(&modes::bundle(), 11);
    for body in [json!({"username": "named"}), json!({"clientid": NAMED}), json!({"username": 1, "clientid": NAMED})] {
        let reply = server.json("/emqx/v5/scram", &body).await;
        assert_eq!((reply.body.as_str(), reply.cause()), (DENY, "Malformed"));
    }
    server.store.remove(&globex_key());
    assert_eq!(ask(&server, "x", "GID_globex@@@dev1").await.cause(), "UnknownClientId");
}

#[tokio::test]
async fn both_algorithms_have_keys_of_their_length() {
    let server = Server::start().await;
    for (revision, algorithm, length) in [(11, ScramAlgorithm::Sha256, 64), (12, ScramAlgorithm::Sha512, 128)] {
        server.serve(&modes::with_scram(algorithm), revision);
        for username in ["alice", "nobody"] {
            let value: Value = serde_json::from_str(&ask(&server, username, ALICE).await.body).unwrap();
            assert_eq!(value["stored_key"].as_str().unwrap().len(), length);
            assert_eq!(value["server_key"].as_str().unwrap().len(), length);
            assert_eq!(value["salt"].as_str().unwrap().len(), 32);
        }
    }
}
