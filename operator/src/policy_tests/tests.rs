//! Tests of policies, on a tenant with a device, a login of two modes, a key, and one that is disabled.

use serde_json::{Value, json};

use super::*;
use crate::compile::{Gathered, Key, compile, wanted_claims};

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let metadata = json!({"namespace": "ns", "name": name});
    serde_json::from_value(
        json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}),
    )
    .unwrap()
}

fn key() -> Key {
    Key::Ready {
        id: None,
        secret: mqtt_access_core::secret::Secret::new(vec![1; 32]),
        rotated: Box::default(),
        secret_name: "s".to_owned(),
    }
}

fn login() -> Key {
    let secret = || mqtt_access_core::secret::Secret::new(vec![1; 32]);
    let scram = mqtt_access_core::scram::Keys { salt: secret(), stored_key: secret(), server_key: secret() };
    let password = mqtt_access_core::password::Verifier::fast(&secret(), &secret());
    Key::Login { scram: Some(scram), password: Some(password), rotated: Box::default(), secret_name: "s".to_owned() }
}

fn gathered(tests: &Value) -> Gathered {
    let tenant: mqtt_access_crds::MqttTenant = object(
        "MqttTenant",
        "t",
        &json!({"instanceId": "i", "topicSpace": [{"filter": "a/#"}], "accessKeys": [{"name": "backend"}]}),
    );
    let device = |name: &str, more: Value| {
        let mut spec = json!({"tenantRef": {"name": "t"}, "clientId": name});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Arc::new(object::<Stored<mqtt_access_crds::DeviceCredential>>("DeviceCredential", name, &spec))
    };
    let rules = json!([
        {"effect": "Allow", "actions": ["Publish", "Subscribe"], "topics": ["a/${clientid}/#"]},
        {"effect": "Allow", "actions": ["Publish"], "topics": ["a/by/${username}"], "qos": [1]},
        {"effect": "Deny", "actions": ["Publish"], "topics": ["a/dev1/secret"]},
    ]);
    let spec = json!({"tenantRef": {"name": "t"}, "subjects": [{"everyone": true}], "rules": rules, "tests": tests});
    let policy = Arc::new(object::<Stored<AclPolicy>>("AclPolicy", "p", &spec));
    Gathered {
        before: None,
        session_expiry: 0,
        claims: wanted_claims(&tenant, false),
        tenant: Arc::new(tenant),
        ticket_key: mqtt_access_core::secret::Secret::new(vec![1; 32]),
        scram: mqtt_access_core::scram::ScramSettings::default(),
        revoked_tokens: std::collections::BTreeSet::new(),
        acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
        will_grace_seconds: 0,
        access_keys: [("backend".to_owned(), key())].into(),
        devices: vec![
            (device("dev1", json!({})), key()),
            (device("gone", json!({"disabled": true})), key()),
            (device("sensor", json!({"mechanisms": ["Scram", "Password"]})), login()),
        ],
        policies: vec![policy],
        incumbents: None,
        seniority: crate::compile::Seniority::Known,
        beyond: crate::compile::Beyond::default(),
    }
}

fn outcome(tests: &Value) -> TestOutcome {
    let gathered = gathered(tests);
    let bundle = compile(&gathered, 0).bundle;
    let index = TenantIndex::new(bundle, 0).unwrap();
    evaluate(&index, &gathered.policies, 0).remove("p").unwrap_or_default()
}

fn failure(test: &Value) -> String {
    let TestOutcome { total, failures } = outcome(&json!([test]));
    assert_eq!((total, failures.len()), (1, 1), "{test}");
    failures.into_iter().map(|failure| failure.to_string()).collect()
}

