//! Token clients: what they are told, by what code they are refused, and that a broker without tickets keeps their grants.

use std::sync::atomic::Ordering::Relaxed;

use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::token::{Act, Claims};
use serde_json::json;

use crate::fixture::START;
use crate::fixture::modes::{self, TOKEN_USERNAME, claims, tokens};
use crate::server::Server;
use crate::wire::Reply;

const TOK: &str = "GID_acme@@@tok";

fn bound(act: Act, resource: &str, seconds: i64) -> Claims {
    Claims { sub: Some(TOK.to_owned()), exp: START + seconds, ..claims(act, &[resource]) }
}

/// Whoever has the access key may read this.
fn reading(topic: &str) -> Policy {
    let rule = Rule {
        index: 0,
        effect: Effect::Allow,
        actions: [Action::Subscribe].into(),
        topics: Topics::Listed(vec![topic.to_owned()]),
        qos: None,
        retain: None,
    };
    let backend = Subject { access_keys: Some(vec!["backend".to_owned()]), ..Subject::default() };
    Policy { name: "reading".to_owned(), subjects: vec![backend], rules: vec![rule] }
}

async fn emqx(server: &Server, password: &str) -> Reply {
    let body = json!({"clientid": TOK, "username": TOKEN_USERNAME, "password": password});
    server.json("/emqx/v5/authn", &body).await
}

async fn user(server: &Server, password: &str) -> Reply {
    let pairs = [("username", TOKEN_USERNAME), ("password", password), ("vhost", "/"), ("client_id", TOK)];
    server.form("/rabbitmq/user", &pairs).await
}

async fn topic(server: &Server, permission: &str, routing_key: &str) -> Reply {
    let pairs = [
        ("username", TOKEN_USERNAME),
        ("resource", "topic"),
        ("name", "amq.topic"),
        ("permission", permission),
        ("routing_key", routing_key),
        ("variable_map.client_id", TOK),
    ];
    server.form("/rabbitmq/topic", &pairs).await
}

async fn vhost(server: &Server) -> Reply {
    let pairs = [("username", TOKEN_USERNAME), ("vhost", "/"), ("client_id", TOK)];
    server.form("/rabbitmq/vhost", &pairs).await
}

#[tokio::test]
async fn a_session_ends_with_the_earliest_token() {
    let server = Server::with_modes().await;
    let reply = emqx(&server, &tokens(&[bound(Act::R, "acme/#", 3600), bound(Act::W, "acme/#", 1800)])).await;
    assert!(reply.body.ends_with(&format!("}},\"expire_at\":{}}}", START + 1800)), "{}", reply.body);
}

