//! `/explain`: the bundle that is served explains itself, to whoever sits on the same machine.

use serde_json::Value;

use crate::fixture::{self, DEV1};
use crate::server::Server;
use crate::wire::{Reply, form, post};

async fn ask(server: &Server, pairs: &[(&str, &str)]) -> Reply {
    server.probe(&format!("/explain?{}", form(pairs))).await
}

async fn explain(server: &Server, client_id: &str, action: &str, topic: &str) -> Value {
    let reply = ask(server, &[("client_id", client_id), ("action", action), ("topic", topic)]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    serde_json::from_str(&reply.body).unwrap()
}

#[tokio::test]
async fn it_is_off_unless_it_is_asked_for() {
    let server = Server::start().await;
    let reply = ask(&server, &[("client_id", DEV1), ("action", "publish"), ("topic", "acme/dev1/up")]).await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn it_has_the_verdict_the_cause_and_the_near_misses_of_the_bundle_in_service() {
    let server = Server::explaining().await;
    let answer = explain(&server, DEV1, "publish", "acme/dev1/up").await;
    assert_eq!((&answer["verdict"], &answer["revision"]), (&"Allow".into(), &10.into()));
    assert_eq!((&answer["tenant"], &answer["instanceId"]), (&"shop/acme".into(), &"mqtt-acme".into()));
    let client = &answer["clients"][0];
    assert_eq!(client["mode"], "DeviceCredential");
    assert_eq!(client["cause"], client["matched"][0]["rule"]);
    let refused = explain(&server, DEV1, "publish", "acme/dev2/up").await;
    let client = &refused["clients"][0];
    assert_eq!((&refused["verdict"], &client["cause"]), (&"Deny".into(), &"NotGranted".into()));
    assert_eq!(client["near"][0]["why"], "OtherValue", "{refused}");

    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    server.serve(&disabled, 12);
    let answer = explain(&server, DEV1, "publish", "acme/dev1/up").await;
    assert_eq!((&answer["revision"], &answer["clients"][0]["cause"]), (&12.into(), &"Disabled".into()));
}

#[tokio::test]
async fn it_says_what_brokers_are_answered() {
    let server = Server::explaining().await;
    let password = fixture::device_password("DC.1", DEV1);
    let ticket = server.emqx_ticket(DEV1, fixture::DEV1_USERNAME, &password).await;
    for topic in ["acme/dev1/up", "acme/dev2/up", "acme", "globex/x", "$SYS/x"] {
        let broker = server.emqx_publish(DEV1, &ticket, topic).await;
        let answer = explain(&server, DEV1, "publish", topic).await;
        assert_eq!(answer["clients"][0]["cause"], broker.cause(), "{topic}");
    }
}

#[tokio::test]
async fn no_secret_is_told() {
    let server = Server::explaining().await;
    server.serve(&fixture::modes::bundle(), 11);
    let mut told = String::new();
    for action in ["publish", "subscribe"] {
        for (name, value) in [("username", ""), ("access_key", "backend"), ("username", "alice")] {
            let pairs = [("client_id", DEV1), ("action", action), ("topic", "acme/x"), (name, value)];
            told += &ask(&server, &pairs).await.body;
        }
    }
    assert!(told.contains("\"verdict\""), "{told}");
    for secret in ["secret of", "ecret\"", "passwordHash", "ticket", "storedKey", "verifier"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

/// A page whose own name was made to resolve to this machine sends that name.
#[tokio::test]
async fn only_requests_that_name_loopback_are_answered() {
    let server = Server::explaining().await;
    let query = form(&[("client_id", DEV1), ("action", "publish"), ("topic", "acme/dev1/up")]);
    let status = async |host: &str| {
        let request = format!("GET /explain?{query} HTTP/1.1\r\n{host}\r\n");
        server.admin_raw(request.as_bytes()).await.status
    };
    for host in ["localhost", "LOCALHOST:9090", "127.0.0.1", "127.0.0.1:9090", "[::1]:9090"] {
        assert_eq!(status(&format!("host: {host}\r\n")).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:9090",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::]",
        "",
    ] {
        assert_ne!(status(&format!("host: {host}\r\n")).await, 200, "{host}");
    }
    let reply =
        server.admin_raw(format!("GET /explain?{query} HTTP/1.1\r\nhost: evil.example\r\n\r\n").as_bytes()).await;
    assert!(reply.status == 421 && !reply.body.contains("acme"), "{}", reply.body);
    assert_ne!(status("").await, 200);
}

#[tokio::test]
async fn what_is_malformed_is_told_by_its_name() {
    let server = Server::explaining().await;
    let good = [("client_id", DEV1), ("action", "publish"), ("topic", "a")];
    for (name, value, expected) in [
        ("action", "read", "`action`"),
        ("topic", "a/#", "`topic`"),
        ("topic", "", "`topic`"),
        ("qos", "3", "`qos`"),
        ("qos", "x", "`qos`"),
        ("retain", "maybe", "`retain`"),
        ("mode", "Basic", "`mode`"),
    ] {
        let mut pairs: Vec<_> = good.into_iter().filter(|(known, _)| *known != name).collect();
        pairs.push((name, value));
        let reply = ask(&server, &pairs).await;
        assert_eq!(reply.status, 400, "{name}={value}: {}", reply.body);
        assert!(reply.body.contains(expected), "{name}={value}: {}", reply.body);
    }
    for missing in ["client_id", "action", "topic"] {
        let pairs: Vec<_> = good.into_iter().filter(|(known, _)| *known != missing).collect();
        let reply = ask(&server, &pairs).await;
        assert!(reply.status == 400 && reply.body.contains(&format!("`{missing}`")), "{missing}: {}", reply.body);
    }
    assert_eq!(server.probe("/explain?client_id=a&client_id=b").await.status, 400);
    assert_eq!(server.probe("/explain?client_id=%FF&action=publish&topic=a").await.status, 400);
    assert_eq!(server.probe("/explain").await.status, 400);
}

#[tokio::test]
async fn who_is_unknown_is_told_so() {
    let server = Server::explaining().await;
    for (client_id, extra, expected) in [
        ("nobody", ("mode", ""), "no tenant in service owns"),
        ("GID_acme@@@nobody", ("mode", ""), "no DeviceCredential has the client ID"),
        (DEV1, ("access_key", "none"), "no access key `none`"),
        (DEV1, ("username", "none"), "login name `none`"),
    ] {
        let reply = ask(&server, &[("client_id", client_id), ("action", "publish"), ("topic", "a"), extra]).await;
        assert!(reply.status == 404 && reply.body.contains(expected), "{client_id}: {} {}", reply.status, reply.body);
    }
    let empty = Server::explaining_before_anything().await;
    assert_eq!(ask(&empty, &[("client_id", DEV1), ("action", "publish"), ("topic", "a")]).await.status, 503);
}

#[tokio::test]
async fn the_longest_topics_are_answered_in_few_words() {
    let server = Server::explaining().await;
    let deep = format!("acme/dev2/{}", vec!["a"; 10_000].join("/"));
    let longest = format!("acme/dev2/{}", "é".repeat((65_535 - 10) / 2));
    for topic in [&deep, &longest] {
        for action in ["publish", "subscribe"] {
            let body = form(&[("client_id", DEV1), ("action", action), ("topic", topic)]);
            let request = post("/explain", "application/x-www-form-urlencoded", body.as_bytes());
            let reply = server.admin_raw(&request).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            assert!(reply.body.contains("OtherValue") && reply.body.len() < 4_096, "{} bytes", reply.body.len());
        }
    }
    let too_long = form(&[("client_id", DEV1), ("action", "publish"), ("topic", &"a".repeat(65_536))]);
    let reply = server.admin_raw(&post("/explain", "application/x-www-form-urlencoded", too_long.as_bytes())).await;
    assert!(reply.status == 400 && reply.body.contains("`topic`"), "{}", reply.body);
}
