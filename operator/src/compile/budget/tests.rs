//! Budgets: what fits, what is so instead of what does not, and that both are told.

mod fixture;
mod properties;

use mqtt_access_core::policy::Topics;
use mqtt_access_crds::{DeviceReady, PolicyAccepted};
use serde_json::{Value, json};

use super::closed::MAX_CLOSED;
use super::*;
use crate::compile::{Compiled, Reports, compile};
use crate::finding::Severity;
use fixture::{Tenant, allow, allowed, deny, device};

fn accepted(compiled: &Compiled) -> Vec<PolicyAccepted> {
    compiled.reports.policies.values().map(|report| report.accepted).collect()
}

fn ready(compiled: &Compiled) -> Vec<DeviceReady> {
    compiled.reports.devices.values().map(|report| report.reason).collect()
}

fn usage(reports: &Reports, budget: Budget) -> (usize, usize, usize) {
    let Usage { used, limit, out } = reports.budget.usage[&budget];
    (used, limit, out)
}

fn tenant(limits: Value) -> Tenant {
    Tenant::new(limits).devices([device("dev1"), device("dev2")])
}

#[test]
fn an_allow_that_does_not_fit_allows_nothing_and_the_older_one_stands() {
    let policies = [allow(json!({"everyone": true}), &["a/1", "a/2"]), allow(json!({"everyone": true}), &["a/3"])];
    let compiled = tenant(json!({"allowTopics": 2})).policies(policies).compile();
    assert_eq!(accepted(&compiled), [PolicyAccepted::Accepted, PolicyAccepted::OverBudget]);
    assert!(allowed(&compiled, "dev1", "a/1") && !allowed(&compiled, "dev1", "a/3"));
    assert_eq!(usage(&compiled.reports, Budget::AllowTopics), (3, 2, 1));
    let message = &compiled.reports.policies["p1"].message;
    assert!(message.starts_with("it allows nothing: the tenant's `limits.allowTopics` has no room"), "{message}");
}

#[test]
fn a_denial_that_does_not_fit_denies_everything_to_those_it_selects_and_to_nobody_else() {
    let policies = [
        allow(json!({"everyone": true}), &["a/#"]),
        deny(json!({"clientIds": ["dev1"]}), &["a/x"]),
        deny(json!({"clientIds": ["dev1"]}), &["a/y"]),
    ];
    let compiled = tenant(json!({"denyTopics": 1})).policies(policies.clone()).compile();
    assert_eq!(accepted(&compiled)[1..], [PolicyAccepted::Accepted, PolicyAccepted::OverBudget]);
    assert_eq!(fixture::verdict(&compiled, "dev1", "a/1"), "ns/p2 rules[0]");
    assert!(allowed(&compiled, "dev2", "a/y"));
    let whole = tenant(json!({})).policies(policies).compile();
    assert!(allowed(&whole, "dev1", "a/1") && !allowed(&whole, "dev1", "a/y"));
}

#[test]
fn denials_that_fit_stay_as_they_are_written_when_only_the_allows_beside_them_do_not() {
    let mut both = deny(json!({"everyone": true}), &["a/x"]);
    both["rules"].as_array_mut().unwrap().push(json!({"effect": "Allow", "actions": ["Publish"], "topics": ["a/y"]}));
    let policies = [allow(json!({"everyone": true}), &["a/#"]), both];
    let compiled = tenant(json!({"allowTopics": 1})).policies(policies).compile();
    assert_eq!(accepted(&compiled), [PolicyAccepted::Accepted; 2]);
    assert_eq!(fixture::verdict(&compiled, "dev1", "a/x"), "ns/p1 rules[0]");
    assert!(allowed(&compiled, "dev1", "a/1"));
    let told: Vec<String> = compiled.reports.policies["p1"].findings.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("rules[1]: ") && told[0].ends_with("(OverBudget)"), "{told:?}");
}

#[test]
fn each_limit_of_policies_keeps_the_newest_out() {
    let expression = json!({"deviceSelector": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}});
    for (limits, subject, topic) in [
        (json!({"policies": 1}), json!({"clientIds": ["dev1"]}), "a/x"),
        (json!({"ungatedSubjects": 1}), expression, "a/x"),
        (json!({"ungatedSubjects": 1}), json!({"everyone": true}), "a/x"),
        (json!({"globs": 1}), json!({"clientIds": ["dev*"], "attributes": {"client_id": "dev1"}}), "a/x"),
        (json!({"denyTopics": 1}), json!({"clientIds": ["dev1"]}), "a/x"),
    ] {
        let policies = [deny(subject.clone(), &[topic]), deny(subject, &[topic])];
        let compiled = tenant(limits.clone()).policies(policies).compile();
        assert_eq!(accepted(&compiled), [PolicyAccepted::Accepted, PolicyAccepted::OverBudget], "{limits}");
        assert_eq!(compiled.bundle.policies[1].rules[0].topics, Topics::Everything, "{limits}");
    }
}

