//! RabbitMQ: the calls that 3.10 makes, the binding to the client ID, and topics that were translated.

use std::sync::atomic::Ordering::Relaxed;

use crate::fixture::{self, BRIEF, DEV1, DEV1_USERNAME, SHARED_USERNAME, device_password, shared_password};
use crate::server::Server;
use crate::wire::Reply;

fn said(reply: &Reply) -> (u16, &str, &str) {
    assert_eq!(reply.headers["content-type"], "text/plain");
    (reply.status, &reply.body, reply.cause())
}

async fn login(server: &Server, client_id: &str, username: &str, password: &str) -> Reply {
    let pairs = [("username", username), ("password", password), ("vhost", "/"), ("client_id", client_id)];
    server.form("/rabbitmq/user", &pairs).await
}

async fn vhost(server: &Server, client_id: &str, username: &str) -> Reply {
    let pairs = [("username", username), ("vhost", "/"), ("ip", "127.0.0.1"), ("tags", ""), ("client_id", client_id)];
    server.form("/rabbitmq/vhost", &pairs).await
}

async fn resource(server: &Server, client_id: &str, kind: &str, name: &str, permission: &str, tags: &str) -> Reply {
    let pairs = [
        ("username", DEV1_USERNAME),
        ("vhost", "/"),
        ("resource", kind),
        ("name", name),
        ("permission", permission),
        ("tags", tags),
        ("client_id", client_id),
    ];
    server.form("/rabbitmq/resource", &pairs).await
}

async fn topic(server: &Server, client_id: &str, username: &str, permission: &str, routing_key: &str) -> Reply {
    let pairs = [
        ("username", username),
        ("vhost", "/"),
        ("resource", "topic"),
        ("name", "amq.topic"),
        ("permission", permission),
        ("tags", ""),
        ("routing_key", routing_key),
        ("variable_map.client_id", client_id),
        ("variable_map.username", username),
        ("variable_map.vhost", "/"),
    ];
    server.form("/rabbitmq/topic", &pairs).await
}

#[tokio::test]
async fn a_session_is_answered_call_by_call() {
    let server = Server::start().await;
    let accepted = (200, "allow", "ProofAccepted");
    assert_eq!(said(&vhost(&server, DEV1, DEV1_USERNAME).await), (200, "deny", "TicketMissing"));
    let logged_in = login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    assert_eq!(said(&logged_in), accepted);
    let tags = &logged_in.headers["tags"];
    assert_eq!(said(&vhost(&server, DEV1, DEV1_USERNAME).await), accepted);
    let queue = format!("mqtt-subscription-{DEV1}qos0");
    for permission in ["configure", "read", "write"] {
        assert_eq!(said(&resource(&server, DEV1, "queue", &queue, permission, tags).await), accepted);
    }
    for permission in ["read", "write"] {
        assert_eq!(said(&resource(&server, DEV1, "exchange", "amq.topic", permission, tags).await), accepted);
    }
    let rule = "shop/own-topics rules[0]";
    assert_eq!(said(&topic(&server, DEV1, DEV1_USERNAME, "write", "acme.dev1.up").await), (200, "allow", rule));
    assert_eq!(said(&topic(&server, DEV1, DEV1_USERNAME, "read", "acme.dev1.*.x").await), (200, "allow", rule));
    assert!(server.metric("mqtt_access_sidecar_logins").await > 0.5);
}

#[tokio::test]
async fn a_login_without_a_client_id_or_with_an_ambiguous_one_is_denied() {
    let server = Server::start().await;
    let amqp = [("username", DEV1_USERNAME), ("password", "x"), ("vhost", "/")];
    assert_eq!(said(&server.form("/rabbitmq/user", &amqp).await), (200, "deny", "Malformed"));
    for id in ["GID_acme@@@a.b", "GID_acme@@@*"] {
        let reply = login(&server, id, "DeviceCredential|DC.4|mqtt-acme", &device_password("DC.4", id)).await;
        assert_eq!(said(&reply), (200, "deny", "ClientIdAmbiguous"));
    }
    assert_eq!(said(&login(&server, DEV1, DEV1_USERNAME, "x").await), (200, "deny", "WrongProof"));
    assert_eq!(said(&vhost(&server, DEV1, DEV1_USERNAME).await), (200, "deny", "TicketMissing"));
}

