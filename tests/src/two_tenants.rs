//! Two tenants of one broker as bundles: acme with a credential of every kind, and globex, which has keys and login names of
//! the same names with secrets of its own.
//!
//! Nothing here knows anything but `mqtt_access_core`: fuzz targets are built with this file too.

use std::sync::Arc;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Device, KeyUse, LoginName, Revocations, SessionRules, Space,
    Spares, Tenant, UnixSeconds,
};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_core::index::{BrokerIndex, TenantIndex};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::scram::{self, Keys, ScramAlgorithm, ScramSettings};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{self, Act};

/// When everything here happens.
pub const NOW: UnixSeconds = 1_800_000_000;
/// acme's access key that may do everything: `AK.1`.
pub const KEY: &str = "secret of AK.1";
/// The secret of acme's device `GID_acme@@@dev1`: `DC.1`.
pub const DEVICE: &str = "secret of DC.1";
/// The secret of globex's keys of the same names.
pub const FOREIGN: &str = "a secret of globex";
/// The password of everyone who has one.
pub const PENCIL: &str = "pencil";
/// A hash of [`PENCIL`] that costs little.
pub const SLOW: &str = "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$91ZUcq5ecp4cjJejRqn36oi1T1uOZMS/rPFDUCqUu/g";

/// The tenant with a credential of every kind. Everyone may use `acme/#` but `acme/vault`.
#[must_use]
pub fn acme() -> Bundle {
    let tenant = tenant("acme", "GID_acme@@@", 1);
    let key = &tenant.ticket_key;
    let devices = vec![
        device("dev1", ClientIds::from("GID_acme@@@dev1"), DEVICE),
        login("scram", ClientIds::from("GID_acme@@@scram"), Some(record("scram", key)), None),
        login("fast", ClientIds::from("GID_acme@@@fast"), None, Some(fast(key))),
        login("slow", ClientIds::from("GID_acme@@@slow"), None, Some(slow())),
        login("ada", prefix("GID_acme@@@ada-"), Some(record("ada", key)), Some(fast(key))),
        device("reserved", ClientIds::from("GID_acme@@@ada-reserved"), "another secret"),
    ];
    Bundle { tenant, policies: policies("acme"), devices }
}

/// The tenant beside it.
#[must_use]
pub fn globex() -> Bundle {
    let mut tenant = tenant("globex", "GID_globex@@@", 2);
    tenant.access_keys.iter_mut().for_each(|key| key.secret = Some(Secret::from(FOREIGN)));
    let key = &tenant.ticket_key;
    let devices = vec![
        device("dev1", ClientIds::from("GID_globex@@@dev1"), FOREIGN),
        login("ada", prefix("GID_globex@@@ada-"), Some(record("ada", key)), Some(foreign(key))),
        login("fast", ClientIds::from("GID_globex@@@fast"), None, Some(foreign(key))),
    ];
    Bundle { tenant, policies: policies("globex"), devices }
}

/// Bundles as a sidecar serves them.
#[must_use]
pub fn serve(bundles: impl IntoIterator<Item = Bundle>) -> BrokerIndex {
    let index = |bundle| Arc::new(TenantIndex::new(bundle, 1).expect("every topic is valid"));
    BrokerIndex::new(bundles.into_iter().map(index))
}

/// A token of `AK.1` for an hour and `acme/#`, which anybody may use.
#[must_use]
pub fn claims() -> token::Claims {
    token::Claims {
        iss: "AK.1".to_owned(),
        aud: "mqtt-acme".to_owned(),
        iat: NOW,
        exp: NOW + 3600,
        nbf: None,
        jti: "t1".to_owned(),
        act: Act::RW,
        res: vec!["acme/#".to_owned()],
        sub: None,
    }
}

/// A token as text, signed with the token key of an access key's secret.
#[must_use]
pub fn signed(claims: &token::Claims, secret: &str) -> String {
    claims.sign(&token::token_key(&Secret::from(secret))).expect("claims can be written")
}

fn tenant(name: &str, prefix: &str, created: UnixSeconds) -> Tenant {
    let space = Space { filter: format!("{name}/#"), shared_with: Vec::new() };
    Tenant {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        created,
        claims: Claims {
            instance_id: format!("mqtt-{name}"),
            client_id_prefixes: vec![prefix.to_owned()],
            topic_space: vec![space],
        },
        suspended: false,
        client_attributes: [("plant".to_owned(), "north".to_owned())].into(),
        access_keys: vec![
            access_key("backend", "AK.1", &[KeyUse::Connect, KeyUse::IssueTokens]),
            access_key("other", "AK.2", &[KeyUse::Connect]),
        ],
        modes: vec![Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: false,
        ticket_key: Secret::from(format!("ticket key of {name}").as_str()),
        scram: Some(ScramSettings { algorithm: ScramAlgorithm::Sha256, iterations: scram::MIN_ITERATIONS }),
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn access_key(name: &str, id: &str, uses: &[KeyUse]) -> AccessKey {
    let secret = Some(Secret::from(format!("secret of {id}").as_str()));
    let uses = uses.iter().copied().collect();
    AccessKey {
        name: name.to_owned(),
        id: id.to_owned(),
        secret,
        disabled: false,
        generated: false,
        client_id_prefixes: None,
        uses,
        spares: Spares::default(),
    }
}

/// A device with an HMAC key, whose ID is `DC.1` for all but a reserved one.
fn device(name: &str, client_id: ClientIds, secret: &str) -> Device {
    let key_id = if name == "reserved" { "DC.2" } else { "DC.1" };
    Device { key_id: key_id.to_owned(), secret: Some(Secret::from(secret)), ..bare(name, client_id) }
}

fn login(name: &str, client_id: ClientIds, scram: Option<Keys>, password: Option<Verifier>) -> Device {
    Device {
        login: Some(LoginName { name: name.to_owned(), scram, password, spares: Spares::default() }),
        ..bare(name, client_id)
    }
}

fn bare(name: &str, client_id: ClientIds) -> Device {
    Device {
        name: name.to_owned(),
        uid: None,
        client_id,
        key_id: String::new(),
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

fn prefix(prefix: &str) -> ClientIds {
    ClientIds::Prefix { prefix: prefix.to_owned() }
}

fn record(name: &str, ticket_key: &Secret) -> Keys {
    let settings = ScramSettings { algorithm: ScramAlgorithm::Sha256, iterations: scram::MIN_ITERATIONS };
    Keys::derive(settings, scram::salt(ticket_key, name), &Secret::from(PENCIL))
}

fn fast(ticket_key: &Secret) -> Verifier {
    Verifier::fast(ticket_key, &Secret::from(PENCIL))
}

fn foreign(ticket_key: &Secret) -> Verifier {
    Verifier::fast(ticket_key, &Secret::from(FOREIGN))
}

fn slow() -> Verifier {
    Verifier::Slow(SLOW.parse().expect("a hash"))
}

fn policies(name: &str) -> Vec<Policy> {
    let everyone = Subject { everyone: true, ..Subject::default() };
    let rule = |index, effect, topic: &str| Rule {
        index,
        effect,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: Topics::Listed(vec![format!("{name}/{topic}")]),
        qos: None,
        retain: None,
    };
    let rules = vec![rule(0, Effect::Allow, "#"), rule(1, Effect::Deny, "vault")];
    vec![Policy { name: "all".to_owned(), subjects: vec![everyone], rules }]
}
