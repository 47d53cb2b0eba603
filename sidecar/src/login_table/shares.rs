//! Entries of many tenants under one bound in bytes.
//!
//! A tenant may use what the others leave free. When the bound is reached, the tenant that uses most gives back its least
//! recently used entry: a tenant below an equal share never loses one to a neighbour. Lists of resources count once for each
//! tenant, however many of its entries name them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use lru::LruCache;
use mqtt_access_core::bundle::Digest;
use mqtt_access_core::ticket::Resources;

/// Bytes of a list of resources beside its text.
const RESOURCES_OVERHEAD: usize = 192;

/// An entry of which it is known how much room it takes.
pub(super) trait Weighed<K> {
    /// Bytes of the entry and its key, in memory, without what it shares.
    fn bytes(&self, key: &K) -> usize;

    /// The lists that it may share with other entries, to be counted.
    fn shared(&self) -> impl Iterator<Item = &Arc<Resources>>;

    /// The same lists, to be replaced by equal ones.
    fn shared_mut(&mut self) -> impl Iterator<Item = &mut Arc<Resources>>;
}

/// An LRU cache for each tenant, under one bound.
pub(super) struct ByteShares<K: Hash + Eq, V> {
    /// By instance ID, empty for what belongs to no tenant; no share is empty.
    by_tenant: BTreeMap<Arc<str>, Share<K, V>>,
    /// The same tenants, by what they use.
    by_bytes: BTreeSet<(usize, Arc<str>)>,
    len: usize,
    bytes: usize,
    capacity: usize,
}

struct Share<K: Hash + Eq, V> {
    entries: LruCache<K, V>,
    /// With the number of references from entries.
    resources: HashMap<Digest, (Arc<Resources>, usize)>,
    bytes: usize,
}

impl<K: Hash + Eq, V: Weighed<K>> Share<K, V> {
    fn new() -> Self {
        Self { entries: LruCache::unbounded(), resources: HashMap::new(), bytes: 0 }
    }

    fn put(&mut self, key: K, mut value: V) {
        self.remove(&key);
        self.bytes += value.bytes(&key);
        for list in value.shared_mut() {
            let (known, references) = self.resources.entry(list.digest().clone()).or_insert_with(|| {
                self.bytes += resources_bytes(list);
                (Arc::clone(list), 0)
            });
            *list = Arc::clone(known);
            *references += 1;
        }
        self.entries.put(key, value);
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.entries.pop(key)?;
        self.release(key, &value);
        Some(value)
    }

    fn release(&mut self, key: &K, value: &V) {
        self.bytes = self.bytes.saturating_sub(value.bytes(key));
        for list in value.shared() {
            let Some((_, references)) = self.resources.get_mut(list.digest()) else {
                continue;
            };
            *references = references.saturating_sub(1);
            if *references == 0 {
                self.resources.remove(list.digest());
                self.bytes = self.bytes.saturating_sub(resources_bytes(list));
            }
        }
    }
}

/// As the journal would have it, and a third more: see [`json_bytes`].
fn resources_bytes(resources: &Resources) -> usize {
    RESOURCES_OVERHEAD + resources.list().iter().map(|text| (json_bytes(text) + 3) * 4 / 3 + 24).sum::<usize>()
}

/// Bytes of a text in JSON, without its quotes.
pub(super) fn json_bytes(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        ..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(byte).sum()
}

impl<K: Hash + Eq, V: Weighed<K>> ByteShares<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { by_tenant: BTreeMap::new(), by_bytes: BTreeSet::new(), len: 0, bytes: 0, capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Finds an entry without marking it as used.
    pub(super) fn peek(&self, tenant: &str, key: &K) -> Option<&V> {
        self.by_tenant.get(tenant)?.entries.peek(key)
    }

    /// As [`Self::peek`], to change what has no weight.
    pub(super) fn peek_mut(&mut self, tenant: &str, key: &K) -> Option<&mut V> {
        self.by_tenant.get_mut(tenant)?.entries.peek_mut(key)
    }

    /// Finds an entry and marks it as used. What changes about it must not change its weight.
    pub(super) fn get_mut(&mut self, tenant: &str, key: &K) -> Option<&mut V> {
        self.by_tenant.get_mut(tenant)?.entries.get_mut(key)
    }

    /// Whether some entry of the tenant names this list.
    pub(super) fn holds(&self, tenant: &str, digest: &Digest) -> Option<&Arc<Resources>> {
        self.by_tenant.get(tenant)?.resources.get(digest).map(|(list, _)| list)
    }

    /// Adds or replaces an entry. When there is no room, entries of the tenant that uses most go, the least recently used
    /// first.
    pub(super) fn put(&mut self, tenant: &str, key: K, value: V) {
        let name = self.by_tenant.get_key_value(tenant).map_or_else(|| Arc::from(tenant), |(name, _)| Arc::clone(name));
        self.change(&name, |share| share.put(key, value));
        // Only now: the newcomer counts when it is asked who uses most.
        while self.bytes > self.capacity && self.evict() {}
    }

