//! The slow, obvious engine: docs/semantics.md sections 1 to 3, sentence by sentence, over strings.
//!
//! It exists so that the fast engine (`mqtt_access_core::rules`) has something to agree with, and therefore shares with
//! it only the plain data of policies, clients and requests. What it needs of topics it decides by looking at names:
//!
//! ```text
//!   names::Names      a filter as the set of names that it matches: contains, covers, overlaps
//!   entry::Entry      one entry of a rule's `topics`, rendered for one client
//!   value             the client's variables and attributes, and which of them may be used
//!   subject           which clients a policy selects
//! ```

#![expect(clippy::indexing_slicing, clippy::string_slice, reason = "a panic here is a failed test")]

mod entry;
mod names;
mod prefix;
mod subject;
mod value;

use mqtt_access_core::client::{Client, Grant};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Topics};
use mqtt_access_core::rules::Withheld;
use mqtt_access_core::verdict::{Cause, Notation, Reason, Request, RuleRef, Target};

use entry::{Entry, Rendered};
pub use names::{Names, is_filter, is_name};
pub use prefix::{publish_name, subscribe_filter};
pub use subject::glob_matches;

/// Whether the text is valid as an entry of a rule's `topics`, however long.
#[must_use]
pub fn is_entry(text: &str) -> bool {
    Entry::parse(text).is_some()
}

/// One tenant's objects, as they were written.
#[derive(Debug, Clone, Copy)]
pub struct World<'w> {
    /// The tenant's namespace.
    pub namespace: &'w str,
    /// Its policies; nothing has been taken out of them.
    pub policies: &'w [Policy],
    /// The filters of its topic space.
    pub space: &'w [String],
}

/// The answer and its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'w> {
    /// Whether the request may pass.
    pub allow: bool,
    /// Why.
    pub cause: Cause<'w>,
}

