//! The bundle format, pinned by committed bytes: what any version wrote decodes for ever, and the same content gives the
//! same bytes.
//!
//! `WRITE_FIXTURES=1 cargo test -p mqtt-access-tests --test bundle_fixtures` writes the folder of the present version anew.
//! That is for the time before it is released; afterwards a change of format is a new version with its own folder.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::borrow::Cow;
use std::path::PathBuf;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, BundleError, Claims, ClientIds, Device, Digest, Encoded, EnvelopeError,
    FORMAT_VERSION, Forgotten, KeyUse, LoginName, Rest, Resting, Revocations, SessionRules, ShortHash, Space, Spare,
    Spares, Tenant, decode, decode_index, encode,
};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Effect, Operator, Policy, Qos, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::scram::{Keys, ScramAlgorithm, ScramSettings};
use mqtt_access_core::secret::Secret;

const REVISION: u64 = 1_795_000_000_000;

fn map(entries: &[(&str, &str)]) -> Map {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A bundle in which every field is used, and every optional one is also left out.
fn bundle() -> Bundle {
    let mut bundle = bundle_of_version_4();
    bundle.tenant.sessions = SessionRules {
        require_sub: true,
        will_grace_seconds: 60,
        exclusive_client_ids: true,
        people_prefixes: vec!["acme-people-".to_owned()],
        resting: Resting {
            clients: [(
                ShortHash::of_client("mqtt-acme", "acme-gone"),
                Rest { owner: ShortHash::of_uid("0c8e7f52-1d11-4e0a-9a38-7a8f7d8c9e04"), until: 1_795_010_000 },
            )]
            .into(),
            forgotten: Some(Forgotten { since: 1_794_000_000, until: 1_795_009_000 }),
        },
    };
    bundle.devices.first_mut().unwrap().rests_until = Some(1_795_009_000);
    bundle.tenant.access_keys.first_mut().unwrap().client_id_prefixes = Some(vec!["acme-backend-".to_owned()]);
    bundle
}

/// What version 4 knew.
fn bundle_of_version_4() -> Bundle {
    let mut bundle = bundle_of_version_3();
    let spare = |secret: &str| Spare { secret: Secret::from(secret), since: 1_790_000_000, until: 1_790_086_400 };
    let spares = Spares { previous: Some(spare("the one before")), next: Some(spare("the one to come")) };
    bundle.tenant.access_keys.first_mut().unwrap().spares.previous.clone_from(&spares.previous);
    let [first, second, third, fourth] = bundle.devices.get_disjoint_mut([0, 1, 2, 3]).unwrap();
    first.spares = spares;
    (second.uid, second.brought_along) = (Some("0c8e7f52-1d11-4e0a-9a38-7a8f7d8c9e03".to_owned()), true);
    fourth.uid = None;
    let verifier = Verifier::Fast(Secret::new(vec![5; 32]));
    let previous = Some(Spare { secret: verifier, since: 1_790_000_000, until: 1_790_086_400 });
    if let Some(login) = &mut third.login {
        login.spares.previous = previous;
    }
    bundle
}

/// What version 3 knew.
fn bundle_of_version_3() -> Bundle {
    let mut bundle = bundle_of_version_2();
    bundle.tenant.acl_delivery = AclDelivery::Inline;
    bundle
}

/// What version 2 knew.
fn bundle_of_version_2() -> Bundle {
    let mut bundle = bundle_of_version_1();
    bundle.tenant.scram = Some(ScramSettings { algorithm: ScramAlgorithm::Sha512, iterations: 10_000 });
    bundle.tenant.token_max_ttl = Some(86_400);
    bundle.tenant.token_revocations =
        Revocations { issued_before: Some(1_790_000_000), ids: ["t1".to_owned(), "t2".to_owned()].into() };
    bundle.tenant.modes.extend([Mode::Token, Mode::Scram, Mode::Password]);
    if let Some(key) = bundle.tenant.access_keys.first_mut() {
        key.uses = [KeyUse::Connect, KeyUse::IssueTokens, KeyUse::ManageDevices].into();
    }
    bundle.devices.extend([sensor(), person()]);
    bundle
}

/// What version 1 knew.
fn bundle_of_version_1() -> Bundle {
    Bundle { tenant: tenant(), policies: vec![policy(), denied()], devices: vec![plain_device(), device()] }
}

/// A device with SCRAM and a generated password.
fn sensor() -> Device {
    let bytes = |byte: u8, length: usize| Secret::new(vec![byte; length]);
    let login = LoginName {
        name: "acme-sensor".to_owned(),
        scram: Some(Keys { salt: bytes(1, 16), stored_key: bytes(2, 64), server_key: bytes(3, 64) }),
        password: Some(Verifier::Fast(bytes(4, 32))),
        spares: Spares::default(),
    };
    Device {
        name: "sensor".to_owned(),
        client_id: ClientIds::from("acme-sensor"),
        key_id: String::new(),
        secret: None,
        login: Some(login),
        ..plain_device()
    }
}

/// A person with an imported hash and any client ID of a prefix.
fn person() -> Device {
    let hash = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";
    let password = Some(Verifier::Slow(hash.parse().unwrap()));
    Device {
        name: "ada".to_owned(),
        client_id: ClientIds::Prefix { prefix: "acme-people-".to_owned() },
        login: Some(LoginName { name: "ada".to_owned(), scram: None, password, spares: Spares::default() }),
        ..sensor()
    }
}

fn tenant() -> Tenant {
    let space = |filter: &str, shared_with: &[&str]| Space {
        filter: filter.to_owned(),
        shared_with: shared_with.iter().map(ToString::to_string).collect(),
    };
    Tenant {
        namespace: "acme".to_owned(),
        name: "factory".to_owned(),
        uid: "0b9f5a52-8a4b-4e6c-9d11-0f4f1f7a6c01".to_owned(),
        created: 1_790_000_000,
        claims: Claims {
            instance_id: "mqtt-acme".to_owned(),
            client_id_prefixes: vec!["GID_acme@@@".to_owned(), "acme-".to_owned()],
            topic_space: vec![space("acme/#", &[]), space("shared/+/é", &["mqtt-b", "mqtt-c"])],
        },
        suspended: false,
        client_attributes: map(&[("region", "eu"), ("line", "1")]),
        access_keys: vec![
            AccessKey {
                name: "backend".to_owned(),
                id: "AK.backend".to_owned(),
                secret: Some(Secret::from("access key secret")),
                disabled: false,
                generated: true,
                client_id_prefixes: None,
                uses: [KeyUse::Connect].into(),
                spares: Spares::default(),
            },
            AccessKey {
                name: "old".to_owned(),
                id: "AK.old".to_owned(),
                secret: None,
                disabled: true,
                generated: false,
                client_id_prefixes: None,
                uses: [KeyUse::Connect].into(),
                spares: Spares::default(),
            },
        ],
        modes: vec![Mode::Signature, Mode::DeviceCredential],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: true,
        ticket_key: Secret::new((0..32).collect()),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn plain_device() -> Device {
    Device {
        name: "b".to_owned(),
        uid: None,
        client_id: ClientIds::from("acme-b"),
        key_id: "DC.b".to_owned(),
        secret: None,
        login: None,
        labels: Map::new(),
        client_attributes: Map::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn device() -> Device {
    Device {
        name: "press-1".to_owned(),
        uid: Some("5f6d1a32-6d0b-4a8e-8f60-64a1f8d3b702".to_owned()),
        client_id: ClientIds::from("GID_acme@@@press-1"),
        key_id: "DC.press-1".to_owned(),
        secret: Some(Secret::from("device secret \"quoted\" \\ é")),
        login: None,
        labels: map(&[("kind", "press"), ("mqttaccess.io/floor", "2")]),
        client_attributes: map(&[("site", "north hall"), ("device_id", "1")]),
        disabled: true,
        superuser: true,
        expires_at: Some(1_800_000_000),
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn policy() -> Policy {
    let requirement = |key: &str, operator, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(ToString::to_string).collect(),
    };
    let selected = Subject {
        device_selector: Some(Selector {
            match_labels: map(&[("kind", "press")]),
            match_expressions: vec![
                requirement("a", Operator::In, &["1", "2"]),
                requirement("b", Operator::NotIn, &["3"]),
                requirement("c", Operator::Exists, &[]),
                requirement("d", Operator::DoesNotExist, &[]),
            ],
        }),
        client_ids: Some(vec!["GID_acme@@@*".to_owned()]),
        attributes: Some(map(&[("site", "north hall")])),
        ..Subject::default()
    };
    let backend = Subject { access_keys: Some(vec!["backend".to_owned()]), ..Subject::default() };
    let allow = Rule {
        index: 0,
        effect: Effect::Allow,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: Topics::Listed(vec!["acme/${client_attrs.site}/#".to_owned(), "eq acme/+".to_owned()]),
        qos: Some([0, 1, 2].into_iter().map(|level| Qos::try_from(level).unwrap()).collect()),
        retain: Some(false),
    };
    Policy { name: "presses".to_owned(), subjects: vec![selected, backend], rules: vec![allow] }
}

fn denied() -> Policy {
    let everyone = Subject { everyone: true, ..Subject::default() };
    let deny = Rule {
        index: 7,
        effect: Effect::Deny,
        actions: [Action::Publish].into(),
        topics: Topics::Everything,
        qos: None,
        retain: None,
    };
    Policy { name: "a-mistake".to_owned(), subjects: vec![everyone], rules: vec![deny] }
}

fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("data/bundles/v{version}"))
}

fn read(name: &str) -> Vec<u8> {
    read_version(FORMAT_VERSION, name)
}

fn read_version(version: u32, name: &str) -> Vec<u8> {
    std::fs::read(folder(version).join(name)).unwrap()
}

fn decoded(version: u32) -> Bundle {
    let index = decode_index(&read_version(version, "index")).unwrap();
    assert_eq!(index.revision, REVISION);
    let shard = |digest: &Digest| Some(Cow::Owned(read_version(version, &format!("shard-{digest}"))));
    in_order(decode(&index, shard).unwrap())
}

fn in_order(mut bundle: Bundle) -> Bundle {
    bundle.devices.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    bundle.policies.sort_by(|a, b| a.name.cmp(&b.name));
    bundle
}

#[test]
fn the_bytes_of_version_1_decode_to_what_was_encoded() {
    assert_eq!(decoded(1), in_order(bundle_of_version_1()));
}

#[test]
fn the_bytes_of_version_2_decode_to_what_was_encoded() {
    assert_eq!(decoded(2), in_order(bundle_of_version_2()));
}

#[test]
fn the_bytes_of_version_3_decode_to_what_was_encoded() {
    assert_eq!(decoded(3), in_order(bundle_of_version_3()));
}

#[test]
fn the_bytes_of_version_4_decode_to_what_was_encoded() {
    assert_eq!(decoded(4), in_order(bundle_of_version_4()));
}

#[test]
fn the_bytes_of_version_5_decode_to_what_was_encoded() {
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        write_fixtures(&encode(&bundle()).unwrap());
    }
    assert_eq!(decoded(5), in_order(bundle()));
}

fn write_fixtures(encoded: &Encoded) {
    let folder = folder(FORMAT_VERSION);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index"), encoded.index(REVISION).unwrap()).unwrap();
    for (digest, bytes) in &encoded.shards {
        std::fs::write(folder.join(format!("shard-{digest}")), bytes).unwrap();
    }
}

#[test]
fn the_same_bundle_gives_the_same_bytes_in_whatever_order_it_comes() {
    let mut reversed = bundle();
    reversed.devices.reverse();
    reversed.policies.reverse();
    for bundle in [bundle(), reversed] {
        let encoded = encode(&bundle).unwrap();
        assert_eq!(encoded.index(REVISION).unwrap(), read("index"));
        for (digest, bytes) in &encoded.shards {
            assert_eq!(*bytes, read(&format!("shard-{digest}")));
        }
        assert_eq!(std::fs::read_dir(folder(FORMAT_VERSION)).unwrap().count(), encoded.shards.len() + 1);
    }
}

#[test]
fn the_digest_tells_the_content_and_not_the_revision() {
    let encoded = encode(&bundle()).unwrap();
    let (one, two) = (encoded.index(1).unwrap(), encoded.index(2).unwrap());
    assert_eq!(decode_index(&one).unwrap().digest, decode_index(&two).unwrap().digest);
    let suspended = Bundle { tenant: Tenant { suspended: true, ..tenant() }, ..bundle() };
    assert_ne!(encode(&suspended).unwrap().digest, encoded.digest);
}

#[test]
fn a_truncated_index_is_refused_wherever_it_is_cut() {
    let bytes = read("index");
    for length in 0..bytes.len() {
        assert!(decode_index(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_index_with_any_bit_flipped_is_refused() {
    let bytes = read("index");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode_index(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_shard_that_is_missing_cut_or_altered_is_refused() {
    let index = decode_index(&read("index")).unwrap();
    assert!(matches!(decode(&index, |_| None), Err(BundleError::ShardMissing(_))));
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        decode(&index, |digest| {
            let mut bytes = read(&format!("shard-{digest}"));
            change(&mut bytes);
            Some(Cow::Owned(bytes))
        })
    };
    let damaged = |result| matches!(result, Err(BundleError::Shard(_, EnvelopeError::Digest)));
    for at in (0..read(&format!("shard-{}", index.shards[0])).len()).step_by(7) {
        assert!(damaged(altered(&|bytes| bytes.truncate(at))), "{at}");
        assert!(damaged(altered(&|bytes| bytes[at] ^= 1)), "{at}");
    }
}

/// With the header made to fit, so that only what is inside can be at fault.
fn enveloped(line: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} sha256:{}\n", Digest::of(payload)).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn other_versions_other_files_and_other_fields_are_refused() {
    let bytes = read("index");
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let payload = &bytes[at..];
    let refusal = |bytes: &[u8]| decode_index(bytes).unwrap_err();
    assert!(decode_index(&enveloped("mqtt-access-index 5", payload)).is_ok());
    // A field that an older version did not know makes it no older index.
    assert!(matches!(refusal(&enveloped("mqtt-access-index 4", payload)), BundleError::Payload(_)));
    for version in [0, 6] {
        let refusal = refusal(&enveloped(&format!("mqtt-access-index {version}"), payload));
        assert!(matches!(refusal, BundleError::Index(EnvelopeError::Version(unknown)) if unknown == version));
    }
    for line in ["mqtt-access-shard 1", "mqtt-access-index", "mqtt-access-index 1 1", "mqtt-access-index x"] {
        assert!(matches!(refusal(&enveloped(line, payload)), BundleError::Index(EnvelopeError::Header)), "{line}");
    }
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let with_another = text.replacen("\"suspended\"", "\"another\":1,\"suspended\"", 1);
    let without_one = text.replacen("\"suspended\":false,", "", 1);
    for payload in [with_another, without_one, "{}".to_owned(), String::new()] {
        let refusal = refusal(&enveloped("mqtt-access-index 1", payload.as_bytes()));
        assert!(matches!(refusal, BundleError::Payload(_)), "{refusal}");
    }
    // Whole, but not what its own digest says.
    let suspended = text.replacen("\"suspended\":false", "\"suspended\":true", 1);
    let refusal = refusal(&enveloped("mqtt-access-index 1", suspended.as_bytes()));
    assert!(matches!(refusal, BundleError::Index(EnvelopeError::Digest)));
}

#[test]
fn nothing_prints_a_secret() {
    use base64::Engine as _;
    let encoded = encode(&bundle()).unwrap();
    let index = decode_index(&read("index")).unwrap();
    let printed = format!("{:?} {:?} {:?}", bundle(), encoded, index);
    for secret in [b"access key secret".to_vec(), b"device secret".to_vec(), (0..32).collect::<Vec<u8>>()] {
        let base64 = base64::engine::general_purpose::STANDARD.encode(&secret);
        // As it is, as the files have it, and either of them as a list of bytes.
        let base64 = base64.trim_end_matches('=').split_at(base64.len() / 2).0;
        let list = |bytes: &[u8]| format!("{bytes:?}").trim_matches(['[', ']']).to_owned();
        let forms = [String::from_utf8_lossy(&secret).into_owned(), base64.to_owned()];
        for form in forms.into_iter().chain([list(&secret), list(base64.as_bytes())]) {
            assert!(!printed.contains(&form), "{form}");
        }
    }
}
