//! A decision allocates nothing: what it costs does not hang on the allocator, and it cannot run out of memory.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use allocation_counter::measure;
use mqtt_access_core::client::{Client, Grant, Map, Mode};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

fn rule(index: u32, effect: Effect, topics: &[&str]) -> Rule {
    let topics = Topics::Listed(topics.iter().map(ToString::to_string).collect());
    Rule { index, effect, actions: [Action::Publish, Action::Subscribe].into(), topics, qos: None, retain: None }
}

fn rules() -> Rules {
    let everyone = Subject { everyone: true, ..Subject::default() };
    let allow = ["a/${clientid}/#", "b/x${client_attrs.site}/+", "eq c/+", "d.e/#", "+/+/${username}"];
    let deny = ["a/${clientid}/secret", "b/${client_attrs.none}/z", "eq a/+/q", "d.e/x"];
    let rules = vec![rule(0, Effect::Allow, &allow), rule(1, Effect::Deny, &deny)];
    let policy = Policy { name: "p".to_owned(), subjects: vec![everyone], rules };
    Rules::compile("acme", [&policy], ["a/#", "b/#"]).unwrap()
}

#[test]
fn a_decision_allocates_nothing() {
    let rules = rules();
    let (attributes, grants): (Map, _) = ([("site".to_owned(), "north".to_owned())].into(), [grant()]);
    let client = Client {
        client_id: "c1",
        client_id_proven: true,
        username: None,
        mode: Mode::Signature,
        tenant_id: "acme.t",
        instance_id: "mqtt-acme",
        tenant_attributes: &attributes,
        own_attributes: None,
        labels: None,
        access_key: Some("backend"),
        superuser: true,
        grants: Some(&grants),
        withheld: None,
    };
    let unproven = Client { client_id_proven: false, ..client };
    let mut allowed = 0;
    for client in [client, unproven] {
        let principal = rules.principal(client);
        for notation in [Notation::Mqtt, Notation::Dotted] {
            for topic in ["a/c1/x", "a/c1/secret", "b/xnorth/y", "b/any/z", "c/+", "a/#", "#", "+/+/+", "d/e", "$x"] {
                let name = TopicName::parse(topic).map(Target::Publish);
                let targets = name.into_iter().chain([Target::Subscribe(Filter::parse(topic).unwrap())]);
                for target in targets {
                    let request = Request { target, qos: None, retain: None, notation };
                    let mut allow = false;
                    let counted = measure(|| allow = rules.decide(&principal, &request).is_allow());
                    assert_eq!(counted.count_total, 0, "{request:?}");
                    allowed += u32::from(allow);
                }
            }
        }
    }
    assert!(allowed > 5, "only {allowed} requests were allowed");
    assert!(measure(|| drop(rules.principal(client))).count_total > 0, "the counter counts");
}

fn grant() -> Grant {
    Grant { filter: "#".to_owned(), publish: true, subscribe: true }
}
