//! One tenant with a few clients, and another tenant beside it.

// The benchmark takes this file too, from its own place.
#[path = "fixture/modes.rs"]
pub(crate) mod modes;

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Device, Encoded, KeyUse, Revocations, SessionRules, Space,
    Spares, Tenant, encode,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::secret::Secret;
use mqtt_access_sidecar::{Files, TenantKey};

/// When every test begins.
pub(crate) const START: i64 = 1_000_000;
/// When the device `GID_acme@@@brief` expires.
pub(crate) const BRIEF: i64 = START + 100;
pub(crate) const DEV1: &str = "GID_acme@@@dev1";
pub(crate) const DEV1_USERNAME: &str = "DeviceCredential|DC.1|mqtt-acme";
/// Shared by all clients of the access key.
pub(crate) const SHARED_USERNAME: &str = "Signature|AK.1|mqtt-acme";

pub(crate) fn acme_key() -> TenantKey {
    "shop.acme".parse().unwrap()
}

pub(crate) fn globex_key() -> TenantKey {
    "shop.globex".parse().unwrap()
}

/// Device `dev1`, one that expires, one disabled; an access key; `acme/<client ID>/#` for all but `acme/+/vault`.
pub(crate) fn acme() -> Bundle {
    let devices = vec![
        device("dev1", DEV1, "DC.1"),
        Device { expires_at: Some(BRIEF), ..device("brief", "GID_acme@@@brief", "DC.2") },
        Device { disabled: true, ..device("off", "GID_acme@@@off", "DC.3") },
        device("dotted", "GID_acme@@@a.b", "DC.4"),
    ];
    let own = vec!["acme/${clientid}/#".to_owned(), "acme/${client_attrs.device_id}/#".to_owned()];
    let rules = vec![rule(0, Effect::Allow, own), rule(1, Effect::Deny, vec!["acme/+/vault".to_owned()])];
    let everyone = Subject { everyone: true, ..Subject::default() };
    let policies = vec![Policy { name: "own-topics".to_owned(), subjects: vec![everyone], rules }];
    Bundle { tenant: tenant("acme", "mqtt-acme", "GID_acme@@@", "acme/#"), policies, devices }
}

pub(crate) fn globex() -> Bundle {
    let devices = vec![device("dev1", "GID_globex@@@dev1", "DC.1")];
    Bundle { tenant: tenant("globex", "mqtt-globex", "GID_globex@@@", "globex/#"), policies: Vec::new(), devices }
}

fn tenant(name: &str, instance_id: &str, prefix: &str, space: &str) -> Tenant {
    Tenant {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        created: 1,
        claims: Claims {
            instance_id: instance_id.to_owned(),
            client_id_prefixes: vec![prefix.to_owned()],
            topic_space: vec![Space { filter: space.to_owned(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::from([("plant".to_owned(), "north".to_owned())]),
        access_keys: vec![AccessKey {
            name: "backend".to_owned(),
            id: "AK.1".to_owned(),
            secret: Some(secret("AK.1", instance_id)),
            disabled: false,
            generated: false,
            client_id_prefixes: None,
            uses: [KeyUse::Connect].into(),
            spares: Spares::default(),
        }],
        modes: vec![Mode::Signature, Mode::DeviceCredential],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: false,
        ticket_key: secret("ticket", instance_id),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn device(name: &str, client_id: &str, key_id: &str) -> Device {
    Device {
        name: name.to_owned(),
        uid: None,
        client_id: ClientIds::from(client_id),
        key_id: key_id.to_owned(),
        secret: Some(secret(key_id, "device")),
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn rule(index: u32, effect: Effect, topics: Vec<String>) -> Rule {
    let actions = BTreeSet::from([Action::Publish, Action::Subscribe]);
    Rule { index, effect, actions, topics: Topics::Listed(topics), qos: None, retain: None }
}

fn secret(id: &str, of: &str) -> Secret {
    Secret::from(format!("secret of {id} of {of}").as_str())
}

/// The right password of a device.
pub(crate) fn device_password(key_id: &str, client_id: &str) -> String {
    password(MacAlgorithm::HmacSha1, &secret(key_id, "device"), client_id)
}

/// The right password of a client of an access key.
pub(crate) fn shared_password(client_id: &str) -> String {
    password(MacAlgorithm::HmacSha1, &secret("AK.1", "mqtt-acme"), client_id)
}

/// The bundle as files.
pub(crate) fn files(bundle: &Bundle, revision: u64) -> Files {
    let encoded = encode(bundle).unwrap();
    let index = encoded.index(revision).unwrap();
    let Encoded { shards, .. } = encoded;
    Files::new(index, shards)
}
