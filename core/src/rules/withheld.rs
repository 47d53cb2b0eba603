//! Topics that a tenant's clients may not use because they belong to another tenant alone: see [`crate::claims::withheld`].

use super::levels::with_levels;
use super::trie::{Entry, Trie};
use super::walk::{Asked, Walk};
use super::{ClientRule, Conditions};
use crate::client::Client;
use crate::policy::Effect;
use crate::template::{ClientTopic, MAX_TEMPLATE_BYTES, Topic};
use crate::topic::Filter;
use crate::verdict::{Cause, Reason, Request};

/// Filters that are denied to every client of a tenant, whatever its policies say.
#[derive(Debug, Default)]
pub struct Withheld {
    filters: Vec<Box<str>>,
    trie: Trie,
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
        for filter in &withheld.filters {
            // A walk goes as deep as the longest path: see `trie`.
            if filter.len() <= MAX_TEMPLATE_BYTES && Filter::parse(filter).is_ok() {
                withheld.trie.insert_filter(&Topic::Exact(filter.clone()), Entry::UNCONDITIONAL);
            } else {
                withheld.everything = true;
            }
        }
        withheld.trie.finish();
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
        !self.is_empty() && with_levels(request.filter(), |levels| self.refuses_levels(client, request, levels))
    }

    pub(super) fn refuses_levels(&self, client: &Client<'_>, request: &Request<'_>, levels: &[&str]) -> bool {
        let walk = Walk { client, selected: Entry::UNCONDITIONAL_AUDIENCE, request, effect: Effect::Deny, levels };
        !self.is_empty() && (self.everything || self.trie.refuses(&walk).is_some())
    }

    /// Whether nothing at all of a filter is left.
    pub(super) fn covers(&self, walk: &Walk<'_>, filter: Filter<'_>) -> bool {
        let walk = Walk { selected: Entry::UNCONDITIONAL_AUDIENCE, effect: Effect::Deny, ..*walk };
        !self.is_empty() && (self.everything || self.trie.first(&walk, Asked::CoveredWhole(filter)).is_some())
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
