//! What is kept for clients of many tenants: bounded in all, and shared among tenants, so that none can push out another's.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// An LRU cache for each tenant, under one bound.
#[derive(Debug)]
pub struct Shares<K: Hash + Eq, V> {
    /// By instance ID, empty for what belongs to no tenant; no cache is empty.
    by_tenant: BTreeMap<Box<str>, LruCache<K, V>>,
    len: usize,
    capacity: NonZeroUsize,
}

impl<K: Hash + Eq, V> Shares<K, V> {
    /// Room for so many entries in all.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { by_tenant: BTreeMap::new(), len: 0, capacity }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds an entry and marks it as used.
    pub fn get_mut(&mut self, tenant: &str, key: &K) -> Option<&mut V> {
        self.by_tenant.get_mut(tenant)?.get_mut(key)
    }

    /// Adds or replaces an entry. When there is no room, the least recently used one goes of the tenant that has most.
    pub fn put(&mut self, tenant: &str, key: K, value: V) {
        let replaced = match self.by_tenant.get_mut(tenant) {
            Some(entries) => entries.put(key, value),
            None => self.by_tenant.entry(tenant.into()).or_insert_with(LruCache::unbounded).put(key, value),
        };
        self.len += usize::from(replaced.is_none());
        // Only now: the newcomer counts when it is asked who has most.
        if self.len > self.capacity.get() {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some((tenant, entries)) = self.by_tenant.iter_mut().max_by_key(|(_, entries)| entries.len()) else {
            return;
        };
        self.len -= usize::from(entries.pop_lru().is_some());
        if entries.is_empty() {
            let tenant = tenant.clone();
            self.by_tenant.remove(&tenant);
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, tenant: &str, key: &K) {
        let Some(entries) = self.by_tenant.get_mut(tenant) else {
            return;
        };
        self.len -= usize::from(entries.pop(key).is_some());
        if entries.is_empty() {
            self.by_tenant.remove(tenant);
        }
    }
}
