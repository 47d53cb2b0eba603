//! [`Limits`]: how much one tenant may ask of its broker and of the operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The budget of a tenant, raised or lowered by the platform team: how much its teams may ask of the broker and of the operator.
///
/// Policies and devices fit in the order of `metadata.creationTimestamp` and name, so that newer ones never change what older
/// ones do. What does not fit is not in force: an Allow allows nothing, a policy with a Deny denies everything to those it
/// selects, a device cannot log in. Lowering a limit takes the newest out first. The conditions `WithinBudget` of the tenant,
/// `Accepted` of the policy and `Ready` of the device say so, the tenant's at 80 % already. Other tenants notice nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// `DeviceCredential`s: 1 to 1000000, 200000 where left out. The client ID of one that does not fit stays taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = DEVICES.min, "maximum" = DEVICES.max))]
    pub devices: Option<u32>,

    /// `AclPolicy` objects: 1 to 10000, 1000 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = POLICIES.min, "maximum" = POLICIES.max))]
    pub policies: Option<u32>,

    /// Topics of the Allow rules of all policies together: 1 to 200000, 20000 where left out. A policy that exceeds only this
    /// one keeps its Deny rules as they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = ALLOW_TOPICS.min, "maximum" = ALLOW_TOPICS.max))]
    pub allow_topics: Option<u32>,

    /// Topics of the Deny rules of all policies together: 1 to 200000, 10000 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = DENY_TOPICS.min, "maximum" = DENY_TOPICS.max))]
    pub deny_topics: Option<u32>,

    /// Subjects that ask for no exact value, of all policies together: 1 to 10000, 1000 where left out. `everyone`, a
    /// `deviceSelector` with `matchExpressions` alone and `clientIds` with a `*` alone are such subjects; one with a label of
    /// `matchLabels`, with `attributes`, with `accessKeys`, or with `clientIds` without `*` is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = UNGATED_SUBJECTS.min, "maximum" = UNGATED_SUBJECTS.max))]
    pub ungated_subjects: Option<u32>,

    /// Entries of `clientIds` with a `*`, of all policies together: 1 to 40000, 4096 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = GLOBS.min, "maximum" = GLOBS.max))]
    pub globs: Option<u32>,

    /// Bytes of devices and policies in the bundle that sidecars read: 65536 (64 KiB) to 1073741824 (1 GiB), 134217728 (128 MiB)
    /// where left out. A device takes some 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = BUNDLE_BYTES.min, "maximum" = BUNDLE_BYTES.max))]
    pub bundle_bytes: Option<u32>,

    /// Levels of the topics of all Deny rules together: 1 to 600000, 60000 where left out; `a/b/c` has three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = DENY_LEVELS.min, "maximum" = DENY_LEVELS.max))]
    pub deny_levels: Option<u32>,

    /// Levels with a variable of the topics of all Deny rules: 1 to 256, 8 where left out. Topics count once altogether if
    /// they have the same variables at the same levels, with as many bytes of text around them: `a/${clientid}` and
    /// `b/${clientid}/c` have one such level together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = DENY_VARIABLES.min, "maximum" = DENY_VARIABLES.max))]
    pub deny_variables: Option<u32>,

    /// Different shapes of the topics of all Allow rules: 1 to 10000, 128 where left out. The shape of a topic is which of its
    /// levels are `+`, and which have variables, which ones and with how many bytes of text around them. A policy that exceeds
    /// only this one keeps its Deny rules as they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = ALLOW_SHAPES.min, "maximum" = ALLOW_SHAPES.max))]
    pub allow_shapes: Option<u32>,

    /// Levels of any one topic of a rule: 1 to 256, 16 where left out; `a/b/c` has three. A topic with more allows nothing, and
    /// in a Deny rule everything is denied to the policy's subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = TOPIC_LEVELS.min, "maximum" = TOPIC_LEVELS.max))]
    pub topic_levels: Option<u32>,

    /// The highest cost of a `passwordHash` that a Secret may bring along: 4 to 14, 12 where left out. It is bcrypt's: each step
    /// doubles the time that a login takes. argon2id, PBKDF2 and scrypt are measured by the bcrypt hash that takes as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", extend("minimum" = MAX_BCRYPT_COST.min, "maximum" = MAX_BCRYPT_COST.max))]
    pub max_bcrypt_cost: Option<u32>,
}

/// What a limit may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Where it is left out. A fleet of 100,000 devices and a few hundred policies does not meet it.
    pub default: u32,
    /// The lowest that may be set.
    pub min: u32,
    /// The highest that may be set.
    pub max: u32,
}

impl Bounds {
    const fn up_to(max: u32, default: u32) -> Self {
        Self { default, min: 1, max }
    }
}