#[test]
fn a_gated_subject_costs_no_ungated_one_and_no_glob() {
    let gated = [
        json!({"clientIds": ["dev1"]}),
        json!({"attributes": {"a": "b"}, "clientIds": ["dev1"]}),
        json!({"accessKeys": ["backend"]}),
        json!({"deviceSelector": {"matchLabels": {"a": "b"}}}),
    ];
    let compiled = tenant(json!({"ungatedSubjects": 1, "globs": 1}))
        .policies(gated.map(|subject| deny(subject, &["a/x"])))
        .compile();
    assert_eq!(accepted(&compiled), [PolicyAccepted::Accepted; 4]);
    assert_eq!(usage(&compiled.reports, Budget::UngatedSubjects), (0, 1, 0));
}

#[test]
fn layouts_of_variables_that_are_in_force_already_cost_nothing_more() {
    let everyone = || json!({"everyone": true});
    let policies = [
        deny(everyone(), &["a/${clientid}", "b/${clientid}/c"]),
        allow(everyone(), &["${client_attrs.a}/${client_attrs.b}/${client_attrs.c}"]),
        deny(everyone(), &["a/x-${clientid}"]),
        deny(everyone(), &["a/${username}"]),
        deny(everyone(), &["a/y-${clientid}/#", "b/${clientid}"]),
        deny(everyone(), &["a/${username}"]),
    ];
    let compiled = tenant(json!({"denyVariables": 2})).policies(policies).compile();
    let fits = PolicyAccepted::Accepted;
    let over = PolicyAccepted::OverBudget;
    assert_eq!(accepted(&compiled), [fits, fits, fits, over, fits, over]);
    assert_eq!(usage(&compiled.reports, Budget::DenyVariables), (3, 2, 2));
}

#[test]
fn each_shape_of_allowed_topics_counts_once() {
    let mut both = deny(json!({"everyone": true}), &["a/+/${clientid}"]);
    both["rules"].as_array_mut().unwrap().push(json!({"effect": "Allow", "actions": ["Publish"], "topics": ["a/+/+"]}));
    let everyone = || json!({"everyone": true});
    let policies = [
        allow(everyone(), &["a/+", "a/+/c/#"]),
        allow(everyone(), &["a/b", "a"]),
        both,
        allow(everyone(), &["a/b/+"]),
        allow(everyone(), &["a/+/e"]),
    ];
    let compiled = tenant(json!({"allowShapes": 2})).policies(policies).compile();
    let fits = PolicyAccepted::Accepted;
    let over = PolicyAccepted::OverBudget;
    assert_eq!(accepted(&compiled), [fits, fits, fits, over, fits]);
    assert_eq!(usage(&compiled.reports, Budget::AllowShapes), (3, 2, 2));
    let told = compiled.reports.policies["p2"].findings[0].to_string();
    assert!(told.contains("`limits.allowShapes` has no room for it, so it allows nothing"), "{told}");
}

#[test]
fn levels_of_denials_count_together() {
    let policies = ["a/b/c", "a/b", "a/b/c"].map(|topic| deny(json!({"clientIds": ["dev1"]}), &[topic]));
    let compiled = tenant(json!({"denyLevels": 5})).policies(policies).compile();
    let fits = PolicyAccepted::Accepted;
    let over = PolicyAccepted::OverBudget;
    assert_eq!(accepted(&compiled), [fits, fits, over]);
    assert_eq!(usage(&compiled.reports, Budget::DenyLevels), (8, 5, 1));
}

#[test]
fn a_topic_that_is_too_deep_allows_nothing_and_denies_everything() {
    let both =
        [allow(json!({"everyone": true}), &["a/#", "a/b/c/d"]), deny(json!({"clientIds": ["dev1"]}), &["a/b/c/d"])];
    let compiled = tenant(json!({"topicLevels": 3})).policies(both).compile();
    assert_eq!(fixture::verdict(&compiled, "dev1", "a/1"), "ns/p1 rules[0]");
    assert!(allowed(&compiled, "dev2", "a/1"));
    assert_eq!(usage(&compiled.reports, Budget::TopicLevels), (4, 3, 2));
    let told = compiled.reports.policies["p0"].findings[0].to_string();
    assert!(told.starts_with("rules[0].topics[1]: it has 4 levels") && told.ends_with("(OverBudget)"), "{told}");
}

