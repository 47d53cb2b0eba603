//! Why a client may or may not do something: the verdict, the rule behind it, and the rules that nearly were.
//!
//! The verdict is [`Rules::decide`]'s own. What stands beside it is found in another way, by asking every rule of the tenant by
//! itself, which is far too slow for an answer to a broker and just right for a person who asks.

mod compare;
mod near;
mod open;
mod shown;
mod subject;
mod who;
mod why;

use crate::bundle::UnixSeconds;
use crate::index::Persona;
use crate::policy::{Effect, Policy, Rule, Topics};
use crate::rules::{ClientRule, Conditions, Principal, Rules, topic_applies};
use crate::template::Topic;
use crate::topic::Filter;
use crate::verdict::{Cause, Reason, Request, RuleRef, Target, Verdict};

pub use compare::{Change, changes, holds_whenever};
pub use open::{OpenRule, OpenValues};
pub use shown::{ShownClient, ShownExplanation, ShownRule};
pub use subject::{SubjectField, Unmet};
pub use who::{Unidentified, Who};
pub use why::{ValueFault, Why};

/// How many rules an explanation lists of a kind; of the others it tells the number.
pub const MAX_LISTED: usize = 100;

/// A verdict with everything that helps to understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'i> {
    /// What the rules say.
    pub verdict: Verdict<'i>,
    /// Whether the client could log in at all; a reason stands above every rule.
    pub admitted: Result<(), Reason>,
    /// The rules that match: what decided comes first, Deny before Allow.
    pub matched: Listed<Matched<'i>>,
    /// The rules that would match if one thing were different, those that lack least first.
    pub near: Listed<NearMiss<'i>>,
    /// The revision of the bundle that was asked.
    pub revision: u64,
}

/// The first [`MAX_LISTED`] of some rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Those that are listed.
    pub rules: Vec<T>,
    /// How many more there are.
    pub omitted: usize,
}

/// A rule that matches the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'i> {
    /// The rule; for a superuser's topic space the reason `Superuser`, for another tenant's topics `ConsentWithdrawn`.
    pub cause: Cause<'i>,
    /// Allow or Deny.
    pub effect: Effect,
    /// The first of its topics that matches, as it was written; `None` for a Deny of every topic, which stands for one that cannot
    /// be read, and for another tenant's topics.
    pub topic: Option<&'i str>,
}

/// A rule that nearly matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss<'i> {
    /// The rule.
    pub rule: RuleRef<'i>,
    /// Allow or Deny.
    pub effect: Effect,
    /// The topic of it that comes nearest, as it was written; `None` as in [`Matched`].
    pub topic: Option<&'i str>,
    /// The one thing that is different.
    pub why: Why,
}

impl<'i> Explanation<'i> {
    /// What the client is told: the verdict, unless it could not log in.
    #[must_use]
    pub fn outcome(&self) -> Verdict<'i> {
        self.admitted.map_or_else(Verdict::deny, |()| self.verdict)
    }

    /// The rule that decided, with the topic in it that did; none where nothing was granted, or a token or the login was
    /// in the way.
    #[must_use]
    pub fn deciding(&self) -> Option<&Matched<'i>> {
        self.admitted.ok()?;
        self.matched.rules.first().filter(|matched| matched.cause == self.verdict.cause())
    }
}

impl<'i> Persona<'i> {
    /// The topic of one of this client's rules as it was written.
    #[must_use]
    pub fn written(&self, rule: &ClientRule<'_>) -> Option<&'i str> {
        let Cause::Rule(RuleRef { policy: name, index, .. }) = rule.cause else { return None };
        let principal = self.principal();
        let rules =
            self.tenant().policies().iter().filter(|policy| policy.name == name).flat_map(|policy| &policy.rules);
        let topics = rules.filter(|rule| rule.index == index).filter_map(|rule| match &rule.topics {
            Topics::Listed(topics) => Some(topics),
            Topics::Everything => None,
        });
        topics.flatten().map(String::as_str).find(|text| {
            let rendered = Topic::parse(text)
                .ok()
                .and_then(|topic| topic.for_client(rule.effect, |variable| principal.client().variable(variable)));
            rendered.as_ref() == Some(&rule.topic)
        })
    }

    /// Explains what this client may do.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>, now: UnixSeconds) -> Explanation<'i> {
        let tenant = self.tenant();
        let explanation = explain(tenant.rules(), tenant.policies(), &self.principal(), request);
        Explanation { admitted: self.admitted(now), revision: tenant.revision(), ..explanation }
    }
}

