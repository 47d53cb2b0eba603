//! Usual filters beside few and many Deny topics.

use std::hint::black_box;

use mqtt_access_core::client::Map;
use mqtt_access_core::policy::{Effect, Policy};
use mqtt_access_core::topic::Filter;
use mqtt_access_core::verdict::{Notation, Request, Target};

use crate::{another, client, compile, everyone, per_call, policy};

/// Filters, and whether they are allowed beside Denies of everyone.
const FILTERS: [(&str, bool); 6] = [
    ("#", false),
    ("+/+/x/#", true),
    ("a3/+/c3/#", false),
    ("a3/+/b", true),
    ("a1/b1/c1/d1/e1", false),
    ("line7/d1/state/temperature", true),
];

pub(crate) fn table() {
    println!("denies   denies of     asked                          verdict   MQTT        dotted");
    for count in [10, 1_000, 10_000, 200_000] {
        for (whom, subject) in [("everyone", everyone()), ("another", another())] {
            let topic = |number: usize| {
                format!("a{}/b{}/c{}/d{}/e{number}", number % 10, number % 100, number % 1_000, number % 5)
            };
            let denies = policy("deny", subject, Effect::Deny, (0..count).map(topic));
            let allows = policy("allow", everyone(), Effect::Allow, std::iter::once("#".to_owned()));
            print(count, whom, &[allows, denies]);
        }
    }
}

fn print(count: usize, whom: &str, policies: &[Policy]) {
    let rules = compile(policies);
    let none = Map::new();
    let principal = rules.principal(client(&none));
    for (filter, allowed) in FILTERS {
        let allowed = allowed || whom == "another";
        let times = [Notation::Mqtt, Notation::Dotted].map(|notation| {
            let target = Target::Subscribe(Filter::parse(filter).unwrap());
            let request = Request { target, qos: None, retain: None, notation };
            assert_eq!(rules.decide(&principal, &request).is_allow(), allowed, "{filter} beside {count}");
            per_call(41, || {
                black_box(rules.decide(black_box(&principal), black_box(&request)));
            })
        });
        let verdict = if allowed { "allowed" } else { "denied" };
        println!("{count:<8} {whom:<13} {filter:<30} {verdict:<9} {:<11} {:?}", format!("{:?}", times[0]), times[1]);
    }
}
