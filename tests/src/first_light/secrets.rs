//! Every Secret of the cluster, as it was at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::task::AbortHandle;

type Values = BTreeMap<(String, String), Versions>;

/// What was seen of the Secrets of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// The UIDs of all that ever had the name.
    pub uids: BTreeSet<String>,
    /// Every value that each key ever had.
    pub data: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// A watch of all Secrets, from its start on.
#[derive(Debug)]
pub struct SecretHistory {
    seen: Arc<Mutex<Values>>,
    watch: AbortHandle,
}

impl SecretHistory {
    /// Begins to watch, as administrator.
    #[must_use]
    pub fn watch(client: Client) -> Self {
        let seen = Arc::<Mutex<Values>>::default();
        let watch = tokio::spawn(record(client, Arc::clone(&seen))).abort_handle();
        Self { seen, watch }
    }

    /// What was seen of the Secrets in a namespace whose name the filter accepts, by name.
    pub fn of(&self, namespace: &str, filter: impl Fn(&str) -> bool) -> BTreeMap<String, Versions> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = seen.iter().filter(|((in_namespace, name), _)| in_namespace == namespace && filter(name));
        wanted.map(|((_, name), versions)| (name.clone(), versions.clone())).collect()
    }

    /// Every value that any Secret ever had under a key.
    #[must_use]
    pub fn values(&self, key: &str) -> BTreeSet<Vec<u8>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().filter_map(|versions| versions.data.get(key)).flatten().cloned().collect()
    }
}

impl Drop for SecretHistory {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn record(client: Client, seen: Arc<Mutex<Values>>) {
    let events = watcher(Api::<KubeSecret>::all(client), watcher::Config::default()).default_backoff();
    let mut secrets = events.applied_objects().into_stream().boxed();
    while let Some(event) = secrets.next().await {
        // Also while the API server is down: the watch goes on by itself.
        let Ok(secret) = event else { continue };
        let name = (secret.namespace().unwrap_or_default(), secret.name_any());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = seen.entry(name).or_default();
        versions.uids.extend(secret.uid());
        for (key, value) in secret.data.unwrap_or_default() {
            versions.data.entry(key).or_default().insert(value.0);
        }
    }
}