    pub(super) fn remove(&mut self, tenant: &str, key: &K) {
        let Some((name, _)) = self.by_tenant.get_key_value(tenant) else {
            return;
        };
        let name = Arc::clone(name);
        self.change(&name, |share| drop(share.remove(key)));
    }

    fn evict(&mut self) -> bool {
        let Some((_, largest)) = self.by_bytes.last() else {
            return false;
        };
        let largest = Arc::clone(largest);
        self.change(&largest, |share| {
            if let Some((key, value)) = share.entries.pop_lru() {
                share.release(&key, &value);
            }
        });
        true
    }

    /// Changes a tenant's share and counts anew.
    fn change(&mut self, tenant: &Arc<str>, change: impl FnOnce(&mut Share<K, V>)) {
        let share = self.by_tenant.entry(Arc::clone(tenant)).or_insert_with(Share::new);
        let (len, bytes) = (share.entries.len(), share.bytes);
        change(share);
        self.len = self.len + share.entries.len() - len;
        self.bytes = self.bytes + share.bytes - bytes;
        let (empty, after) = (share.entries.is_empty(), share.bytes);
        self.by_bytes.remove(&(bytes, Arc::clone(tenant)));
        if empty {
            self.by_tenant.remove(tenant);
        } else {
            self.by_bytes.insert((after, Arc::clone(tenant)));
        }
    }

    /// All entries, each tenant's oldest first.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_tenant.values().flat_map(|share| share.entries.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(usize, Vec<Arc<Resources>>);

    impl Weighed<u32> for Text {
        fn bytes(&self, _: &u32) -> usize {
            self.0
        }

        fn shared(&self) -> impl Iterator<Item = &Arc<Resources>> {
            self.1.iter()
        }

        fn shared_mut(&mut self) -> impl Iterator<Item = &mut Arc<Resources>> {
            self.1.iter_mut()
        }
    }

    fn keys(shares: &ByteShares<u32, Text>, tenant: &str) -> Vec<u32> {
        (0..1000).filter(|key| shares.peek(tenant, key).is_some()).collect()
    }

    fn list(name: &str) -> Arc<Resources> {
        Arc::new(Resources::new(vec![name.repeat(100)]))
    }

    #[test]
    fn a_tenant_uses_what_others_leave_and_gives_it_back() {
        let mut shares = ByteShares::new(1000);
        (0..100).for_each(|key| shares.put("large", key, Text(10, Vec::new())));
        assert_eq!((shares.bytes(), shares.len()), (1000, 100));
        (0..80).for_each(|key| shares.put("small", key, Text(10, Vec::new())));
        assert_eq!(keys(&shares, "large"), (50..100).collect::<Vec<_>>());
        assert_eq!(keys(&shares, "small"), (30..80).collect::<Vec<_>>(), "equal shares, of its own the oldest goes");
        (30..80).for_each(|key| shares.remove("small", &key));
        (100..150).for_each(|key| shares.put("large", key, Text(10, Vec::new())));
        assert_eq!((keys(&shares, "large").len(), keys(&shares, "small").len()), (100, 0));
        assert_eq!(shares.bytes(), 1000);
    }

    #[test]
    fn large_entries_of_one_tenant_push_out_its_own_only() {
        let mut shares = ByteShares::new(1000);
        (0..30).for_each(|key| shares.put("small", key, Text(10, Vec::new())));
        (0..500).for_each(|key| shares.put("large", key, Text(200, Vec::new())));
        assert_eq!((keys(&shares, "small").len(), keys(&shares, "large")), (30, vec![497, 498, 499]));
        // One that fits nowhere is not kept.
        shares.put("large", 500, Text(5000, Vec::new()));
        assert_eq!((keys(&shares, "small").len(), keys(&shares, "large").len()), (30, 0));
    }

    #[test]
    fn a_list_counts_once_for_each_tenant_and_until_its_last_entry_goes() {
        let mut shares = ByteShares::new(1 << 20);
        let one = resources_bytes(&list("a"));
        (0..10).for_each(|key| shares.put("t", key, Text(1, vec![list("a")])));
        assert_eq!(shares.bytes(), 10 + one);
        let kept = shares.holds("t", list("a").digest()).map(Arc::strong_count);
        assert_eq!(kept, Some(11), "the entries hold one list, not ten");
        shares.put("u", 0, Text(1, vec![list("a"), list("a")]));
        assert_eq!(shares.bytes(), 11 + 2 * one);
        // Replacing keeps the count right, whether the list stays or not.
        shares.put("u", 0, Text(1, vec![list("a")]));
        shares.put("u", 0, Text(1, vec![list("b")]));
        assert_eq!(shares.bytes(), 11 + one + resources_bytes(&list("b")));
        (0..9).for_each(|key| shares.remove("t", &key));
        assert!(shares.holds("t", list("a").digest()).is_some());
        shares.remove("t", &9);
        shares.remove("u", &0);
        assert_eq!((shares.bytes(), shares.len(), shares.iter().count()), (0, 0, 0));
        assert!(shares.holds("t", list("a").digest()).is_none() && shares.by_bytes.is_empty());
    }
}
