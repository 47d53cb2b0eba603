//! The native API as its callers see it.

mod altered;

use std::sync::atomic::Ordering;

use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_core::token::MAX_LIFETIME;
use serde_json::{Value, json};

use super::super::tests::{Replied, Running, secret, secrets};
use super::*;

const TOKENS: &str = "/v1/namespaces/acme/tenants/main/tokens";

fn basic(key: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("AK.{key}:{secret}")))
}

fn backend() -> String {
    basic("backend", &secret("backend"))
}

async fn post(running: &Running, path: &str, authorization: &str, body: &Value) -> Replied {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, authorization)
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    running.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn order() -> Value {
    json!({"actions": "RW", "resources": ["acme/b/#", "acme/a"], "expiresIn": 600})
}

fn with(change: Value) -> Value {
    let mut order = order();
    let (Some(order_fields), Value::Object(change)) = (order.as_object_mut(), change) else { panic!() };
    for (name, value) in change {
        if value.is_null() {
            order_fields.remove(&name)
        } else {
            order_fields.insert(name, value)
        };
    }
    order
}

async fn token(running: &Running) -> String {
    let reply = post(running, TOKENS, &backend(), &order()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.at("/token").as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_issued_queried_revoked_and_queried_again() {
    let running = Running::start();
    let reply = post(&running, TOKENS, &backend(), &order()).await;
    assert_eq!((reply.status, reply.at("/cut")), (201, json!(false)), "{}", reply.text);
    assert_eq!(reply.headers.get("cache-control").unwrap(), "no-store");
    let shown = json!({"token": reply.at("/token")});
    let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &shown).await;
    assert_eq!((queried.status, queried.at("/valid")), (200, json!(true)), "{}", queried.text);
    assert_eq!(queried.at("/resources"), json!(["acme/a", "acme/b/#"]));
    assert_eq!((queried.at("/id"), queried.at("/expiresAt")), (reply.at("/id"), reply.at("/expiresAt")));
    let revoked = post(&running, &format!("{TOKENS}/revoke"), &backend(), &shown).await;
    assert_eq!((revoked.status, revoked.text.as_str()), (204, ""));
    let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &shown).await;
    assert_eq!(queried.json(), json!({"valid": false, "code": 3, "reason": "TokenRevoked"}));
}

#[tokio::test]
async fn what_could_never_be_used_is_refused_with_its_name() {
    let running = Running::start();
    let cases = [
        (json!(["other/x"]), 403, "other/x"),
        (json!(["acme/a", "other/#"]), 403, "`other/#`"),
        (json!(["acme/secret/x"]), 403, "acme/secret/x"),
        (json!(["$SYS/broker"]), 403, "$SYS/broker"),
        (json!(["$share/g/acme/a"]), 400, "$share/g/acme/a"),
        (json!([""]), 400, "``"),
        (json!(["acme/#/x"]), 400, "acme/#/x"),
        (json!(["acme/\u{0}"]), 400, "no resource"),
        (json!([]), 400, "1 to 100"),
        (json!((0..101).map(|n| format!("acme/{n}")).collect::<Vec<_>>()), 400, "1 to 100"),
        (json!(["a".repeat(70_000)]), 400, "no resource"),
    ];
    for (resources, status, words) in cases {
        let reply = post(&running, TOKENS, &backend(), &with(json!({"resources": resources}))).await;
        assert_eq!((reply.status, reply.at("/error/field")), (status, json!("resources")), "{}", reply.text);
        assert!(reply.text.contains(words), "{words}: {}", reply.text);
    }
    // A part of it can be used, and only that part ever will be.
    assert_eq!(post(&running, TOKENS, &backend(), &with(json!({"resources": ["#"]}))).await.status, 201);
    // Reading what may only be read is fine.
    let read = post(&running, TOKENS, &backend(), &with(json!({"actions": "R", "resources": ["acme/secret/x"]}))).await;
    assert_eq!(read.status, 201, "{}", read.text);
    let hundred: Vec<String> = (0..100).map(|n| format!("acme/{n}")).collect();
    let reply = post(&running, TOKENS, &backend(), &with(json!({"resources": hundred}))).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
}

#[tokio::test]
async fn a_token_that_fits_no_password_is_refused() {
    let running = Running::start();
    let long: Vec<String> = (0..50).map(|n| format!("acme/{n}/{}", "x".repeat(1200))).collect();
    let reply = post(&running, TOKENS, &backend(), &with(json!({"resources": long}))).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    assert!(reply.text.contains("MQTT password"), "{}", reply.text);
}

