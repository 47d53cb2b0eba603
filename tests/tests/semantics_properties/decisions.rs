//! `Rules::decide` against the reference, and what an allowed subscription can receive.

use std::sync::LazyLock;

use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::verdict::{Cause, Notation, Reason, Verdict};
use mqtt_access_tests::models::{rabbitmq, written};
use mqtt_access_tests::reference::{Names, glob_matches};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, OwnedClient, Scenario, glob, scenario, split};
use crate::cases;

/// The fast engine's rules for a scenario.
fn compile(scenario: &Scenario) -> Rules {
    compile_parts(scenario, &scenario.world().compiled())
}

fn compile_parts(scenario: &Scenario, parts: &[Policy]) -> Rules {
    Rules::compile("acme", parts, scenario.space.iter().map(String::as_str)).unwrap()
}

fn decide<'r>(rules: &'r Rules, client: &OwnedClient, asked: &Asked) -> Verdict<'r> {
    rules.decide(&rules.principal(client.client()), &asked.request())
}

/// Every short name: the literals of the policies, and one that is none.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| names(&["a", "b", "", "$x", "xa", "c"], 4));

/// Their routing keys on RabbitMQ.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| NAMES.iter().map(|name| rabbitmq::routing_key(name)).collect());

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn both_engines_give_the_same_verdict_for_the_same_cause(
        scenario in scenario(),
        cuts in vec(any::<Index>(), 3),
    ) {
        let rules = compile_parts(&scenario, &split(&scenario.world().compiled(), &cuts));
        for asked in &scenario.asked {
            let fast = decide(&rules, &scenario.client, asked);
            let slow = scenario.world().decide(&scenario.client.client(), &asked.request());
            prop_assert_eq!(
                (fast.is_allow(), fast.cause().to_string()),
                (slow.allow, slow.cause.to_string()),
                "{:?}", asked
            );
        }
    }

    #[test]
    fn the_rules_written_out_for_a_client_give_the_verdict_that_the_index_gives(scenario in scenario()) {
        let rules = compile(&scenario);
        let principal = rules.principal(scenario.client.client());
        let listed = rules.of_client(&principal);
        for asked in scenario.asked.iter().filter(|asked| asked.notation == Notation::Mqtt) {
            let request = &asked.request();
            let verdict = rules.decide(&principal, request);
            let by_token = matches!(verdict.cause(), Cause::Reason(Reason::NotGrantedByToken | Reason::TokenTypeMismatch));
            let (allow, cause) = match written::judge(&listed, request) {
                (true, _) if by_token => (false, verdict.cause()),
                found => found,
            };
            prop_assert_eq!((verdict.is_allow(), verdict.cause()), (allow, cause), "{:?}", asked);
        }
    }

    #[test]
    fn an_allowed_subscription_receives_only_what_is_granted_and_nothing_that_is_denied(scenario in scenario()) {
        let rules = compile(&scenario);
        for asked in scenario.asked.iter().filter(|asked| asked.is(Action::Subscribe, Notation::Mqtt)) {
            if !decide(&rules, &scenario.client, asked).is_allow() {
                continue;
            }
            let reach = scenario.world().reach(&scenario.client.client(), &asked.request());
            let received = Names::of(asked.topic());
            for name in NAMES.iter().filter(|name| received.contains(name)) {
                prop_assert!(!reach.is_protected(name), "{:?} receives `{}`, which is denied", asked, name);
                prop_assert!(reach.is_granted(name), "{:?} receives `{}`, which is not granted", asked, name);
            }
        }
    }

    #[test]
    fn what_passes_on_rabbitmq_is_granted_and_nothing_that_it_takes_for_a_denied_topic(scenario in scenario()) {
        let (rules, client) = (compile(&scenario), scenario.client.client());
        for wanted in &scenario.asked {
            // The questions about the exchange and the client's own queue are answered whatever the topic.
            let Some(asked) = wanted.as_rabbitmq_asks() else { continue };
            if !decide(&rules, &scenario.client, &asked).is_allow() {
                continue;
            }
            let granted = scenario.world().reach(&client, &asked.request());
            // What the rules say of topics as they are written, dots and all; then what RabbitMQ makes of that.
            let as_written = asked.in_notation(Notation::Mqtt);
            let denied = scenario.world().reach(&client, &as_written.request()).on_rabbitmq();
            let key = rabbitmq::routing_key(wanted.topic());
            let published = asked.is(Action::Publish, Notation::Dotted);
            let reached = KEYS.iter().filter(|sent| if published { **sent == key } else { rabbitmq::routes(&key, sent) });
            for name in reached.map(|sent| rabbitmq::arrives_as(sent)) {
                prop_assert!(!denied.is_protected(&name), "{:?} reaches `{}`, which is denied", wanted, name);
                prop_assert!(
                    name.starts_with('$') && !published || granted.is_granted(&name),
                    "{:?} reaches `{}`, which is not granted", wanted, name
                );
            }
        }
    }

    #[test]
    fn a_glob_selects_what_trying_every_run_selects(pattern in glob(), id in glob()) {
        let id = id.replace('*', "c");
        let subject = Subject { client_ids: Some(vec![pattern.clone()]), ..Subject::default() };
        let rule = Rule {
            index: 0,
            effect: Effect::Allow,
            actions: [Action::Publish].into(),
            topics: Topics::Listed(vec!["a".to_owned()]),
            qos: None,
            retain: None,
        };
        let policy = Policy { name: "p".to_owned(), subjects: vec![subject], rules: vec![rule] };
        let rules = Rules::compile("acme", [&policy], []).unwrap();
        let client = OwnedClient::plain(id.clone());
        let verdict = rules.decide(&rules.principal(client.client()), &Asked::publish("a").request());
        prop_assert_eq!(verdict.is_allow(), glob_matches(pattern.as_bytes(), id.as_bytes()));
    }
}

