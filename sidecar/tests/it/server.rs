//! A sidecar on free ports, with a clock that the test moves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use mqtt_access_core::bundle::Bundle;
use mqtt_access_sidecar::{Clock, Options, Store, Timeouts, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixture::{self, START};
use crate::wire::{Reply, Wire, bare, form, post};

/// A running sidecar.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) now: Arc<AtomicI64>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Short, so that a test of slowness is quick.
pub(crate) const TIMEOUTS: Timeouts = Timeouts { head: Duration::from_millis(600), body: Duration::from_millis(300) };

impl Server {
    /// With both tenants of the fixture.
    pub(crate) async fn start() -> Self {
        let server = Self::empty().await;
        server.load_fixture();
        server
    }

    /// With every mode for the first of them.
    pub(crate) async fn with_modes() -> Self {
        let server = Self::start().await;
        server.serve(&fixture::modes::bundle(), 11);
        server
    }

    /// With this for the first of them.
    pub(crate) fn serve(&self, acme: &Bundle, revision: u64) {
        self.store.apply(&fixture::acme_key(), fixture::files(acme, revision)).unwrap();
    }

    /// Before anything was loaded.
    pub(crate) async fn empty() -> Self {
        Self::on(None, TIMEOUTS, false).await
    }

    /// With a state folder, and whatever is in it.
    pub(crate) async fn with_state(state: &Path) -> Self {
        Self::on(Some(state), Timeouts::default(), false).await
    }

    /// With both tenants of the fixture, and `/explain`.
    pub(crate) async fn explaining() -> Self {
        let server = Self::explaining_before_anything().await;
        server.load_fixture();
        server
    }

    /// With `/explain`, before anything was loaded.
    pub(crate) async fn explaining_before_anything() -> Self {
        Self::on(None, TIMEOUTS, true).await
    }

    async fn on(state: Option<&Path>, timeouts: Timeouts, explain: bool) -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let told = Arc::clone(&now);
        Self::listening(Clock::new(move || told.load(Relaxed)), now, state, timeouts, explain).await
    }

    pub(crate) async fn with_clock(
        clock: Clock,
        now: Arc<AtomicI64>,
        state: Option<&Path>,
        timeouts: Timeouts,
    ) -> Self {
        Self::listening(clock, now, state, timeouts, false).await
    }

    async fn listening(
        clock: Clock,
        now: Arc<AtomicI64>,
        state: Option<&Path>,
        timeouts: Timeouts,
        explain: bool,
    ) -> Self {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, admin) = (listen().await, listen().await);
        let (http_address, admin_address) = (http.local_addr().unwrap(), admin.local_addr().unwrap());
        let store = state.map_or_else(|| Store::in_memory(clock.clone()), |state| Store::open(state, clock.clone()));
        let options = Options { cause_header: true, state_dir: state.map(Path::to_owned), timeouts, explain };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = Arc::clone(&store);
        let task = tokio::spawn(async move {
            serve(running, http, admin, options, async { _ = stopped.await }).await;
        });
        Self { store, http: http_address, admin: admin_address, now, stop, task }
    }

    pub(crate) fn load_fixture(&self) {
        let bundles = [
            (fixture::acme_key(), fixture::files(&fixture::acme(), 10)),
            (fixture::globex_key(), fixture::files(&fixture::globex(), 10)),
        ];
        assert!(self.store.replace(bundles.into_iter().collect()).is_empty());
    }

    /// Waits until a restart would serve what is in force.
    pub(crate) fn is_saved(&self) -> bool {
        self.store.settle(Duration::from_secs(20))
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }

    pub(crate) async fn raw(&self, request: &[u8]) -> Reply {
        let mut wire = Wire::open(self.http).await;
        wire.send(request).await;
        wire.reply().await.expect("a reply")
    }

    pub(crate) async fn json(&self, path: &str, body: &Value) -> Reply {
        self.raw(&post(path, "application/json", body.to_string().as_bytes())).await
    }

    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Reply {
        let mut reply = self.raw(&post(path, "application/x-www-form-urlencoded", form(pairs).as_bytes())).await;
        // RabbitMQ repeats the tags in its questions; what they follow is the answer.
        if let Some(tags) = reply.body.strip_prefix("allow ").map(str::to_owned) {
            assert_eq!((path, tags.split(' ').count()), ("/rabbitmq/user", 8), "{tags}");
            reply.headers.insert("tags".to_owned(), tags);
            reply.body.truncate("allow".len());
        }
        reply
    }

    pub(crate) async fn get(&self, path: &str, pairs: &[(&str, &str)]) -> Reply {
        self.raw(&bare("GET", &format!("{path}?{}", form(pairs)))).await
    }

    pub(crate) async fn probe(&self, path: &str) -> Reply {
        let mut wire = Wire::open(self.admin).await;
        wire.send(&bare("GET", path)).await;
        wire.reply().await.expect("a reply")
    }

    pub(crate) async fn admin_raw(&self, request: &[u8]) -> Reply {
        let mut wire = Wire::open(self.admin).await;
        wire.send(request).await;
        wire.reply().await.expect("a reply")
    }

    /// The value of one line of the metrics; 0 where there is none.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.probe("/metrics").await.body;
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }

    /// Logs a device in through EMQX and returns its ticket.
    pub(crate) async fn emqx_ticket(&self, client_id: &str, username: &str, password: &str) -> String {
        let body = json!({"clientid": client_id, "username": username, "password": password});
        let reply = self.json("/emqx/v5/authn", &body).await;
        let value: Value = serde_json::from_str(&reply.body).unwrap();
        value["client_attrs"]["mqa_ticket"].as_str().expect("a ticket").to_owned()
    }

    /// Asks whether a client may publish, with EMQX's words.
    pub(crate) async fn emqx_publish(&self, client_id: &str, ticket: &str, topic: &str) -> Reply {
        let body = json!({
            "clientid": client_id, "username": "anything", "action": "publish", "topic": topic, "qos": "0",
            "retain": "false", "ticket": ticket,
        });
        self.json("/emqx/v5/authz", &body).await
    }
}
