//! Clients with tokens that a backend made itself: with the token key of its access key, and a JWT library that knows nothing
//! of mqtt-access.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::ModeUsername;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act as Use, Claims, token_key};
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Login, root};
use mqtt_access_tests::program::guarded;
use mqtt_access_tests::tools;

use super::cast::Cast;

const LIMIT: Duration = Duration::from_secs(30);

/// A client of its own for each case: who logs in with other tokens and the same client ID is contested for a while.
fn phone(number: u8) -> String {
    format!("GID_acme@@@phone-{number}")
}

/// What policies give to a client ID of that phone.
fn own(number: u8) -> String {
    format!("acme/phone-{number}/#")
}

/// A backend that makes tokens.
struct Issuer {
    key_id: String,
    token_key: Secret,
}

impl Issuer {
    async fn read(light: &FirstLight) -> Self {
        let data = light.secret_data("acme", "acme-backend-access-key").await;
        let key_id = String::from_utf8(data["accessKeyId"].0.clone()).unwrap();
        Self { key_id, token_key: Secret::new(data["tokenKey"].0.clone()) }
    }

    fn claims(&self, act: Use, resource: &str) -> Claims {
        Claims {
            iss: self.key_id.clone(),
            aud: "mqtt-acme".to_owned(),
            iat: now(),
            exp: now() + 600,
            nbf: None,
            jti: format!("{}-{resource}", act.as_str()),
            act,
            res: vec![resource.to_owned()],
            sub: None,
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        mint(&self.token_key, claims)
    }

    /// A login with one token, declared as what it is for.
    fn login(&self, number: u8, claims: &Claims) -> Login {
        self.present(number, &format!("{}|{}", claims.act.as_str(), self.sign(claims)))
    }

    fn present(&self, number: u8, password: &str) -> Login {
        let username = ModeUsername { mode: Mode::Token, key_id: &self.key_id, instance_id: "mqtt-acme" }.to_string();
        Login { client_id: phone(number), username, password: password.to_owned() }
    }
}

/// Runs `tests/python/mint.py`.
fn mint(key: &Secret, claims: &Claims) -> String {
    let mut command = guarded(tools::python());
    command
        .arg(root().join("tests/python/mint.py"))
        .env("TOKEN_KEY", String::from_utf8(key.expose().to_vec()).unwrap());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), claims).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "mint.py failed: run `make test` or tests/setup");
    String::from_utf8(output.stdout).unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn bound(number: u8, claims: Claims) -> Claims {
    Claims { sub: Some(phone(number)), ..claims }
}

pub(crate) async fn a_token_grants_some_of_its_key_s_rights(light: &mut FirstLight, cast: &Cast) {
    light.check.step("clients with tokens");
    let issuer = Issuer::read(light).await;
    light.check.equal("the token key", &issuer.token_key, &token_key(cast.backend.secret()));
    let reader = issuer.login(1, &issuer.claims(Use::R, "acme/dev1/#"));
    light.may(&reader, Subscribe, "acme/dev1/#").await;
    light.may(&reader, Subscribe, "acme/dev1/up").await;
    // The key's policies allow it, the token does not.
    light.may_not(&reader, Subscribe, "acme/dev2/#", "NotGrantedByToken").await;
    light.may_not(&reader, Subscribe, "acme/#", "NotGrantedByToken").await;
    // The token allows it, the key's policies do not.
    let wide = issuer.login(2, &issuer.claims(Use::RW, "#"));
    light.may_not(&wide, Publish, "globex/x", "NotGranted").await;
    light.may_not(&wide, Publish, "acme/phone-2/up", "NotGranted").await;
    // Bound to the client ID, it uses what policies give to that.
    let bound = |number, act| bound(number, issuer.claims(act, &own(number)));
    light.may(&issuer.login(3, &bound(3, Use::W)), Publish, "acme/phone-3/up").await;
    light.may_not(&issuer.login(4, &bound(4, Use::R)), Publish, "acme/phone-4/up", "TokenTypeMismatch").await;
    let pair = format!("W|{}|R|{}", issuer.sign(&bound(5, Use::W)), issuer.sign(&bound(5, Use::R)));
    let mut session = light.connect(&issuer.present(5, &pair)).await;
    light.goes_through(&mut session, Subscribe, &own(5)).await;
    light.goes_through(&mut session, Publish, "acme/phone-5/up").await;
    // Another client with the same client ID: while the broker may still know both, neither has the other's rights. The
    // older one has not subscribed: RabbitMQ would delete its queue when it ends that connection, and a subscription of the
    // newer one in that moment may fail for want of the queue, before the sidecar is asked.
    let session = light.connect(&issuer.login(8, &bound(8, Use::W))).await;
    let other = issuer.login(8, &issuer.claims(Use::R, "acme/dev1/#"));
    light.may_not(&other, Subscribe, "acme/dev1/#", "SessionContested").await;
    drop(session);
}

