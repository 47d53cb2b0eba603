//! What the analysis says of topics that change nothing: without all of them, every client gets the verdict it had.

use std::collections::BTreeSet;

use mqtt_access_core::policy::{Policy, Rule, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_operator::analysis::{Limit, Why, idle};
use mqtt_access_tests::reference::World;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Scenario, client, scenario};
use crate::cases;

/// Policy, rule, and the topic's place in it.
type Place = (String, u32, usize);

fn found(policies: &[Policy]) -> Vec<(Place, Why)> {
    let policies: Vec<&Policy> = policies.iter().collect();
    let found = idle(&policies, &Limit::default()).into_iter();
    found.map(|idle| ((idle.policy.to_owned(), idle.rule, idle.topic), idle.why)).collect()
}

fn without(policies: &[Policy], removed: &BTreeSet<Place>) -> Vec<Policy> {
    let rule = |policy: &Policy, rule: &Rule| {
        let Topics::Listed(topics) = &rule.topics else { return rule.clone() };
        let kept = |place: usize| !removed.contains(&(policy.name.clone(), rule.index, place));
        let topics = topics.iter().enumerate().filter(|(place, _)| kept(*place));
        Rule { topics: Topics::Listed(topics.map(|(_, topic)| topic.clone()).collect()), ..rule.clone() }
    };
    let policy = |policy: &Policy| Policy {
        rules: policy.rules.iter().map(|source| rule(policy, source)).collect(),
        ..policy.clone()
    };
    policies.iter().map(policy).collect()
}

proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn without_what_changes_nothing_every_verdict_is_the_same(scenario in scenario(), others in vec(client(), 3)) {
        let before = scenario.world().compiled();
        let after = without(&before, &found(&before).into_iter().map(|(place, _)| place).collect());
        let rules = |policies: &[Policy]| {
            Rules::compile("acme", policies, scenario.space.iter().map(String::as_str)).unwrap()
        };
        let worlds = [&before, &after].map(|policies| World { policies, ..scenario.world() });
        let engines = [&before, &after].map(|policies| rules(policies));
        for client in others.iter().chain([&scenario.client]) {
            for asked in &scenario.asked {
                let fast = engines.each_ref().map(|rules| {
                    rules.decide(&rules.principal(client.client()), &asked.request()).is_allow()
                });
                let slow = worlds.each_ref().map(|world| world.decide(&client.client(), &asked.request()).allow);
                prop_assert_eq!(fast[0], fast[1], "{:?} {:?}", client, asked);
                prop_assert_eq!(slow[0], slow[1], "{:?} {:?}", client, asked);
            }
        }
    }
}

/// The property above says nothing where nothing is found.
#[test]
fn random_policies_have_topics_of_both_kinds_that_change_nothing() {
    let mut runner = TestRunner::deterministic();
    let (mut shadowed, mut inside) = (0, 0);
    for _ in 0..500 {
        let scenario: Scenario = scenario().new_tree(&mut runner).unwrap().current();
        for (_, why) in found(&scenario.world().compiled()) {
            match why {
                Why::Shadowed => shadowed += 1,
                Why::Inside => inside += 1,
            }
        }
    }
    assert!(shadowed > 50 && inside > 50, "{shadowed} shadowed, {inside} inside");
}