#[test]
fn tests_that_get_their_answer_pass_in_every_mode() {
    let outcome = outcome(&json!([
        {"as": {"clientId": "dev1"}, "publish": "a/dev1/up", "expect": "Allow"},
        {"as": {"clientId": "dev1"}, "publish": "a/dev1/secret", "expect": "Deny"},
        {"as": {"clientId": "dev1"}, "subscribe": "a/dev1/#", "expect": "Allow"},
        {"as": {"clientId": "dev1"}, "subscribe": "$share/g/a/dev1/#", "expect": "Allow"},
        {"as": {"clientId": "dev1"}, "subscribe": "a/#", "expect": "Deny"},
        {"as": {"clientId": "gone"}, "publish": "a/gone/up", "expect": "Deny"},
        {"as": {"clientId": "x", "accessKey": "backend"}, "publish": "a/x/up", "expect": "Allow"},
        {"as": {"username": "sensor"}, "publish": "a/sensor/up", "qos": 2, "retain": true, "expect": "Allow"},
    ]));
    assert_eq!(outcome, TestOutcome { total: 8, failures: Vec::new() });
}

#[test]
fn a_failure_says_which_test_what_was_expected_and_which_rule_decided() {
    let secret =
        json!({"name": "dev1 keeps out", "as": {"clientId": "dev1"}, "publish": "a/dev1/secret", "expect": "Allow"});
    assert_eq!(
        failure(&secret),
        "tests[0] (dev1 keeps out): expected Allow, got Deny by ns/p rules[2], mode DeviceCredential"
    );
    let up = json!({"as": {"clientId": "dev1"}, "publish": "a/dev1/up", "expect": "Deny"});
    assert_eq!(failure(&up), "tests[0]: expected Deny, got Allow by ns/p rules[0], mode DeviceCredential");
    let other = json!({"as": {"clientId": "dev1"}, "publish": "a/dev2/up", "expect": "Allow"});
    assert!(failure(&other).ends_with("got Deny by NotGranted, mode DeviceCredential"), "{}", failure(&other));
    let gone = json!({"as": {"clientId": "gone"}, "publish": "a/gone/up", "expect": "Allow"});
    assert!(failure(&gone).ends_with("got Deny by Disabled, mode DeviceCredential"), "{}", failure(&gone));
}

#[test]
fn of_several_ways_to_log_in_the_one_that_differs_fails() {
    // A password proves the login name, SCRAM does not.
    let test = json!({"as": {"clientId": "sensor"}, "publish": "a/by/sensor", "qos": 1, "expect": "Allow"});
    assert_eq!(failure(&test), "tests[0]: expected Allow, got Deny by NotGranted, mode Scram");
    let test = json!({"as": {"clientId": "sensor"}, "publish": "a/by/sensor", "qos": 1, "expect": "Deny"});
    assert_eq!(failure(&test), "tests[0]: expected Deny, got Allow by ns/p rules[1], mode Password");
}

#[test]
fn a_client_that_does_not_exist_fails_whatever_is_expected() {
    for (client, expected) in [
        (json!({"clientId": "nobody"}), "no DeviceCredential has the client ID `nobody`"),
        (json!({"clientId": "dev1", "accessKey": "none"}), "no access key `none`"),
        (json!({"username": "none"}), "login name `none`"),
    ] {
        for expect in ["Allow", "Deny"] {
            let told = failure(&json!({"as": client, "publish": "a", "expect": expect}));
            assert!(told.contains("got no answer") && told.contains(expected), "{told}");
        }
    }
    let told = failure(&json!({"as": {"clientId": "dev1"}, "subscribe": "$share/g", "expect": "Deny"}));
    assert!(told.contains("reserved prefix"), "{told}");
}

#[test]
fn tests_change_nothing_that_is_in_force() {
    let failing = json!([{"as": {"clientId": "nobody"}, "publish": "a", "expect": "Allow"}]);
    let bundle = |tests: &Value| compile(&gathered(tests), 0).bundle;
    assert_eq!(bundle(&failing), bundle(&json!([])));
    assert_eq!(outcome(&json!([])), TestOutcome::default());
}

#[test]
fn failures_are_findings_about_their_policy() {
    let test = json!({"name": "n", "as": {"clientId": "dev1"}, "publish": "a/dev1/up", "expect": "Deny"});
    let told = outcome(&json!([test])).failures[0].told("ns");
    assert_eq!(
        told.to_string(),
        "AclPolicy ns/p: tests[0] (n): expected Deny, got Allow by ns/p rules[0], mode DeviceCredential (Failed)"
    );
}
