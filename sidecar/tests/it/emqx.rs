//! EMQX: replies byte for byte, and what a ticket is worth.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::fixture::{self, BRIEF, DEV1, DEV1_USERNAME, SHARED_USERNAME, device_password, shared_password};
use crate::server::Server;

const DENY: &str = r#"{"result":"deny"}"#;
const ALLOW: &str = r#"{"result":"allow"}"#;

fn dev1_login() -> Value {
    let password = device_password("DC.1", DEV1);
    json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": password, "peerhost": "10.0.0.1"})
}

#[tokio::test]
async fn a_good_login_is_answered_byte_for_byte_with_no_null() {
    let server = Server::start().await;
    for path in ["/emqx/v5/authn", "/emqx/v6/authn"] {
        let reply = server.json(path, &dev1_login()).await;
        assert_eq!((reply.status, reply.cause()), (200, "ProofAccepted"));
        assert_eq!(reply.headers["content-type"], "application/json");
        let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
        let expected = format!(
            "{{\"result\":\"allow\",\"is_superuser\":false,\"client_attrs\":{{\"auth_mode\":\"DeviceCredential\",\
             \"client_id\":\"GID_acme@@@dev1\",\"device_id\":\"dev1\",\"group_id\":\"GID_acme\",\
             \"instance_id\":\"mqtt-acme\",\"mqa_ticket\":\"{ticket}\",\"plant\":\"north\",\
             \"tenant_id\":\"shop.acme\"}}}}"
        );
        assert_eq!(reply.body, expected);
    }
}

#[tokio::test]
async fn a_login_that_expires_says_when_in_whole_seconds() {
    let server = Server::start().await;
    let id = "GID_acme@@@brief";
    let body =
        json!({"clientid": id, "username": "DeviceCredential|DC.2|mqtt-acme", "password": device_password("DC.2", id)});
    let reply = server.json("/emqx/v5/authn", &body).await;
    assert!(reply.body.ends_with(&format!("}},\"expire_at\":{BRIEF}}}")), "{}", reply.body);
    server.now.store(BRIEF, Relaxed);
    let reply = server.json("/emqx/v5/authn", &body).await;
    assert_eq!((reply.body.as_str(), reply.cause()), (DENY, "Expired"));
}

#[tokio::test]
async fn forms_queries_and_json_say_the_same() {
    let server = Server::start().await;
    let password = device_password("DC.1", DEV1);
    let pairs = [("clientid", DEV1), ("username", DEV1_USERNAME), ("password", &password), ("unknown", "x")];
    let json = server.json("/emqx/v5/authn", &dev1_login()).await;
    assert_eq!(server.form("/emqx/v5/authn", &pairs).await.body, json.body);
    assert_eq!(server.get("/emqx/v5/authn", &pairs).await.body, json.body);
}

#[tokio::test]
async fn a_wrong_login_is_a_200_that_denies() {
    let server = Server::start().await;
    let right = device_password("DC.1", DEV1);
    for (client_id, username, password, cause) in [
        (DEV1, DEV1_USERNAME, "x", "WrongProof"),
        (DEV1, DEV1_USERNAME, "", "WrongProof"),
        (DEV1, "", &right, "UnknownKey"),
        (DEV1, "DeviceCredential|DC.1", &right, "UnknownKey"),
        (DEV1, "DeviceCredential|DC.1|mqtt-acme|x", &right, "UnknownKey"),
        (DEV1, "DeviceCredential|DC.9|mqtt-acme", &right, "UnknownKey"),
        (DEV1, "DeviceCredential|DC.1|mqtt-other", &right, "UnknownInstance"),
        (DEV1, SHARED_USERNAME, &shared_password(DEV1), "ClientIdTaken"),
        ("GID_acme@@@new", DEV1_USERNAME, &device_password("DC.1", "GID_acme@@@new"), "ClientIdMismatch"),
        ("elsewhere", SHARED_USERNAME, &shared_password("elsewhere"), "ClientIdOutsidePrefixes"),
        ("", SHARED_USERNAME, &shared_password(""), "ClientIdInvalid"),
        ("GID_acme@@@a b", SHARED_USERNAME, &shared_password("GID_acme@@@a b"), "ClientIdInvalid"),
        ("GID_acme@@@off", "DeviceCredential|DC.3|mqtt-acme", &device_password("DC.3", "GID_acme@@@off"), "Disabled"),
    ] {
        let reply = server
            .json("/emqx/v5/authn", &json!({"clientid": client_id, "username": username, "password": password}))
            .await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, DENY, cause), "{client_id} {username}");
        assert_eq!(reply.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn topics_are_judged_with_the_ticket_and_the_cause_is_told() {
    let server = Server::start().await;
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    for (action, topic, body, cause) in [
        ("publish", "acme/dev1/up", ALLOW, "shop/own-topics rules[0]"),
        ("publish", "acme/GID_acme@@@dev1/up", ALLOW, "shop/own-topics rules[0]"),
        ("subscribe", "acme/dev1/down/+", ALLOW, "shop/own-topics rules[0]"),
        ("publish", "acme/dev1/vault", DENY, "shop/own-topics rules[1]"),
        ("subscribe", "acme/dev1/#", DENY, "shop/own-topics rules[1]"),
        ("subscribe", "acme/#", DENY, "shop/own-topics rules[1]"),
        ("publish", "acme/dev2/up", DENY, "NotGranted"),
        ("publish", "globex/dev1/up", DENY, "NotGranted"),
        ("subscribe", "$SYS/#", DENY, "NotGranted"),
        ("publish", "acme/dev1/+", DENY, "Malformed"),
        ("publish", "", DENY, "Malformed"),
        ("subscribe", "acme/dev1/#/x", DENY, "Malformed"),
        // EMQX has stripped one such prefix: a second is an attempt at something.
        ("subscribe", "$share/g/acme/dev1/down", DENY, "Malformed"),
        ("unsubscribe", "acme/dev1/up", DENY, "Malformed"),
        ("all", "acme/dev1/up", DENY, "Malformed"),
    ] {
        let body_in = json!({"clientid": DEV1, "username": "x", "action": action, "topic": topic, "qos": 1, "retain": true, "ticket": ticket});
        let reply = server.json("/emqx/v6/authz", &body_in).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, body, cause), "{action} {topic}");
    }
}

