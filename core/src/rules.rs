//! The rules of a tenant as an index: a trie of topic levels for Allow rules, and sets of topics for Deny rules.
//!
//! A template stays a template: it is indexed once, however many clients use it, and a variable in it is compared with the
//! client's value. A request is granted by one topic that covers it: finding that one costs the levels of what is asked, and
//! the branches that match them. It is refused by any topic that overlaps it, of which there may be very many: they are found
//! together, at the cost of a few bits for each ([`overlap`]).

mod audience_set;
mod denies;
mod inline;
mod levels;
mod of_client;
mod of_key;
mod overlap;
mod trie;
mod walk;
mod withheld;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use crate::audience::{AudienceId, Audiences};
use crate::client::Client;
use crate::policy::{Action, Effect, Policy, Qos, Rule, Topics};
use crate::template::{MAX_TEMPLATE_BYTES, TemplateError, Topic};
use crate::topic::{Filter, TopicName};
use crate::verdict::{Allowed, Cause, Notation, Reason, Request, RuleRef, Target, Verdict};
pub(crate) use audience_set::AudienceSet;
use denies::Denies;
pub use inline::{InlineAcl, InlineRule, InlineTopic};
use levels::with_levels;
pub use of_client::ClientRule;
use of_client::Written;
pub(crate) use of_key::AudiencesOfKey;
use overlap::{Question, filter_meets, meets};
use trie::{Entry, Trie};
use walk::{Asked, Walk};
pub use withheld::Withheld;

/// Compiled rules of one tenant.
#[derive(Debug)]
pub struct Rules {
    namespace: String,
    policies: Vec<String>,
    /// The audience of each policy.
    audience_of: Vec<AudienceId>,
    /// In the order in which a verdict prefers them: by policy name, then index.
    rules: Vec<(u32, u32)>,
    audiences: Audiences,
    allow: Trie,
    deny: Denies,
    /// The tenant's topic space: what a superuser may use.
    space: Trie,
    space_filters: Vec<Box<str>>,
    /// The same rules as they were written, by audience: for [`Rules::of_client`].
    written: Vec<Written>,
}

/// A client with the audiences that it belongs to: what [`Rules::decide`] judges.
#[derive(Debug, Clone)]
pub struct Principal<'a> {
    client: Client<'a>,
    allow: Belongs<'a>,
    deny: Belongs<'a>,
}

/// The audiences of a client: kept where the client is known, or found for this request.
#[derive(Debug, Clone)]
enum Belongs<'a> {
    Known(&'a AudienceSet),
    Found(Arc<AudienceSet>),
}

impl Deref for Belongs<'_> {
    type Target = AudienceSet;

    fn deref(&self) -> &AudienceSet {
        match self {
            Self::Known(set) => set,
            Self::Found(set) => set,
        }
    }
}

impl<'a> Principal<'a> {
    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Client<'a> {
        &self.client
    }
}

