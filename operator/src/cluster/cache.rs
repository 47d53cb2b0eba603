//! A cache of one kind of object, fed by a watch, that knows which tenants an event concerns: those of the object as it
//! was and as it is. A device that moves from one tenant to another so wakes both.
//!
//! Several watches may feed it, one for each namespace: each lists for itself, and what its list lacks is gone from its
//! namespace only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// What one watch shows of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// All that the cache holds.
    All,
    /// What is in one namespace.
    Namespace(String),
}

impl Scope {
    fn holds(&self, key: &ObjectKey) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => *namespace == key.namespace,
        }
    }
}

#[derive(Debug)]
pub(super) struct Cache<K> {
    objects: HashMap<ObjectKey, Arc<K>>,
    groups: HashMap<Group, BTreeSet<ObjectKey>>,
    /// Objects of lists that are not complete yet.
    listing: BTreeMap<Scope, HashMap<ObjectKey, K>>,
    /// Whose first list is not complete.
    missing: BTreeSet<Scope>,
}

/// One that a single watch feeds.
impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self::over([Scope::All])
    }
}

impl<K> Cache<K> {
    /// One that is fed by a watch for each of these.
    pub(super) fn over(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let missing = scopes.into_iter().collect();
        Self { objects: HashMap::new(), groups: HashMap::new(), listing: BTreeMap::new(), missing }
    }
}

impl<K: Cached> Cache<K> {
    /// Whether the first list of every watch was complete.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
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

    /// Takes an event of a watch in; gives the groups that it concerns.
    pub(super) fn apply(&mut self, scope: &Scope, event: Event<K>) -> BTreeSet<Group> {
        match event {
            Event::Apply(object) => self.insert(object),
            Event::Delete(object) => self.remove(&object.key()),
            Event::Init => {
                self.listing.insert(scope.clone(), HashMap::new());
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                self.listing.entry(scope.clone()).or_default().insert(object.key(), object);
                BTreeSet::new()
            }
            Event::InitDone => self.complete_list(scope),
        }
    }

    fn complete_list(&mut self, scope: &Scope) -> BTreeSet<Group> {
        let listed = self.listing.remove(scope).unwrap_or_default();
        let is_gone = |key: &&ObjectKey| scope.holds(key) && !listed.contains_key(*key);
        let gone: Vec<ObjectKey> = self.objects.keys().filter(is_gone).cloned().collect();
        let mut concerned: BTreeSet<Group> = gone.iter().flat_map(|key| self.remove(key)).collect();
        concerned.extend(listed.into_values().flat_map(|object| self.insert(object)).collect::<Vec<_>>());
        self.missing.remove(scope);
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
        /// In the namespace `ns`, or in the one before a slash.
        fn key(&self) -> ObjectKey {
            let (namespace, name) = self.0.split_once('/').unwrap_or(("ns", self.0));
            ObjectKey::new(namespace, name)
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
        cache.apply(&Scope::All, Event::Apply(Device("d", "a")));
        assert_eq!(cache.apply(&Scope::All, Event::Apply(Device("d", "b"))), [tenant("a"), tenant("b")].into());
        assert_eq!(cache.group(&tenant("a")).count(), 0);
        assert_eq!(cache.group(&tenant("b")).count(), 1);
    }

    #[test]
    fn what_a_complete_list_lacks_is_gone_and_what_an_incomplete_one_lacks_is_not() {
        let mut cache = Cache::default();
        cache.apply(&Scope::All, Event::Apply(Device("d", "a")));
        cache.apply(&Scope::All, Event::Init);
        cache.apply(&Scope::All, Event::InitApply(Device("e", "b")));
        assert_eq!((cache.group(&tenant("a")).count(), cache.is_complete()), (1, false));
        assert_eq!(cache.apply(&Scope::All, Event::InitDone), [tenant("a"), tenant("b")].into());
        assert_eq!((cache.group(&tenant("a")).count(), cache.is_complete()), (0, true));
    }

    #[test]
    fn the_list_of_one_namespace_says_nothing_about_another() {
        let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.to_owned()));
        let mut cache = Cache::over([a.clone(), b.clone()]);
        let list = |cache: &mut Cache<Device>, scope: &Scope, devices: &[Device]| {
            cache.apply(scope, Event::Init);
            devices.iter().for_each(|device| _ = cache.apply(scope, Event::InitApply(device.clone())));
            cache.apply(scope, Event::InitDone)
        };
        // Both list at the same time.
        cache.apply(&b, Event::Init);
        cache.apply(&b, Event::InitApply(Device("b/d", "t")));
        list(&mut cache, &a, &[Device("a/d", "t"), Device("a/e", "t")]);
        assert!(!cache.is_complete(), "the other namespace is not known");
        assert_eq!(cache.group(&tenant("t")).count(), 2);
        cache.apply(&b, Event::InitDone);
        assert!(cache.is_complete());
        assert_eq!(cache.group(&tenant("t")).count(), 3);
        // An empty list empties its own namespace, and nothing else.
        assert_eq!(list(&mut cache, &b, &[]), [tenant("t")].into());
        let left: Vec<String> = cache.group(&tenant("t")).map(|device| device.key().to_string()).collect();
        assert_eq!((left, cache.is_complete()), (vec!["a/d".to_owned(), "a/e".to_owned()], true));
    }
}
