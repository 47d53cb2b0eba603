//! A broker, a sidecar that can be restarted, and a tenant whose clients prove themselves in several ways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Device, KeyUse, Revocations, SessionRules, Space, Spares,
    Tenant, encode,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{self, Act, token_key};
use mqtt_access_sidecar::{Clock, Files, Options, Store, serve};
use mqtt_access_tests::mqtt::{Client, ConnectRefused};
use mqtt_access_tests::{RabbitMq, http, ports, wait};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

/// Who logs in with a client ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Principal {
    /// With a signature of the access key `AK.1`.
    Key,
    /// With a signature of the access key `AK.2`.
    OtherKey,
    /// With a token of `AK.1` that is bound to the client ID and may read everything.
    WideToken,
    /// As that one, but for `acme/news` alone.
    NarrowToken,
    /// With a token of `AK.1` that may read everything and is bound to no client ID.
    UnboundToken,
    /// With another one that says the same.
    NextUnboundToken,
    /// With the credential that owns the client ID.
    Device,
}

/// A sidecar in this process.
pub(crate) struct Sidecar {
    store: Arc<Store>,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

pub(crate) struct World {
    broker: RabbitMq,
    sidecar: Option<Sidecar>,
    http: SocketAddr,
    state: TempDir,
    /// Client IDs with a credential of their own, and its UID.
    reserved: BTreeMap<String, u64>,
    revision: AtomicU64,
}

impl Principal {
    fn username(self, client_id: &str) -> String {
        match self {
            Self::Key => "Signature|AK.1|mqtt-acme".to_owned(),
            Self::OtherKey => "Signature|AK.2|mqtt-acme".to_owned(),
            Self::Device => format!("DeviceCredential|DC.{client_id}|mqtt-acme"),
            _ => "Token|AK.1|mqtt-acme".to_owned(),
        }
    }

