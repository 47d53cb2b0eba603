//! A tenant over time: each compile sees what the one before published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt_access_core::bundle::decode_index;
use mqtt_access_core::index::{BrokerIndex, Credentials, TenantIndex};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::verdict::Reason;
use mqtt_access_crds::MqttTenant;
use serde_json::{Value, json};

use super::*;
use crate::compile::{Compiled, Key, compile, wanted_claims};

const START: UnixSeconds = 1_800_000_000;
const EXPIRY: UnixSeconds = 7200;
/// When a client ID is free again whose credential went at [`START`].
const END: UnixSeconds = START + EXPIRY + CLOCKS;

/// The objects of a tenant, and what is published of them.
struct World {
    /// Names of credentials with their UIDs and client IDs.
    credentials: BTreeMap<String, (String, String)>,
    spec: Value,
    expiry: UnixSeconds,
    created: UnixSeconds,
    published: Option<Compiled>,
}

impl World {
    fn new() -> Self {
        let spec = json!({"instanceId": "i"});
        Self { credentials: BTreeMap::new(), spec, expiry: EXPIRY, created: START, published: None }
    }

    fn with(mut self, name: &str, uid: &str) -> Self {
        self.add(name, uid, name);
        self
    }

    fn add(&mut self, name: &str, uid: &str, client_id: &str) {
        self.credentials.insert(name.to_owned(), (uid.to_owned(), client_id.to_owned()));
    }

    fn gathered(&self) -> Gathered {
        let tenant = MqttTenant::new("t", serde_json::from_value(self.spec.clone()).unwrap());
        let created = Timestamp::from_second(self.created).unwrap().to_string();
        let devices = self.credentials.iter().map(|(name, (uid, client_id))| {
            let spec = match client_id.strip_suffix('*') {
                Some(prefix) => json!({"tenantRef": {"name": "t"}, "clientIdPrefix": prefix, "username": prefix,
                    "mechanisms": ["Password"]}),
                None => json!({"tenantRef": {"name": "t"}, "clientId": client_id}),
            };
            let object = json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": "DeviceCredential", "spec": spec,
                "metadata": {"name": name, "uid": uid, "creationTimestamp": created}});
            let secret_name = "s".to_owned();
            let key = if client_id.ends_with('*') {
                let password = mqtt_access_core::password::Verifier::fast(&ticket_key(), &Secret::from("pencil"));
                Key::Login { scram: None, password: Some(password), rotated: Box::default(), secret_name }
            } else {
                key("key")
            };
            (Arc::new(serde_json::from_value(object).unwrap()), key)
        });
        Gathered {
            before: self.published.as_ref().map(|before| Arc::new(Before::of(&before.bundle))),
            session_expiry: self.expiry,
            claims: wanted_claims(&tenant, false),
            devices: devices.collect(),
            tenant: Arc::new(tenant),
            ticket_key: ticket_key(),
            scram: mqtt_access_core::scram::ScramSettings::default(),
            acl_delivery: mqtt_access_core::bundle::AclDelivery::default(),
            revoked_tokens: BTreeSet::new(),
            access_keys: [("k".to_owned(), key("access"))].into(),
            policies: Vec::new(),
            beyond: crate::compile::Beyond::default(),
            incumbents: None,
            seniority: crate::compile::Seniority::Known,
            will_grace_seconds: 0,
        }
    }

    /// Compiles and publishes: what is published is what a restart reads.
    fn publish(&mut self, now: UnixSeconds) {
        let mut compiled = compile(&self.gathered(), now);
        let encoded = mqtt_access_core::bundle::encode(&compiled.bundle).unwrap();
        let index = decode_index(&encoded.index(1).unwrap()).unwrap();
        let read = |digest: &_| encoded.shards.get(digest).map(|bytes| bytes.as_slice().into());
        compiled.bundle = mqtt_access_core::bundle::decode(&index, read).unwrap();
        self.published = Some(compiled);
    }

    fn reason(&self, name: &str) -> DeviceReady {
        self.published.as_ref().unwrap().reports.devices[name].reason
    }

    fn resting(&self) -> &Resting {
        &self.published.as_ref().unwrap().bundle.tenant.sessions.resting
    }

    /// What a client hears at a sidecar with this clock.
    fn login(&self, username: &str, secret: &str, client_id: &str, now: UnixSeconds) -> Option<Reason> {
        let index = TenantIndex::new(self.published.as_ref().unwrap().bundle.clone(), 1).unwrap();
        let index = BrokerIndex::new([Arc::new(index)]);
        let password = if username == "p-" {
            secret.to_owned()
        } else {
            let algorithm = mqtt_access_core::credential::MacAlgorithm::HmacSha256;
            mqtt_access_core::credential::password(algorithm, &Secret::from(secret), client_id)
        };
        let credentials = Credentials { username, password: password.as_bytes(), client_id };
        index.login(&credentials, now).result.err()
    }

    fn device_login(&self, client_id: &str, now: UnixSeconds) -> Option<Reason> {
        let id = mqtt_access_core::credential::device_key_id("i", client_id);
        self.login(&format!("DeviceCredential|{id}|i"), "key", client_id, now)
    }

    fn key_login(&self, client_id: &str, now: UnixSeconds) -> Option<Reason> {
        let id = mqtt_access_core::credential::access_key_id("i", "k");
        self.login(&format!("Signature|{id}|i"), "access", client_id, now)
    }
}

