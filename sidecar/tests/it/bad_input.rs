//! Bad input gets that broker's denial, and the next request is answered as if nothing had been.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use mqtt_access_sidecar::Clock;

use crate::fixture::{DEV1, DEV1_USERNAME, START, device_password};
use crate::server::{Server, TIMEOUTS};
use crate::wire::{Reply, Wire, bare, form, post};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Paths with their denials.
const PATHS: [(&str, &str); 10] = [
    ("/emqx/v5/authn", r#"{"result":"deny"}"#),
    ("/emqx/v5/authz", r#"{"result":"deny"}"#),
    ("/emqx/v5/scram", r#"{"result":"deny"}"#),
    ("/emqx/v6/scram", r#"{"result":"deny"}"#),
    ("/emqx/v6/authn", r#"{"result":"deny"}"#),
    ("/emqx/v6/authz", r#"{"result":"deny"}"#),
    ("/rabbitmq/user", "deny"),
    ("/rabbitmq/vhost", "deny"),
    ("/rabbitmq/resource", "deny"),
    ("/rabbitmq/topic", "deny"),
];

fn assert_denied(reply: &Reply, body: &str, cause: &str, what: &str) {
    assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, body, cause), "{what}");
    let content_type = if body == "deny" { "text/plain" } else { "application/json" };
    assert_eq!(reply.headers["content-type"], content_type, "{what}");
}

async fn assert_unharmed(server: &Server) {
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    assert_eq!(server.emqx_publish(DEV1, &ticket, "acme/dev1/up").await.body, r#"{"result":"allow"}"#);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let server = Server::start().await;
    let huge = vec![b'x'; 300 * 1024];
    let huge_value = format!("clientid={}", "x".repeat(257 * 1024));
    let bodies: [(&str, &str, &[u8]); 16] = [
        ("empty form", FORM, b""),
        ("empty json", JSON, b""),
        ("huge", JSON, &huge),
        ("huge value", FORM, huge_value.as_bytes()),
        ("not UTF-8", JSON, b"{\"clientid\":\"\xFF\xFE\"}"),
        ("not UTF-8 in a form", FORM, b"clientid=%FF&username=a&password=b&client_id=%FF"),
        ("wrong content type", "text/plain", b"clientid=a&username=b&password=c&client_id=a"),
        ("no content type", "", b"clientid=a&username=b&password=c&client_id=a"),
        ("form as json", JSON, b"clientid=a&username=b"),
        ("array", JSON, b"[]"),
        ("truncated json", JSON, br#"{"clientid":"a","username""#),
        ("numbers", JSON, br#"{"clientid":1,"username":2,"password":3,"client_id":4}"#),
        ("lists", JSON, br#"{"clientid":["a"],"username":["b"],"password":["c"],"client_id":["a"]}"#),
        ("nulls", JSON, br#"{"clientid":null,"username":null,"password":null,"client_id":null}"#),
        ("doubled in json", JSON, br#"{"clientid":"a","clientid":"a","username":"b","password":"c","client_id":"a"}"#),
        ("doubled in a form", FORM, b"clientid=a&clientid=a&username=b&username=b&password=c&client_id=a"),
    ];
    for (what, content_type, body) in bodies {
        for (path, denial) in PATHS {
            let reply = server.raw(&post(path, content_type, body)).await;
            assert_denied(&reply, denial, "Malformed", &format!("{what} to {path}"));
        }
    }
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn each_field_is_needed() {
    let server = Server::start().await;
    let authn = [("clientid", "a"), ("username", "b"), ("password", "c")];
    let authz = [("clientid", "a"), ("action", "publish"), ("topic", "t")];
    let user = [("client_id", "a"), ("username", "b"), ("password", "c")];
    let vhost = [("client_id", "a"), ("username", "b"), ("vhost", "/")];
    for (path, pairs) in
        [("/emqx/v5/authn", authn), ("/emqx/v5/authz", authz), ("/rabbitmq/user", user), ("/rabbitmq/vhost", vhost)]
    {
        let complete = server.form(path, &pairs).await;
        assert_ne!(complete.cause(), "Malformed", "{path}");
        for (missing, _) in pairs {
            let rest: Vec<(&str, &str)> = pairs.into_iter().filter(|(name, _)| *name != missing).collect();
            assert_eq!(server.form(path, &rest).await.cause(), "Malformed", "{path} without {missing}");
        }
    }
}

#[tokio::test]
async fn values_that_a_broker_does_not_send() {
    let server = Server::start().await;
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    let pairs = |name: &'static str, value: &'static str| {
        let base = [("clientid", DEV1), ("action", "publish"), ("topic", "acme/dev1/up"), ("ticket", ticket.as_str())];
        base.into_iter().chain([(name, value)]).collect::<Vec<_>>()
    };
    for (name, value, cause) in [
        ("qos", "", "shop/own-topics rules[0]"),
        ("retain", "", "shop/own-topics rules[0]"),
        ("qos", "3", "Malformed"),
        ("qos", "x", "Malformed"),
        ("retain", "maybe", "Malformed"),
    ] {
        assert_eq!(server.form("/emqx/v5/authz", &pairs(name, value)).await.cause(), cause, "{name}={value}");
    }
}

#[tokio::test]
async fn passwords_and_client_ids_of_every_kind() {
    let server = Server::start().await;
    let long = format!("GID_acme@@@{}", "x".repeat(65_536 - 11));
    for (client_id, password, cause) in [
        (DEV1, "not base64 at all!", "WrongProof"),
        (DEV1, "====", "WrongProof"),
        (DEV1, "AAAA", "WrongProof"),
        (long.as_str(), "AAAA", "ClientIdInvalid"),
        ("\u{0}", "AAAA", "ClientIdInvalid"),
        ("GID_acme@@@\r\nx: y", "AAAA", "ClientIdInvalid"),
    ] {
        let emqx = [("clientid", client_id), ("username", DEV1_USERNAME), ("password", password)];
        assert_denied(&server.form("/emqx/v5/authn", &emqx).await, r#"{"result":"deny"}"#, cause, password);
        let rabbitmq = [("client_id", client_id), ("username", DEV1_USERNAME), ("password", password)];
        assert_denied(&server.form("/rabbitmq/user", &rabbitmq).await, "deny", cause, password);
    }
    let raw = format!(
        "clientid={}&username={}&password=%FF%00%C3",
        form(&[("", DEV1)]).trim_start_matches('='),
        form(&[("", DEV1_USERNAME)]).trim_start_matches('=')
    );
    assert_eq!(server.raw(&post("/emqx/v5/authn", FORM, raw.as_bytes())).await.cause(), "WrongProof");
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn methods_and_paths_that_nobody_serves() {
    let server = Server::start().await;
    for (path, denial) in PATHS {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            assert_denied(&server.raw(&bare(method, path)).await, denial, "Malformed", method);
        }
        for wrong in [format!("{path}/"), format!("{path}/x"), format!("{path}x"), path.replace("/v5", "/v9")] {
            let reply = server.form(&wrong, &[("clientid", "a")]).await;
            assert_denied(&reply, denial, "Malformed", &wrong);
        }
    }
    for path in ["/emqx", "/emqx/", "/emqx/v5", "/emqx//v5/authn", "/rabbitmq", "/rabbitmq/"] {
        assert_eq!((server.form(path, &[]).await).status, 200, "{path}");
    }
    assert_eq!(server.form("/", &[]).await.status, 404);
    assert_eq!(server.form("/metrics", &[]).await.status, 404);
}

#[tokio::test]
async fn heads_that_the_library_refuses_are_denials_too() {
    let server = Server::start().await;
    let long = "a".repeat(70_000);
    let headers = "x: y\r\n".repeat(200);
    for (path, denial) in PATHS {
        let reply = server.raw(&bare("GET", &format!("{path}?topic={long}"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, denial), "long query to {path}");
        let many = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        let reply = server.raw(many.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, denial), "many headers to {path}");
        let reply = server.raw(format!("GET {path} HTTP/9.9\r\nhost: a\r\n\r\n").as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, denial), "wrong version to {path}");
        let reply =
            server.raw(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n").as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, denial), "wrong length to {path}");
    }
    // After a good request on the same connection, and in one write with it.
    let mut wire = Wire::open(server.http).await;
    let good = post("/emqx/v5/authn", FORM, b"clientid=a&username=b&password=c");
    wire.send(&[good, bare("GET", &format!("/emqx/v5/authz?topic={long}"))].concat()).await;
    assert_eq!(wire.reply().await.unwrap().cause(), "UnknownClientId");
    assert_eq!(wire.reply().await.unwrap().body, r#"{"result":"deny"}"#);
    assert!(wire.is_closed().await);
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn a_body_that_is_slow_or_ends_early_is_denied_and_the_connection_closed() {
    let server = Server::start().await;
    for (path, denial) in PATHS {
        let mut wire = Wire::open(server.http).await;
        wire.send(
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {JSON}\r\ncontent-length: 100\r\n\r\n{{")
                .as_bytes(),
        )
        .await;
        let reply = wire.reply().await.unwrap();
        assert_denied(&reply, denial, "Malformed", path);
        assert!(wire.is_closed().await, "{path}");

        let whole = post(path, JSON, b"{\"a\":1}");
        let mut wire = Wire::open(server.http).await;
        wire.send(&whole[..whole.len() - 2]).await;
        wire.finish().await;
        assert_denied(&wire.reply().await.unwrap(), denial, "Malformed", path);
    }
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_hung_up_on() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.http).await;
    wire.send(b"POST /emqx/v5/authn HTTP/1.1\r\nhost: a\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.send(b"x: y\r\n").await;
    assert!(wire.is_closed().await);
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn requests_in_one_write_are_answered_in_order() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.http).await;
    let good = form(&[("clientid", DEV1), ("username", DEV1_USERNAME), ("password", &device_password("DC.1", DEV1))]);
    let requests: Vec<u8> = (0..50)
        .flat_map(|_| {
            [
                post("/emqx/v5/authn", FORM, good.as_bytes()),
                bare("PUT", "/emqx/v5/authn"),
                post("/rabbitmq/vhost", FORM, b""),
            ]
            .concat()
        })
        .collect();
    wire.send(&requests).await;
    for _ in 0..50 {
        assert_eq!(wire.reply().await.unwrap().cause(), "ProofAccepted");
        assert_eq!(wire.reply().await.unwrap().body, r#"{"result":"deny"}"#);
        assert_eq!(wire.reply().await.unwrap().body, "deny");
    }
}

#[tokio::test]
async fn a_panic_is_a_denial_and_the_next_request_is_answered() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let clock = Clock::new(move || if is_broken.load(Relaxed) { panic!("on purpose") } else { START });
    let server = Server::with_clock(clock, Arc::new(AtomicI64::new(START)), None, TIMEOUTS).await;
    server.load_fixture();
    assert_unharmed(&server).await;
    broken.store(true, Relaxed);
    for (path, denial) in PATHS {
        let reply =
            server.form(path, &[("clientid", "a"), ("username", "b"), ("password", "c"), ("client_id", "a")]).await;
        assert_denied(&reply, denial, "InternalError", path);
    }
    broken.store(false, Relaxed);
    assert_unharmed(&server).await;
}

#[tokio::test]
async fn before_anything_is_loaded_everything_is_denied() {
    let server = Server::empty().await;
    for (path, denial) in PATHS {
        let reply = server.form(path, &[("clientid", "a"), ("username", "b"), ("password", "c")]).await;
        assert_denied(&reply, denial, "NotReady", path);
    }
}
