//! Who has which client IDs, where they are exclusive and where they are not.

use std::sync::Arc;

use mqtt_access_core::secret::Secret;
use mqtt_access_crds::MqttTenant;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use super::*;
use crate::compile::{Compiled, Key, compile, wanted_claims};

/// A tenant with `clientIdPrefixes: [a-]` and this in its spec, and credentials by their specs, each older than the next.
fn gathered(spec: &Value, credentials: &[(&str, Value)], before: Option<&Compiled>) -> Gathered {
    let mut whole = json!({"instanceId": "i", "clientIdPrefixes": ["a-"]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let tenant = MqttTenant::new("t", serde_json::from_value(whole).unwrap());
    let devices = credentials.iter().enumerate().map(|(number, (name, spec))| {
        let mut spec = spec.clone();
        spec["tenantRef"] = json!({"name": "t"});
        let created = format!("2026-01-01T00:00:{number:02}Z");
        let object = json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": "DeviceCredential", "spec": spec,
            "metadata": {"name": name, "uid": format!("uid of {name}"), "creationTimestamp": created}});
        let secret_name = "s".to_owned();
        let key = match spec.get("mechanisms") {
            None => Key::Ready { id: None, secret: Secret::from("key"), rotated: Box::default(), secret_name },
            Some(_) => Key::Login {
                scram: None,
                password: Some(mqtt_access_core::password::Verifier::Fast(Secret::from("hash"))),
                rotated: Box::default(),
                secret_name,
            },
        };
        (Arc::new(serde_json::from_value(object).unwrap()), key)
    });
    Gathered {
        before: before.map(|before| Arc::new(Before::of(&before.bundle))),
        session_expiry: 0,
        claims: wanted_claims(&tenant, false),
        devices: devices.collect(),
        tenant: Arc::new(tenant),
        ticket_key: Secret::new(vec![1; 32]),
        scram: mqtt_access_core::scram::ScramSettings::default(),
        acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
        revoked_tokens: std::collections::BTreeSet::new(),
        access_keys: BTreeMap::new(),
        policies: Vec::new(),
        beyond: crate::compile::Beyond::default(),
        incumbents: None,
        seniority: crate::compile::Seniority::Known,
        will_grace_seconds: 0,
    }
}

fn exclusive(keys: &[(&str, &[&str])]) -> Value {
    let keys = keys.iter().map(|(name, prefixes)| json!({"name": name, "clientIdPrefixes": prefixes}));
    json!({"exclusiveClientIds": true, "accessKeys": keys.collect::<Vec<_>>(), "peopleClientIdPrefixes": ["a-p-"]})
}

fn person(prefix: &str) -> Value {
    json!({"clientIdPrefix": prefix, "username": prefix, "mechanisms": ["Password"]})
}

fn device(client_id: &str) -> Value {
    json!({"clientId": client_id})
}

/// Prefixes of keys that are in force, by their names, and names of credentials that are refused.
fn outcome(compiled: &Compiled) -> (Vec<(&str, Vec<&str>)>, Vec<&str>) {
    let keys = compiled.bundle.tenant.access_keys.iter();
    let keys = keys.map(|key| {
        let prefixes = key.client_id_prefixes.iter().flatten().map(String::as_str);
        (key.name.as_str(), prefixes.collect())
    });
    let refused =
        compiled.reports.devices.iter().filter(|(_, report)| report.reason == DeviceReady::ClientIdPrefixTaken);
    (keys.collect(), refused.map(|(name, _)| name.as_str()).collect())
}

#[test]
fn of_two_keys_whose_prefixes_nest_the_later_is_refused_and_says_so() {
    let spec = exclusive(&[("one", &["a-x", "a-y-1"]), ("two", &["a-x-1", "a-z"]), ("three", &["a-y", "a-x"])]);
    let compiled = compile(&gathered(&spec, &[], None), 0);
    let keys = vec![("one", vec!["a-x", "a-y-1"]), ("two", vec!["a-z"]), ("three", vec![])];
    assert_eq!(outcome(&compiled), (keys, vec![]));
    let problems: Vec<Option<&str>> =
        compiled.reports.access_keys.iter().map(|key| key.prefix_problem.as_deref()).collect();
    assert_eq!(problems[0], None);
    let second = "`a-x-1` of `clientIdPrefixes` is not in force, because the access key `one` owns client IDs that begin so; \
                  change one";
    assert_eq!(problems[1], Some(second));
    assert!(problems[2].is_some_and(|why| why.contains("`a-y`") && why.contains("`a-x`")), "{problems:?}");
    let told: Vec<String> = compiled.reports.problems("n", "t").map(|told| told.to_string()).collect();
    assert!(told.contains(&format!("MqttTenant n/t: accessKeys[two]: {second} (ClientIdPrefixTaken)")), "{told:?}");
}

