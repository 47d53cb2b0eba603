use super::*;
use crate::client::{Client, Grant, Map, Mode};
use crate::policy::{Policy, Rule, Subject, Topics};

const BOTH: &[Action] = &[Action::Publish, Action::Subscribe];
const SUBSCRIBE: &[Action] = &[Action::Subscribe];

fn rule(effect: Effect, actions: &[Action], topics: &[&str]) -> Rule {
    let topics = Topics::Listed(topics.iter().map(|topic| (*topic).to_owned()).collect());
    Rule { index: 0, effect, actions: actions.iter().copied().collect(), topics, qos: None, retain: None }
}

fn list(rules: Vec<Rule>, grants: Option<&[Grant]>) -> Option<InlineAcl> {
    let rules = (0..).zip(rules).map(|(index, rule)| Rule { index, ..rule }).collect();
    let subjects = vec![Subject { everyone: true, ..Subject::default() }];
    let policy = Policy { name: "p".to_owned(), subjects, rules };
    let rules = Rules::compile("n", [&policy], ["#"]).unwrap();
    let attributes = Map::from([("site".to_owned(), "eq a".to_owned())]);
    let client = Client {
        client_id: "d",
        client_id_proven: true,
        username: None,
        mode: Mode::Signature,
        tenant_id: "n.t",
        instance_id: "i",
        tenant_attributes: &attributes,
        own_attributes: None,
        labels: None,
        access_key: None,
        superuser: false,
        grants,
        withheld: None,
    };
    rules.inline(&rules.principal(client))
}

/// The rules but for those at the end (none where there is no list), and whether publishes and subscriptions are closed.
fn told(rules: Vec<Rule>, grants: Option<&[Grant]>) -> (Vec<String>, [bool; 2]) {
    let Some(list) = list(rules, grants) else { return (Vec::new(), [false, false]) };
    let shown = |rule: &InlineRule| {
        let actions = BOTH.iter().filter(|action| rule.conditions.concern(**action)).map(|action| action.as_str());
        let eq = if matches!(rule.topic, InlineTopic::Exact(_)) { "eq " } else { "" };
        format!("{:?} {} {eq}{}", rule.effect, actions.collect::<Vec<_>>().join("+"), rule.topic.as_str())
    };
    (list.rules.iter().map(shown).collect(), [Action::Publish, Action::Subscribe].map(|action| list.is_closed(action)))
}

#[test]
fn what_ends_in_a_plus_is_guarded_after_whoever_may_have_the_guarded_filter() {
    let allows = rule(Effect::Allow, SUBSCRIBE, &["a/b/+", "a/+", "a/b/#", "a/+/#", "+"]);
    let expected = [
        "Allow subscribe a/b/#",
        "Deny subscribe eq #",
        "Allow subscribe +",
        "Deny subscribe eq a/#",
        "Allow subscribe a/+",
        "Deny subscribe eq a/#",
        "Allow subscribe a/+/#",
        "Deny subscribe eq a/b/#",
        "Allow subscribe a/b/+",
    ];
    assert_eq!(told(vec![allows], None), (expected.map(str::to_owned).to_vec(), [true, true]));
}

#[test]
fn where_one_guard_does_not_suffice_subscriptions_are_asked() {
    let (rules, closed) = told(vec![rule(Effect::Allow, BOTH, &["a/+/+", "a/+/x"])], None);
    assert_eq!(
        (rules, closed),
        (vec!["Allow publish a/+/+".to_owned(), "Allow publish+subscribe a/+/x".into()], [true, false])
    );
}

#[test]
fn a_guard_does_not_deny_what_has_to_be_asked() {
    // `a/#` meets the Deny and is asked; a guard would deny `a/b/#` without asking.
    let rules = vec![rule(Effect::Allow, SUBSCRIBE, &["a/#", "a/b/+"]), rule(Effect::Deny, SUBSCRIBE, &["a/c"])];
    assert_eq!(told(rules, None), (Vec::new(), [true, false]));
}

#[test]
fn a_deny_stands_in_the_list_where_it_matches_all_that_it_refuses() {
    let deny = |topics: &[&str]| rule(Effect::Deny, BOTH, topics);
    let allow = |topics: &[&str]| rule(Effect::Allow, BOTH, topics);
    for (rules, expected, closed) in [
        // It covers what is allowed: of that, nothing is left.
        (vec![allow(&["a/b", "c"]), deny(&["a/#"])], vec!["Allow publish+subscribe c"], [true, true]),
        // Names are compared as everywhere, filters that only meet it are not.
        (
            vec![allow(&["a/#"]), deny(&["a/+/x"])],
            vec!["Deny publish+subscribe a/+/x", "Allow publish a/#"],
            [true, false],
        ),
        (vec![allow(&["a/#"]), deny(&["b/#"])], vec!["Allow publish+subscribe a/#"], [true, true]),
        (vec![allow(&["eq a/+"]), deny(&["a/x"])], vec![], [true, true]),
        // One that the broker would read otherwise cannot stand there, and nothing that it meets.
        (vec![allow(&["a/#", "b"]), deny(&["a/${$}{x}"])], vec!["Allow publish+subscribe b"], [false, false]),
        (vec![allow(&["+/x"]), deny(&["${client_attrs.site}/x"])], vec![], [false, false]),
        // A value that is unusable reaches `$`, which a wildcard of a list does not.
        (vec![allow(&["$x/a", "b/a"]), deny(&["${client_attrs.none}/+"])], vec![], [true, true]),
        (
            vec![allow(&["$x/#", "b"]), deny(&["${client_attrs.none}/c"])],
            vec!["Allow publish+subscribe b"],
            [false, false],
        ),
    ] {
        let told = told(rules.clone(), None);
        assert_eq!(told, (expected.iter().map(|it| (*it).to_owned()).collect(), closed), "{rules:?}");
    }
}

#[test]
fn tokens_leave_what_both_they_and_the_policies_allow() {
    let grant = |filter: &str, publish, subscribe| Grant { filter: filter.to_owned(), publish, subscribe };
    let grants = [grant("+/x/#", true, false), grant("b/#", true, true)];
    let (rules, closed) = told(vec![rule(Effect::Allow, BOTH, &["a/+/y", "b", "eq b/x", "eq c"])], Some(&grants));
    let expected = ["Allow publish a/x/y", "Allow publish+subscribe b", "Allow publish+subscribe eq b/x"];
    assert_eq!((rules, closed), (expected.map(str::to_owned).to_vec(), [true, true]));
}

#[test]
fn a_list_that_is_too_long_is_none() {
    let allow = |count: usize| {
        let topics: Vec<String> = (0..count).map(|number| format!("a/{number}")).collect();
        rule(Effect::Allow, BOTH, &topics.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(list(vec![allow(MAX_RULES)], None).is_some());
    assert!(list(vec![allow(MAX_RULES + 1)], None).is_none());
    assert!(list(vec![allow(10_000)], None).is_none());
}
