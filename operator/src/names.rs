//! Names of what the operator makes: labels, Secrets and the keys in them.

/// On Secrets that users bring along and refer to with `secretRef`: `true`.
pub(crate) const CREDENTIAL_LABEL: &str = "mqttaccess.io/credential";
/// On Secrets that the operator generated: `device`, `login` or `access-key`, for what they hold.
pub(crate) const GENERATED_LABEL: &str = "mqttaccess.io/generated";
/// Name of the tenant that a generated Secret or a bundle belongs to.
pub(crate) const TENANT_LABEL: &str = "mqttaccess.io/tenant";
/// Namespace of the tenant that a bundle belongs to.
pub(crate) const TENANT_NAMESPACE_LABEL: &str = "mqttaccess.io/tenant-namespace";
/// On what stands in a bundle namespace: on Secrets `index`, `shard`, `ticket-key`, `revocations` or `passwords`, on
/// `ConfigMap`s `acl`.
pub(crate) const BUNDLE_LABEL: &str = "mqttaccess.io/bundle";
/// On devices that were registered by an API call: the name of the access key that did it.
pub(crate) const REGISTERED_BY_LABEL: &str = "mqttaccess.io/registered-by";
/// On generated Secrets whose key an API call replaced: when, in milliseconds since 1970.
pub(crate) const REFRESHED_ANNOTATION: &str = "mqttaccess.io/refreshed-at";
/// On generated Secrets: the record of their rotations.
pub(crate) const ROTATION_ANNOTATION: &str = "mqttaccess.io/rotation";
/// On the throwaway objects of `check`.
pub(crate) const CHECK_LABEL: &str = "mqttaccess.io/check";
/// Who writes: field manager and `app.kubernetes.io/managed-by`.
pub(crate) const MANAGER: &str = "mqtt-access-operator";

/// Keys of the Secrets that hold credentials.
pub(crate) mod data {
    /// The AccessKeyId or DeviceAccessKeyId.
    pub(crate) const ACCESS_KEY_ID: &str = "accessKeyId";
    /// The AccessKeySecret or DeviceAccessKeySecret: the HMAC key.
    pub(crate) const ACCESS_KEY_SECRET: &str = "accessKeySecret";
    /// Of an access key: what tokens are signed with.
    pub(crate) const TOKEN_KEY: &str = "tokenKey";
    /// The tenant's instance ID.
    pub(crate) const INSTANCE_ID: &str = "instanceId";
    /// The device's client ID.
    pub(crate) const CLIENT_ID: &str = "clientId";
    /// The client IDs of a person or service: what they begin with.
    pub(crate) const CLIENT_ID_PREFIX: &str = "clientIdPrefix";
    /// The MQTT username, ready-made for a key, or the login name.
    pub(crate) const USERNAME: &str = "username";
    /// The MQTT password: a signature, ready-made for a key, or the password that goes with the login name.
    pub(crate) const PASSWORD: &str = "password";
    /// In a Secret brought along: all that is known of a password.
    pub(crate) const PASSWORD_HASH: &str = "passwordHash";
    /// The password of a device that went over to signatures, for the day it comes back.
    pub(crate) const LOGIN_PASSWORD: &str = "loginPassword";
    /// The key before the current one, while it is accepted.
    pub(crate) const PREVIOUS_ACCESS_KEY_SECRET: &str = "previousAccessKeySecret";
    /// The MQTT password that goes with it.
    pub(crate) const PREVIOUS_PASSWORD: &str = "previousPassword";
    /// Of an access key: what tokens were signed with before.
    pub(crate) const PREVIOUS_TOKEN_KEY: &str = "previousTokenKey";
    /// Until when they are accepted: an RFC 3339 time.
    pub(crate) const PREVIOUS_VALID_UNTIL: &str = "previousValidUntil";
    /// In a bundle's index Secret.
    pub(crate) const INDEX: &str = "index";
    /// In a bundle's shard Secret.
    pub(crate) const SHARD: &str = "shard";
    /// In a tenant's ticket-key Secret: 32 random bytes.
    pub(crate) const TICKET_KEY: &str = "ticketKey";
    /// In a tenant's revocations Secret: token IDs and when they expire, as JSON.
    pub(crate) const REVOCATIONS: &str = "revocations";
}

/// Name of the Secret that is generated for a device.
#[must_use]
pub(crate) fn device_secret(device: &str) -> String {
    format!("{device}-mqtt")
}

/// Name of the Secret that is generated for an access key.
#[must_use]
pub(crate) fn access_key_secret(tenant: &str, key: &str) -> String {
    format!("{tenant}-{key}-access-key")
}

/// Name of a bundle: of its index Secret and of its folder. Neither part holds a dot.
#[must_use]
pub(crate) fn bundle(namespace: &str, tenant: &str) -> String {
    format!("{namespace}.{tenant}")
}

/// Name of the Secret that holds a shard.
#[must_use]
pub(crate) fn shard(bundle: &str, digest: &str) -> String {
    format!("{bundle}.{digest}")
}

/// Name of the Secret that holds the key of a tenant's tickets.
#[must_use]
pub(crate) fn ticket_key(bundle: &str) -> String {
    format!("{bundle}.ticket-key")
}

/// Name of the Secret that holds the tokens that the token service revoked.
#[must_use]
pub(crate) fn revocations(bundle: &str) -> String {
    format!("{bundle}.revocations")
}

/// Name of the `ConfigMap` that holds the ACL files of a tenant.
#[must_use]
pub(crate) fn acl(bundle: &str) -> String {
    format!("{bundle}.acl")
}
