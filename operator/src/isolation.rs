//! `check` (pure): that no client of one tenant of a broker can publish where, or subscribe to what, another tenant owns.
//!
//! What tenants own is decided when it is granted, and each policy is cut to what its tenant owns when it is compiled. This
//! looks at neither: it takes the bundles as they are published, and proves it again from them.
//!
//! - Every Allow topic, with its variables read as `+`, lies within one filter of its own tenant's topic space. A superuser
//!   has that space and no more, and tokens only take away.
//! - No topic lies in the spaces of two tenants. Exceptions are where both declare it in `sharedWith`, and where all of it is
//!   denied to the clients of one because that consent was withdrawn: each is listed.
//! - No instance ID is two tenants', and no client ID begins with the prefixes of two.
//! - Nobody owns topics that begin with `$`, unless the broker's configuration allows it.
//!
//! A violation is a fault of this program, or of whoever wrote into the bundle namespace: it is never an edit of a policy.

mod overlap;

use std::collections::BTreeMap;

use mqtt_access_core::bundle::{Claims, Tenant};
use mqtt_access_core::policy::{Effect, Policy, Topics};
use mqtt_access_core::template::Topic;
use mqtt_access_core::topic::{Filter, covers, intersection, overlap_witness};
use serde::Serialize;

use overlap::Spaces;

/// What one tenant owns, and where its policies reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    tenant: String,
    claims: Claims,
    /// Filters that are denied to all its clients because they belong to other tenants alone.
    withheld: Vec<String>,
    /// The widest readings of its Allow topics, with the first rule of each. `None` where there is no such filter.
    allows: BTreeMap<Option<String>, Cause>,
}

/// A rule, as `policy rules[0]`.
type Cause = String;

/// What was proved for the tenants of one broker, and what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolation {
    /// How many tenants.
    pub tenants: usize,
    /// How many different Allow topics were found to lie in their own tenant's space, or not.
    pub topics: usize,
    /// How many filters of topic spaces were compared with those of all other tenants.
    pub filters: usize,
    /// Topics that two tenants share because both say so.
    pub exceptions: Vec<Exception>,
    /// Topics that two tenants own and do not both share any more: the clients of one are refused there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<Withdrawn>,
    /// What two tenants would both have. Empty means that they are isolated.
    pub violations: Vec<Violation>,
}

/// Topics that two tenants share because both say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The tenants, as `namespace/name`.
    pub tenants: [String; 2],
    /// What each calls the other in `sharedWith`.
    pub shared_with: [String; 2],
    /// The filter of each.
    pub filters: [String; 2],
    /// A topic that both own.
    pub witness: String,
}

/// Topics that two tenants own although not both say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawn {
    /// The tenant whose clients may use them, as `namespace/name`.
    pub owner: String,
    /// The tenant whose clients are refused there, as `namespace/name`.
    pub refused: String,
    /// The filter of each, in the same order.
    pub filters: [String; 2],
    /// A topic that both own.
    pub witness: String,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Which kind.
    pub reason: ViolationReason,
    /// The tenants, as `namespace/name`: the one whose bundle is at fault, and the one that it reaches into, where there is one.
    pub tenants: Vec<String>,
    /// What it is about: a filter, a prefix or an instance ID.
    pub message: String,
    /// A topic, client ID or instance ID of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

/// The kinds of violations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ViolationReason {
    /// An Allow reaches topics that its tenant does not own.
    AllowOutsideTopicSpace,
    /// Two tenants own a topic, and do not both say so in `sharedWith`.
    TopicSpaceOverlap,
    /// A tenant owns topics that begin with `$` on a broker whose configuration does not allow it.
    DollarTopic,
    /// A client ID begins with prefixes of two tenants.
    ClientIdPrefixOverlap,
    /// Two tenants have one instance ID.
    InstanceIdShared,
}