#[tokio::test]
async fn lifetimes_have_a_least_and_a_most() {
    let running = Running::start();
    for (lifetime, status) in [(0, 400), (59, 400), (-1, 400), (i64::MIN, 400), (60, 201), (MAX_LIFETIME, 201)] {
        let reply = post(&running, TOKENS, &backend(), &with(json!({"expiresIn": lifetime}))).await;
        assert_eq!(reply.status, status, "{lifetime}: {}", reply.text);
    }
    let before = now();
    for lifetime in [json!({"expiresIn": i64::MAX}), json!({"expiresIn": null, "expiresAt": i64::MAX})] {
        let reply = post(&running, TOKENS, &backend(), &with(lifetime)).await;
        assert_eq!((reply.status, reply.at("/cut")), (201, json!(true)), "{}", reply.text);
        let end = reply.at("/expiresAt").as_i64().unwrap();
        assert!((before + MAX_LIFETIME..=now() + MAX_LIFETIME).contains(&end));
    }
    let limited = Running::with(|tenant| tenant.token_max_ttl = Some(300));
    let reply = post(&limited, TOKENS, &backend(), &order()).await;
    assert_eq!((reply.status, reply.at("/cut")), (201, json!(true)), "{}", reply.text);
    for both in [json!({"expiresAt": now() + 100}), json!({"expiresIn": null})] {
        assert_eq!(post(&running, TOKENS, &backend(), &with(both)).await.status, 400);
    }
}

