//! Usernames, login names with client IDs, and tickets.

use std::sync::LazyLock;

use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{ModeUsername, is_client_id};
use mqtt_access_core::index::{BrokerIndex, Credentials, Session};
use mqtt_access_core::scram::{Keys, ScramAlgorithm};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::ticket::{Ticket, Unverified};
use mqtt_access_core::topic::TopicName;
use mqtt_access_core::verdict::{Notation, Request, Target};

use super::{seed, split, text, with_one_byte_changed};
use crate::two_tenants::{NOW, PENCIL, acme, globex, serve};

static INDEX: LazyLock<BrokerIndex> = LazyLock::new(|| serve([acme(), globex()]));
/// acme's ticket key and globex's.
static KEYS: LazyLock<[Secret; 2]> = LazyLock::new(|| [acme(), globex()].map(|bundle| bundle.tenant.ticket_key));

/// A username is of a mode exactly when it has three parts that are not empty, of which the first is one of three words.
pub(super) fn username(data: &[u8]) {
    let username = text(data);
    let parts: Vec<&str> = username.split('|').collect();
    let modes = ["Signature", "DeviceCredential", "Token"];
    let is_mode = matches!(parts.as_slice(), [mode, key, instance]
        if modes.contains(mode) && !key.is_empty() && !instance.is_empty());
    let parsed = ModeUsername::parse(&username);
    assert_eq!(parsed.is_some(), is_mode);
    assert!(parsed.is_none_or(|named| named.to_string() == username && named.mode.as_str() == parts[0]));
    for client_id in ["GID_acme@@@any", &username] {
        let credentials = Credentials { username: &username, password: data, client_id };
        assert!(INDEX.login(&credentials, NOW).result.is_err());
    }
}

pub(super) fn usernames() -> Vec<Vec<u8>> {
    let names = ["Token|AK.1|mqtt-acme", "Signature|AK.1|mqtt-acme", "DeviceCredential|DC.1|mqtt-acme", "ada", "a||b|"];
    names.map(|name| name.as_bytes().to_vec()).into()
}

/// The first byte is the length of the name, the rest the client ID: only a pair that belongs together gets its record.
pub(super) fn scram(data: &[u8]) {
    let (length, rest) = split(data);
    let (name, client_id) = rest.split_at(rest.len().min(usize::from(length)));
    let (name, client_id) = (text(name), text(client_id));
    let own = |prefix: &str| name == "ada" && client_id.starts_with(prefix) && is_client_id(&client_id);
    let of_acme = own("GID_acme@@@ada-") && client_id != "GID_acme@@@ada-reserved";
    let expected = of_acme || own("GID_globex@@@ada-") || (name == "scram" && client_id == "GID_acme@@@scram");
    let verdict = INDEX.scram(&name, &client_id, NOW);
    assert_eq!(verdict.result.is_ok(), expected, "{name} {client_id}");
    let key = &KEYS[usize::from(client_id.starts_with("GID_globex@@@"))];
    let decoy = Keys::decoy(ScramAlgorithm::Sha256, key, &name);
    let keys = verdict.keys.expect("everybody is given keys");
    assert_eq!(keys != decoy, expected, "{name} {client_id}");
    assert_eq!(keys.salt, decoy.salt, "{name} {client_id}");
    // The same pair with a password.
    let credentials = Credentials { username: &name, password: b"wrong", client_id: &client_id };
    assert!(INDEX.login(&credentials, NOW).result.is_err());
}

pub(super) fn scram_names() -> Vec<Vec<u8>> {
    let pairs = [
        ("ada", "GID_acme@@@ada-1"),
        ("ada", "GID_globex@@@ada-1"),
        ("ada", "GID_acme@@@ada-reserved"),
        ("scram", "GID_acme@@@scram"),
        ("fast", "GID_acme@@@fast"),
        ("", ""),
    ];
    let length = |name: &str| u8::try_from(name.len()).unwrap_or(u8::MAX);
    pairs.map(|(name, client_id)| seed(length(name), [name, client_id].concat())).into()
}

/// The ticket of `ada` under `GID_acme@@@ada-1`.
static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let credentials = Credentials { username: "ada", password: PENCIL.as_bytes(), client_id: "GID_acme@@@ada-1" };
    INDEX.login(&credentials, NOW).result.map_or_else(|_| String::new(), |login| login.ticket().to_owned())
});

/// A ticket is the genuine one, or opens nothing: (0) any text, (1) the genuine one with a byte changed, (2) any claims
/// under the key of another tenant, (3) any claims with the genuine MAC.
pub(super) fn ticket(data: &[u8]) {
    let (how, rest) = split(data);
    let presented = match how % 4 {
        0 => text(rest),
        1 => with_one_byte_changed(&GENUINE, rest),
        2 => match serde_json::from_slice::<Ticket>(rest) {
            Ok(ticket) => ticket.seal(&KEYS[1]).unwrap_or_default(),
            Err(_) => return,
        },
        _ => {
            use base64::Engine as _;
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rest);
            let mac = GENUINE.rsplit_once('.').map_or("", |(_, mac)| mac);
            format!("v1.{claims}.{mac}")
        }
    };
    let genuine = presented == *GENUINE;
    let opened = Unverified::parse(&presented).and_then(|ticket| ticket.verify(&KEYS[0]));
    assert_eq!(opened.is_some(), genuine);
    let request = |topic| Request { target: Target::Publish(topic), qos: None, retain: None, notation: Notation::Mqtt };
    let Ok(topic) = TopicName::parse("acme/x") else { return };
    for (client_id, own) in [("GID_acme@@@ada-1", true), ("GID_acme@@@ada-2", false), ("GID_globex@@@ada-1", false)] {
        let judged = INDEX.authorize(Session { ticket: &presented, client_id }, &request(topic), NOW);
        assert_eq!(judged.verdict.is_allow(), genuine && own);
    }
}

pub(super) fn tickets() -> Vec<Vec<u8>> {
    let claims = Ticket {
        instance_id: "mqtt-acme".to_owned(),
        mode: Mode::Password,
        key_id: "ada".to_owned(),
        generation: "g".to_owned(),
        client_id: "GID_acme@@@ada-1".to_owned(),
        expires_at: Some(NOW + 1),
        tokens: Vec::new(),
    };
    let claims = serde_json::to_vec(&claims).unwrap_or_default();
    vec![seed(0, GENUINE.as_str()), seed(1, [0, 9, b'A']), seed(2, &claims), seed(3, &claims)]
}
