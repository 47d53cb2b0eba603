//! Objects by their keys and groups. Of kinds of which a tenant has a budget, as many as it has places are kept whole, the
//! oldest; of the others an outline.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Cached, Group, ObjectKey};
use crate::compile::Age;

/// How many whole objects each tenant has room for; none where it is not named.
pub(super) type Places = HashMap<ObjectKey, usize>;

#[derive(Debug)]
pub(super) struct Shelf<K> {
    pub(super) objects: HashMap<ObjectKey, Arc<K>>,
    pub(super) groups: HashMap<Group, BTreeSet<ObjectKey>>,
    ranks: HashMap<ObjectKey, Ranks>,
}

/// The objects of a tenant in the order of their age.
#[derive(Debug, Default)]
struct Ranks {
    whole: BTreeSet<(Age, ObjectKey)>,
    outlined: BTreeSet<(Age, ObjectKey)>,
}

impl Ranks {
    fn of(&mut self, whole: bool) -> &mut BTreeSet<(Age, ObjectKey)> {
        if whole { &mut self.whole } else { &mut self.outlined }
    }

    /// Of the oldest so many, those that are outlines.
    fn missing(&self, places: usize) -> Vec<ObjectKey> {
        let mut whole = self.whole.iter().peekable();
        let mut left = places;
        let mut missing = Vec::new();
        for outlined in &self.outlined {
            while whole.next_if(|whole| *whole < outlined).is_some() {
                left = left.saturating_sub(1);
            }
            if left == 0 {
                break;
            }
            left -= 1;
            missing.push(outlined.1.clone());
        }
        missing
    }
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), groups: HashMap::new(), ranks: HashMap::new() }
    }
}

impl<K: Cached> Shelf<K> {
    /// Takes an object in, and gives the groups that are concerned. What has no place any more becomes an outline.
    pub(super) fn insert(&mut self, key: ObjectKey, object: Arc<K>, places: &Places) -> BTreeSet<Group> {
        let mut concerned = self.remove(&key);
        let rank = object.rank();
        self.put(key, object, &mut concerned);
        if let Some(rank) = rank {
            self.trim(&rank.tenant, places);
        }
        concerned
    }

    fn put(&mut self, key: ObjectKey, object: Arc<K>, concerned: &mut BTreeSet<Group>) {
        for group in object.groups() {
            self.groups.entry(group.clone()).or_default().insert(key.clone());
            concerned.insert(group);
        }
        if let Some(rank) = object.rank() {
            self.ranks.entry(rank.tenant).or_default().of(rank.whole).insert((rank.age, key.clone()));
        }
        self.objects.insert(key, object);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> BTreeSet<Group> {
        let Some(object) = self.objects.remove(key) else { return BTreeSet::new() };
        let groups: BTreeSet<Group> = object.groups().into_iter().collect();
        for group in &groups {
            if let Some(keys) = self.groups.get_mut(group) {
                keys.remove(key);
                if keys.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
        if let Some(rank) = object.rank()
            && let Some(ranks) = self.ranks.get_mut(&rank.tenant)
        {
            ranks.of(rank.whole).remove(&(rank.age, key.clone()));
            if ranks.whole.is_empty() && ranks.outlined.is_empty() {
                self.ranks.remove(&rank.tenant);
            }
        }
        groups
    }

    /// Leaves a tenant no more whole objects than it has places.
    pub(super) fn trim(&mut self, tenant: &ObjectKey, places: &Places) {
        let places = places.get(tenant).copied().unwrap_or_default();
        while let Some(ranks) = self.ranks.get_mut(tenant).filter(|ranks| ranks.whole.len() > places) {
            let Some((_, key)) = ranks.whole.pop_last() else { return };
            let Some(outline) = self.objects.get(&key).and_then(|object| object.outline()) else { return };
            self.remove(&key);
            self.put(key, Arc::new(outline), &mut BTreeSet::new());
        }
    }

    /// What has a place and is not whole, the oldest first.
    pub(super) fn missing(&self, tenant: &ObjectKey, places: &Places) -> Vec<ObjectKey> {
        let places = places.get(tenant).copied().unwrap_or_default();
        self.ranks.get(tenant).map(|ranks| ranks.missing(places)).unwrap_or_default()
    }

    /// How many objects are whole, and of how many an outline is kept.
    pub(super) fn counts(&self) -> (usize, usize) {
        let counts = self.ranks.values().map(|ranks| (ranks.whole.len(), ranks.outlined.len()));
        counts.fold((0, 0), |(whole, outlined), (more, less)| (whole + more, outlined + less))
    }
}