fn ticket_key() -> Secret {
    Secret::new(vec![1; 32])
}

fn key(secret: &str) -> Key {
    Key::Ready { id: None, secret: Secret::from(secret), rotated: Box::default(), secret_name: "s".to_owned() }
}

const RESTING: Option<Reason> = Some(Reason::ClientIdResting);

/// A tenant whose credential `d` went at [`START`], and the next minute came back as another one.
fn replaced() -> World {
    let mut world = World::new().with("d", "one").with("e", "two");
    world.spec["accessKeys"] = json!([{"name": "k"}]);
    world.publish(START - 100);
    world.credentials.remove("d");
    world.publish(START);
    world
}

#[test]
fn a_client_id_rests_for_everyone_until_its_session_is_forgotten() {
    let mut world = replaced();
    assert_eq!(world.key_login("d", START), RESTING, "the access key opens it, but is not who had it");
    assert_eq!((world.key_login("f", START), world.device_login("e", START)), (None, None));
    world.add("d", "another", "d");
    world.publish(START + 60);
    assert_eq!(world.reason("d"), DeviceReady::ClientIdResting);
    for (now, expected) in [(START, RESTING), (START + 60, RESTING), (END - 1, RESTING), (END, None)] {
        assert_eq!(world.device_login("d", now), expected, "{now}");
    }
    let report = &world.published.as_ref().unwrap().reports;
    assert_eq!(report.next_change, Some(END));
    let message = &report.devices["d"].message;
    let end = Timestamp::from_second(END).unwrap().to_string();
    assert!(message.contains(&end) && message.contains("spec.releasedClientIds"), "{message}");
    world.publish(END);
    assert_eq!(world.reason("d"), DeviceReady::Ready);
}

#[test]
fn made_anew_between_two_looks_it_rests_all_the_same() {
    let mut world = World::new().with("d", "one");
    world.publish(START - 100);
    world.add("d", "another", "d");
    world.publish(START);
    assert_eq!(world.device_login("d", START), RESTING);
    // And so does one that takes over under another name.
    let mut world = World::new().with("d", "one");
    world.add("younger", "two", "d");
    world.publish(START - 100);
    assert_eq!(world.reason("younger"), DeviceReady::ClientIdTaken);
    world.credentials.remove("d");
    world.publish(START);
    assert_eq!((world.reason("younger"), world.device_login("d", START)), (DeviceReady::ClientIdResting, RESTING));
}

