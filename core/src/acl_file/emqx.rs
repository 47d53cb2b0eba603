//! `acl.conf` of EMQX, 5.8.5 or later: the first that knows conditions on client attributes.
//!
//! Templates stay templates: one rule serves all devices. Each rule asks for the attribute `tenant_id`, which only the login
//! reply of the sidecar may set (nothing else may give clients the attributes named in a login reply, `client_attrs_init`
//! neither); an Allow therefore never meets a client that the sidecar did not let in. In this order, since the first match
//! decides: whom everything is refused, Denies, Allows; at the end of the file `{deny, all}`. What a rule says of clients is written
//! out in it, so that topics of one policy with the same conditions stand in one rule.
//!
//! Never wider than docs/semantics.md, although EMQX
//!
//! - puts values into topics as they are: an Allow asks first whether they may be used ([`pattern::usable`]);
//! - skips a Deny whose variable has no value: a level with a variable is a wildcard there, a first level every topic;
//! - takes a subscription to `t/#` for one that `t/+` allows: it is refused by itself just before, or, where variables or
//!   wildcards stand before the `+`, nobody may subscribe by that rule;
//! - does not see that a subscription reaches into what a Deny protects: an Allow that a Deny cuts into is one to publish only.
//!
//! Whatever that takes away is told as [`Narrowed`]. A file cannot follow what is known only at a login: a session whose
//! key was replaced, or whose device was removed, keeps its rights until it is ended. So does one whose client ID a credential has
//! taken since; and attributes are those of the login, also in a Deny that asks for them: labels are not.

mod admission;
mod allows;
mod clients;
mod denies;
mod pattern;
mod rule;
mod term;
mod topics;
mod who;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

pub use term::Term;

use self::clients::{Clients, Selected};
use self::rule::{Line, Lines, Rules, Topics};
use self::who::Who;
use super::meter::{Closed, Ended, Limits, Meter};
use super::{Narrowed, Section, TenantName};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::index::TenantIndex;
use crate::policy::{self, Action, Effect, Policy, Rule, Subject};
use crate::rules::Conditions;
use crate::verdict::Reason;

/// The last line of a file: what no section allows is denied.
pub(super) const END: &str = "{deny, all}.\n";

/// The most findings about one rule. Its author needs no thousands of lines to mend it.
const TOLD_OF_A_RULE: usize = 64;

/// A rule as it was written, with the name and the subjects of its policy.
#[derive(Clone, Copy)]
struct Written<'i> {
    policy: &'i Policy,
    rule: &'i Rule,
}

