//! `AclPolicy`: who may publish and subscribe where.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::reasons;
use crate::{Condition, TenantRef, schema};

/// Who may publish and subscribe where.
#[expect(clippy::duplicated_attributes, reason = "printer columns look alike")]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mqttaccess.io",
    version = "v1alpha1",
    kind = "AclPolicy",
    plural = "aclpolicies",
    shortname = "macl",
    category = "mqtt",
    namespaced,
    derive = "PartialEq",
    status = "AclPolicyStatus",
    selectable = ".spec.tenantRef.name",
    doc = "Who may publish and subscribe where, among the clients of one tenant. What no policy allows is refused, and a \
           Deny of any policy wins over every Allow; the order of policies and rules never matters.",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantRef.name"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Compiled", type_ = "string", json_path = ".status.conditions[?(@.type==\"Compiled\")].reason"),
    printcolumn(name = "Tests", type_ = "string", json_path = ".status.conditions[?(@.type==\"TestsPassed\")].reason"),
    printcolumn(name = "Devices", type_ = "integer", json_path = ".status.matchedDevices"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AclPolicySpec {
    /// The tenant whose clients the policy is about. May be changed: the policy then applies to the new tenant only.
    pub tenant_ref: TenantRef,

    /// Who the policy is about: it applies to a client that any of 1 to 16 subjects selects. Clients of other tenants are
    /// never selected.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub subjects: Vec<Subject>,

    /// What they may do: 1 to 64 rules. What no Allow covers is refused; a Deny wins over every Allow, whatever the order.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<Rule>,

    /// What the tenant's policies together must say: at most 64 questions with the answer that is expected. They are asked
    /// whenever the tenant is compiled; the condition `TestsPassed` tells the outcome. They change nothing that is in force: a
    /// policy whose tests fail is in force all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub tests: Vec<PolicyTest>,
}

/// May this client do that?
///
/// For example `{as: {clientId: GID_acme@@@dev1}, publish: acme/dev2/up, expect: Deny}`. All policies of the tenant answer, not
/// just this one, as they would a broker that writes topics as MQTT does. A client that could not log in, because it or its
/// tenant is disabled, expired or suspended, is refused everything. A client that does not exist fails the test, whatever it
/// expects: `Deny` is no way to say that there is no such client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::policy_test_rules()))]
pub struct PolicyTest {
    /// What the test is about, for its failure, for example `dev1 does not write for dev2`. Left out: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::test_name")]
    pub name: Option<String>,

    /// Who asks.
    #[serde(rename = "as")]
    pub as_: TestClient,

    /// Publishes to this topic name, for example `acme/dev1/up`. Not a filter: `acme/#` is refused. Either this or `subscribe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::topic_name")]
    pub publish: Option<String>,

    /// Subscribes to this topic filter, for example `acme/fleet/#`. No variables: `acme/${clientid}` is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::topic_filter")]
    pub subscribe: Option<String>,

    /// The `QoS` of the publish, or the one asked for by the subscription. Left out: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::qos_level")]
    pub qos: Option<u8>,

    /// The retain flag of the publish. Left out: `false`. Not with `subscribe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub retain: Option<bool>,

    /// The answer that is expected. A client that logs in in several ways (`Scram` and `Password`) must get it in each.
    pub expect: Effect,
}

/// A client of the tenant: a device by its `clientId`; or one that logs in with an access key or a login name.
///
/// `{clientId: GID_acme@@@dev1}` is the device with that client ID; `{accessKey: backend, clientId: GID_acme@@@b1}` one that
/// signs with the key `backend`; `{username: alice, clientId: GID_acme@@@alice-1}` a person with a client ID of her choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::test_client_rules()))]
pub struct TestClient {
    /// Its client ID. May be left out beside a `username` that goes with just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::test_client_id")]
    pub client_id: Option<String>,

    /// The name of the access key that it logs in with, in mode `Signature`, or in mode `Token` where the tenant does not accept
    /// the former; then before its tokens' own grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::access_key_name")]
    pub access_key: Option<String>,

    /// The login name that it logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::login_name")]
    pub username: Option<String>,
}

/// Selects clients of the tenant: either `everyone: true` alone, or all of the other fields that are set must hold.
///
/// For example `{deviceSelector: {matchLabels: {site: berlin}}, clientIds: ["GID_acme@@@*"]}` selects the devices with that
/// label *and* such a client ID. Write two subjects for *or*. An empty list and an empty subject are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::subject_rules()))]
pub struct Subject {
    /// `true`: every client of the tenant, whatever it logged in with. Then no other field may be set. `false` is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everyone: bool,

    /// Labels of the client's `DeviceCredential`, for example `{matchLabels: {site: berlin}}`. Clients without a
    /// `DeviceCredential` (mode `Signature`) are not selected. An empty selector is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub device_selector: Option<LabelSelector>,

    /// Client IDs, of which one must match: 1 to 64 patterns of at most 128 bytes in which `*` stands for any run of
    /// characters, for example `GID_acme@@@gw-*`. Without `*` it is one client ID: `GID_acme@@@gw` does not match
    /// `GID_acme@@@gw-1`. `?` and `[a-z]` have no special meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::client_id_globs")]
    pub client_ids: Vec<String>,

    /// Client attributes that must be equal, for example `{site: berlin}`: the tenant's, the credential's, and those that
    /// mqtt-access sets (`tenant_id`, `instance_id`, `client_id`, `auth_mode`, `group_id`, `device_id`; never `mqa_ticket`).
    /// No pattern: `ber*` is the value `ber*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::subject_attributes")]
    pub attributes: BTreeMap<String, String>,

    /// Names of the tenant's access keys, of which one must be the client's, for example `[backend]`. Devices with a
    /// `DeviceCredential` of their own are not selected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::access_key_names")]
    pub access_keys: Vec<String>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// `Allow` grants, `Deny` refuses whatever else grants it.
    pub effect: Effect,

    /// What the rule is about: `Publish`, `Subscribe` or both.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub actions: Vec<Action>,

    /// Topics, of which one must match: 1 to 32 of at most 1024 bytes. Each is an MQTT topic filter in which a level may
    /// contain `${clientid}`, `${username}` or `${client_attrs.NAME}`; `${$}` is a literal `$`. For example
    /// `acme/${client_attrs.device_id}/#`. `+` stands alone in a level, `#` alone in the last one: `acme#` is refused.
    ///
    /// An Allow matches a publish to a topic under the filter, and a subscription that asks for no more than the filter:
    /// `acme/+/up` allows to subscribe to `acme/dev1/up`, not to `acme/#`. A Deny refuses every subscription that could
    /// receive a topic under the filter. A variable whose value is missing, empty, or contains `/ + #`, `${` or a control
    /// character matches nothing in an Allow, and any level in a Deny. An Allow outside the tenant's `topicSpace` is not in
    /// force; `status.findings` says so.
    ///
    /// `eq FILTER` takes the filter literally, without variables: in an Allow it grants exactly that subscription or a
    /// publish to exactly that name; in a Deny it refuses that publish and every subscription that covers it.
    #[schemars(schema_with = "schema::topic_templates")]
    pub topics: Vec<String>,

    /// Narrows the rule to requests with one of these `QoS` levels: for a subscription, the one asked for. Left out: any. For
    /// example `[0, 1]`. Where the broker does not tell it, such an Allow does not apply and such a Deny does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::qos")]
    pub qos: Vec<u8>,

    /// Narrows the rule to publishes with (`true`) or without (`false`) the retain flag; subscriptions are not narrowed.
    /// Left out: both. Where the broker does not tell the flag, such an Allow does not apply and such a Deny does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub retain: Option<bool>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Grants, unless a Deny refuses.
    Allow,
    /// Refuses, whatever grants.
    Deny,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Publishing, will messages included.
    Publish,
    /// Subscribing.
    Subscribe,
}

/// What the operator says about a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AclPolicyStatus {
    /// The `metadata.generation` that this status is about. Smaller than the object's: not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,

    /// The conditions `Accepted`, `Compiled`, and `TestsPassed` where the policy has or had tests.
    ///
    /// `Accepted`: the policy belongs to a tenant. Reasons: `Accepted`; or `Invalid`, `OverBudget`,
    /// `TenantNotFound`, `TenantNotServed`.
    /// `Compiled`: every rule is in force as written. Reasons: `Compiled`,
    /// `CompiledWithWarnings`; or `Findings`, `NotAccepted`.
    /// `TestsPassed`: every test of `spec.tests` got the answer that it expects. Reasons: `Passed`; or `Failed`, whose message tells
    /// the first failures, `NoTests`, `NotEvaluated`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// How many of the tenant's devices the subjects select. May lag by half a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub matched_devices: Option<u32>,

    /// What is not in force as written, and what is in force but looks like a mistake; of more than 64 the worst, and how many
    /// there are besides. Each begins with its place and ends with a reason, for example `rules[0].topics[1]: no filter of the
    /// topic space covers it (OutsideTopicSpace)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

reasons! {
    /// Reasons of the condition `Accepted` of an `AclPolicy`: it belongs to a tenant.
    pub enum PolicyAccepted for "Accepted" {
        /// If and only if the tenant exists and a broker serves it.
        Accepted => True,
        /// The object does not decode as this version of the operator knows it; the tenant's clients are denied what it may
        /// have denied.
        Invalid => False,
        /// The tenant's policies ask for more than its `spec.limits` take, and this one is among the newest: its Allow rules
        /// allow nothing, and if it has a Deny rule, everything is denied to the clients it selects.
        OverBudget => False,
        /// No `MqttTenant` of this name in the namespace.
        TenantNotFound => False,
        /// No broker serves the tenant.
        TenantNotServed => False,
    }
}

reasons! {
    /// Reasons of the condition `Compiled` of an `AclPolicy`: every rule is in force as written.
    pub enum PolicyCompiled for "Compiled" {
        /// If and only if there are no findings.
        Compiled => True,
        /// Every rule is in force as written, and some look like a mistake: see `status.findings`.
        CompiledWithWarnings => True,
        /// Some of it is not in force as written: see `status.findings`.
        Findings => False,
        /// The policy is not accepted, so it was not compiled.
        NotAccepted => False,
    }
}

reasons! {
    /// Reasons of the condition `TestsPassed` of an `AclPolicy`: every test got the answer that it expects. The outcome
    /// changes nothing that is in force.
    pub enum PolicyTestsPassed for "TestsPassed" {
        /// If and only if there are tests, and each got the answer that it expects.
        Passed => True,
        /// Some got another answer, or ask about a client that does not exist: the message tells the first of them.
        Failed => False,
        /// There are no tests any more.
        NoTests => Unknown,
        /// The tenant has no bundle in force, or the policy does not decode.
        NotEvaluated => Unknown,
    }
}