#[test]
fn a_device_that_does_not_fit_cannot_log_in_and_its_client_id_stays_taken() {
    let policies = || [allow(json!({"everyone": true}), &["a/#"])];
    let three = || [device("dev1"), device("dev2"), device("dev3")];
    let compiled = Tenant::new(json!({"devices": 2})).devices(three()).policies(policies()).compile();
    assert_eq!(ready(&compiled), [DeviceReady::Ready, DeviceReady::Ready, DeviceReady::OverBudget]);
    assert!(allowed(&compiled, "dev2", "a/1"));
    assert_eq!(fixture::verdict(&compiled, "dev3", "a/1"), "Disabled");
    assert_eq!(fixture::verdict_of_key(&compiled, "dev3", "a/1"), "ClientIdTaken");
    assert!(fixture::verdict_of_key(&compiled, "dev4", "a/1").is_empty(), "others' client IDs stay open to the key");
    assert_eq!(usage(&compiled.reports, Budget::Devices), (3, 2, 1));
    // The same where no more than its client ID is known.
    let mut gathered = Tenant::new(json!({"devices": 2})).devices(three()).policies(policies()).gathered();
    let (last, _) = gathered.devices.pop().unwrap();
    gathered.beyond.devices.push(BeyondDevice::from(last.as_ref()));
    let known_by_name = compile(&gathered, 0);
    assert_eq!((known_by_name.bundle, known_by_name.reports), (compiled.bundle, compiled.reports));
}

#[test]
fn a_bundle_of_too_many_bytes_keeps_the_newest_objects_out_whatever_their_kind() {
    let topic = format!("a/{}", "x".repeat(800));
    let policies = (0..100).map(|_| allow(json!({"clientIds": ["dev1"]}), &[&topic]));
    let compiled = tenant(json!({"bundleBytes": 65_536})).policies(policies).compile();
    let accepted = accepted(&compiled);
    let fit = accepted.iter().position(|accepted| *accepted == PolicyAccepted::OverBudget).unwrap();
    assert!((50..80).contains(&fit), "{fit}");
    // Reports are in the order of names, p10 before p2: all that fit are the oldest.
    let in_force: std::collections::BTreeSet<String> =
        compiled.bundle.policies.iter().map(|policy| policy.name.clone()).collect();
    let oldest: std::collections::BTreeSet<String> = (0..in_force.len()).map(|number| format!("p{number}")).collect();
    assert_eq!(in_force, oldest);
    let bytes: usize = compiled.bundle.policies.iter().map(mqtt_access_core::bundle::policy_bytes).sum();
    assert!(bytes <= 65_536 && bytes > 60_000, "{bytes}");
    assert_eq!(ready(&compiled), [DeviceReady::Ready; 2]);
}

#[test]
fn a_device_whose_record_does_not_fit_is_refused_and_reserved() {
    let mut large = device("dev9");
    large["clientAttributes"] = json!({});
    for number in 0..16 {
        large["clientAttributes"][format!("attribute{number}")] = json!("v".repeat(256));
    }
    let devices = (0..20).map(|number| {
        let mut device = large.clone();
        device["clientId"] = json!(format!("dev{number}"));
        device
    });
    let compiled = Tenant::new(json!({"bundleBytes": 65_536})).devices(devices).compile();
    let out = compiled.reports.devices.values().filter(|report| report.reason == DeviceReady::OverBudget).count();
    assert!((4..10).contains(&out), "{out}");
    assert_eq!(compiled.bundle.devices.len(), 20, "every client ID stays taken");
    assert_eq!(fixture::verdict_of_key(&compiled, "dev19", "a/1"), "ClientIdTaken");
}

#[test]
fn what_is_denied_by_policies_beyond_all_bounds_is_denied_to_everyone_of_the_tenant() {
    let denials = |count: usize| (0..count).map(|number| deny(json!({"clientIds": [format!("x{number}")]}), &["a/x"]));
    let policies = |count| std::iter::once(allow(json!({"everyone": true}), &["a/#"])).chain(denials(count));
    let bounded = tenant(json!({"policies": 1})).policies(policies(MAX_CLOSED)).compile();
    assert!(allowed(&bounded, "dev1", "a/1") && !bounded.reports.budget.tenant_closed);
    let closed = tenant(json!({"policies": 1})).policies(policies(MAX_CLOSED + 3)).compile();
    assert!(!allowed(&closed, "dev1", "a/1") && closed.reports.budget.tenant_closed);
    assert_eq!(closed.bundle.policies.len(), 1 + MAX_CLOSED + 1, "one says it for all");
    let (reason, message) = closed.reports.budget.condition();
    assert!(reason == TenantBudget::OverBudget && message.contains("denied to every client"), "{message}");
}

