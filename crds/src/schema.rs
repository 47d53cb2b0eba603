//! What a field may hold: limits, patterns and CEL rules, each said once.
//!
//! A limit or a closed list is schema (`maxLength`, `pattern`, `enum`); a rule is CEL where the user deserves to read what to
//! do. Three things shape the rules:
//!
//! - `maxLength` counts characters; where the protocol counts bytes, `bytes(self).size()` does too (`size(self)` would count
//!   characters at the API server and bytes offline).
//! - The API server refuses rules that *could* cost too much, so everything has a limit and regexes are short.
//! - The API server's regexes are RE2, the offline ones Rust's: only syntax that means the same to both is used.
//!   `\p{Cc}` are the control characters, `\p{Cc}` and `\p{Z}` together hold all white space.

mod device;
mod policy_test;
mod rotation;
mod tenant;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

pub(crate) use device::{device_rules, device_spec_rules, immutable_client_id_prefix, login_name, mechanisms};
pub(crate) use policy_test::{policy_test_rules, qos_level, test_client_id, test_client_rules, test_name, topic_name};
pub(crate) use rotation::{access_key_rules, rotation_interval, rotation_overlap, rotation_rules, rotation_trigger};
pub(crate) use tenant::{own_client_id_prefixes, released_client_ids, tenant_rules, tenant_spec_rules};

/// Longest topic filter or template, in bytes.
pub const MAX_TOPIC_BYTES: usize = 1024;
/// Longest client ID, client-ID prefix or pattern of client IDs, in bytes.
pub const MAX_CLIENT_ID_BYTES: usize = 128;
/// Longest value of a client attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 256;
/// Longest name of a client attribute, in bytes.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;
/// Most client attributes of a tenant, of a device, or in a subject.
pub const MAX_ATTRIBUTES: usize = 16;
/// Names of client attributes that nobody but mqtt-access sets; `device_id` may be overridden.
pub const RESERVED_ATTRIBUTES: [&str; 6] =
    ["tenant_id", "instance_id", "client_id", "auth_mode", "group_id", "mqa_ticket"];

const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DNS_SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const INSTANCE_ID: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// RFC 3339 in the years 1000 to 2999: the API server's own check of `date-time` admits hours and offsets beyond the clock.
const DATE_TIME: &str = "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// A rule for updates: the value never changes.
fn immutable(message: &str) -> Value {
    json!({ "rule": "self == oldSelf", "message": message, "reason": "FieldValueForbidden" })
}

fn at_most_bytes(max: usize) -> Value {
    rule(&format!("bytes(self).size() <= {max}"), &format!("is longer than {max} bytes: shorten it"))
}

fn no_control() -> Value {
    rule("!self.matches('\\\\p{Cc}')", "must not contain control characters: remove them")
}

fn no_variable() -> Value {
    rule("!self.contains('${')", "must not contain `${`: variables are expanded in the topics of an AclPolicy only")
}

fn text(max: usize, rules: &[Value]) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "x-kubernetes-validations": rules,
    })
}

fn set_of(items: &Value, min: usize, max: usize) -> Schema {
    json_schema!({
        "type": "array",
        "items": items,
        "minItems": min,
        "maxItems": max,
        "x-kubernetes-list-type": "set",
    })
}

/// A string of a known shape.
fn shaped(max: usize, pattern: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

// Names

pub(crate) fn dns_label(_: &mut SchemaGenerator) -> Schema {
    schema(shaped(63, DNS_LABEL))
}

pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    schema(shaped(253, DNS_SUBDOMAIN))
}

pub(crate) fn access_key_name(_: &mut SchemaGenerator) -> Schema {
    schema(shaped(32, DNS_LABEL))
}

pub(crate) fn access_key_names(_: &mut SchemaGenerator) -> Schema {
    set_of(&shaped(32, DNS_LABEL), 1, 16)
}

pub(crate) fn immutable_instance_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "pattern": INSTANCE_ID,
        "x-kubernetes-validations": [immutable(
            "instanceId is immutable: device keys are derived from it; create another MqttTenant for another instance",
        )],
    })
}

pub(crate) fn instance_ids(_: &mut SchemaGenerator) -> Schema {
    set_of(&shaped(64, INSTANCE_ID), 0, 32)
}

// Client IDs and attributes

