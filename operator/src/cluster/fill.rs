//! `fill` (client): devices and policies that have a place in the budget of their tenant, and of which the cache has no more than
//! an outline, are asked for by their names.
//!
//! Nothing is compiled while one of them is missing: a policy that is not seen could be the one that denies.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::Api;
use mqtt_access_crds::{AclPolicy, DeviceCredential, Stored};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::cache::{Cache, Cached as _, ObjectKey};
use super::controller::Context;
use super::entry::{Budgeted, Entry};
use super::world::World;
use crate::compile::Beyond;

/// How many objects are asked for at once.
const CONCURRENCY: usize = 16;
/// How often they are looked at again, when others have got their places meanwhile.
const ATTEMPTS: usize = 5;

/// Why what belongs to a tenant is not known.
#[derive(Debug, Error)]
pub(super) enum FillError {
    #[error("cannot read `{0}`, which fits into the budget of the tenant now")]
    Read(String, #[source] kube::Error),
    #[error("devices or policies come and go faster than they can be read; they are looked at again")]
    Moving,
}

/// The devices and policies of a tenant.
pub(super) struct Own {
    pub(super) devices: Vec<Arc<Stored<DeviceCredential>>>,
    pub(super) policies: Vec<Arc<Stored<AclPolicy>>>,
    /// What has no place.
    pub(super) beyond: Beyond,
}

pub(super) async fn own(context: &Context, tenant: &ObjectKey) -> Result<Own, FillError> {
    for _ in 0..ATTEMPTS {
        let look = |world: &mut World| {
            let missing = (world.devices.missing_of(tenant), world.policies.missing_of(tenant));
            let complete = missing.0.is_empty() && missing.1.is_empty();
            if complete { Ok(world.own(tenant)) } else { Err(missing) }
        };
        let (devices, policies) = match context.world(look) {
            Ok(own) => return Ok(own),
            Err(missing) => missing,
        };
        fetch(context, devices, |world| &mut world.devices).await?;
        fetch(context, policies, |world| &mut world.policies).await?;
    }
    Err(FillError::Moving)
}

async fn fetch<K>(
    context: &Context,
    missing: Vec<Arc<Entry<K>>>,
    cache: impl Fn(&mut World) -> &mut Cache<Entry<K>> + Sync,
) -> Result<(), FillError>
where
    K: Budgeted + kube::Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug + Send + Sync + 'static,
    K::Beyond: Send + Sync,
{
    let reads: Vec<_> = missing.into_iter().map(|asked| fetch_one(context, asked, &cache).boxed()).collect();
    stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await.map(drop)
}

async fn fetch_one<K>(
    context: &Context,
    asked: Arc<Entry<K>>,
    cache: impl Fn(&mut World) -> &mut Cache<Entry<K>>,
) -> Result<(), FillError>
where
    K: Budgeted + kube::Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
{
    let found = read::<K>(context, &asked.key()).await?;
    context.world(|world| cache(world).fill(&asked, found.map(Entry::from)));
    Ok(())
}

/// Reads one object as a whole; `None` where it is gone.
pub(super) async fn read<K>(context: &Context, key: &ObjectKey) -> Result<Option<Stored<K>>, FillError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<Stored<K>> = Api::namespaced(context.client.clone(), &key.namespace);
    api.get_opt(&key.name).await.map_err(|error| FillError::Read(key.to_string(), error))
}
