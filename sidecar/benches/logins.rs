//! What a login costs, mode by mode and refusal by refusal: whole answers to EMQX, from a request's head to the reply, but
//! for the socket. On one thread, so that the figures are those of a core.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed benchmark")]

#[path = "../tests/it/fixture.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod fixture;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use fixture::modes::{self, ALICE, NAMED, PASSWORD, TOKEN_USERNAME, claims, tokens};
use fixture::{DEV1, DEV1_USERNAME, SHARED_USERNAME, START, device_password, shared_password};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use mqtt_access_core::bundle::{AclDelivery, Bundle, ClientIds, Device};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Effect, Rule, Topics};
use mqtt_access_core::token::Act;
use mqtt_access_sidecar::{Clock, Options, Store, router};
use serde_json::json;
use tokio::runtime::Runtime;

const DEVICES: usize = 10_000;
const COST: u32 = 10;
const EACH: Duration = Duration::from_secs(2);
const REFUSALS: usize = 20_000;

struct Bench {
    runtime: Runtime,
    service: TowerToHyperService<axum::Router>,
}

/// A request that is sent again and again, and the reason that it has to be answered with.
struct Case {
    name: &'static str,
    path: &'static str,
    body: String,
    cause: &'static str,
}

fn case(name: &'static str, login: (&str, &str, &str), cause: &'static str) -> Case {
    let (client_id, username, password) = login;
    let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": "192.0.2.1"});
    let path = if password.is_empty() { "/emqx/v5/scram" } else { "/emqx/v5/authn" };
    Case { name, path, body: body.to_string(), cause }
}

/// The tests' tenant with a fleet, and `imported` with a hash as costly as they are by default.
fn bundle() -> Bundle {
    let mut bundle = modes::bundle();
    for device in &mut bundle.devices {
        if let Some(login) = device.login.as_mut().filter(|login| login.name == "imported") {
            login.password = bcrypt::hash(PASSWORD, COST).unwrap().parse().ok().map(Verifier::Slow);
        }
    }
    let template = bundle.devices[0].clone();
    bundle.devices.extend((0..DEVICES).map(|number| Device {
        name: format!("fleet-{number}"),
        client_id: ClientIds::One(format!("GID_acme@@@fleet-{number}")),
        key_id: format!("DC.fleet-{number}"),
        ..template.clone()
    }));
    bundle
}

/// The same with rules in the reply: so many topics for everyone, of which every tenth is denied.
fn inline(topics: usize) -> Bundle {
    let mut bundle = bundle();
    bundle.tenant.acl_delivery = AclDelivery::Inline;
    let topic = |number: usize| {
        format!("acme/${{clientid}}/part-{number}/{}", if number.is_multiple_of(3) { "+" } else { "#" })
    };
    let rule = |(index, number): (u32, usize)| {
        let denies = number % 10 == 9;
        let (effect, topic) = if denies {
            (Effect::Deny, format!("acme/+/part-{}/x", number - 1))
        } else {
            (Effect::Allow, topic(number))
        };
        let actions = [Action::Publish, Action::Subscribe].into();
        Rule { index, effect, actions, topics: Topics::Listed(vec![topic]), qos: None, retain: None }
    };
    bundle.policies[0].rules = (0..).zip(0..topics).map(rule).collect();
    bundle
}

impl Bench {
    fn new(bundle: &Bundle) -> Self {
        let store = Store::in_memory(Clock::new(|| START));
        let refused = store.replace([(fixture::acme_key(), fixture::files(bundle, 1))].into());
        assert!(refused.is_empty(), "{refused:?}");
        let options = Options { cause_header: true, ..Options::default() };
        let service = TowerToHyperService::new(router(Arc::clone(&store), &options));
        Self { runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(), service }
    }

    fn ask(&self, case: &Case) -> Response<axum::body::Body> {
        let request = Request::post(case.path).header("content-type", "application/json");
        let request = request.body(Body::from(case.body.clone())).unwrap();
        self.runtime.block_on(self.service.call(request)).unwrap()
    }

