//! Claims of two tenants of which neither was published: nothing but their age tells whose they are.

use std::borrow::Cow;

use super::book::Book;
use super::{Claimant, Collision, Outcome, Witness, consent, resolve};
use crate::bundle::Claims;

/// What two tenants want and neither has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// Their places in the list of claimants.
    pub tenants: [usize; 2],
    /// What both would own.
    pub witness: Witness,
}

/// Finds the claims that [`resolve`] would give to the older of two tenants only because it is older.
#[must_use]
pub fn contests(claimants: &[Claimant<'_>]) -> Vec<Contest> {
    // Most tenants are in nobody's way, and comparing all pairs takes a while.
    if resolve(claimants).iter().all(|outcome| matches!(outcome, Outcome::Granted)) {
        return Vec::new();
    }
    let held: Vec<Option<Cow<'_, Claims>>> = claimants.iter().map(consent::held).collect();
    let side = |place: usize| {
        let claimant = claimants.get(place)?;
        Some(Side { place, held: held.get(place)?.as_deref(), published: claimant.published, wanted: claimant.wanted? })
    };
    let sides: Vec<Side<'_>> = (0..claimants.len()).filter_map(side).collect();
    let pairs = sides.iter().enumerate().flat_map(|(at, one)| sides.iter().skip(at + 1).map(move |other| (one, other)));
    let contest = |(one, other): (&Side<'_>, &Side<'_>)| {
        let decided = one.meets(other.place, other.held).or_else(|| other.meets(one.place, one.held));
        let collision = one.meets(other.place, Some(other.wanted)).filter(|_| decided.is_none())?;
        Some(Contest { tenants: [one.place, other.place], witness: collision.witness })
    };
    pairs.filter_map(contest).collect()
}

struct Side<'a> {
    place: usize,
    held: Option<&'a Claims>,
    published: Option<&'a Claims>,
    wanted: &'a Claims,
}

impl Side<'_> {
    /// What it wants of another tenant's claims.
    fn meets(&self, other: usize, claims: Option<&Claims>) -> Option<Collision> {
        let mut book = Book::default();
        book.enter(other, claims?);
        book.collision(self.place, self.wanted, self.published)
    }
}
