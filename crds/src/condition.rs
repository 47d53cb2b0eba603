//! Conditions: what the operator reports, with reasons from closed lists.
//!
//! One enum per condition type holds its reasons; the reason decides the status, so that no report can say
//! `Ready=True, reason=Expired`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

/// A condition as it stands in `status.conditions`.
pub type Condition = meta::Condition;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The operator cannot tell yet.
    Unknown,
}

impl ConditionStatus {
    /// The spelling that Kubernetes prescribes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A reason of one condition type. The reason decides the status.
pub trait ConditionReason: Copy + Eq + std::fmt::Debug + Send + Sync + 'static {
    /// The `type` of the condition that this reason belongs to, for example `Ready`.
    const CONDITION: &'static str;

    /// Every reason of this condition.
    const ALL: &'static [Self];

    /// The reason as it stands in the condition, in `CamelCase`.
    fn as_str(self) -> &'static str;

    /// The status that goes with this reason.
    fn status(self) -> ConditionStatus;

    /// A condition with this reason, for the generation that was looked at. `lastTransitionTime` is `since`: callers keep
    /// the old time while the status stays the same.
    fn condition(self, message: String, observed_generation: Option<i64>, since: meta::Time) -> Condition {
        Condition {
            type_: Self::CONDITION.to_owned(),
            status: self.status().as_str().to_owned(),
            reason: self.as_str().to_owned(),
            message,
            observed_generation,
            last_transition_time: since,
        }
    }
}

/// Declares the closed list of reasons of one condition type: a variant's name is the reason.
macro_rules! reasons {
    (
        $(#[$doc:meta])*
        pub enum $name:ident for $condition:literal {
            $( $(#[$variant_doc:meta])* $variant:ident => $status:ident, )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant, )+
        }

        impl $crate::ConditionReason for $name {
            const CONDITION: &'static str = $condition;
            const ALL: &'static [Self] = &[$( Self::$variant ),+];

            fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => stringify!($variant), )+
                }
            }

            fn status(self) -> $crate::ConditionStatus {
                match self {
                    $( Self::$variant => $crate::ConditionStatus::$status, )+
                }
            }
        }
    };
}

pub(crate) use reasons;
