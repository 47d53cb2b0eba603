//! The lines of one client: what Mosquitto's words `read`, `write` and `deny` can say of its rules.
//!
//! `deny` takes both actions. A Deny of one action is therefore said by what Allows lose, where it covers them whole; else it
//! takes the other action too. A Deny that meets no Allow needs no line: those that it meets are found through their levels, so
//! that many Denies beside many Allows cost no more than both.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::super::meter::Meter;
use super::super::overlaps::{Asked, Filters};
use super::format::{carries, comment, grown};
use super::loss::Loss;
use crate::policy::{Action, Effect};
use crate::rules::{ClientRule, Conditions};
use crate::template::ClientTopic;
use crate::topic::{Filter, covers, covers_with_dollars};
use crate::verdict::{Cause, RuleRef};

/// What a client may do, and what of its rules that does not say.
#[derive(Debug, Default)]
pub(super) struct Rights<'r> {
    grants: Vec<Grant<'r>>,
    denies: Vec<(Cause<'r>, String)>,
    pub(super) losses: BTreeSet<(RuleRef<'r>, Loss)>,
}

/// What is left of a topic of an Allow.
#[derive(Debug)]
struct Grant<'r> {
    cause: Cause<'r>,
    filter: &'r str,
    read: bool,
    write: bool,
}

/// The topics of Allows, to be found by what overlaps them.
struct Index<'r, 'm, 'g> {
    filters: Filters<'r>,
    meter: &'m Meter<'g>,
}

/// A topic of a Deny.
struct Denial<'r> {
    rule: &'r ClientRule<'r>,
    filter: String,
    with_dollars: bool,
    publish: bool,
    subscribe: bool,
}

