//! Tenants with credentials of every kind, and whoever can log in to them.

use std::sync::Arc;

use mqtt_access_core::bundle::{
    AccessKey, Bundle, Claims, ClientIds, Device, KeyUse, LoginName, Space, Spares, Tenant,
};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, Login, TenantIndex};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram::{Keys, salt};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims as TokenClaims, token_key};
use mqtt_access_tests::two_tenants::{NOW, acme};
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::arbitrary::Scenario;

const SECRET: &str = "secret";
const MODES: [Mode; 5] = [Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password];
/// A credential, as it is now; when its clients logged in it was in order.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    prefix: bool,
    login: Option<(bool, bool)>,
    labels: Map,
    attributes: Map,
    superuser: bool,
    refused: Refused,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    No,
    Disabled,
    Expired,
}

/// A tenant, as far as a scenario does not tell.
#[derive(Debug, Clone)]
pub(super) struct Team {
    credentials: Vec<Credential>,
    modes: Vec<Mode>,
    suspended: bool,
    prefixes: Vec<String>,
    disabled_key: Option<usize>,
}

/// Someone who logged in.
pub(super) struct LoggedIn {
    pub(super) client_id: String,
    /// Of the CONNECT packet.
    pub(super) username: Option<String>,
    pub(super) mode: Mode,
    pub(super) login: Login,
}

fn map(names: Vec<&'static str>, values: Vec<&'static str>) -> impl Strategy<Value = Map> {
    let text = |texts: Vec<&'static str>| select(texts).prop_map(str::to_owned);
    btree_map(text(names), text(values), 0..3)
}

fn credential() -> impl Strategy<Value = Credential> {
    let login = weighted(0.6, (any::<bool>(), any::<bool>()));
    let labels = map(vec!["kind", "floor"], vec!["a", "b"]);
    let values = vec!["a", "a", "b", "x", "a/b", "+", "#", "$x", "${clientid}", "a\u{85}", ""];
    let attributes = map(vec!["site", "site", "device_id", "client_id"], values);
    let refused = prop_oneof![8 => Just(Refused::No), 1 => Just(Refused::Disabled), 1 => Just(Refused::Expired)];
    let flags = (prop::bool::weighted(0.25), prop::bool::weighted(0.1));
    (flags, login, labels, attributes, refused).prop_map(|((prefix, superuser), login, labels, attributes, refused)| {
        Credential { prefix, login, labels, attributes, superuser, refused }
    })
}

pub(super) fn team() -> impl Strategy<Value = Team> {
    let modes = prop_oneof![3 => Just(MODES.to_vec()), 1 => subsequence(MODES.to_vec(), 1..=5)];
    let prefixes = prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["a".to_owned(), "$".to_owned()])];
    (vec(credential(), 0..4), modes, prop::bool::weighted(0.03), prefixes, weighted(0.2, 0..2_usize)).prop_map(
        |(credentials, modes, suspended, prefixes, disabled_key)| Team {
            credentials,
            modes,
            suspended,
            prefixes,
            disabled_key,
        },
    )
}

const DEVICE_IDS: [&str; 4] = ["a", "x", "b@@@a", "$x"];
const KEYS: [&str; 2] = ["backend", "ops"];

impl Team {
    /// No credentials, and everything in order.
    pub(super) fn plain() -> Self {
        Self {
            credentials: Vec::new(),
            modes: MODES.to_vec(),
            suspended: false,
            prefixes: Vec::new(),
            disabled_key: None,
        }
    }
}

/// The bundle as it is now, or as it was when everybody was still let in.
pub(super) fn bundle(scenario: &Scenario, team: &Team, now: bool) -> Bundle {
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let before = acme().tenant;
    let key = |(place, name): (usize, &&str)| AccessKey {
        name: (*name).to_owned(),
        id: format!("AK.{name}"),
        secret: Some(Secret::from(SECRET)),
        disabled: now && team.disabled_key == Some(place),
        generated: false,
        client_id_prefixes: None,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
    };
    let tenant = Tenant {
        namespace: "acme".to_owned(),
        name: "t".to_owned(),
        claims: Claims {
            instance_id: "a".to_owned(),
            client_id_prefixes: if now { team.prefixes.clone() } else { Vec::new() },
            topic_space: scenario.space.iter().map(space).collect(),
        },
        suspended: now && team.suspended,
        client_attributes: scenario.client.client().tenant_attributes.clone(),
        access_keys: KEYS.iter().enumerate().map(key).collect(),
        modes: if now { team.modes.clone() } else { MODES.to_vec() },
        superusers_allowed: true,
        ..before
    };
    let devices = team.credentials.iter().enumerate();
    let devices = devices.map(|(place, it)| device(it, place, &tenant.ticket_key, now)).collect();
    Bundle { tenant, policies: scenario.world().compiled(), devices }
}

