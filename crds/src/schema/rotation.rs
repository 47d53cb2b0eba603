//! What rotation settings may hold.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{no_control, rule, schema, text};

/// Hours, minutes and seconds: CEL, Go and Rust read it alike.
const DURATION: &str = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";

pub(crate) fn rotation_trigger(_: &mut SchemaGenerator) -> Schema {
    schema(text(128, &[no_control()]))
}

pub(crate) fn rotation_interval(_: &mut SchemaGenerator) -> Schema {
    schema(duration(&rule(
        "duration(self) >= duration('1h') && duration(self) <= duration('43800h')",
        "an interval is `1h` to `43800h`: leave it out to rotate by `trigger` alone",
    )))
}

pub(crate) fn rotation_overlap(_: &mut SchemaGenerator) -> Schema {
    schema(duration(&rule("duration(self) <= duration('2160h')", "an overlap is `0s` to `2160h`: shorten it")))
}

fn duration(range: &Value) -> Value {
    json!({
        "type": "string",
        "minLength": 2,
        "maxLength": 21,
        "pattern": DURATION,
        "x-kubernetes-validations": [range],
    })
}

pub(crate) fn rotation_rules() -> Value {
    json!([rule(
        "!has(self.interval) || !has(self.overlap) || duration(self.overlap) <= duration(self.interval)",
        "`overlap` must not be longer than `interval`: a third key would be accepted; shorten it",
    )])
}

/// Where a Secret may be brought along: it is rotated by whoever brings it.
pub(crate) fn own_secret_rule() -> Value {
    rule(
        "!has(self.secretRef) || !has(self.rotation) || !(has(self.rotation.trigger) || has(self.rotation.interval))",
        "a Secret of your own is rotated by editing it: remove `rotation.trigger` and `rotation.interval`, or `secretRef`",
    )
}

pub(crate) fn access_key_rules() -> Value {
    json!([own_secret_rule()])
}
