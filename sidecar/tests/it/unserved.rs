//! Brokers that are not served: every question of theirs is refused, in the words that they take for a refusal.

use serde_json::json;

use crate::fixture::{DEV1, DEV1_USERNAME, device_password};
use crate::server::Server;
use crate::wire::{Reply, bare, post};

const DENY: &str = r#"{"result":"deny"}"#;

/// The paths that configurations for rmqtt had, and what might be made of them by hand.
const RMQTT: [&str; 7] =
    ["/rmqtt/auth", "/rmqtt/acl", "/rmqtt", "/rmqtt/", "/rmqtt/super", "/rmqtt/auth/", "/rmqtt/acl/x"];

/// rmqtt takes any other status, and any body but this one, for a permission or for no opinion.
fn is_refused(reply: &Reply, path: &str) {
    let content_type = reply.headers["content-type"].as_str();
    assert_eq!((reply.status, content_type, reply.body.as_str()), (200, "application/json", DENY), "{path}");
    // Their presence alone would make a superuser, or keep an answer.
    assert!(!reply.headers.contains_key("x-superuser") && !reply.headers.contains_key("x-cache"), "{path}");
}

#[tokio::test]
async fn rmqtt_is_refused_everything_however_it_asks() {
    let server = Server::with_modes().await;
    let password = device_password("DC.1", DEV1);
    let login = [("clientid", DEV1), ("username", DEV1_USERNAME), ("password", password.as_str())];
    let publish = [("clientid", DEV1), ("username", DEV1_USERNAME), ("access", "2"), ("topic", "acme/dev1/up")];
    let mut asked = 0;
    for path in RMQTT {
        let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": password});
        for reply in [
            server.form(path, &login).await,
            server.form(path, &publish).await,
            server.get(path, &login).await,
            server.json(path, &body).await,
            server.raw(&bare("DELETE", path)).await,
            server.raw(&post(path, "text/plain", b"\xff")).await,
        ] {
            is_refused(&reply, path);
            assert_eq!(reply.cause(), "BrokerNotServed", "{path}");
            asked += 1;
        }
    }
    let counted = "mqtt_access_sidecar_decisions_total{dialect=\"rmqtt\",action=\"unknown\",verdict=\"deny\",\
                   reason=\"BrokerNotServed\"}";
    assert!((server.metric(counted).await - f64::from(asked)).abs() < 0.5);
}

#[tokio::test]
async fn rmqtt_is_refused_before_there_are_bundles_too() {
    let server = Server::empty().await;
    for path in RMQTT {
        is_refused(&server.form(path, &[("clientid", DEV1)]).await, path);
    }
}

/// The HTTP library answers such a head itself.
#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_in_the_words_of_rmqtt() {
    let server = Server::start().await;
    let path = format!("/rmqtt/acl?topic={}", "a".repeat(70_000));
    is_refused(&server.raw(&bare("GET", &path)).await, "/rmqtt/acl");
}
