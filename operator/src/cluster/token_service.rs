//! What the token service sees of the cluster, and does to it: tenants as they were published, revocations, reviews of
//! bearer tokens, devices.

mod devices;
mod follow;
mod issuers;
mod review;
mod revocations;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::secret::Secret;

use super::cache::ObjectKey;
use super::controller::Context;
use crate::service::directory::{Access, ClusterError, DeviceError, DeviceKey, Directory, Issuer, Review, RevokeError};
pub(super) use follow::{FollowError, follow};
pub(super) use issuers::Issuers;
pub(super) use revocations::{RevocationList, RevocationsError, in_force};

/// The cluster, as the token service sees it.
pub(super) struct Cluster(pub(super) Arc<Context>);

impl Directory for Cluster {
    fn is_complete(&self) -> bool {
        self.0.is_ready()
    }

    fn issuer(&self, tenant: &ObjectKey) -> Option<Arc<Issuer>> {
        self.0.issuers.get(tenant)
    }

    fn issuers_of(&self, instance_id: &str) -> Vec<Arc<Issuer>> {
        self.0.issuers.of_instance(instance_id)
    }

    fn is_revoked(&self, issuer: &Issuer, id: &str) -> bool {
        revocations::contains(&self.0, &issuer.tenant, id)
    }

    fn revoke<'a>(
        &'a self,
        issuer: &'a Issuer,
        id: &'a str,
        expires_at: UnixSeconds,
    ) -> BoxFuture<'a, Result<(), RevokeError>> {
        revocations::add(&self.0, issuer, id, expires_at).boxed()
    }

    fn review<'a>(&'a self, bearer: &'a Secret, access: Access<'a>) -> BoxFuture<'a, Result<Review, ClusterError>> {
        review::review(&self.0, bearer, access).boxed()
    }

    fn register<'a>(
        &'a self,
        issuer: &'a Issuer,
        by: &'a str,
        client_id: &'a str,
    ) -> BoxFuture<'a, Result<DeviceKey, DeviceError>> {
        devices::register(&self.0, issuer, by, client_id).boxed()
    }

    fn device(&self, issuer: &Issuer, client_id: &str) -> Result<DeviceKey, DeviceError> {
        devices::key(&self.0, issuer, client_id)
    }

    fn refresh<'a>(&'a self, issuer: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<DeviceKey, DeviceError>> {
        devices::refresh(&self.0, issuer, client_id).boxed()
    }

    fn unregister<'a>(&'a self, issuer: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<(), DeviceError>> {
        devices::unregister(&self.0, issuer, client_id).boxed()
    }

    fn client_ids(&self, issuer: &Issuer, prefix: &str) -> Vec<String> {
        devices::client_ids(&self.0, issuer, prefix)
    }
}