    fn checked(&self, case: &Case) {
        let reply = self.ask(case);
        assert_eq!(reply.headers()["mqtt-access-cause"], case.cause, "{}", case.name);
    }

    fn per_second(&self, case: &Case) {
        self.checked(case);
        let (started, mut count) = (Instant::now(), 0_u32);
        while started.elapsed() < EACH {
            (0..100).for_each(|_| _ = black_box(self.ask(case)));
            count += 100;
        }
        print(case.name, started.elapsed(), count);
    }

    /// Turn by turn, so that whatever else the machine does reaches all alike.
    fn medians(&self, cases: &[Case]) {
        let mut times = vec![Vec::with_capacity(REFUSALS); cases.len()];
        cases.iter().for_each(|case| self.checked(case));
        for _ in 0..REFUSALS {
            for (case, times) in cases.iter().zip(&mut times) {
                let started = Instant::now();
                black_box(self.ask(case));
                times.push(started.elapsed());
            }
        }
        for (case, times) in cases.iter().zip(&mut times) {
            times.sort_unstable();
            println!("  {:<34} {:>9.2} us", case.name, times[REFUSALS / 2].as_secs_f64() * 1e6);
        }
    }
}

fn print(name: &str, took: Duration, count: u32) {
    let each = took / count;
    println!("  {name:<34} {:>9.0} /s  {:>9.2} us", 1.0 / each.as_secs_f64(), each.as_secs_f64() * 1e6);
}

fn bcrypt_check() {
    let hash = bcrypt::hash(PASSWORD, COST).unwrap();
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < EACH {
        assert!(bcrypt::verify(black_box(PASSWORD), &hash).unwrap());
        count += 1;
    }
    print("a bcrypt check, cost 10", started.elapsed(), count);
}

fn main() {
    let bench = Bench::new(&bundle());
    let (any, off) = ("GID_acme@@@any", "GID_acme@@@off");
    let (right, shared, of_off) = (device_password("DC.1", DEV1), shared_password(any), device_password("DC.3", off));
    let (accepted, token) = ("ProofAccepted", tokens(&[claims(Act::RW, &["acme/#"])]));
    let cases = [
        case("Signature", (any, SHARED_USERNAME, &shared), accepted),
        case("DeviceCredential", (DEV1, DEV1_USERNAME, &right), accepted),
        case("Token", (any, TOKEN_USERNAME, &token), accepted),
        case("SCRAM, a user's keys", (NAMED, "named", ""), "KeysIssued"),
        case("SCRAM, a decoy's keys", (NAMED, "nobody", ""), "UnknownKey"),
        case("Password, generated", (ALICE, "alice", PASSWORD), accepted),
        case("Password, slow and remembered", ("GID_acme@@@imported", "imported", PASSWORD), accepted),
    ];
    println!("logins per second and core, {DEVICES} devices");
    cases.iter().for_each(|case| bench.per_second(case));
    for topics in [2, 10, 60] {
        println!("the same with the client's rules in the reply: {topics} topics in its policies");
        let bench = Bench::new(&inline(topics));
        cases.iter().for_each(|case| bench.per_second(case));
        let reply = bench.ask(&cases[1]).into_body();
        let bytes = bench.runtime.block_on(axum::body::to_bytes(reply, usize::MAX)).unwrap();
        assert!(bytes.windows(6).any(|found| found == b"\"acl\":"), "a list");
        println!("  a reply has {} bytes", bytes.len());
    }
    bcrypt_check();
    println!("medians of refusals");
    bench.medians(&[
        case("unknown instance", (DEV1, "DeviceCredential|DC.1|mqtt-none", &right), "UnknownInstance"),
        case("unknown key", (DEV1, "DeviceCredential|DC.0|mqtt-acme", &right), "UnknownKey"),
        case("wrong MAC", (DEV1, DEV1_USERNAME, &of_off), "WrongProof"),
        case("disabled", (off, "DeviceCredential|DC.3|mqtt-acme", &of_off), "Disabled"),
    ]);
}
