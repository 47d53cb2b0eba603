//! The whole service over a cluster that is not there: what is asked goes through the router, as from the listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, KeyUse, Revocations, SessionRules, Space, Spares, Tenant, UnixSeconds,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop};
use serde_json::Value;

use super::directory::{Access, ClusterError, DeviceError, DeviceKey, Issuer, Review, RevokeError};
use super::*;
use crate::cluster::ObjectKey;

pub(super) const INSTANCE: &str = "mqtt-acme";

/// One tenant, `acme/main`, with four keys; `everyone` may use `acme/#` but publish nothing below `acme/secret`.
pub(super) struct Fake {
    pub(super) issuer: Arc<Issuer>,
    pub(super) complete: AtomicBool,
    pub(super) revoked: Mutex<BTreeMap<String, UnixSeconds>>,
    pub(super) devices: Mutex<BTreeMap<String, DeviceKey>>,
    pub(super) asked: Mutex<Vec<String>>,
}

pub(super) struct Replied {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Replied {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or_default()
    }
}

/// The service, and the cluster that it talks to.
pub(super) struct Running {
    pub(super) fake: Arc<Fake>,
    router: Router,
}

impl Running {
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Tenant)) -> Self {
        let mut tenant = tenant();
        change(&mut tenant);
        let bundle = Bundle { tenant, policies: vec![policy()], devices: Vec::new() };
        let issuer = Issuer {
            tenant: ObjectKey::new("acme", "main"),
            broker: "default".to_owned(),
            index: TenantIndex::new(bundle, 1).unwrap(),
        };
        let fake = Arc::new(Fake {
            issuer: Arc::new(issuer),
            complete: AtomicBool::new(true),
            revoked: Mutex::default(),
            devices: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = router(Arc::clone(&fake) as Arc<dyn Directory>);
        Self { fake, router }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Replied {
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        Replied {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// Places, kinds and bytes of changes.
pub(super) type Edits = Vec<(prop::sample::Index, u8, u8)>;

pub(super) fn edits() -> impl Strategy<Value = Edits> {
    vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..5)
}

/// A text with some bytes replaced, added or taken away.
pub(super) fn altered(text: &str, edits: &Edits) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, how, byte) in edits {
        let at = place.index(bytes.len());
        match how % 3 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

pub(super) fn secret(name: &str) -> String {
    format!("secret-of-{name}")
}

fn key(name: &str, uses: &[KeyUse]) -> AccessKey {
    AccessKey {
        name: name.to_owned(),
        id: format!("AK.{name}"),
        secret: Some(Secret::from(secret(name).as_str())),
        disabled: name == "disabled",
        generated: true,
        client_id_prefixes: None,
        uses: uses.iter().copied().collect(),
        spares: Spares::default(),
    }
}

fn tenant() -> Tenant {
    Tenant {
        namespace: "acme".to_owned(),
        name: "main".to_owned(),
        uid: "uid".to_owned(),
        created: 0,
        claims: Claims {
            instance_id: INSTANCE.to_owned(),
            client_id_prefixes: vec!["GID_acme@@@".to_owned()],
            topic_space: vec![Space { filter: "acme/#".to_owned(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: vec![
            key("backend", &[KeyUse::Connect, KeyUse::IssueTokens]),
            key("registrar", &[KeyUse::ManageDevices]),
            key("plain", &[KeyUse::Connect]),
            key("disabled", &[KeyUse::IssueTokens]),
        ],
        modes: vec![Mode::Signature, Mode::DeviceCredential, Mode::Token],
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: Secret::new(vec![7; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn policy() -> Policy {
    let rule = |index, effect, actions: &[Action], topic: &str| Rule {
        index,
        effect,
        actions: actions.iter().copied().collect(),
        topics: Topics::Listed(vec![topic.to_owned()]),
        qos: None,
        retain: None,
    };
    Policy {
        name: "all".to_owned(),
        subjects: vec![Subject { everyone: true, ..Subject::default() }],
        rules: vec![
            rule(0, Effect::Allow, &[Action::Publish, Action::Subscribe], "acme/#"),
            rule(1, Effect::Deny, &[Action::Publish], "acme/secret/#"),
        ],
    }
}

impl Directory for Fake {
    fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    fn issuer(&self, tenant: &ObjectKey) -> Option<Arc<Issuer>> {
        (*tenant == self.issuer.tenant).then(|| Arc::clone(&self.issuer))
    }

    fn issuers_of(&self, instance_id: &str) -> Vec<Arc<Issuer>> {
        if instance_id == INSTANCE { vec![Arc::clone(&self.issuer)] } else { Vec::new() }
    }

    fn is_revoked(&self, _: &Issuer, id: &str) -> bool {
        self.revoked.lock().unwrap().contains_key(id)
    }

    fn revoke<'a>(
        &'a self,
        _: &'a Issuer,
        id: &'a str,
        expires_at: UnixSeconds,
    ) -> BoxFuture<'a, Result<(), RevokeError>> {
        self.revoked.lock().unwrap().insert(id.to_owned(), expires_at);
        async { Ok(()) }.boxed()
    }

    fn review<'a>(&'a self, bearer: &'a Secret, access: Access<'a>) -> BoxFuture<'a, Result<Review, ClusterError>> {
        let review = match bearer.expose() {
            b"a.good.one" => Review::Permitted("system:serviceaccount:acme:app".to_owned()),
            b"a.weak.one" => Review::Forbidden,
            b"a.panicking.one" => panic!("a bug"),
            _ => Review::Unknown,
        };
        self.asked.lock().unwrap().push(format!("{} {}", access.verb, access.tenant));
        async { Ok(review) }.boxed()
    }

    fn register<'a>(
        &'a self,
        issuer: &'a Issuer,
        by: &'a str,
        client_id: &'a str,
    ) -> BoxFuture<'a, Result<DeviceKey, DeviceError>> {
        let secret = Secret::from(format!("made by {by}").as_str());
        let key = DeviceKey { id: format!("DC.{client_id}"), secret, created: 1000, updated: 1000 };
        self.devices.lock().unwrap().entry(client_id.to_owned()).or_insert(key);
        async move { self.device(issuer, client_id) }.boxed()
    }

    fn device(&self, _: &Issuer, client_id: &str) -> Result<DeviceKey, DeviceError> {
        self.devices.lock().unwrap().get(client_id).cloned().ok_or(DeviceError::NotFound)
    }

    fn refresh<'a>(&'a self, issuer: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<DeviceKey, DeviceError>> {
        if let Some(key) = self.devices.lock().unwrap().get_mut(client_id) {
            key.secret = Secret::from("another");
            key.updated = 2000;
        }
        async move { self.device(issuer, client_id) }.boxed()
    }

    fn unregister<'a>(&'a self, _: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<(), DeviceError>> {
        let gone = self.devices.lock().unwrap().remove(client_id);
        async move { gone.map(|_| ()).ok_or(DeviceError::NotFound) }.boxed()
    }

    fn client_ids(&self, _: &Issuer, prefix: &str) -> Vec<String> {
        self.devices.lock().unwrap().keys().filter(|id| id.starts_with(prefix)).cloned().collect()
    }
}

/// Values that must stand in no log and no answer.
pub(super) fn secrets() -> BTreeSet<String> {
    ["backend", "registrar", "plain", "disabled"].map(secret).into()
}