#[tokio::test]
async fn a_ticket_that_is_absent_forged_foreign_or_expired_is_denied() {
    let server = Server::start().await;
    let brief_id = "GID_acme@@@brief";
    let dev1 = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    let brief =
        server.emqx_ticket(brief_id, "DeviceCredential|DC.2|mqtt-acme", &device_password("DC.2", brief_id)).await;
    let forged = format!("{}A", &dev1[..dev1.len() - 1]);
    let publish = async |id, ticket: &str| server.emqx_publish(id, ticket, "acme/dev1/up").await.cause().to_owned();
    assert_eq!(publish(DEV1, "").await, "TicketMissing");
    assert_eq!(publish(DEV1, "${client_attrs.mqa_ticket}").await, "TicketForged");
    assert_eq!(publish(DEV1, &forged).await, "TicketForged");
    assert_eq!(publish(DEV1, &brief).await, "TicketForeign");
    assert_eq!(publish(brief_id, &dev1).await, "TicketForeign");
    assert_eq!(publish(DEV1, &dev1).await, "shop/own-topics rules[0]");
    server.now.store(BRIEF, Relaxed);
    assert_eq!(server.emqx_publish(brief_id, &brief, "acme/brief/up").await.cause(), "TicketExpired");
    let absent = json!({"clientid": DEV1, "action": "publish", "topic": "acme/dev1/up"});
    assert_eq!(server.json("/emqx/v5/authz", &absent).await.cause(), "TicketMissing");
    let null = json!({"clientid": DEV1, "action": "publish", "topic": "acme/dev1/up", "ticket": null});
    assert_eq!(server.json("/emqx/v5/authz", &null).await.cause(), "TicketMissing");
}

#[tokio::test]
async fn a_session_ends_with_its_device_its_key_and_its_tenant() {
    let server = Server::start().await;
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    let cause = async || server.emqx_publish(DEV1, &ticket, "acme/dev1/up").await.cause().to_owned();
    let apply = |bundle, revision| server.store.apply(&fixture::acme_key(), fixture::files(&bundle, revision)).unwrap();

    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    apply(disabled, 11);
    assert_eq!(cause().await, "Disabled");

    let mut replaced = fixture::acme();
    replaced.devices[0].secret = Some("another".into());
    apply(replaced, 12);
    assert_eq!(cause().await, "KeyReplaced");

    let mut suspended = fixture::acme();
    suspended.tenant.suspended = true;
    apply(suspended, 13);
    assert_eq!(cause().await, "Suspended");

    apply(fixture::acme(), 14);
    assert_eq!(cause().await, "shop/own-topics rules[0]");
    server.store.remove(&fixture::acme_key());
    assert_eq!(cause().await, "UnknownInstance");
}

#[tokio::test]
async fn a_200_would_let_emqx_4_in_so_it_gets_none() {
    let server = Server::start().await;
    for path in ["/emqx/v4/auth", "/emqx/v4/superuser", "/emqx/v4/acl", "/emqx/v4"] {
        let reply = server.form(path, &[("clientid", DEV1)]).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (403, "deny", "BrokerNotServed"), "{path}");
    }
}
