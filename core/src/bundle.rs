//! The bundle: everything a sidecar needs of one tenant, in canonical bytes.
//!
//! A bundle is one small index and content-addressed shards of records. Records (a device, or a part of a policy) go to
//! shards by a hash of their key, so that editing one device rewrites one shard. The same content always gives the same
//! bytes, and its digest tells whether anything changed.

mod codec;
mod envelope;
mod pack;
mod resting;
mod spare;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use codec::{BundleError, Encoded, IndexFile, decode, decode_index, device_bytes, encode, policy_bytes};
pub(crate) use envelope::hex;
pub use envelope::{Digest, EnvelopeError};
pub use resting::{Forgotten, Rest, Resting, ShortHash};
pub use spare::{Spare, Spares};

use crate::client::{Map, Mode};
use crate::credential::MacAlgorithm;
use crate::password::Verifier;
use crate::policy::Policy;
use crate::scram::{self, ScramSettings};
use crate::secret::Secret;

/// The format that [`encode`] writes. Every version that was ever written decodes for ever.
pub const FORMAT_VERSION: u32 = 5;

/// How a broker learns what its clients may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclDelivery {
    /// It asks at each publish and subscription.
    #[default]
    Http,
    /// The login reply carries the client's rules; what they leave open is asked. A change reaches a session when it ends.
    Inline,
}

impl AclDelivery {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

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
    /// Keys of the Signature and Token modes.
    pub access_keys: Vec<AccessKey>,
    /// Modes that it accepts.
    pub modes: Vec<Mode>,
    /// MACs that it accepts as passwords.
    pub signature_algorithms: Vec<MacAlgorithm>,
    /// Whether a device may be a superuser.
    pub superusers_allowed: bool,
    /// Under which tickets are issued: 32 random bytes.
    pub ticket_key: Secret,
    /// What the broker announces to SCRAM clients; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<ScramSettings>,
    /// The longest lifetime of a token, in seconds; [`crate::token::MAX_LIFETIME`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_max_ttl: Option<UnixSeconds>,
    /// Which tokens are refused.
    #[serde(default, skip_serializing_if = "Revocations::is_empty")]
    pub token_revocations: Revocations,
    /// Which clients may hold a session.
    #[serde(default, skip_serializing_if = "SessionRules::is_default")]
    pub sessions: SessionRules,
    /// How the broker learns what the tenant's clients may do.
    #[serde(default, skip_serializing_if = "AclDelivery::is_default")]
    pub acl_delivery: AclDelivery,
}

/// Tokens that are refused although they are in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Revocations {
    /// All that were issued before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<UnixSeconds>,
    /// Those with one of these IDs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<String>,
}

impl Revocations {
    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issued_before.is_none() && self.ids.is_empty()
    }

    /// Whether a token is revoked.
    #[must_use]
    pub fn revoke(&self, id: &str, issued_at: UnixSeconds) -> bool {
        self.issued_before.is_some_and(|before| issued_at < before) || self.ids.contains(id)
    }
}

/// Which clients may hold a session, beyond a right proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SessionRules {
    /// Whether a token without `sub` is refused: without one, anybody who has it chooses the client ID.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_sub: bool,
    /// Seconds after a session's expiry in which it may still publish, so that its last will is not lost.
    #[serde(skip_serializing_if = "is_zero")]
    pub will_grace_seconds: u8,
    /// Whether access keys and credentials with a prefix own the client IDs that they open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclusive_client_ids: bool,
    /// Prefixes of client IDs that no access key opens: they are set aside for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people_prefixes: Vec<String>,
    /// Client IDs whose former owner may have left a session at the broker.
    #[serde(skip_serializing_if = "Resting::is_empty")]
    pub resting: Resting,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(seconds: &u8) -> bool {
    *seconds == 0
}

impl SessionRules {
    /// Whether a right proof is all that a session needs.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
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

/// A key of the Signature and Token modes.
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
    /// What is accepted beside it while it is being replaced.
    #[serde(default, skip_serializing_if = "Spares::is_empty")]
    pub spares: Spares<Secret>,
    /// Whether its clients are refused.
    pub disabled: bool,
    /// Whether its secret was made for it, so that it may be restored from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// What it may be used for.
    #[serde(default = "connect", skip_serializing_if = "is_connect")]
    pub uses: BTreeSet<KeyUse>,
    /// What its client IDs begin with; absent where it opens all of its tenant's that no credential has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id_prefixes: Option<Vec<String>>,
}

/// What an access key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyUse {
    /// Logging in with a signature, or with a token that was issued with it.
    Connect,
    /// Issuing, querying and revoking tokens; they then log in, whether or not the key itself may.
    IssueTokens,
    /// Registering and removing devices.
    ManageDevices,
}

impl AccessKey {
    /// The secrets that are accepted now, the current one first, and when they end. None where there is no current one.
    pub fn accepted(&self, now: UnixSeconds) -> impl Iterator<Item = (&Secret, Option<UnixSeconds>)> {
        self.spares.secrets(self.secret.as_ref(), now)
    }
}

fn connect() -> BTreeSet<KeyUse> {
    [KeyUse::Connect].into()
}

fn is_connect(uses: &BTreeSet<KeyUse>) -> bool {
    *uses == connect()
}

/// A device with a secret of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Name of its resource, for logs.
    pub name: String,
    /// UID of its resource: for whom its secret may be restored from here. Before version 4 of the format only where the
    /// secret was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether somebody else made its secret, so that it is not restored from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub brought_along: bool,
    /// The client IDs that it opens.
    pub client_id: ClientIds,
    /// The second part of its username: the DeviceAccessKeyId. Empty where it has no HMAC key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// The DeviceAccessKeySecret; absent where it is missing or unusable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// What is accepted beside it while it is being replaced.
    #[serde(default, skip_serializing_if = "Spares::is_empty")]
    pub spares: Spares<Secret>,
    /// Its login name, for SCRAM and passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
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
    /// Until when nobody logs in with it, because nobody knows whose sessions its client IDs had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_until: Option<UnixSeconds>,
}

/// Which client IDs a credential opens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClientIds {
    /// A device's own. It is reserved even while the device has no secret or is disabled.
    One(String),
    /// For people and services: those that begin so, unless another credential owns them.
    Prefix {
        /// What they begin with.
        prefix: String,
    },
}

/// A login name with what its proofs are checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginName {
    /// The name; of all the tenant's credentials one has it.
    pub name: String,
    /// The SCRAM record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<scram::Keys>,
    /// What a password is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Verifier>,
    /// What is accepted beside it while it is being replaced: fast hashes only.
    #[serde(default, skip_serializing_if = "Spares::is_empty")]
    pub spares: Spares<Verifier>,
}

impl ClientIds {
    /// Whether a client ID is among them.
    #[must_use]
    pub fn contain(&self, client_id: &str) -> bool {
        match self {
            Self::One(own) => own == client_id,
            Self::Prefix { prefix } => client_id.starts_with(prefix.as_str()),
        }
    }

    /// The client ID, where there is just one.
    #[must_use]
    pub fn one(&self) -> Option<&str> {
        match self {
            Self::One(own) => Some(own),
            Self::Prefix { .. } => None,
        }
    }
}

impl From<&str> for ClientIds {
    fn from(client_id: &str) -> Self {
        Self::One(client_id.to_owned())
    }
}
