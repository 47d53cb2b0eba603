//! `MqttTenant`: what one tenant of a broker owns, written by the platform team.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::reasons;
use crate::{Condition, Limits, Rotation, RotationStatus, SecretRef, schema};

/// What one tenant of a broker owns: an instance ID, client-ID prefixes, a part of the topic space, access keys.
///
/// Written by the platform team: whoever may write an `MqttTenant` may claim topics and client IDs for it. Teams get
/// rights on `DeviceCredential` and `AclPolicy`. A tenant grants nothing by itself: that is what `AclPolicy` does.
#[expect(clippy::duplicated_attributes, reason = "printer columns look alike")]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mqttaccess.io",
    version = "v1alpha1",
    kind = "MqttTenant",
    plural = "mqtttenants",
    shortname = "mqt",
    category = "mqtt",
    namespaced,
    derive = "PartialEq",
    status = "MqttTenantStatus",
    doc = "One tenant of an MQTT broker: the instance ID, client-ID prefixes, topic space and access keys that it owns. \
           Its name is a DNS label: at most 63 lower-case letters, digits and `-`, for example `acme`, not `acme.eu`.",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instanceId"),
    printcolumn(name = "Broker", type_ = "string", json_path = ".spec.broker"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Isolated", type_ = "string", json_path = ".status.conditions[?(@.type==\"Isolated\")].status"),
    printcolumn(name = "Devices", type_ = "integer", json_path = ".status.devices.total"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.bundle.revision", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::tenant_spec_rules()))]
pub struct MqttTenantSpec {
    /// The instance ID: the third part of the usernames `Signature|AccessKeyId|InstanceId`, `Token|AccessKeyId|InstanceId`
    /// and `DeviceCredential|DeviceAccessKeyId|InstanceId`. 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit,
    /// for example `mqtt-acme`; `acme/1` and `-acme` are refused. Immutable, because device keys are derived from it. One
    /// tenant of a broker has it; of two that claim it, one says `Isolated=False`.
    #[schemars(schema_with = "schema::immutable_instance_id")]
    pub instance_id: String,

    /// Name of the broker, as the operator's configuration knows it, for example `eu-west`. A DNS label. May be changed:
    /// the tenant then leaves the old broker and appears at the new one. A name that the operator does not serve leaves
    /// the tenant without a broker.
    #[serde(default = "default_broker")]
    #[schemars(schema_with = "schema::dns_label")]
    pub broker: String,

    /// Refuses every login and every request of the tenant's clients while `true`, also those of sessions that are open.
    /// Claims, keys and policies stay as they are.
    #[serde(default)]
    pub suspended: bool,

    /// The client IDs that the tenant owns, as prefixes: `GID_acme@@@` owns `GID_acme@@@dev1`, not `GID_acme2@@@dev1`.
    /// Each has 1 to 128 bytes without `/ + # |`, `${`, white space or control characters. Prefixes of two tenants of a
    /// broker never nest. May be empty only while the broker serves one tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::client_id_prefixes")]
    pub client_id_prefixes: Vec<String>,

    /// The part of the topic space that the tenant owns. An Allow rule of a policy is in force only where one entry covers
    /// it: with `acme/#` a rule for `acme/dev1/up` is in force, one for `other/acme` or `#` is not, and its policy says so.
    /// Empty: no rule of this tenant allows anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["filter"]))]
    pub topic_space: Vec<TopicClaim>,

    /// Attributes that every client of the tenant carries, in policies as `${client_attrs.NAME}` and at brokers that know
    /// client attributes, for example `region: eu`. A `DeviceCredential` may set the same name and wins. Names match
    /// `[A-Za-z0-9][A-Za-z0-9_-]*`, at most 64 bytes, and are none of the names that mqtt-access sets itself: `tenant_id`,
    /// `instance_id`, `client_id`, `auth_mode`, `group_id`, `mqa_ticket`. Values have 1 to 256 bytes without `/ + # |`,
    /// `${` and control characters; white space may stand inside, not at the ends.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::client_attributes")]
    pub client_attributes: BTreeMap<String, String>,

    /// Keys for clients that log in as `Signature|AccessKeyId|InstanceId`, or with tokens as `Token|AccessKeyId|InstanceId`.
    /// Such a key opens every client ID of the tenant that has no `DeviceCredential`: it belongs into backends, not into
    /// devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub access_keys: Vec<AccessKey>,

    /// Whether each client ID of the tenant is for clients of one access key, or of one `DeviceCredential`, and of no other. While
    /// `true`, each access key that clients log in with needs `clientIdPrefixes`; keys, and credentials with a `clientIdPrefix`,
    /// own the client IDs that begin so. Of two that nest the newer is refused, and so is a newer `clientId` of a
    /// `DeviceCredential` inside the prefix of another owner: what is published goes first, then access keys in the order of
    /// their list, then credentials by their age. A key whose prefix is refused says so in the condition `Ready`, a credential
    /// by `ClientIdPrefixTaken`. While `false`, or left out, all of them share the tenant's client IDs, as ApsaraMQ's keys do: one
    /// takes over the session of another that comes with the same client ID, and at brokers that keep sessions all that was
    /// subscribed in it. Left out, keys that share client IDs are a finding (`SharedClientIds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub exclusive_client_ids: Option<bool>,

    /// Prefixes of client IDs that are set aside for people, for example `GID_acme@@@people-`; counts only with
    /// `exclusiveClientIds: true`. No access key opens a client ID that begins so, also where its own prefix is shorter, and
    /// there alone a team may take client IDs from access keys: by a `DeviceCredential` whose `clientIdPrefix` or `clientId`
    /// begins so. Each begins with one of the tenant's `clientIdPrefixes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::own_client_id_prefixes")]
    pub people_client_id_prefixes: Vec<String>,

    /// Client IDs that need not rest. Where the operator's configuration has `sessionExpiry` for the broker, the client ID of a
    /// `DeviceCredential` that was deleted is refused to everyone else for so long, because the session of the old client
    /// may still stand at the broker (`ClientIdResting`). What stands here is free at once, also a `clientIdPrefix` that
    /// waits: write it here when the broker's session is known to be gone, and remove it afterwards. Here and not at a
    /// `DeviceCredential`, because that is a team's to write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::released_client_ids")]
    pub released_client_ids: Vec<String>,

    /// How the tenant's clients may log in. All that mqtt-access knows, unless narrowed here.
    #[serde(default)]
    pub authentication: Authentication,

    /// Tokens that are refused although they are in order, also those of sessions that are open. What the token service
    /// revokes is kept elsewhere and need not stand here.
    #[serde(default)]
    pub token_revocations: TokenRevocations,

    /// Whether `superuser: true` of a `DeviceCredential` counts. While `false`, such a device is an ordinary one and says
    /// `SuperuserNotAllowed`.
    #[serde(default)]
    pub superusers_allowed: bool,

    /// How much the tenant may ask of its broker: devices, policies, topics, subjects, bytes. Each limit has a default that a
    /// fleet of 100,000 devices and a few hundred policies does not meet.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
}

/// One entry of a tenant's topic space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicClaim {
    /// An MQTT topic filter of 1 to 1024 bytes, for example `acme/#` or `site/+/acme/#`. `+` stands alone in a level, `#`
    /// alone in the last one: `acme#` and `acme/#/up` are refused. Variables such as `${clientid}` are not expanded here
    /// and refused. Topics whose first level begins with `$` cannot be owned unless the operator's configuration says so.
    #[schemars(schema_with = "schema::topic_filter")]
    pub filter: String,

    /// Instance IDs of the tenants that may claim an overlapping part, for example `["mqtt-globex"]`. Two tenants overlap
    /// only where each names the other. Empty: nobody else. Taking an instance ID out is a revocation: at once the topics
    /// of both belong to the older tenant alone, whichever of the two took it out, until each names the other again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::instance_ids")]
    pub shared_with: Vec<String>,
}

/// Tokens that are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRevocations {
    /// Refuses every token whose `iat` lies before this moment, for example `2027-01-31T00:00:00Z`: what to set when a
    /// backend has leaked its tokens. An RFC 3339 time with seconds and a zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub issued_before: Option<Time>,

    /// Refuses the tokens with these IDs: their claim `jti`, 1 to 128 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::token_ids")]
    pub ids: Vec<String>,
}

/// A key for clients that log in with mode `Signature` or `Token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::access_key_rules()))]
pub struct AccessKey {
    /// The name that policies use in `subjects[].accessKeys`: a DNS label of at most 32 characters, for example `backend`.
    /// Not the access-key ID that clients send: that stands in `status.accessKeys` and in the key's Secret.
    #[schemars(schema_with = "schema::access_key_name")]
    pub name: String,

    /// Refuses every login and request with this key while `true`. The key itself is kept.
    #[serde(default)]
    pub disabled: bool,

    /// What the key may be used for. `Connect`: MQTT clients log in with it, or with a token that was issued with it.
    /// `IssueTokens`: whoever has it may issue, query and revoke tokens at the token service; clients log in with them,
    /// the key itself may only with `Connect`. `ManageDevices`: whoever has it may register, refresh and remove devices
    /// of the tenant there.
    #[serde(default = "connect")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub uses: Vec<KeyUse>,

    /// What the client IDs of its clients begin with, for example `[GID_acme@@@backend-]`: a login with any other is refused,
    /// and so is every request of its sessions. Each begins with one of the tenant's `clientIdPrefixes`. Left out: all client
    /// IDs of the tenant, but for those of its `DeviceCredential`s. Two keys may share client IDs, unless
    /// `exclusiveClientIds` is `true`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::own_client_id_prefixes")]
    pub client_id_prefixes: Vec<String>,

    /// A Secret that holds the key. Left out, the operator generates one and names it `<tenant>-<name>-access-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretRef")]
    pub secret_ref: Option<SecretRef>,

    /// When the key is replaced, and how long the one before it is still accepted: its signatures, and tokens that were signed
    /// with it. Left out: whenever its Secret is edited, with an overlap of 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rotation")]
    pub rotation: Option<Rotation>,
}

/// What an access key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyUse {
    /// Logging in.
    Connect,
    /// Issuing, querying and revoking tokens.
    IssueTokens,
    /// Registering and removing devices.
    ManageDevices,
}