/// A section in the making.
struct Draft<'i, 'm> {
    index: &'i TenantIndex,
    clients: Clients<'i, 'm>,
    rules: Rules<'m>,
    narrowed: BTreeSet<Narrowed>,
    told: HashMap<(&'i str, u32), usize>,
    /// Clients by the subjects that select them: many policies have the same.
    known: HashMap<(&'i [Subject], Effect), Rc<Selected>>,
    meter: &'m Meter<'m>,
}

/// The rules of one tenant. Of one whose claims another tenant holds there must be none in a broker's file.
#[must_use]
pub fn section(index: &TenantIndex, now: UnixSeconds) -> Section {
    let stopped = || Section::closed(index, Closed::NotYet, closed_text);
    section_within(index, now, &Meter::new(Limits::default(), &|| true)).unwrap_or_else(stopped)
}

/// As [`section`], closed where it passes a bound; `None` where its result is not wanted any more.
pub(super) fn section_within(index: &TenantIndex, now: UnixSeconds, meter: &Meter<'_>) -> Option<Section> {
    if index.tenant().suspended {
        return Some(suspended(index));
    }
    let section = open_section(index, now, meter);
    match meter.ended() {
        None => Some(section),
        Some(Ended::Closed(why)) => Some(Section::closed(index, why, closed_text)),
        Some(Ended::Stopped) => None,
    }
}

/// The section of a suspended tenant.
pub(super) fn suspended(index: &TenantIndex) -> Section {
    let tenant = TenantName::of(index.tenant());
    let text = denied(&tenant, "suspended");
    Section { tenant: tenant.to_string(), text, narrowed: Vec::new(), closed: None }
}

/// The section of a tenant whose clients may do nothing.
pub(super) fn closed_text(tenant: &TenantName, why: Closed) -> String {
    denied(tenant, &format!("everything is denied: {}", why.message()))
}

fn denied(tenant: &TenantName, why: &str) -> String {
    let meter = Meter::new(Limits::default(), &|| true);
    let mut rules = Rules::of(&tenant.id(), &meter);
    rules.comment(&tenant.to_string());
    rules.comment(why);
    rules.rule(Effect::Deny, &Who::everyone(), [], Term::Atom("all"), Topics::Everything);
    rules.finish()
}

fn open_section(index: &TenantIndex, now: UnixSeconds, meter: &Meter<'_>) -> Section {
    let tenant = TenantName::of(index.tenant());
    let withheld = withheld(index);
    let mut draft = Draft {
        index,
        clients: Clients::of(index, meter),
        rules: Rules::of(&tenant.id(), meter),
        narrowed: BTreeSet::new(),
        told: HashMap::new(),
        known: HashMap::new(),
        meter,
    };
    draft.rules.comment(&tenant.to_string());
    draft.refuse_clients(now);
    let (mut denies, allows): (Vec<_>, Vec<_>) = written(index).partition(|it| it.rule.effect == Effect::Deny);
    denies.extend(withheld.iter().flat_map(|policy| policy.rules.iter().map(|rule| Written { policy, rule })));
    let denies = denies::write(&mut draft, &denies);
    allows::write(&mut draft, &allows, &denies);
    draft.tell_of_clients(&allows, now);
    let narrowed = draft.narrowed.into_iter().collect();
    Section { tenant: tenant.to_string(), text: draft.rules.finish(), narrowed, closed: None }
}

/// The file of a broker: of all its tenants, or of one.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    let texts: String = sections.into_iter().map(|section| section.text.as_str()).collect();
    texts + END
}

/// In the order in which verdicts prefer them; the parts of a policy come in any.
fn written(index: &TenantIndex) -> impl Iterator<Item = Written<'_>> {
    let rules =
        index.policies().iter().flat_map(|policy| policy.rules.iter().map(move |rule| Written { policy, rule }));
    let mut rules: Vec<Written<'_>> = rules.collect();
    rules.sort_by_key(|it| (&it.policy.name, it.rule.index));
    rules.into_iter()
}

/// What belongs to other tenants alone, as a policy of this one: a Deny for everyone. No `AclPolicy` has its name.
fn withheld(index: &TenantIndex) -> Option<Policy> {
    let topics: Vec<String> = index.withheld().filters().map(literally).collect();
    let subjects = vec![Subject { everyone: true, ..Subject::default() }];
    let rule = Rule {
        index: 0,
        effect: Effect::Deny,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: policy::Topics::Listed(topics),
        qos: None,
        retain: None,
    };
    let name = Reason::ConsentWithdrawn.as_str().to_owned();
    (!index.withheld().is_empty()).then(|| Policy { name, subjects, rules: vec![rule] })
}

/// A filter as a topic of a Deny that means just that; one that cannot be written so grows.
fn literally(filter: &str) -> String {
    let escaped = filter.replace("${", "${$}{");
    if !escaped.starts_with("eq ") {
        return escaped;
    }
    escaped.split_once('/').map_or_else(|| "+".to_owned(), |(_, rest)| format!("+/{rest}"))
}

impl Written<'_> {
    fn conditions(&self) -> Conditions {
        Conditions::of(self.rule)
    }

    fn narrowed(&self, message: String) -> Narrowed {
        Narrowed { policy: self.policy.name.clone(), rule: self.rule.index, message }
    }
}

