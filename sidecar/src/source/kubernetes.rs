//! Source `kubernetes`: Secrets of the bundle namespace.
//!
//! Indexes are watched: Secrets labelled `mqttaccess.io/bundle=index`, named `<namespace>.<tenant>`, data `index`. Shards
//! are Secrets `<namespace>.<tenant>.<digest>`, data `shard`; they never change, so one is fetched once, when an index
//! names it. A list that was read to its end is the truth about which tenants there are; a watch that breaks is
//! none, and everything stays as it is until the next list.
//!
//! Needs get, list and watch on Secrets in that namespace, and nothing else.

mod offers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

use crate::log_error::Chain;
use crate::store::{ReloadError, Store};
use crate::tenant_key::TenantKey;
use offers::{Offer, Offers, Settled};

const LABEL: &str = "mqttaccess.io/bundle=index";
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Loads the bundles of a namespace, and loads them again when they change. Runs until it is dropped.
pub async fn watch_secrets(store: Arc<Store>, client: Client, namespace: &str) {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().labels(LABEL);
    let mut events = watcher(secrets.clone(), config).backoff(Pauses(FIRST_PAUSE)).boxed();
    let offers = Offers::new(Arc::clone(&store), secrets);
    let (reading, present, unanswered) = (None, BTreeSet::new(), None);
    let mut source = Source { store, offers, reading, present, lists: 0, unanswered };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => source.take(event).await,
                Some(Err(error)) => tracing::warn!(error = %Chain(&error), "bundles not watched; the last good ones stay"),
                None => return,
            },
            settled = source.offers.settled() => source.settled(settled).await,
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
    offers: Offers,
    /// The list that is being read; `None` between lists.
    reading: Option<BTreeMap<TenantKey, Vec<u8>>>,
    /// The tenants that there are, as far as the last list and the events since tell.
    present: BTreeSet<TenantKey>,
    /// How many lists were read to their end.
    lists: u64,
    /// Tenants of the last list that the store has not answered for since; `None` once it has for all of them.
    unanswered: Option<BTreeSet<TenantKey>>,
}

impl Source {
    async fn take(&mut self, event: watcher::Event<Secret>) {
        match event {
            watcher::Event::Init => self.reading = Some(BTreeMap::new()),
            watcher::Event::InitApply(secret) => {
                if let Some((key, index)) = self.read(secret) {
                    self.reading.get_or_insert_default().insert(key, index);
                }
            }
            watcher::Event::InitDone => self.take_list().await,
            watcher::Event::Apply(secret) => {
                if let Some((key, index)) = self.read(secret) {
                    self.present.insert(key.clone());
                    self.offers.send(key, Offer::new(index, self.lists));
                }
            }
            watcher::Event::Delete(secret) => {
                if let Ok(key) = secret.name_any().parse::<TenantKey>() {
                    self.present.remove(&key);
                    self.offers.forget(&key);
                    let gone = key.clone();
                    on_blocking_thread(&self.store, move |store| store.remove(&gone)).await;
                    self.answered(&key).await;
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

    /// Forgets whom a complete list does not name, and offers the rest.
    async fn take_list(&mut self) {
        let listed = self.reading.take().unwrap_or_default();
        self.lists += 1;
        self.present = listed.keys().cloned().collect();
        self.offers.retain(|key| listed.contains_key(key));
        let present = self.present.clone();
        on_blocking_thread(&self.store, move |store| store.retain(&present)).await;
        self.unanswered = Some(self.present.clone());
        for (key, index) in listed {
            self.offers.send(key, Offer::new(index, self.lists));
        }
        self.complete().await;
    }

    async fn settled(&mut self, Settled { key, list }: Settled) {
        // An offer from before the last list says nothing about that list.
        if list == self.lists {
            self.answered(&key).await;
        }
    }

    async fn answered(&mut self, key: &TenantKey) {
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.remove(key);
        }
        self.complete().await;
    }

    /// Makes the store ready once all that the list names was offered, with whatever shards could be had.
    async fn complete(&mut self) {
        if self.unanswered.take_if(|unanswered| unanswered.is_empty()).is_some() {
            let present = self.present.clone();
            on_blocking_thread(&self.store, move |store| store.complete(&present)).await;
        }
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