#[test]
fn what_is_published_stays_whoever_comes_first_in_a_list() {
    let published = compile(&gathered(&exclusive(&[("b", &["a-x"])]), &[], None), 0);
    let newer_first = exclusive(&[("a", &["a-x-1", "a-n"]), ("b", &["a-x", "a-n-1"])]);
    let compiled = compile(&gathered(&newer_first, &[], Some(&published)), 0);
    assert_eq!(outcome(&compiled), (vec![("a", vec!["a-n"]), ("b", vec!["a-x"])], vec![]));
    // Nothing is remembered beyond what is published: without it the order of the list decides.
    let cold = compile(&gathered(&newer_first, &[], None), 0);
    assert_eq!(outcome(&cold), (vec![("a", vec!["a-n", "a-x-1"]), ("b", vec![])], vec![]));
    // And so it does once the first owner has given it up.
    let given_up = exclusive(&[("a", &["a-x-1"]), ("b", &[])]);
    let compiled = self::compile(&gathered(&given_up, &[], Some(&compiled)), 0);
    assert_eq!(outcome(&compiled), (vec![("a", vec!["a-x-1"]), ("b", vec![])], vec![]));
}

#[test]
fn of_two_credentials_the_newer_is_refused_unless_it_was_published() {
    let spec = exclusive(&[]);
    let both = [("z", person("a-q-")), ("b", person("a-q-b"))];
    let compiled = compile(&gathered(&spec, &both, None), 0);
    assert_eq!(outcome(&compiled).1, ["b"]);
    assert!(compiled.bundle.devices.iter().all(|device| device.name == "z"));
    let published = compile(&gathered(&spec, &[("b", person("a-q-b"))], None), 0);
    let compiled = compile(&gathered(&spec, &both, Some(&published)), 0);
    assert_eq!(outcome(&compiled).1, ["z"], "older, but new to the tenant");
    // One that is disabled, or lost its Secret, keeps what it has.
    let mut disabled = both.clone();
    disabled[0].1["disabled"] = json!(true);
    assert_eq!(outcome(&compile(&gathered(&spec, &disabled, None), 0)).1, ["b"]);
}

#[test]
fn a_team_takes_from_access_keys_only_what_is_set_aside_for_people() {
    let spec = exclusive(&[("k", &["a-"])]);
    let people =
        [("alice", person("a-p-alice-")), ("all", person("a-p-")), ("bob", person("a-bob-")), ("whole", person("a-"))];
    let compiled = compile(&gathered(&spec, &people, None), 0);
    // `all` nests with `alice`, and the others with the key.
    assert_eq!(outcome(&compiled), (vec![("k", vec!["a-"])], vec!["all", "bob", "whole"]));
    let devices = [("d1", device("a-p-1")), ("d2", device("a-d2")), ("d3", device("a-p-alice-phone"))];
    let published = compile(&gathered(&spec, &people[..1], None), 0);
    let newer: Vec<_> = people[..1].iter().chain(&devices).cloned().collect();
    let compiled = compile(&gathered(&spec, &newer, Some(&published)), 0);
    assert_eq!(outcome(&compiled).1, ["d2", "d3"]);
    let report = &compiled.reports.devices["d2"].message;
    assert!(report.contains("access key `k`") && report.contains("peopleClientIdPrefixes"), "{report}");
}

#[test]
fn single_client_ids_that_were_in_force_stay_when_client_ids_become_exclusive() {
    let devices = [("d1", device("a-1")), ("d2", device("a-2"))];
    let shared = json!({"accessKeys": [{"name": "k", "clientIdPrefixes": ["a-"]}]});
    let published = compile(&gathered(&shared, &devices[..1], None), 0);
    let compiled = compile(&gathered(&exclusive(&[("k", &["a-"])]), &devices, Some(&published)), 0);
    assert_eq!(outcome(&compiled).1, ["d2"]);
    // One that was made anew under the old name is another credential.
    let mut again = gathered(&exclusive(&[("k", &["a-"])]), &devices[..1], Some(&published));
    let mut object = serde_json::to_value(again.devices[0].0.as_result().unwrap()).unwrap();
    object["metadata"]["uid"] = json!("another");
    again.devices[0].0 = Arc::new(serde_json::from_value(object).unwrap());
    assert_eq!(outcome(&compile(&again, 0)).1, ["d1"]);
    // Where nothing is known of what was, no device is shut out by a key.
    assert_eq!(outcome(&compile(&gathered(&exclusive(&[("k", &["a-"])]), &devices, None), 0)).1, Vec::<&str>::new());
}

