//! The client attributes that EMQX is given, mode by mode: what the proof does not fix is not told.

use std::collections::BTreeMap;

use mqtt_access_core::token::Act;
use serde_json::{Value, json};

use crate::fixture::modes::{ALICE, NAMED, PASSWORD, TOKEN_USERNAME, claims, tokens};
use crate::fixture::{DEV1, DEV1_USERNAME, SHARED_USERNAME, device_password, shared_password};
use crate::server::Server;
use crate::wire::Reply;

const BASE: [(&str, &str); 3] = [("instance_id", "mqtt-acme"), ("plant", "north"), ("tenant_id", "shop.acme")];

/// The attributes but the ticket, which has to be there.
fn attributes(reply: &Reply) -> BTreeMap<String, String> {
    let value: Value = serde_json::from_str(&reply.body).unwrap();
    let mut attributes: BTreeMap<String, String> = serde_json::from_value(value["client_attrs"].clone()).unwrap();
    assert!(attributes.remove("mqa_ticket").unwrap().starts_with("v1."));
    attributes
}

fn expected(mode: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let all = BASE.iter().chain(more).copied().chain([("auth_mode", mode)]);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn login(server: &Server, client_id: &str, username: &str, password: &str) -> Reply {
    let reply = server
        .json("/emqx/v6/authn", &json!({"clientid": client_id, "username": username, "password": password}))
        .await;
    assert_eq!(reply.cause(), "ProofAccepted", "{username}");
    reply
}

#[tokio::test]
async fn a_mac_and_a_credential_of_one_client_id_prove_it() {
    let server = Server::with_modes().await;
    let own =
        |id: &'static str, device: &'static str| [("client_id", id), ("group_id", "GID_acme"), ("device_id", device)];
    let reply = login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    assert_eq!(attributes(&reply), expected("DeviceCredential", &own(DEV1, "dev1")));
    let id = "GID_acme@@@any";
    let reply = login(&server, id, SHARED_USERNAME, &shared_password(id)).await;
    assert_eq!(attributes(&reply), expected("Signature", &own(id, "any")));
    let reply = login(&server, NAMED, "named", PASSWORD).await;
    assert_eq!(attributes(&reply), expected("Password", &own(NAMED, "named")));
    let reply = login(&server, "GID_acme@@@imported", "imported", PASSWORD).await;
    assert_eq!(attributes(&reply), expected("Password", &own("GID_acme@@@imported", "imported")));
    let reply = server.json("/emqx/v6/scram", &json!({"clientid": NAMED, "username": "named"})).await;
    assert_eq!(attributes(&reply), expected("Scram", &own(NAMED, "named")));
}

#[tokio::test]
async fn a_prefix_proves_no_client_id() {
    let server = Server::with_modes().await;
    let role = [("role", "operator")];
    let reply = login(&server, ALICE, "alice", PASSWORD).await;
    assert_eq!(attributes(&reply), expected("Password", &role));
    let reply = server.json("/emqx/v6/scram", &json!({"clientid": ALICE, "username": "alice"})).await;
    assert_eq!(attributes(&reply), expected("Scram", &role));
}

#[tokio::test]
async fn a_token_proves_the_client_id_it_is_bound_to() {
    let server = Server::with_modes().await;
    let id = "GID_acme@@@tok";
    let free = claims(Act::RW, &["acme/#"]);
    let reply = login(&server, id, TOKEN_USERNAME, &tokens(&[free])).await;
    assert_eq!(attributes(&reply), expected("Token", &[]));
    let bound = mqtt_access_core::token::Claims { sub: Some(id.to_owned()), ..claims(Act::R, &["acme/#"]) };
    let reply = login(&server, id, TOKEN_USERNAME, &tokens(std::slice::from_ref(&bound))).await;
    let own = [("client_id", id), ("group_id", "GID_acme"), ("device_id", "tok")];
    assert_eq!(attributes(&reply), expected("Token", &own));
    // One that is not bound could be anybody's.
    let reply = login(&server, id, TOKEN_USERNAME, &tokens(&[bound, claims(Act::W, &["acme/#"])])).await;
    assert_eq!(attributes(&reply), expected("Token", &[]));
}