impl Reach {
    /// Of a tenant with its policies as they are published, and what is denied to all its clients.
    #[must_use]
    pub fn of<'f>(tenant: &Tenant, policies: &[Policy], withheld: impl IntoIterator<Item = &'f str>) -> Self {
        let mut allows = BTreeMap::new();
        for policy in policies {
            for rule in policy.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
                let cause = || format!("AclPolicy `{}` rules[{}]", policy.name, rule.index);
                match &rule.topics {
                    Topics::Listed(topics) => topics.iter().for_each(|topic| {
                        let widest = Topic::parse(topic).ok().and_then(|topic| topic.widest());
                        allows.entry(widest).or_insert_with(cause);
                    }),
                    // Nobody writes it; whoever does reaches everything.
                    Topics::Everything => _ = allows.entry(None).or_insert_with(cause),
                }
            }
        }
        let withheld = withheld.into_iter().map(str::to_owned).collect();
        Self {
            tenant: format!("{}/{}", tenant.namespace, tenant.name),
            claims: tenant.claims.clone(),
            withheld,
            allows,
        }
    }

    /// Whether its clients are refused whatever two filters have in common.
    fn is_refused_common(&self, one: &str, other: &str) -> bool {
        let (Ok(one), Ok(other)) = (Filter::parse(one), Filter::parse(other)) else { return false };
        let common = intersection(one, other);
        let common = common.as_deref().and_then(|common| Filter::parse(common).ok());
        let mut withheld = self.withheld.iter().filter_map(|filter| Filter::parse(filter).ok());
        common.is_some_and(|common| withheld.any(|filter| covers(filter, common)))
    }
}

/// Proves that the tenants of a broker are isolated from each other. `dollar_topics`: whether they may own topics that begin
/// with `$`.
#[must_use]
pub fn check<'r>(tenants: impl IntoIterator<Item = &'r Reach>, dollar_topics: bool) -> Isolation {
    let mut tenants: Vec<&Reach> = tenants.into_iter().collect();
    tenants.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    let spaces = Spaces::of(&tenants);
    let mut isolation = Isolation { tenants: tenants.len(), filters: spaces.len(), ..Isolation::default() };
    spaces.overlaps(&mut isolation);
    for tenant in &tenants {
        isolation.topics += tenant.allows.len();
        isolation.violations.extend(outside(tenant, &spaces));
        isolation.violations.extend(dollars(tenant).filter(|_| !dollar_topics));
    }
    isolation.violations.extend(shared_instance_ids(&tenants));
    isolation.violations.extend(nested_prefixes(&tenants));
    isolation
}

fn violation(reason: ViolationReason, tenants: &[&Reach], message: String, witness: Option<String>) -> Violation {
    let tenants = tenants.iter().map(|tenant| tenant.tenant.clone()).collect();
    Violation { reason, tenants, message, witness }
}

fn outside<'t>(tenant: &'t Reach, spaces: &'t Spaces<'t>) -> impl Iterator<Item = Violation> + 't {
    let owned = |text: &str| {
        let own = tenant.claims.topic_space.iter().filter_map(|space| Filter::parse(&space.filter).ok());
        Filter::parse(text).is_ok_and(|filter| own.into_iter().any(|space| covers(space, filter)))
    };
    let outside = tenant.allows.iter().filter(move |(filter, _)| !filter.as_deref().is_some_and(owned));
    outside.map(move |(filter, cause)| {
        let shown = filter.as_deref().unwrap_or("(no filter can say it)");
        let message = format!("{cause} allows `{shown}`, which no filter of its tenant's topic space covers");
        let reached = filter.as_deref().and_then(|filter| spaces.first_of_another(tenant, filter));
        let (other, witness) = reached.unzip();
        let tenants: Vec<&Reach> = std::iter::once(tenant).chain(other).collect();
        violation(ViolationReason::AllowOutsideTopicSpace, &tenants, message, witness)
    })
}

