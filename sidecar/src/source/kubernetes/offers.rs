//! Offers on their way to the store: side by side, so that no tenant waits for another one's shards or large bundle.
//!
//! Each tenant has one on its way at a time; of those that come meanwhile, the newest follows. One that lacks shards is
//! made again after a pause.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mqtt_access_core::bundle::{BundleError, Digest, decode_index};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{FETCH_TIMEOUT, FIRST_PAUSE, LONGEST_PAUSE, Pauses, on_blocking_thread, take_data};
use crate::store::{Files, ReloadError, Shard, Store, Turn};
use crate::tenant_key::TenantKey;

/// Of one tenant, and of all.
const FETCHES_AT_ONCE: (usize, usize) = (8, 32);
/// One large bundle takes one of them. More would decode nothing sooner, and leave brokers less of the processor.
const DECODES_AT_ONCE: usize = 4;

/// An index, as it was seen.
pub(super) struct Offer {
    files: Files,
    /// Which list had been read by then.
    list: u64,
    pauses: Pauses,
}

/// An offer that the store has answered.
pub(super) struct Settled {
    pub(super) key: TenantKey,
    pub(super) list: u64,
}

pub(super) struct Offers {
    road: Road,
    on_the_way: JoinSet<(Settled, Option<Incomplete>)>,
    /// Tenants with an offer on its way.
    next: HashMap<TenantKey, Next>,
    /// Offers that lack shards, and when they are made again. None of them is of a tenant in `next`.
    incomplete: HashMap<TenantKey, (Offer, Instant)>,
}

/// What follows an offer that is on its way.
enum Next {
    /// The same once more, if it lacks shards.
    Retry,
    /// A newer one.
    Newer(Offer),
    /// Nothing: its tenant is forgotten.
    Nothing,
}

/// The way from an index to the store.
#[derive(Clone)]
struct Road {
    store: Arc<Store>,
    secrets: Api<Secret>,
    fetches: Arc<Semaphore>,
    decodes: Arc<Semaphore>,
}

/// An offer that the store could not take because shards are missing.
struct Incomplete(Offer);

impl Offer {
    pub(super) fn new(index: Vec<u8>, list: u64) -> Self {
        Self { files: Files { index, ..Files::default() }, list, pauses: Pauses(FIRST_PAUSE) }
    }
}

impl Offers {
    pub(super) fn new(store: Arc<Store>, secrets: Api<Secret>) -> Self {
        let (fetches, decodes) = (Semaphore::new(FETCHES_AT_ONCE.1), Semaphore::new(DECODES_AT_ONCE));
        let road = Road { store, secrets, fetches: Arc::new(fetches), decodes: Arc::new(decodes) };
        Self { road, on_the_way: JoinSet::new(), next: HashMap::new(), incomplete: HashMap::new() }
    }

    pub(super) fn send(&mut self, key: TenantKey, offer: Offer) {
        self.incomplete.remove(&key);
        match self.next.get_mut(&key) {
            Some(next) => *next = Next::Newer(offer),
            None => self.start(key, offer),
        }
    }

    /// Drops what has not been sent; what is on its way is void as soon as the store has forgotten the tenant.
    pub(super) fn forget(&mut self, key: &TenantKey) {
        self.incomplete.remove(key);
        if let Some(next) = self.next.get_mut(key) {
            *next = Next::Nothing;
        }
    }

    /// Drops what has not been sent of all tenants but those that `keep` names.
    pub(super) fn retain(&mut self, keep: impl Fn(&TenantKey) -> bool) {
        self.incomplete.retain(|key, _| keep(key));
        self.next.iter_mut().filter(|(key, _)| !keep(key)).for_each(|(_, next)| *next = Next::Nothing);
    }

