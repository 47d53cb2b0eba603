//! Room for so many connections, and which of them has to go when there is none left.
//!
//! The order is that in which connections became idle: by being accepted, by having been answered, or by beginning to send
//! a head. So a broker's connection, which it uses, goes after all that only wait, and one that trickles a head does not
//! become any younger by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often it is logged that connections were closed for others.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Why a connection should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another one needs its place.
    Shed,
    /// The listener ends.
    Shutdown,
}

/// All connections of one listener.
pub(super) struct Room {
    limit: usize,
    inner: Mutex<Inner>,
    /// A place may be free now.
    changed: Notify,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    places: HashMap<u64, Entry>,
    /// Idle connections, the one that has been so for longest first.
    idle: BTreeMap<u64, u64>,
    next: u64,
    /// How many were closed for others since that was last logged, and when that was.
    shed: u64,
    said: Option<Instant>,
}

struct Entry {
    /// Its key in `idle`.
    idle: Option<u64>,
    shed: Arc<Notify>,
}

/// The place of one connection, until it is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
    shed: Arc<Notify>,
    in_flight: AtomicBool,
    /// Whether bytes of the next head have come.
    head: AtomicBool,
}

/// A request that is being answered.
pub(super) struct InFlight(Arc<Place>);

impl Room {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let (inner, changed, closing) = (Mutex::default(), Notify::new(), watch::Sender::new(false));
        Arc::new(Self { limit, inner, changed, closing })
    }

    /// Takes a place: a free one, or that of the connection that has been idle longest; else waits for one.
    pub(super) async fn enter(self: &Arc<Self>) -> Arc<Place> {
        loop {
            if let Some(place) = self.try_enter() {
                return place;
            }
            self.changed.notified().await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut inner = self.lock();
        if inner.places.len() >= self.limit && !inner.shed() {
            return None;
        }
        let (id, shed) = (inner.number(), Arc::new(Notify::new()));
        inner.places.insert(id, Entry { idle: None, shed: Arc::clone(&shed) });
        inner.becomes_idle(id);
        drop(inner);
        let (room, in_flight, head) = (Arc::clone(self), AtomicBool::new(false), AtomicBool::new(false));
        Some(Arc::new(Place { room, id, shed, in_flight, head }))
    }

    /// Closes the connection that has been idle longest. Whether there was one.
    pub(super) fn shed(&self) -> bool {
        self.lock().shed()
    }

    /// Has all connections end, and waits for it.
    pub(super) async fn drain(&self) {
        self.closing.send_replace(true);
        while !self.lock().places.is_empty() {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a place that was not given to another connection.
    fn update(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        // One permit is kept: whoever waits looks again, and only an accept or a shutdown waits.
        self.changed.notify_one();
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn becomes_idle(&mut self, id: u64) {
        let place = self.number();
        if let Some(entry) = self.places.get_mut(&id) {
            if let Some(before) = entry.idle.replace(place) {
                self.idle.remove(&before);
            }
            self.idle.insert(place, id);
        }
    }

    fn becomes_busy(&mut self, id: u64) {
        if let Some(place) = self.places.get_mut(&id).and_then(|entry| entry.idle.take()) {
            self.idle.remove(&place);
        }
    }

    fn leaves(&mut self, id: u64) {
        self.becomes_busy(id);
        self.places.remove(&id);
    }

    /// Ends the connection that has been idle longest. Whether there was one.
    fn shed(&mut self) -> bool {
        let Some(entry) = self.idle.pop_first().and_then(|(_, id)| self.places.remove(&id)) else {
            return false;
        };
        entry.shed.notify_one();
        self.shed += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!(connections = self.shed, "no room for more connections; idle ones are closed for new ones");
            (self.shed, self.said) = (0, Some(Instant::now()));
        }
        true
    }
}

impl Place {
    /// Waits until this connection should end.
    pub(super) async fn end(&self) -> End {
        let mut closing = self.room.closing.subscribe();
        tokio::select! {
            () = self.shed.notified() => End::Shed,
            _ = closing.wait_for(|closing| *closing) => End::Shutdown,
        }
    }

    /// Notes that bytes have come.
    pub(super) fn received(&self) {
        if !self.is_in_flight() && !self.head.swap(true, Relaxed) {
            self.room.update(|inner| inner.becomes_idle(self.id));
        }
    }

    /// Notes that a request is there, until what is returned is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.in_flight.store(true, Relaxed);
        self.room.update(|inner| inner.becomes_busy(self.id));
        InFlight(Arc::clone(self))
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn has_begun_a_head(&self) -> bool {
        self.head.load(Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Self(place) = self;
        place.in_flight.store(false, Relaxed);
        place.head.store(false, Relaxed);
        place.room.update(|inner| inner.becomes_idle(place.id));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.update(|inner| inner.leaves(self.id));
    }
}