#[test]
fn the_same_credential_never_rests() {
    let mut world = replaced();
    world.add("d", "one", "d");
    world.publish(START + 1);
    assert_eq!((world.reason("d"), world.device_login("d", START + 1)), (DeviceReady::Ready, None));
    assert!(world.resting().is_empty());
    // Nor does one that is disabled, edited, out of its key for a while, or not understood.
    let before = world.gathered();
    for change in ["disabled", "unheardOf"] {
        let mut changed = before.clone();
        for (source, _) in &mut changed.devices {
            let mut object = serde_json::to_value(source.as_result().unwrap()).unwrap();
            object["spec"][change] = json!(true);
            *source = Arc::new(serde_json::from_value(object).unwrap());
        }
        let compiled = compile(&changed, START + 2);
        assert!(compiled.bundle.tenant.sessions.resting.is_empty(), "{change}");
        let again = Gathered { before: Some(Arc::new(Before::of(&compiled.bundle))), ..before.clone() };
        assert!(compile(&again, START + 3).bundle.tenant.sessions.resting.is_empty(), "{change}");
    }
    // But where another one had the client ID meanwhile, the session may be that one's.
    let mut world = World::new().with("d", "one");
    world.publish(START - 200);
    world.add("d", "another", "d");
    world.publish(START - 100);
    world.add("d", "one", "d");
    world.publish(START);
    assert_eq!(world.device_login("d", START), RESTING);
}

#[test]
fn the_same_look_twice_changes_nothing_and_a_restart_or_a_later_look_no_end() {
    let mut world = replaced();
    let published = world.published.as_ref().unwrap().bundle.clone();
    for later in [START, START + 1, START + EXPIRY] {
        world.publish(later);
        assert_eq!(world.published.as_ref().unwrap().bundle, published, "{later}");
    }
}

#[test]
fn clocks_ten_minutes_apart_free_nothing_too_early_and_drop_nothing_too_soon() {
    const APART: UnixSeconds = 600;
    // What the operator saw at START was the deletion; the broker keeps the session for two hours from then on.
    let forgotten = START + EXPIRY;
    for operator in [START - APART, START, START + APART] {
        for sidecar in [-APART, 0, APART] {
            let mut world = World::new().with("d", "one");
            world.publish(operator - 100);
            world.add("d", "another", "d");
            world.publish(operator);
            // By a clock that is right, just before the session is forgotten: the sidecar's may be ten minutes ahead of the operator's.
            let apart = (START + sidecar) - operator;
            if apart.abs() <= APART {
                assert_eq!(world.device_login("d", forgotten + sidecar - 1), RESTING, "{operator} {sidecar}");
            }
            // The operator prunes when no sidecar counts it any more.
            world.publish(operator + EXPIRY + CLOCKS + APART);
            assert_eq!(world.resting().clients.len(), 1, "{operator} {sidecar}");
            world.publish(operator + EXPIRY + CLOCKS + CLOCKS);
            assert!(world.resting().is_empty(), "{operator} {sidecar}");
            assert_eq!(world.device_login("d", i64::MIN), None);
        }
    }
}

#[test]
fn two_operators_that_see_it_at_different_times_agree() {
    let mut one = World::new().with("d", "one");
    one.publish(START - 100);
    let mut other = World::new().with("d", "one");
    other.publish(START - 100);
    for (world, now) in [(&mut one, START), (&mut other, START + 7)] {
        world.credentials.remove("d");
        world.publish(now);
    }
    assert_ne!(one.resting(), other.resting());
    let looks = [(&one, other.resting()), (&other, one.resting())].map(|(world, theirs)| {
        let gathered = world.gathered();
        let before = gathered.before.clone().map(|before| before.and(theirs));
        compile(&Gathered { before, ..gathered }, START + 20).bundle.tenant.sessions.resting
    });
    assert_eq!(looks, [other.resting().clone(), other.resting().clone()]);
}

#[test]
fn where_nothing_is_known_to_be_kept_nothing_rests() {
    let mut world = replaced();
    assert!(!world.resting().is_empty());
    world.expiry = 0;
    world.publish(START + 1);
    assert!(world.resting().is_empty() && world.key_login("d", START + 1).is_none());
    // The last index is lost: nobody knows who had which client ID, and nobody is shut out for it.
    let mut lost = replaced();
    lost.published = None;
    lost.add("d", "another", "d");
    lost.publish(START + 1);
    assert_eq!((lost.reason("d"), lost.device_login("d", START + 1)), (DeviceReady::Ready, None));
}

#[test]
fn the_platform_team_frees_a_client_id() {
    let mut world = replaced();
    world.spec["releasedClientIds"] = json!(["d"]);
    world.publish(START + 1);
    assert_eq!(world.key_login("d", START + 1), None);
    world.add("d", "another", "d");
    world.publish(START + 2);
    assert_eq!((world.reason("d"), world.device_login("d", START + 2)), (DeviceReady::Ready, None));
    // Once it is no longer listed, the next deletion counts again.
    world.spec["releasedClientIds"] = json!([]);
    world.publish(START + 3);
    assert_eq!(world.device_login("d", START + 3), None);
    world.credentials.remove("d");
    world.publish(START + 4);
    assert_eq!(world.key_login("d", START + 4), RESTING);
}