fn client_id(mut rules: Vec<Value>) -> Value {
    rules.extend([
        at_most_bytes(MAX_CLIENT_ID_BYTES),
        rule(
            "!self.matches('[/+#|\\\\p{Cc}\\\\p{Z}]')",
            "must not contain `/`, `+`, `#`, `|`, white space or control characters: a client ID may stand in a topic level",
        ),
        no_variable(),
    ]);
    text(MAX_CLIENT_ID_BYTES, &rules)
}

pub(crate) fn immutable_client_id(_: &mut SchemaGenerator) -> Schema {
    schema(client_id(vec![immutable(
        "clientId is immutable: the device key is derived from it; create another DeviceCredential for another client ID",
    )]))
}

pub(crate) fn client_id_prefixes(_: &mut SchemaGenerator) -> Schema {
    set_of(&client_id(vec![]), 0, 16)
}

pub(crate) fn client_id_globs(_: &mut SchemaGenerator) -> Schema {
    let few_stars =
        rule("!self.matches('([*].*){5}')", "must have at most four `*`: each is compared with every client ID");
    set_of(&client_id(vec![few_stars]), 1, 64)
}

fn attribute_value() -> Value {
    text(
        MAX_ATTRIBUTE_BYTES,
        &[
            at_most_bytes(MAX_ATTRIBUTE_BYTES),
            rule(
                "!self.matches('[/+#|\\\\p{Cc}]')",
                "must not contain `/`, `+`, `#`, `|` or control characters: an attribute may stand in a topic level",
            ),
            no_variable(),
            rule("!self.matches('^\\\\p{Z}|\\\\p{Z}$')", "must not begin or end with white space: trim it"),
        ],
    )
}

fn attribute_names() -> Value {
    rule(
        "self.all(name, name.size() <= 64 && name.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$'))",
        "an attribute name begins with a letter or digit and has at most 64 letters, digits, `_` and `-`",
    )
}

pub(crate) fn client_attributes(_: &mut SchemaGenerator) -> Schema {
    let reserved = RESERVED_ATTRIBUTES.map(|name| format!("'{name}'")).join(", ");
    json_schema!({
        "type": "object",
        "additionalProperties": attribute_value(),
        "maxProperties": MAX_ATTRIBUTES,
        "x-kubernetes-validations": [
            attribute_names(),
            rule(
                &format!("self.all(name, !(name in [{reserved}]))"),
                &format!("{} are set by mqtt-access: choose another name", RESERVED_ATTRIBUTES.join(", ")),
            ),
        ],
    })
}

pub(crate) fn subject_attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": attribute_value(),
        "minProperties": 1,
        "maxProperties": MAX_ATTRIBUTES,
        "x-kubernetes-validations": [
            attribute_names(),
            rule("!('mqa_ticket' in self)", "mqa_ticket is a secret of the login and selects nobody: remove it"),
        ],
    })
}

// Topics

const LEVELS: &str = "((\\\\+|[^+#/]*)/)*(\\\\+|#|[^+#/]*)$";
const WILDCARDS: &str =
    "`+` must stand alone in a level and `#` alone in the last one: write `a/+/b` or `a/#`, not `a+/b` or `a#`";

pub(crate) fn topic_filter(_: &mut SchemaGenerator) -> Schema {
    schema(text(
        MAX_TOPIC_BYTES,
        &[
            at_most_bytes(MAX_TOPIC_BYTES),
            no_control(),
            rule(&format!("self.matches('^{LEVELS}')"), WILDCARDS),
            no_variable(),
        ],
    ))
}

/// What variables look like, exactly. CEL could say it too, but not within the cost limit: rules add what to do.
const TEMPLATE: &str =
    r"^(eq .*|([^$]|\$+([^${]|$|\{(\$|clientid|username|client_attrs\.[A-Za-z0-9][A-Za-z0-9_-]*)\}))*)$";

pub(crate) fn topic_templates(_: &mut SchemaGenerator) -> Schema {
    let mut rules = vec![
        at_most_bytes(MAX_TOPIC_BYTES),
        no_control(),
        rule("self != 'eq '", "`eq ` needs a topic filter after it: write `eq a/b`, or remove it"),
        rule(&format!("self.matches('^(eq )?{LEVELS}')"), WILDCARDS),
    ];
    rules.extend(variable_rules());
    let template = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TOPIC_BYTES,
        "pattern": TEMPLATE,
        "x-kubernetes-validations": rules,
    });
    set_of(&template, 1, 32)
}

