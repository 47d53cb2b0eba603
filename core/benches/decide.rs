//! What one decision costs, by number of rules and of devices, and what surrounds it: login, and a request with a ticket.

#![expect(clippy::unwrap_used, reason = "a panic is a failed benchmark")]

mod fleet;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fleet::{INSTANCE_ID, SECRET, bundle, client_id, key_id};
use mqtt_access_core::client::{Client, Map, Mode};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, Session, TenantIndex};
use mqtt_access_core::policy::Qos;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

const NOW: i64 = 1_795_000_000;

fn publish(topic: &str) -> Request<'_> {
    request(Target::Publish(TopicName::parse(topic).unwrap()))
}

fn subscribe(filter: &str) -> Request<'_> {
    request(Target::Subscribe(Filter::parse(filter).unwrap()))
}

fn request(target: Target<'_>) -> Request<'_> {
    Request { target, qos: Qos::try_from(1).ok(), retain: Some(false), notation: Notation::Mqtt }
}

/// The requests with what is expected of them: a benchmark of a wrong answer would be worth nothing.
fn requests() -> [(&'static str, Request<'static>, bool); 6] {
    [
        ("publish allowed", publish("acme/line3/GID_acme@@@d0/state/temperature"), true),
        ("publish denied by a rule", publish("acme/line3/GID_acme@@@d0/firmware"), false),
        ("publish not granted", publish("acme/line3/GID_acme@@@d1/state/temperature"), false),
        ("subscribe allowed", subscribe("acme/line3/GID_acme@@@d0/state/#"), true),
        ("subscribe denied by a rule", subscribe("acme/line3/GID_acme@@@d0/#"), false),
        ("subscribe to everything", subscribe("#"), false),
    ]
}

fn decide(c: &mut Criterion) {
    for (rules, devices) in [(10, 1), (1_000, 1), (10_000, 1), (10, 100_000), (1_000, 100_000), (10_000, 100_000)] {
        let index = TenantIndex::new(bundle(rules, devices), 1).unwrap();
        let (none, labels) = (Map::new(), [("kind".to_owned(), "press".to_owned())].into());
        let id = client_id(0);
        let client = Client {
            client_id: &id,
            client_id_proven: true,
            username: None,
            mode: Mode::DeviceCredential,
            tenant_id: "acme.factory",
            instance_id: INSTANCE_ID,
            tenant_attributes: &none,
            own_attributes: Some(&none),
            labels: Some(&labels),
            access_key: None,
            superuser: false,
            grants: None,
            withheld: None,
        };
        let principal = index.rules().principal(client);
        for (name, request, expected) in requests() {
            assert_eq!(index.rules().decide(&principal, &request).is_allow(), expected, "{name}");
            let size = &format!("{rules} rules, {devices} devices");
            measure(c, name, size, || index.rules().decide(black_box(&principal), black_box(&request)).is_allow());
        }
    }
}

fn measure(c: &mut Criterion, name: &str, size: &str, mut work: impl FnMut() -> bool) {
    c.bench_function(&format!("{name}/{size}"), |bencher| bencher.iter(&mut work));
}

fn session(c: &mut Criterion) {
    for devices in [1, 100_000] {
        let index = BrokerIndex::new([Arc::new(TenantIndex::new(bundle(1_000, devices), 1).unwrap())]);
        let (id, username) = (client_id(0), format!("DeviceCredential|{}|{INSTANCE_ID}", key_id(0)));
        let proof = password(MacAlgorithm::HmacSha1, &Secret::from(SECRET), &id);
        let credentials = Credentials { username: &username, password: proof.as_bytes(), client_id: &id };
        let login = index.login(&credentials, NOW).result.unwrap();
        let session = Session { ticket: login.ticket(), client_id: &id };
        let request = publish("acme/line3/GID_acme@@@d0/state/temperature");
        assert!(index.authorize(session, &request, NOW).verdict.is_allow());
        let size = &format!("1000 rules, {devices} devices");
        measure(c, "login", size, || index.login(black_box(&credentials), NOW).result.is_ok());
        measure(c, "authorize with a ticket", size, || {
            index.authorize(black_box(session), black_box(&request), NOW).verdict.is_allow()
        });
    }
}

criterion_group!(benches, decide, session);
criterion_main!(benches);