/// How clients may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// The modes that are open. For example `[DeviceCredential]` for a tenant whose clients are devices with a key each.
    /// A login with any other mode is refused, and so is every request of its sessions.
    #[serde(default = "all_modes")]
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub modes: Vec<AuthMode>,

    /// The algorithms that a password, which is a signature of the client ID, may be made with. `[HmacSha256]` refuses
    /// clients that still sign with HMAC-SHA1, as ApsaraMQ's do; passwords in generated Secrets are then useless.
    #[serde(default = "all_algorithms")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub signature_algorithms: Vec<SignatureAlgorithm>,

    /// Limits of tokens.
    #[serde(default)]
    pub token: TokenLimits,
}

/// Limits of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenLimits {
    /// The longest lifetime of a token, in seconds from its `iat`: 60 to 2592000, which is 30 days and the default. A token
    /// that claims more ends then all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::token_seconds")]
    pub max_ttl_seconds: Option<i64>,

    /// Refuses tokens without `sub` while `true`, at the login and in sessions that are open, and the token service then
    /// issues none without a client ID. Without `sub` the client ID is the choice of the token's holder: two tokens of one
    /// access key, or a token and a signature, can come with the same client ID, and whoever comes second takes over the
    /// session of the first, at brokers that keep sessions with what was subscribed in it. ApsaraMQ binds no token, so
    /// left out means `false`.
    #[serde(default)]
    pub require_sub: bool,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { modes: all_modes(), signature_algorithms: all_algorithms(), token: TokenLimits::default() }
    }
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AuthMode {
    /// `Signature|AccessKeyId|InstanceId`: the password is a signature of the client ID with an access key.
    Signature,
    /// `DeviceCredential|DeviceAccessKeyId|InstanceId`: the same with the device's own key.
    DeviceCredential,
    /// `Token|AccessKeyId|InstanceId`: the password is one to three tokens that were issued with an access key.
    Token,
    /// MQTT 5 enhanced authentication with a login name, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    Scram,
    /// A login name with its password.
    Password,
}

