//! Bundles of every size and content: round trip, shard sizes, and how little a small change rewrites.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, Digest, Encoded, LoginName, Revocations, SessionRules, Spare,
    Spares, Tenant, decode, decode_index, encode,
};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::scram::Keys;
use mqtt_access_core::secret::Secret;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::Config;

const SHARD_BYTES: usize = 256 * 1024;

fn tenant() -> Tenant {
    Tenant {
        namespace: "acme".to_owned(),
        name: "factory".to_owned(),
        uid: "uid".to_owned(),
        created: 0,
        claims: Claims { instance_id: "acme".to_owned(), client_id_prefixes: Vec::new(), topic_space: Vec::new() },
        suspended: false,
        client_attributes: Map::new(),
        access_keys: Vec::new(),
        modes: vec![Mode::DeviceCredential],
        signature_algorithms: vec![MacAlgorithm::HmacSha1],
        superusers_allowed: false,
        ticket_key: Secret::new(vec![7; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn device(number: usize, bytes: usize) -> Device {
    Device {
        name: format!("d{number}"),
        uid: Some(format!("uid-{number}")),
        client_id: ClientIds::One(format!("acme-{number}")),
        key_id: format!("DC.{number}"),
        secret: Some(Secret::new(vec![number.to_le_bytes()[0]; 32])),
        login: None,
        labels: [("filler".to_owned(), "x".repeat(bytes))].into(),
        client_attributes: Map::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn rule(index: u32, topics: usize, bytes: usize) -> Rule {
    Rule {
        index,
        effect: Effect::Allow,
        actions: [Action::Publish].into(),
        topics: Topics::Listed((0..topics).map(|topic| format!("{topic}/{}", "y".repeat(bytes))).collect()),
        qos: None,
        retain: None,
    }
}

fn policy(name: &str, rules: u32, topics: usize, bytes: usize) -> Policy {
    let everyone = Subject { everyone: true, ..Subject::default() };
    let rules = (0..rules).map(|index| rule(index, topics, bytes)).collect();
    Policy { name: name.to_owned(), subjects: vec![everyone], rules }
}

fn fleet(devices: usize, bytes: usize) -> Bundle {
    Bundle {
        tenant: tenant(),
        policies: vec![policy("p", 3, 2, 10)],
        devices: (0..devices).map(|number| device(number, bytes)).collect(),
    }
}

fn decoded(encoded: &Encoded) -> Bundle {
    let index = decode_index(&encoded.index(1).unwrap()).unwrap();
    assert_eq!(index.digest, encoded.digest);
    decode(&index, |digest| encoded.shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice()))).unwrap()
}

/// Devices by client ID, and policies in one piece again.
fn in_order(bundle: Bundle) -> Bundle {
    let Bundle { tenant, policies, mut devices } = bundle;
    devices.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    let mut whole: BTreeMap<String, Policy> = BTreeMap::new();
    for policy in policies {
        let rules = policy.rules.clone();
        let known = whole.entry(policy.name.clone()).or_insert(Policy { rules: Vec::new(), ..policy });
        known.rules.extend(rules);
        known.rules.sort_by_key(|rule| rule.index);
    }
    Bundle { tenant, policies: whole.into_values().collect(), devices }
}

fn cases(by_default: u32) -> Config {
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked_for { Config::default().cases } else { by_default };
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn any_login() -> impl Strategy<Value = LoginName> {
    let bytes = || vec(any::<u8>(), 0..64).prop_map(Secret::new);
    let keys = (bytes(), bytes(), bytes());
    let keys = keys.prop_map(|(salt, stored_key, server_key)| Keys { salt, stored_key, server_key });
    let filed = (bytes(), bytes()).prop_map(|(fast, mosquitto)| Verifier::Filed { fast, mosquitto });
    let password = proptest::option::of(prop_oneof![bytes().prop_map(Verifier::Fast), filed]);
    let scram = proptest::option::of(keys);
    let spares = any_spares(|| vec(any::<u8>(), 0..64).prop_map(|bytes| Verifier::Fast(Secret::new(bytes))));
    (any::<String>(), scram, password, spares).prop_map(|(name, scram, password, spares)| LoginName {
        name,
        scram,
        password,
        spares,
    })
}

fn any_spares<S, T>(secret: impl Fn() -> T) -> impl Strategy<Value = Spares<S>>
where
    S: Clone + std::fmt::Debug + 'static,
    T: Strategy<Value = S> + 'static,
{
    let spare = || {
        let spare = (secret(), any::<i64>(), any::<i64>());
        proptest::option::of(spare.prop_map(|(secret, since, until)| Spare { secret, since, until }))
    };
    (spare(), spare()).prop_map(|(previous, next)| Spares { previous, next })
}

fn any_device() -> impl Strategy<Value = Device> {
    let texts = || btree_map(any::<String>(), any::<String>(), 0..3);
    let names = (any::<String>(), any::<Option<String>>(), any::<String>(), any::<String>());
    let secret = proptest::option::of(vec(any::<u8>(), 0..40));
    let ends = (any::<Option<i64>>(), any::<Option<i64>>());
    let flags = (any::<bool>(), any::<bool>(), ends, proptest::option::of(any_login()));
    let spares = (any_spares(|| vec(any::<u8>(), 0..40).prop_map(Secret::new)), any::<bool>());
    (names, secret, spares, texts(), texts(), flags).prop_map(
        |(names, secret, spares, labels, client_attributes, flags)| {
            let (name, uid, client_id, key_id) = names;
            let (spares, brought_along) = spares;
            let (disabled, superuser, (expires_at, rests_until), login) = flags;
            let secret = secret.map(Secret::new);
            Device {
                name,
                uid,
                client_id: ClientIds::One(client_id),
                key_id,
                secret,
                login,
                labels,
                client_attributes,
                disabled,
                superuser,
                expires_at,
                rests_until,
                spares,
                brought_along,
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_texts_a_bundle_holds_they_come_back(
        devices in vec(any_device(), 0..6),
        topics in vec(any::<String>(), 1..4),
        name in any::<String>(),
        filler in any::<String>(),
    ) {
        let devices: BTreeMap<ClientIds, Device> = devices.into_iter().map(|it| (it.client_id.clone(), it)).collect();
        let rule = Rule { topics: Topics::Listed(topics), ..rule(3, 0, 0) };
        let policies = vec![Policy { rules: vec![rule], ..policy(&name, 0, 0, 0) }];
        let tenant = Tenant { client_attributes: [(filler.clone(), filler)].into(), ..tenant() };
        let bundle = Bundle { tenant, policies, devices: devices.into_values().collect() };
        prop_assert_eq!(in_order(decoded(&encode(&bundle).unwrap())), in_order(bundle));
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn shards_stay_under_their_limit_and_lose_nothing(
        devices in 0..1_500_usize,
        bytes in 0..600_usize,
        rules in 1..64_u32,
        topics in 1..32_usize,
    ) {
        let bundle = Bundle { policies: vec![policy("big", rules, topics, 1_000)], ..fleet(devices, bytes) };
        let encoded = encode(&bundle).unwrap();
        for shard in encoded.shards.values() {
            prop_assert!(shard.len() <= SHARD_BYTES, "{}", shard.len());
        }
        prop_assert_eq!(in_order(decoded(&encoded)), in_order(bundle));
    }

    #[test]
    fn one_changed_device_rewrites_one_shard(devices in 1..2_000_usize, bytes in 0..600_usize, which in any::<prop::sample::Index>()) {
        let before = fleet(devices, bytes);
        let mut after = before.clone();
        after.devices[which.index(devices)].disabled = true;
        let shards = |bundle| encode(bundle).unwrap().shards.into_keys().collect::<BTreeSet<Digest>>();
        let (before, after) = (shards(&before), shards(&after));
        if before.len() == after.len() {
            prop_assert_eq!(before.difference(&after).count(), 1);
            prop_assert_eq!(after.difference(&before).count(), 1);
        }
    }
}

#[test]
fn the_line_before_its_records_counts_too() {
    let bundle = Bundle { policies: vec![policy("big", 35, 12, 1_000)], ..fleet(1_409, 563) };
    let largest = encode(&bundle).unwrap().shards.into_values().map(|shard| shard.len()).max();
    assert!(largest.is_some_and(|largest| largest <= SHARD_BYTES), "{largest:?}");
}

#[test]
fn which_record_goes_to_which_shard_is_part_of_the_format() {
    let encoded = encode(&fleet(2_000, 500)).unwrap();
    assert_eq!(encoded.shards.len(), 8);
    assert_eq!(encoded.digest.as_str(), "79155df571eb906e45927e0c5023d370e68819a09466938043f6f35595fe915a");
}

#[test]
fn a_record_larger_than_a_shard_has_one_of_its_own() {
    let bundle = Bundle { devices: vec![device(1, 2 * SHARD_BYTES), device(2, 0)], ..fleet(0, 0) };
    let encoded = encode(&bundle).unwrap();
    assert_eq!(in_order(decoded(&encoded)), in_order(bundle));
}
