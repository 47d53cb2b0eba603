//! Very many levels with variables at one node: publishes beside them, and the index that holds them.

use std::hint::black_box;
use std::time::Duration;

use mqtt_access_core::client::Map;
use mqtt_access_core::policy::{Effect, Policy};
use mqtt_access_core::topic::TopicName;
use mqtt_access_core::verdict::{Notation, Request, Target};

use crate::{client, compile, everyone, per_call, policy};

pub(crate) fn print() {
    println!();
    println!("levels with variables beside     a publish, usable   not usable   index");
    for effect in [Effect::Deny, Effect::Allow] {
        for count in [0, 4_000, 20_000] {
            let topic = |number: usize| format!("a/x{number}-${{client_attrs.site}}/b");
            let beside = policy("p", everyone(), effect, (0..count).map(topic));
            let rest = policy("q", everyone(), Effect::Allow, std::iter::once("a/+/c".to_owned()));
            let policies = [beside, rest];
            let start = cpu_time();
            drop(compile(&policies));
            let built = cpu_time().saturating_sub(start);
            let usable = publish(&policies, Some("north"));
            let unusable = publish(&policies, None);
            println!("{:<32} {usable:<19?} {unusable:<12?} {built:?}", format!("{count} of {effect:?}"));
        }
    }
    println!();
    memory();
}

fn publish(policies: &[Policy], site: Option<&str>) -> Duration {
    let rules = compile(policies);
    let attributes: Map = site.map(|site| ("site".to_owned(), site.to_owned())).into_iter().collect();
    let principal = rules.principal(client(&attributes));
    let target = Target::Publish(TopicName::parse("a/x7-south/c").unwrap());
    let request = Request { target, qos: None, retain: None, notation: Notation::Mqtt };
    assert!(rules.decide(&principal, &request).is_allow());
    per_call(101, || {
        black_box(rules.decide(black_box(&principal), black_box(&request)));
    })
}

/// What this thread has computed so far: an index is built once, and the machine has other things to do meanwhile.
fn cpu_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default())
}

type TopicOf = fn(usize) -> String;

/// How the Deny topics of a tenant look, and what their index takes.
fn memory() {
    let kinds: [(&str, TopicOf); 4] = [
        ("lines", |number| format!("acme/line{number}/secret/#")),
        ("five levels", |number| {
            format!("a{}/b{}/c{}/d{}/e{number}", number % 10, number % 100, number % 1_000, number % 5)
        }),
        ("16 levels of 300 texts", |number| {
            (0..16).map(|place| format!("t{}", (number * 7 + number / 300 * place) % 300)).collect::<Vec<_>>().join("/")
        }),
        ("variables", |number| format!("a/x{number}-${{client_attrs.site}}/b")),
    ];
    for (kind, topic) in kinds {
        let policies = [policy("p", everyone(), Effect::Deny, (0..COUNT).map(topic))];
        let start = cpu_time();
        let mut rules = None;
        let counted = allocation_counter::measure(|| rules = Some(compile(&policies)));
        let built = cpu_time().saturating_sub(start);
        let bytes_of_each = |bytes: u64| bytes / COUNT as u64;
        let kept = bytes_of_each(u64::try_from(counted.bytes_current).unwrap_or_default());
        let at_most = bytes_of_each(counted.bytes_max);
        println!("index of {COUNT} Deny topics, {kind:<24} {kept:>5} bytes a topic, built in {built:?} with {at_most}");
        drop(rules);
    }
}

const COUNT: usize = 200_000;
