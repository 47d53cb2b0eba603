//! Every sentence of docs/semantics.md as data, against both engines; see tests/data/semantics/README.md.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a failed test")]

use std::collections::BTreeSet;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, Revocations, SessionRules, Space, Spares, Tenant,
};
use mqtt_access_core::client::{Client, Grant, Mode};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Policy, Qos};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Notation, Request, Target, Verdict};
use mqtt_access_tests::corpus::{Case, cases};
use mqtt_access_tests::reference::World;

fn answer(allow: bool, cause: Cause<'_>) -> String {
    format!("{} {cause}", if allow { "Allow" } else { "Deny" })
}

/// Runs a case; the answers that are not as expected.
fn failures(case: &Case) -> Vec<String> {
    let policies = case.policies();
    let world = World { namespace: "acme", policies: &policies, space: &case.space };
    let rules = Rules::compile("acme", &world.compiled(), case.space.iter().map(String::as_str)).unwrap();
    let grants = case.client.grants();
    let withheld = case.withheld();
    let client = Client { withheld: Some(&withheld), ..case.client.client(grants.as_deref()) };
    let refused = || "Deny Malformed".to_owned();
    let mut failures = Vec::new();
    for ask in &case.ask {
        let fast = ask.fast().map(|target| rules.decide(&rules.principal(client), &ask.request(target)));
        let fast = fast.map_or_else(refused, |verdict: Verdict<'_>| answer(verdict.is_allow(), verdict.cause()));
        let slow = ask.slow().map(|topic| {
            let slow = world.decide(&client, &ask.request(ask.slow_target(&topic)));
            answer(slow.allow, slow.cause)
        });
        for (engine, found) in [("core", fast), ("reference", slow.unwrap_or_else(refused))] {
            if found != ask.expect {
                let asked = ask.publish.as_ref().or(ask.subscribe.as_ref());
                failures.push(format!("{}\n  {asked:?}: {engine} says {found}, not {}", case.sentence, ask.expect));
            }
        }
    }
    failures
}

/// What a token of the client's access key could be used for. The bound is the fast engine's alone; the reference has to allow
/// nothing where it says no.
fn wrong_bounds(case: &Case) -> Vec<String> {
    let policies = case.policies();
    let world = World { namespace: "acme", policies: &policies, space: &case.space };
    let key = access_key(case.client.signature.as_deref().unwrap_or("backend"));
    let tenant = TenantIndex::new(bundle(case, &key, world.compiled()), 1).unwrap();
    let tenant = tenant.withholding(case.withheld.iter().map(String::as_str));
    let client_id = (!case.client.unproven).then(|| case.client.client_id.as_deref().unwrap_or("c1"));
    let mut failures = Vec::new();
    for ask in &case.could_use {
        let (action, text) = match (&ask.publish, &ask.subscribe) {
            (Some(filter), None) => (Action::Publish, filter),
            (None, Some(filter)) => (Action::Subscribe, filter),
            _ => panic!("a resource is for publishing or for subscribing"),
        };
        let could = tenant.could_use(&key, client_id, action, Filter::parse(text).unwrap());
        if could != ask.expect {
            failures.push(format!("{}\n  core says {could} of {action:?} {text}", case.sentence));
        }
        if let Some(topic) = allowed_within(&world, case, action, text).filter(|_| !ask.expect) {
            failures.push(format!("{}\n  the reference allows {action:?} {topic} within {text}", case.sentence));
        }
    }
    failures
}

/// A topic within a filter that the reference allows: of those that can be made of what the case writes.
fn allowed_within(world: &World<'_>, case: &Case, action: Action, filter: &str) -> Option<String> {
    let grants = [Grant { filter: filter.to_owned(), publish: true, subscribe: true }];
    let withheld = case.withheld();
    let client = Client {
        mode: Mode::Token,
        username: Some("Token|AK|mqtt-acme"),
        withheld: Some(&withheld),
        ..case.client.client(Some(&grants))
    };
    let choices: Vec<Vec<&str>> = filter
        .split('/')
        .map(|level| match level {
            "+" | "#" => vec!["a", "b", "c1", "x", "secret", "+", "#", "Token|AK|mqtt-acme"],
            literal => vec![literal],
        })
        .collect();
    let mut topics = vec![String::new()];
    for (place, levels) in choices.iter().enumerate() {
        let slash = if place == 0 { "" } else { "/" };
        topics =
            topics.iter().flat_map(|topic| levels.iter().map(move |level| format!("{topic}{slash}{level}"))).collect();
    }
    topics.into_iter().find(|topic| {
        let target = match action {
            Action::Publish => TopicName::parse(topic).ok().map(Target::Publish),
            Action::Subscribe => Filter::parse(topic).ok().map(Target::Subscribe),
        };
        let flags = (0..=2).flat_map(|qos| [false, true].map(|retain| (Qos::try_from(qos).ok(), Some(retain))));
        target.is_some_and(|target| {
            flags.into_iter().any(|(qos, retain)| {
                world.decide(&client, &Request { target, qos, retain, notation: Notation::Mqtt }).allow
            })
        })
    })
}

fn access_key(name: &str) -> AccessKey {
    AccessKey {
        name: name.to_owned(),
        id: "AK".to_owned(),
        secret: None,
        disabled: false,
        generated: false,
        client_id_prefixes: None,
        uses: BTreeSet::new(),
        spares: Spares::default(),
    }
}

fn bundle(case: &Case, key: &AccessKey, policies: Vec<Policy>) -> Bundle {
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let tenant = Tenant {
        namespace: "acme".to_owned(),
        name: "shop".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: "mqtt-acme".to_owned(),
            client_id_prefixes: Vec::new(),
            topic_space: case.space.iter().map(space).collect(),
        },
        suspended: false,
        client_attributes: case.client.tenant_attributes.clone(),
        access_keys: vec![key.clone()],
        modes: vec![Mode::Token],
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: Secret::from("key"),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    Bundle { tenant, policies, devices: Vec::new() }
}

#[test]
fn both_engines_answer_every_sentence_as_it_says() {
    let (mut asked, mut wrong) = (0, Vec::new());
    for case in &cases() {
        asked += case.ask.len() + case.could_use.len();
        wrong.extend(failures(case));
        wrong.extend(wrong_bounds(case));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 200, "only {asked} requests were asked");
}