/// How a client ID is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SignatureAlgorithm {
    /// HMAC-SHA1, what ApsaraMQ clients send.
    HmacSha1,
    /// HMAC-SHA256.
    HmacSha256,
}

/// What the operator says about a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MqttTenantStatus {
    /// The `metadata.generation` that this status is about. Smaller than the object's: not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,

    /// The conditions `Ready`, `Isolated`, `Published` and `WithinBudget`.
    ///
    /// `Ready`: clients can log in and policies are in force. Reasons: `Ready`; or `Invalid`, `NotServed`, `Suspended`,
    /// `ClaimConflict`, `SecretProblem`, `ClientIdPrefixTaken`, `PublishFailed`.
    /// `Isolated`: nobody else holds what the tenant claims. Reasons: `NoConflict`; or `ClaimConflict`, `PrefixRequired`,
    /// `NotServed`.
    /// `Published`: the sidecars can read the bundle that fits this generation. Reasons: `Published`; or `NotServed`,
    /// `CompileFailed`, `PublishFailed`.
    /// `WithinBudget`: everything fits into `spec.limits`. Reasons: `WithinBudget`, `NearBudget`; or `OverBudget`, `NotServed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The access keys, in the order of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub access_keys: Vec<AccessKeyStatus>,

    /// How many devices the tenant has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeviceCounts")]
    pub devices: Option<DeviceCounts>,

    /// The bundle that was published last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BundleStatus")]
    pub bundle: Option<BundleStatus>,
}

