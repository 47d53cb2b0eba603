//! What is published, decoded, and what a sidecar that reads it would answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mqtt_access_core::bundle::{Bundle, decode, decode_index};
use mqtt_access_core::index::{BrokerIndex, Credentials, Session, TenantIndex};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target, Verdict};

use super::Stored;

/// Everything in one bundle namespace.
#[derive(Debug)]
pub struct Bundles {
    found: BTreeMap<String, Found>,
    index: BrokerIndex,
}

/// One tenant's bundle.
#[derive(Debug, Clone)]
pub struct Found {
    /// The revision of its index.
    pub revision: u64,
    /// Digest of its content.
    pub digest: String,
    /// The content.
    pub bundle: Bundle,
}

/// What a device knows of itself.
#[derive(Debug, Clone)]
pub struct Device {
    /// The MQTT client ID.
    pub client_id: String,
    /// The MQTT username.
    pub username: String,
    /// The MQTT password.
    pub password: String,
}

impl Device {
    /// What a generated Secret holds.
    #[must_use]
    pub fn of(secret: &Stored) -> Self {
        let [client_id, username, password] = ["clientId", "username", "password"].map(|key| secret.text(key));
        Self { client_id, username, password }
    }
}

impl Found {
    /// Keys of its devices by the names of the devices; empty where a device has none.
    #[must_use]
    pub fn device_keys(&self) -> BTreeMap<String, String> {
        let keys = self.bundle.devices.iter().map(|device| (device.name.clone(), key(device.secret.as_ref())));
        keys.collect()
    }

    /// The key of one device: `None` where it is not in the bundle, empty where it has no key.
    #[must_use]
    pub fn device_key(&self, name: &str) -> Option<String> {
        let device = self.bundle.devices.iter().find(|device| device.name == name)?;
        Some(key(device.secret.as_ref()))
    }

    /// The same of an access key.
    #[must_use]
    pub fn access_key(&self, name: &str) -> Option<String> {
        let found = self.bundle.tenant.access_keys.iter().find(|found| found.name == name)?;
        Some(key(found.secret.as_ref()))
    }
}

fn key(secret: Option<&mqtt_access_core::secret::Secret>) -> String {
    secret.map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()).unwrap_or_default()
}

impl Bundles {
    /// Decodes the Secrets of a bundle namespace. A bundle that does not decode is absent, as it is for a sidecar
    /// that starts now.
    #[must_use]
    pub fn decode(secrets: &BTreeMap<String, Stored>) -> Self {
        let indexes = secrets.iter().filter_map(|(name, secret)| Some((name, secret.data.get("index")?)));
        let found: BTreeMap<String, Found> =
            indexes.filter_map(|(name, index)| Some((name.clone(), one(secrets, name, index)?))).collect();
        let tenants = found.values().map(|found| {
            Arc::new(TenantIndex::new(found.bundle.clone(), found.revision).expect("a bundle that can be indexed"))
        });
        let index = BrokerIndex::new(tenants);
        Self { found, index }
    }

    /// The bundle of a tenant.
    #[must_use]
    pub fn tenant(&self, namespace: &str, name: &str) -> Option<&Found> {
        self.found.get(&format!("{namespace}.{name}"))
    }

    /// Tenants with a bundle, as `namespace.name`.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.found.keys().map(String::as_str).collect()
    }

    /// Digests and revisions of all of them.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, (u64, String)> {
        self.found.iter().map(|(name, found)| (name.clone(), (found.revision, found.digest.clone()))).collect()
    }

    /// `Allow` or the reason of the refusal.
    #[must_use]
    pub fn login(&self, device: &Device) -> String {
        match self.ticket(device) {
            Ok(_) => "Allow".to_owned(),
            Err(reason) => reason,
        }
    }

    /// Logs in and publishes: `Allow` or `Deny` with the rule or the reason; the login's reason where that is refused.
    #[must_use]
    pub fn publish(&self, device: &Device, topic: &str) -> String {
        self.ask(device, Target::Publish(TopicName::parse(topic).expect("a topic name")))
    }

    /// Logs in and subscribes.
    #[must_use]
    pub fn subscribe(&self, device: &Device, filter: &str) -> String {
        self.ask(device, Target::Subscribe(Filter::parse(filter).expect("a topic filter")))
    }

    fn ask(&self, device: &Device, target: Target<'_>) -> String {
        let ticket = match self.ticket(device) {
            Ok(ticket) => ticket,
            Err(reason) => return format!("login: {reason}"),
        };
        let session = Session { ticket: &ticket, client_id: &device.client_id };
        let request = Request { target, qos: None, retain: None, notation: Notation::Mqtt };
        match self.index.authorize(session, &request, now()).verdict {
            Verdict::Allow(allowed) => format!("Allow {}", allowed.cause()),
            Verdict::Deny(cause) => format!("Deny {cause}"),
        }
    }

    fn ticket(&self, device: &Device) -> Result<String, String> {
        let Device { client_id, username, password } = device;
        let credentials = Credentials { username, password: password.as_bytes(), client_id };
        let login = self.index.login(&credentials, now()).result;
        login.map(|login| login.ticket().to_owned()).map_err(|reason| reason.as_str().to_owned())
    }
}

fn one(secrets: &BTreeMap<String, Stored>, name: &str, index: &[u8]) -> Option<Found> {
    let file = decode_index(index).ok()?;
    let shard = |digest: &mqtt_access_core::bundle::Digest| {
        let shard = secrets.get(&format!("{name}.{digest}"))?;
        Some(Cow::Borrowed(shard.data.get("shard")?.as_slice()))
    };
    let bundle = decode(&file, shard).ok()?;
    Some(Found { revision: file.revision, digest: file.digest.to_string(), bundle })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("a clock before the end of time")
}
