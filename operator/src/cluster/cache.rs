//! A cache of one kind of object, fed by a watch, that knows which tenants an event concerns: those of the object as it
//! was and as it is. A device that moves from one tenant to another so wakes both.
//!
//! Several watches may feed it, one for each namespace: each lists for itself, and what its list lacks is gone from its
//! namespace only.
//!
//! Of devices and policies a tenant has a number of places: so many are kept whole, the oldest, and of the others no more than
//! an outline, however many and however large they are. What gets a place later is asked for by its name and filled in.

mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::runtime::watcher::Event;

use crate::compile::Age;
use shelf::{Places, Shelf};

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

/// Where an object stands among those of its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) tenant: ObjectKey,
    pub(super) age: Age,
    /// Whether it is more than an outline.
    pub(super) whole: bool,
}

/// An object that can be cached.
pub(super) trait Cached: Sized {
    fn key(&self) -> ObjectKey;
    fn groups(&self) -> Vec<Group>;
    /// Whether this version may take the place of another; a watch may still bring what a write has overtaken.
    fn replaces(&self, _older: &Self) -> bool {
        true
    }
    /// Its rank, of kinds of which a tenant has a budget.
    fn rank(&self) -> Option<Rank> {
        None
    }
    /// What is kept of it where it has no place.
    fn outline(&self) -> Option<Self> {
        None
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
    present: Shelf<K>,
    /// Objects of lists that are not complete yet.
    listing: BTreeMap<Scope, Shelf<K>>,
    /// Whose first list is not complete.
    missing: BTreeSet<Scope>,
    places: Places,
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
        Self { present: Shelf::default(), listing: BTreeMap::new(), missing, places: Places::new() }
    }
}

