//! `acl.conf` of EMQX, 5.8.5 or later: the first that knows conditions on client attributes.
//!
//! Templates stay templates: one rule serves all devices. Each rule asks for the attribute `tenant_id`, which only the login
//! reply of the sidecar may set (nothing else may give clients the attributes named in a login reply, `client_attrs_init`
//! neither); an Allow therefore never meets a client that the sidecar did not let in. In this order, since the first match
//! decides: whom everything is refused, Denies, Allows; at the end of the file `{deny, all}`.
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

use std::collections::BTreeSet;

pub use term::Term;

use self::clients::Clients;
use self::rule::Rules;
use super::{Narrowed, Section};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::index::TenantIndex;
use crate::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use crate::rules::Conditions;
use crate::verdict::Reason;

/// A rule as it was written, with the name and the subjects of its policy.
#[derive(Clone, Copy)]
struct Written<'i> {
    policy: &'i Policy,
    rule: &'i Rule,
}

/// A section in the making.
struct Draft<'i> {
    index: &'i TenantIndex,
    clients: Clients<'i>,
    rules: Rules,
    narrowed: BTreeSet<Narrowed>,
}

/// The rules of one tenant. Of one whose claims another tenant holds there must be none in a broker's file.
#[must_use]
pub fn section(index: &TenantIndex, now: UnixSeconds) -> Section {
    let tenant = format!("{}/{}", index.tenant().namespace, index.tenant().name);
    let rules = Rules::of(&format!("{}.{}", index.tenant().namespace, index.tenant().name));
    let mut draft = Draft { index, clients: Clients::of(index), rules, narrowed: BTreeSet::new() };
    draft.rules.comment(&tenant);
    draft.refuse_clients(now);
    let withheld = withheld(index);
    if !index.tenant().suspended {
        let (mut denies, allows): (Vec<_>, Vec<_>) = written(index).partition(|it| it.rule.effect == Effect::Deny);
        denies.extend(withheld.iter().flat_map(|policy| policy.rules.iter().map(|rule| Written { policy, rule })));
        let denies = denies::write(&mut draft, &denies);
        allows::write(&mut draft, &allows, &denies);
        draft.tell_of_clients(&allows, now);
    }
    Section { tenant, text: draft.rules.finish(), narrowed: draft.narrowed.into_iter().collect() }
}

/// The file of a broker: of all its tenants, or of one.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    let texts: String = sections.into_iter().map(|section| section.text.as_str()).collect();
    texts + "{deny, all}.\n"
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
        topics: Topics::Listed(topics),
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

impl Draft<'_> {
    /// The resource behind the rules that follow.
    fn name(&mut self, written: &Written<'_>) {
        let Written { policy, rule } = written;
        self.rules.comment(&format!("{}/{} rules[{}]", self.index.tenant().namespace, policy.name, rule.index));
    }

    fn refuse_clients(&mut self, now: UnixSeconds) {
        for (reason, who) in admission::refused(self.index, &self.clients, now) {
            self.rules.comment(reason);
            self.rules.rule(Effect::Deny, &who, [], Term::Atom("all"), rule::Topics::Everything);
        }
    }

    /// Who may do nothing although rules allow it something: told once, at the first rule, since it is the same for all.
    fn tell_of_clients(&mut self, allows: &[Written<'_>], now: UnixSeconds) {
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