    fn password(self, client_id: &str) -> String {
        let signed = |key: &str| password(MacAlgorithm::HmacSha1, &Secret::from(key), client_id);
        let bound = || Some(client_id.to_owned());
        match self {
            Self::Key => signed("AK.1"),
            Self::OtherKey => signed("AK.2"),
            Self::Device => signed("a device"),
            Self::WideToken => a_token("wide", "acme/#", bound()),
            Self::NarrowToken => a_token("narrow", "acme/news", bound()),
            Self::UnboundToken => a_token("unbound", "acme/#", None),
            Self::NextUnboundToken => a_token("unbound, the next", "acme/#", None),
        }
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn a_token(id: &str, resource: &str, sub: Option<String>) -> String {
    let claims = token::Claims {
        iss: "AK.1".to_owned(),
        aud: "mqtt-acme".to_owned(),
        iat: now(),
        exp: now() + 3600,
        nbf: None,
        jti: id.to_owned(),
        act: Act::R,
        res: vec![resource.to_owned()],
        sub,
    };
    format!("R|{}", claims.sign(&token_key(&Secret::from("AK.1"))).unwrap())
}

impl Sidecar {
    pub(crate) const WITH_STATE: bool = true;
    pub(crate) const WITHOUT_STATE: bool = false;

    async fn start(http: SocketAddr, state: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind(http).await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_address = admin.local_addr().unwrap();
        let store = Store::in_memory(Clock::system());
        let options = Options { state_dir: state, ..Options::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = Arc::clone(&store);
        let task =
            tokio::spawn(async move { serve(running, listener, admin, options, async { _ = stopped.await }).await });
        Self { store, admin: admin_address, stop, task }
    }

    /// How many questions were denied for this reason.
    pub(crate) async fn denials(&self, reason: &str) -> u64 {
        let metrics = http::get(self.admin, "/metrics").await.unwrap().body;
        let of_reason = format!("verdict=\"deny\",reason=\"{reason}\"");
        let lines = metrics.lines().filter(|line| line.contains(&of_reason));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let http = ports::free_address();
        let state = TempDir::with_prefix("mqtt-access-sessions-").unwrap();
        let sidecar = Some(Sidecar::start(http, Some(state.path().to_owned())).await);
        let broker = RabbitMq::start(http).await;
        let world = Self { broker, sidecar, http, state, reserved: BTreeMap::new(), revision: AtomicU64::new(0) };
        world.publish_bundle();
        world
    }

    pub(crate) fn broker(&self) -> &RabbitMq {
        &self.broker
    }

    pub(crate) fn sidecar(&self) -> &Sidecar {
        self.sidecar.as_ref().unwrap()
    }

    /// Starts the sidecar anew, with what it has kept or without.
    pub(crate) async fn restart(&mut self, with_state: bool) {
        let Sidecar { stop, task, .. } = self.sidecar.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
        let state = with_state.then(|| self.state.path().to_owned());
        self.sidecar = Some(Sidecar::start(self.http, state).await);
        self.publish_bundle();
    }

    /// Makes a credential for a client ID, which never had this UID.
    pub(crate) fn reserve(&mut self, client_id: &str, is_reserved: bool) {
        if is_reserved {
            self.reserved.insert(client_id.to_owned(), self.revision.load(Relaxed));
            self.publish_bundle();
        }
    }

    pub(crate) fn release(&mut self, client_id: &str) {
        if self.reserved.remove(client_id).is_some() {
            self.publish_bundle();
        }
    }

    fn publish_bundle(&self) {
        let encoded = encode(&self.bundle()).unwrap();
        let revision = self.revision.fetch_add(1, Relaxed) + 1;
        let files = Files::new(encoded.index(revision).unwrap(), encoded.shards.clone());
        let key = "shop.acme".parse().unwrap();
        assert!(self.sidecar().store.replace([(key, files)].into_iter().collect()).is_empty());
    }

    /// Lets the sidecar know whose session a client ID has, and leaves none.
    pub(crate) async fn make_known(&self, principal: Principal, client_id: &str) {
        use mqtt_access_tests::mqtt::rumqttc::QoS;
        for _ in 0..2 {
            let mut client = self.clean(principal, client_id).await.unwrap();
            if client.subscribe("acme/news", QoS::AtLeastOnce).await.is_ok() {
                return client.disconnect().await;
            }
        }
        panic!("{principal:?} gets no session for `{client_id}`");
    }

    /// Connects with a clean session.
    pub(crate) async fn clean(&self, principal: Principal, client_id: &str) -> Result<Client, ConnectRefused> {
        self.connect(principal, client_id, true).await
    }

    /// Connects with a session that stays.
    pub(crate) async fn stay(&self, principal: Principal, client_id: &str) -> Result<Client, ConnectRefused> {
        self.connect(principal, client_id, false).await
    }

    /// As [`Self::stay`], just after a clean session: RabbitMQ refuses to take up the queue of that one while it is being deleted.
    pub(crate) async fn stay_after_clean(&self, principal: Principal, client_id: &str) -> Client {
        let deleted = async || self.stay(principal, client_id).await.ok();
        wait::until("the queue of a clean session to be gone", SOON, deleted).await
    }

    async fn connect(&self, principal: Principal, client_id: &str, clean: bool) -> Result<Client, ConnectRefused> {
        let (username, password) = (principal.username(client_id), principal.password(client_id));
        let change = |options: &mut mqtt_access_tests::mqtt::rumqttc::MqttOptions| {
            options.set_clean_session(clean);
        };
        Client::connect_with(self.broker.mqtt(), client_id, &username, &password, change).await
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        let mut sender = self.clean(Principal::Key, "sender").await.unwrap();
        sender.publish(topic, payload).await.unwrap();
        sender.disconnect().await;
    }

    fn bundle(&self) -> Bundle {
        let devices = self.reserved.iter().map(|(client_id, uid)| device(client_id, *uid)).collect();
        let rule = Rule {
            index: 0,
            effect: Effect::Allow,
            actions: BTreeSet::from([Action::Publish, Action::Subscribe]),
            topics: Topics::Listed(vec!["acme/#".to_owned()]),
            qos: None,
            retain: None,
        };
        let everyone = Subject { everyone: true, ..Subject::default() };
        let policy = Policy { name: "all".to_owned(), subjects: vec![everyone], rules: vec![rule] };
        Bundle { tenant: tenant(), policies: vec![policy], devices }
    }
}

fn tenant() -> Tenant {
    Tenant {
        namespace: "shop".to_owned(),
        name: "acme".to_owned(),
        uid: "uid".to_owned(),
        created: 1,
        claims: Claims {
            instance_id: "mqtt-acme".to_owned(),
            client_id_prefixes: Vec::new(),
            topic_space: vec![Space { filter: "acme/#".to_owned(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: vec![access_key("AK.1"), access_key("AK.2")],
        modes: vec![Mode::Signature, Mode::Token, Mode::DeviceCredential],
        signature_algorithms: vec![MacAlgorithm::HmacSha1],
        superusers_allowed: false,
        ticket_key: Secret::from("the ticket key"),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

fn access_key(id: &str) -> AccessKey {
    AccessKey {
        name: id.to_lowercase(),
        id: id.to_owned(),
        secret: Some(Secret::from(id)),
        disabled: false,
        generated: false,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
        client_id_prefixes: None,
    }
}

fn device(client_id: &str, uid: u64) -> Device {
    Device {
        name: "device".to_owned(),
        uid: Some(format!("uid {uid}")),
        client_id: ClientIds::from(client_id),
        key_id: format!("DC.{client_id}"),
        secret: Some(Secret::from("a device")),
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