#[test]
fn where_client_ids_are_shared_nobody_is_refused_and_keys_keep_to_their_prefixes() {
    let people = [("alice", person("a-q-")), ("all", person("a-")), ("d", device("a-q-1"))];
    for exclusive in [Value::Null, json!(false)] {
        let spec = json!({"exclusiveClientIds": exclusive, "accessKeys": [
            {"name": "all"}, {"name": "some", "clientIdPrefixes": ["a-q"]}], "peopleClientIdPrefixes": ["a-q"]});
        let compiled = compile(&gathered(&spec, &people, None), 0);
        assert!(compiled.reports.devices.values().all(|report| report.reason == DeviceReady::Ready));
        let keys = &compiled.bundle.tenant.access_keys;
        assert_eq!([&keys[0].client_id_prefixes, &keys[1].client_id_prefixes], [&None, &Some(vec!["a-q".to_owned()])]);
        assert!(compiled.bundle.tenant.sessions.is_default());
        let told: Vec<&str> = compiled.reports.problems("n", "t").map(|told| told.reason).collect();
        let missing = vec!["SecretProblem"; 2];
        let expected: Vec<&str> = missing.into_iter().chain(exclusive.is_null().then_some("SharedClientIds")).collect();
        assert_eq!(told, expected, "{exclusive}");
    }
}

#[test]
fn keys_that_share_nothing_are_no_finding() {
    for (keys, expected) in [
        (json!([{"name": "a"}]), false),
        (json!([{"name": "a"}, {"name": "b"}]), true),
        (json!([{"name": "a"}, {"name": "b", "disabled": true}]), false),
        (json!([{"name": "a"}, {"name": "b", "uses": ["ManageDevices"]}]), false),
        (json!([{"name": "a"}, {"name": "b", "uses": ["IssueTokens"]}]), true),
        (json!([{"name": "a", "clientIdPrefixes": ["x"]}, {"name": "b", "clientIdPrefixes": ["y"]}]), false),
        (json!([{"name": "a", "clientIdPrefixes": ["x", "z"]}, {"name": "b", "clientIdPrefixes": ["y", "z-1"]}]), true),
        (json!([{"name": "a", "clientIdPrefixes": ["x"]}, {"name": "b"}]), true),
    ] {
        let spec: MqttTenantSpec = serde_json::from_value(json!({"instanceId": "i", "accessKeys": keys})).unwrap();
        assert_eq!(shared(&spec).is_some(), expected, "{keys}");
    }
}

#[test]
fn a_key_without_prefixes_opens_nothing_where_client_ids_are_exclusive() {
    // The API server refuses such a tenant; one that was stored all the same gives nothing away.
    let spec = json!({"exclusiveClientIds": true, "accessKeys": [{"name": "k"}]});
    let compiled = compile(&gathered(&spec, &[], None), 0);
    assert_eq!(compiled.bundle.tenant.access_keys[0].client_id_prefixes, Some(vec![]));
}

/// What [`Book`] does, by comparing with all that was given out.
fn slow<'g>(
    people: &[String],
    given: &mut Vec<(Owner<'g>, &'g str)>,
    owner: Owner<'g>,
    text: &'g str,
    is_prefix: bool,
) -> bool {
    let for_people = |text: &str| people.iter().any(|people| text.starts_with(people.as_str()));
    let is_key = |owner: Owner<'_>| matches!(owner, Owner::AccessKey(_));
    if is_prefix && is_key(owner) && for_people(text) {
        return false;
    }
    let apart =
        |one: Owner<'_>, other: Owner<'_>, other_text: &str| is_key(one) && !is_key(other) && for_people(other_text);
    let free = given.iter().all(|(holder, held)| {
        let nest = text.starts_with(held) || (is_prefix && held.starts_with(text));
        !nest || *holder == owner || apart(*holder, owner, text) || apart(owner, *holder, held)
    });
    if free && is_prefix {
        given.push((owner, text));
    }
    free
}

fn owners() -> impl Strategy<Value = Owner<'static>> {
    prop_oneof![
        Just(Owner::AccessKey("k1")),
        Just(Owner::AccessKey("k2")),
        Just(Owner::Credential("c1")),
        Just(Owner::Credential("c2")),
        Just(Owner::Credential("c3")),
    ]
}

proptest! {
    #[test]
    fn the_book_does_what_comparing_with_everything_does(
        people in vec("[abé]{1,3}", 0..3),
        wishes in vec((owners(), "[abé]{1,5}", any::<bool>()), 1..30),
    ) {
        let (mut book, mut given) = (Book::new(&people), Vec::new());
        for (owner, text, is_prefix) in &wishes {
            // A key has no single client IDs.
            let is_prefix = *is_prefix || matches!(owner, Owner::AccessKey(_));
            let free = if is_prefix { book.take(*owner, text).is_ok() } else { book.look(*owner, text).is_none() };
            prop_assert_eq!(free, slow(&people, &mut given, *owner, text, is_prefix), "{:?} {} {}", owner, text, is_prefix);
        }
    }
}
