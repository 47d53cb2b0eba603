//! The token service on real parts: a cluster, two replicas of the operator, a sidecar that sees what was issued and
//! revoked, and the vendor's own client.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is a failed test")]

mod token_service {
    pub(crate) mod scene;
    pub(crate) mod vendor;
}

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mqtt_access_tests::certificates::Authority;
use mqtt_access_tests::operator_fixture::{BUNDLES, SOON, TENANTS};
use mqtt_access_tests::wait;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use token_service::scene::{Scene, client_id};
use token_service::vendor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REVOCATIONS: &str = "shop.t.revocations";

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_devices_are_issued_by_the_operator() {
    let scene = Scene::start().await;
    rbac_decides_which_service_accounts_issue(&scene).await;
    an_issued_token_opens_what_it_names_and_its_revocation_reaches_the_sidecar(&scene).await;
    a_revocation_is_known_to_every_replica_and_survives_a_restart(&scene).await;
    what_has_expired_goes_and_a_damaged_list_ends_nothing(&scene).await;
    what_is_no_tls_gets_no_answer_and_keeps_nobody_waiting(&scene).await;
    vendor::the_vendors_client_needs_only_another_endpoint(&scene).await;
    a_new_certificate_is_used_without_a_restart(&scene).await;
    nothing_was_forbidden_or_told(&scene).await;
    a_deleted_tenant_takes_its_revocations_with_it(&scene).await;
}

async fn rbac_decides_which_service_accounts_issue(scene: &Scene) {
    let order = json!({"accessKey": "backend", "actions": "R", "resources": ["shop/t/a"], "expiresIn": 600});
    let [permitted, other] = [scene.bearer("app").await, scene.bearer("other").await];
    let forbidden = scene.first.post("", &other, &order).await;
    assert_eq!(forbidden.status, 403, "{}", forbidden.body);
    let issued = scene.first.post("", &permitted, &order).await;
    assert_eq!(issued.status, 201, "{}", issued.body);
    // The role of `app` has no `delete`.
    let token: Value = serde_json::from_str(&issued.body).unwrap();
    let shown = json!({"token": token.pointer("/token").unwrap()});
    assert_eq!(scene.first.post("/query", &permitted, &shown).await.status, 200);
    assert_eq!(scene.first.post("/revoke", &permitted, &shown).await.status, 403);
    let nobody = scene.first.post("", "Bearer eyJh.eyJi.c2ln", &order).await;
    assert_eq!(nobody.status, 401, "{}", nobody.body);
    println!(
        "RBAC: a ServiceAccount with `create` and `get` issued and queried, and may not revoke; another may nothing"
    );
}

async fn an_issued_token_opens_what_it_names_and_its_revocation_reaches_the_sidecar(scene: &Scene) {
    let token = scene.issue("RW", &["shop/t/a/#"]).await;
    let client = client_id("any");
    let ticket = scene.until_logged_in(&client, &format!("RW|{token}")).await;
    assert_eq!(scene.ask(&client, &ticket, "publish", "shop/t/a/1").await, "allow");
    assert_eq!(scene.ask(&client, &ticket, "publish", "shop/t/b").await, "deny NotGrantedByToken");
    assert_eq!(scene.ask(&client, &ticket, "publish", "shop/closed/x").await, "deny NotGranted");
    let revoking = Instant::now();
    scene.first.revoke(&token).await;
    let answered = revoking.elapsed();
    wait::until("the sidecar to refuse the session", SOON, async || {
        (scene.ask(&client, &ticket, "publish", "shop/t/a/1").await == "deny TokenRevoked").then_some(())
    })
    .await;
    let refused = revoking.elapsed();
    assert_eq!(scene.login(&client, &format!("RW|{token}")).await, Err("TokenRevoked".to_owned()));
    println!("revocation: answered after {answered:?}, an open session refused at the sidecar after {refused:?}");
    assert!(refused < Duration::from_secs(10), "{refused:?}");
}

async fn a_revocation_is_known_to_every_replica_and_survives_a_restart(scene: &Scene) {
    let token = scene.issue("R", &["shop/t/a"]).await;
    assert_eq!(scene.second.query(&token).await, json!(true));
    let revoking = Instant::now();
    scene.first.revoke(&token).await;
    assert_eq!(scene.first.query(&token).await, json!("TokenRevoked"), "read your own writes");
    wait::until("the other replica to know", SOON, async || {
        (scene.second.query(&token).await == json!("TokenRevoked")).then_some(())
    })
    .await;
    println!("revocation: known to the other replica after {:?}", revoking.elapsed());
    // Both at once, so that they write the same Secret: nothing is lost.
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(scene.issue("R", &["shop/t/a"]).await);
    }
    let (ones, others) = tokens.split_at(2);
    let revoke_all = async |replica: &token_service::scene::Replica, tokens: &[String]| {
        for token in tokens {
            replica.revoke(token).await;
        }
    };
    tokio::join!(revoke_all(&scene.first, ones), revoke_all(&scene.second, others));
    let restarted = scene.restart_second().await;
    for token in tokens.iter().chain([&token]) {
        assert_eq!(restarted.query(token).await, json!("TokenRevoked"));
    }
    println!("revocation: {} of two replicas survived a restart", tokens.len() + 1);
}

