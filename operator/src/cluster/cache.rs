//! A cache of one kind of object, fed by a watch, that knows which tenants an event concerns: those of the object as it
//! was and as it is. A device that moves from one tenant to another so wakes both.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube::runtime::watcher::Event;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectKey {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What an object belongs to, or depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group {
    /// The tenant of that name, which need not exist.
    Tenant(ObjectKey),
    /// A Secret that it refers to.
    Secret(ObjectKey),
    /// Its namespace.
    Namespace(String),
}

/// An object that can be cached.
pub(super) trait Cached {
    fn key(&self) -> ObjectKey;
    fn groups(&self) -> Vec<Group>;
    /// Whether this version may take the place of another; a watch may still bring what a write has overtaken.
    fn replaces(&self, _older: &Self) -> bool {
        true
    }
}

#[derive(Debug)]
pub(super) struct Cache<K> {
    objects: HashMap<ObjectKey, Arc<K>>,
    groups: HashMap<Group, BTreeSet<ObjectKey>>,
    /// Objects of a list that is not complete yet.
    listing: Option<HashMap<ObjectKey, K>>,
    complete: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), groups: HashMap::new(), listing: None, complete: false }
    }
}

impl<K: Cached> Cache<K> {
    /// Whether the first list was complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// The objects of a group, in the order of their names.
    pub(super) fn group(&self, group: &Group) -> impl Iterator<Item = &Arc<K>> {
        self.groups.get(group).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Takes an event in; gives the groups that it concerns.
    pub(super) fn apply(&mut self, event: Event<K>) -> BTreeSet<Group> {
        match event {
            Event::Apply(object) => self.insert(object),
            Event::Delete(object) => self.remove(&object.key()),
            Event::Init => {
                self.listing = Some(HashMap::new());
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().insert(object.key(), object);
                BTreeSet::new()
            }
            Event::InitDone => self.complete_list(),
        }
    }

    fn complete_list(&mut self) -> BTreeSet<Group> {
        let listed = self.listing.take().unwrap_or_default();
        let gone: Vec<ObjectKey> = self.objects.keys().filter(|key| !listed.contains_key(key)).cloned().collect();
        let mut concerned: BTreeSet<Group> = gone.iter().flat_map(|key| self.remove(key)).collect();
        concerned.extend(listed.into_values().flat_map(|object| self.insert(object)).collect::<Vec<_>>());
        self.complete = true;
        concerned
    }

    pub(super) fn insert(&mut self, object: K) -> BTreeSet<Group> {
        let key = object.key();
        if self.objects.get(&key).is_some_and(|older| !object.replaces(older)) {
            return BTreeSet::new();
        }
        let mut concerned = self.remove(&key);
        for group in object.groups() {
            self.groups.entry(group.clone()).or_default().insert(key.clone());
            concerned.insert(group);
        }
        self.objects.insert(key, Arc::new(object));
        concerned
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
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    struct Device(&'static str, &'static str);

    impl Cached for Device {
        fn key(&self) -> ObjectKey {
            ObjectKey::new("ns", self.0)
        }

        fn groups(&self) -> Vec<Group> {
            vec![tenant(self.1)]
        }
    }

    fn tenant(name: &str) -> Group {
        Group::Tenant(ObjectKey::new("ns", name))
    }

    #[test]
    fn a_move_concerns_both_tenants() {
        let mut cache = Cache::default();
        cache.apply(Event::Apply(Device("d", "a")));
        assert_eq!(cache.apply(Event::Apply(Device("d", "b"))), [tenant("a"), tenant("b")].into());
        assert_eq!(cache.group(&tenant("a")).count(), 0);
        assert_eq!(cache.group(&tenant("b")).count(), 1);
    }

    #[test]
    fn what_a_complete_list_lacks_is_gone_and_what_an_incomplete_one_lacks_is_not() {
        let mut cache = Cache::default();
        cache.apply(Event::Apply(Device("d", "a")));
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(Device("e", "b")));
        assert_eq!((cache.group(&tenant("a")).count(), cache.is_complete()), (1, false));
        assert_eq!(cache.apply(Event::InitDone), [tenant("a"), tenant("b")].into());
        assert_eq!((cache.group(&tenant("a")).count(), cache.is_complete()), (0, true));
    }
}
