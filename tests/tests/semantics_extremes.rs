//! What is as long, as deep or as many as can be: it is judged rightly, on the stack of a worker thread, and nothing is allocated
//! for it. How long it takes is for `make bench` to say.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;

use allocation_counter::measure;
use mqtt_access_core::client::{Client, Map, Mode};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::template::{MAX_TEMPLATE_BYTES, TemplateError};
use mqtt_access_core::topic::{Filter, MAX_TOPIC_BYTES, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

/// Half of what tokio gives a worker: the decision has callers.
const STACK: usize = 1024 * 1024;

/// Runs on a thread as small as that.
fn on_a_small_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        assert!(thread.join().is_ok());
    });
}

fn client<'a>(client_id: &'a str, attributes: &'a Map) -> Client<'a> {
    Client {
        client_id,
        client_id_proven: true,
        username: None,
        mode: Mode::DeviceCredential,
        tenant_id: "acme.t",
        instance_id: "mqtt-acme",
        tenant_attributes: attributes,
        own_attributes: None,
        labels: None,
        access_key: None,
        superuser: true,
        grants: None,
        withheld: None,
    }
}

fn rule(index: u32, effect: Effect, topics: impl IntoIterator<Item = String>) -> Rule {
    let topics = Topics::Listed(topics.into_iter().collect());
    Rule { index, effect, actions: [Action::Publish, Action::Subscribe].into(), topics, qos: None, retain: None }
}

fn everyone(rules: Vec<Rule>) -> Policy {
    Policy { name: "p".to_owned(), subjects: vec![Subject { everyone: true, ..Subject::default() }], rules }
}

fn compile(rules: Vec<Rule>, space: &[&str]) -> Rules {
    Rules::compile("acme", &[everyone(rules)], space.iter().copied()).unwrap()
}

/// The verdict with its cause; it must not have allocated.
fn ask(rules: &Rules, client_id: &str, action: Action, topic: &str, notation: Notation) -> String {
    let attributes = BTreeMap::from([("path".to_owned(), "a/b".to_owned())]);
    let principal = rules.principal(client(client_id, &attributes));
    let target = match action {
        Action::Publish => Target::Publish(TopicName::parse(topic).unwrap()),
        Action::Subscribe => Target::Subscribe(Filter::parse(topic).unwrap()),
    };
    let request = Request { target, qos: None, retain: None, notation };
    let mut verdict = None;
    let counted = measure(|| verdict = Some(rules.decide(&principal, &request)));
    assert_eq!(counted.count_total, 0, "{action:?}, a topic of {} bytes", topic.len());
    let verdict = verdict.unwrap();
    format!("{} {}", if verdict.is_allow() { "Allow" } else { "Deny" }, verdict.cause())
}

/// A topic of so many levels.
fn levels(level: &str, count: usize) -> String {
    vec![level; count].join("/")
}

#[test]
fn a_topic_of_ten_thousand_levels_is_judged_like_a_short_one() {
    let rules =
        compile(vec![rule(0, Effect::Allow, ["a/#".to_owned()]), rule(1, Effect::Deny, ["a/b/#".to_owned()])], &["#"]);
    on_a_small_stack(|| {
        for (topic, expected) in [
            (levels("a", 10_000), "Allow acme/p rules[0]"),
            (format!("a/b/{}", levels("a", 10_000)), "Deny acme/p rules[1]"),
        ] {
            assert_eq!(ask(&rules, "c1", Action::Publish, &topic, Notation::Mqtt), expected);
            assert_eq!(ask(&rules, "c1", Action::Subscribe, &topic, Notation::Mqtt), expected);
        }
        assert_eq!(
            ask(&rules, "c1", Action::Subscribe, &format!("a/{}/#", levels("+", 10_000)), Notation::Mqtt),
            "Deny acme/p rules[1]"
        );
    });
}

