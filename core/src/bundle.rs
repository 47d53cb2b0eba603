//! The bundle: everything a sidecar needs of one tenant, in canonical bytes.
//!
//! A bundle is one small index and content-addressed shards of records. Records (a device, or a part of a policy) go to
//! shards by a hash of their key, so that editing one device rewrites one shard. The same content always gives the same
//! bytes, and its digest tells whether anything changed.

mod codec;
mod envelope;
mod pack;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use codec::{BundleError, Encoded, IndexFile, decode, decode_index, encode};
pub use envelope::{Digest, EnvelopeError};

use crate::client::{Map, Mode};
use crate::credential::MacAlgorithm;
use crate::policy::Policy;
use crate::secret::Secret;

/// The format that [`encode`] writes. Every version that was ever written decodes for ever.
pub const FORMAT_VERSION: u32 = 1;

/// A point in time: seconds since 1970-01-01 UTC.
pub type UnixSeconds = i64;

/// One tenant, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What the index holds.
    pub tenant: Tenant,
    /// Policies, each possibly in several parts.
    pub policies: Vec<Policy>,
    /// Devices, whatever resource they were declared by.
    pub devices: Vec<Device>,
}

/// The tenant itself: identity, claims, settings and keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// Namespace of the `MqttTenant`.
    pub namespace: String,
    /// Name of the `MqttTenant`.
    pub name: String,
    /// UID of the `MqttTenant`.
    pub uid: String,
    /// When it was created: the older tenant's claims go first.
    pub created: UnixSeconds,
    /// What it owns on its broker.
    pub claims: Claims,
    /// Whether every request of its clients is refused.
    pub suspended: bool,
    /// Attributes of all its clients.
    pub client_attributes: Map,
    /// Keys of the Signature mode.
    pub access_keys: Vec<AccessKey>,
    /// Modes that it accepts.
    pub modes: Vec<Mode>,
    /// MACs that it accepts as passwords.
    pub signature_algorithms: Vec<MacAlgorithm>,
    /// Whether a device may be a superuser.
    pub superusers_allowed: bool,
    /// Under which tickets are issued: 32 random bytes.
    pub ticket_key: Secret,
}

/// What one tenant owns on a broker; see [`crate::claims`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claims {
    /// The third part of its clients' usernames.
    pub instance_id: String,
    /// Prefixes of its client IDs; none means all client IDs of the broker.
    pub client_id_prefixes: Vec<String>,
    /// Topics that its policies may grant.
    pub topic_space: Vec<Space>,
}

/// A part of a topic space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Space {
    /// A topic filter.
    pub filter: String,
    /// Instance IDs of tenants that may own overlapping filters, if they say the same of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
}

/// A key of the Signature mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    /// Its name in `spec.accessKeys`.
    pub name: String,
    /// The second part of usernames: the AccessKeyId.
    pub id: String,
    /// The AccessKeySecret; absent where it is missing or unusable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Whether its clients are refused.
    pub disabled: bool,
    /// Whether its secret was made for it, so that it may be restored from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
}

/// A device with a secret of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Name of its resource, for logs.
    pub name: String,
    /// UID of its resource, where its secret was made for it: for whom it may be restored from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The client ID that it owns. It is reserved even while the device has no secret or is disabled.
    pub client_id: String,
    /// The second part of its username: the DeviceAccessKeyId.
    pub key_id: String,
    /// The DeviceAccessKeySecret; absent where it is missing or unusable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Labels for `deviceSelector`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Map,
    /// Attributes; they go before the tenant's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_attributes: Map,
    /// Whether it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Whether everything in the topic space is allowed to it, where the tenant permits superusers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superuser: bool,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixSeconds>,
}