fn device(credential: &Credential, place: usize, ticket_key: &Secret, now: bool) -> Device {
    let bytes = |byte| Secret::new(vec![byte; 32]);
    let name = format!("name{place}");
    let login = credential.login.map(|(scram, password)| LoginName {
        scram: scram.then(|| Keys { salt: salt(ticket_key, &name), stored_key: bytes(1), server_key: bytes(2) }),
        password: (password || !scram).then(|| Verifier::fast(ticket_key, &Secret::from(SECRET))),
        name,
        spares: Spares::default(),
    });
    let prefix = || ClientIds::Prefix { prefix: "p".to_owned() };
    Device {
        name: format!("d{place}"),
        uid: None,
        client_id: if credential.prefix { prefix() } else { ClientIds::from(DEVICE_IDS[place]) },
        key_id: format!("DC.{place}"),
        secret: Some(Secret::from(SECRET)),
        login,
        labels: credential.labels.clone(),
        client_attributes: credential.attributes.clone(),
        disabled: now && matches!(credential.refused, Refused::Disabled),
        superuser: credential.superuser,
        expires_at: (now && matches!(credential.refused, Refused::Expired)).then_some(NOW - 1),
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

pub(super) fn index(scenario: &Scenario, bundle: Bundle) -> BrokerIndex {
    let index = TenantIndex::new(bundle, 1).unwrap().withholding(scenario.client.withheld.filters());
    BrokerIndex::new([Arc::new(index)])
}

/// Everybody who can log in, in every way.
pub(super) fn log_in(index: &BrokerIndex, team: &Team) -> Vec<LoggedIn> {
    let mac = |client_id: &str| password(MacAlgorithm::HmacSha256, &Secret::from(SECRET), client_id);
    let mut found = Vec::new();
    for (place, credential) in team.credentials.iter().enumerate() {
        let ids = if credential.prefix { vec!["pa", "pq"] } else { vec![DEVICE_IDS[place]] };
        for client_id in ids {
            let name = format!("name{place}");
            match credential.login {
                None => {
                    let username = format!("DeviceCredential|DC.{place}|a");
                    found.push((Mode::DeviceCredential, username, mac(client_id), client_id));
                }
                Some((scram, password)) => {
                    if scram {
                        found.push((Mode::Scram, name.clone(), String::new(), client_id));
                    }
                    if password || !scram {
                        found.push((Mode::Password, name, SECRET.to_owned(), client_id));
                    }
                }
            }
        }
    }
    for key in KEYS {
        for client_id in ["k", "b@@@k"] {
            found.push((Mode::Signature, format!("Signature|AK.{key}|a"), mac(client_id), client_id));
        }
        found.push((Mode::Token, format!("Token|AK.{key}|a"), token(key), "k"));
    }
    let connect = |(mode, username, password, client_id): (Mode, String, String, &str)| {
        let login = if mode == Mode::Scram {
            index.scram(&username, client_id, NOW).result.unwrap()
        } else {
            let credentials = Credentials { username: &username, password: password.as_bytes(), client_id };
            index.login(&credentials, NOW).result.unwrap()
        };
        // A SCRAM client may say that it is anybody.
        let username = if mode == Mode::Scram { "Signature|AK.ops|a".to_owned() } else { username };
        LoggedIn { client_id: client_id.to_owned(), username: Some(username), mode, login }
    };
    found.into_iter().map(connect).collect()
}

fn token(key: &str) -> String {
    let claims = TokenClaims {
        iss: format!("AK.{key}"),
        aud: "a".to_owned(),
        iat: NOW,
        exp: NOW + 600,
        nbf: None,
        jti: "1".to_owned(),
        act: Act::RW,
        res: vec!["#".to_owned()],
        sub: Some("k".to_owned()),
    };
    format!("RW|{}", claims.sign(&token_key(&Secret::from(SECRET))).unwrap())
}
