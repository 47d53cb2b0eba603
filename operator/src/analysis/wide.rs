//! Allow topics so wide that they reach every device: each client may publish to, or subscribe to, what is another one's own.
//!
//! An Allow reaches every device if and only if its policy applies to all clients or selects all of two devices or more, and
//! its topic, with its variables read as `+`, has none and covers
//!
//! - all that a topic which is one client's own (an Allow with a variable that differs from client to client) could be for
//!   any client, for the same action; or
//! - every filter of the tenant's topic space.
//!
//! `acme/fleet/#` for everyone is fine beside `acme/${clientid}/#`; `acme/#` and `acme/+/status` are not.

use std::collections::BTreeSet;

use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Topics};
use mqtt_access_core::template::{Topic, Variable};
use mqtt_access_core::topic::{Filter, covers};

use super::Limit;
use super::population::{Population, variables};
use super::topic_place;
use crate::finding::{Finding, FindingReason};

/// The steps of a comparison of two filters.
const COMPARISON: usize = 8;

pub(super) fn findings<'p>(
    index: &TenantIndex,
    policies: &[&'p Policy],
    population: &Population<'_>,
    limit: &Limit,
) -> Vec<(&'p str, Finding)> {
    let for_all: Vec<&'p Policy> = policies.iter().copied().filter(|policy| population.is_for_all(policy)).collect();
    let wide: Vec<(&'p str, &'p Rule, usize, &'p str)> = for_all.into_iter().flat_map(candidates).collect();
    if wide.is_empty() {
        return Vec::new();
    }
    let own = Own::of(policies);
    let space: Vec<&str> = index.tenant().claims.topic_space.iter().map(|space| space.filter.as_str()).collect();
    let reaches = |rule: &Rule, topic: &str| {
        let Ok(filter) = Filter::parse(topic) else { return false };
        let covered = |inner: &str| {
            limit.spend(COMPARISON);
            limit.lasts() && Filter::parse(inner).is_ok_and(|inner| covers(filter, inner))
        };
        let whole = !space.is_empty() && space.iter().all(|inner| covered(inner));
        whole || rule.actions.iter().any(|action| own.of_action(*action).iter().any(|inner| covered(inner)))
    };
    let wide = wide.into_iter().filter(|(_, rule, _, topic)| reaches(rule, topic));
    wide.map(|(policy, rule, place, _)| {
        let message = "every client may use the topics of every device by it; put a variable such as `${clientid}` in it, or \
                       choose other subjects";
        (policy, Finding::new(topic_place(rule.index, place), FindingReason::ReachesEveryDevice, message))
    })
    .collect()
}

/// Topics of Allow rules that are the same for every client, and have wildcards.
fn candidates(policy: &Policy) -> Vec<(&str, &Rule, usize, &str)> {
    let allows = policy.rules.iter().filter(|rule| rule.effect == Effect::Allow);
    let topics = allows.filter_map(|rule| match &rule.topics {
        Topics::Listed(topics) => Some(topics.iter().enumerate().map(move |(place, topic)| (rule, place, topic))),
        Topics::Everything => None,
    });
    let same = |topic: &str| topic.contains(['+', '#']) && !topic.contains("${");
    let wide = topics.flatten().filter(|(_, _, topic)| same(topic));
    wide.map(|(rule, place, topic)| (policy.name.as_str(), rule, place, topic.strip_prefix("eq ").unwrap_or(topic)))
        .collect()
}

/// The topics that are one client's own, with their variables read as `+`.
#[derive(Default)]
struct Own {
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
}

impl Own {
    fn of(policies: &[&Policy]) -> Self {
        let mut own = Self::default();
        let rules = policies.iter().flat_map(|policy| &policy.rules).filter(|rule| rule.effect == Effect::Allow);
        for rule in rules {
            let Topics::Listed(topics) = &rule.topics else { continue };
            let topics =
                topics.iter().filter(|topic| topic.contains("${")).filter_map(|topic| Topic::parse(topic).ok());
            for topic in topics.filter(|topic| variables(topic).iter().any(differs)) {
                let Some(widest) = topic.widest() else { continue };
                for action in &rule.actions {
                    own.of_action_mut(*action).insert(widest.clone());
                }
            }
        }
        own
    }

    fn of_action(&self, action: Action) -> &BTreeSet<String> {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }

    fn of_action_mut(&mut self, action: Action) -> &mut BTreeSet<String> {
        match action {
            Action::Publish => &mut self.publish,
            Action::Subscribe => &mut self.subscribe,
        }
    }
}

/// Whether two clients never have the same value.
fn differs(variable: &Variable) -> bool {
    match variable {
        Variable::ClientId | Variable::Username => true,
        Variable::Attribute(name) => matches!(&**name, "client_id" | "device_id"),
    }
}