/// Every name of at most so many levels.
pub(crate) fn names(levels: &[&str], depth: usize) -> Vec<String> {
    let mut longest: Vec<String> = levels.iter().map(ToString::to_string).collect();
    let mut names = longest.clone();
    for _ in 1..depth {
        longest = longest.iter().flat_map(|name| levels.iter().map(move |level| format!("{name}/{level}"))).collect();
        names.extend(longest.iter().cloned());
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn the_random_scenarios_are_neither_all_allowed_nor_all_denied() {
    let mut runner = TestRunner::deterministic();
    let (mut by_rule, mut superuser, mut denied, mut not_granted, mut by_token) = (0, 0, 0, 0, 0);
    let (mut subscriptions, mut wildcards, mut withdrawn) = (0, 0, 0);
    for _ in 0..2_000 {
        let scenario = scenario().new_tree(&mut runner).unwrap().current();
        let rules = compile(&scenario);
        for asked in &scenario.asked {
            let verdict = decide(&rules, &scenario.client, asked);
            match verdict.cause() {
                Cause::Rule(_) if verdict.is_allow() => by_rule += 1,
                Cause::Rule(_) => denied += 1,
                Cause::Reason(Reason::Superuser) => superuser += 1,
                Cause::Reason(Reason::NotGranted) => not_granted += 1,
                Cause::Reason(Reason::ConsentWithdrawn) => withdrawn += 1,
                Cause::Reason(Reason::NotGrantedByToken | Reason::TokenTypeMismatch) => by_token += 1,
                Cause::Reason(other) => panic!("{}", other.as_str()),
            }
            let subscribed = verdict.is_allow() && asked.is(Action::Subscribe, Notation::Mqtt);
            subscriptions += usize::from(subscribed);
            wildcards += usize::from(subscribed && asked.topic().contains(['+', '#']));
        }
    }
    let total = by_rule + superuser + denied + not_granted + by_token + withdrawn;
    let summary = format!(
        "of {total}: {by_rule} allowed by a rule, {superuser} as superuser, {denied} denied by a rule, {not_granted} not \
         granted, {by_token} not granted by token, {withdrawn} of another tenant alone; {subscriptions} MQTT subscriptions allowed, {wildcards} with wildcards"
    );
    println!("{summary}");
    let share = |count: usize, percent: usize| count * 100 >= total * percent;
    assert!(share(by_rule, 10) && share(denied, 10) && share(not_granted, 10), "{summary}");
    assert!(share(subscriptions, 2) && share(wildcards, 1), "{summary}");
    assert!(superuser > 50 && by_token > 50 && withdrawn > 100, "{summary}");
}