impl Rules {
    /// Compiles policies. Every topic has to be valid already, and no filter of the space longer than a template may be;
    /// the compiler of bundles sees to that.
    pub fn compile<'p>(
        namespace: &str,
        policies: impl IntoIterator<Item = &'p Policy>,
        space: impl IntoIterator<Item = &'p str>,
    ) -> Result<Self, TemplateError> {
        let mut policies: Vec<&Policy> = policies.into_iter().collect();
        // Parts of one policy are ranges of its rules, and come in any order.
        policies.sort_by_key(|policy| (policy.name.as_str(), policy.rules.iter().map(|rule| rule.index).min()));
        let mut builder = Builder::default();
        for policy in policies {
            builder.add(policy)?;
        }
        for filter in space {
            // A walk goes as deep as the longest path: see `trie`.
            if filter.len() > MAX_TEMPLATE_BYTES {
                return Err(TemplateError::TooLong);
            }
            let filter = Filter::parse(filter).map_err(TemplateError::from)?;
            builder.space.insert_filter(&Topic::Exact(filter.as_str().into()), Entry::UNCONDITIONAL);
            builder.space_filters.push(filter.as_str().into());
        }
        Ok(builder.finish(namespace))
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn space(&self) -> impl Iterator<Item = &str> {
        self.space_filters.iter().map(AsRef::as_ref)
    }

    /// Finds the audiences of a client. Costs its labels and attributes; keep the result where the client is known.
    #[must_use]
    pub fn principal<'a>(&self, client: Client<'a>) -> Principal<'a> {
        let find = |effect| Belongs::Found(Arc::new(self.deny.audience_set(self.audiences.of(&client, effect), false)));
        let allow = find(Effect::Allow);
        let deny = if client.client_id_proven { allow.clone() } else { find(Effect::Deny) };
        Principal { client, allow, deny }
    }

    /// The audiences in which rules of an effect find a client, for keeping.
    pub(crate) fn audiences_of(&self, client: &Client<'_>, effect: Effect) -> Vec<AudienceId> {
        self.audiences.of(client, effect)
    }

    /// Audiences, which are in ascending order, in the form that decisions use: for keeping as long as the rules.
    pub(crate) fn audience_set(&self, audiences: Vec<AudienceId>) -> AudienceSet {
        self.deny.audience_set(audiences, true)
    }

    /// Each policy with its audience.
    pub(crate) fn audience_by_policy(&self) -> impl Iterator<Item = (&str, AudienceId)> {
        self.policies.iter().map(String::as_str).zip(self.audience_of.iter().copied())
    }

    /// Judges a request as docs/semantics.md section 3 says. Allocates nothing.
    #[must_use]
    pub fn decide(&self, principal: &Principal<'_>, request: &Request<'_>) -> Verdict<'_> {
        with_levels(request.filter(), |levels| self.judge(principal, request, levels))
    }

    fn judge(&self, principal: &Principal<'_>, request: &Request<'_>, levels: &[&str]) -> Verdict<'_> {
        let client = &principal.client;
        let dotted = request.notation == Notation::Dotted;
        let question = &Question { target: request.target, levels, client, dotted, whole: false };
        if let Some(rule) = self.deny.first(principal, request, question, &self.written) {
            return Verdict::Deny(self.cause(rule));
        }
        let withheld = client.withheld;
        if withheld.is_some_and(|withheld| withheld.meets(question)) {
            return Verdict::deny(Reason::ConsentWithdrawn);
        }
        let Some(cause) = self.grant(principal, &Walk { client, selected: Some(&*principal.allow), request, levels })
        else {
            return Verdict::deny(Reason::NotGranted);
        };
        match principal.client.grants {
            Some(grants) if !grants.iter().any(|grant| grant.permits(request)) => {
                let reached = grants.iter().any(|grant| grant.reaches(request));
                Verdict::deny(if reached { Reason::TokenTypeMismatch } else { Reason::NotGrantedByToken })
            }
            _ => Verdict::Allow(Allowed::new(cause)),
        }
    }

    /// Whether anything within a filter could be allowed to a client, with some QoS and retain flag. An upper bound.
    pub(crate) fn could_grant(&self, principal: &Principal<'_>, action: Action, filter: Filter<'_>) -> bool {
        let target = match (action, TopicName::parse("any")) {
            (Action::Publish, Ok(name)) => Target::Publish(name),
            _ => Target::Subscribe(filter),
        };
        let flags = (0..=2).flat_map(|qos| [false, true].map(|retain| (Qos::try_from(qos).ok(), Some(retain))));
        with_levels(filter, |levels| {
            flags.into_iter().any(|(qos, retain)| {
                let request = &Request { target, qos, retain, notation: Notation::Mqtt };
                let client = &principal.client;
                let question =
                    &Question { target: Target::Subscribe(filter), levels, client, dotted: false, whole: true };
                let refused = self.deny.first(principal, request, question, &self.written).is_some()
                    || client.withheld.is_some_and(|withheld| withheld.cover(filter));
                let allows = Walk { client, selected: Some(&*principal.allow), request, levels };
                !refused && self.allow.first(&allows, Asked::Overlapped(filter)).is_some()
            })
        })
    }

    fn grant(&self, principal: &Principal<'_>, allows: &Walk<'_>) -> Option<Cause<'_>> {
        if let Some(rule) = self.allow.grants(allows) {
            return Some(self.cause(rule));
        }
        let space = Walk { selected: None, ..*allows };
        (principal.client.superuser && self.space.grants(&space).is_some()).then_some(Cause::Reason(Reason::Superuser))
    }

    fn cause(&self, rule: u32) -> Cause<'_> {
        let named = usize::try_from(rule).ok().and_then(|rule| self.rules.get(rule)).and_then(|(policy, index)| {
            let policy = self.policies.get(usize::try_from(*policy).ok()?)?;
            Some(RuleRef { namespace: &self.namespace, policy, index: *index })
        });
        named.map_or(Cause::Reason(Reason::InternalError), Cause::Rule)
    }
}

/// Whether one topic of a rule applies to a request of a client, whatever else the rule says: found as if it were the
/// only one.
pub(crate) fn topic_applies(topic: &Topic, effect: Effect, client: &Client<'_>, request: &Request<'_>) -> bool {
    let dotted = request.notation == Notation::Dotted;
    with_levels(request.filter(), |levels| match effect {
        Effect::Deny => meets(Some(topic), &Question { target: request.target, levels, client, dotted, whole: false }),
        Effect::Allow => {
            let mut trie = Trie::default();
            trie.insert(topic, Entry::UNCONDITIONAL);
            trie.finish();
            let walk = Walk { client, selected: None, request, levels };
            trie.grants(&walk).is_some()
        }
    })
}

/// A principal whose audiences were found earlier.
pub(crate) fn known_principal<'a>(client: Client<'a>, allow: &'a AudienceSet, deny: &'a AudienceSet) -> Principal<'a> {
    Principal { client, allow: Belongs::Known(allow), deny: Belongs::Known(deny) }
}

#[derive(Default)]
struct Builder {
    policies: Vec<String>,
    audience_of: Vec<AudienceId>,
    rules: Vec<(u32, u32)>,
    audiences: Audiences,
    allow: Trie,
    space: Trie,
    space_filters: Vec<Box<str>>,
    /// In the order of rules.
    written: Vec<Written>,
}

