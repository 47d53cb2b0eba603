//! The Kubernetes types of mqtt-access, and nothing else: what users write, what the operator answers in `status`.
//!
//! ```text
//!   platform team                team that owns the devices
//!        |                          |                 |
//!   MqttTenant  <--tenantRef--  DeviceCredential   AclPolicy  --tenantRef-->  MqttTenant
//!        |                          ^                 |
//!    accessKeys  <---- subjects: accessKeys, deviceSelector, clientIds, attributes
//! ```
//!
//! Everything lives in one namespace: references are names. The doc comments of the fields are what `kubectl explain`
//! prints, so they are normative. What a field may hold is said once, in [`schema`], as schema and CEL: the API server
//! enforces it, and so do the offline commands. The access rules themselves (what a topic template matches, who a
//! subject selects) are the business of the package `mqtt-access-core`; the two packages meet in the operator only.

mod acl_policy;
mod common;
mod condition;
mod definitions;
mod device_credential;
mod limits;
mod rotation;
pub mod schema;
mod stored;
mod tenant;

pub use acl_policy::{
    AclPolicy, AclPolicySpec, AclPolicyStatus, Action, Effect, PolicyAccepted, PolicyCompiled, PolicyTest,
    PolicyTestsPassed, Rule, Subject, TestClient,
};
pub use common::{SecretRef, TenantRef};
pub use condition::{Condition, ConditionReason, ConditionStatus};
pub use definitions::{CATEGORY, GROUP, VERSION, all};
pub use device_credential::{DeviceCredential, DeviceCredentialSpec, DeviceCredentialStatus, DeviceReady, Mechanism};
pub use limits::{Bounds, Filled as FilledLimits, Limits};
pub use rotation::{Rotation, RotationStatus};
pub use stored::{Stored, Undecodable};
pub use tenant::{
    AccessKey, AccessKeyStatus, AuthMode, Authentication, BundleStatus, DeviceCounts, KeyUse, MqttTenant,
    MqttTenantSpec, MqttTenantStatus, SignatureAlgorithm, TenantBudget, TenantIsolated, TenantPublished, TenantReady,
    TokenLimits, TokenRevocations, TopicClaim,
};
