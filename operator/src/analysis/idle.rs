//! Allow topics that change nothing: a Deny refuses whatever they grant, or another Allow grants it already.
//!
//! Told from the policies alone, so it holds whatever clients come: without the topics reported here no client would get
//! another verdict. Two topics that grant the same are one finding, about the later.

use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Topics};
use mqtt_access_core::template::Topic;

use super::Limit;
use super::subjects::{Group, Groups};
use super::topics::{Number, Place, Tree, covers};

/// Why a topic of an Allow changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A Deny refuses whatever it grants, to every client of its policy.
    Shadowed,
    /// An Allow grants whatever it grants, to every client of its policy.
    Inside,
}

/// A topic of an Allow that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle<'p> {
    /// Name of its policy.
    pub policy: &'p str,
    /// The rule's index in the resource.
    pub rule: u32,
    /// The topic's place among those of the rule that are in force.
    pub topic: usize,
    /// Why.
    pub why: Why,
    /// The policy and the rule that make it so.
    pub by: (&'p str, u32),
}

/// One topic of one rule.
struct Entry<'p> {
    policy: &'p str,
    rule: u32,
    place: usize,
    topic: Topic,
    group: Group,
    says: Says,
}

/// What a rule says besides its topics; `None` means any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Says {
    publish: bool,
    subscribe: bool,
    qos: Option<u8>,
    retain: Option<bool>,
}

impl Says {
    fn of(rule: &Rule, topic: &Topic) -> Self {
        // No name has a wildcard, so nothing is published to such a one.
        let unpublishable = matches!(topic, Topic::Exact(filter) if filter.contains(['+', '#']));
        let bits = |levels: &std::collections::BTreeSet<_>| {
            levels.iter().fold(0, |bits, level| bits | 1_u8.wrapping_shl(u32::from(u8::from(*level))))
        };
        Self {
            publish: rule.actions.contains(&Action::Publish) && !unpublishable,
            subscribe: rule.actions.contains(&Action::Subscribe),
            qos: rule.qos.as_ref().map(bits),
            retain: rule.retain,
        }
    }

    /// Whether a rule of this effect is about every request that an Allow which says `inner` is about.
    fn include(self, inner: Self, effect: Effect) -> bool {
        const ALL: u8 = 0b111;
        let qos = match (self.qos, inner.qos) {
            (None, _) => true,
            (Some(outer), Some(inner)) => inner & !outer == 0,
            // Where the broker does not tell the level, such a Deny holds and such an Allow does not.
            (Some(outer), None) => effect == Effect::Deny && outer == ALL,
        };
        let retain = !inner.publish || self.retain.is_none() || self.retain == inner.retain;
        qos && retain && (self.publish || !inner.publish) && (self.subscribe || !inner.subscribe)
    }
}

/// All topics of a tenant, ready for the search.
#[derive(Default)]
struct Search<'p> {
    entries: Vec<Entry<'p>>,
    groups: Groups<'p>,
    allow: Tree,
    deny: Tree,
}

/// The topics of Allow rules that change nothing, in the order of policies, rules and topics. Stops at the limit.
pub fn idle<'p>(policies: &[&'p Policy], limit: &Limit) -> Vec<Idle<'p>> {
    let mut search = Search::default();
    let mut allowed = Vec::new();
    for policy in policies {
        let group = search.groups.number(&policy.subjects);
        for rule in &policy.rules {
            let numbers = search.add(policy, rule, group);
            allowed.extend(numbers.filter(|_| rule.effect == Effect::Allow));
        }
    }
    allowed.into_iter().filter_map(|number| search.judge(number, limit)).collect()
}

impl<'p> Search<'p> {
    fn add(&mut self, policy: &'p Policy, rule: &Rule, group: Group) -> std::ops::Range<Number> {
        let first = self.entries.len();
        // What denies everything stands for a rule that cannot be read, and that is a finding already.
        let Topics::Listed(topics) = &rule.topics else { return first..first };
        for (place, topic) in topics.iter().enumerate() {
            let Ok(topic) = Topic::parse(topic) else { continue };
            let says = Says::of(rule, &topic);
            let number = self.entries.len();
            let tree = if rule.effect == Effect::Allow { &mut self.allow } else { &mut self.deny };
            if let Some(here) = tree.place(&topic).map(|place| place.entry(group).or_default()) {
                // Of several that say the same here the first stands for all.
                let same = |known: &Number| self.entries.get(*known).is_some_and(|known| known.says == says);
                if !here.iter().any(same) {
                    here.push(number);
                }
            }
            self.entries.push(Entry { policy: &policy.name, rule: rule.index, place, topic, group, says });
        }
        first..self.entries.len()
    }

    fn judge(&mut self, number: Number, limit: &Limit) -> Option<Idle<'p>> {
        let Self { entries, groups, allow, deny } = self;
        let inner = entries.get(number).filter(|_| limit.lasts())?;
        let including = groups.including(inner.group, limit);
        let first = |tree: &Tree, effect, test: &dyn Fn(Number, &Entry<'_>) -> bool| {
            let said = |number: &Number| {
                let outer = entries.get(*number)?;
                (outer.says.include(inner.says, effect) && test(*number, outer)).then_some(*number)
            };
            let mut places = tree.covering(&inner.topic, limit).into_iter();
            places.find_map(|place| numbers(place, &including, limit).find_map(said))
        };
        let shadow = first(deny, Effect::Deny, &|_, _| true).map(|by| (Why::Shadowed, by));
        let found = shadow.or_else(|| {
            let wider = |other: Number, outer: &Entry<'_>| {
                other != number && (other < number || !is_within(outer, inner, groups, limit))
            };
            first(allow, Effect::Allow, &wider).map(|by| (Why::Inside, by))
        });
        let (why, by) = found?;
        let by = entries.get(by)?;
        let by = (by.policy, by.rule);
        Some(Idle { policy: inner.policy, rule: inner.rule, topic: inner.place, why, by })
    }
}

/// The topics at a place whose policies have one of these subjects.
fn numbers<'t>(place: &'t Place, including: &[Group], limit: &Limit) -> impl Iterator<Item = &'t Number> {
    let by_place = place.len() < including.len();
    let found: Vec<&Vec<Number>> = if by_place {
        let known = place.iter().filter(|(group, _)| including.binary_search(group).is_ok());
        known.map(|(_, numbers)| numbers).collect()
    } else {
        including.iter().filter_map(|group| place.get(group)).collect()
    };
    limit.spend(place.len().min(including.len()));
    found.into_iter().flatten()
}

/// Whether one Allow grants no more than another.
fn is_within(inner: &Entry<'_>, outer: &Entry<'_>, groups: &Groups<'_>, limit: &Limit) -> bool {
    outer.says.include(inner.says, Effect::Allow)
        && groups.include(outer.group, inner.group, limit)
        && covers(&outer.topic, &inner.topic)
}