fn variable_rules() -> [Value; 4] {
    let unless_literal = |test: &str, message: &str| rule(&format!("self.startsWith('eq ') || {test}"), message);
    [
        unless_literal(
            "self.matches('^([^$]|\\\\$+([^${]|$|\\\\{(\\\\$|c|username)))*$')",
            "the variables are `${clientid}`, `${username}` and `${client_attrs.NAME}`: write one of them, or `${$}{` for a literal `${`",
        ),
        unless_literal(
            "self.matches('^([^$]|\\\\$+([^${]|$|\\\\{([^c]|client(i|_a))))*$')",
            "a variable that begins with `c` is `${clientid}` or `${client_attrs.NAME}`: correct it",
        ),
        unless_literal(
            "!self.matches('\\\\$\\\\{[^}/]*(/|$)')",
            "a `}` is missing: close each `${` in its level, as in `a/${clientid}/b`",
        ),
        unless_literal(
            "!self.contains('${client_attrs.mqa_ticket}')",
            "mqa_ticket is a secret of the login and never usable in a topic: remove it",
        ),
    ]
}

pub(crate) fn qos(_: &mut SchemaGenerator) -> Schema {
    set_of(&json!({ "type": "integer", "minimum": 0, "maximum": 2 }), 1, 3)
}

// Subjects

pub(crate) fn subject_rules() -> Value {
    json!([
        rule(
            "!has(self.everyone) || self.everyone",
            "`everyone: false` selects nobody: leave it out and select by the other fields",
        ),
        rule(
            "!has(self.everyone) || !(has(self.deviceSelector) || has(self.clientIds) || has(self.attributes) || has(self.accessKeys))",
            "`everyone` stands alone: remove it, or the other fields of this subject",
        ),
        rule(
            "has(self.everyone) || has(self.deviceSelector) || has(self.clientIds) || has(self.attributes) || has(self.accessKeys)",
            "an empty subject selects nobody: set `everyone: true`, `deviceSelector`, `clientIds`, `attributes` or `accessKeys`",
        ),
    ])
}

/// A label selector with what the API server checks for built-in kinds, but not for custom ones.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that must all be equal, for example `{site: berlin}`.",
                "type": "object",
                "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
                "minProperties": 1,
                "maxProperties": 16,
                "x-kubernetes-validations": [rule(
                    &format!("self.all(key, key.size() <= 317 && key.matches('{}'))", LABEL_KEY.replace('\\', "\\\\")),
                    "a label key is `name` or `domain/name`: write it as it stands on the DeviceCredential",
                )],
            },
            "matchExpressions": {
                "description": "Requirements that must all hold, for example `{key: site, operator: In, values: [berlin, bonn]}`.",
                "type": "array",
                "items": label_requirement(),
                "minItems": 1,
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
            },
        },
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [rule(
            "has(self.matchLabels) || has(self.matchExpressions)",
            "an empty deviceSelector is refused: set matchLabels or matchExpressions; for all clients use `everyone: true`",
        )],
    })
}

fn label_requirement() -> Value {
    json!({
        "type": "object",
        "properties": {
            "key": {
                "description": "The key of a label, for example `site`.",
                "type": "string",
                "minLength": 1,
                "maxLength": 317,
                "pattern": LABEL_KEY,
            },
            "operator": {
                "description": "How the label relates to `values`. `NotIn` and `DoesNotExist` also hold without the label.",
                "type": "string",
                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
            },
            "values": {
                "description": "The values for `In` and `NotIn`; nothing for `Exists` and `DoesNotExist`.",
                "type": "array",
                "items": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
            },
        },
        "required": ["key", "operator"],
        "x-kubernetes-validations": [rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "`In` and `NotIn` need values, `Exists` and `DoesNotExist` take none",
        )],
    })
}

pub(crate) fn token_ids(_: &mut SchemaGenerator) -> Schema {
    set_of(&text(128, &[at_most_bytes(128), no_control()]), 0, 256)
}

pub(crate) fn token_seconds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 60, "maximum": 2_592_000 })
}

pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "maxLength": 64, "pattern": DATE_TIME })
}
