//! Source `kubernetes`: Secrets of the bundle namespace.
//!
//! Indexes are watched: Secrets labelled `mqttaccess.io/bundle=index`, named `<namespace>.<tenant>`, data `index`. Shards
//! are Secrets `<namespace>.<tenant>.<digest>`, data `shard`; they never change, so one is fetched once, when an index
//! names it. A list that was read to its end is the truth about which tenants there are; a watch that breaks is
//! none, and everything stays as it is until the next list.
//!
//! Needs get, list and watch on Secrets in that namespace, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use mqtt_access_core::bundle::{BundleError, Digest, decode_index};
use tokio::time::{Instant, sleep_until, timeout};

use crate::log_error::Chain;
use crate::store::{Files, ReloadError, Shard, Store};
use crate::tenant_key::TenantKey;

const LABEL: &str = "mqttaccess.io/bundle=index";
const FETCHES_AT_ONCE: usize = 8;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Loads the bundles of a namespace, and loads them again when they change. Runs until it is dropped.
pub async fn watch_secrets(store: Arc<Store>, client: Client, namespace: &str) {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().labels(LABEL);
    let mut events = watcher(secrets.clone(), config).backoff(Pauses(FIRST_PAUSE)).boxed();
    let mut source = Source { store, secrets, listed: None, pending: HashMap::new() };
    loop {
        let retry = source.next_retry();
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => source.take(event).await,
                Some(Err(error)) => tracing::warn!(error = %Chain(&error), "bundles not watched; the last good ones stay"),
                None => return,
            },
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => source.retry().await,
        }
    }
}

/// From 100 ms, doubling, to 5 s: an API server that comes back is found soon, and it is not asked by thousands.
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

struct Source {
    store: Arc<Store>,
    secrets: Api<Secret>,
    /// The list that is being read; `None` between lists.
    listed: Option<BTreeMap<TenantKey, Vec<u8>>>,
    /// Bundles that the store could not take because shards were missing.
    pending: HashMap<TenantKey, Pending>,
}

struct Pending {
    files: Files,
    due: Instant,
    pauses: Pauses,
}

impl Source {
    async fn take(&mut self, event: watcher::Event<Secret>) {
        match event {
            watcher::Event::Init => self.listed = Some(BTreeMap::new()),
            watcher::Event::InitApply(secret) => {
                if let Some((key, index)) = self.read(secret) {
                    self.listed.get_or_insert_default().insert(key, index);
                }
            }
            watcher::Event::InitDone => self.replace().await,
            watcher::Event::Apply(secret) => {
                if let Some((key, index)) = self.read(secret) {
                    self.offer(key, Files { index, ..Files::default() }, Pauses(FIRST_PAUSE)).await;
                }
            }
            watcher::Event::Delete(secret) => {
                if let Ok(key) = secret.name_any().parse::<TenantKey>() {
                    self.pending.remove(&key);
                    self.store.remove(&key);
                }
            }
        }
    }

    /// The tenant and the index in a Secret. One without an index is an offer that fails: its tenant is there.
    fn read(&self, secret: Secret) -> Option<(TenantKey, Vec<u8>)> {
        let name = secret.name_any();
        let Ok(key) = name.parse::<TenantKey>() else {
            tracing::warn!(secret = name, "labelled as an index, but not named `<namespace>.<tenant>`; ignored");
            return None;
        };
        let index = take_data(secret, "index").unwrap_or_else(|error| {
            self.store.refuse(&key, &error);
            Vec::new()
        });
        Some((key, index))
    }

    /// Offers a complete list, with whatever shards can be had now.
    async fn replace(&mut self) {
        self.pending.clear();
        let mut bundles = BTreeMap::new();
        for (key, index) in self.listed.take().unwrap_or_default() {
            let files = self.with_shards(&key, Files { index, ..Files::default() }).await;
            bundles.insert(key, files);
        }
        let offered = bundles.clone();
        let refused = on_blocking_thread(&self.store, move |store| store.replace(bundles)).await;
        let mut offered = offered;
        for (key, error) in refused.unwrap_or_default() {
            if let Some(files) = offered.remove(&key) {
                self.await_shards(key, files, &error, Pauses(FIRST_PAUSE));
            }
        }
    }

    async fn offer(&mut self, key: TenantKey, files: Files, pauses: Pauses) {
        self.pending.remove(&key);
        let files = self.with_shards(&key, files).await;
        let (offer, offered) = (key.clone(), files.clone());
        let applied = on_blocking_thread(&self.store, move |store| store.apply(&offer, offered)).await;
        if let Some(Err(error)) = applied {
            self.await_shards(key, files, &error, pauses);
        }
    }

    /// Only what is missing can come later; anything else needs another index.
    fn await_shards(&mut self, key: TenantKey, files: Files, error: &ReloadError, mut pauses: Pauses) {
        if matches!(error, ReloadError::Bundle(BundleError::ShardMissing(_))) {
            let due = Instant::now() + pauses.next().unwrap_or(LONGEST_PAUSE);
            self.pending.insert(key, Pending { files, due, pauses });
        }
    }

    fn next_retry(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    async fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<TenantKey> =
            self.pending.iter().filter(|(_, pending)| pending.due <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some(Pending { files, due: _, pauses }) = self.pending.remove(&key) {
                self.offer(key, files, pauses).await;
            }
        }
    }

    /// Adds the shards that the index names and nobody has yet. What cannot be had stays missing.
    async fn with_shards(&self, key: &TenantKey, mut files: Files) -> Files {
        let held = self.store.shards(key);
        let wanted = decode_index(&files.index).map(|index| index.shards).unwrap_or_default();
        let missing: Vec<Digest> = wanted
            .into_iter()
            .filter(|digest| !held.contains_key(digest) && !files.shards.contains_key(digest))
            .collect();
        let fetched = stream::iter(missing).map(|digest| self.fetch(key, digest)).buffer_unordered(FETCHES_AT_ONCE);
        let mut fetched = fetched.into_stream().boxed();
        while let Some(result) = fetched.next().await {
            match result {
                Ok((digest, shard)) => _ = files.shards.insert(digest, shard),
                Err(error) => self.store.refuse(key, &error),
            }
        }
        drop(fetched);
        files
    }

    async fn fetch(&self, key: &TenantKey, digest: Digest) -> Result<(Digest, Shard), ReloadError> {
        let name = format!("{key}.{digest}");
        let secret = timeout(FETCH_TIMEOUT, self.secrets.get(&name)).await;
        let secret = secret.map_err(|elapsed| ReloadError::Fetch(elapsed.into()))?;
        let secret = secret.map_err(|error| ReloadError::Fetch(error.into()))?;
        Ok((digest, Arc::new(take_data(secret, "shard")?)))
    }
}

fn take_data(secret: Secret, name: &'static str) -> Result<Vec<u8>, ReloadError> {
    let data = secret.data.and_then(|mut data| data.remove(name));
    data.map(|ByteString(bytes)| bytes).ok_or(ReloadError::NoData(name))
}

/// Decoding a large bundle takes longer than an event loop may wait. `None` when the runtime is stopping.
async fn on_blocking_thread<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Option<T> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&store)).await.ok()
}