fn dollars(tenant: &Reach) -> impl Iterator<Item = Violation> {
    let filters = tenant.claims.topic_space.iter().map(|space| space.filter.as_str());
    let filters = filters.chain(tenant.allows.keys().flatten().map(String::as_str));
    filters.filter(|filter| filter.starts_with('$')).map(|filter| {
        let message = format!("`{filter}` begins with `$`, which the broker's configuration does not allow");
        violation(ViolationReason::DollarTopic, &[tenant], message, None)
    })
}

fn shared_instance_ids(tenants: &[&Reach]) -> Vec<Violation> {
    let mut known: BTreeMap<&str, &Reach> = BTreeMap::new();
    let mut violations = Vec::new();
    for tenant in tenants {
        let id = tenant.claims.instance_id.as_str();
        if let Some(first) = known.insert(id, tenant) {
            let message = "both have one instance ID".to_owned();
            violations.push(violation(
                ViolationReason::InstanceIdShared,
                &[first, tenant],
                message,
                Some(id.to_owned()),
            ));
        }
    }
    violations
}

fn nested_prefixes(tenants: &[&Reach]) -> Vec<Violation> {
    let mut prefixes: Vec<(&str, usize)> = Vec::new();
    for (place, tenant) in tenants.iter().enumerate() {
        let own = &tenant.claims.client_id_prefixes;
        // No prefix at all is the prefix of every client ID.
        prefixes.extend(own.is_empty().then_some(("", place)));
        prefixes.extend(own.iter().map(|prefix| (prefix.as_str(), place)));
    }
    prefixes.sort_unstable();
    let mut violations = Vec::new();
    // The prefixes of the one looked at, from the shortest on.
    let mut around: Vec<(&str, usize)> = Vec::new();
    for (prefix, owner) in prefixes {
        around.retain(|(shorter, _)| prefix.starts_with(shorter));
        for (shorter, other) in around.iter().filter(|(_, other)| *other != owner) {
            let pair: Vec<&Reach> = [*other, owner].iter().filter_map(|place| tenants.get(*place).copied()).collect();
            let message = format!("client IDs that begin with `{prefix}` begin with `{shorter}` too");
            violations.push(violation(ViolationReason::ClientIdPrefixOverlap, &pair, message, Some(prefix.to_owned())));
        }
        around.push((prefix, owner));
    }
    violations
}

fn common_topic(one: &str, other: &str) -> Option<String> {
    match (Filter::parse(one), Filter::parse(other)) {
        (Ok(one), Ok(other)) => overlap_witness(one, other),
        // What cannot be read may be anything.
        _ => Some(one.to_owned()),
    }
}

impl ViolationReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AllowOutsideTopicSpace,
        Self::TopicSpaceOverlap,
        Self::DollarTopic,
        Self::ClientIdPrefixOverlap,
        Self::InstanceIdShared,
    ];

    /// As it stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowOutsideTopicSpace => "AllowOutsideTopicSpace",
            Self::TopicSpaceOverlap => "TopicSpaceOverlap",
            Self::DollarTopic => "DollarTopic",
            Self::ClientIdPrefixOverlap => "ClientIdPrefixOverlap",
            Self::InstanceIdShared => "InstanceIdShared",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reason, tenants, message, witness } = self;
        write!(f, "{}: {message} ({}", tenants.join(", "), reason.as_str())?;
        witness.iter().try_for_each(|witness| write!(f, ", for example `{witness}`"))?;
        f.write_str(")")
    }
}

impl std::fmt::Display for Withdrawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { owner, refused, filters: [own, other], witness } = self;
        write!(
            f,
            "`{witness}` belongs to {owner} alone, by `{own}`: it and {refused}, which claims `{other}`, do not both name the \
             other in `sharedWith`"
        )
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tenants: [one, other], shared_with: _, filters: [first, second], witness } = self;
        write!(f, "{one} and {other} share `{witness}`, by `{first}` and `{second}`")
    }
}

#[cfg(test)]
mod tests;
