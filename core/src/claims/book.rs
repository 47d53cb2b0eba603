//! What the tenants of a broker own so far, and who stands in the way of a further claim.

use std::collections::{BTreeMap, HashMap};

use super::{Collision, Witness};
use crate::bundle::{Claims, Space};
use crate::topic::{Filter, Level, covers, intersection, overlap_witness};

/// What is owned so far, with the places of the owners.
#[derive(Default)]
pub(super) struct Book<'a> {
    instances: HashMap<&'a str, usize>,
    prefixes: BTreeMap<&'a str, usize>,
    /// Filters by their literal first level, in an order that is always the same: so is the witness, then.
    rooted: BTreeMap<&'a str, Vec<Owned<'a>>>,
    /// Filters whose first level is a wildcard.
    rootless: Vec<Owned<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct Owned<'a> {
    pub(super) owner: usize,
    instance_id: &'a str,
    pub(super) space: &'a Space,
}

/// No prefix at all is the prefix of every client ID.
fn prefixes(claims: &Claims) -> impl Iterator<Item = &str> {
    let all = claims.client_id_prefixes.is_empty().then_some("");
    claims.client_id_prefixes.iter().map(String::as_str).chain(all)
}

impl<'a> Book<'a> {
    pub(super) fn enter(&mut self, owner: usize, claims: &'a Claims) {
        self.instances.insert(&claims.instance_id, owner);
        prefixes(claims).for_each(|prefix| _ = self.prefixes.insert(prefix, owner));
        for space in &claims.topic_space {
            let entry = Owned { owner, instance_id: &claims.instance_id, space };
            match first_level(&space.filter) {
                Some(level) => self.rooted.entry(level).or_default().push(entry),
                None => self.rootless.push(entry),
            }
        }
    }

    /// What another tenant owns of some claims. Topics that lie within `before`, which the tenant owned already, are none
    /// of it: of those only the consent can be missing.
    pub(super) fn collision(&self, owner: usize, claims: &Claims, before: Option<&Claims>) -> Option<Collision> {
        let id = &claims.instance_id;
        let instance = self.instances.get(id.as_str()).filter(|holder| **holder != owner);
        let instance = instance.map(|holder| Collision { holder: *holder, witness: Witness::InstanceId(id.clone()) });
        instance
            .or_else(|| prefixes(claims).find_map(|prefix| self.prefix_collision(owner, prefix)))
            .or_else(|| claims.topic_space.iter().find_map(|space| self.space_collision(owner, id, space, before)))
    }

    fn prefix_collision(&self, owner: usize, prefix: &str) -> Option<Collision> {
        let shorter = prefix.char_indices().map(|(at, _)| at).filter_map(|at| {
            let (key, holder) = self.prefixes.get_key_value(prefix.get(..at)?)?;
            Some((*key, *holder))
        });
        let longer = self.prefixes.range(prefix..).map(|(key, holder)| (*key, *holder));
        let longer = longer.take_while(|(key, _)| key.starts_with(prefix));
        let (key, holder) = shorter.chain(longer).find(|(_, holder)| *holder != owner)?;
        let witness = if key.len() > prefix.len() { key } else { prefix };
        Some(Collision { holder, witness: Witness::ClientId(witness.to_owned()) })
    }

    fn space_collision(
        &self,
        owner: usize,
        instance_id: &str,
        space: &Space,
        before: Option<&Claims>,
    ) -> Option<Collision> {
        self.unshared(owner, instance_id, space).find_map(|owned| {
            let witness = common_topic(&space.filter, &owned.space.filter)?;
            let had = before.is_some_and(|before| covers_common(before, &space.filter, &owned.space.filter));
            (!had).then_some(Collision { holder: owned.owner, witness: Witness::Topic(witness) })
        })
    }

    /// What others own that may overlap a filter, and do not share with this tenant by mutual consent.
    pub(super) fn unshared<'s>(
        &'s self,
        owner: usize,
        instance_id: &'s str,
        space: &'s Space,
    ) -> impl Iterator<Item = &'s Owned<'a>> {
        let rooted: Box<dyn Iterator<Item = &'s Owned<'a>> + 's> = match first_level(&space.filter) {
            Some(level) => Box::new(self.rooted.get(level).into_iter().flatten()),
            None => Box::new(self.rooted.values().flatten()),
        };
        let shared = move |owned: &Owned<'_>| {
            space.shared_with.iter().any(|id| id == owned.instance_id)
                && owned.space.shared_with.iter().any(|id| id == instance_id)
        };
        self.rootless.iter().chain(rooted).filter(move |owned| owned.owner != owner && !shared(owned))
    }
}

/// Whether one filter of some claims covers whatever two filters have in common. Not where one cannot be read.
fn covers_common(claims: &Claims, one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (Filter::parse(one), Filter::parse(other)) else { return false };
    let Some(common) = intersection(one, other) else { return true };
    let own = claims.topic_space.iter().filter_map(|space| Filter::parse(&space.filter).ok());
    Filter::parse(&common).is_ok_and(|common| own.into_iter().any(|own| covers(own, common)))
}

fn first_level(filter: &str) -> Option<&str> {
    let first = filter.split('/').next()?;
    matches!(Level::of(first), Level::Literal(_)).then_some(first)
}

/// A topic in both filters. Filters that do not parse are taken to be the same topic: they must not be shared.
pub(super) fn common_topic(a: &str, b: &str) -> Option<String> {
    match (Filter::parse(a), Filter::parse(b)) {
        (Ok(a), Ok(b)) => overlap_witness(a, b),
        _ => Some(a.to_owned()),
    }
}