#[test]
fn globs_that_are_too_many_even_to_deny_to_close_the_tenant() {
    let globs = |count: usize| json!({"clientIds": (0..count).map(|n| format!("x{n}*")).collect::<Vec<_>>()});
    let subjects = |count: usize| Value::Array((0..count).map(|_| globs(64)).collect());
    let policy = |count| {
        let mut policy = deny(json!({}), &["a/x"]);
        policy["subjects"] = subjects(count);
        policy
    };
    let open = allow(json!({"everyone": true}), &["a/#"]);
    let bounded = tenant(json!({"globs": 1})).policies([open.clone(), policy(16)]).compile();
    assert!(allowed(&bounded, "dev1", "a/1"));
    let closed = tenant(json!({"globs": 1})).policies([open, policy(16), policy(1)]).compile();
    assert!(!allowed(&closed, "dev1", "a/1"));
    let message = &closed.reports.policies["p2"].message;
    assert!(message.starts_with("everything is denied to every client of the tenant"), "{message}");
}

#[test]
fn a_policy_of_which_only_the_name_is_known_allows_nothing_and_a_denial_closes_the_tenant() {
    let beyond = |denies| {
        let mut gathered =
            tenant(json!({"policies": 1})).policies([allow(json!({"everyone": true}), &["a/#"])]).gathered();
        let policy = BeyondPolicy { name: "z".to_owned(), created: 99, generation: Some(1), denies };
        gathered.beyond.policies.push(policy);
        compile(&gathered, 0)
    };
    assert!(allowed(&beyond(false), "dev1", "a/1"));
    assert_eq!(fixture::verdict(&beyond(true), "dev1", "a/1"), "ns/z rules[0]");
    assert_eq!(accepted(&beyond(false)), [PolicyAccepted::Accepted, PolicyAccepted::OverBudget]);
    assert_eq!(usage(&beyond(false).reports, Budget::Policies), (2, 1, 1));
}

#[test]
fn the_tenant_is_told_before_and_after_a_limit_is_met() {
    let told = |policies: usize| {
        let compiled = tenant(json!({"policies": 10}))
            .policies((0..policies).map(|_| allow(json!({"clientIds": ["dev1"]}), &["a/x"])))
            .compile();
        let told: Vec<_> = compiled.reports.problems("ns", "t").filter(|told| told.kind == "MqttTenant").collect();
        let lines =
            told.iter().map(|told| (told.severity, told.reason, told.place.clone().unwrap())).collect::<Vec<_>>();
        (compiled.reports.budget.condition().0, lines)
    };
    let place = || "limits.policies".to_owned();
    assert_eq!(told(7), (TenantBudget::WithinBudget, vec![]));
    assert_eq!(told(8), (TenantBudget::NearBudget, vec![(Severity::Suspicious, "NearBudget", place())]));
    assert_eq!(told(10), (TenantBudget::NearBudget, vec![(Severity::Suspicious, "NearBudget", place())]));
    assert_eq!(told(11), (TenantBudget::OverBudget, vec![(Severity::NotInForce, "OverBudget", place())]));
}

#[test]
fn a_policy_that_does_not_decode_counts_and_what_it_may_deny_is_denied() {
    let mut strange = deny(json!({"clientIds": ["dev1"]}), &["a/x"]);
    strange["unheardOf"] = json!(true);
    let policies = [allow(json!({"everyone": true}), &["a/#"]), strange];
    let compiled = tenant(json!({"policies": 1})).policies(policies).compile();
    assert_eq!(accepted(&compiled), [PolicyAccepted::Accepted, PolicyAccepted::OverBudget]);
    assert!(!allowed(&compiled, "dev1", "a/1") && allowed(&compiled, "dev2", "a/1"));
}

#[test]
fn what_is_known_of_a_policy_by_its_name_alone_gives_the_same_as_the_whole_policy() {
    let policies = (0..SPARE_PLACES + 10).map(|number| {
        let subject = json!({"clientIds": [format!("x{number}")]});
        if number % 7 == 0 { deny(subject, &["a/x"]) } else { allow(subject, &["a/x"]) }
    });
    let whole = tenant(json!({"policies": 3})).policies(policies).gathered();
    let mut outlined = whole.clone();
    let newest = outlined.policies.split_off(3 + SPARE_PLACES);
    outlined.beyond.policies = newest.iter().map(|policy| BeyondPolicy::from(policy.as_ref())).collect();
    let (whole, outlined) = (compile(&whole, 0), compile(&outlined, 0));
    assert_eq!((whole.bundle, whole.reports), (outlined.bundle, outlined.reports));
}
