//! The tenant beside the attacker: what its clients ask, and what they have to wait for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use mqtt_access_core::bundle::{Bundle, ClientIds, Device, LoginName, Spares};
use mqtt_access_core::password::Verifier;
use mqtt_access_tests::two_tenants::{DEVICE, PENCIL, acme};

use crate::attacks::rabbitmq_login;
use crate::load::{Load, form};
use crate::server::{Client, Server, log_in};

/// What the victim's clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Login,
    Publish,
    Subscribe,
    /// A login with a password that a slow hash was brought along for.
    SlowLogin,
    /// A publish through RabbitMQ.
    RabbitPublish,
    /// A publish over a new connection.
    NewConnection,
    /// From disabling a device until it is out of Mosquitto's files. The source alone looks once a second.
    Revocation,
    /// The same, from when the sidecar itself refuses the device.
    RevocationInFiles,
}

pub(crate) const VICTIM: Client<'static> =
    Client { client_id: "GID_acme@@@dev1", username: "DeviceCredential|DC.1|mqtt-acme", secret: DEVICE };
const PEOPLE: usize = 40;
const ROUNDS: u32 = 60_000;

impl Deed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::SlowLogin => "slow login",
            Self::RabbitPublish => "publish, RabbitMQ",
            Self::NewConnection => "new connection",
            Self::Revocation => "revocation",
            Self::RevocationInFiles => "of it, the files",
        }
    }

    /// How long it is measured: some are few in a second.
    pub(crate) fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::SlowLogin => 6,
            Self::Revocation | Self::RevocationInFiles => 20,
            _ => 2,
        })
    }

    /// The requests by which it is measured; none where it is no request.
    pub(crate) fn load(self, server: &Server) -> Option<Load> {
        let requests = match self {
            Self::Revocation | Self::RevocationInFiles => return None,
            Self::Login => vec![VICTIM.login()],
            Self::Publish | Self::NewConnection => vec![VICTIM.asks(&server.ticket(&VICTIM), "publish", "acme/x")],
            Self::Subscribe => vec![VICTIM.asks(&server.ticket(&VICTIM), "subscribe", "acme/x/#")],
            Self::SlowLogin => people().map(|name| log_in(&client_id(&name), &name, PENCIL, "192.0.2.1")).collect(),
            Self::RabbitPublish => {
                let Client { client_id, username, secret } = VICTIM;
                let publish = [
                    ("username", username),
                    ("vhost", "/"),
                    ("resource", "topic"),
                    ("name", "amq.topic"),
                    ("permission", "write"),
                    ("routing_key", "acme.x"),
                    ("variable_map.client_id", client_id),
                    ("variable_map.username", username),
                    ("variable_map.vhost", "/"),
                ];
                let mut requests = vec![rabbitmq_login(client_id, username, secret)];
                requests.extend((0..50).map(|_| form("/rabbitmq/topic", &publish)));
                requests
            }
        };
        let rate = if self == Self::SlowLogin { 4.0 } else { 100.0 };
        let connections = if self == Self::SlowLogin { 16 } else { 4 };
        Some(Load { requests: Arc::new(requests), rate, connections, connects: self == Self::NewConnection })
    }
}

fn people() -> impl Iterator<Item = String> {
    (0..PEOPLE).map(|number| format!("p{number}"))
}

fn client_id(name: &str) -> String {
    format!("GID_acme@@@{name}")
}

/// The victim's bundle: a device, and people with hashes that they brought along.
pub(crate) fn bundle() -> Bundle {
    let mut bundle = acme();
    let template = bundle.devices.first().cloned().unwrap();
    let hash = hash();
    bundle.devices.extend(people().map(|name| {
        let password = Some(Verifier::Slow(hash.parse().unwrap()));
        Device {
            login: Some(LoginName { name: name.clone(), scram: None, password, spares: Spares::default() }),
            client_id: ClientIds::from(client_id(&name).as_str()),
            key_id: String::new(),
            secret: None,
            name,
            ..template.clone()
        }
    }));
    bundle
}

fn hash() -> String {
    let salt = b"a salt for bench";
    let mut output = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(PENCIL.as_bytes(), salt, ROUNDS, &mut output);
    let salt = STANDARD_NO_PAD.encode(salt);
    let output = STANDARD_NO_PAD.encode(output);
    format!("$pbkdf2-sha256$i={ROUNDS}${salt}${output}")
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
