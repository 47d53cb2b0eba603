//! `analyse` (pure): what looks wrong about policies that are in force as they were written.
//!
//! The verdicts do not depend on it, and it never holds up what is published. It looks at the bundle, so at what is in force,
//! and at audiences rather than at pairs of devices and rules; what would cost too much for one tenant is left out and told
//! ([`Analysis::complete`]).

mod idle;
mod population;
mod subjects;
mod topics;
mod wide;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::acl_file::{self, Language, Narrowed};
use mqtt_access_core::bundle::{Bundle, UnixSeconds};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Policy, Rule, Subject, Topics};
use mqtt_access_core::template::Topic;

pub use idle::{Idle, Why, idle};
use population::Population;

use crate::config::Broker;
use crate::finding::{AclFile, Finding, FindingReason, Place};

/// The most steps that are made for one tenant and kind of finding, of which a comparison of two globs is one for each `*`:
/// about a second's worth.
const MAX_STEPS: usize = 30_000_000;

/// What was found about the policies of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Analysis {
    /// Findings by the name of the policy, in the order of their places. Topics are numbered as the bundle has them, so without
    /// those that are not in force.
    pub findings: BTreeMap<String, Vec<Finding>>,
    /// What the ACL files say less than the rules where nobody chose those files: for information.
    pub notes: BTreeMap<String, Vec<Finding>>,
    /// How many devices each policy selects; policies that select none are absent.
    pub devices: BTreeMap<String, usize>,
    /// Whether every Allow was compared with all others that matter to it; otherwise some findings `ShadowedByDeny`,
    /// `InsideAnotherAllow` and `ReachesEveryDevice` are missing.
    pub complete: bool,
}

/// How much may still be compared.
#[derive(Debug)]
pub struct Limit(Cell<usize>);

impl Default for Limit {
    fn default() -> Self {
        Self(Cell::new(MAX_STEPS))
    }
}

impl Limit {
    /// Whether anything is left.
    fn lasts(&self) -> bool {
        self.0.get() > 0
    }

    fn spend(&self, steps: usize) {
        self.0.set(self.0.get().saturating_sub(steps));
    }
}

/// A bundle as an index that knows whom its policies select, which is all that [`analyse`] asks of it: the topics, which are most of
/// a bundle, are left out. `None` only for a bundle that no compiler wrote.
#[must_use]
pub fn audiences(bundle: &Bundle) -> Option<TenantIndex> {
    let rule = |rule: &Rule| {
        let Rule { index, effect, actions, topics: _, qos, retain } = rule;
        let (actions, qos, topics) = (actions.clone(), qos.clone(), Topics::Listed(Vec::new()));
        Rule { index: *index, effect: *effect, actions, topics, qos, retain: *retain }
    };
    let policy = |policy: &Policy| {
        let Policy { name, subjects, rules } = policy;
        Policy { name: name.clone(), subjects: subjects.clone(), rules: rules.iter().map(rule).collect() }
    };
    let policies = bundle.policies.iter().map(policy).collect();
    let bundle = Bundle { tenant: bundle.tenant.clone(), policies, devices: bundle.devices.clone() };
    TenantIndex::new(bundle, 0).ok()
}

/// Analyses the policies of one tenant on its broker, together with what its ACL files say less than the rules. `index` tells whom
/// they select: it may be that of [`audiences`].
#[must_use]
pub fn analyse<'n>(
    policies: &[Policy],
    index: &TenantIndex,
    broker: &Broker,
    narrowed: impl IntoIterator<Item = (Language, &'n Narrowed)>,
) -> Analysis {
    let policies = in_order(policies);
    let mut analysis = Analysis::default();
    let (limit, wide_limit) = (Limit::default(), Limit::default());
    let mut found: BTreeMap<String, BTreeSet<Finding>> = BTreeMap::new();
    let mut tell = |policy: &str, finding| _ = found.entry(policy.to_owned()).or_default().insert(finding);
    for idle in idle(&policies, &limit) {
        tell(idle.policy, of_idle(&idle));
    }
    policies.iter().for_each(|policy| of_shape(policy).into_iter().for_each(|finding| tell(&policy.name, finding)));
    let population = Population::of(index, &policies);
    population.findings(&policies).into_iter().for_each(|(policy, finding)| tell(policy, finding));
    let wide = wide::findings(index, &policies, &population, &wide_limit);
    wide.into_iter().for_each(|(policy, finding)| tell(policy, finding));
    for (language, Narrowed { policy, rule, message }) in narrowed {
        let file = Some(AclFile { broker: broker.name.clone(), language });
        let (place, reason) = (Place::Rule(*rule), FindingReason::NarrowedInAclFile);
        let finding = Finding { place, reason, file, message: message.clone() };
        match &broker.acl_files {
            Some(chosen) if chosen.contains(&language) => tell(policy, finding),
            Some(_) => {}
            None => analysis.notes.entry(policy.clone()).or_default().push(finding),
        }
    }
    analysis.findings = found.into_iter().map(|(policy, findings)| (policy, findings.into_iter().collect())).collect();
    analysis.devices = population.devices();
    analysis.complete = limit.lasts() && wide_limit.lasts();
    analysis
}

