//! Files in which brokers find rules that they evaluate themselves.
//!
//! What they say is never wider than docs/semantics.md: what a broker's language cannot say is left out of an Allow and grows in a
//! Deny, and [`Narrowed`] tells so. The same bundle at the same time gives the same text, whoever writes it: the operator into
//! a `ConfigMap`, `compile` into its folder, the sidecar into `--acl-dir`.
//!
//! Each tenant has a section of its own, and no section says anything of another tenant's clients: they are worked out apart and
//! put together in any order. What one may take is bounded ([`MAX_SECTION_BYTES`], [`MAX_SECTION_STEPS`]); one that would take
//! more denies everything to its tenant's clients ([`Closed`]), and is never cut.

pub mod emqx;
mod files;
mod meter;
pub mod mosquitto;
mod overlaps;
#[cfg(test)]
mod tests;

pub use files::{File, Sections};
pub use meter::{Closed, Limits, MAX_SECTION_BYTES, MAX_SECTION_STEPS};
use serde::Deserialize;

use crate::bundle::Tenant;
use crate::index::TenantIndex;
use crate::policy::Effect;

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Language {
    /// EMQX: `acl.conf`.
    Emqx,
    /// Mosquitto: `acl_file` and `password_file`.
    Mosquitto,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Emqx, Self::Mosquitto];
}

/// What one tenant contributes to a broker's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The tenant, as `namespace/name`; sections stand in this order.
    pub tenant: String,
    /// Whole lines, each ended by a line feed.
    pub text: String,
    /// What the broker is told less than the rules say.
    pub narrowed: Vec<Narrowed>,
    /// Why it denies everything to the tenant's clients; `None` where it says what the rules say.
    pub closed: Option<Closed>,
}

/// A tenant as sections name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TenantName {
    namespace: String,
    name: String,
}

impl TenantName {
    fn of(tenant: &Tenant) -> Self {
        Self { namespace: tenant.namespace.clone(), name: tenant.name.clone() }
    }

    /// As the attribute `tenant_id` of its clients.
    fn id(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

impl std::fmt::Display for TenantName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Section {
    /// A section that denies everything to the clients of a tenant, with what that takes away: told once, at the first Allow,
    /// since it is the same for all.
    fn closed(index: &TenantIndex, why: Closed, text: fn(&TenantName, Closed) -> String) -> Self {
        let tenant = TenantName::of(index.tenant());
        let allows = index.policies().iter().flat_map(|policy| {
            let allows = policy.rules.iter().filter(|rule| rule.effect == Effect::Allow);
            allows.map(move |rule| (policy.name.as_str(), rule.index))
        });
        let why_not = why.message();
        let narrowed = allows.min().map(|(policy, rule)| Narrowed {
            policy: policy.to_owned(),
            rule,
            message: format!(
                "clients of the MqttTenant `{tenant}` may do nothing, here and by any other rule: {why_not}"
            ),
        });
        let narrowed = narrowed.into_iter().collect();
        Self { tenant: tenant.to_string(), text: text(&tenant, why), narrowed, closed: Some(why) }
    }
}

/// A rule that the broker's language cannot say as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Narrowed {
    /// Name of the `AclPolicy`.
    pub policy: String,
    /// Its place in `spec.rules`, from 0.
    pub rule: u32,
    /// What clients may not do there although the rule says so, why, and what to write instead.
    pub message: String,
}
