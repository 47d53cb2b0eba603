//! Budgets: how much of what belongs to a tenant fits into its `spec.limits` (pure).
//!
//! Objects are measured in the order of their age, and each counts whether or not it fits. So what stood keeps standing when
//! newer objects come, and lowering a limit takes the newest out first. What is beyond the number of devices or policies
//! counts in no other limit, because nothing more than its name need be known.

mod beyond;
mod closed;
mod cost;

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::template::{Layout, Shape};
use mqtt_access_crds::{FilledLimits, Limits, TenantBudget};

use super::{created, name_of};

pub(crate) use beyond::within;
pub use beyond::{Beyond, BeyondDevice, BeyondPolicy};
pub(crate) use closed::MAX_CLOSED as SPARE_PLACES;
pub(super) use closed::{Closed, everyone};
pub(super) use cost::Cost;

/// From how many parts of a hundred on a limit is nearly used up.
const NEAR_PERCENT: usize = 80;

/// One limit of `spec.limits` that objects can exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Budget {
    /// `DeviceCredential`s.
    Devices,
    /// `AclPolicy` objects.
    Policies,
    /// Topics of Allow rules.
    AllowTopics,
    /// Topics of Deny rules.
    DenyTopics,
    /// Subjects that ask for no exact value.
    UngatedSubjects,
    /// Entries of `clientIds` with a `*`.
    Globs,
    /// Bytes of devices and policies in the bundle.
    BundleBytes,
    /// Levels of the topics of Deny rules.
    DenyLevels,
    /// Levels with variables in the different layouts of topics of Deny rules.
    DenyVariables,
    /// Different shapes of the topics of Allow rules.
    AllowShapes,
    /// Levels of one topic.
    TopicLevels,
}

impl Budget {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Devices,
        Self::Policies,
        Self::AllowTopics,
        Self::DenyTopics,
        Self::UngatedSubjects,
        Self::Globs,
        Self::BundleBytes,
        Self::DenyLevels,
        Self::DenyVariables,
        Self::AllowShapes,
        Self::TopicLevels,
    ];

    /// Its field in `spec.limits`; also in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Policies => "policies",
            Self::AllowTopics => "allowTopics",
            Self::DenyTopics => "denyTopics",
            Self::UngatedSubjects => "ungatedSubjects",
            Self::Globs => "globs",
            Self::BundleBytes => "bundleBytes",
            Self::DenyLevels => "denyLevels",
            Self::DenyVariables => "denyVariables",
            Self::AllowShapes => "allowShapes",
            Self::TopicLevels => "topicLevels",
        }
    }

    fn limit(self, limits: &FilledLimits) -> usize {
        let limit = match self {
            Self::Devices => limits.devices,
            Self::Policies => limits.policies,
            Self::AllowTopics => limits.allow_topics,
            Self::DenyTopics => limits.deny_topics,
            Self::UngatedSubjects => limits.ungated_subjects,
            Self::Globs => limits.globs,
            Self::BundleBytes => limits.bundle_bytes,
            Self::DenyLevels => limits.deny_levels,
            Self::DenyVariables => limits.deny_variables,
            Self::AllowShapes => limits.allow_shapes,
            Self::TopicLevels => limits.topic_levels,
        };
        usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

/// How much of one limit is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// What all objects ask for together; of topic levels the most that one topic has.
    pub used: usize,
    /// What there may be.
    pub limit: usize,
    /// How many objects are not in force because of it; of topic levels how many topics.
    pub out: usize,
}

impl Usage {
    /// Counts a cost, and tells whether it fits. What costs nothing always does.
    fn take(&mut self, cost: usize) -> bool {
        if cost == 0 {
            return true;
        }
        self.used = self.used.saturating_add(cost);
        let fits = self.used <= self.limit;
        self.out += usize::from(!fits);
        fits
    }
}

/// How far a tenant uses its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetReport {
    /// Each of them.
    pub usage: BTreeMap<Budget, Usage>,
    /// More client IDs than can be kept belong to devices that do not fit, so that no access key and no prefix opens any.
    pub keys_closed: bool,
    /// More is denied by policies that do not fit than can be kept, so that everything is denied to every client.
    pub tenant_closed: bool,
}

impl BudgetReport {
    /// The limits that are exceeded, in words.
    pub fn exceeded(&self) -> impl Iterator<Item = (Budget, String)> {
        let over = self.usage.iter().filter(|(_, usage)| usage.out > 0);
        over.map(|(budget, Usage { used, limit, out })| {
            let (out, kind) = (*out, if *budget == Budget::TopicLevels { "topics" } else { "objects" });
            let message = format!(
                "{used} of {limit}, so {out} {kind} are not in force; remove some, or have the platform team raise the limit"
            );
            (*budget, message)
        })
    }

    /// The limits that are nearly used up, in words. A topic that is as deep as it may be is no sign of more to come.
    pub fn near(&self) -> impl Iterator<Item = (Budget, String)> {
        self.usage.iter().filter(|(budget, usage)| is_near(**budget, usage)).map(
            |(budget, Usage { used, limit, .. })| {
                (*budget, format!("{used} of {limit}; the newest objects beyond it will not be in force"))
            },
        )
    }