/// An access key as clients use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessKeyStatus {
    /// The name in `spec.accessKeys`.
    pub name: String,

    /// The access-key ID: the second part of the username `Signature|AccessKeyId|InstanceId`. Absent while the key's
    /// Secret is missing or invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub id: Option<String>,

    /// The Secret that holds the key, brought along or generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub secret_name: Option<String>,

    /// What became of rotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RotationStatus")]
    pub rotation: Option<RotationStatus>,
}

/// How many `DeviceCredential`s name a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceCounts {
    /// All of them.
    #[schemars(with = "i64")]
    pub total: u32,

    /// Those that can log in: not disabled, not expired, with a key and a client ID of their own.
    #[schemars(with = "i64")]
    pub active: u32,
}

/// A published bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    /// The revision, as sidecars report it with every verdict. It grows with every change that reaches a bundle.
    pub revision: i64,

    /// The digest of what is in force: equal digests mean equal verdicts.
    pub digest: String,
}

reasons! {
    /// Reasons of the condition `Ready` of an `MqttTenant`: clients can log in and policies are in force.
    pub enum TenantReady for "Ready" {
        /// If and only if nothing below applies.
        Ready => True,
        /// The object does not decode as this version of the operator knows it; nothing of it is in force.
        Invalid => False,
        /// No broker of the operator's configuration has this name, or it does not take tenants of this namespace.
        NotServed => False,
        /// `spec.suspended` is `true`.
        Suspended => False,
        /// A claim is held by another tenant: see the condition `Isolated`.
        ClaimConflict => False,
        /// The Secret of an access key is missing, invalid or somebody else's; the other keys work.
        SecretProblem => False,
        /// Client IDs are exclusive, and a prefix of an access key is in force for another owner already, or for nobody: clients
        /// of the key cannot use it. The other keys work.
        ClientIdPrefixTaken => False,
        /// The newest bundle could not be written: see the condition `Published`.
        PublishFailed => False,
    }
}

reasons! {
    /// Reasons of the condition `Isolated` of an `MqttTenant`: nobody else holds what the tenant claims.
    pub enum TenantIsolated for "Isolated" {
        /// If and only if every claim of the spec is the tenant's, and nothing below applies.
        NoConflict => True,
        /// Another tenant of the broker holds an instance ID, prefix or topic that this one claims; the message has an
        /// example of it, and does not say who.
        ClaimConflict => False,
        /// Another tenant of the broker, which is older, owns topics of this one's space too, and not both name the other in
        /// `sharedWith` any more: they are the other's alone, and denied to the clients of this one until both do again.
        ConsentWithdrawn => False,
        /// Another tenant of the broker, which is younger, owns topics of this one's space too, and not both name the other in
        /// `sharedWith` any more: they are this tenant's alone, and denied to the clients of the other.
        OwnedAlone => True,
        /// `clientIdPrefixes` is empty and the broker serves more than one tenant.
        PrefixRequired => False,
        /// Claims are not judged: no broker serves the tenant.
        NotServed => Unknown,
    }
}

reasons! {
    /// Reasons of the condition `Published` of an `MqttTenant`: the sidecars can read what fits this generation.
    pub enum TenantPublished for "Published" {
        /// If and only if the bundle in `status.bundle` was compiled from this generation.
        Published => True,
        /// No broker serves the tenant, so nothing is published for it.
        NotServed => False,
        /// The objects could not be compiled; the last bundle stays in force.
        CompileFailed => False,
        /// The bundle could not be written; the last one stays in force and the operator tries again.
        PublishFailed => False,
    }
}

reasons! {
    /// Reasons of the condition `WithinBudget` of an `MqttTenant`: all its devices and policies fit into `spec.limits`.
    pub enum TenantBudget for "WithinBudget" {
        /// If and only if every limit is used up to less than 80 %.
        WithinBudget => True,
        /// Everything fits, and a limit is used up to 80 % or more: the message says which.
        NearBudget => True,
        /// Some devices or policies do not fit and are not in force: the message says how many, and which limits.
        OverBudget => False,
        /// Nothing is counted: no broker serves the tenant.
        NotServed => Unknown,
    }
}

fn default_broker() -> String {
    "default".to_owned()
}

fn all_modes() -> Vec<AuthMode> {
    vec![AuthMode::Signature, AuthMode::DeviceCredential, AuthMode::Token, AuthMode::Scram, AuthMode::Password]
}

fn all_algorithms() -> Vec<SignatureAlgorithm> {
    vec![SignatureAlgorithm::HmacSha1, SignatureAlgorithm::HmacSha256]
}

fn connect() -> Vec<KeyUse> {
    vec![KeyUse::Connect]
}
