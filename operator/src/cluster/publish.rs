//! `publish` (client): a compiled bundle into the bundle namespace. Shards first, then the index, and nothing at all
//! where the digest is equal.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use mqtt_access_core::bundle::{Bundle, BundleError, Digest, Encoded, IndexFile, decode, encode};
use thiserror::Error;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::broker_claims::Isolation;
use super::cache::{Cached as _, Group, ObjectKey};
use super::controller::Context;
use super::world::{self, Shard};
use crate::config::Broker;
use crate::names::{self, BUNDLE_LABEL, MANAGER, TENANT_LABEL, TENANT_NAMESPACE_LABEL, data};

/// How long shards that no index names any more are kept for sidecars that are still reading an older index.
const KEEP: Duration = Duration::from_mins(10);
/// Of how many indexes before the present one.
const KEEP_INDEXES: usize = 3;
const CONCURRENCY: usize = 8;

/// Why a bundle is not published.
#[derive(Debug, Error)]
pub(super) enum PublishError {
    #[error("the bundle cannot be encoded")]
    Encode(#[from] BundleError),
    #[error("cannot write the shard `{0}`")]
    Shard(String, #[source] kube::Error),
    #[error("cannot write the index `{0}`")]
    Index(String, #[source] kube::Error),
    #[error("somebody else wrote the Secret `{0}` meanwhile")]
    Overtaken(String),
}

/// Proof that a bundle was published, or that there is none to publish.
pub(super) struct Published {
    pub(super) bundle: Option<(u64, Digest)>,
    /// What people should know who read its ACL files in the cluster.
    pub(super) acl_problem: Option<String>,
    pub(super) standing: Isolation,
}

impl Published {
    /// The tenant owns nothing, so nothing is published for it.
    pub(super) fn refused(standing: Isolation) -> Self {
        Self { bundle: None, acl_problem: None, standing }
    }
}

/// Shards of the last indexes, with the time at which the index was replaced.
#[derive(Default)]
pub(super) struct History(VecDeque<(Instant, BTreeSet<String>)>);

impl History {
    /// Which of the shards that are there are of no use any more.
    fn garbage(
        &mut self,
        present: BTreeSet<String>,
        wanted: &BTreeSet<String>,
        replaced: bool,
        now: Instant,
    ) -> BTreeSet<String> {
        self.0.retain(|(since, _)| now.duration_since(*since) < KEEP);
        let known = |history: &Self, shard: &String| history.0.iter().any(|(_, shards)| shards.contains(shard));
        let unused: BTreeSet<String> = present.into_iter().filter(|shard| !wanted.contains(shard)).collect();
        let fresh: BTreeSet<String> = unused.iter().filter(|shard| !known(self, shard)).cloned().collect();
        // What nobody remembers was left by an operator before this one: its time starts now.
        let remembered = self.0.len();
        if !fresh.is_empty() || replaced {
            self.0.push_back((now, fresh));
        }
        if remembered < self.0.len() && self.0.len() > KEEP_INDEXES {
            self.0.pop_front();
        }
        unused.into_iter().filter(|shard| !known(self, shard)).collect()
    }
}

pub(super) async fn publish(
    context: &Context,
    tenant: &ObjectKey,
    broker: &Broker,
    bundle: &Bundle,
    standing: Isolation,
) -> Result<Published, PublishError> {
    let encoded = block_in_place(|| encode(bundle))?;
    let publisher = Publisher { context, tenant, broker, name: names::bundle(&tenant.namespace, &tenant.name) };
    publisher.shards(&encoded).await?;
    let before = publisher.index();
    let known = before.as_ref().and_then(|index| index.file.as_ref());
    let (revision, replaced) = match known {
        Some(file) if file.digest == encoded.digest && file.tenant == bundle.tenant => (file.revision, false),
        known => (publisher.replace(&encoded, known, before.as_deref()).await?, true),
    };
    publisher.collect(&encoded, replaced).await;
    Ok(Published { bundle: Some((revision, encoded.digest)), acl_problem: None, standing })
}

struct Publisher<'a> {
    context: &'a Context,
    tenant: &'a ObjectKey,
    broker: &'a Broker,
    name: String,
}

impl Publisher<'_> {
    fn api(&self) -> Api<KubeSecret> {
        Api::namespaced(self.context.client.clone(), &self.broker.bundle_namespace)
    }

    fn index(&self) -> Option<Arc<world::Published>> {
        let group = Group::Tenant(self.tenant.clone());
        self.context.world(|world| world.broker(&self.broker.name).indexes.group(&group).next().cloned())
    }

    /// The shards of this tenant that exist: UIDs by name.
    fn present(&self) -> BTreeMap<String, String> {
        let group = Group::Tenant(self.tenant.clone());
        let known = |shard: &Arc<Shard>| (shard.key().name, shard.0.uid.clone().unwrap_or_default());
        self.context.world(|world| world.broker(&self.broker.name).shards.group(&group).map(known).collect())
    }

    async fn shards(&self, encoded: &Encoded) -> Result<(), PublishError> {
        let present = self.present();
        let seen = self.context.memory(self.tenant, |memory| memory.shards.clone());
        let mut writes = Vec::new();
        let mut kept = BTreeMap::new();
        for (digest, bytes) in &encoded.shards {
            let name = names::shard(&self.name, digest.as_str());
            match present.get(&name) {
                Some(uid) if seen.get(&name) == Some(uid) => _ = kept.insert(name, uid.clone()),
                known => writes.push(self.ensure_shard(name, bytes, known.is_some()).boxed()),
            }
        }
        let written: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect().await?;
        kept.extend(written);
        self.context.memory(self.tenant, |memory| memory.shards = kept);
        Ok(())
    }

    /// Makes a shard, or looks at the one that is there; gives its name and UID. A name is no proof: a shard cannot be
    /// edited, but somebody can have put another in its place.
    async fn ensure_shard(&self, name: String, bytes: &[u8], known: bool) -> Result<(String, String), PublishError> {
        let secret = KubeSecret { immutable: Some(true), ..self.secret(&name, "shard", data::SHARD, bytes.to_vec()) };
        let failed = |error| PublishError::Shard(name.clone(), error);
        if !known && let Some(made) = self.create_shard(&secret).await.map_err(failed)? {
            return Ok((name, made));
        }
        if let Some(found) = self.api().get_opt(&name).await.map_err(failed)? {
            let uid = found.metadata.uid.clone().unwrap_or_default();
            if found.data == secret.data && found.metadata.labels == secret.metadata.labels {
                return Ok((name, uid));
            }
            tracing::warn!(tenant = %self.tenant, shard = name, "replacing a shard that is not what its name says");
            let only_this = Preconditions { uid: Some(uid), resource_version: None };
            let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
            self.api().delete(&name, &params).await.map_err(failed)?;
        }
        match self.create_shard(&secret).await.map_err(failed)? {
            Some(made) => Ok((name, made)),
            None => Err(PublishError::Overtaken(name)),
        }
    }

    /// `None` where there is one of that name.
    async fn create_shard(&self, secret: &KubeSecret) -> Result<Option<String>, kube::Error> {
        match self.api().create(&PostParams::default(), secret).await {
            Ok(made) => {
                let uid = made.metadata.uid.clone().unwrap_or_default();
                self.context.world(|world| world.broker(&self.broker.name).shards.insert(Shard(made.metadata)));
                Ok(Some(uid))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the index under the next revision. It never goes back, also after the clock did.
    async fn replace(
        &self,
        encoded: &Encoded,
        known: Option<&IndexFile>,
        before: Option<&world::Published>,
    ) -> Result<u64, PublishError> {
        let revision = known.map_or(0, |file| file.revision + 1).max(unix_millis());
        let mut secret = self.secret(&self.name, "index", data::INDEX, encoded.index(revision)?);
        let written = match before {
            Some(before) => {
                secret.metadata.resource_version.clone_from(&before.metadata.resource_version);
                self.api().replace(&self.name, &PostParams::default(), &secret).await
            }
            None => self.create_index(&mut secret).await,
        };
        match written {
            Ok(written) => {
                tracing::info!(tenant = %self.tenant, broker = self.broker.name, revision, digest = %encoded.digest, "published a bundle");
                self.context.world(|world| world.broker(&self.broker.name).indexes.insert(written.into()));
                Ok(revision)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.is_not_found() => {
                Err(PublishError::Overtaken(self.name.clone()))
            }
            Err(error) => Err(PublishError::Index(self.name.clone(), error)),
        }
    }

    /// An index that lost its labels is not in the cache, and in the way.
    async fn create_index(&self, secret: &mut KubeSecret) -> Result<KubeSecret, kube::Error> {
        match self.api().create(&PostParams::default(), secret).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = self.api().get(&self.name).await?;
                if found.metadata.labels == secret.metadata.labels {
                    // The cache lags: the watch brings it.
                    return Err(kube::Error::Api(status));
                }
                secret.metadata.resource_version = found.metadata.resource_version;
                self.api().replace(&self.name, &PostParams::default(), secret).await
            }
            made => made,
        }
    }

    /// Removes shards that nobody can be reading any more. A failure costs space only.
    async fn collect(&self, encoded: &Encoded, replaced: bool) {
        let wanted = encoded.shards.keys().map(|digest| names::shard(&self.name, digest.as_str())).collect();
        let present = self.present().into_keys().collect();
        let garbage = self
            .context
            .memory(self.tenant, |memory| memory.history.garbage(present, &wanted, replaced, Instant::now()));
        for name in garbage {
            match self.api().delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => {
                    tracing::warn!(shard = name, error = %crate::error_chain(&error), "cannot delete a shard");
                }
            }
        }
    }

    fn secret(&self, name: &str, kind: &str, key: &str, bytes: Vec<u8>) -> KubeSecret {
        KubeSecret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(bundle_labels(self.tenant, kind)),
                ..ObjectMeta::default()
            },
            data: Some([(key.to_owned(), ByteString(bytes))].into()),
            type_: Some("mqttaccess.io/bundle".to_owned()),
            ..KubeSecret::default()
        }
    }
}