/// Explains what some rules say of a client. `policies` are those that the rules were compiled from.
#[must_use]
pub fn explain<'i>(
    rules: &'i Rules,
    policies: &'i [Policy],
    principal: &Principal<'_>,
    request: &Request<'_>,
) -> Explanation<'i> {
    let verdict = rules.decide(principal, request);
    let (mut matched, mut near) = (Vec::new(), Vec::new());
    for policy in policies {
        let subjects = subject::Selected::of(policy, principal.client());
        for rule in &policy.rules {
            let named = RuleRef { namespace: rules.namespace(), policy: &policy.name, index: rule.index };
            let asked = Asked { rule, principal, request };
            match asked.judge(&subjects) {
                Judged::Matches(topic) => {
                    matched.push(Matched { cause: Cause::Rule(named), effect: rule.effect, topic });
                }
                Judged::Nearly(topic, why) => near.push(NearMiss { rule: named, effect: rule.effect, topic, why }),
                Judged::Differs => {}
            }
        }
    }
    matched.sort_by_key(|matched| (matched.effect == Effect::Allow, rule_of(matched.cause)));
    near.sort_by_key(|miss| (miss.why.rank(), miss.rule));
    match verdict.cause() {
        Cause::Reason(Reason::Superuser) => matched.insert(0, superuser(rules, request)),
        cause @ Cause::Reason(Reason::ConsentWithdrawn) => {
            // The filter is another tenant's, which is not shown.
            matched.insert(0, Matched { cause, effect: Effect::Deny, topic: None });
        }
        _ => {}
    }
    Explanation { verdict, admitted: Ok(()), matched: listed(matched), near: listed(near), revision: 0 }
}

fn rule_of(cause: Cause<'_>) -> Option<RuleRef<'_>> {
    match cause {
        Cause::Rule(rule) => Some(rule),
        Cause::Reason(_) => None,
    }
}

fn superuser<'i>(rules: &'i Rules, request: &Request<'_>) -> Matched<'i> {
    let reaches = |filter: &&str| Filter::parse(filter).is_ok_and(|filter| near::covers_request(filter, request));
    let topic = rules.space().find(reaches);
    Matched { cause: Cause::Reason(Reason::Superuser), effect: Effect::Allow, topic }
}

fn listed<T>(mut rules: Vec<T>) -> Listed<T> {
    let omitted = rules.len().saturating_sub(MAX_LISTED);
    rules.truncate(MAX_LISTED);
    Listed { rules, omitted }
}

/// What became of one rule.
enum Judged<'i> {
    Matches(Option<&'i str>),
    Nearly(Option<&'i str>, Why),
    Differs,
}

/// One rule, and who asks for what.
struct Asked<'a, 'i> {
    rule: &'i Rule,
    principal: &'a Principal<'a>,
    request: &'a Request<'a>,
}

impl<'i> Asked<'_, 'i> {
    /// A rule nearly matches when exactly one of subject, action, QoS, retain flag and topic does not.
    fn judge(&self, subjects: &subject::Selected) -> Judged<'i> {
        let mut differs = self.conditions();
        if !subjects.hold(self.rule.effect) {
            differs.push(Why::Subject(subjects.unmet(self.rule.effect)));
        }
        let mut differs = differs.into_iter();
        let (one, None) = (differs.next(), differs.next()) else { return Judged::Differs };
        let Topics::Listed(topics) = &self.rule.topics else {
            // Every topic there is; an Allow of that is none.
            return match (self.rule.effect, one) {
                (Effect::Allow, _) => Judged::Differs,
                (Effect::Deny, None) => Judged::Matches(None),
                (Effect::Deny, Some(why)) => Judged::Nearly(None, why),
            };
        };
        let parsed = || topics.iter().filter_map(|text| Some((text.as_str(), Topic::parse(text).ok()?)));
        let client = self.principal.client();
        let found = parsed().find(|(_, topic)| topic_applies(topic, self.rule.effect, client, self.request));
        match (found, one) {
            (Some((text, _)), None) => Judged::Matches(Some(text)),
            (Some((text, _)), Some(why)) => Judged::Nearly(Some(text), why),
            (None, Some(_)) => Judged::Differs,
            (None, None) => parsed()
                .filter_map(|(text, topic)| {
                    Some((text, near::why(text, &topic, self.rule.effect, client, self.request)?))
                })
                .min_by_key(|(_, why)| why.rank())
                .map_or(Judged::Differs, |(text, why)| Judged::Nearly(Some(text), why)),
        }
    }

    /// The conditions beside the subjects and topics that do not hold.
    fn conditions(&self) -> Vec<Why> {
        let Self { rule, request, .. } = self;
        let conditions = Conditions::of(rule);
        if conditions.hold(request, rule.effect) {
            return Vec::new();
        }
        // What is not told holds for a Deny and fails for an Allow.
        let untold = rule.effect == Effect::Deny;
        let action = (!conditions.concern(request.action())).then_some(Why::Action);
        let levels = conditions.qos().filter(|levels| !request.qos.map_or(untold, |qos| levels.contains(&qos)));
        let qos = levels.map(|levels| Why::Qos { levels, asked: request.qos });
        let publishes = matches!(request.target, Target::Publish(_));
        let retain = conditions.retain().filter(|_| publishes);
        let retain = retain.filter(|wanted| !request.retain.map_or(untold, |given| given == *wanted));
        let retain = retain.map(|wanted| Why::Retain { wanted, asked: request.retain });
        [action, qos, retain].into_iter().flatten().collect()
    }
}
