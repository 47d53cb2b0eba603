//! Tokens that were revoked by a call: one Secret for each tenant in its broker's bundle namespace, token IDs with when
//! they expire.
//!
//! A watch brings it to every replica, and compile into the bundle; an entry goes once its token has expired by itself.
//! A tenant that moves to another broker leaves its list where it is: the lists of all brokers count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use mqtt_access_core::bundle::UnixSeconds;
use thiserror::Error;

use crate::cluster::cache::{Cached, Group, ObjectKey};
use crate::cluster::controller::{self, Context};
use crate::cluster::publish::bundle_labels;
use crate::cluster::world::{key_of, labelled_tenant};
use crate::config::Broker;
use crate::names::{self, data};
use crate::service::directory::{ClusterError, Issuer, RevokeError};

/// Of one tenant at one time.
const MAX_REVOCATIONS: usize = 10_000;
/// All IDs stand in the one index Secret of the bundle, and a token of somebody else's making may have a long one.
const MAX_BYTES: usize = 512 * 1024;
/// How long an entry stays after its token has expired, for sidecars whose clock is behind.
const AFTERLIFE: UnixSeconds = 60;
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

type Entries = BTreeMap<String, UnixSeconds>;

/// Why a tenant's revocations cannot be known. Until they are, the last bundle stays.
#[derive(Debug, Error)]
#[error(
    "the Secret `{0}` of a bundle namespace holds no list of revocations; repair it, or delete it to revoke nothing"
)]
pub(in crate::cluster) struct RevocationsError(String);

/// A list as it stands in the cluster.
pub(in crate::cluster) struct RevocationList {
    metadata: ObjectMeta,
    /// `None` where it does not decode.
    entries: Option<Entries>,
}

