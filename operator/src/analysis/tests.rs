//! Each finding with an object that has it and one that looks alike and has not.

use std::collections::BTreeSet;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, Device, KeyUse, Revocations, SessionRules, Space, Spares, Tenant,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_core::secret::Secret;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;

mod large;

fn tenant(access_keys: &[&str]) -> Tenant {
    Tenant {
        namespace: "acme".to_owned(),
        name: "t".to_owned(),
        uid: "1".to_owned(),
        created: 0,
        claims: Claims {
            instance_id: "i".to_owned(),
            client_id_prefixes: vec!["GID_a@@@".to_owned()],
            topic_space: vec![Space { filter: "acme/#".to_owned(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: [("plant".to_owned(), "1".to_owned())].into(),
        access_keys: access_keys.iter().map(|name| key(name)).collect(),
        modes: vec![Mode::DeviceCredential, Mode::Signature],
        signature_algorithms: vec![MacAlgorithm::HmacSha1],
        superusers_allowed: false,
        ticket_key: Secret::new(vec![1; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn key(name: &str) -> AccessKey {
    AccessKey {
        name: name.to_owned(),
        id: format!("AK.{name}"),
        secret: Some(Secret::new(vec![1; 32])),
        disabled: false,
        generated: true,
        client_id_prefixes: None,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
    }
}

/// `labels` and `attributes` as JSON objects.
fn device(name: &str, labels: &Value, attributes: &Value) -> Device {
    Device {
        name: name.to_owned(),
        uid: None,
        client_id: format!("GID_a@@@{name}").as_str().into(),
        key_id: format!("DC.{name}"),
        secret: Some(Secret::new(vec![1; 32])),
        login: None,
        labels: serde_json::from_value(labels.clone()).unwrap(),
        client_attributes: serde_json::from_value(attributes.clone()).unwrap(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn policy(name: &str, subjects: &Value, rules: &[Value]) -> Policy {
    let mut rules = rules.to_vec();
    for (index, rule) in rules.iter_mut().enumerate() {
        rule["index"] = json!(index);
        rule["topics"] = json!({"listed": rule["topics"]});
    }
    serde_json::from_value(json!({"name": name, "subjects": subjects, "rules": rules})).unwrap()
}

fn rule(effect: &str, actions: &[&str], topics: &[&str]) -> Value {
    json!({"effect": effect, "actions": actions, "topics": topics})
}

const BOTH: [&str; 2] = ["Publish", "Subscribe"];

fn everyone() -> Value {
    json!([{"everyone": true}])
}

fn two_devices() -> Vec<Device> {
    vec![
        device("d1", &json!({"kind": "x"}), &json!({"site": "berlin"})),
        device("d2", &json!({"kind": "y"}), &json!({})),
    ]
}

fn bundle(keys: &[&str], devices: Vec<Device>, policies: Vec<Policy>) -> Bundle {
    Bundle { tenant: tenant(keys), policies, devices }
}

/// What is found, which is the same with an index that knows no topics.
fn analysed(bundle: &Bundle) -> Analysis {
    let of = |index: &TenantIndex| analyse(&bundle.policies, index, &Config::default().brokers[0], []);
    let analysis = of(&audiences(bundle).unwrap());
    assert_eq!(of(&TenantIndex::new(bundle.clone(), 1).unwrap()), analysis);
    analysis
}

/// What is found, as `policy place reason`.
fn found(keys: &[&str], devices: Vec<Device>, policies: Vec<Policy>) -> Vec<String> {
    let analysis = analysed(&bundle(keys, devices, policies));
    assert!(analysis.complete);
    let all = analysis.findings.into_iter().flat_map(|(policy, findings)| {
        findings.into_iter().map(move |finding| format!("{policy} {} {}", finding.place, finding.reason.as_str()))
    });
    all.collect()
}

#[test]
fn what_a_deny_refuses_to_the_same_clients_is_shadowed() {
    let trucks = json!([{"deviceSelector": {"matchLabels": {"kind": "x"}}}]);
    let case = |subjects: &Value, deny: Value| {
        let allow = policy("a", &trucks, &[rule("Allow", &BOTH, &["acme/fleet/${clientid}/x"])]);
        found(&["k"], two_devices(), vec![allow, policy("d", subjects, &[deny])])
    };
    let shadowed = ["a rules[0].topics[0] ShadowedByDeny"];
    assert_eq!(case(&trucks, rule("Deny", &BOTH, &["acme/fleet/#"])), shadowed);
    assert_eq!(case(&everyone(), rule("Deny", &BOTH, &["acme/+/${clientid}/x"])), shadowed);
    let nothing: [&str; 0] = [];
    assert_eq!(case(&everyone(), rule("Deny", &["Publish"], &["acme/fleet/#"])), nothing, "subscriptions are left");
    assert_eq!(case(&everyone(), rule("Deny", &BOTH, &["acme/fleet/y"])), nothing);
    assert_eq!(
        case(&json!([{"clientIds": ["GID_a@@@d1"]}]), rule("Deny", &BOTH, &["acme/#"])),
        nothing,
        "fewer clients"
    );
    let mut with_qos = rule("Deny", &BOTH, &["acme/fleet/#"]);
    with_qos["qos"] = json!([1, 2]);
    assert_eq!(case(&everyone(), with_qos.clone()), nothing, "QoS 0 is left");
    with_qos["qos"] = json!([0, 1, 2]);
    assert_eq!(case(&everyone(), with_qos), shadowed);
    let mut retained = rule("Deny", &BOTH, &["acme/fleet/#"]);
    retained["retain"] = json!(true);
    assert_eq!(case(&everyone(), retained), nothing, "what is not retained is left");
}

#[test]
fn an_allow_within_another_is_told_once() {
    let two = |first: Value, second: Value| {
        let policies =
            vec![policy("a", &everyone(), &[first]), policy("b", &json!([{"clientIds": ["GID_a@@@d*"]}]), &[second])];
        found(&["k"], vec![device("d", &json!({}), &json!({}))], policies)
    };
    let allow = |topic: &str| rule("Allow", &BOTH, &[topic]);
    assert_eq!(two(allow("acme/#"), allow("acme/${clientid}")), ["b rules[0].topics[0] InsideAnotherAllow"]);
    let nothing: [&str; 0] = [];
    assert_eq!(two(allow("acme/${clientid}"), allow("acme/#")), nothing);
    assert_eq!(two(rule("Allow", &["Publish"], &["acme/#"]), allow("acme/x")), nothing, "one action is left");
    let twice = policy("a", &everyone(), &[rule("Allow", &BOTH, &["acme/x", "acme/y", "eq acme/x"]), allow("acme/y")]);
    assert_eq!(
        found(&["k"], vec![], vec![twice]),
        ["a rules[0].topics[2] InsideAnotherAllow", "a rules[1].topics[0] InsideAnotherAllow"]
    );
}

#[test]
fn a_policy_that_selects_nobody_is_told_so_once_there_are_devices() {
    let case = |keys: &[&str], devices, subjects: &Value| {
        found(keys, devices, vec![policy("a", subjects, &[rule("Allow", &BOTH, &["acme/x"])])])
    };
    let nobody = ["a subjects SelectsNobody"];
    let nothing: [&str; 0] = [];
    let kind = |kind: &str| json!([{"deviceSelector": {"matchLabels": {"kind": kind}}}]);
    assert_eq!(case(&["k"], two_devices(), &kind("z")), nobody);
    assert_eq!(case(&["k"], two_devices(), &kind("x")), nothing);
    assert_eq!(case(&["k"], vec![], &kind("z")), nothing, "devices are still to come");
    assert_eq!(case(&["k"], vec![], &json!([{"accessKeys": ["typo"]}])), nobody);
    assert_eq!(case(&["k"], vec![], &json!([{"accessKeys": ["k"]}])), nothing);
    assert_eq!(case(&[], two_devices(), &json!([{"clientIds": ["GID_a@@@d3"]}])), nobody);
    assert_eq!(
        case(&["k"], two_devices(), &json!([{"clientIds": ["GID_a@@@d3"]}])),
        nothing,
        "a key may have this client ID"
    );
    assert_eq!(
        case(&["k"], two_devices(), &json!([{"clientIds": ["GID_b@@@*"]}])),
        nobody,
        "no client of the tenant may"
    );
    assert_eq!(case(&["k"], two_devices(), &json!([{"clientIds": ["GID*"]}])), nothing);
    assert_eq!(case(&["k"], two_devices(), &json!([{"attributes": {"auth_mode": "Signature"}}])), nothing);
    assert_eq!(case(&["k"], two_devices(), &json!([{"attributes": {"auth_mode": "signature"}}])), nobody);
    assert_eq!(case(&[], two_devices(), &json!([{"attributes": {"device_id": "d1"}}])), nothing);
    assert_eq!(case(&[], two_devices(), &json!([{"attributes": {"group_id": "d1"}}])), nobody);
    assert_eq!(case(&["k"], two_devices(), &json!([{"attributes": {"plant": "1", "site": "berlin"}}])), nothing);
    assert_eq!(case(&["k"], two_devices(), &json!([{"attributes": {"plant": "2"}}])), nobody);
}

#[test]
fn a_variable_without_a_value_for_any_selected_client_is_told() {
    let case = |keys: &[&str], subjects: &Value, topic: &str| {
        found(keys, two_devices(), vec![policy("a", subjects, &[rule("Allow", &BOTH, &["acme/x", topic])])])
    };
    let kind = |kind: &str| json!([{"deviceSelector": {"matchLabels": {"kind": kind}}}]);
    let missing = ["a rules[0].topics[1] VariableWithoutValue"];
    let nothing: [&str; 0] = [];
    assert_eq!(case(&[], &everyone(), "acme/${client_attrs.site}"), nothing, "one device has it");
    assert_eq!(case(&[], &kind("x"), "acme/${client_attrs.site}"), nothing);
    assert_eq!(case(&[], &kind("y"), "acme/${client_attrs.site}"), missing);
    assert_eq!(case(&[], &kind("y"), "acme/${client_attrs.plant}"), nothing, "the tenant has it");
    assert_eq!(case(&["k"], &json!([{"accessKeys": ["k"]}]), "acme/${client_attrs.site}"), missing);
    for builtin in ["tenant_id", "instance_id", "client_id", "group_id", "device_id", "auth_mode"] {
        let topic = format!("acme/${{client_attrs.{builtin}}}");
        assert_eq!(case(&[], &everyone(), &topic), nothing, "{builtin}");
        assert_eq!(case(&["k"], &json!([{"accessKeys": ["k"]}]), &topic), nothing, "{builtin}");
    }
    assert_eq!(case(&[], &everyone(), "acme/${client_attrs.mqa_ticket}"), missing);
    assert_eq!(case(&[], &everyone(), "acme/${username}/${clientid}"), nothing);
}

#[test]
fn people_have_a_username_and_no_client_id_of_their_own() {
    let alice = Device {
        client_id: mqtt_access_core::bundle::ClientIds::Prefix { prefix: "GID_a@@@alice".to_owned() },
        login: Some(serde_json::from_value(json!({"name": "alice"})).unwrap()),
        ..device("alice", &json!({}), &json!({}))
    };
    let topics = ["acme/${username}", "acme/${clientid}", "acme/${client_attrs.device_id}"];
    assert_eq!(
        found(&[], vec![alice], vec![policy("a", &everyone(), &[rule("Allow", &BOTH, &topics)])]),
        ["a rules[0].topics[1] VariableWithoutValue", "a rules[0].topics[2] VariableWithoutValue"]
    );
}

#[test]
fn what_reaches_every_device_is_told() {
    let case = |subjects: &Value, rule: Value| {
        let own =
            policy("own", &everyone(), &[self::rule("Allow", &["Publish"], &["acme/${client_attrs.device_id}/up"])]);
        let devices = vec![device("d1", &json!({}), &json!({})), device("d2", &json!({}), &json!({}))];
        found(&["k"], devices, vec![own, policy("wide", subjects, &[rule])])
    };
    let wide = ["wide rules[0].topics[0] ReachesEveryDevice"];
    let nothing: [&str; 0] = [];
    assert_eq!(case(&everyone(), rule("Allow", &["Subscribe"], &["acme/#"])), wide, "the whole topic space");
    assert_eq!(case(&everyone(), rule("Allow", &["Subscribe"], &["eq acme/#"])), wide);
    let any = case(&json!([{"clientIds": ["*"]}]), rule("Allow", &["Subscribe"], &["acme/#"]));
    assert_eq!(any, ["wide subjects AnyClientId", wide[0]]);
    assert!(
        case(&everyone(), rule("Allow", &["Publish"], &["acme/+/up"])).contains(&wide[0].to_owned()),
        "others' topics"
    );
    assert_eq!(
        case(&everyone(), rule("Allow", &["Subscribe"], &["acme/+/up"])),
        nothing,
        "nobody's own to subscribe to"
    );
    assert_eq!(case(&everyone(), rule("Allow", &["Publish"], &["acme/fleet/#"])), nothing);
    assert_eq!(
        case(&json!([{"accessKeys": ["k"]}]), rule("Allow", &["Subscribe"], &["acme/#"])),
        nothing,
        "backends may"
    );
    assert_eq!(case(&everyone(), rule("Deny", &["Subscribe"], &["acme/#"])), nothing);
}

#[test]
fn what_can_never_match_is_told() {
    let deny = |actions: &[&str], topic: &str| {
        found(&["k"], vec![], vec![policy("a", &everyone(), &[rule("Deny", actions, &[topic])])])
    };
    let never = ["a rules[0].topics[0] NeverMatches"];
    assert_eq!(deny(&["Publish"], "eq acme/+"), never);
    assert_eq!(deny(&BOTH, "$share/g/acme/#"), never);
    assert!(deny(&["Subscribe"], "eq acme/+").is_empty() && deny(&BOTH, "$SYS/#").is_empty());
    let mut retained = rule("Allow", &["Subscribe"], &["acme/x"]);
    retained["retain"] = json!(true);
    assert_eq!(
        found(&["k"], vec![], vec![policy("a", &everyone(), &[retained])]),
        ["a rules[0].retain RestrictsNothing"]
    );
}

#[test]
fn what_a_chosen_acl_file_cannot_say_is_a_finding_and_of_others_a_note() {
    let mut limited = rule("Allow", &["Publish"], &["acme/${clientid}"]);
    limited["qos"] = json!([1]);
    let bundle = bundle(&["k"], two_devices(), vec![policy("a", &everyone(), &[limited])]);
    let index = TenantIndex::new(bundle, 1).unwrap();
    let analysed = |acl_files: Option<Vec<Language>>| {
        let broker = Broker { acl_files, ..Config::default().brokers[0].clone() };
        let sections = acl_file::Sections::of(&index, 0);
        let chosen = narrowed(&index, &broker, 0);
        let analysis = analyse(index.policies(), &index, &broker, sections.narrowed());
        let same =
            analyse(index.policies(), &index, &broker, chosen.iter().map(|(language, narrowed)| (*language, narrowed)));
        assert_eq!(analysis.findings, same.findings);
        let told =
            |findings: &BTreeMap<String, Vec<Finding>>| findings.values().flatten().map(ToString::to_string).collect();
        (told(&analysis.findings), told(&analysis.notes))
    };
    let (findings, notes): (Vec<String>, Vec<String>) = analysed(Some(vec![Language::Mosquitto]));
    assert!(findings.len() == 1 && notes.is_empty(), "{findings:?} {notes:?}");
    assert!(findings[0].starts_with("rules[0]: "), "{findings:?}");
    assert!(findings[0].ends_with("(NarrowedInAclFile, broker `default`, Mosquitto)"), "{findings:?}");
    let (findings, notes) = analysed(None);
    assert!(findings.is_empty() && notes.iter().any(|note| note.contains("Mosquitto)")), "{findings:?} {notes:?}");
    let (findings, notes) = analysed(Some(Vec::new()));
    assert!(findings.is_empty() && notes.is_empty(), "{findings:?} {notes:?}");
}

#[test]
fn the_parts_of_a_policy_are_one_policy() {
    let whole = policy(
        "a",
        &json!([{"clientIds": ["GID_b@@@x"]}]),
        &[rule("Allow", &BOTH, &["acme/x"]), rule("Allow", &BOTH, &["acme/x"])],
    );
    let (first, second) = whole.rules.split_at(1);
    let parts = [second, first].map(|rules| Policy { rules: rules.to_vec(), ..whole.clone() });
    let expected = ["a subjects SelectsNobody", "a rules[1].topics[0] InsideAnotherAllow"];
    assert_eq!(found(&["k"], two_devices(), parts.to_vec()), expected);
}

#[test]
fn reasons_are_told_apart_by_their_names() {
    let names: BTreeSet<&str> = FindingReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), FindingReason::ALL.len());
}
