//! What a refusal costs, by its reason: a client that measures it must not learn why it failed.

#![expect(clippy::unwrap_used, reason = "a panic is a failed benchmark")]

mod fleet;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fleet::{INSTANCE_ID, SECRET, bundle, client_id, key_id};
use mqtt_access_core::bundle::{AccessKey, AclDelivery, Bundle, KeyUse, Spares};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, TenantIndex};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims, token_key};

const NOW: i64 = 1_795_000_000;
const DEVICES: usize = 10_000;
/// No device of the fleet has it.
const FREE: &str = "GID_acme@@@free";

/// Who logs in, and how that differs from what would be accepted.
struct Case {
    name: &'static str,
    change: fn(&mut Bundle),
    key: &'static str,
    instance: &'static str,
    secret: &'static str,
    /// The reason of the refusal, or one for each mode; none where there is no refusal.
    expected: &'static str,
}

const fn case(name: &'static str, change: fn(&mut Bundle), expected: &'static str) -> Case {
    Case { name, change, key: "", instance: INSTANCE_ID, secret: SECRET, expected }
}

fn disable(bundle: &mut Bundle) {
    bundle.devices.iter_mut().take(1).for_each(|device| device.disabled = true);
    bundle.tenant.access_keys.iter_mut().for_each(|key| key.disabled = true);
}

fn expire(bundle: &mut Bundle) {
    bundle.devices.iter_mut().take(1).for_each(|device| device.expires_at = Some(NOW));
}

const CASES: [Case; 7] = [
    case("accepted", |_| {}, ""),
    Case { instance: "mqtt-none", ..case("unknown instance", |_| {}, "UnknownInstance") },
    Case { key: "none", ..case("unknown key", |_| {}, "UnknownKey") },
    Case { secret: "wrong", ..case("wrong secret", |_| {}, "WrongProof TokenSignatureInvalid") },
    case("disabled", disable, "Disabled"),
    case("suspended", |bundle| bundle.tenant.suspended = true, "Suspended"),
    case("expired", expire, "Expired TokenExpired"),
];

fn whole(change: fn(&mut Bundle)) -> BrokerIndex {
    let mut bundle = bundle(10, DEVICES);
    bundle.tenant.modes = vec![Mode::Signature, Mode::DeviceCredential, Mode::Token];
    bundle.tenant.access_keys = vec![AccessKey {
        name: "backend".to_owned(),
        id: "AK.1".to_owned(),
        secret: Some(Secret::from(SECRET)),
        disabled: false,
        generated: true,
        client_id_prefixes: None,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
    }];
    change(&mut bundle);
    BrokerIndex::new([Arc::new(TenantIndex::new(bundle, 1).unwrap())])
}

fn token(case: &Case, key: &str) -> String {
    let past = if case.name == "expired" { 100 } else { 0 };
    let claims = Claims {
        iss: key.to_owned(),
        aud: case.instance.to_owned(),
        iat: NOW - past,
        exp: NOW - past + 60,
        nbf: None,
        jti: "t1".to_owned(),
        act: Act::RW,
        res: vec!["acme/#".to_owned(); 10],
        sub: None,
    };
    format!("RW|{}", claims.sign(&token_key(&Secret::from(case.secret))).unwrap())
}

fn logins(c: &mut Criterion) {
    for mode in [Mode::Signature, Mode::DeviceCredential, Mode::Token] {
        let mut group = c.benchmark_group(format!("{} login", mode.as_str()));
        // An access key never expires.
        for case in CASES.iter().filter(|case| mode != Mode::Signature || case.name != "expired") {
            let index = whole(case.change);
            let (known, client_id) = if mode == Mode::DeviceCredential {
                (key_id(0), client_id(0))
            } else {
                ("AK.1".to_owned(), FREE.to_owned())
            };
            let key = if case.key.is_empty() { known } else { case.key.to_owned() };
            let username = format!("{}|{key}|{}", mode.as_str(), case.instance);
            let password = match mode {
                Mode::Token => token(case, &key),
                _ => password(MacAlgorithm::HmacSha1, &Secret::from(case.secret), &client_id),
            };
            let credentials = Credentials { username: &username, password: password.as_bytes(), client_id: &client_id };
            let reason = index.login(&credentials, NOW).result.err().map_or("", |reason| reason.as_str());
            assert!(reason == case.expected || case.expected.split(' ').any(|expected| expected == reason), "{reason}");
            group.bench_function(case.name, |bencher| {
                bencher.iter(|| index.login(black_box(&credentials), NOW).result.is_ok());
            });
        }
        group.finish();
    }
}

/// What the client's rules in the reply cost: of 10 and 50 rules in the tenant, those of one device.
fn with_rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("DeviceCredential login");
    for (rules, delivery) in [(10, AclDelivery::Http), (10, AclDelivery::Inline), (50, AclDelivery::Inline)] {
        let mut bundle = bundle(rules, DEVICES);
        bundle.tenant.acl_delivery = delivery;
        let index = BrokerIndex::new([Arc::new(TenantIndex::new(bundle, 1).unwrap())]);
        let (client_id, username) = (client_id(0), format!("DeviceCredential|{}|{INSTANCE_ID}", key_id(0)));
        let password = password(MacAlgorithm::HmacSha1, &Secret::from(SECRET), &client_id);
        let credentials = Credentials { username: &username, password: password.as_bytes(), client_id: &client_id };
        let login = index.login(&credentials, NOW).result.unwrap();
        let listed = login.acl().map_or(0, |acl| acl.rules().count());
        assert!(delivery == AclDelivery::Inline || listed == 0);
        group.bench_function(format!("{delivery:?}, {rules} rules, {listed} listed"), |bencher| {
            bencher.iter(|| index.login(black_box(&credentials), NOW).result.is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, logins, with_rules);
criterion_main!(benches);