impl RevocationList {
    pub(in crate::cluster) fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// IDs of all tokens of a tenant that are revoked and have not expired. An expired one is of no use in a bundle.
pub(in crate::cluster) async fn in_force(
    context: &Context,
    tenant: &ObjectKey,
    broker: &Broker,
    now: UnixSeconds,
) -> Result<BTreeSet<String>, RevocationsError> {
    let mut found = BTreeSet::new();
    let mut expired = false;
    for list in lists(context, tenant) {
        let entries = list.entries.as_ref().ok_or_else(|| RevocationsError(list.key().name))?;
        found.extend(entries.iter().filter(|(_, end)| is_of_use(**end, now)).map(|(id, _)| id.clone()));
        let here = list.key().namespace == broker.bundle_namespace;
        expired |= here && entries.values().any(|end| !is_of_use(*end, now));
    }
    if expired && let Err(error) = edit(context, &context.client, tenant, broker, now, |_| Ok(())).await {
        // Costs space only.
        tracing::warn!(%tenant, error = %crate::error_chain(&error), "cannot drop revocations of tokens that have expired");
    }
    Ok(found)
}

/// Whether a token was revoked, by this replica or as another one wrote it.
pub(super) fn contains(context: &Context, tenant: &ObjectKey, id: &str) -> bool {
    let holds =
        |list: &std::sync::Arc<RevocationList>| list.entries.as_ref().is_some_and(|entries| entries.contains_key(id));
    lists(context, tenant).iter().any(holds)
}

/// Revokes a token, and has its tenant compiled.
pub(super) async fn add(
    context: &Context,
    issuer: &Issuer,
    id: &str,
    expires_at: UnixSeconds,
) -> Result<(), RevokeError> {
    let Issuer { tenant, broker, index: _ } = issuer;
    let Some(broker) = context.config.broker(broker) else { return Ok(()) };
    // Whoever is asked revokes: a caller does not choose the replica that leads.
    edit(context, &context.unfenced, tenant, broker, controller::now(), |entries| {
        let end = entries.entry(id.to_owned()).or_insert(expires_at);
        *end = expires_at.max(*end);
        if fits(entries) { Ok(()) } else { Err(RevokeError::Full(entries.len())) }
    })
    .await?;
    tracing::info!(%tenant, id, "revoked a token");
    context.wake([tenant.clone()].into());
    Ok(())
}

fn fits(entries: &Entries) -> bool {
    entries.len() <= MAX_REVOCATIONS && encode(entries).len() <= MAX_BYTES
}

fn is_of_use(end: UnixSeconds, now: UnixSeconds) -> bool {
    end.saturating_add(AFTERLIFE) > now
}

fn lists(context: &Context, tenant: &ObjectKey) -> Vec<std::sync::Arc<RevocationList>> {
    let group = Group::Tenant(tenant.clone());
    context.world(|world| world.brokers.values().flat_map(|broker| broker.revocations.group(&group).cloned()).collect())
}

/// Changes the list of a tenant: what is there is read, changed and written under its version, until nobody was faster.
/// What has expired goes by the way.
async fn edit(
    context: &Context,
    client: &kube::Client,
    tenant: &ObjectKey,
    broker: &Broker,
    now: UnixSeconds,
    change: impl Fn(&mut Entries) -> Result<(), RevokeError>,
) -> Result<(), RevokeError> {
    let name = names::revocations(&names::bundle(&tenant.namespace, &tenant.name));
    let api: Api<KubeSecret> = Api::namespaced(client.clone(), &broker.bundle_namespace);
    for attempt in 0..ATTEMPTS {
        tokio::time::sleep(PAUSE * attempt).await;
        let found = api.get_opt(&name).await.map_err(ClusterError::Api)?;
        let before = match &found {
            Some(found) => Some(decode(found).ok_or(RevokeError::Damaged)?),
            None => None,
        };
        let mut entries = before.clone().unwrap_or_default();
        entries.retain(|_, end| is_of_use(*end, now));
        change(&mut entries)?;
        if before.as_ref() == Some(&entries) {
            return Ok(());
        }
        let wanted = secret(tenant, &name, &entries, found.as_ref());
        let written = match &found {
            Some(_) => api.replace(&name, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Ok(written) => {
                context.world(|world| world.broker(&broker.name).revocations.insert(written.into()));
                return Ok(());
            }
            // Another replica was faster, or the Secret went meanwhile: once more.
            Err(kube::Error::Api(status)) if status.code == 409 || status.is_not_found() => {}
            Err(error) => return Err(ClusterError::Api(error).into()),
        }
    }
    Err(ClusterError::Conflict.into())
}

fn secret(tenant: &ObjectKey, name: &str, entries: &Entries, before: Option<&KubeSecret>) -> KubeSecret {
    let bytes = encode(entries);
    KubeSecret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(bundle_labels(tenant, "revocations")),
            resource_version: before.and_then(|before| before.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        data: Some([(data::REVOCATIONS.to_owned(), ByteString(bytes))].into()),
        type_: Some("mqttaccess.io/bundle".to_owned()),
        ..KubeSecret::default()
    }
}

fn encode(entries: &Entries) -> Vec<u8> {
    serde_json::to_vec(entries).unwrap_or_default()
}

fn decode(secret: &KubeSecret) -> Option<Entries> {
    serde_json::from_slice(&secret.data.as_ref()?.get(data::REVOCATIONS)?.0).ok()
}

impl From<KubeSecret> for RevocationList {
    fn from(secret: KubeSecret) -> Self {
        let entries = decode(&secret);
        Self { metadata: secret.metadata, entries }
    }
}

impl Cached for RevocationList {
    fn key(&self) -> ObjectKey {
        key_of(&self.metadata)
    }

    fn groups(&self) -> Vec<Group> {
        labelled_tenant(&self.metadata, None)
    }

    /// Not one that a write of ours has overtaken: what was revoked would be forgotten until the watch catches up.
    fn replaces(&self, older: &Self) -> bool {
        let version = |list: &Self| list.metadata.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
        let same = self.metadata.uid == older.metadata.uid;
        !same || version(self).zip(version(older)).is_none_or(|(new, old)| new >= old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(uid: &str, version: &str, entries: &Entries) -> RevocationList {
        let mut secret = secret(&ObjectKey::new("ns", "t"), "ns.t.revocations", entries, None);
        secret.metadata.uid = Some(uid.to_owned());
        secret.metadata.resource_version = Some(version.to_owned());
        secret.into()
    }

    #[test]
    fn a_list_reads_as_it_was_written_and_belongs_to_its_tenant() {
        let entries = Entries::from([("a".to_owned(), 5), ("\u{1}\"".to_owned(), 7)]);
        let list = list("u", "1", &entries);
        assert_eq!(list.entries, Some(entries));
        assert_eq!(list.groups(), [Group::Tenant(ObjectKey::new("ns", "t"))]);
        let emptied = KubeSecret::default();
        assert_eq!(RevocationList::from(emptied).entries, None);
    }

    #[test]
    fn an_older_version_from_the_watch_does_not_undo_a_write() {
        let none = Entries::new();
        assert!(!list("u", "9", &none).replaces(&list("u", "10", &none)));
        assert!(list("u", "10", &none).replaces(&list("u", "10", &none)));
        assert!(list("v", "1", &none).replaces(&list("u", "10", &none)));
    }

    #[test]
    fn a_list_is_bounded_in_number_and_in_bytes() {
        let many = |count: usize, length: usize| -> Entries {
            (0..count).map(|number| (format!("{number:0length$}"), 1_800_000_000)).collect()
        };
        assert!(fits(&many(MAX_REVOCATIONS, 22)));
        assert!(!fits(&many(MAX_REVOCATIONS + 1, 22)));
        assert!(!fits(&many(MAX_REVOCATIONS, 128)));
    }

    #[test]
    fn an_entry_outlives_its_token_a_little() {
        assert!(is_of_use(100, 159));
        assert!(!is_of_use(100, 160));
        assert!(is_of_use(UnixSeconds::MAX, UnixSeconds::MAX - 1));
    }
}
