//! Which tenants, or which brokers' files, have to be looked at, and when. One name is worked on by one worker at a time; events that come in
//! quick succession are one reconcile.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long events of one tenant are gathered: counted from the first, so that a steady stream cannot hold it up.
pub(super) const COALESCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    order: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    running: HashSet<K>,
    closed: bool,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let state = State { order: BTreeSet::new(), due: HashMap::new(), running: HashSet::new(), closed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }
}

impl<K: Clone + Hash + Ord> Queue<K> {
    /// Asks for a look after a delay; an earlier request stands.
    pub(super) fn push(&self, key: K, delay: Duration) {
        self.with(|state| state.push(key, Instant::now() + delay));
        self.changed.notify_waiters();
    }

    /// Whoever asks for more is told that there is none.
    pub(super) fn close(&self) {
        self.with(|state| state.closed = true);
        self.changed.notify_waiters();
    }

    /// The next name that is due and that nobody works on. Waits for it; `None` once the queue is closed.
    pub(super) async fn next(&self) -> Option<K> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            if self.with(|state| state.closed) {
                return None;
            }
            match self.with(|state| state.take(now)) {
                Ok(key) => return Some(key),
                Err(Some(at)) => _ = tokio::time::timeout_at(at, changed).await,
                Err(None) => changed.await,
            }
        }
    }

    /// Says that the work on a name has ended.
    pub(super) fn done(&self, key: &K) {
        self.with(|state| state.running.remove(key));
        self.changed.notify_waiters();
    }

    fn with<T>(&self, change: impl FnOnce(&mut State<K>) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Clone + Hash + Ord> State<K> {
    fn push(&mut self, key: K, at: Instant) {
        if let Some(known) = self.due.get(&key) {
            if *known <= at {
                return;
            }
            self.order.remove(&(*known, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// The next name, or when to look again.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let free = self.order.iter().find(|(_, key)| !self.running.contains(key));
        match free.cloned() {
            Some((at, key)) if at <= now => {
                self.order.remove(&(at, key.clone()));
                self.due.remove(&key);
                self.running.insert(key.clone());
                Ok(key)
            }
            later => Err(later.map(|(at, _)| at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::ObjectKey;
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_quick_succession_are_one() {
        let queue = Queue::default();
        queue.push(key("a"), COALESCE);
        tokio::time::advance(COALESCE / 2).await;
        queue.push(key("a"), COALESCE);
        assert_eq!(queue.next().await, Some(key("a")));
        queue.done(&key("a"));
        let more = tokio::time::timeout(COALESCE * 2, queue.next()).await;
        assert!(more.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_during_the_work_is_done_after_it() {
        let queue = Queue::default();
        queue.push(key("a"), Duration::ZERO);
        assert_eq!(queue.next().await, Some(key("a")));
        queue.push(key("a"), Duration::ZERO);
        assert!(tokio::time::timeout(COALESCE, queue.next()).await.is_err());
        queue.done(&key("a"));
        assert_eq!(queue.next().await, Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_request_overtakes_a_later_one() {
        let queue = Queue::default();
        queue.push(key("a"), Duration::from_mins(10));
        queue.push(key("a"), Duration::ZERO);
        let soon = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert_eq!(soon.ok().flatten(), Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_nothing_more_whoever_waits() {
        let queue = Queue::default();
        queue.push(key("a"), COALESCE);
        let (told, ()) = tokio::join!(queue.next(), async { queue.close() });
        assert_eq!((told, queue.next().await), (None, None));
    }
}