impl<K: Cached> Cache<K> {
    /// Whether the first list of every watch was complete.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.present.objects.get(key).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.present.objects.values()
    }

    /// The objects of a group, in the order of their names.
    pub(super) fn group(&self, group: &Group) -> impl Iterator<Item = &Arc<K>> {
        let keys = self.present.groups.get(group);
        keys.into_iter().flatten().filter_map(|key| self.present.objects.get(key))
    }

    /// Takes an event of a watch in; gives the groups that it concerns.
    pub(super) fn apply(&mut self, scope: &Scope, event: Event<K>) -> BTreeSet<Group> {
        match event {
            Event::Apply(object) => self.insert(object),
            Event::Delete(object) => self.remove(&object.key()),
            Event::Init => {
                self.listing.insert(scope.clone(), Shelf::default());
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                let listed = self.listing.entry(scope.clone()).or_default();
                listed.insert(object.key(), Arc::new(object), &self.places);
                BTreeSet::new()
            }
            Event::InitDone => self.complete_list(scope),
        }
    }

    fn complete_list(&mut self, scope: &Scope) -> BTreeSet<Group> {
        let listed = self.listing.remove(scope).unwrap_or_default().objects;
        let is_gone = |key: &&ObjectKey| scope.holds(key) && !listed.contains_key(*key);
        let gone: Vec<ObjectKey> = self.present.objects.keys().filter(is_gone).cloned().collect();
        let mut concerned: BTreeSet<Group> = gone.iter().flat_map(|key| self.remove(key)).collect();
        concerned.extend(listed.into_values().flat_map(|object| self.insert_shared(object)).collect::<Vec<_>>());
        self.missing.remove(scope);
        concerned
    }

    pub(super) fn insert(&mut self, object: K) -> BTreeSet<Group> {
        self.insert_shared(Arc::new(object))
    }

    fn insert_shared(&mut self, object: Arc<K>) -> BTreeSet<Group> {
        let key = object.key();
        if self.present.objects.get(&key).is_some_and(|older| !object.replaces(older)) {
            return BTreeSet::new();
        }
        self.present.insert(key, object, &self.places)
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> BTreeSet<Group> {
        self.present.remove(key)
    }

    /// Gives a tenant so many places. What has none any more is an outline from now on.
    pub(super) fn allot(&mut self, tenant: &ObjectKey, places: usize) {
        let before = if places == 0 { self.places.remove(tenant) } else { self.places.insert(tenant.clone(), places) };
        if before.unwrap_or_default() > places {
            self.present.trim(tenant, &self.places);
            self.listing.values_mut().for_each(|listed| listed.trim(tenant, &self.places));
        }
    }

    /// What has a place and has to be asked for, because an outline is all that was kept of it.
    pub(super) fn missing_of(&self, tenant: &ObjectKey) -> Vec<Arc<K>> {
        self.present.missing(tenant, &self.places).iter().filter_map(|key| self.get(key)).collect()
    }

    /// Takes in what was asked for because of an outline; `None` where it is gone. An event that came meanwhile is newer.
    pub(super) fn fill(&mut self, asked: &Arc<K>, found: Option<K>) {
        let key = asked.key();
        if self.present.objects.get(&key).is_some_and(|present| Arc::ptr_eq(present, asked)) {
            match found {
                Some(found) => _ = self.insert(found),
                None => _ = self.remove(&key),
            }
        }
    }

    /// How many objects are whole, and of how many an outline is kept; of kinds of which a tenant has a budget.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.present.counts()
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

    /// A policy of the tenant `t`: its name, its age, and its text, which an outline lacks.
    #[derive(Debug, Clone, PartialEq)]
    struct Policy(String, i64, Option<String>);

    impl Cached for Policy {
        fn key(&self) -> ObjectKey {
            ObjectKey::new("ns", self.0.clone())
        }

        fn groups(&self) -> Vec<Group> {
            vec![tenant("t")]
        }

        fn rank(&self) -> Option<Rank> {
            let tenant = ObjectKey::new("ns", "t");
            Some(Rank { tenant, age: (self.1, self.0.clone()), whole: self.2.is_some() })
        }

        fn outline(&self) -> Option<Self> {
            Some(Self(self.0.clone(), self.1, None))
        }
    }

    const LARGE: usize = 64 * 1024;

    fn policy(number: i64) -> Policy {
        Policy(format!("p{number:03}"), number, Some("x".repeat(LARGE)))
    }

    fn t() -> ObjectKey {
        ObjectKey::new("ns", "t")
    }

    /// Names of the whole ones, and how many bytes the cache holds of all.
    fn held(cache: &Cache<Policy>) -> (Vec<String>, usize) {
        let group = tenant("t");
        let policies = || cache.group(&group);
        let whole = policies().filter(|policy| policy.2.is_some()).map(|policy| policy.0.clone()).collect();
        (whole, policies().map(|policy| policy.2.as_ref().map_or(0, String::len)).sum())
    }

    fn names(numbers: impl IntoIterator<Item = i64>) -> Vec<String> {
        numbers.into_iter().map(|number| policy(number).0).collect()
    }

    #[test]
    fn the_oldest_have_the_places_in_whatever_order_they_come() {
        for order in [(0..300).collect::<Vec<i64>>(), (0..300).rev().collect(), (0..300).map(|n| n * 7 % 300).collect()]
        {
            let mut cache = Cache::default();
            cache.allot(&t(), 5);
            cache.apply(&Scope::All, Event::Init);
            for number in &order {
                cache.apply(&Scope::All, Event::InitApply(policy(*number)));
                let listed: usize = cache.listing.values().map(|listed| listed.counts().0).sum();
                assert!(listed <= 5, "a list that is read holds {listed} whole objects");
            }
            cache.apply(&Scope::All, Event::InitDone);
            assert_eq!(held(&cache), (names(0..5), 5 * LARGE));
            assert_eq!((cache.group(&tenant("t")).count(), cache.counts()), (300, (5, 295)));
            assert!(cache.missing_of(&t()).is_empty());
        }
    }

    #[test]
    fn a_place_that_becomes_free_is_filled_by_what_is_asked_for() {
        let mut cache = Cache::default();
        cache.allot(&t(), 3);
        (0..10).for_each(|number| _ = cache.apply(&Scope::All, Event::Apply(policy(number))));
        cache.apply(&Scope::All, Event::Delete(policy(1)));
        let missing = cache.missing_of(&t());
        assert_eq!(missing.iter().map(|policy| policy.0.clone()).collect::<Vec<_>>(), names([3]));
        missing.iter().for_each(|asked| cache.fill(asked, Some(policy(3))));
        assert_eq!((held(&cache), cache.missing_of(&t()).len()), ((names([0, 2, 3]), 3 * LARGE), 0));
        cache.allot(&t(), 6);
        let missing = cache.missing_of(&t());
        assert_eq!(missing.iter().map(|policy| policy.0.clone()).collect::<Vec<_>>(), names([4, 5, 6]));
        // One that is gone leaves its place to the next.
        missing.iter().for_each(|asked| cache.fill(asked, None));
        assert_eq!(cache.missing_of(&t()).len(), 3);
        cache.allot(&t(), 1);
        assert_eq!(held(&cache), (names([0]), LARGE));
        cache.allot(&t(), 0);
        assert_eq!((held(&cache), cache.counts()), ((Vec::new(), 0), (0, 6)));
    }

    #[test]
    fn what_came_while_an_object_was_asked_for_counts_and_the_answer_does_not() {
        let mut cache = Cache::default();
        (0..3).for_each(|number| _ = cache.apply(&Scope::All, Event::Apply(policy(number))));
        cache.allot(&t(), 2);
        let asked = cache.missing_of(&t());
        let edited = Policy(policy(0).0, 0, Some("edited".to_owned()));
        cache.apply(&Scope::All, Event::Apply(edited.clone()));
        cache.apply(&Scope::All, Event::Delete(policy(1)));
        asked.iter().for_each(|asked| cache.fill(asked, Some(policy(asked.1))));
        assert_eq!(cache.get(&edited.key()).as_deref(), Some(&edited), "an older answer is not taken");
        assert_eq!(cache.get(&policy(1).key()), None, "what is deleted does not come back");
    }

    #[test]
    fn a_newer_object_takes_no_place_from_an_older_one_that_is_not_whole_yet() {
        let mut cache = Cache::default();
        (0..3).for_each(|number| _ = cache.apply(&Scope::All, Event::Apply(policy(number))));
        cache.allot(&t(), 2);
        cache.apply(&Scope::All, Event::Apply(policy(9)));
        let missing = cache.missing_of(&t());
        assert_eq!(missing.iter().map(|policy| policy.0.clone()).collect::<Vec<_>>(), names([0, 1]));
        missing.iter().for_each(|asked| cache.fill(asked, Some(policy(asked.1))));
        assert_eq!(held(&cache), (names([0, 1]), 2 * LARGE));
    }
}
