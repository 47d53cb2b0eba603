//! Consent of two tenants to own the same topics, and what becomes of the topics when one of them withdraws it.

use std::borrow::Cow;

use super::book::{Book, common_topic};
use super::{Claimant, by_age};
use crate::bundle::{Claims, Space};
use crate::topic::{Filter, overlaps};

/// Topics that two tenants own although not both name the other in `sharedWith`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    /// Place of the owner, which is the older tenant, in the list of claimants.
    pub owner: usize,
    /// The filter of the owner: denied to the clients of the other tenant.
    pub filter: String,
    /// The filter of the other tenant.
    pub other_filter: String,
    /// A topic of both.
    pub witness: String,
}

/// Finds what is withheld from each tenant of a broker, in the order of the claimants, by what they have published.
///
/// Of two tenants that own the same topics without mutual consent, those belong to the older one. The filters of that one
/// are denied to the clients of the other.
#[must_use]
pub fn withheld(claimants: &[Claimant<'_>]) -> Vec<Vec<Overlap>> {
    let mut found = vec![Vec::new(); claimants.len()];
    let mut book = Book::default();
    for place in by_age(claimants) {
        let Some(published) = claimants.get(place).and_then(|claimant| claimant.published) else { continue };
        let mut own = Vec::new();
        for space in &published.topic_space {
            own.extend(book.unshared(place, &published.instance_id, space).filter_map(|owned| {
                let (filter, other_filter) = (owned.space.filter.clone(), space.filter.clone());
                let witness = common_topic(&filter, &other_filter)?;
                Some(Overlap { owner: owned.owner, filter, other_filter, witness })
            }));
        }
        own.sort();
        if let Some(found) = found.get_mut(place) {
            *found = own;
        }
        book.enter(place, published);
    }
    found
}

/// The claims of a tenant that may not have what it wants: those that it had published, shared as it wants now.
///
/// A withdrawn consent counts at once, whatever else the tenant wants and does not get.
#[must_use]
pub fn kept<'a>(published: &'a Claims, wanted: Option<&Claims>) -> Cow<'a, Claims> {
    shared_as(published, wanted, |_, now| now)
}

/// What a claimant had published, shared as far as it was and still is: a consent that is new counts for others when it is
/// published, and one that was withdrawn counts no more.
pub(super) fn held<'a>(claimant: &Claimant<'a>) -> Option<Cow<'a, Claims>> {
    let both =
        |before: &Space, now: Vec<String>| now.into_iter().filter(|id| before.shared_with.contains(id)).collect();
    Some(shared_as(claimant.published?, claimant.wanted, both))
}

fn shared_as<'a>(
    published: &'a Claims,
    wanted: Option<&Claims>,
    choose: impl Fn(&Space, Vec<String>) -> Vec<String>,
) -> Cow<'a, Claims> {
    let mut claims = Cow::Borrowed(published);
    for (place, space) in published.topic_space.iter().enumerate() {
        let Some(now) = wanted.and_then(|wanted| consent(space, wanted)) else { continue };
        let chosen = choose(space, now);
        if chosen != space.shared_with
            && let Some(space) = claims.to_mut().topic_space.get_mut(place)
        {
            space.shared_with = chosen;
        }
    }
    claims
}

/// With whom a tenant wants to share a filter: those that each overlapping filter of its wishes names. `None` where it does
/// not want the filter any more.
fn consent(space: &Space, wanted: &Claims) -> Option<Vec<String>> {
    let meets = |other: &&Space| match (Filter::parse(&space.filter), Filter::parse(&other.filter)) {
        (Ok(own), Ok(other)) => overlaps(own, other),
        _ => true,
    };
    let mut wishes = wanted.topic_space.iter().filter(meets);
    let mut named = wishes.next()?.shared_with.clone();
    wishes.for_each(|other| named.retain(|id| other.shared_with.contains(id)));
    Some(named)
}
