//! Topics that a tenant's clients may not use because they belong to another tenant alone: see [`crate::claims::withheld`].

use super::levels::with_levels;
use super::overlap::Question;
use super::{ClientRule, Conditions, filter_meets};
use crate::client::Client;
use crate::policy::Effect;
use crate::template::ClientTopic;
use crate::topic::{Filter, covers};
use crate::verdict::{Cause, Notation, Reason, Request};

/// Filters that are denied to every client of a tenant, whatever its policies say.
#[derive(Debug, Default)]
pub struct Withheld {
    filters: Vec<Box<str>>,
    /// Whether one of the filters cannot be read: it may be any, so everything is denied.
    everything: bool,
}

impl PartialEq for Withheld {
    fn eq(&self, other: &Self) -> bool {
        self.filters == other.filters
    }
}

impl Eq for Withheld {}

impl Withheld {
    /// Denies some filters.
    #[must_use]
    pub fn new<'f>(filters: impl IntoIterator<Item = &'f str>) -> Self {
        let mut withheld = Self { filters: filters.into_iter().map(Box::from).collect(), ..Self::default() };
        withheld.filters.sort_unstable();
        withheld.filters.dedup();
        withheld.everything = withheld.filters.iter().any(|filter| Filter::parse(filter).is_err());
        withheld
    }

    /// The filters, in the order of their text.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(AsRef::as_ref)
    }

    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether nothing is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether a request is denied: a publish to a topic of a filter, a subscription that overlaps one.
    #[must_use]
    pub fn refuses(&self, client: &Client<'_>, request: &Request<'_>) -> bool {
        let dotted = request.notation == Notation::Dotted;
        with_levels(request.filter(), |levels| {
            self.meets(&Question { target: request.target, levels, client, dotted, whole: false })
        })
    }

    /// The tenants that a broker lets share topics are few, and so are these filters: they are compared one by one.
    pub(super) fn meets(&self, question: &Question<'_>) -> bool {
        self.everything || self.filters.iter().any(|filter| filter_meets(filter, question))
    }

    /// Tells that nothing at all of a filter is left.
    pub(super) fn cover(&self, filter: Filter<'_>) -> bool {
        let covers_it = |own: &str| Filter::parse(own).is_ok_and(|own| covers(own, filter));
        self.everything || self.filters.iter().any(|own| covers_it(own))
    }

    /// The same as rules, one for each filter.
    pub(super) fn rules<'i>(&self) -> impl Iterator<Item = ClientRule<'i>> {
        self.filters.iter().map(|filter| ClientRule {
            cause: Cause::Reason(Reason::ConsentWithdrawn),
            effect: Effect::Deny,
            conditions: Conditions::NONE,
            topic: match Filter::parse(filter) {
                Ok(_) => ClientTopic::Filter(filter.to_string()),
                Err(_) => ClientTopic::Everything,
            },
        })
    }
}
