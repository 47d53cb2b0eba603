//! Budgets of any size over tenants of any make.

use mqtt_access_core::policy::Topics;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::fixture::{Tenant, all_allowed, device};
use crate::compile::Compiled;

const CLIENTS: [&str; 5] = ["dev0", "dev1", "dev2", "dev3", "other"];
/// Stands for what a Deny denies that cannot be kept as it is written.
const EVERYTHING: &str = "(everything)";
const TOPICS: [&str; 6] = ["a/1", "a/2", "a/dev1", "a/x-dev1", "a/b/c/d", "a/b"];

fn subject() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"everyone": true}),
        json!({"clientIds": ["dev1"]}),
        json!({"clientIds": ["dev*", "*1"]}),
        json!({"accessKeys": ["backend"]}),
        json!({"attributes": {"client_id": "dev2"}}),
        json!({"deviceSelector": {"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}}),
    ])
}

fn rule() -> impl Strategy<Value = Value> {
    let topic =
        select(vec!["a/1", "a/2", "a/+", "a/#", "a/${clientid}", "a/x-${clientid}", "a/b/c/d", "a/${username}"]);
    let topics = proptest::collection::btree_set(topic, 1..4);
    (prop::bool::weighted(0.6), topics).prop_map(|(allow, topics)| {
        let effect = if allow { "Allow" } else { "Deny" };
        json!({"effect": effect, "actions": ["Publish", "Subscribe"], "topics": topics})
    })
}

fn policy() -> impl Strategy<Value = Value> {
    (vec(subject(), 1..3), vec(rule(), 1..3), prop::bool::weighted(0.1)).prop_map(|(subjects, rules, strange)| {
        let mut spec = json!({"tenantRef": {"name": "t"}, "subjects": subjects, "rules": rules});
        if strange {
            spec["unheardOf"] = json!(1);
        }
        spec
    })
}

/// Limits that objects of these strategies meet now and then.
fn limits() -> impl Strategy<Value = Map<String, Value>> {
    let small = |name: &'static str, most: u32| (Just(name), prop::option::weighted(0.4, 1..=most));
    let fields = [
        small("devices", 5),
        small("policies", 8),
        small("allowTopics", 15),
        small("denyTopics", 8),
        small("ungatedSubjects", 6),
        small("globs", 6),
        small("topicLevels", 4),
        small("denyLevels", 20),
        small("denyVariables", 3),
        small("allowShapes", 4),
    ];
    fields.prop_map(|fields| {
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect()
    })
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let devices = vec((0..20_i64, select(CLIENTS.to_vec())), 0..6);
    (devices, vec((0..20_i64, policy()), 0..10), limits()).prop_map(|(devices, policies, limits)| Tenant {
        limits: Value::Object(limits),
        devices: devices.into_iter().map(|(created, client_id)| (created, device(client_id))).collect(),
        policies,
    })
}

