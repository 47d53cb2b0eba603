//! What a `DeviceCredential` alone may hold: who it is for, and how that is proven.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::rotation::own_secret_rule;
use super::{client_id, immutable, rule, schema};

pub(crate) fn immutable_client_id_prefix(_: &mut SchemaGenerator) -> Schema {
    schema(client_id(vec![immutable(
        "clientIdPrefix is immutable: create another DeviceCredential for other client IDs",
    )]))
}

pub(crate) fn login_name(_: &mut SchemaGenerator) -> Schema {
    schema(client_id(vec![
        rule("!self.contains(':')", "a login name must not contain `:`: brokers and tools split names there"),
        rule("!self.startsWith('$')", "a login name must not begin with `$`: such topics are the broker's own"),
    ]))
}

pub(crate) fn mechanisms(_: &mut SchemaGenerator) -> Schema {
    let alone = rule(
        "!self.exists(mechanism, mechanism == 'Hmac') || self.size() == 1",
        "`Hmac` stands alone: its key is no password; use `[Hmac]`, or `Scram` and `Password` without it",
    );
    json_schema!({
        "type": "array",
        "items": { "type": "string", "enum": ["Hmac", "Scram", "Password"] },
        "minItems": 1,
        "maxItems": 2,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": [alone],
    })
}

/// Rules over the spec of a `DeviceCredential`.
pub(crate) fn device_spec_rules() -> Value {
    json!([
        rule(
            "has(self.clientId) != has(self.clientIdPrefix)",
            "set either `clientId`, for a device, or `clientIdPrefix`, for people and services",
        ),
        rule(
            "has(self.clientId) == has(oldSelf.clientId)",
            "`clientId` and `clientIdPrefix` cannot take each other's place: create another DeviceCredential",
        ),
        rule(
            "!has(self.clientIdPrefix) || has(self.username)",
            "`clientIdPrefix` needs `username`: without a client ID there is no default for the login name",
        ),
        rule(
            "!has(self.clientIdPrefix) || !self.mechanisms.exists(mechanism, mechanism == 'Hmac')",
            "`clientIdPrefix` excludes `Hmac`, which signs one client ID: set `mechanisms` to `[Password]`, `[Scram]` or both",
        ),
        rule(
            "!has(self.username) || !self.mechanisms.exists(mechanism, mechanism == 'Hmac')",
            "`username` is the login name of `Scram` and `Password`: remove it, or set `mechanisms` to these",
        ),
        own_secret_rule(),
    ])
}

/// Rules over a whole `DeviceCredential`.
pub(crate) fn device_rules() -> [(&'static str, &'static str); 1] {
    [(
        "self.metadata.name.size() <= 248",
        "the name of a DeviceCredential has at most 248 characters, because its Secret is named `<name>-mqtt`",
    )]
}
