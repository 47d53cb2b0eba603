//! What adversaries can make it cost: many policies, rules that all overlap, values that make every rule grow, long topics.

use std::time::Instant;

use allocation_counter::measure;
use mqtt_access_core::bundle::Bundle;
use mqtt_access_core::client::Map;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::verdict::{Notation, Request};

use crate::fleet::{bundle, client_id};
use crate::time::per_call;
use crate::{first_device, publish, subscribe};

const RULES: u32 = 10_000;

pub(crate) fn print() {
    many_policies();
    overlapping();
    long();
    globs();
}

fn policy(name: &str, subject: Subject, effect: Effect, topics: impl Iterator<Item = String>) -> Policy {
    let rule = |(index, topic)| Rule {
        index,
        effect,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: Topics::Listed(vec![topic]),
        qos: None,
        retain: None,
    };
    Policy { name: name.to_owned(), subjects: vec![subject], rules: (0..).zip(topics).map(rule).collect() }
}

fn everyone() -> Subject {
    Subject { everyone: true, ..Subject::default() }
}

fn line(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<72} {figure}");
}

fn ask(what: &str, policies: &[Policy], request: &Request<'_>) {
    let rules = Rules::compile("acme", policies, ["#"]).expect("topics are valid");
    let (none, id) = (Map::new(), client_id(0));
    let principal = rules.principal(first_device(&id, &none, &none));
    line(what, per_call(|| rules.decide(&principal, request).is_allow()));
}

/// Each with subjects of its own, all of which select everyone.
fn many_policies() {
    for count in [5_000, 10_000] {
        let one = |number: usize| {
            let subject = Subject {
                client_ids: Some(vec![format!("GID_*{}", "*".repeat(number % 7)), format!("x{number}")]),
                ..Subject::default()
            };
            policy(
                &format!("p{number:05}"),
                subject,
                Effect::Allow,
                std::iter::once(format!("acme/p{number}/${{clientid}}/#")),
            )
        };
        let bundle = Bundle { policies: (0..count).map(one).collect(), ..bundle(10, 100) };
        let (mut kept, start) = (None, Instant::now());
        let counted = measure(|| kept = Some(TenantIndex::new(bundle, 1).expect("topics are valid")));
        let mebibytes = counted.bytes_current.max(0) / (1024 * 1024);
        let figure = format!("{:.0} ms, {mebibytes} MiB", start.elapsed().as_secs_f64() * 1e3);
        line(&format!("index of {count} policies that select all of 100 devices"), figure);
        let index = kept.expect("an index");
        let (none, id) = (Map::new(), client_id(0));
        let principal = index.rules().principal(first_device(&id, &none, &none));
        let request = publish("acme/p77/GID_acme@@@d0/x");
        assert!(index.rules().decide(&principal, &request).is_allow());
        line(
            &format!("publish, {count} policies apply"),
            per_call(|| index.rules().decide(&principal, &request).is_allow()),
        );
    }
}

/// Subscriptions that may reach what each of many Deny rules protects, none of which is the client's.
fn overlapping() {
    let others = Subject { access_keys: Some(vec!["another".to_owned()]), ..Subject::default() };
    let spread =
        |number: u32| format!("a{}/b{}/c{}/d{}/e{number}", number % 10, number % 100, number % 1_000, number % 5);
    let denies = [policy("p", others, Effect::Deny, (0..RULES).map(spread))];
    for filter in ["+/+/+/+/#", "#", "a1/+/+/+/+"] {
        ask(&format!("subscribe `{filter}`, {RULES} Deny rules of others"), &denies, &subscribe(filter));
    }
    let denies = [policy("p", everyone(), Effect::Deny, (0..RULES).map(spread))];
    ask(&format!("subscribe `+/+/+/+/#`, {RULES} Deny rules"), &denies, &subscribe("+/+/+/+/#"));
    let unusable =
        |number: u32| vec![format!("${{client_attrs.none{}}}", number / 2); 4].join("/") + &format!("/x{number}");
    let denies = [policy("p", everyone(), Effect::Deny, (0..RULES).map(unusable))];
    ask(&format!("publish, {RULES} Deny rules with values that cannot be used"), &denies, &publish("a/b/c/d/e"));
    ask(&format!("the same, levels of 13,000 bytes"), &denies, &publish(&vec!["y".repeat(13_000); 5].join("/")));
    let plus =
        |number: u32| (0..13).map(|bit| if number >> bit & 1 == 0 { "+" } else { "a" }).collect::<Vec<_>>().join("/");
    let allows = [policy("p", everyone(), Effect::Allow, (0..1 << 13).map(plus))];
    ask("publish, all 8,192 topics of 13 levels that are `+` or `a`", &allows, &publish(&vec!["a"; 13].join("/")));
}

fn long() {
    let allows = [policy(
        "p",
        everyone(),
        Effect::Allow,
        ["a/#".to_owned(), format!("{}/#", vec!["+"; 500].join("/"))].into_iter(),
    )];
    ask("publish, 10,000 levels", &allows, &publish(&vec!["a"; 10_000].join("/")));
    ask("publish, 65,535 bytes in 65,536 levels", &allows, &publish(&"/".repeat(65_535)));
    ask("publish, 65,535 bytes in one level", &allows, &publish(&"a".repeat(65_535)));
    ask("subscribe, 32,768 levels `+`", &allows, &subscribe(&vec!["+"; 32_768].join("/")));
    let denies = [policy("p", everyone(), Effect::Deny, std::iter::once(vec!["."; 500].join("/")))];
    let filter = vec!["+"; 500].join("/");
    let dotted = Request { notation: Notation::Dotted, ..subscribe(&filter) };
    ask("subscribe on RabbitMQ, 500 levels that all grow", &denies, &dotted);
}

fn globs() {
    let glob = "a*".repeat(63) + "b";
    let subject =
        |number: usize| Subject { client_ids: Some(vec![format!("{glob}{number}"); 64]), ..Subject::default() };
    let policies: Vec<Policy> = (0..1_000)
        .map(|number| policy(&format!("p{number}"), subject(number), Effect::Allow, std::iter::once("a".to_owned())))
        .collect();
    let rules = Rules::compile("acme", &policies, []).expect("topics are valid");
    let (none, id) = (Map::new(), "a".repeat(128));
    line("who is meant, by 64,000 globs of 64 stars", per_call(|| rules.principal(first_device(&id, &none, &none))));
}