/// Labels of whatever is written to a bundle namespace.
pub(super) fn bundle_labels(tenant: &ObjectKey, kind: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (BUNDLE_LABEL.to_owned(), kind.to_owned()),
        (TENANT_NAMESPACE_LABEL.to_owned(), tenant.namespace.clone()),
        (TENANT_LABEL.to_owned(), tenant.name.clone()),
        ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
    ])
}

/// Reads back what was published, shards with their contents, which no cache holds.
pub(super) async fn read(
    api: &Api<KubeSecret>,
    index: &world::Published,
    file: &IndexFile,
) -> Result<Result<Bundle, BundleError>, kube::Error> {
    let reads: Vec<_> = file.shards.iter().map(|digest| read_shard(api, index.key().name, digest).boxed()).collect();
    let read: Vec<_> = stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect().await?;
    let shards: HashMap<&Digest, Vec<u8>> = read.into_iter().flatten().collect();
    Ok(block_in_place(|| decode(file, |digest| shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice())))))
}

async fn read_shard<'d>(
    api: &Api<KubeSecret>,
    index: String,
    digest: &'d Digest,
) -> Result<Option<(&'d Digest, Vec<u8>)>, kube::Error> {
    let secret = api.get_opt(&names::shard(&index, digest.as_str())).await?;
    let bytes = secret.and_then(|secret| secret.data?.remove(data::SHARD));
    Ok(bytes.map(|bytes| (digest, bytes.0)))
}

