//! The entries of the login table: bounded in all, and shared among tenants, so that none can push out another's.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use mqtt_access_core::credential::ModeUsername;

use super::{Entry, LoginKey};

/// An LRU cache for each tenant, under one bound.
pub(super) struct Entries {
    /// By instance ID; none is empty.
    by_tenant: BTreeMap<Box<str>, LruCache<LoginKey, Entry>>,
    len: usize,
    capacity: NonZeroUsize,
}

impl Entries {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self { by_tenant: BTreeMap::new(), len: 0, capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Finds an entry and marks it as used.
    pub(super) fn get_mut(&mut self, key: &LoginKey) -> Option<&mut Entry> {
        self.by_tenant.get_mut(tenant_of(key))?.get_mut(key)
    }

    /// Adds or replaces an entry. When there is no room, the least recently used one goes of the tenant that has most.
    pub(super) fn put(&mut self, key: LoginKey, entry: Entry) {
        let tenant = tenant_of(&key);
        let replaced = match self.by_tenant.get_mut(tenant) {
            Some(entries) => entries.put(key, entry),
            None => self.by_tenant.entry(tenant.into()).or_insert_with(LruCache::unbounded).put(key, entry),
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

    pub(super) fn remove(&mut self, key: &LoginKey) {
        let tenant = tenant_of(key);
        let Some(entries) = self.by_tenant.get_mut(tenant) else {
            return;
        };
        self.len -= usize::from(entries.pop(key).is_some());
        if entries.is_empty() {
            self.by_tenant.remove(tenant);
        }
    }

    /// All entries, each tenant's oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&LoginKey, &Entry)> {
        self.by_tenant.values().flat_map(|entries| entries.iter().rev())
    }
}

/// The instance ID in the username, which is that of the ticket. Login names have none, and share one place.
fn tenant_of(key: &LoginKey) -> &str {
    ModeUsername::parse(&key.username).map(|named| named.instance_id).unwrap_or_default()
}