#[tokio::test]
async fn whoever_is_not_known_is_told_so_in_one_way() {
    let running = Running::start();
    let wrong = [
        (TOKENS, basic("backend", "wrong")),
        (TOKENS, basic("nobody", &secret("backend"))),
        (TOKENS, basic("backend", "")),
        (TOKENS, basic("disabled", &secret("disabled"))),
        (TOKENS, "Bearer a.bad.one".to_owned()),
        (TOKENS, "Bearer nonsense".to_owned()),
        ("/v1/namespaces/acme/tenants/none/tokens", backend()),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for (path, authorization) in wrong {
        let reply = post(&running, path, &authorization, &order()).await;
        assert_eq!(reply.status, 401, "{authorization}: {}", reply.text);
        assert!(reply.headers.contains_key("www-authenticate"));
        answers.insert(reply.text);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let nobody = running.send(Request::post(TOKENS).body(Body::from(order().to_string())).unwrap()).await;
    assert_eq!(nobody.status, 401);
    for key in ["plain", "registrar"] {
        let reply = post(&running, TOKENS, &basic(key, &secret(key)), &order()).await;
        assert_eq!(reply.status, 403, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_kubernetes_user_names_the_key_and_rbac_decides() {
    let running = Running::start();
    let user = "Bearer a.good.one";
    let unnamed = post(&running, TOKENS, user, &order()).await;
    assert_eq!((unnamed.status, unnamed.at("/error/field")), (400, json!("accessKey")));
    let unknown = post(&running, TOKENS, user, &with(json!({"accessKey": "none"}))).await;
    assert_eq!((unknown.status, unknown.at("/error/field")), (400, json!("accessKey")));
    // RBAC permits the user; the key itself needs no use but to connect.
    let issued = post(&running, TOKENS, user, &with(json!({"accessKey": "plain"}))).await;
    assert_eq!(issued.status, 201, "{}", issued.text);
    for key in ["registrar", "disabled"] {
        assert_eq!(post(&running, TOKENS, user, &with(json!({"accessKey": key}))).await.status, 403);
    }
    let shown = json!({"token": issued.at("/token")});
    let queried = post(&running, &format!("{TOKENS}/query"), user, &shown).await;
    assert_eq!((queried.at("/valid"), queried.at("/accessKey")), (json!(true), json!("plain")));
    // The holder of another key learns nothing of it.
    let others = post(&running, &format!("{TOKENS}/query"), &backend(), &shown).await;
    assert_eq!(others.json(), json!({"valid": false, "code": 8, "reason": "TokenSignatureInvalid"}));
    assert_eq!(post(&running, &format!("{TOKENS}/revoke"), &backend(), &shown).await.status, 400);
    assert_eq!(post(&running, &format!("{TOKENS}/revoke"), user, &shown).await.status, 204);
    assert_eq!(post(&running, TOKENS, "Bearer a.weak.one", &order()).await.status, 403);
    let none = post(&running, "/v1/namespaces/acme/tenants/none/tokens", user, &order()).await;
    assert_eq!(none.status, 404);
    let mut asked = running.fake.asked.lock().unwrap().clone();
    asked.dedup();
    let expected = ["create acme/main", "get acme/main", "delete acme/main", "create acme/main", "create acme/none"];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn keys_name_themselves_or_nobody() {
    let running = Running::start();
    assert_eq!(post(&running, TOKENS, &backend(), &with(json!({"accessKey": "backend"}))).await.status, 201);
    assert_eq!(post(&running, TOKENS, &backend(), &with(json!({"accessKey": "plain"}))).await.status, 400);
}

#[tokio::test]
async fn a_token_may_be_bound_to_a_client_id_of_the_tenant() {
    let running = Running::start();
    let bound = post(&running, TOKENS, &backend(), &with(json!({"clientId": "GID_acme@@@d"}))).await;
    let shown = json!({"token": bound.at("/token")});
    let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &shown).await;
    assert_eq!(queried.at("/clientId"), json!("GID_acme@@@d"), "{}", queried.text);
    for foreign in ["GID_other@@@d", "", "GID_acme@@@a/b"] {
        let reply = post(&running, TOKENS, &backend(), &with(json!({"clientId": foreign}))).await;
        assert_eq!((reply.status, reply.at("/error/field")), (400, json!("clientId")), "{foreign}");
    }
}

#[tokio::test]
async fn where_sub_is_required_no_token_is_issued_or_good_without_a_client_id() {
    let shown = json!({"token": token(&Running::start()).await});
    let running = Running::with(|tenant| tenant.sessions.require_sub = true);
    let reply = post(&running, TOKENS, &backend(), &order()).await;
    assert_eq!((reply.status, reply.at("/error/field")), (400, json!("clientId")), "{}", reply.text);
    assert!(reply.text.contains("spec.authentication.token.requireSub"), "{}", reply.text);
    // One that was issued before is worth nothing any more, and can still be revoked.
    let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &shown).await;
    assert_eq!(queried.json(), json!({"valid": false, "code": 1, "reason": "TokenWithoutClientId"}));
    assert_eq!(post(&running, &format!("{TOKENS}/revoke"), &backend(), &shown).await.status, 204);
    let bound = post(&running, TOKENS, &backend(), &with(json!({"clientId": "GID_acme@@@d"}))).await;
    assert_eq!(bound.status, 201, "{}", bound.text);
    let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &json!({"token": bound.at("/token")})).await;
    assert_eq!(queried.at("/valid"), json!(true), "{}", queried.text);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_are_refused_without_being_quoted() {
    let running = Running::start();
    let send = async |content_type: &str, body: &str| {
        let request =
            Request::post(TOKENS).header(header::AUTHORIZATION, backend()).header(header::CONTENT_TYPE, content_type);
        running.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let json = "application/json";
    let twice = r#"{"actions":"R","actions":"W","resources":["acme/a"],"expiresIn":600}"#;
    let unknown = r#"{"actions":"R","resources":["acme/a"],"expiresIn":600,"clientid":"hunter2"}"#;
    let typed = r#"{"actions":"R","resources":"hunter2","expiresIn":600}"#;
    for (content_type, body, status) in [
        (json, "", 400),
        (json, "{", 400),
        (json, "[]", 400),
        (json, twice, 400),
        (json, unknown, 400),
        (json, typed, 400),
        (json, r#"{"actions":"X","resources":["acme/a"],"expiresIn":600}"#, 400),
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "actions=R", 415),
    ] {
        let reply = send(content_type, body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        assert!(!reply.text.contains("hunter2"));
    }
    let huge = format!("{{\"actions\":\"{}\"}}", "R".repeat(300 * 1024));
    assert_eq!(send(json, &huge).await.status, 413);
    let token = token(&running).await;
    let shown = json!({"token": token, "extra": 1});
    assert!(!post(&running, &format!("{TOKENS}/revoke"), &backend(), &shown).await.text.contains(&token));
}

#[tokio::test]
async fn only_the_tenants_own_tokens_are_revoked_and_expired_ones_need_not_be() {
    let running = Running::start();
    let path = format!("{TOKENS}/revoke");
    let good = token(&running).await;
    let forged = format!("{}x", &good.get(..good.len() - 1).unwrap());
    for wrong in ["", "a.b.c", "x", &forged] {
        let reply = post(&running, &path, &backend(), &json!({"token": wrong})).await;
        assert_eq!((reply.status, reply.at("/error/field")), (400, json!("token")), "{wrong}: {}", reply.text);
    }
    assert!(running.fake.revoked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_revocation_lasts_as_long_as_the_token_could() {
    // The tenant's limit may be raised after the token was revoked.
    let running = Running::start();
    let long = post(&running, TOKENS, &backend(), &with(json!({"expiresIn": 86400}))).await;
    let limited = Running::with(|tenant| tenant.token_max_ttl = Some(60));
    let revoked = post(&limited, &format!("{TOKENS}/revoke"), &backend(), &json!({"token": long.at("/token")})).await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    let ends: Vec<i64> = limited.fake.revoked.lock().unwrap().values().copied().collect();
    assert_eq!(ends, [long.at("/expiresAt").as_i64().unwrap()]);
}

#[tokio::test]
async fn five_revocations_a_second_and_then_429() {
    let running = Running::start();
    let shown = json!({"token": token(&running).await});
    let path = format!("{TOKENS}/revoke");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let reply = post(&running, &path, &backend(), &shown).await;
        if reply.status == 429 {
            assert_eq!(reply.headers.get("retry-after").unwrap(), "1");
        }
        statuses.push(reply.status);
    }
    assert!(statuses.starts_with(&[204; 5]) && statuses.contains(&429), "{statuses:?}");
}

type Change = fn(&mut mqtt_access_core::bundle::Tenant);

#[tokio::test]
async fn what_the_tenant_forbids_ends_issuing_and_validity() {
    let token = token(&Running::start()).await;
    let cases: [(Change, &str); 3] = [
        (|tenant| tenant.suspended = true, "Suspended"),
        (|tenant| tenant.modes.clear(), "ModeNotAccepted"),
        (|tenant| tenant.token_revocations.issued_before = Some(i64::MAX), "TokenRevoked"),
    ];
    for (change, reason) in cases {
        let running = Running::with(change);
        let queried = post(&running, &format!("{TOKENS}/query"), &backend(), &json!({"token": token})).await;
        assert_eq!((queried.at("/valid"), queried.at("/reason")), (json!(false), json!(reason)));
        let expected = if reason == "TokenRevoked" { 201 } else { 403 };
        assert_eq!(post(&running, TOKENS, &backend(), &order()).await.status, expected);
    }
}

#[tokio::test]
async fn before_the_caches_are_complete_and_after_a_panic_there_is_an_answer() {
    let running = Running::start();
    running.fake.complete.store(false, Ordering::Relaxed);
    let reply = post(&running, TOKENS, &backend(), &order()).await;
    assert_eq!((reply.status, reply.at("/error/code")), (503, json!("NotReady")));
    running.fake.complete.store(true, Ordering::Relaxed);
    let reply = post(&running, TOKENS, "Bearer a.panicking.one", &order()).await;
    assert_eq!((reply.status, reply.at("/error/code")), (500, json!("Internal")));
    for (method, path, status) in [("GET", TOKENS, 405), ("POST", "/v1", 404), ("DELETE", "/none", 404)] {
        let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, backend());
        assert_eq!(running.send(request.body(Body::empty()).unwrap()).await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn no_answer_holds_a_secret_of_a_key() {
    let running = Running::start();
    for body in [order(), with(json!({"resources": ["other"]})), json!({})] {
        let reply = post(&running, TOKENS, &backend(), &body).await;
        assert!(secrets().iter().all(|secret| !reply.text.contains(secret)));
    }
}

#[test]
fn paths_name_a_tenant_and_a_question() {
    let acme = ObjectKey::new("acme", "main");
    assert_eq!(route("/v1/namespaces/acme/tenants/main/tokens"), Some((acme.clone(), Question::Apply)));
    assert_eq!(route("/v1/namespaces/acme/tenants/main/tokens/query"), Some((acme.clone(), Question::Query)));
    assert_eq!(route("/v1/namespaces/acme/tenants/main/tokens/revoke"), Some((acme, Question::Revoke)));
    for path in [
        "/v1",
        "/v1/namespaces/a/tenants/b/tokens/",
        "/v1/namespaces//tenants/b/tokens",
        "/v1/namespaces/A/tenants/b/tokens",
    ] {
        assert_eq!(route(path), None, "{path}");
    }
}