/// A tenant that cannot be read any more is suspended wherever it is published: it keeps its claims and nothing else.
pub(super) async fn suspend(context: &Context, tenant: &ObjectKey) -> Result<(), PublishError> {
    for broker in &context.config.brokers {
        let publisher = Publisher { context, tenant, broker, name: names::bundle(&tenant.namespace, &tenant.name) };
        let Some(index) = publisher.index() else { continue };
        let Some(file) = &index.file else { continue };
        let mut tenant = file.tenant.clone();
        tenant.suspended = true;
        tenant.access_keys.clear();
        let bundle = Bundle { tenant, policies: Vec::new(), devices: Vec::new() };
        let encoded = encode(&bundle)?;
        if file.digest != encoded.digest {
            publisher.replace(&encoded, Some(file), Some(&index)).await?;
        }
    }
    Ok(())
}

fn unix_millis() -> u64 {
    u64::try_from(k8s_openapi::jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn shards_of_the_last_three_indexes_are_kept_for_ten_minutes() {
        let (mut history, start) = (History::default(), Instant::now());
        let mut collect = |present: &[&str], wanted: &[&str], replaced| {
            history.garbage(set(present), &set(wanted), replaced, Instant::now())
        };
        assert_eq!(collect(&["a", "b"], &["b"], true), set(&[]));
        assert_eq!(collect(&["a", "b", "c"], &["c"], true), set(&[]));
        assert_eq!(collect(&["a", "b", "c", "d"], &["d"], true), set(&[]));
        assert_eq!(collect(&["a", "b", "c", "d", "e"], &["e"], true), set(&["a"]));
        tokio::time::advance(KEEP).await;
        assert!(start.elapsed() >= KEEP);
        // Forgotten by time, they are found again as if an earlier operator had left them: kept once more.
        assert_eq!(collect(&["b", "e"], &["e"], false), set(&[]));
    }
}