    /// The reason of the condition `WithinBudget`, and its message.
    #[must_use]
    pub fn condition(&self) -> (TenantBudget, String) {
        let told = |(budget, message): (Budget, String)| format!("limits.{}: {message}", budget.as_str());
        let closed = [
            (
                self.tenant_closed,
                "more is denied by policies that do not fit than can be kept: everything is denied to every client",
            ),
            (
                self.keys_closed,
                "more client IDs belong to devices that do not fit than can be kept: no access key and no `clientIdPrefix` is accepted",
            ),
        ];
        let closed = closed.into_iter().filter(|(is, _)| *is).map(|(_, message)| message.to_owned());
        let over: Vec<String> = closed.chain(self.exceeded().map(told)).collect();
        if !over.is_empty() {
            return (TenantBudget::OverBudget, over.join("; "));
        }
        let near: Vec<String> = self.near().map(told).collect();
        if near.is_empty() {
            (TenantBudget::WithinBudget, "everything fits into `spec.limits`".to_owned())
        } else {
            (TenantBudget::NearBudget, near.join("; "))
        }
    }
}

fn is_near(budget: Budget, Usage { used, limit, out }: &Usage) -> bool {
    budget != Budget::TopicLevels && *out == 0 && used.saturating_mul(100) >= limit.saturating_mul(NEAR_PERCENT)
}

/// Where an object stands in the order in which objects fit.
pub(crate) type Age = (UnixSeconds, String);

/// The age of an object.
pub(crate) fn age(object: &impl kube::ResourceExt) -> Age {
    (created(object), name_of(object))
}

/// What has been measured of a tenant so far.
pub(super) struct Book {
    usage: BTreeMap<Budget, Usage>,
    deny_layouts: Kinds<Layout>,
    allow_shapes: Kinds<Shape>,
}

/// Things of which each counts once, however many policies have it.
struct Kinds<K> {
    known: BTreeSet<K>,
    full: bool,
}

impl<K> Default for Kinds<K> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), full: false }
    }
}

impl<K: Ord + Clone> Kinds<K> {
    /// Counts those that are new, and tells whether they fit: what is in force already costs nothing more.
    fn take(&mut self, usage: Option<&mut Usage>, kinds: &BTreeSet<K>, cost: impl Fn(&K) -> usize) -> bool {
        let Some(usage) = usage else { return false };
        let sum = |kinds: &mut dyn Iterator<Item = &K>| kinds.map(&cost).sum::<usize>();
        let new = sum(&mut kinds.difference(&self.known));
        if new == 0 {
            return true;
        }
        let asked = sum(&mut self.known.iter()) + new;
        usage.used = usage.used.max(asked);
        if self.full || asked > usage.limit {
            self.full = true;
            usage.out += 1;
            return false;
        }
        self.known.extend(kinds.iter().cloned());
        true
    }
}

/// How far a policy fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Altogether.
    Whole,
    /// All but its Allow rules, because of this.
    DenyOnly(Budget),
    /// Not at all, because of this.
    Not(Budget),
}

impl Book {
    pub(super) fn new(limits: &Limits) -> Self {
        let limits = limits.filled();
        let empty = |budget: Budget| (budget, Usage { limit: budget.limit(&limits), ..Usage::default() });
        Self {
            usage: Budget::ALL.into_iter().map(empty).collect(),
            deny_layouts: Kinds::default(),
            allow_shapes: Kinds::default(),
        }
    }

    /// Counts, and tells whether it fits.
    pub(super) fn take(&mut self, budget: Budget, cost: usize) -> bool {
        self.usage.get_mut(&budget).is_some_and(|usage| usage.take(cost))
    }

    /// Whether a topic is not too deep.
    pub(super) fn takes_levels(&mut self, levels: usize) -> bool {
        self.usage.get_mut(&Budget::TopicLevels).is_some_and(|usage| {
            usage.used = usage.used.max(levels);
            let fits = levels <= usage.limit;
            usage.out += usize::from(!fits);
            fits
        })
    }

    /// Counts a policy, and tells how far it fits. Every limit is asked, whatever another said.
    pub(super) fn take_policy(&mut self, cost: &Cost) -> Fit {
        let Cost { allow_topics, deny_topics, deny_levels, ungated_subjects, globs, deny_layouts, allow_shapes } = cost;
        let one_each = |_: &Shape| 1;
        let allows = [
            (Budget::AllowTopics, self.take(Budget::AllowTopics, *allow_topics)),
            (
                Budget::AllowShapes,
                self.allow_shapes.take(self.usage.get_mut(&Budget::AllowShapes), allow_shapes, one_each),
            ),
        ];
        let others = [
            (Budget::DenyTopics, self.take(Budget::DenyTopics, *deny_topics)),
            (Budget::DenyLevels, self.take(Budget::DenyLevels, *deny_levels)),
            (
                Budget::DenyVariables,
                self.deny_layouts.take(self.usage.get_mut(&Budget::DenyVariables), deny_layouts, Layout::len),
            ),
            (Budget::UngatedSubjects, self.take(Budget::UngatedSubjects, *ungated_subjects)),
            (Budget::Globs, self.take(Budget::Globs, *globs)),
        ];
        let unfit = |limits: &[(Budget, bool)]| limits.iter().find(|(_, fits)| !fits).map(|(budget, _)| *budget);
        match (unfit(&others), unfit(&allows), deny_topics) {
            (Some(budget), ..) | (None, Some(budget), 0) => Fit::Not(budget),
            (None, Some(budget), _) => Fit::DenyOnly(budget),
            (None, None, _) => Fit::Whole,
        }
    }

    pub(super) fn limit(&self, budget: Budget) -> usize {
        self.usage.get(&budget).map_or(0, |usage| usage.limit)
    }

    pub(super) fn report(self) -> BudgetReport {
        BudgetReport { usage: self.usage, ..BudgetReport::default() }
    }
}

#[cfg(test)]
mod tests;