pub(crate) async fn tokens_that_the_broker_refuses(light: &mut FirstLight, cast: &Cast) {
    light.check.step("tokens that the broker refuses");
    let issuer = Issuer::read(light).await;
    let good = issuer.claims(Use::R, "acme/dev1/#");
    let (token, changed) = (issuer.sign(&good), |change: fn(&mut Claims)| {
        let mut claims = good.clone();
        change(&mut claims);
        issuer.login(6, &claims)
    });
    let forged = mint(cast.backend.secret(), &good);
    let at_home = issuer.login(6, &good);
    let abroad = Login { username: at_home.username.replace("mqtt-acme", "mqtt-globex"), ..at_home.clone() };
    let as_device = Login { client_id: "GID_acme@@@dev1".to_owned(), ..at_home.clone() };
    let cases = [
        ("signed with the AccessKeySecret", issuer.present(6, &format!("R|{forged}")), "TokenSignatureInvalid"),
        ("declared as another type", issuer.present(6, &format!("W|{token}")), "TokenTypeMismatch"),
        ("without its type", issuer.present(6, &token), "TokenMalformed"),
        ("beside one that is none", issuer.present(6, &format!("R|{token}|W|x")), "TokenMalformed"),
        ("twice", issuer.present(6, &format!("R|{token}|R|{token}")), "TokenMalformed"),
        ("expired", changed(|claims| (claims.iat, claims.exp) = (claims.iat - 100, claims.iat - 1)), "TokenExpired"),
        ("of another key", changed(|claims| claims.iss.push('x')), "TokenMalformed"),
        ("for another client", changed(|claims| claims.sub = Some("GID_acme@@@x".to_owned())), "TokenClientIdMismatch"),
        ("at another tenant", abroad, "UnknownKey"),
        ("with a device's client ID", as_device, "ClientIdTaken"),
    ];
    for (what, login, cause) in cases {
        light.stays_out(what, &login, cause).await;
    }
    light.comes_in(&at_home).await;
}

pub(crate) async fn a_revoked_token_ends_its_session(light: &mut FirstLight, _cast: &Cast) {
    light.check.step("tokens are revoked, and the sidecar is restarted");
    let issuer = Issuer::read(light).await;
    let (one, other) = (bound(7, issuer.claims(Use::RW, &own(7))), issuer.claims(Use::R, "acme/dev1/#"));
    let mut session = light.connect(&issuer.login(7, &one)).await;
    light.goes_through(&mut session, Publish, "acme/phone-7/a").await;
    // The grants of an open session outlive the process that gave them.
    light.kill_sidecar().await;
    light.start_sidecar().await;
    light.sidecar().wait_ready(light.admin(), LIMIT).await;
    light.goes_through(&mut session, Publish, "acme/phone-7/b").await;
    revoke(light, &serde_json::json!({"ids": [one.jti]})).await;
    light.is_cut_off(session, Publish, "acme/phone-7/c", "TokenRevoked").await;
    light.stays_out("a revoked token", &issuer.login(7, &one), "TokenRevoked").await;
    light.comes_in(&issuer.login(8, &other)).await;
    let session = light.connect(&issuer.login(8, &other)).await;
    revoke(light, &serde_json::json!({"ids": null, "issuedBefore": "2099-01-01T00:00:00Z"})).await;
    light.is_cut_off(session, Subscribe, "acme/dev1/x", "TokenRevoked").await;
    revoke(light, &serde_json::json!({"issuedBefore": null})).await;
    light.comes_in(&issuer.login(7, &one)).await;
}

async fn revoke(light: &FirstLight, revocations: &serde_json::Value) {
    let patch = serde_json::json!({"spec": {"tokenRevocations": revocations}}).to_string();
    light.edit(&["patch", "-n", "acme", "mqtttenant/acme", "--type=merge", "-p", &patch]).await;
}
