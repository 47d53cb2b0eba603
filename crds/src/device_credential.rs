//! `DeviceCredential`: one device, person or service that may log in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::reasons;
use crate::{Condition, Rotation, RotationStatus, SecretRef, TenantRef, schema};

/// One device, person or service that may log in, and with what. It allows nothing by itself: that is what `AclPolicy`
/// does.
#[expect(clippy::duplicated_attributes, reason = "printer columns look alike")]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mqttaccess.io",
    version = "v1alpha1",
    kind = "DeviceCredential",
    plural = "devicecredentials",
    shortname = "mdc",
    category = "mqtt",
    namespaced,
    derive = "PartialEq",
    status = "DeviceCredentialStatus",
    selectable = ".spec.tenantRef.name",
    doc = "One device, person or service that may log in, and with what. Its name has at most 248 characters, because its Secret is named \
           `<name>-mqtt`. Its labels are what `deviceSelector` of an AclPolicy selects by.",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantRef.name"),
    printcolumn(name = "Client ID", type_ = "string", json_path = ".spec['clientId','clientIdPrefix']"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Key ID", type_ = "string", json_path = ".status.deviceAccessKeyId", priority = 1),
    printcolumn(name = "Username", type_ = "string", json_path = ".status.username", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1),
    printcolumn(name = "Rotated", type_ = "date", json_path = ".status.rotation.rotatedAt", priority = 1),
    printcolumn(name = "Next Rotation", type_ = "string", json_path = ".status.rotation.nextRotationAt", priority = 1),
    printcolumn(
        name = "Previous Until",
        type_ = "string",
        json_path = ".status.rotation.previousValidUntil",
        priority = 1
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::device_spec_rules()))]
pub struct DeviceCredentialSpec {
    /// The tenant that the device belongs to. May be changed: the device then leaves the old tenant and joins the new one,
    /// which must own its client ID.
    pub tenant_ref: TenantRef,

    /// The MQTT client ID of a device, the only one that this credential opens: 1 to 128 bytes without `/ + # |`, `${`, white
    /// space and control characters, beginning with one of the tenant's `clientIdPrefixes`. For example `GID_acme@@@dev1`. No
    /// wildcard: `dev*` is the client ID `dev*`. Immutable: the device key is derived from it; for another client ID
    /// create another `DeviceCredential`. Nobody else can log in with it, also while this credential is disabled. Either
    /// this or `clientIdPrefix` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::immutable_client_id")]
    pub client_id: Option<String>,

    /// For people and services, which come with several client IDs or ever new ones: what these begin with, for example
    /// `GID_acme@@@alice-`. It opens `GID_acme@@@alice-phone`, not `GID_acme@@@alice`, and no client ID that another
    /// `DeviceCredential` has as its `clientId`. Two credentials may share a prefix: it keeps nobody out, unless the tenant
    /// says `exclusiveClientIds: true`. The same characters as in `clientId`; it begins with one of the tenant's `clientIdPrefixes`, which it may equal. Needs
    /// `username`, and `Scram` or `Password`. As the client ID is the client's choice, `${clientid}` and what is derived
    /// from it are never usable in its rules: a topic `acme/${username}/#` is. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::immutable_client_id_prefix")]
    pub client_id_prefix: Option<String>,

    /// The login name, for `Scram` and `Password` only: 1 to 128 bytes without `/ + # | :`, `${`, white space and control
    /// characters, and no `$` at the beginning. For example `alice`; `acme:alice` is refused. Left out: the client ID. It is
    /// looked up in the tenant that owns the *client ID* that the client connects with, so it is unique within its tenant
    /// only: `alice` of another tenant is somebody else. Of two credentials with one login name, chosen or left out, the
    /// older counts and the younger says `LoginNameTaken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::login_name")]
    pub username: Option<String>,

    /// Attributes of this device, in policies as `${client_attrs.NAME}` and at brokers that know client attributes, for
    /// example `site: berlin`. They win over the tenant's. Names match `[A-Za-z0-9][A-Za-z0-9_-]*`, at most 64 bytes, and
    /// are none of `tenant_id`, `instance_id`, `client_id`, `auth_mode`, `group_id`, `mqa_ticket`; `device_id`, which a
    /// client ID like `GID_acme@@@dev1` gives as `dev1`, may be set. Values have 1 to 256 bytes without `/ + # |`, `${` and
    /// control characters; white space may stand inside, not at the ends.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::client_attributes")]
    pub client_attributes: BTreeMap<String, String>,

    /// Refuses every login and every request of the device while `true`, also in a session that is open. Its client ID
    /// stays taken and its key is kept.
    #[serde(default)]
    pub disabled: bool,

    /// Allows the device everything in the tenant's topic space. A Deny rule still wins. Counts only where the tenant says
    /// `superusersAllowed: true`; elsewhere the device is an ordinary one and says `SuperuserNotAllowed`.
    #[serde(default)]
    pub superuser: bool,

    /// From this moment on every login and every request of the device is refused, for example `2027-01-31T00:00:00Z`. An
    /// RFC 3339 time with seconds and a zone: `2027-01-31` is refused. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub expires_at: Option<Time>,

    /// How the device proves who it is. `[Hmac]`, the default: with a signature of its client ID. Or `[Scram]`,
    /// `[Password]` or both, for clients that know a login name and a password; the two share one password. `Hmac` stands
    /// alone: `[Hmac, Password]` is refused. May be changed: the Secret that mqtt-access generated then gets what it lacks and
    /// keeps what it has, so that the old mechanism finds its key or password again when it comes back.
    #[serde(default = "hmac")]
    #[schemars(schema_with = "schema::mechanisms")]
    pub mechanisms: Vec<Mechanism>,

