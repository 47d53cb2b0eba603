//! `DeviceCredential`: one device that may log in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::reasons;
use crate::{Condition, SecretRef, TenantRef, schema};

/// One device that may log in, and with what. It allows nothing by itself: that is what `AclPolicy` does.
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
    doc = "One device that may log in, and with what. Its name has at most 248 characters, because its Secret is named \
           `<name>-mqtt`. Its labels are what `deviceSelector` of an AclPolicy selects by.",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantRef.name"),
    printcolumn(name = "Client ID", type_ = "string", json_path = ".spec.clientId"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Key ID", type_ = "string", json_path = ".status.deviceAccessKeyId", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCredentialSpec {
    /// The tenant that the device belongs to. May be changed: the device then leaves the old tenant and joins the new one,
    /// which must own its client ID.
    pub tenant_ref: TenantRef,

    /// The MQTT client ID, the only one that this credential opens: 1 to 128 bytes without `/ + # |`, `${`, white space
    /// and control characters, beginning with one of the tenant's `clientIdPrefixes`. For example `GID_acme@@@dev1`. No
    /// wildcard: `dev*` is the client ID `dev*`. Immutable: the device key is derived from it; for another client ID
    /// create another `DeviceCredential`. Nobody else can log in with it, also while this credential is disabled.
    #[schemars(schema_with = "schema::immutable_client_id")]
    pub client_id: String,

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

    /// How the device proves who it is. `Hmac`: the password is the HMAC of the client ID with the device's key.
    #[serde(default = "hmac")]
    #[schemars(length(min = 1, max = 1), extend("x-kubernetes-list-type" = "set"))]
    pub mechanisms: Vec<Mechanism>,

    /// A Secret that holds the device's key. Left out, the operator generates one and names it `<name>-mqtt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SecretRef")]
    pub secret_ref: Option<SecretRef>,
}

/// How a device proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// Username `DeviceCredential|DeviceAccessKeyId|InstanceId`, password = base64(HMAC(device key, client ID)).
    Hmac,
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
    /// device); or `Invalid`, `TenantNotFound`, `TenantNotReady`, `ClientIdOutsidePrefix`, `ClientIdTaken`, `KeyIdTaken`,
    /// `SecretMissing`, `SecretInvalid`, `SecretNameConflict`, `Disabled`, `Expired`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The device-key ID: the second part of the username `DeviceCredential|DeviceAccessKeyId|InstanceId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub device_access_key_id: Option<String>,

    /// The Secret that holds the key, brought along or generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub secret_name: Option<String>,
}

reasons! {
    /// Reasons of the condition `Ready` of a `DeviceCredential`: the device can log in.
    pub enum DeviceReady for "Ready" {
        /// If and only if nothing below applies.
        Ready => True,
        /// `spec.superuser` is `true` and the tenant does not allow superusers: an ordinary device.
        SuperuserNotAllowed => True,
        /// The object does not decode as this version of the operator knows it. Its client ID stays taken.
        Invalid => False,
        /// No `MqttTenant` of this name in the namespace.
        TenantNotFound => False,
        /// The tenant is not served, is suspended, or does not decode: see its conditions.
        TenantNotReady => False,
        /// The client ID begins with none of the prefixes that the tenant holds.
        ClientIdOutsidePrefix => False,
        /// An older `DeviceCredential` has this client ID.
        ClientIdTaken => False,
        /// An older `DeviceCredential` has this key ID.
        KeyIdTaken => False,
        /// The referenced Secret does not exist, or a generated one was deleted and its key is lost.
        SecretMissing => False,
        /// The Secret has no usable `accessKeySecret`, lacks the label, or is one that mqtt-access generated elsewhere.
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
