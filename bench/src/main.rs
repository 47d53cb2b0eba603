//! What a decision costs beside those of others on the same rules, in one process; what the index costs; and the worst that
//! policies and topics can do to it. `make bench` runs it.
//!
//! Each figure is the median of many batches, and in parentheses the fastest. Before anything is measured, all are asked the
//! same questions and have to give the same answer.

#[path = "../../core/benches/fleet.rs"]
mod fleet;
#[path = "../../tests/src/models"]
mod models {
    pub(crate) mod written;
}
mod cedar;
mod linear;
mod time;
mod worst;

use std::hint::black_box;

use allocation_counter::measure;
use mqtt_access_core::client::{Client, Map, Mode};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::Qos;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

use fleet::{INSTANCE_ID, bundle, client_id};
use time::per_call;

fn main() {
    println!(
        "rules  devices  asked                       mqtt-access      list per client  list, rendered   cedar-policy"
    );
    for rules in [10, 1_000, 10_000] {
        for devices in [1, 1_000, 100_000] {
            decisions(rules, devices);
        }
    }
    println!();
    memory();
    worst::print();
}

/// Whom the fleet's policies are about: its first device.
pub(crate) fn first_device<'a>(id: &'a str, none: &'a Map, labels: &'a Map) -> Client<'a> {
    Client {
        client_id: id,
        client_id_proven: true,
        username: None,
        mode: Mode::DeviceCredential,
        tenant_id: "acme.factory",
        instance_id: INSTANCE_ID,
        tenant_attributes: none,
        own_attributes: Some(none),
        labels: Some(labels),
        access_key: None,
        superuser: false,
        grants: None,
        withheld: None,
    }
}

pub(crate) fn publish(name: &str) -> Request<'_> {
    request(Target::Publish(TopicName::parse(name).expect("a name")))
}

pub(crate) fn subscribe(filter: &str) -> Request<'_> {
    request(Target::Subscribe(Filter::parse(filter).expect("a filter")))
}

fn request(target: Target<'_>) -> Request<'_> {
    Request { target, qos: Qos::try_from(1).ok(), retain: Some(false), notation: Notation::Mqtt }
}

/// The last line of the fleet, so that a list has to be read to its end.
fn asked(rules: usize) -> [(&'static str, String, bool, bool); 5] {
    let last = (rules / 30 * 30).saturating_sub(30);
    let line = format!("acme/line{}", last + 3);
    [
        ("publish, allowed", format!("{line}/GID_acme@@@d0/state/temperature"), true, true),
        ("publish, denied by a rule", format!("{line}/GID_acme@@@d0/firmware"), true, false),
        ("publish, not granted", format!("{line}/GID_acme@@@d1/state/temperature"), true, false),
        ("subscribe, allowed", format!("{line}/GID_acme@@@d0/state/temperature"), false, true),
        ("subscribe, denied by a rule", format!("{line}/GID_acme@@@d0/firmware"), false, false),
    ]
}

fn decisions(rules: usize, devices: usize) {
    let bundle = bundle(rules, devices);
    let policies = bundle.policies.clone();
    let index = TenantIndex::new(bundle, 1).expect("topics are valid");
    let (none, labels, id) = (Map::new(), Map::from([("kind".to_owned(), "press".to_owned())]), client_id(0));
    let client = first_device(&id, &none, &labels);
    let principal = index.rules().principal(client);
    let of_client = index.rules().of_client(&principal);
    let rendered = linear::Rendered::of(&policies);
    let cedar = cedar::Cedar::of(rules, devices);
    for (what, topic, publishes, expected) in asked(rules) {
        let request = if publishes { publish(&topic) } else { subscribe(&topic) };
        let asked_of_cedar = cedar.request(&id, &topic, publishes);
        let answers = [
            index.rules().decide(&principal, &request).is_allow(),
            models::written::judge(&of_client, &request).0,
            rendered.allows(&client, &topic, publishes),
            cedar.allows(&asked_of_cedar),
        ];
        assert_eq!(answers, [expected; 4], "{what} {topic} with {rules} rules");
        let figures = [
            per_call(|| index.rules().decide(black_box(&principal), black_box(&request)).is_allow()),
            per_call(|| models::written::judge(black_box(&of_client), black_box(&request)).0),
            per_call(|| rendered.allows(black_box(&client), black_box(&topic), publishes)),
            per_call(|| cedar.allows(black_box(&asked_of_cedar))),
        ];
        let [ours, list, emqx, cedar] = figures.map(|figure| figure.to_string());
        println!("{rules:>5}  {devices:>7}  {what:<27} {ours:<16} {list:<16} {emqx:<16} {cedar}");
    }
}

fn memory() {
    let mut kept = None;
    let mut bytes = |rules, devices| {
        let counted = measure(|| kept = Some(TenantIndex::new(bundle(rules, devices), 1).expect("topics are valid")));
        drop(kept.take());
        usize::try_from(counted.bytes_current).expect("more is kept than was there")
    };
    let (none, many) = (bytes(1_000, 0), bytes(1_000, 100_000));
    println!("{:<72} {} bytes", "a device in the index, all its data included", (many - none) / 100_000);
    for rules in [1_000, 10_000] {
        println!(
            "{:<72} {} bytes",
            format!("a rule with two topics in the index, of {rules}"),
            bytes(rules, 0) / rules
        );
    }
}