#[tokio::test]
async fn a_shared_username_gives_nobody_more_than_its_own() {
    let server = Server::start().await;
    let (a, b) = ("GID_acme@@@one", "GID_acme@@@two");
    assert_eq!(login(&server, a, SHARED_USERNAME, &shared_password(a)).await.body, "allow");
    let write = async |id, key| topic(&server, id, SHARED_USERNAME, "write", key).await;
    assert_eq!(write(a, "acme.one.up").await.body, "allow");
    assert_eq!(said(&write(a, "acme.two.up").await), (200, "deny", "NotGranted"));
    // The other one has not logged in, whatever the username says.
    assert_eq!(said(&write(b, "acme.two.up").await), (200, "deny", "TicketMissing"));
    assert_eq!(said(&vhost(&server, b, SHARED_USERNAME).await), (200, "deny", "TicketMissing"));
    // Another username with the client ID of one that has.
    assert_eq!(said(&topic(&server, a, DEV1_USERNAME, "write", "acme.one.up").await), (200, "deny", "TicketMissing"));
    let without = [
        ("username", SHARED_USERNAME),
        ("resource", "topic"),
        ("name", "amq.topic"),
        ("permission", "write"),
        ("routing_key", "acme.one.up"),
    ];
    assert_eq!(said(&server.form("/rabbitmq/topic", &without).await), (200, "deny", "Malformed"));
}

#[tokio::test]
async fn only_the_topic_exchange_and_ones_own_queues_are_there() {
    let server = Server::start().await;
    login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    for (kind, name, permission) in [
        ("exchange", "amq.topic", "configure"),
        ("exchange", "amq.direct", "write"),
        ("exchange", "", "write"),
        ("queue", "mqtt-subscription-GID_acme@@@dev2qos0", "read"),
        ("queue", "mqtt-subscription-GID_acme@@@dev1qos0qos1", "read"),
        ("queue", "mqtt-subscription-GID_acme@@@dev1", "read"),
        ("queue", "billing", "read"),
        ("topic", "amq.topic", "read"),
        ("", "", ""),
    ] {
        let reply = resource(&server, DEV1, kind, name, permission, "").await;
        assert_eq!(said(&reply), (200, "deny", "NotGranted"), "{kind} {name} {permission}");
    }
}

#[tokio::test]
async fn routing_keys_are_read_as_the_topics_they_were() {
    let server = Server::start().await;
    login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    for (permission, key, cause) in [
        ("write", "acme.dev1.vault", "shop/own-topics rules[1]"),
        ("read", "acme.dev1.#", "shop/own-topics rules[1]"),
        ("read", "#", "shop/own-topics rules[1]"),
        ("read", "acme.*.up", "NotGranted"),
        ("write", "acme.dev1.*", "Malformed"),
        ("write", "acme.dev1.#", "Malformed"),
        ("write", "acme.dev1.a*b", "Malformed"),
        ("write", "acme/dev1/up", "Malformed"),
        ("read", "acme.dev1.+", "Malformed"),
        ("read", "$share.g.acme.dev1.up", "Malformed"),
        ("write", "", "Malformed"),
        ("configure", "acme.dev1.up", "Malformed"),
    ] {
        let reply = topic(&server, DEV1, DEV1_USERNAME, permission, key).await;
        assert_eq!(said(&reply), (200, "deny", cause), "{permission} {key}");
    }
    let other = [
        ("username", DEV1_USERNAME),
        ("resource", "topic"),
        ("name", "my.exchange"),
        ("permission", "write"),
        ("routing_key", "acme.dev1.up"),
        ("variable_map.client_id", DEV1),
    ];
    assert_eq!(said(&server.form("/rabbitmq/topic", &other).await), (200, "deny", "NotGranted"));
}

#[tokio::test]
async fn an_entry_ends_with_its_credential_and_a_wrong_password_ends_nobody_s() {
    let server = Server::start().await;
    let (id, username) = ("GID_acme@@@brief", "DeviceCredential|DC.2|mqtt-acme");
    assert_eq!(login(&server, id, username, &device_password("DC.2", id)).await.body, "allow");
    assert_eq!(login(&server, id, username, "wrong").await.body, "deny");
    assert_eq!(vhost(&server, id, username).await.body, "allow");
    server.now.store(BRIEF, Relaxed);
    assert_eq!(said(&vhost(&server, id, username).await), (200, "deny", "TicketExpired"));
    assert_eq!(said(&vhost(&server, id, username).await), (200, "deny", "TicketMissing"));
}

#[tokio::test]
async fn what_a_login_opened_is_judged_as_things_are_now() {
    let server = Server::start().await;
    login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    server.store.apply(&fixture::acme_key(), fixture::files(&disabled, 11)).unwrap();
    assert_eq!(said(&vhost(&server, DEV1, DEV1_USERNAME).await), (200, "deny", "Disabled"));
    let reply = resource(&server, DEV1, "exchange", "amq.topic", "write", "").await;
    assert_eq!(said(&reply), (200, "deny", "Disabled"));
    let reply = topic(&server, DEV1, DEV1_USERNAME, "write", "acme.dev1.up").await;
    assert_eq!(said(&reply), (200, "deny", "Disabled"));
}

