//! Lines that wait for the journal's writer, bounded in bytes.
//!
//! A tenant may have as much waiting as is free: however fast one logs in on a slow disk, half of the room is left to the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Item;

pub(in super::super) struct Backlog {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    by_tenant: HashMap<Box<str>, usize>,
    closed: bool,
}

impl Backlog {
    pub(in super::super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), capacity }
    }

    /// Adds a line; `false` where it finds no room.
    pub(in super::super) fn push(&self, item: Item) -> bool {
        let bytes = item.bytes();
        let mut waiting = self.lock();
        let own = waiting.by_tenant.get(item.tenant()).copied().unwrap_or_default();
        if own + bytes > self.capacity.saturating_sub(waiting.bytes) {
            return false;
        }
        waiting.bytes += bytes;
        waiting.by_tenant.insert(item.tenant().into(), own + bytes);
        waiting.items.push_back(item);
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// Waits for lines and takes all there are; `None` at the end.
    pub(super) fn take(&self) -> Option<VecDeque<Item>> {
        let mut waiting = self.lock();
        while waiting.items.is_empty() && !waiting.closed {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.items.is_empty() {
            return None;
        }
        waiting.bytes = 0;
        waiting.by_tenant.clear();
        Some(std::mem::take(&mut waiting.items))
    }

    /// Lets the writer end once all lines are taken.
    pub(in super::super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mqtt_access_core::index::SessionOwner;

    use super::super::super::marks::{Mark, SessionKey};
    use super::*;

    fn item(tenant: &str) -> Item {
        let owner = SessionOwner([0; 16]);
        Item::mark(&SessionKey::new(tenant, "/", "a"), &Mark::read(None, owner, 0))
    }

    #[test]
    fn one_tenant_leaves_room_for_others_and_the_bound_holds() {
        let each = item("a").bytes();
        let backlog = Backlog::new(100 * each);
        let pushed = |tenant: &str| (0..1000).filter(|_| backlog.push(item(tenant))).count();
        assert_eq!(pushed("a"), 50);
        assert_eq!(pushed("b"), 25);
        assert_eq!(pushed("a"), 0);
        assert!(backlog.lock().bytes <= 100 * each);
        assert_eq!(backlog.take().unwrap().len(), 75);
        assert_eq!(pushed("a"), 50, "room again, for any tenant");
        backlog.close();
        assert_eq!(backlog.take().unwrap().len(), 50);
        assert!(backlog.take().is_none());
    }
}