impl<'w> World<'w> {
    /// "Allowed when some topic in A .. and no topic in D ..; otherwise denied."
    #[must_use]
    pub fn decide(&self, client: &Client<'_>, request: &Request<'_>) -> Answer<'w> {
        let denies = self.topics(client, request, Effect::Deny).filter(|(_, topic)| topic.refuses(request));
        if let Some(rule) = denies.map(|(rule, _)| rule).min() {
            return Answer { allow: false, cause: Cause::Rule(rule) };
        }
        if withheld(client, request.notation == Notation::Dotted).any(|topic| topic.refuses(request)) {
            return Answer { allow: false, cause: Cause::Reason(Reason::ConsentWithdrawn) };
        }
        let allows = self.topics(client, request, Effect::Allow).filter(|(_, topic)| topic.grants(request));
        let cause = match allows.map(|(rule, _)| rule).min() {
            Some(rule) => Cause::Rule(rule),
            None if client.superuser && self.space_grants(request) => Cause::Reason(Reason::Superuser),
            None => return Answer { allow: false, cause: Cause::Reason(Reason::NotGranted) },
        };
        if client.grants.is_some() && !tokens_grant(client, request, false) {
            // "4 resource does not match, 5 permission type does not match."
            let reached = tokens_grant(client, request, true);
            let reason = if reached { Reason::TokenTypeMismatch } else { Reason::NotGrantedByToken };
            return Answer { allow: false, cause: Cause::Reason(reason) };
        }
        Answer { allow: true, cause }
    }

    /// A and D: "the rendered rules of all policies that apply, filtered by action, qos and retain".
    fn topics(
        &self,
        client: &Client<'_>,
        request: &Request<'_>,
        effect: Effect,
    ) -> impl Iterator<Item = (RuleRef<'w>, Rendered)> {
        let mut found = Vec::new();
        for policy in self.policies.iter().filter(|policy| subject::applies(policy, client, effect)) {
            for rule in policy.rules.iter().filter(|rule| rule.effect == effect) {
                let name = RuleRef { namespace: self.namespace, policy: &policy.name, index: rule.index };
                found.extend(self.rendered(rule, client, request).into_iter().map(|topic| (name, topic)));
            }
        }
        found.into_iter()
    }

    fn rendered(&self, rule: &Rule, client: &Client<'_>, request: &Request<'_>) -> Vec<Rendered> {
        let entries: Vec<Option<Entry>> = match &rule.topics {
            Topics::Listed(entries) => entries.iter().map(|text| Entry::parse(text)).collect(),
            Topics::Everything => vec![None],
        };
        let dotted = request.notation == Notation::Dotted;
        match rule.effect {
            // "An Allow topic that is invalid, or that the topic space does not cover, contributes nothing."
            Effect::Allow if concerns(rule, request, false) => {
                let proven = entries.into_iter().flatten().filter(|entry| entry.lies_in(self.space));
                proven.filter_map(|entry| entry.allow(client, dotted)).collect()
            }
            // "An invalid Deny topic denies everything to the clients its policy selects."
            Effect::Deny if entries.contains(&None) && is_listed(rule) => vec![Rendered::Everything],
            Effect::Deny if concerns(rule, request, true) => entries
                .into_iter()
                .map(|entry| entry.map_or(Rendered::Everything, |it| it.deny(client, dotted)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// "Superuser: Allow on everything in the tenant's topic space."
    fn space_grants(&self, request: &Request<'_>) -> bool {
        self.space.iter().any(|filter| Rendered::Filter(Names::of(filter)).grants(request))
    }

    /// What stands for and against the topics that a request reaches.
    #[must_use]
    pub fn reach(&self, client: &Client<'_>, request: &Request<'_>) -> Reach {
        let rendered = |effect| self.topics(client, request, effect).map(|(_, topic)| topic);
        let space = self.space.iter().filter(|_| client.superuser);
        let of_action = |grant: &&Grant| match request.action() {
            Action::Publish => grant.publish,
            Action::Subscribe => grant.subscribe,
        };
        let tokens = client.grants.map(|grants| grants.iter().filter(of_action));
        Reach {
            allows: rendered(Effect::Allow).collect(),
            denies: withheld(client, false).chain(rendered(Effect::Deny)).collect(),
            space: space.map(|filter| Names::of(filter)).collect(),
            tokens: tokens.map(|tokens| tokens.map(|grant| Names::of(&grant.filter)).collect()),
        }
    }

    /// The policies as the compiler leaves them for the fast engine: "an Allow topic that is invalid, or that the topic
    /// space does not cover, contributes nothing; an invalid Deny topic denies everything".
    #[must_use]
    pub fn compiled(&self) -> Vec<Policy> {
        let compiled = |policy: &Policy| Policy {
            rules: policy.rules.iter().map(|rule| self.compiled_rule(rule)).collect(),
            ..policy.clone()
        };
        self.policies.iter().map(compiled).collect()
    }

    fn compiled_rule(&self, rule: &Rule) -> Rule {
        let Topics::Listed(topics) = &rule.topics else {
            return rule.clone();
        };
        let parsed = |text: &String| Entry::parse(text);
        match rule.effect {
            Effect::Allow => {
                let proven = |text: &&String| parsed(text).is_some_and(|entry| entry.lies_in(self.space));
                let topics = topics.iter().filter(proven).cloned().collect();
                Rule { topics: Topics::Listed(topics), ..rule.clone() }
            }
            Effect::Deny if topics.iter().all(|text| parsed(text).is_some()) => rule.clone(),
            Effect::Deny => Rule {
                actions: [Action::Publish, Action::Subscribe].into(),
                topics: Topics::Everything,
                qos: None,
                retain: None,
                ..rule.clone()
            },
        }
    }
}

/// What one client may reach: for the brute-force proof that an allowed request reaches nothing else.
#[derive(Debug)]
pub struct Reach {
    allows: Vec<Rendered>,
    denies: Vec<Rendered>,
    space: Vec<Names>,
    tokens: Option<Vec<Names>>,
}

impl Reach {
    /// Whether an Allow (or a superuser's space) covers the name, and a token where there are any.
    #[must_use]
    pub fn is_granted(&self, name: &str) -> bool {
        let mut sets = self.allows.iter().map(Rendered::names).chain(self.space.iter().cloned());
        let by_tokens = self.tokens.as_ref().is_none_or(|tokens| tokens.iter().any(|names| names.contains(name)));
        by_tokens && sets.any(|names| names.contains(name))
    }

    /// The same where the broker takes a `.` in a Deny for `/` and a `*` for `+`.
    #[must_use]
    pub fn on_rabbitmq(mut self) -> Self {
        self.denies = self.denies.iter().map(Rendered::on_rabbitmq).collect();
        self
    }

    /// Whether a Deny protects the name.
    #[must_use]
    pub fn is_protected(&self, name: &str) -> bool {
        self.denies.iter().any(|topic| topic.protects(name))
    }
}

/// "It is an implicit Deny on the owner's filter" of whatever the client asks for, without expansion.
fn withheld(client: &Client<'_>, dotted: bool) -> impl Iterator<Item = Rendered> {
    let filters = client.withheld.into_iter().flat_map(Withheld::filters);
    filters.map(move |filter| Entry::literal(filter).deny(client, dotted))
}

fn is_listed(rule: &Rule) -> bool {
    matches!(rule.topics, Topics::Listed(_))
}

/// Whether a rule is about a request. "Where the broker does not tell qos or retain, an Allow restricted by it does not
/// apply and a Deny restricted by it does."
fn concerns(rule: &Rule, request: &Request<'_>, when_untold: bool) -> bool {
    let action = rule.actions.contains(&request.action());
    let qos = match (&rule.qos, request.qos) {
        (None, _) => true,
        (Some(_), None) => when_untold,
        (Some(levels), Some(qos)) => levels.iter().any(|level| u8::from(*level) == u8::from(qos)),
    };
    let retain = match (rule.retain, request.retain) {
        // "`retain` does not restrict subscriptions."
        _ if request.action() == Action::Subscribe => true,
        (None, _) => true,
        (Some(_), None) => when_untold,
        (Some(wanted), Some(given)) => wanted == given,
    };
    action && qos && retain
}

/// "`R` for subscribe, `W` for publish; a resource is a filter, publish needs a match, subscribe needs cover."
fn tokens_grant(client: &Client<'_>, request: &Request<'_>, for_anything: bool) -> bool {
    client.grants.into_iter().flatten().any(|grant| match request.target {
        Target::Publish(name) => (grant.publish || for_anything) && Names::of(&grant.filter).contains(name.as_str()),
        Target::Subscribe(asked) => {
            (grant.subscribe || for_anything) && Names::of(&grant.filter).covers(&Names::of(asked.as_str()))
        }
    })
}
