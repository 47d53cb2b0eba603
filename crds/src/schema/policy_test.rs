//! What a test of an `AclPolicy` may hold: one client, one question, one answer.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{MAX_TOPIC_BYTES, at_most_bytes, client_id, no_control, no_variable, rule, schema, text};

pub(crate) fn test_name(_: &mut SchemaGenerator) -> Schema {
    schema(text(128, &[no_control()]))
}

pub(crate) fn test_client_id(_: &mut SchemaGenerator) -> Schema {
    schema(client_id(vec![]))
}

pub(crate) fn topic_name(_: &mut SchemaGenerator) -> Schema {
    schema(text(
        MAX_TOPIC_BYTES,
        &[
            at_most_bytes(MAX_TOPIC_BYTES),
            no_control(),
            rule("!self.matches('[+#]')", "a publish has a topic name, without `+` and `#`: name one topic"),
            no_variable(),
        ],
    ))
}

pub(crate) fn qos_level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": 2 })
}

/// Rules over one test.
pub(crate) fn policy_test_rules() -> Value {
    json!([
        rule(
            "has(self.publish) != has(self.subscribe)",
            "a test asks one question: set either `publish` or `subscribe`",
        ),
        rule("!(has(self.retain) && has(self.subscribe))", "a subscription has no retain flag: remove `retain`"),
    ])
}

/// Rules over the client of a test.
pub(crate) fn test_client_rules() -> Value {
    json!([
        rule(
            "!(has(self.accessKey) && has(self.username))",
            "an access key and a login name are two clients: set one of `accessKey` and `username`",
        ),
        rule(
            "has(self.clientId) || (has(self.username) && !has(self.accessKey))",
            "the client is not named: set `clientId`, or a `username` that goes with just one",
        ),
    ])
}
