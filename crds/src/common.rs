//! References, which are always to an object of the same namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The tenant that an object belongs to: an `MqttTenant` in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantRef {
    /// Name of an `MqttTenant` in the namespace of this object, for example `acme`. A tenant of another namespace
    /// cannot be named. While no tenant has this name, the object is in force nowhere and says `TenantNotFound`.
    #[schemars(schema_with = "schema::dns_label")]
    pub name: String,
}

/// A Secret that the user brings along, in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of a Secret in the namespace of this object, for example `dev1-factory-key`. The Secret must carry the label
    /// `mqttaccess.io/credential: "true"` and hold the key `accessKeySecret`; `accessKeyId` is optional. For login names it
    /// holds `password` or `passwordHash` instead. A Secret that mqtt-access generated cannot be referenced.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}