#[test]
fn a_prefix_that_is_gone_rests_nowhere_and_one_that_is_new_opens_nothing_that_rests() {
    let mut world = World::new();
    world.add("p", "one", "p-*");
    world.add("d", "two", "p-1");
    world.publish(START - 100);
    world.credentials.clear();
    world.publish(START);
    assert_eq!(world.resting().clients.len(), 1);
    world.add("p", "another", "p-*");
    world.publish(START + 1);
    assert_eq!(world.reason("p"), DeviceReady::Ready);
    assert_eq!(world.login("p-", "pencil", "p-1", START + 1), RESTING);
    assert_eq!(world.login("p-", "pencil", "p-2", START + 1), None, "nobody knows that it was used");
}

/// `count` credentials, from the first number on.
fn many(from: usize, count: usize) -> BTreeMap<String, (String, String)> {
    (from..from + count).map(|n| (format!("d{n}"), (format!("uid-{n}"), format!("d{n}")))).collect()
}

#[test]
fn beyond_ten_thousand_those_that_are_younger_wait_and_those_that_were_there_do_not() {
    let mut world = World::new();
    world.credentials = many(0, MAX_RESTING + 2);
    world.add("stays", "stays", "stays");
    world.publish(START - 100);
    // Two go first, then the others: there is no room for the first two.
    world.credentials.remove("d0");
    world.credentials.remove("d1");
    world.publish(START);
    world.credentials.retain(|name, _| name == "stays");
    world.publish(START + 60);
    assert_eq!(world.resting().clients.len(), MAX_RESTING);
    assert_eq!(world.resting().forgotten.map(|forgotten| forgotten.until), Some(END));
    assert_eq!(world.device_login("stays", START + 60), None);
    world.created = START + 61;
    world.add("d0", "another", "d0");
    world.add("new", "new", "new");
    world.add("people", "people", "p-*");
    world.publish(START + 62);
    for (client_id, now, expected) in [("d0", START + 62, RESTING), ("new", END - 1, RESTING), ("new", END, None)] {
        assert_eq!(world.device_login(client_id, now), expected, "{client_id} {now}");
    }
    assert_eq!((world.reason("new"), world.reason("stays")), (DeviceReady::ClientIdResting, DeviceReady::Ready));
    assert_eq!(world.login("p-", "pencil", "p-1", START + 62), RESTING);
    // The next look, which finds them published, changes nothing.
    let published = world.published.as_ref().unwrap().bundle.clone();
    world.publish(START + 63);
    assert_eq!(world.published.as_ref().unwrap().bundle, published);
    // They are freed by name, and otherwise when the last that was forgotten has ended.
    world.spec["releasedClientIds"] = json!(["new", "p-"]);
    world.publish(START + 64);
    assert_eq!((world.device_login("new", START + 64), world.device_login("d0", START + 64)), (None, RESTING));
    assert_eq!(world.login("p-", "pencil", "p-1", START + 64), None);
    world.publish(END + CLOCKS);
    assert_eq!(world.resting().forgotten, None);
    assert!(world.published.as_ref().unwrap().bundle.devices.iter().all(|device| device.rests_until.is_none()));
}

#[test]
fn a_credential_that_is_older_than_any_session_does_not_wait_because_it_comes_back() {
    let mut world = World::new();
    world.credentials = many(0, MAX_RESTING + 1);
    world.publish(START - 100);
    world.credentials.clear();
    world.publish(START);
    // What was forgotten went at START, by some clock.
    let young = START + EXPIRY - LONGEST - CLOCKS;
    for (created, expected) in [(young - 1, DeviceReady::Ready), (young, DeviceReady::ClientIdResting)] {
        world.created = created;
        let name = format!("of-{created}");
        world.add(&name, &name, &name);
        world.publish(START + 1);
        assert_eq!(world.reason(&name), expected);
        world.credentials.remove(&name);
        world.spec["releasedClientIds"] = json!([name]);
        world.publish(START + 1);
    }
}