/// What is in force as it is written: names of policies with their topics, and of devices that can log in.
fn in_force(compiled: &Compiled) -> Vec<String> {
    let fits = |name: &String| {
        let report = &compiled.reports.policies[name];
        report.accepted == mqtt_access_crds::PolicyAccepted::Accepted
    };
    let policies = compiled.bundle.policies.iter().filter(|policy| fits(&policy.name));
    let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (&policy.name, rule)));
    let topics = rules.flat_map(|(name, rule)| {
        let topics = match &rule.topics {
            Topics::Listed(topics) => topics.clone(),
            Topics::Everything => vec![EVERYTHING.to_owned()],
        };
        topics.into_iter().map(move |topic| format!("{name} {} {:?} {topic}", rule.index, rule.effect))
    });
    let devices = compiled.bundle.devices.iter().filter(|device| !device.disabled);
    topics.chain(devices.map(|device| device.name.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn with_a_budget_nothing_is_allowed_that_is_refused_without(tenant in tenant()) {
        let with = all_allowed(&tenant.compile(), &CLIENTS, &TOPICS);
        let without = Tenant { limits: json!({}), ..tenant };
        let without = all_allowed(&without.compile(), &CLIENTS, &TOPICS);
        let more: Vec<&String> = with.iter().filter(|one| !without.contains(one)).collect();
        prop_assert!(more.is_empty(), "{more:?}");
    }

    #[test]
    fn newer_objects_change_nothing_of_what_older_ones_are(
        tenant in tenant(), policies in vec(policy(), 0..4), devices in vec(select(CLIENTS.to_vec()), 0..3)
    ) {
        let before = tenant.compile();
        let mut after = tenant;
        after.policies.extend(policies.into_iter().map(|policy| (100, policy)));
        after.devices.extend(devices.into_iter().map(|client_id| (100, device(client_id))));
        let after = after.compile();
        for (name, report) in &before.reports.policies {
            prop_assert_eq!(report, &after.reports.policies[name]);
        }
        for (name, report) in &before.reports.devices {
            prop_assert_eq!(report, &after.reports.devices[name]);
        }
        let kept = in_force(&after);
        prop_assert!(in_force(&before).iter().all(|one| kept.contains(one)));
    }

    #[test]
    fn a_limit_that_is_lowered_lets_nothing_in_and_takes_the_newest_out_first(
        tenant in tenant(), lower in limits(), field in select(vec!["devices", "policies", "allowTopics", "denyTopics",
            "ungatedSubjects", "globs", "topicLevels", "denyLevels", "denyVariables", "allowShapes"])
    ) {
        let before = tenant.compile();
        let mut after = tenant;
        let was = after.limits[field].as_u64().unwrap_or(u64::MAX);
        let Some(lower) = lower.get(field).filter(|lower| lower.as_u64().is_some_and(|lower| lower <= was)) else {
            return Ok(());
        };
        after.limits[field] = lower.clone();
        let lowered = after.compile();
        let known = in_force(&before);
        // What is beyond the number counts in no other limit, so room there may become free for others of the other kind.
        let fresh: Vec<String> =
            in_force(&lowered).into_iter().filter(|one| !known.contains(one) && !one.ends_with(EVERYTHING)).collect();
        prop_assert!(fresh.is_empty(), "{field}: {fresh:?}");
        let mut by_age: Vec<(i64, String)> =
            after.policies.iter().enumerate().map(|(number, (created, _))| (*created, format!("p{number}"))).collect();
        by_age.sort();
        if field == "policies" {
            let out = |(_, name): &(i64, String)| lowered.reports.policies[name].message.contains("`limits.policies`");
            let first = by_age.iter().position(out).unwrap_or(by_age.len());
            prop_assert!(by_age.iter().skip(first).all(out), "a newer policy fits by its number and an older does not");
        }
    }

    #[test]
    fn a_bundle_never_has_more_bytes_than_its_limit_and_the_newest_are_out(
        limit in 65_536..=80_000_usize, sizes in vec((0..1000_i64, 1..32_usize), 1..60)
    ) {
        let policies = sizes.iter().map(|(created, size)| {
            let topics: Vec<String> = (0..*size).map(|number| format!("a/{number}{}", "x".repeat(100))).collect();
            (*created, json!({"tenantRef": {"name": "t"}, "subjects": [{"clientIds": ["dev1"]}],
                "rules": [{"effect": "Allow", "actions": ["Publish"], "topics": topics}]}))
        });
        let tenant = Tenant { limits: json!({"bundleBytes": limit}), devices: Vec::new(), policies: policies.collect() };
        let compiled = tenant.compile();
        let used: usize = compiled.bundle.policies.iter().map(mqtt_access_core::bundle::policy_bytes).sum();
        prop_assert!(used <= limit);
        let mut by_age: Vec<(i64, String)> =
            sizes.iter().enumerate().map(|(number, (created, _))| (*created, format!("p{number}"))).collect();
        by_age.sort();
        let kept = |(_, name): &(i64, String)| compiled.bundle.policies.iter().any(|policy| policy.name == *name);
        let count = compiled.bundle.policies.len();
        prop_assert!(by_age.iter().take(count).all(kept), "an older policy is out and a newer one is not");
    }
}
