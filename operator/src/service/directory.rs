//! What the service knows of the cluster, and what it asks of it. The service itself talks to nobody: everything that
//! reads or writes Kubernetes is behind [`Directory`].

use std::sync::Arc;

use futures::future::BoxFuture;
use mqtt_access_core::bundle::{AccessKey, UnixSeconds};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::secret::Secret;
use thiserror::Error;

use crate::cluster::ObjectKey;

/// A tenant as it was last published: whose keys sign, and what they may do.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// The tenant's namespace and name.
    pub(crate) tenant: ObjectKey,
    /// The broker that it is published for.
    pub(crate) broker: String,
    /// Its bundle, without devices.
    pub(crate) index: TenantIndex,
}

impl Issuer {
    /// The access key with an AccessKeyId.
    pub(crate) fn key_by_id(&self, id: &str) -> Option<&AccessKey> {
        self.index.tenant().access_keys.iter().find(|key| key.id == id && !id.is_empty())
    }

    /// The access key with a name.
    pub(crate) fn key_by_name(&self, name: &str) -> Option<&AccessKey> {
        self.index.tenant().access_keys.iter().find(|key| key.name == name)
    }
}

/// What a Kubernetes user wants to do with the tokens of a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    /// The tenant, which need not exist.
    pub(crate) tenant: &'a ObjectKey,
    /// `create`, `get` or `delete` on `mqtttenants/tokens`.
    pub(crate) verb: &'static str,
}

/// What Kubernetes says about a bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Review {
    /// It is nobody's.
    Unknown,
    /// It is somebody's who may not.
    Forbidden,
    /// It is this user's, who may.
    Permitted(String),
}

/// The cluster could not be asked, or did not do it.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// A request to the API server failed.
    #[error("the API server did not answer as expected")]
    Api(#[source] kube::Error),
    /// Somebody else wrote again and again.
    #[error("somebody else kept writing the same object; try again")]
    Conflict,
    /// Randomness is missing.
    #[error(transparent)]
    Random(#[from] crate::credential::NoRandomness),
}

/// Why a token is not revoked.
#[derive(Debug, Error)]
pub(crate) enum RevokeError {
    /// The list is not one, and must not be overwritten.
    #[error("the Secret that holds the revocations of the tenant is damaged; see the conditions of the MqttTenant")]
    Damaged,
    /// The list is full.
    #[error(
        "{0} tokens of the tenant are revoked already; wait until some expire, or set `spec.tokenRevocations.issuedBefore`"
    )]
    Full(usize),
    /// It could not be written.
    #[error("the revocation could not be stored")]
    Cluster(#[from] ClusterError),
}

/// The key of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceKey {
    /// The DeviceAccessKeyId.
    pub(crate) id: String,
    /// The DeviceAccessKeySecret.
    pub(crate) secret: Secret,
    /// When the device was registered, in milliseconds since 1970.
    pub(crate) created: i64,
    /// When its key was last replaced by a call, in milliseconds since 1970.
    pub(crate) updated: i64,
}

/// Why nothing was done with a device.
#[derive(Debug, Error)]
pub(crate) enum DeviceError {
    /// There is none with this client ID.
    #[error("no device of the tenant has this client ID")]
    NotFound,
    /// The tenant does not own the client ID.
    #[error("the client ID is not valid, or begins with none of the tenant's prefixes")]
    ForeignClientId,
    /// The device is not one of those that this interface can handle.
    #[error("the device is a superuser, brings its own Secret or does not use HMAC; edit its DeviceCredential instead")]
    OutOfReach,
    /// The device was declared by hand, or somebody disabled it, gave it an end, labels or attributes: removed and registered
    /// anew, it would have none of that, and escape what it was meant for.
    #[error("the device was declared or edited by hand; delete its DeviceCredential instead")]
    Edited,
    /// The API server refuses the object: a quota, say.
    #[error("the cluster does not take another device; the operator's log says why")]
    Refused,
    /// Its key was not there in time.
    #[error("the key of the device is not there yet; ask again in a moment")]
    NotYet,
    /// The cluster did not do it.
    #[error("the device could not be read or written")]
    Cluster(#[from] ClusterError),
}

/// What the service needs of the cluster.
pub(crate) trait Directory: Send + Sync {
    /// Whether every cache is complete. Before, nothing is answered.
    fn is_complete(&self) -> bool;

    /// A tenant that is published.
    fn issuer(&self, tenant: &ObjectKey) -> Option<Arc<Issuer>>;

    /// The published tenants with an instance ID, at most one for each broker.
    fn issuers_of(&self, instance_id: &str) -> Vec<Arc<Issuer>>;

    /// Whether the service revoked a token of a tenant.
    fn is_revoked(&self, issuer: &Issuer, id: &str) -> bool;

    /// Revokes a token until it expires.
    fn revoke<'a>(
        &'a self,
        issuer: &'a Issuer,
        id: &'a str,
        expires_at: UnixSeconds,
    ) -> BoxFuture<'a, Result<(), RevokeError>>;

    /// Asks Kubernetes who a bearer token is, and whether that one may.
    fn review<'a>(&'a self, bearer: &'a Secret, access: Access<'a>) -> BoxFuture<'a, Result<Review, ClusterError>>;

    /// The key of a device, which is made where it does not exist.
    fn register<'a>(
        &'a self,
        issuer: &'a Issuer,
        by: &'a str,
        client_id: &'a str,
    ) -> BoxFuture<'a, Result<DeviceKey, DeviceError>>;

    /// The key of a device.
    fn device(&self, issuer: &Issuer, client_id: &str) -> Result<DeviceKey, DeviceError>;

    /// Replaces the key of a device.
    fn refresh<'a>(&'a self, issuer: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<DeviceKey, DeviceError>>;

    /// Removes a device.
    fn unregister<'a>(&'a self, issuer: &'a Issuer, client_id: &'a str) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// The client IDs of all devices that begin so, sorted.
    fn client_ids(&self, issuer: &Issuer, prefix: &str) -> Vec<String>;
}