/// An entry is dropped a minute after its token has expired. A list that is none is left alone, and so is the bundle.
async fn what_has_expired_goes_and_a_damaged_list_ends_nothing(scene: &Scene) {
    let stored = async || {
        let secret = scene.cluster.secret(BUNDLES, REVOCATIONS).await.unwrap();
        serde_json::from_str::<BTreeMap<String, i64>>(&secret.text("revocations")).ok()
    };
    let write = async |text: &str| {
        let patch = json!({"stringData": {"revocations": text}});
        scene.cluster.patch_secret(BUNDLES, REVOCATIONS, &patch).await;
    };
    let before = stored().await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut with_old = before.clone();
    with_old.insert("expired".to_owned(), i64::try_from(now).unwrap() - 61);
    with_old.insert("just expired".to_owned(), i64::try_from(now).unwrap());
    write(&json!(with_old).to_string()).await;
    wait::until("an expired revocation to go", SOON, async || {
        let now = stored().await?;
        (!now.contains_key("expired") && now.contains_key("just expired")).then_some(())
    })
    .await;
    assert!(before.keys().all(|id| with_old.contains_key(id)));
    let token = scene.issue("R", &["shop/t/a"]).await;
    let digest = scene.cluster.bundles().await.tenant("shop", "t").unwrap().digest.clone();
    write("damaged").await;
    scene.operator.wait_for_line("holds no list of revocations", SOON).await;
    let reply = scene.first.post("/revoke", &scene.basic(), &json!({"token": token})).await;
    assert_eq!(reply.status, 500, "{}", reply.body);
    assert_eq!(scene.cluster.bundles().await.tenant("shop", "t").unwrap().digest, digest);
    assert_eq!(scene.cluster.secret(BUNDLES, REVOCATIONS).await.unwrap().text("revocations"), "damaged");
    write(&json!(before).to_string()).await;
    scene.first.revoke(&token).await;
    println!("revocation: an expired one went, a damaged list was left alone");
}

async fn what_is_no_tls_gets_no_answer_and_keeps_nobody_waiting(scene: &Scene) {
    let connect = async || TcpStream::connect(scene.first.address).await.unwrap();
    let mut silent = Vec::new();
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    // More than the listener takes at one time.
    for _ in 0..1200 {
        silent.push(connect().await);
    }
    let mut plain = connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    let asking = Instant::now();
    assert_eq!(scene.first.query("x").await, json!("TokenMalformed"));
    println!("listener: answered after {:?} beside {} silent connections", asking.elapsed(), silent.len());
}

async fn a_new_certificate_is_used_without_a_restart(scene: &Scene) {
    let authority = Authority::new();
    authority.certificate().write(scene.folder());
    let order = json!({"token": "x"});
    let start = Instant::now();
    wait::until("the new certificate", SOON, async || {
        let reply = scene.first.with(&authority).try_post("/query", &scene.basic(), &order).await;
        reply.is_some_and(|reply| reply.status == 200).then_some(())
    })
    .await;
    println!("certificate: a new one in use after {:?}", start.elapsed());
    std::fs::write(scene.folder().join("tls.crt"), "nothing").unwrap();
    scene.operator.wait_for_line("the certificate cannot be used; the last one stays", SOON).await;
    let reply = scene.first.with(&authority).try_post("/query", &scene.basic(), &order).await;
    assert!(reply.is_some_and(|reply| reply.status == 200));
}

async fn nothing_was_forbidden_or_told(scene: &Scene) {
    let events = scene.cluster.plane.audit_since(scene.mark).await;
    let ours = events.iter().filter(|event| event.user == mqtt_access_tests::operator_fixture::OPERATOR);
    let forbidden: Vec<_> = ours.filter(|event| event.code == 403).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let log = scene.operator.stderr();
    let told: Vec<String> = scene.told.lock().unwrap().iter().filter(|secret| log.contains(*secret)).cloned().collect();
    assert!(told.is_empty(), "{told:?}");
    println!("secrets: none of {} tokens and keys in the log", scene.told.lock().unwrap().len());
}

async fn a_deleted_tenant_takes_its_revocations_with_it(scene: &Scene) {
    assert!(scene.cluster.secret(BUNDLES, REVOCATIONS).await.is_some());
    scene.cluster.delete(TENANTS, "shop", "t").await;
    wait::until("the revocations to be gone", SOON, async || {
        scene.cluster.secret(BUNDLES, REVOCATIONS).await.is_none().then_some(())
    })
    .await;
    println!("a deleted tenant took its revocations with it");
}
