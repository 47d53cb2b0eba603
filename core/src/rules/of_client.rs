//! What one client's rules say, written out: for brokers that evaluate rules themselves, and for people who ask why.
//!
//! [`Rules::decide`] never makes this list; a request judged by it gets the same verdict.

use super::{Conditions, Principal, Rules, Withheld};
use crate::audience::AudienceId;
use crate::policy::{Effect, Rule, Topics};
use crate::template::{ClientTopic, TemplateError, Topic};
use crate::verdict::{Cause, Reason};

/// A rule as it was written, with its topics parsed.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) rule: u32,
    pub(super) audience: AudienceId,
    pub(super) effect: Effect,
    pub(super) conditions: Conditions,
    /// `None`: every topic there is.
    topics: Option<Vec<Topic>>,
}

/// One topic of one rule, as it stands for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRule<'i> {
    /// The rule; of a superuser's topic space the reason `Superuser`.
    pub cause: Cause<'i>,
    /// Allow or Deny.
    pub effect: Effect,
    /// The actions, QoS levels and retain flags that it is about.
    pub conditions: Conditions,
    /// The topics, without variables.
    pub topic: ClientTopic,
}

impl Written {
    pub(super) fn of(rule: &Rule, number: u32, audience: AudienceId) -> Result<Self, TemplateError> {
        let topics = match &rule.topics {
            Topics::Listed(topics) => Some(topics.iter().map(|text| Topic::parse(text)).collect::<Result<_, _>>()?),
            Topics::Everything => None,
        };
        Ok(Self { rule: number, audience, effect: rule.effect, conditions: Conditions::of(rule), topics })
    }

    /// For finding those of an audience, in the order of causes.
    pub(super) fn key(&self) -> (AudienceId, u32) {
        (self.audience, self.rule)
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.as_ref().map_or(1, Vec::len)
    }

    /// The topics; just `None` where they are every topic there is.
    pub(super) fn topics_or_everything(&self) -> impl Iterator<Item = Option<&Topic>> {
        let everything = self.topics.is_none().then_some(None);
        everything.into_iter().chain(self.topics.iter().flatten().map(Some))
    }
}

impl Rules {
    /// Every rule that concerns a client, topic by topic: first what is denied to it, then what is allowed, each in the order
    /// in which verdicts prefer them. What is withheld from its tenant stands behind the Denies of policies. What its tokens grant ([`crate::client::Client::grants`]) narrows it further.
    ///
    /// A topic that says nothing for the client (an Allow with a value that cannot be used) is left out. Costs the
    /// client's own rules, not those of others.
    #[must_use]
    pub fn of_client<'i>(&'i self, principal: &Principal<'_>) -> Vec<ClientRule<'i>> {
        let mut found: Vec<(Effect, u32, ClientRule<'i>)> = Vec::new();
        for (effect, selected) in [(Effect::Deny, &principal.deny), (Effect::Allow, &principal.allow)] {
            let rules = selected.iter().flat_map(|audience| self.written_for(*audience));
            let rules = rules.filter(|written| written.effect == effect);
            found.extend(rules.flat_map(|written| {
                let topics = written.topics_for(principal);
                topics.into_iter().map(|topic| (effect, written.rule, self.client_rule(written, topic)))
            }));
        }
        // The sort is stable: topics stay in the order of their rule.
        found.sort_by_key(|(effect, rule, _)| (*effect == Effect::Allow, *rule));
        let space = self.space_filters.iter().filter(|_| principal.client.superuser).map(|filter| ClientRule {
            cause: Cause::Reason(Reason::Superuser),
            effect: Effect::Allow,
            conditions: Conditions::NONE,
            topic: ClientTopic::Filter(filter.to_string()),
        });
        let allows = found.partition_point(|(effect, _, _)| *effect == Effect::Deny);
        let allows = found.split_off(allows);
        let denies = found.into_iter().map(|(_, _, rule)| rule);
        let withheld = principal.client.withheld.into_iter().flat_map(Withheld::rules);
        denies.chain(withheld).chain(allows.into_iter().map(|(_, _, rule)| rule)).chain(space).collect()
    }

    /// How many topics the rules have that concern a client: a bound on what [`Rules::of_client`] gives.
    pub(super) fn count_topics(&self, principal: &Principal<'_>) -> usize {
        let audiences = [(Effect::Deny, &principal.deny), (Effect::Allow, &principal.allow)].into_iter();
        let rules = audiences.flat_map(|(effect, selected)| {
            let rules = selected.iter().flat_map(|audience| self.written_for(*audience));
            rules.filter(move |written| written.effect == effect)
        });
        let withheld = principal.client.withheld.map_or(0, Withheld::len);
        withheld + rules.map(Written::topic_count).sum::<usize>()
    }

    fn written_for(&self, audience: AudienceId) -> impl Iterator<Item = &Written> {
        let start = self.written.partition_point(|written| written.audience < audience);
        self.written.iter().skip(start).take_while(move |written| written.audience == audience)
    }

    fn client_rule(&self, written: &Written, topic: ClientTopic) -> ClientRule<'_> {
        let Written { rule, audience: _, effect, conditions, topics: _ } = written;
        ClientRule { cause: self.cause(*rule), effect: *effect, conditions: *conditions, topic }
    }
}

impl Written {
    fn topics_for(&self, principal: &Principal<'_>) -> Vec<ClientTopic> {
        let Some(topics) = &self.topics else {
            // The compiler never writes it for an Allow; granting nothing is the safe reading.
            let all = (self.effect == Effect::Deny).then_some(ClientTopic::Everything);
            return all.into_iter().collect();
        };
        let value = |variable: &_| principal.client.variable(variable);
        topics.iter().filter_map(|topic| topic.for_client(self.effect, value)).collect()
    }
}
