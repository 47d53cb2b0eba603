//! What an explanation says beside the verdict: every rule that it names is asked by itself.

#![expect(clippy::indexing_slicing, reason = "places that were drawn for the list")]

use std::collections::BTreeMap;

use mqtt_access_core::client::Client;
use mqtt_access_core::explain::{Explanation, Why, changes, explain};
use mqtt_access_core::policy::{Action, Effect, Policy, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::verdict::{Cause, Notation, Reason, RuleRef};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, OwnedClient, Scenario, scenario};
use crate::cases;

/// Policies with the rules that the compiler keeps.
struct World {
    policies: Vec<Policy>,
    rules: Rules,
}

impl World {
    fn of(scenario: &Scenario) -> Self {
        let policies = scenario.world().compiled();
        let rules = Rules::compile("acme", &policies, scenario.space.iter().map(String::as_str)).unwrap();
        Self { policies, rules }
    }

    fn explain(&self, client: &OwnedClient, asked: &Asked) -> Explanation<'_> {
        explain(&self.rules, &self.policies, &self.rules.principal(client.client()), &asked.request())
    }

    fn all(&self) -> impl Iterator<Item = (RuleRef<'_>, Effect)> {
        self.policies.iter().flat_map(|policy| {
            let named = |index| RuleRef { namespace: "acme", policy: &policy.name, index };
            policy.rules.iter().map(move |rule| (named(rule.index), rule.effect))
        })
    }

    /// The world with these rules only.
    fn with(&self, keep: impl Fn(RuleRef<'_>) -> bool) -> Vec<Policy> {
        let mut policies = self.policies.clone();
        for policy in &mut policies {
            let name = policy.name.clone();
            policy.rules.retain(|rule| keep(RuleRef { namespace: "acme", policy: &name, index: rule.index }));
        }
        policies
    }

    /// Whether a rule, alone in the world, matches.
    fn matches_alone(&self, rule: RuleRef<'_>, client: &OwnedClient, asked: &Asked) -> bool {
        let alone = self.with(|other| other == rule);
        // Without a topic space there is nothing for a superuser.
        let rules = Rules::compile("acme", &alone, []).unwrap();
        // Nor is anything another tenant's.
        let client = Client { withheld: None, ..client.client() };
        let verdict = rules.decide(&rules.principal(client), &asked.request());
        matches!(verdict.cause(), Cause::Rule(_) | Cause::Reason(Reason::NotGrantedByToken | Reason::TokenTypeMismatch))
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn an_explanation_has_the_verdict_and_names_every_rule_that_matches(scenario in scenario()) {
        let world = World::of(&scenario);
        for asked in &scenario.asked {
            let explanation = world.explain(&scenario.client, asked);
            let principal = world.rules.principal(scenario.client.client());
            prop_assert_eq!(explanation.verdict, world.rules.decide(&principal, &asked.request()));
            prop_assert_eq!((explanation.matched.omitted, explanation.near.omitted), (0, 0));
            let deciding = explanation.deciding().map(|matched| matched.cause);
            let by_rule = !matches!(
                explanation.verdict.cause(),
                Cause::Reason(Reason::NotGranted | Reason::NotGrantedByToken | Reason::TokenTypeMismatch)
            );
            prop_assert_eq!(deciding, by_rule.then_some(explanation.verdict.cause()), "{:?}", asked);
            for (rule, effect) in world.all() {
                let matched = explanation.matched.rules.iter().any(|matched| matched.cause == Cause::Rule(rule));
                let near = explanation.near.rules.iter().filter(|miss| (miss.rule, miss.effect) == (rule, effect)).count();
                let matches = world.matches_alone(rule, &scenario.client, asked);
                prop_assert_eq!(matched, matches, "{} {:?}", rule, asked);
                prop_assert!(near == 0 || (near == 1 && !matches), "{} {:?}", rule, asked);
            }
        }
    }

    #[test]
    fn without_the_rule_that_decided_there_is_another_cause(scenario in scenario()) {
        let world = World::of(&scenario);
        for asked in &scenario.asked {
            let explanation = world.explain(&scenario.client, asked);
            let Some(Cause::Rule(deciding)) = explanation.deciding().map(|matched| matched.cause) else { continue };
            let others = world.with(|rule| rule != deciding);
            let rules = Rules::compile("acme", &others, scenario.space.iter().map(String::as_str)).unwrap();
            let verdict = rules.decide(&rules.principal(scenario.client.client()), &asked.request());
            prop_assert_ne!(verdict.cause(), explanation.verdict.cause(), "{:?}", asked);
        }
    }

    #[test]
    fn advice_to_narrow_a_subscription_leads_to_one_that_the_rule_grants(scenario in scenario()) {
        let world = World::of(&scenario);
        for asked in scenario.asked.iter().filter(|asked| asked.is(Action::Subscribe, Notation::Mqtt)) {
            for miss in world.explain(&scenario.client, asked).near.rules {
                let Why::AsksForMore { narrow_to: Some(narrower), .. } = &miss.why else { continue };
                let narrower = asked.to_topic(narrower);
                prop_assert!(world.matches_alone(miss.rule, &scenario.client, &narrower), "{miss:?} {asked:?}");
            }
        }
    }
}

/// The world after some edits: a rule less, one twice, or with its first topic narrowed.
fn edited(scenario: &Scenario, edits: &[(Index, u8)]) -> Scenario {
    let mut policies = scenario.policies.clone();
    for (place, edit) in edits {
        let policy = &mut policies[place.index(scenario.policies.len())];
        if policy.rules.is_empty() {
            continue;
        }
        let rule = place.index(policy.rules.len());
        match edit {
            0 => drop(policy.rules.remove(rule)),
            1 => policy.rules.push(policy.rules[rule].clone()),
            _ => {
                let mut narrower = policy.rules[rule].clone();
                if let Topics::Listed(topics) = &mut narrower.topics {
                    topics.iter_mut().for_each(|topic| *topic = topic.replace(['+', '#'], "a"));
                }
                if *edit == 2 { policy.rules.push(narrower) } else { policy.rules[rule] = narrower }
            }
        }
        (0..).zip(&mut policy.rules).for_each(|(index, rule)| rule.index = index);
    }
    Scenario { policies, ..scenario.clone() }
}

/// Whether nothing changes for the scenario's client.
fn unchanged(before: &World, after: &World, client: &OwnedClient) -> bool {
    let (one, two) = (before.rules.principal(client.client()), after.rules.principal(client.client()));
    changes(&before.rules.of_client(&one), &after.rules.of_client(&two)).is_empty()
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn where_no_change_is_found_every_verdict_stays(
        scenario in scenario(),
        edits in vec((any::<Index>(), 0..4_u8), 1..4),
    ) {
        let (before, after) = (World::of(&scenario), World::of(&edited(&scenario, &edits)));
        if unchanged(&before, &after, &scenario.client) {
            let client = scenario.client.client();
            for asked in scenario.asked.iter().flat_map(|asked| [Notation::Mqtt, Notation::Dotted].map(|notation| asked.in_notation(notation))) {
                // RabbitMQ cannot ask about a `.` or `*`.
                if asked.notation == Notation::Dotted && asked.topic().contains(['.', '*']) {
                    continue;
                }
                let decide = |world: &World| world.rules.decide(&world.rules.principal(client), &asked.request()).is_allow();
                prop_assert_eq!(decide(&before), decide(&after), "{:?}", asked);
            }
        }
    }
}

#[test]
fn edits_are_found_to_change_nothing_often_enough_and_not_always() {
    let mut runner = TestRunner::deterministic();
    let strategy = (scenario(), vec((any::<Index>(), 0..4_u8), 1..4));
    let (mut same, mut different) = (0, 0);
    for _ in 0..2_000 {
        let (scenario, edits) = strategy.new_tree(&mut runner).unwrap().current();
        let (before, after) = (World::of(&scenario), World::of(&edited(&scenario, &edits)));
        if before.policies != after.policies {
            *(if unchanged(&before, &after, &scenario.client) { &mut same } else { &mut different }) += 1;
        }
    }
    assert!(same > 200 && different > 200, "{same} without a change, {different} with one");
}

#[test]
fn the_random_scenarios_miss_in_every_way() {
    let mut runner = TestRunner::deterministic();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..3_000 {
        let scenario = scenario().new_tree(&mut runner).unwrap().current();
        let world = World::of(&scenario);
        for asked in &scenario.asked {
            for miss in world.explain(&scenario.client, asked).near.rules {
                *kinds.entry(miss.why.as_str()).or_default() += 1;
                assert!(!miss.why.to_string().is_empty());
            }
        }
    }
    let wanted = ["Action", "AsksForMore", "Dollar", "Exactly", "OtherValue", "Qos", "Retain", "Subject", "Unusable"];
    assert!(wanted.iter().all(|kind| kinds.get(kind).is_some_and(|count| *count >= 5)), "{kinds:?}");
}