/// The rules of one policy that come one after the other; its parts may differ in their subjects.
fn by_policy<'w, 'i>(written: &'w [Written<'i>]) -> impl Iterator<Item = &'w [Written<'i>]> {
    written.chunk_by(|one, other| one.policy.name == other.policy.name && one.policy.subjects == other.policy.subjects)
}

impl<'i> Draft<'i, '_> {
    /// The clients of a policy.
    fn selected(&mut self, policy: &'i Policy, effect: Effect) -> Rc<Selected> {
        let Self { clients, known, .. } = self;
        let number = known.len();
        let entry = known.entry((policy.subjects.as_slice(), effect));
        Rc::clone(entry.or_insert_with(|| Rc::new(clients.selected(&policy.subjects, effect, number))))
    }

    /// Tells of a rule, unless so much is told of it already that more would help nobody.
    fn tell(&mut self, written: &Written<'i>, message: String) {
        let told = self.told.entry((written.policy.name.as_str(), written.rule.index)).or_default();
        if *told < TOLD_OF_A_RULE && self.narrowed.insert(written.narrowed(message)) {
            *told += 1;
            if *told == TOLD_OF_A_RULE {
                let more = "more topics and clients of this rule are concerned than are listed here";
                self.narrowed.insert(written.narrowed(more.to_owned()));
            }
        }
    }

    /// The resources behind the rule that follows: rules of one policy.
    fn name(&mut self, policy: &Policy, rules: &BTreeSet<u32>) {
        let rules: Vec<String> = rules.iter().map(|rule| format!("rules[{rule}]")).collect();
        self.rules.comment(&format!("{}/{} {}", self.index.tenant().namespace, policy.name, rules.join(", ")));
    }

    /// Writes rules for the clients of a policy.
    fn write(&mut self, policy: &Policy, effect: Effect, who: &Who, lines: Lines) {
        let mut named = BTreeSet::new();
        for (action, and, Line { rules, topics, .. }) in lines.finish() {
            if named != rules {
                self.name(policy, &rules);
                named = rules;
            }
            self.rules.rule(effect, who, and, action, Topics::Listed(topics));
        }
    }

    fn refuse_clients(&mut self, now: UnixSeconds) {
        for (reason, who) in admission::refused(self.index, &self.clients, now) {
            self.rules.comment(reason);
            self.rules.rule(Effect::Deny, &who, [], Term::Atom("all"), rule::Topics::Everything);
        }
    }

    /// Who may do nothing although rules allow it something: told once, at the first rule, since it is the same for all.
    fn tell_of_clients(&mut self, allows: &[Written<'i>], now: UnixSeconds) {
        let tenant = self.index.tenant();
        let with_tokens = tenant.modes.contains(&Mode::Token) && tenant.access_keys.iter().any(|key| !key.disabled);
        let for_keys = |it: &&Written<'_>| it.policy.subjects.iter().any(|subject| subject.device_selector.is_none());
        if let Some(first) = allows.iter().find(for_keys).filter(|_| with_tokens) {
            let message = "clients with tokens may do nothing, here and by any other rule: what their tokens grant cannot be \
                           said in a file; let EMQX ask over HTTP, or take `Token` out of the tenant's modes";
            self.narrowed.insert(first.narrowed(message.to_owned()));
        }
        let by_scram = admission::refused_prefixes(&self.clients, now).any(|persona| persona.mode() == Mode::Scram);
        if let Some(first) = allows.first().filter(|_| by_scram) {
            let message = "SCRAM clients whose client ID begins with the `clientIdPrefix` of a credential that is disabled or \
                           expired may do nothing, here and by any other rule: EMQX cannot tell whose they are; delete that \
                           credential, or give the others another prefix";
            self.narrowed.insert(first.narrowed(message.to_owned()));
        }
    }
}
