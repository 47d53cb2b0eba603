//! The token service of a replica that stands by: nothing is compiled there, so tenants are read as the leader published
//! them, from where the sidecars read them.

use kube::Api;
use mqtt_access_core::bundle::BundleError;
use thiserror::Error;

use crate::cluster::cache::{Group, ObjectKey};
use crate::cluster::controller::Context;
use crate::cluster::publish;
use crate::cluster::world::Standing;

/// Why a tenant stays as it was known.
#[derive(Debug, Error)]
pub(in crate::cluster) enum FollowError {
    #[error("cannot read a shard of the bundle")]
    Read(#[source] kube::Error),
    /// It was replaced meanwhile, which is an event of its own; or it is damaged, and the sidecars do not take it either.
    #[error("the bundle does not decode")]
    Decode(#[from] BundleError),
}

/// Takes over what is published of a tenant. Writes nothing.
pub(in crate::cluster) async fn follow(context: &Context, tenant: &ObjectKey) -> Result<(), FollowError> {
    if !context.issuers.are_wanted() {
        return Ok(());
    }
    let found = context.world(|world| match world.standing(tenant) {
        Standing::Served(_, broker) => {
            let group = Group::Tenant(tenant.clone());
            let index = world.broker(&broker.name).indexes.group(&group).next().cloned();
            index.map(|index| (broker, index))
        }
        _ => None,
    });
    let Some((broker, index)) = found else {
        context.issuers.forget(tenant);
        return Ok(());
    };
    // The sidecars keep what they have of a tenant whose index does not decode.
    let Some(file) = &index.file else { return Ok(()) };
    if context.issuers.knows(tenant, file.revision) {
        return Ok(());
    }
    let api = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    let bundle = publish::read(&api, &index, file).await.map_err(FollowError::Read)??;
    context.issuers.published(tenant, &broker.name, &bundle, file.revision);
    Ok(())
}