    /// Waits until the store has answered an offer. Nothing is lost when this is dropped and called again.
    pub(super) async fn settled(&mut self) -> Settled {
        loop {
            let due = self.incomplete.values().map(|(_, due)| *due).min();
            tokio::select! {
                Some(done) = self.on_the_way.join_next() => if let Ok((settled, arrived)) = done {
                    self.arrive(&settled.key, arrived);
                    return settled;
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.retry(),
                else => std::future::pending().await,
            }
        }
    }

    /// The turn is taken here, in the order of events: whatever the watch says next comes after it.
    fn start(&mut self, key: TenantKey, offer: Offer) {
        let (road, turn) = (self.road.clone(), self.road.store.turn(&key));
        self.next.insert(key.clone(), Next::Retry);
        self.on_the_way.spawn(async move {
            let list = offer.list;
            // A bug met on the way must not block its tenant for ever.
            let incomplete = AssertUnwindSafe(road.travel(&key, turn, offer)).catch_unwind().await;
            (Settled { key, list }, incomplete.unwrap_or(None))
        });
    }

    fn arrive(&mut self, key: &TenantKey, incomplete: Option<Incomplete>) {
        match (self.next.remove(key), incomplete) {
            (Some(Next::Newer(offer)), _) => self.start(key.clone(), offer),
            (Some(Next::Retry), Some(Incomplete(mut offer))) => {
                let due = Instant::now() + offer.pauses.next().unwrap_or(LONGEST_PAUSE);
                self.incomplete.insert(key.clone(), (offer, due));
            }
            _ => {}
        }
    }

    fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<TenantKey> =
            self.incomplete.iter().filter(|(_, (_, due))| *due <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some((offer, _)) = self.incomplete.remove(&key) {
                self.start(key, offer);
            }
        }
    }
}

impl Road {
    async fn travel(&self, key: &TenantKey, turn: Turn, mut offer: Offer) -> Option<Incomplete> {
        self.add_shards(key, &mut offer.files).await;
        let _decoding = self.decodes.acquire().await;
        let files = offer.files.clone();
        let applied = on_blocking_thread(&self.store, move |store| store.apply_in_turn(&turn, files)).await;
        // Only what is missing can come later; anything else needs another index.
        let lacks_shards = matches!(applied, Some(Err(ReloadError::Bundle(BundleError::ShardMissing(_)))));
        lacks_shards.then_some(Incomplete(offer))
    }

    /// Adds the shards that the index names and nobody has yet. What cannot be had stays missing.
    async fn add_shards(&self, key: &TenantKey, files: &mut Files) {
        let (of, offer) = (key.clone(), files.clone());
        // An index may be as large as a Secret.
        let missing = on_blocking_thread(&self.store, move |store| missing_shards(store, &of, &offer)).await;
        let missing = missing.unwrap_or_default();
        let fetched = stream::iter(missing).map(|digest| self.fetch(key, digest)).buffer_unordered(FETCHES_AT_ONCE.0);
        let mut fetched = std::pin::pin!(fetched);
        while let Some(result) = fetched.next().await {
            match result {
                Ok((digest, shard)) => _ = files.shards.insert(digest, shard),
                Err(error) => self.store.refuse(key, &error),
            }
        }
    }

    async fn fetch(&self, key: &TenantKey, digest: Digest) -> Result<(Digest, Shard), ReloadError> {
        let _fetching = self.fetches.acquire().await;
        let name = format!("{key}.{digest}");
        let secret = timeout(FETCH_TIMEOUT, self.secrets.get(&name)).await;
        let secret = secret.map_err(|elapsed| ReloadError::Fetch(elapsed.into()))?;
        let secret = secret.map_err(|error| ReloadError::Fetch(error.into()))?;
        Ok((digest, Arc::new(take_data(secret, "shard")?)))
    }
}

/// The shards that the index names and that are neither offered nor in service.
fn missing_shards(store: &Store, key: &TenantKey, offer: &Files) -> Vec<Digest> {
    let held = store.shards(key);
    let wanted = decode_index(&offer.index).map(|index| index.shards).unwrap_or_default();
    wanted.into_iter().filter(|digest| !held.contains_key(digest) && !offer.shards.contains_key(digest)).collect()
}