#[test]
fn the_longest_topics_meet_the_deepest_templates_without_deep_stacks() {
    let deepest = "/".repeat(MAX_TEMPLATE_BYTES);
    let plus = levels("+", MAX_TEMPLATE_BYTES / 2);
    let ambiguous = levels(".", MAX_TEMPLATE_BYTES / 2 - 1);
    // The value holds a `/`, so that each of these levels becomes `#` for a Deny.
    let broken = levels("${client_attrs.path}", MAX_TEMPLATE_BYTES / 21);
    let longest = "/".repeat(MAX_TOPIC_BYTES);
    let longest_filter = levels("+", MAX_TOPIC_BYTES / 2);
    let allow = rule(0, Effect::Allow, [deepest.clone(), format!("{}/#", levels("+", 500))]);
    let deny = rule(1, Effect::Deny, [plus, format!("x/{ambiguous}")]);
    let below = rule(2, Effect::Deny, [format!("y/{broken}")]);
    let rules = compile(vec![allow, deny, below], &[&deepest, "#"]);
    assert_eq!((longest.len(), longest_filter.len()), (65_535, 65_533));
    on_a_small_stack(|| {
        for (action, topic, notation, expected) in [
            (Action::Publish, &deepest, Notation::Mqtt, "Allow acme/p rules[0]"),
            (Action::Publish, &longest, Notation::Mqtt, "Allow acme/p rules[0]"),
            (Action::Publish, &longest, Notation::Dotted, "Allow acme/p rules[0]"),
            // `y/a/b/..` is `y/#` everywhere, and on RabbitMQ `x/./..` is `x/#`: with those it overlaps.
            (Action::Subscribe, &longest_filter, Notation::Mqtt, "Deny acme/p rules[2]"),
            (Action::Subscribe, &longest_filter, Notation::Dotted, "Deny acme/p rules[1]"),
            (Action::Publish, &levels("a", 512), Notation::Mqtt, "Deny acme/p rules[1]"),
            (
                Action::Publish,
                &format!("y{longest}").chars().take(65_535).collect(),
                Notation::Mqtt,
                "Deny acme/p rules[2]",
            ),
            (Action::Subscribe, &"#".to_owned(), Notation::Dotted, "Deny acme/p rules[1]"),
        ] {
            assert_eq!(
                ask(&rules, "c1", action, topic, notation),
                expected,
                "{action:?} {} bytes {notation:?}",
                topic.len()
            );
        }
    });
}

#[test]
fn no_path_is_deeper_than_a_template_may_be() {
    let filter = "/".repeat(MAX_TEMPLATE_BYTES + 1);
    let of_space = Rules::compile("acme", &[], [filter.as_str()]).unwrap_err();
    assert_eq!(of_space, TemplateError::TooLong);
    let of_rule = Rules::compile("acme", &[everyone(vec![rule(0, Effect::Deny, [filter])])], []).unwrap_err();
    assert_eq!(of_rule, TemplateError::TooLong);
}

#[test]
fn ten_thousand_rules_are_asked_without_an_allocation() {
    let each = |effect, name: &str| {
        (0..5_000)
            .map(|line| format!("{name}{line}/${{clientid}}/#"))
            .map(move |topic| (effect, topic))
            .collect::<Vec<_>>()
    };
    let topics = [each(Effect::Allow, "a"), each(Effect::Deny, "d")].concat();
    let rules = (0..).zip(topics).map(|(index, (effect, topic))| rule(index, effect, [topic])).collect();
    let rules = compile(rules, &["#"]);
    for (action, topic, expected) in [
        (Action::Publish, "a4999/c1/x", "Allow acme/p rules[4999]"),
        (Action::Publish, "d4999/c1/x", "Deny acme/p rules[9999]"),
        (Action::Publish, "a4999/c2/x", "Allow Superuser"),
        (Action::Subscribe, "a7/c1/+/#", "Allow acme/p rules[7]"),
        // It would receive what each of the five thousand protects; the first of them is named.
        (Action::Subscribe, "+/+/+/+/#", "Deny acme/p rules[5000]"),
        (Action::Subscribe, "#", "Deny acme/p rules[5000]"),
        (Action::Subscribe, "+/c2/+", "Allow Superuser"),
    ] {
        for notation in [Notation::Mqtt, Notation::Dotted] {
            assert_eq!(ask(&rules, "c1", action, topic, notation), expected, "{action:?} {topic}");
        }
    }
}

#[test]
fn a_deny_for_five_thousand_lines_with_values_that_cannot_be_used_is_visited_once() {
    // Every level of each is anything at all, and each has its own variable: a walk that tried both ways at each of them would
    // not end.
    let topic = |line: usize| format!("{}/x", levels(&format!("${{client_attrs.none{line}}}"), 40));
    let rules = vec![rule(0, Effect::Allow, ["#".to_owned()]), rule(1, Effect::Deny, (0..5_000).map(topic))];
    let rules = compile(rules, &["#"]);
    on_a_small_stack(|| {
        for (topic, expected) in
            [(levels("a", 40), "Allow acme/p rules[0]"), (levels("a", 40) + "/x", "Deny acme/p rules[1]")]
        {
            assert_eq!(ask(&rules, "c1", Action::Publish, &topic, Notation::Mqtt), expected);
        }
        assert_eq!(ask(&rules, "c1", Action::Subscribe, &levels("+", 41), Notation::Mqtt), "Deny acme/p rules[1]");
    });
}

#[test]
fn a_glob_with_as_many_stars_as_it_can_hold_is_settled_at_once() {
    // Trying every run for every star would take longer than there is time.
    let glob = "a*".repeat(63) + "b";
    let subject = Subject { client_ids: Some(vec![glob]), ..Subject::default() };
    let policy = Policy { subjects: vec![subject], ..everyone(vec![rule(0, Effect::Allow, ["t".to_owned()])]) };
    let rules = Rules::compile("acme", &[policy], []).unwrap();
    for (client_id, expected) in
        [("a".repeat(128), "Deny NotGranted"), ("a".repeat(127) + "b", "Allow acme/p rules[0]")]
    {
        assert_eq!(ask(&rules, &client_id, Action::Publish, "t", Notation::Mqtt), expected);
    }
}