impl Builder {
    fn add(&mut self, policy: &Policy) -> Result<(), TemplateError> {
        let audience = self.audiences.intern(&policy.subjects, Effect::Allow);
        // Most policies deny nothing: their audiences need not be known to Deny rules.
        let denies = policy.rules.iter().any(|rule| rule.effect == Effect::Deny);
        let denied = if denies { self.audiences.intern(&policy.subjects, Effect::Deny) } else { audience };
        if self.policies.last() != Some(&policy.name) {
            self.policies.push(policy.name.clone());
            self.audience_of.push(audience);
        }
        let number = u32::try_from(self.policies.len() - 1).unwrap_or(u32::MAX);
        let mut rules: Vec<&Rule> = policy.rules.iter().collect();
        rules.sort_by_key(|rule| rule.index);
        for rule in rules {
            self.rules.push((number, rule.index));
            let id = u32::try_from(self.rules.len() - 1).unwrap_or(u32::MAX);
            let audience = if rule.effect == Effect::Deny { denied } else { audience };
            if rule.effect == Effect::Allow {
                self.allow(rule, Entry::new(id, audience, rule))?;
            }
            self.written.push(Written::of(rule, id, audience)?);
        }
        Ok(())
    }

    fn allow(&mut self, rule: &Rule, entry: Entry) -> Result<(), TemplateError> {
        match &rule.topics {
            Topics::Listed(topics) => topics.iter().try_for_each(|topic| {
                self.allow.insert(&Topic::parse(topic)?, entry);
                Ok(())
            }),
            // The compiler never writes it; granting nothing is the safe reading.
            Topics::Everything => Ok(()),
        }
    }

    fn finish(self, namespace: &str) -> Rules {
        let Self { policies, audience_of, rules, audiences, mut allow, mut space, space_filters, mut written } = self;
        [&mut allow, &mut space].into_iter().for_each(Trie::finish);
        let deny = Denies::new(&written);
        written.sort_by_key(Written::key);
        let namespace = namespace.to_owned();
        Rules { namespace, policies, audience_of, rules, audiences, allow, deny, space, space_filters, written }
    }
}

/// What a rule says besides its topics, packed beside each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conditions {
    publish: bool,
    subscribe: bool,
    /// One bit a QoS level; zero means that the rule does not ask.
    qos: u8,
    retain: Option<bool>,
}

impl Conditions {
    pub(crate) const NONE: Self = Self { publish: true, subscribe: true, qos: 0, retain: None };

    /// Those of a rule.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        // An empty list of levels is malformed; as "does not ask" it would widen an Allow, so it is no level at all.
        const NO_LEVEL: u8 = 0x80;
        let Rule { index: _, effect: _, actions, topics: _, qos, retain } = rule;
        let bits = qos.as_ref().map_or(0, |levels| levels.iter().fold(NO_LEVEL, |bits, level| bits | level.bit()));
        Self {
            publish: actions.contains(&Action::Publish),
            subscribe: actions.contains(&Action::Subscribe),
            qos: bits,
            retain: *retain,
        }
    }

    /// Whether the rule is about an action.
    #[must_use]
    pub fn concern(self, action: Action) -> bool {
        match action {
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
        }
    }

    /// The QoS levels that the rule is about; `None` where it does not ask.
    #[must_use]
    pub fn qos(self) -> Option<BTreeSet<Qos>> {
        let levels = (0..=2).filter_map(|level| Qos::try_from(level).ok()).filter(|qos| self.qos & qos.bit() != 0);
        (self.qos != 0).then(|| levels.collect())
    }

    /// The retain flag of publishes that the rule is about; `None` where it does not ask.
    #[must_use]
    pub fn retain(self) -> Option<bool> {
        self.retain
    }

    /// Whether the rule is about the request. What the broker does not tell holds for a Deny and fails for an Allow.
    #[must_use]
    pub fn hold(self, request: &Request<'_>, effect: Effect) -> bool {
        self.hold_for(request.action(), request.qos, request.retain, effect)
    }

    pub(crate) fn hold_for(self, action: Action, qos: Option<Qos>, retain: Option<bool>, effect: Effect) -> bool {
        let unknown = effect == Effect::Deny;
        let told_qos = self.qos == 0 || qos.map_or(unknown, |qos| self.qos & qos.bit() != 0);
        match action {
            Action::Subscribe => self.subscribe && told_qos,
            Action::Publish => {
                let wanted = |wanted| retain.map_or(unknown, |given| given == wanted);
                self.publish && told_qos && self.retain.is_none_or(wanted)
            }
        }
    }
}

impl Request<'_> {
    fn filter(&self) -> Filter<'_> {
        match self.target {
            Target::Publish(name) => name.into(),
            Target::Subscribe(filter) => filter,
        }
    }
}

impl Trie {
    fn grants(&self, walk: &Walk<'_>) -> Option<u32> {
        self.first(walk, Asked::Covered(walk.request.filter()))
    }
}