#[tokio::test]
async fn refusals_carry_apsaramq_s_code() {
    let server = Server::with_modes().await;
    let mut revoking = modes::bundle();
    revoking.tenant.token_revocations.ids.insert("revoked".to_owned());
    server.serve(&revoking, 12);
    let good = bound(Act::R, "acme/#", 3600);
    let signed = tokens(std::slice::from_ref(&good));
    let foreign = Claims { sub: Some("GID_acme@@@other".to_owned()), ..good.clone() };
    let revoked = Claims { jti: "revoked".to_owned(), ..good.clone() };
    let past = Claims { iat: START - 3600, exp: START, ..good.clone() };
    for (password, cause) in [
        ("RW", "TokenMalformed; code=1".to_owned()),
        (&tokens(&[foreign]), "TokenClientIdMismatch; code=1".to_owned()),
        (&tokens(&[past]), "TokenExpired; code=2".to_owned()),
        (&tokens(&[revoked]), "TokenRevoked; code=3".to_owned()),
        (&signed.replacen("R|", "W|", 1), "TokenTypeMismatch; code=5".to_owned()),
        (&format!("{}AAAA", &signed[..signed.len() - 4]), "TokenSignatureInvalid; code=8".to_owned()),
    ] {
        let reply = emqx(&server, password).await;
        assert_eq!((reply.body.as_str(), reply.cause()), (r#"{"result":"deny"}"#, cause.as_str()));
    }
    let mut suspended = modes::bundle();
    suspended.tenant.suspended = true;
    server.serve(&suspended, 13);
    assert_eq!(emqx(&server, &signed).await.cause(), "Suspended; code=-1");
    for (code, count) in [("1", 2.0), ("2", 1.0), ("3", 1.0), ("5", 1.0), ("8", 1.0), ("-1", 1.0_f64)] {
        let line = format!("mqtt_access_sidecar_token_refusals_total{{code=\"{code}\"}}");
        assert!((server.metric(&line).await - count).abs() < 0.5, "{line}");
    }
}

#[tokio::test]
async fn rabbitmq_s_sessions_keep_their_grants_over_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    first.serve(&modes::bundle(), 11);
    let password = tokens(&[bound(Act::W, "acme/tok/up/#", 3600), bound(Act::R, "acme/tok/down/#", 1800)]);
    assert_eq!(user(&first, &password).await.body, "allow");
    first.now.store(START + 60, Relaxed);
    for (permission, key, cause) in [
        ("write", "acme.tok.up.x", "shop/own-topics rules[0]"),
        ("read", "acme.tok.down.#", "shop/own-topics rules[0]"),
        ("write", "acme.tok.elsewhere", "NotGrantedByToken; code=4"),
        ("read", "acme.tok.up.x", "TokenTypeMismatch; code=5"),
        ("write", "globex.x", "NotGranted; code=-1"),
    ] {
        let reply = topic(&first, permission, key).await;
        assert_eq!((reply.cause(), reply.body == "allow"), (cause, cause.starts_with("shop")), "{permission} {key}");
    }
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    assert_eq!(topic(&second, "write", "acme.tok.up.x").await.body, "allow");
    assert_eq!(topic(&second, "write", "acme.tok.elsewhere").await.cause(), "NotGrantedByToken; code=4");
    second.now.store(START + 1799, Relaxed);
    assert_eq!(vhost(&second).await.body, "allow");
    second.now.store(START + 1800, Relaxed);
    let reply = vhost(&second).await;
    assert_eq!((reply.body.as_str(), reply.cause()), ("deny", "TicketExpired; code=2"), "with the earliest token");
    assert_eq!(vhost(&second).await.cause(), "TicketMissing");
}

#[tokio::test]
async fn of_two_sessions_with_one_client_id_neither_gets_the_other_s_rights() {
    let of_anybody = Claims { exp: START + 3600, ..claims(Act::RW, &["acme/#"]) };
    for strong in [of_anybody, bound(Act::RW, "acme/#", 3600)] {
        neither_gets_more(&tokens(&[strong])).await;
    }
}

async fn neither_gets_more(strong: &str) {
    let server = Server::with_modes().await;
    let mut bundle = modes::bundle();
    bundle.policies.push(reading("acme/#"));
    server.serve(&bundle, 12);
    let weak = tokens(&[Claims { exp: START + 3600, ..claims(Act::R, &["acme/news/#"]) }]);
    let verdicts = async || {
        let asked = [("read", "acme.news.x"), ("read", "acme.orders.x")];
        let [news, orders] = asked.map(|(permission, key)| topic(&server, permission, key));
        (news.await.cause().to_owned(), orders.await.cause().to_owned())
    };
    let told = |news: &str, orders: &str| (news.to_owned(), orders.to_owned());
    let rule = "shop/reading rules[0]";
    assert_eq!(user(&server, &weak).await.body, "allow");
    assert_eq!(verdicts().await, told(rule, "NotGrantedByToken; code=4"));
    // Until the broker has ended the first session, a request may be of either.
    assert_eq!(user(&server, strong).await.body, "allow");
    assert_eq!(verdicts().await, told(rule, "SessionContested"));
    server.now.fetch_add(4, Relaxed);
    assert_eq!(verdicts().await, told(rule, rule));
    // The same tokens again are the same client's.
    assert_eq!(user(&server, strong).await.body, "allow");
    assert_eq!(verdicts().await, told(rule, rule));
    assert_eq!(user(&server, &weak).await.body, "allow");
    assert_eq!(verdicts().await, told(rule, "NotGrantedByToken; code=4"));
}

#[tokio::test]
async fn a_login_name_s_session_is_kept_too() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    first.serve(&modes::bundle(), 11);
    for (username, client_id) in [("named", modes::NAMED), ("imported", "GID_acme@@@imported")] {
        let user = [("username", username), ("password", modes::PASSWORD), ("client_id", client_id)];
        assert_eq!(first.form("/rabbitmq/user", &user).await.body, "allow", "{username}");
    }
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    for (username, client_id) in [("named", modes::NAMED), ("imported", "GID_acme@@@imported")] {
        let vhost = [("username", username), ("vhost", "/"), ("client_id", client_id)];
        assert_eq!(second.form("/rabbitmq/vhost", &vhost).await.body, "allow", "{username}");
    }
}
