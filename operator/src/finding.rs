//! Findings: what is not in force as it was written, and what is in force but looks like a mistake.
//!
//! A person reads them in `status.findings`, a pipeline in the report of `compile`: so each has a reason from a closed list, and
//! the place in the object that has to be edited.

mod listed;
mod told;

use std::fmt;

use mqtt_access_core::acl_file::Language;
use mqtt_access_crds::PolicyCompiled;
use serde::Serialize;

pub(crate) use listed::listed;
pub use told::Told;

/// One thing to be told about a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What has to be edited.
    pub place: Place,
    /// Which kind of finding.
    pub reason: FindingReason,
    /// The file that the finding is about; `None` where it is about what the rules say everywhere.
    pub file: Option<AclFile>,
    /// What is so, and what to do about it.
    pub message: String,
}

/// Where in a policy. Numbers count from 0, as in the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `subjects`
    Subjects,
    /// `rules[0]`
    Rule(u32),
    /// `rules[0].topics[1]`
    Topic(u32, u32),
    /// `rules[0].qos`
    Qos(u32),
    /// `rules[0].retain`
    Retain(u32),
}

/// The ACL files of one broker in one language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclFile {
    /// The broker's name in the configuration.
    pub broker: String,
    /// The language.
    pub language: Language,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// Something is not in force as it was written.
    NotInForce,
    /// Everything is in force as it was written, and that is probably not what was meant.
    Suspicious,
}

/// Declares the closed list of reasons: a variant's name is the reason.
macro_rules! reasons {
    ($( $(#[$doc:meta])* $variant:ident => $severity:ident, )+) => {
        /// Why something is told about a policy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingReason {
            $( $(#[$doc])* $variant, )+
        }

        impl FindingReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// As it stands in statuses, reports and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => stringify!($variant), )+
                }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $( Self::$variant => Severity::$severity, )+
                }
            }
        }
    };
}

reasons! {
    /// A topic is no template. An Allow grants nothing by it; a Deny denies everything to the policy's subjects.
    InvalidTopic => NotInForce,
    /// A `QoS` is not 0, 1 or 2. An Allow grants nothing; a Deny denies everything to the policy's subjects.
    InvalidQos => NotInForce,
    /// No filter of the tenant's topic space in force covers the topic of an Allow, so it grants nothing.
    OutsideTopicSpace => NotInForce,
    /// The tenant's `spec.limits` have no room for it. An Allow grants nothing; a Deny denies everything to the policy's
    /// subjects.
    OverBudget => NotInForce,
    /// The language of an ACL file cannot say what the rule means: clients of brokers that read the file may do less.
    NarrowedInAclFile => NotInForce,
    /// An ACL file of all tenants in the cluster has no room for the tenant: its clients may do nothing by that file.
    ClosedInAclFile => NotInForce,
    /// No client that the tenant has now is selected: no device, and no access key that can connect.
    SelectsNobody => Suspicious,
    /// A subject selects by `clientIds: ["*"]`: every client ID, but for an Allow not those that clients chose themselves.
    AnyClientId => Suspicious,
    /// No request can ever match the topic with the rule's actions.
    NeverMatches => Suspicious,
    /// The rule asks for a retain flag and is about subscriptions only, which have none.
    RestrictsNothing => Suspicious,
    /// Every request that the topic of an Allow could grant is refused by one Deny, to every client of the policy.
    ShadowedByDeny => Suspicious,
    /// Another Allow grants everything that the topic grants, to every client of the policy at least.
    InsideAnotherAllow => Suspicious,
    /// No selected client has a usable value for a variable: an Allow matches nothing, a Deny any level.
    VariableWithoutValue => Suspicious,
    /// Two access keys open the same client IDs, and nobody said that they may: of the tenant, not of a policy.
    SharedClientIds => Suspicious,
    /// An Allow lets everyone publish to, or subscribe to, the topics of each device of the tenant.
    ReachesEveryDevice => Suspicious,
}

impl Finding {
    /// A finding about what the rules say everywhere.
    pub(crate) fn new(place: Place, reason: FindingReason, message: impl Into<String>) -> Self {
        Self { place, reason, file: None, message: message.into() }
    }
}

/// The reason of the condition `Compiled` that goes with the findings of an accepted policy.
pub(crate) fn outcome(findings: &[Finding]) -> PolicyCompiled {
    match findings.iter().map(|finding| finding.reason.severity()).min() {
        None => PolicyCompiled::Compiled,
        Some(Severity::Suspicious) => PolicyCompiled::CompiledWithWarnings,
        Some(Severity::NotInForce) => PolicyCompiled::Findings,
    }
}

/// As it stands in `status.findings`: `rules[0].topics[1]: what to do (OutsideTopicSpace)`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, reason, file, message } = self;
        write!(f, "{place}: {message} ({}", reason.as_str())?;
        if let Some(AclFile { broker, language }) = file {
            write!(f, ", broker `{broker}`, {language:?}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subjects => f.write_str("subjects"),
            Self::Rule(rule) => write!(f, "rules[{rule}]"),
            Self::Topic(rule, topic) => write!(f, "rules[{rule}].topics[{topic}]"),
            Self::Qos(rule) => write!(f, "rules[{rule}].qos"),
            Self::Retain(rule) => write!(f, "rules[{rule}].retain"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leads_with_the_place_and_ends_with_the_reason() {
        let mut finding = Finding::new(Place::Topic(0, 1), FindingReason::OutsideTopicSpace, "narrow it");
        assert_eq!(finding.to_string(), "rules[0].topics[1]: narrow it (OutsideTopicSpace)");
        finding.reason = FindingReason::NarrowedInAclFile;
        finding.file = Some(AclFile { broker: "b".to_owned(), language: Language::Emqx });
        assert_eq!(finding.to_string(), "rules[0].topics[1]: narrow it (NarrowedInAclFile, broker `b`, Emqx)");
    }

    #[test]
    fn what_is_not_in_force_outweighs_what_looks_wrong() {
        let finding = |reason| Finding::new(Place::Subjects, reason, "");
        let (outside, nobody) = (FindingReason::OutsideTopicSpace, FindingReason::SelectsNobody);
        assert_eq!(outcome(&[]), PolicyCompiled::Compiled);
        assert_eq!(outcome(&[finding(nobody)]), PolicyCompiled::CompiledWithWarnings);
        assert_eq!(outcome(&[finding(nobody), finding(outside)]), PolicyCompiled::Findings);
    }
}
