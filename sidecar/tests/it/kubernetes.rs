//! Source `kubernetes` beside an API server whose answers the test holds back.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use mqtt_access_core::bundle::{Bundle, encode};
use mqtt_access_sidecar::watch_secrets;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::fixture::{self, DEV1, DEV1_USERNAME, device_password};
use crate::server::Server;

const PATH: &str = "/api/v1/namespaces/bundles/secrets";

#[derive(Default)]
struct Held {
    secrets: BTreeMap<String, Secret>,
    watchers: Vec<UnboundedSender<Bytes>>,
    fetched: BTreeSet<String>,
    version: u32,
}

/// As much of an API server as the source asks for.
#[derive(Clone)]
struct FakeApi {
    held: Arc<Mutex<Held>>,
    /// Prefix of the names of Secrets that are not given out for now.
    gate: watch::Sender<&'static str>,
}

impl FakeApi {
    fn new() -> Self {
        Self { held: Arc::default(), gate: watch::Sender::new("-") }
    }

    fn client(&self) -> kube::Client {
        let router = Router::new().route(PATH, get(list)).route(&format!("{PATH}/{{name}}"), get(fetch));
        kube::Client::new(router.with_state(self.clone()), "bundles")
    }

    fn publish(&self, bundle: &Bundle, revision: u64) {
        let encoded = encode(bundle).unwrap();
        let name = format!("shop.{}", bundle.tenant.name);
        for (digest, bytes) in &encoded.shards {
            self.put(&format!("{name}.{digest}"), "shard", bytes.clone());
        }
        let index = self.put(&name, "index", encoded.index(revision).unwrap());
        self.tell("MODIFIED", &index);
    }

    fn put(&self, name: &str, data: &str, bytes: Vec<u8>) -> Secret {
        let mut held = self.held.lock().unwrap();
        held.version += 1;
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(held.version.to_string()),
            ..ObjectMeta::default()
        };
        let data = Some(BTreeMap::from([(data.to_owned(), ByteString(bytes))]));
        let secret = Secret { metadata, data, ..Secret::default() };
        held.secrets.insert(name.to_owned(), secret.clone());
        secret
    }

    fn delete(&self, name: &str) {
        let secret = self.held.lock().unwrap().secrets.remove(name).unwrap();
        self.tell("DELETED", &secret);
    }

    fn tell(&self, what: &str, secret: &Secret) {
        let line = format!("{}\n", json!({"type": what, "object": secret}));
        let mut held = self.held.lock().unwrap();
        held.watchers.retain(|watcher| watcher.unbounded_send(Bytes::from(line.clone())).is_ok());
    }

    fn was_asked_for(&self, prefix: &str) -> bool {
        self.held.lock().unwrap().fetched.iter().any(|name| name.starts_with(prefix))
    }
}

async fn list(State(api): State<FakeApi>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut held = api.held.lock().unwrap();
    if query.contains_key("watch") {
        let (watcher, lines) = unbounded();
        held.watchers.push(watcher);
        return Body::from_stream(lines.map(Ok::<Bytes, Infallible>)).into_response();
    }
    let indexes = held.secrets.values().filter(|secret| secret.data.as_ref().unwrap().contains_key("index"));
    let items: Vec<&Secret> = indexes.collect();
    let metadata = json!({"resourceVersion": held.version.to_string()});
    json!({"apiVersion": "v1", "kind": "SecretList", "metadata": metadata, "items": items}).to_string().into_response()
}

async fn fetch(State(api): State<FakeApi>, Path(name): Path<String>) -> Response {
    api.held.lock().unwrap().fetched.insert(name.clone());
    let mut gate = api.gate.subscribe();
    gate.wait_for(|closed| !name.starts_with(closed)).await.unwrap();
    let found = api.held.lock().unwrap().secrets.get(&name).map(|secret| json!(secret).to_string());
    let missing = || {
        let status: Value = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
        (StatusCode::NOT_FOUND, status.to_string()).into_response()
    };
    found.map_or_else(missing, axum::response::IntoResponse::into_response)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn acme(server: &Server) -> String {
    let password = device_password("DC.1", DEV1);
    let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": password});
    server.json("/emqx/v5/authn", &body).await.cause().to_owned()
}

async fn globex(server: &Server) -> String {
    let body = json!({"clientid": "GID_globex@@@dev1", "username": "DeviceCredential|DC.1|mqtt-globex", "password": device_password("DC.1", "GID_globex@@@dev1")});
    server.json("/emqx/v5/authn", &body).await.cause().to_owned()
}

async fn fetch_failures(server: &Server) -> f64 {
    server.metric("mqtt_access_sidecar_reload_failures_total{reason=\"FetchFailed\"}").await
}

/// Another bundle of the same tenant, with another shard.
fn without_devices(mut bundle: Bundle) -> Bundle {
    bundle.devices.truncate(1);
    bundle.devices[0].disabled = true;
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_takes_long_delays_no_other_and_stays_deleted() {
    let (api, server) = (FakeApi::new(), Server::empty().await);
    api.publish(&fixture::acme(), 1);
    api.publish(&fixture::globex(), 1);
    api.gate.send_replace("shop.acme.");
    let (client, store) = (api.client(), Arc::clone(&server.store));
    let source = tokio::spawn(async move { watch_secrets(store, client, "bundles").await });

    until("both are asked for", async || api.was_asked_for("shop.acme.") && api.was_asked_for("shop.globex.")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!server.store.is_ready() || fetch_failures(&server).await > 0.5, "ready before all was offered");
    api.gate.send_replace("-");
    until("both are served", async || acme(&server).await == "ProofAccepted").await;
    assert_eq!(globex(&server).await, "ProofAccepted");

    // Fetches are given up after seconds: until then, a source that goes from tenant to tenant would stand still.
    api.gate.send_replace("shop.acme.");
    let failures = fetch_failures(&server).await;
    api.publish(&without_devices(fixture::acme()), 2);
    api.publish(&without_devices(fixture::globex()), 2);
    until("the other one's update", async || globex(&server).await == "Disabled").await;
    assert!(fetch_failures(&server).await < failures + 0.5, "it waited for the slow one");
    assert_eq!(acme(&server).await, "ProofAccepted");

    api.delete("shop.acme");
    until("deleted", async || acme(&server).await == "UnknownInstance").await;
    api.gate.send_replace("-");
    for _ in 0..50 {
        assert_eq!(acme(&server).await, "UnknownInstance");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    api.publish(&fixture::acme(), 1);
    until("made again", async || acme(&server).await == "ProofAccepted").await;
    source.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_indexes_that_come_while_one_is_on_its_way_the_newest_follows() {
    let (api, server) = (FakeApi::new(), Server::empty().await);
    api.publish(&fixture::acme(), 1);
    let (client, store) = (api.client(), Arc::clone(&server.store));
    let source = tokio::spawn(async move { watch_secrets(store, client, "bundles").await });
    until("served", async || acme(&server).await == "ProofAccepted").await;
    api.gate.send_replace("shop.acme.");
    for revision in 2..10 {
        let mut bundle = fixture::acme();
        bundle.tenant.suspended = revision == 9;
        bundle.devices.truncate(1);
        bundle.devices[0].labels.insert("revision".to_owned(), revision.to_string());
        api.publish(&bundle, revision);
    }
    api.gate.send_replace("-");
    until("the newest", async || acme(&server).await == "Suspended").await;
    assert!((server.metric("mqtt_access_sidecar_bundle_newest_revision").await - 9.0).abs() < 0.5);
    source.abort();
}