/// Parts of one policy come in any order; this is the order of verdicts.
fn in_order(policies: &[Policy]) -> Vec<&Policy> {
    let mut policies: Vec<&Policy> = policies.iter().collect();
    policies.sort_by_key(|policy| (policy.name.as_str(), policy.rules.iter().map(|rule| rule.index).min()));
    policies
}

fn topic_place(rule: u32, topic: usize) -> Place {
    Place::Topic(rule, u32::try_from(topic).unwrap_or(u32::MAX))
}

fn of_idle(idle: &Idle<'_>) -> Finding {
    let place = topic_place(idle.rule, idle.topic);
    let (policy, rule) = idle.by;
    match idle.why {
        Why::Shadowed => Finding::new(
            place,
            FindingReason::ShadowedByDeny,
            format!(
                "the Deny rules[{rule}] of AclPolicy `{policy}` refuses everything that it allows; remove one of them"
            ),
        ),
        Why::Inside => Finding::new(
            place,
            FindingReason::InsideAnotherAllow,
            format!(
                "the Allow rules[{rule}] of AclPolicy `{policy}` allows this to the same clients already; remove it"
            ),
        ),
    }
}

/// What can be told from a rule alone.
fn of_shape(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let any = |subject: &Subject| subject.client_ids.as_ref().is_some_and(|globs| globs.iter().any(|glob| glob == "*"));
    if policy.subjects.iter().any(any) {
        let message =
            "`*` selects every client ID but not those that a client chose itself; write `everyone: true`, or a prefix";
        findings.push(Finding::new(Place::Subjects, FindingReason::AnyClientId, message));
    }
    for rule in &policy.rules {
        if let Topics::Listed(topics) = &rule.topics {
            let never = topics.iter().enumerate().filter_map(|(place, topic)| Some((place, never(rule, topic)?)));
            findings
                .extend(never.map(|(place, why)| {
                    Finding::new(topic_place(rule.index, place), FindingReason::NeverMatches, why)
                }));
        }
        if rule.retain.is_some() && !rule.actions.contains(&Action::Publish) {
            let message =
                "only publishes have a retain flag, and the rule is about none; remove `retain`, or add `Publish`";
            findings.push(Finding::new(Place::Retain(rule.index), FindingReason::RestrictsNothing, message));
        }
    }
    findings
}

/// Why no request can match a topic.
fn never(rule: &Rule, topic: &str) -> Option<&'static str> {
    /// What brokers take for themselves; the topic behind it is what is judged.
    const RESERVED: [&str; 4] = ["$share", "$queue", "$exclusive", "$delayed"];
    let parsed = Topic::parse(topic).ok()?;
    if let Topic::Exact(filter) = &parsed
        && filter.contains(['+', '#'])
        && !rule.actions.contains(&Action::Subscribe)
    {
        return Some("no topic name has wildcards, so nothing is published to exactly this; remove `eq `");
    }
    let first = topic.strip_prefix("eq ").unwrap_or(topic).split('/').next();
    let reserved = first.is_some_and(|first| RESERVED.contains(&first));
    reserved.then_some("requests are judged without this prefix; write the topic filter behind it")
}

/// What the ACL files that were chosen for a broker say less than the rules.
pub(crate) fn narrowed(index: &TenantIndex, broker: &Broker, now: UnixSeconds) -> Vec<(Language, Narrowed)> {
    let chosen = |language: &Language| broker.acl_files.as_ref().is_some_and(|chosen| chosen.contains(language));
    let narrowed = |language| match language {
        Language::Emqx => acl_file::emqx::section(index, now).narrowed,
        Language::Mosquitto => acl_file::mosquitto::section(index, now).narrowed,
    };
    let all = Language::ALL.into_iter().filter(chosen);
    all.flat_map(|language| narrowed(language).into_iter().map(move |narrowed| (language, narrowed))).collect()
}

#[cfg(test)]
mod tests;
