//! One rule of `acl.conf`, and what a rule of a policy says besides clients and topics.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::meter::Meter;
use super::term::Term;
use super::who::{Condition, Who};
use crate::policy::{Action, Effect};
use crate::rules::Conditions;

/// Writes rules for the clients of one tenant.
pub(super) struct Rules<'m> {
    tenant: Condition,
    text: String,
    meter: &'m Meter<'m>,
}

/// Rules of the file in the making that are for the clients of one policy: topics with the same action and further conditions
/// are one rule.
#[derive(Default)]
pub(super) struct Lines(BTreeMap<(Term, BTreeSet<Condition>), Line>);

/// A rule of the file, with the rules of the policy that it is made of.
#[derive(Default)]
pub(super) struct Line {
    pub(super) rules: BTreeSet<u32>,
    pub(super) topics: Vec<Term>,
    known: HashSet<Term>,
}

impl Lines {
    pub(super) fn add(&mut self, action: &Term, and: &BTreeSet<Condition>, rule: u32, topic: Term) {
        let line = self.0.entry((action.clone(), and.clone())).or_default();
        line.rules.insert(rule);
        if line.known.insert(topic.clone()) {
            line.topics.push(topic);
        }
    }

    /// Each with its action and conditions, in the order of the first rule behind it.
    pub(super) fn finish(self) -> Vec<(Term, BTreeSet<Condition>, Line)> {
        let mut lines: Vec<_> = self.0.into_iter().map(|((action, and), line)| (action, and, line)).collect();
        lines.sort_by_key(|(_, _, line)| line.rules.first().copied());
        lines
    }
}

/// The topics of a rule.
pub(super) enum Topics {
    /// All, those too that start with `$`: no filter says that.
    Everything,
    Listed(Vec<Term>),
}

impl<'m> Rules<'m> {
    /// Only the sidecar gives the attribute `tenant_id`.
    pub(super) fn of(tenant_id: &str, meter: &'m Meter<'m>) -> Self {
        Self { tenant: Condition::attribute("tenant_id", tenant_id), text: String::new(), meter }
    }

    /// A comment. Names stand in it only as far as their characters are those of names.
    pub(super) fn comment(&mut self, text: &str) {
        let shown = |c: char| c.is_ascii_alphanumeric() || " -._/[],".contains(c);
        let text: String = text.chars().map(|c| if shown(c) { c } else { '?' }).collect();
        self.text.extend(["%% ", &text, "\n"]);
        self.meter.write(text.len() + 4);
    }

    /// A rule for those of `who` for whom `and` holds too.
    pub(super) fn rule(
        &mut self,
        effect: Effect,
        who: &Who,
        and: impl IntoIterator<Item = Condition>,
        action: Term,
        topics: Topics,
    ) {
        if !self.meter.step(1) {
            return;
        }
        let before = self.text.len();
        let effect = match effect {
            Effect::Allow => Term::Atom("allow"),
            Effect::Deny => Term::Atom("deny"),
        };
        let who = who.term(&self.tenant, and);
        let topics = match topics {
            Topics::Everything => Term::Atom("all"),
            Topics::Listed(terms) => Term::List(terms),
        };
        self.text.push_str(&Term::tuple([effect, who, action, topics]).to_string());
        self.text.push_str(".\n");
        self.meter.write(self.text.len() - before);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// The actions of a rule that one rule of the file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Share {
    All,
    Publish,
    Subscribe,
}

/// The action of a rule; `None` where it is about none. EMQX, too, does not ask subscriptions for `retain`.
pub(super) fn action(conditions: Conditions, share: Share) -> Option<Term> {
    let publish = conditions.concern(Action::Publish) && share != Share::Subscribe;
    let subscribe = conditions.concern(Action::Subscribe) && share != Share::Publish;
    let name = Term::Atom(match (publish, subscribe) {
        (true, true) => "all",
        (true, false) => "publish",
        (false, true) => "subscribe",
        (false, false) => return None,
    });
    let mut options = Vec::new();
    if let Some(levels) = conditions.qos() {
        if levels.is_empty() {
            return None;
        }
        let levels = levels.into_iter().map(|level| Term::Integer(level.into())).collect();
        options.push(Term::tuple([Term::Atom("qos"), Term::List(levels)]));
    }
    if let Some(retain) = conditions.retain().filter(|_| publish) {
        options.push(Term::tuple([Term::Atom("retain"), Term::Atom(if retain { "true" } else { "false" })]));
    }
    Some(if options.is_empty() { name } else { Term::tuple([name, Term::List(options)]) })
}

/// Whether two rules may be about the same subscription.
pub(super) fn both_about_a_subscription(a: Conditions, b: Conditions) -> bool {
    let qos = match (a.qos(), b.qos()) {
        (Some(a), Some(b)) => !a.is_disjoint(&b),
        _ => true,
    };
    a.concern(Action::Subscribe) && b.concern(Action::Subscribe) && qos
}
