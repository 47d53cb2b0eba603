//! What a `MqttTenant` alone may hold: which of its client IDs are whose.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{client_id, rule, set_of};

/// Prefixes that lie within the tenant's own.
pub(crate) fn own_client_id_prefixes(_: &mut SchemaGenerator) -> Schema {
    set_of(&client_id(vec![]), 1, 8)
}

/// Client IDs, or prefixes of some.
pub(crate) fn released_client_ids(_: &mut SchemaGenerator) -> Schema {
    set_of(&client_id(vec![]), 0, 64)
}

/// Rules over the spec of an `MqttTenant`.
pub(crate) fn tenant_spec_rules() -> Value {
    let owned = "!has(self.clientIdPrefixes) || self.clientIdPrefixes.size() == 0";
    let within = "self.clientIdPrefixes.exists(prefix, own.startsWith(prefix))";
    let of_keys = "self.accessKeys.all(key, !has(key.clientIdPrefixes) || key.clientIdPrefixes.all(own, ";
    json!([
        rule(
            &format!("!has(self.accessKeys) || {owned} || {of_keys}{within}))"),
            "a prefix of an access key begins with none of `spec.clientIdPrefixes`: use one that does",
        ),
        rule(
            &format!("!has(self.peopleClientIdPrefixes) || {owned} || self.peopleClientIdPrefixes.all(own, {within})"),
            "a prefix of `peopleClientIdPrefixes` begins with none of `spec.clientIdPrefixes`: use one that does",
        ),
        rule(
            "!has(self.exclusiveClientIds) || !self.exclusiveClientIds || !has(self.accessKeys) || \
             self.accessKeys.all(key, has(key.clientIdPrefixes) || key.uses.all(use, use == 'ManageDevices'))",
            "with `exclusiveClientIds` each access key that clients log in with needs `clientIdPrefixes`: name those of each",
        ),
        rule(
            &format!(
                "!has(self.accessKeys) || !has(self.peopleClientIdPrefixes) || \
                 {of_keys}!self.peopleClientIdPrefixes.exists(people, own.startsWith(people))))"
            ),
            "a prefix of an access key lies within `peopleClientIdPrefixes`, where no key opens a client ID: use another",
        ),
    ])
}

/// Rules over a whole `MqttTenant`.
pub(crate) fn tenant_rules() -> [(&'static str, &'static str); 1] {
    [(
        "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
        "the name of an MqttTenant is a DNS label: at most 63 lower-case letters, digits and `-`, no dots",
    )]
}