impl<'r> Rights<'r> {
    /// Those that the rules of a client give it, unless the meter ends.
    pub(super) fn of(rules: &'r [ClientRule<'r>], meter: &Meter<'_>) -> Self {
        let mut rights = Self::default();
        rules.iter().filter(|rule| rule.effect == Effect::Allow).for_each(|rule| rights.allow(rule));
        let mut index = Index { filters: Filters::default(), meter };
        for (place, grant) in rights.grants.iter().enumerate() {
            // A line carries no other.
            if let Ok(filter) = Filter::parse(grant.filter) {
                index.filters.insert(filter, place);
            }
        }
        let mut denies = rules.iter().filter(|rule| rule.effect == Effect::Deny);
        while let Some(rule) = denies.next().filter(|_| meter.goes_on()) {
            rights.deny(rule, &index);
        }
        rights
    }

    /// Whole lines, each topic under a comment that names its rule.
    pub(super) fn text(&self) -> String {
        let grants = self.grants.iter().filter_map(|grant| {
            let access = match (grant.read, grant.write) {
                (true, true) => "readwrite",
                (true, false) => "read",
                (false, true) => "write",
                (false, false) => return None,
            };
            Some((grant.cause, access, grant.filter))
        });
        let denies = self.denies.iter().map(|(cause, filter)| (*cause, "deny", filter.as_str()));
        let (mut text, mut written, mut last) = (String::new(), BTreeSet::new(), None);
        for (cause, access, filter) in denies.chain(grants) {
            if !written.insert((access, filter)) {
                continue;
            }
            if last.replace(cause) != Some(cause) {
                text += &comment(&cause.to_string());
            }
            text.extend(["topic ", access, " ", filter, "\n"]);
        }
        text
    }

    fn lose(&mut self, cause: Cause<'r>, loss: Loss) {
        // A superuser's topic space is no rule.
        if let Cause::Rule(rule) = cause {
            self.losses.insert((rule, loss));
        }
    }

    fn allow(&mut self, rule: &'r ClientRule<'r>) {
        let (filter, is_exact) = match &rule.topic {
            ClientTopic::Filter(filter) => (filter, false),
            ClientTopic::Exact(filter) => (filter, has_wildcards(filter)),
            ClientTopic::WithDollars(_) | ClientTopic::Everything => return,
        };
        let ClientRule { cause, conditions, .. } = *rule;
        let mut grant = Grant {
            cause,
            filter,
            read: conditions.concern(Action::Subscribe),
            write: conditions.concern(Action::Publish) && !is_exact,
        };
        if conditions.qos().is_some_and(|levels| levels.is_empty()) {
            // Never holds, so nothing is lost.
            return;
        }
        if is_exact && grant.read {
            self.lose(cause, Loss::AllowExact);
            return;
        }
        if (grant.read || grant.write) && asks_for_qos(conditions) {
            self.lose(cause, Loss::AllowQos);
            return;
        }
        if grant.write && conditions.retain().is_some() {
            self.lose(cause, Loss::AllowRetain);
            grant.write = false;
        }
        if (grant.read || grant.write) && !carries(filter) {
            self.lose(cause, Loss::Unwritable);
            return;
        }
        self.without_reserved(grant);
    }

    /// `acl__check_dollar` of Mosquitto: whatever the file says, nobody publishes to `$SYS`, and messages have no topics
    /// that begin with `$share`. What is published to `$CONTROL` would be orders to the broker.
    fn without_reserved(&mut self, mut grant: Grant<'r>) {
        let shared = grant.filter.starts_with("$share");
        let (no_read, no_write) =
            (shared, shared || ["$SYS", "$CONTROL"].iter().any(|root| grant.filter.starts_with(root)));
        if (grant.read && no_read) || (grant.write && no_write) {
            self.lose(grant.cause, Loss::Reserved);
        }
        grant.read &= !no_read;
        grant.write &= !no_write;
        if grant.read || grant.write {
            self.grants.push(grant);
        }
    }

    fn deny(&mut self, rule: &'r ClientRule<'r>, index: &Index<'_, '_, '_>) {
        let ClientRule { cause, conditions, .. } = *rule;
        let (written, with_dollars, is_exact) = match &rule.topic {
            ClientTopic::Filter(filter) => (filter.as_str(), false, false),
            ClientTopic::WithDollars(filter) => (filter.as_str(), true, false),
            ClientTopic::Everything => ("#", true, false),
            ClientTopic::Exact(filter) => (filter.as_str(), false, has_wildcards(filter)),
        };
        let denial = Denial {
            rule,
            filter: grown(written).into_owned(),
            with_dollars: with_dollars || Filter::parse(written).is_err(),
            publish: conditions.concern(Action::Publish) && !is_exact,
            subscribe: conditions.concern(Action::Subscribe),
        };
        if is_exact && !self.any(index, &denial, |grant| grant.read && denial.is_covered_by(grant)) {
            // It refuses subscriptions that no Allow grants anyway.
            return;
        }
        let (meets_write, meets_read) = self.met(index, &denial);
        let (takes_write, takes_read) = (meets_write && denial.publish, meets_read && denial.subscribe);
        if !takes_write && !takes_read {
            return;
        }
        let qos = asks_for_qos(conditions);
        let losses = [
            (Loss::DenyConditions, qos || (takes_write && conditions.retain().is_some())),
            (Loss::DenyExact, is_exact),
            (Loss::Unwritable, denial.filter != written),
        ];
        losses.into_iter().filter(|(_, lost)| *lost).for_each(|(loss, _)| self.lose(cause, loss));
        if (meets_write, meets_read) == (takes_write, takes_read) {
            self.push(&denial, index);
        } else if !self.take_away(&denial, index) {
            self.lose(cause, Loss::DenyOtherAction);
            self.push(&denial, index);
        }
    }

    /// Whether a Deny meets what may be published to, and what may be received.
    fn met(&self, index: &Index<'_, '_, '_>, denial: &Denial<'_>) -> (bool, bool) {
        let mut met = (false, false);
        let _ = index.find(denial, &mut |place| {
            let own = self.grants.get(place).map_or((true, true), |grant| (grant.write, grant.read));
            met = (met.0 || own.0, met.1 || own.1);
            if met == (true, true) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        met
    }

    /// Whether a topic of an Allow that a Deny meets passes a test.
    fn any(&self, index: &Index<'_, '_, '_>, denial: &Denial<'_>, test: impl Fn(&Grant<'_>) -> bool) -> bool {
        let found = index.find(denial, &mut |place| {
            if self.grants.get(place).is_some_and(&test) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found.is_break()
    }

    /// Takes one right from every grant that a Deny of one action meets, where it covers them whole.
    fn take_away(&mut self, denial: &Denial<'_>, index: &Index<'_, '_, '_>) -> bool {
        let has = |grant: &Grant<'_>| if denial.publish { grant.write } else { grant.read };
        let mut met = Vec::new();
        let found = index.find(denial, &mut |place| {
            let Some(grant) = self.grants.get(place).filter(|grant| has(grant)) else {
                return ControlFlow::Continue(());
            };
            met.push(place);
            if denial.covers(grant) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if found.is_break() {
            return false;
        }
        for place in met {
            if let Some(grant) = self.grants.get_mut(place) {
                *(if denial.publish { &mut grant.write } else { &mut grant.read }) = false;
            }
        }
        true
    }

    /// Writes a Deny; for one that reaches names that start with `$`, also under each such name that an Allow begins with:
    /// a leading wildcard of Mosquitto's does not reach them.
    fn push(&mut self, denial: &Denial<'r>, index: &Index<'_, '_, '_>) {
        let cause = denial.rule.cause;
        self.denies.push((cause, denial.filter.clone()));
        let (first, rest) = denial.filter.split_once('/').map_or((denial.filter.as_str(), None), |(a, b)| (a, Some(b)));
        if !denial.with_dollars || !has_wildcards(first) {
            return;
        }
        let mut roots: BTreeSet<&str> = BTreeSet::new();
        let _ = index.find(denial, &mut |place| {
            let met = self.grants.get(place).map(|grant| grant.filter).filter(|filter| filter.starts_with('$'));
            roots.extend(met.and_then(|filter| filter.split('/').next()));
            ControlFlow::Continue(())
        });
        let lines = roots.into_iter().map(|root| match (first, rest) {
            ("#", _) => format!("{root}/#"),
            (_, Some(rest)) => format!("{root}/{rest}"),
            // A line would lose the space at its end, and be about another name.
            (_, None) if root.trim_ascii() != root => format!("{root}/#"),
            (_, None) => root.to_owned(),
        });
        self.denies.extend(lines.map(|line| (cause, line)));
    }
}

impl Index<'_, '_, '_> {
    /// Hands over the topics of Allows that a Deny meets, in any order.
    fn find(&self, denial: &Denial<'_>, found: &mut dyn FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        // A Deny that does not parse is a fault of ours, and meets everything; `grown` makes none.
        let everything = Filter::parse("#").map(|filter| Asked { filter, with_dollars: true });
        let own = Filter::parse(&denial.filter).map(|filter| Asked { filter, with_dollars: denial.with_dollars });
        own.or(everything).map_or(ControlFlow::Break(()), |asked| self.filters.find(asked, self.meter, found))
    }
}

impl Denial<'_> {
    fn covers(&self, grant: &Grant<'_>) -> bool {
        let covers = if self.with_dollars { covers_with_dollars } else { covers };
        parsed(&self.filter, grant.filter).is_some_and(|(denied, granted)| covers(denied, granted))
    }

    fn is_covered_by(&self, grant: &Grant<'_>) -> bool {
        parsed(&self.filter, grant.filter).is_none_or(|(denied, granted)| covers(granted, denied))
    }
}

fn parsed<'f>(a: &'f str, b: &'f str) -> Option<(Filter<'f>, Filter<'f>)> {
    Some((Filter::parse(a).ok()?, Filter::parse(b).ok()?))
}

fn has_wildcards(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// Whether it matters to a rule which QoS a request has.
fn asks_for_qos(conditions: Conditions) -> bool {
    conditions.qos().is_some_and(|levels| levels.len() < 3)
}
