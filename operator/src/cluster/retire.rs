//! The sweep: bundles of tenants that are gone, or that have moved to another broker, are removed. Owner references
//! cannot do it, because a bundle lies in another namespace than its tenant.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::core::ObjectMeta;
use thiserror::Error;

use super::cache::{Group, ObjectKey};
use super::controller::Context;
use super::world::{BrokerCaches, World};
use crate::config::Broker;

/// Why a bundle is still there.
#[derive(Debug, Error)]
#[error("cannot delete the Secret `{0}`")]
pub(super) struct RetireError(String, #[source] kube::Error);

/// Removes whatever a tenant has in the bundle namespaces of all brokers but one.
pub(super) async fn except(context: &Context, tenant: &ObjectKey, keep: Option<&str>) -> Result<(), RetireError> {
    for broker in context.config.brokers.iter().filter(|broker| Some(broker.name.as_str()) != keep) {
        from(context, tenant, broker).await?;
    }
    Ok(())
}

/// Removes whatever a tenant has in the bundle namespace of one broker. The index goes first: with it, access ends.
pub(super) async fn from(context: &Context, tenant: &ObjectKey, broker: &Broker) -> Result<(), RetireError> {
    let seen = context.config.sees(&tenant.namespace);
    let left = context.world(|world| left(world, broker, tenant, seen));
    if left.is_empty() {
        return Ok(());
    }
    tracing::info!(tenant = %tenant, broker = broker.name, "removing a bundle that is no longer in force");
    let api: Api<KubeSecret> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    for object in left {
        let name = object.name.clone().unwrap_or_default();
        let only_this = Preconditions { uid: object.uid.clone(), resource_version: None };
        match api.delete(&name, &DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() }).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(RetireError(name, error)),
        }
        let key = ObjectKey::new(broker.bundle_namespace.clone(), name);
        context.world(|world| forget(world.broker(&broker.name), &key));
    }
    // Claims have become free: whoever was refused them is asked again.
    context.wake(context.world(|world| world.tenant_names()));
    Ok(())
}

fn left(world: &mut World, broker: &Broker, tenant: &ObjectKey, seen: bool) -> Vec<ObjectMeta> {
    let group = Group::Tenant(tenant.clone());
    // While there is such a tenant, even one that is not served now, what was revoked stays revoked. Where nobody looks there
    // may be one.
    let exists = !seen || world.tenants.get(tenant).is_some();
    let caches = world.broker(&broker.name);
    let indexes = caches.indexes.group(&group).map(|index| index.metadata.clone());
    let keys = caches.ticket_keys.group(&group).map(|key| key.0.metadata.clone());
    let lists = caches.revocations.group(&group).filter(|_| !exists).map(|list| list.metadata().clone());
    indexes.chain(keys).chain(lists).chain(caches.shards.group(&group).map(|shard| shard.0.clone())).collect()
}

fn forget(caches: &mut BrokerCaches, key: &ObjectKey) {
    caches.indexes.remove(key);
    caches.ticket_keys.remove(key);
    caches.revocations.remove(key);
    caches.shards.remove(key);
}