    /// A Secret that holds the device's key or password. Left out, the operator generates one and names it `<name>-mqtt`:
    /// a key, or a password of 256 bits. For `Hmac` a Secret holds `accessKeySecret`; for `Scram` and `Password` either
    /// `password`, at least 8 bytes of text without control characters (a line break at its end is one), or, for
    /// `[Password]` alone, `passwordHash`: bcrypt (`$2b$12$...`), or argon2id, PBKDF2 or scrypt as a PHC string
    /// (`$argon2id$v=19$m=19456,t=2,p=1$...`), so that users move over without anyone knowing a password. A hash that costs
    /// more to check than bcrypt at the tenant's `limits.maxBcryptCost`, 12 where left out, is refused, unless it is in force
    /// already, and so is one for `Scram`. A `username` in the Secret is not read.
    ///
    /// In a generated Secret, a `password` that you put there is the new one. No bundle holds a password, so one that was
    /// emptied or whose Secret was deleted cannot be restored: its device is refused and says `SecretMissing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretRef")]
    pub secret_ref: Option<SecretRef>,

    /// When the key or password is replaced, and how long the one before it is still accepted. Left out: whenever its Secret
    /// is edited, with an overlap of 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rotation")]
    pub rotation: Option<Rotation>,
}

/// How a device proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// Username `DeviceCredential|DeviceAccessKeyId|InstanceId`, password = base64(HMAC(device key, client ID)).
    Hmac,
    /// MQTT 5 enhanced authentication with the login name: neither network nor broker see the password.
    Scram,
    /// The login name as the username, and the password itself.
    Password,
}

/// What the operator says about a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceCredentialStatus {
    /// The `metadata.generation` that this status is about. Smaller than the object's: not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,

    /// The condition `Ready`: the device can log in. Reasons: `Ready`, `SuperuserNotAllowed` (it can, but as an ordinary
    /// device), `HashTooCostly` (it can, but its hash costs more than is accepted now); or `Invalid`, `TenantNotFound`,
    /// `TenantNotReady`, `ClientIdOutsidePrefix`, `ClientIdTaken`, `ClientIdPrefixTaken`, `ClientIdResting`, `KeyIdTaken`,
    /// `LoginNameTaken`, `OverBudget`, `SecretMissing`, `SecretInvalid`, `SecretNameConflict`, `Disabled`, `Expired`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The device-key ID: the second part of the username `DeviceCredential|DeviceAccessKeyId|InstanceId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub device_access_key_id: Option<String>,

    /// The login name, of a credential with `Scram` or `Password`: `spec.username`, or the client ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub username: Option<String>,

    /// The Secret that holds the key or password, brought along or generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub secret_name: Option<String>,

    /// What became of rotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RotationStatus")]
    pub rotation: Option<RotationStatus>,
}

reasons! {
    /// Reasons of the condition `Ready` of a `DeviceCredential`: the device can log in.
    pub enum DeviceReady for "Ready" {
        /// If and only if nothing below applies.
        Ready => True,
        /// `spec.superuser` is `true` and the tenant does not allow superusers: an ordinary device.
        SuperuserNotAllowed => True,
        /// Its `passwordHash` costs more than the tenant's `limits.maxBcryptCost`, and was accepted before: the device can log in.
        /// A new hash as costly would be refused.
        HashTooCostly => True,
        /// The object does not decode as this version of the operator knows it. Its client ID stays taken.
        Invalid => False,
        /// No `MqttTenant` of this name in the namespace.
        TenantNotFound => False,
        /// The tenant is not served or does not decode: see its conditions. (A suspension stands on the tenant alone.)
        TenantNotReady => False,
        /// The client ID, or the prefix of client IDs, begins with none of the prefixes that the tenant holds.
        ClientIdOutsidePrefix => False,
        /// An older `DeviceCredential` has this client ID.
        ClientIdTaken => False,
        /// The tenant's client IDs are exclusive, and an access key or another `DeviceCredential` owns this one, or some that
        /// begin with this prefix.
        ClientIdPrefixTaken => False,
        /// Another credential had the client ID, or nobody knows who had it, and the session of that client may still stand at
        /// the broker: logins are refused for as long as it is kept.
        ClientIdResting => False,
        /// An older `DeviceCredential` has this key ID.
        KeyIdTaken => False,
        /// An older `DeviceCredential` of the tenant has this login name.
        LoginNameTaken => False,
        /// The tenant has more or larger devices than its `spec.limits` take, and this one is among the newest. Its client ID
        /// stays taken.
        OverBudget => False,
        /// The referenced Secret does not exist; or a generated one was deleted or emptied, and its key or password is lost.
        SecretMissing => False,
        /// The Secret has no usable `accessKeySecret`, `password` or `passwordHash`, lacks the label, or is one that
        /// mqtt-access generated elsewhere.
        SecretInvalid => False,
        /// A Secret of the name `<name>-mqtt` exists and is not this device's; it is left alone.
        SecretNameConflict => False,
        /// `spec.disabled` is `true`.
        Disabled => False,
        /// `spec.expiresAt` has passed.
        Expired => False,
    }
}

fn hmac() -> Vec<Mechanism> {
    vec![Mechanism::Hmac]
}