#[tokio::test]
async fn a_restart_loses_no_session() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    login(&first, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    let reply = topic(&second, DEV1, DEV1_USERNAME, "write", "acme.dev1.up").await;
    assert_eq!(said(&reply), (200, "allow", "shop/own-topics rules[0]"));
}

#[tokio::test]
async fn a_forged_journal_grants_nothing() {
    let state = tempfile::tempdir().unwrap();
    let line =
        format!("{{\"u\":\"{DEV1_USERNAME}\",\"c\":\"{DEV1}\",\"t\":\"v1.e30.AAAA\",\"s\":{}}}\n", fixture::START);
    std::fs::write(state.path().join("logins"), line).unwrap();
    let server = Server::with_state(state.path()).await;
    server.load_fixture();
    assert_eq!(said(&vhost(&server, DEV1, DEV1_USERNAME).await), (200, "deny", "TicketForged"));
}

/// The questions of RabbitMQ 3.12 and later, on paths of their own: sessions are not kept apart there, and no client is locked out.
#[tokio::test]
async fn later_versions_ask_on_other_paths_and_get_no_number() {
    let server = Server::start().await;
    let id = "GID_acme@@@one";
    let pairs = [("username", SHARED_USERNAME), ("password", &shared_password(id)), ("client_id", id)];
    let reply = server.form("/rabbitmq/v4/user", &pairs).await;
    assert_eq!((said(&reply), reply.headers.get("tags")), ((200, "allow", "ProofAccepted"), None));
    let queue = format!("mqtt-subscription-{id}qos1");
    let resource = async |name: &str, permission| {
        let pairs = [
            ("username", SHARED_USERNAME),
            ("vhost", "/"),
            ("resource", "queue"),
            ("name", name),
            ("permission", permission),
            ("tags", ""),
            ("client_id", id),
        ];
        server.form("/rabbitmq/v4/resource", &pairs).await
    };
    for permission in ["configure", "read", "write"] {
        assert_eq!(said(&resource(&queue, permission).await), (200, "allow", "ProofAccepted"));
        let foreign = resource("mqtt-subscription-GID_acme@@@twoqos1", permission).await;
        assert_eq!(said(&foreign), (200, "deny", "NotGranted"));
    }
    let topic = [
        ("username", SHARED_USERNAME),
        ("resource", "topic"),
        ("name", "amq.topic"),
        ("permission", "write"),
        ("routing_key", "acme.one.up"),
        ("variable_map.client_id", id),
    ];
    assert_eq!(server.form("/rabbitmq/v4/topic", &topic).await.body, "allow");
    assert_eq!(server.form("/rabbitmq/v4", &topic).await.body, "deny");
    assert_eq!(server.form("/rabbitmq/v5/user", &pairs).await.body, "deny");
}

#[tokio::test]
async fn a_session_of_an_unknown_owner_is_read_by_the_owner_of_the_client_id_alone() {
    let server = Server::start().await;
    let ask = async |id: &str, username: &str, tags: &str, permission: &str| {
        let name = format!("mqtt-subscription-{id}qos1");
        let pairs = [
            ("username", username),
            ("vhost", "/"),
            ("resource", "queue"),
            ("name", &name),
            ("permission", permission),
            ("tags", tags),
            ("client_id", id),
        ];
        server.form("/rabbitmq/resource", &pairs).await
    };
    let own = login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await.headers["tags"].clone();
    assert_eq!(said(&ask(DEV1, DEV1_USERNAME, &own, "read").await), (200, "allow", "ProofAccepted"));
    let id = "GID_acme@@@one";
    let shared = login(&server, id, SHARED_USERNAME, &shared_password(id)).await.headers["tags"].clone();
    let denied = (200, "deny", "SessionOwnerUnknown");
    assert_eq!(ask(id, SHARED_USERNAME, &shared, "configure").await.body, "allow");
    assert_eq!(said(&ask(id, SHARED_USERNAME, &shared, "read").await), denied);
    // Questions of another connection, or of none that is known, show nothing.
    for tags in [&own, "", "administrator"] {
        assert_eq!(said(&ask(id, SHARED_USERNAME, tags, "configure").await), (200, "deny", "SessionContested"));
    }
    for (permission, expected) in
        [("configure", "allow"), ("configure", "allow"), ("read", "allow"), ("write", "allow")]
    {
        assert_eq!(ask(id, SHARED_USERNAME, &shared, permission).await.body, expected);
    }
    let denials = "mqtt_access_sidecar_decisions_total{dialect=\"rabbitmq\",action=\"resource\",verdict=\"deny\",\
                   reason=\"SessionOwnerUnknown\"}";
    assert!((server.metric(denials).await - 1.0).abs() < 0.1);
}
