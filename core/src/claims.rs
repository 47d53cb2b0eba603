//! Who owns what on one broker: instance IDs, client-ID prefixes and parts of the topic space.
//!
//! What is already published goes first, then the older tenant. A tenant whose wishes collide keeps what it had
//! published. The same function decides in the operator, which publishes only what was granted, and in the sidecar,
//! which so refuses a second owner even if two operators raced.
//!
//! Topics differ from the rest in one way: two tenants may own the same ones by mutual consent, and consent can be
//! withdrawn. What two published tenants own without it is no collision: it belongs to the older one alone, and
//! [`withheld`] tells what is denied to the clients of the other. Every sidecar works that out from the claims of the
//! bundles that it serves, so no field of a bundle says it: a field would be as old as the bundle that it stands in, and
//! the other tenant's consent could have ended since.

mod book;
mod consent;
mod contested;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::bundle::{Claims, UnixSeconds};
use book::Book;
pub use consent::{Overlap, kept, withheld};
pub use contested::{Contest, contests};

/// A tenant with its wishes.
#[derive(Debug, Clone)]
pub struct Claimant<'a> {
    /// When it was created; the older goes first.
    pub created: UnixSeconds,
    /// Its namespace; settles a tie.
    pub namespace: &'a str,
    /// Its name; settles a tie.
    pub name: &'a str,
    /// What the index in force says, if there is one.
    pub published: Option<&'a Claims>,
    /// What its resource says now; `None` where it is gone or unreadable.
    pub wanted: Option<&'a Claims>,
}

/// What became of one claimant's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It owns what it wants.
    Granted,
    /// It still owns what it had published ([`kept`]), and nothing more.
    Kept(Option<Collision>),
    /// It owns nothing.
    Refused(Collision),
}

/// Two tenants want the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// Place of the tenant that holds it in the list of claimants. For the log; the loser is not told.
    pub holder: usize,
    /// What both would own.
    pub witness: Witness,
}

/// Something that two tenants would both own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// An instance ID.
    InstanceId(String),
    /// A client ID, or the prefix of all that both would own.
    ClientId(String),
    /// A topic name.
    Topic(String),
}

/// Decides for every claimant of one broker; the answers are in the order of the claimants.
#[must_use]
pub fn resolve(claimants: &[Claimant<'_>]) -> Vec<Outcome> {
    let order = by_age(claimants);
    let held: Vec<Option<Cow<'_, Claims>>> = claimants.iter().map(consent::held).collect();
    let held = |place: usize| held.get(place).and_then(Option::as_deref);
    let mut book = Book::default();
    let mut lost: BTreeMap<usize, Collision> = BTreeMap::new();
    for place in &order {
        if let Some(published) = held(*place) {
            match book.collision(*place, published, Some(published)) {
                Some(collision) => _ = lost.insert(*place, collision),
                None => book.enter(*place, published),
            }
        }
    }
    let mut outcomes = vec![Outcome::Kept(None); claimants.len()];
    for place in order {
        let Some((claimant, outcome)) = claimants.get(place).zip(outcomes.get_mut(place)) else {
            continue;
        };
        *outcome = judge(&mut book, place, claimant, lost.remove(&place));
    }
    outcomes
}

/// The places of claimants, the oldest first.
fn by_age(claimants: &[Claimant<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..claimants.len()).collect();
    order.sort_by_key(|place| claimants.get(*place).map(|c| (c.created, c.namespace, c.name)));
    order
}

fn judge<'a>(book: &mut Book<'a>, place: usize, claimant: &Claimant<'a>, lost: Option<Collision>) -> Outcome {
    let before = claimant.published.filter(|_| lost.is_none());
    let collision = match claimant.wanted {
        Some(wanted) => match book.collision(place, wanted, before) {
            None => {
                book.enter(place, wanted);
                return Outcome::Granted;
            }
            collision => collision,
        },
        None => None,
    };
    match (lost.or_else(|| collision.clone().filter(|_| claimant.published.is_none())), collision) {
        (Some(lost), _) => Outcome::Refused(lost),
        (None, collision) => Outcome::Kept(collision),
    }
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InstanceId(id) => write!(f, "instance ID `{id}`"),
            Self::ClientId(id) => write!(f, "client ID `{id}`"),
            Self::Topic(topic) => write!(f, "topic `{topic}`"),
        }
    }
}