const DEVICES: Bounds = Bounds::up_to(1_000_000, 200_000);
const POLICIES: Bounds = Bounds::up_to(10_000, 1_000);
const ALLOW_TOPICS: Bounds = Bounds::up_to(200_000, 20_000);
const DENY_TOPICS: Bounds = Bounds::up_to(200_000, 10_000);
const UNGATED_SUBJECTS: Bounds = Bounds::up_to(10_000, 1_000);
const GLOBS: Bounds = Bounds::up_to(40_000, 4_096);
const BUNDLE_BYTES: Bounds = Bounds { default: 128 << 20, min: 64 << 10, max: 1 << 30 };
const DENY_LEVELS: Bounds = Bounds::up_to(600_000, 60_000);
const DENY_VARIABLES: Bounds = Bounds::up_to(256, 8);
const ALLOW_SHAPES: Bounds = Bounds::up_to(10_000, 128);
const TOPIC_LEVELS: Bounds = Bounds::up_to(256, 16);
const MAX_BCRYPT_COST: Bounds = Bounds { default: 12, min: 4, max: 14 };

impl Limits {
    /// Every field with its bounds, by its name in `spec.limits`.
    pub const BOUNDS: [(&'static str, Bounds); 12] = [
        ("devices", DEVICES),
        ("policies", POLICIES),
        ("allowTopics", ALLOW_TOPICS),
        ("denyTopics", DENY_TOPICS),
        ("ungatedSubjects", UNGATED_SUBJECTS),
        ("globs", GLOBS),
        ("bundleBytes", BUNDLE_BYTES),
        ("denyLevels", DENY_LEVELS),
        ("denyVariables", DENY_VARIABLES),
        ("allowShapes", ALLOW_SHAPES),
        ("topicLevels", TOPIC_LEVELS),
        ("maxBcryptCost", MAX_BCRYPT_COST),
    ];

    /// Whether nothing is set, so that every default holds.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same with the defaults filled in, for an object that may be older than its schema: what is out of bounds counts as
    /// the nearest bound.
    #[must_use]
    pub fn filled(&self) -> Filled {
        // Without `..`: a limit that is added must be thought of here.
        let Self {
            devices,
            policies,
            allow_topics,
            deny_topics,
            ungated_subjects,
            globs,
            bundle_bytes,
            deny_levels,
            deny_variables,
            allow_shapes,
            topic_levels,
            max_bcrypt_cost,
        } = *self;
        let fill = |set: Option<u32>, bounds: Bounds| set.unwrap_or(bounds.default).clamp(bounds.min, bounds.max);
        Filled {
            devices: fill(devices, DEVICES),
            policies: fill(policies, POLICIES),
            allow_topics: fill(allow_topics, ALLOW_TOPICS),
            deny_topics: fill(deny_topics, DENY_TOPICS),
            ungated_subjects: fill(ungated_subjects, UNGATED_SUBJECTS),
            globs: fill(globs, GLOBS),
            bundle_bytes: fill(bundle_bytes, BUNDLE_BYTES),
            deny_levels: fill(deny_levels, DENY_LEVELS),
            deny_variables: fill(deny_variables, DENY_VARIABLES),
            allow_shapes: fill(allow_shapes, ALLOW_SHAPES),
            topic_levels: fill(topic_levels, TOPIC_LEVELS),
            max_bcrypt_cost: fill(max_bcrypt_cost, MAX_BCRYPT_COST),
        }
    }
}

/// The limits that hold for a tenant. The fields are those of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are documented where they are set")]
pub struct Filled {
    pub devices: u32,
    pub policies: u32,
    pub allow_topics: u32,
    pub deny_topics: u32,
    pub ungated_subjects: u32,
    pub globs: u32,
    pub bundle_bytes: u32,
    pub deny_levels: u32,
    pub deny_variables: u32,
    pub allow_shapes: u32,
    pub topic_levels: u32,
    pub max_bcrypt_cost: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_documentation_of_each_limit_tells_its_default_and_its_bounds() {
        let schema = schemars::schema_for!(Limits);
        let fields = schema.get("properties").and_then(Value::as_object).unwrap();
        assert_eq!(fields.len(), Limits::BOUNDS.len());
        for (name, Bounds { default, min, max }) in Limits::BOUNDS {
            let field = &fields[name];
            assert_eq!((&field["minimum"], &field["maximum"]), (&min.into(), &max.into()), "{name}");
            let documented = field["description"].as_str().unwrap();
            for number in [default, min, max] {
                assert!(documented.contains(&number.to_string()), "{name} does not tell {number}: {documented}");
            }
            assert!((min..=max).contains(&default), "{name}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default_and_what_is_out_of_bounds_the_nearest() {
        let set = Limits { devices: Some(0), policies: Some(u32::MAX), globs: Some(7), ..Limits::default() };
        let Filled { devices, policies, globs, deny_topics, .. } = set.filled();
        assert_eq!((devices, policies, globs, deny_topics), (1, 10_000, 7, 10_000));
        assert!(Limits::default().is_default() && !set.is_default());
    }
}
