//! Work that takes long and must hold up nobody: pieces of it share one core by turns, on threads that may block.
//!
//! Whoever has had a turn queues behind all others that wait. So a short piece of work waits for one turn of each long one at
//! most, however long these take, and all of it together leaves the other cores to requests and probes.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

/// How long a turn is.
const TURN: Duration = Duration::from_millis(5);

/// Takes pieces of work. Those that have begun end soon after this is dropped.
#[derive(Debug)]
pub struct Turns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Its one permit is the turn; it is handed out in the order in which it was asked for.
    turn: Semaphore,
    stopped: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { turn: Semaphore::new(1), stopped: AtomicBool::new(false) }) }
    }
}

impl Turns {
    /// Begins a piece of work on a thread that may block. The work asks now and then whether to go on, and waits within that
    /// question for its next turn; what is made after a `false` is not wanted any more. Its result comes with `name`; `None`
    /// where it has none, or panicked.
    pub fn begin<K: Send + 'static, T: Send + 'static>(
        &self,
        works: &mut JoinSet<(K, Option<T>)>,
        name: K,
        work: impl FnOnce(&dyn Fn() -> bool) -> Option<T> + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        works.spawn_blocking(move || {
            let turn = Turn { shared: &shared, runtime: Handle::current(), held: Cell::new(None) };
            turn.take();
            // Nothing of what a panic may have left half done is used.
            let result = catch_unwind(AssertUnwindSafe(|| work(&|| turn.go_on())));
            (name, result.ok().flatten())
        });
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
    }
}

struct Turn<'s> {
    shared: &'s Shared,
    runtime: Handle,
    held: Cell<Option<(Instant, SemaphorePermit<'s>)>>,
}

impl Turn<'_> {
    fn go_on(&self) -> bool {
        if let Some((since, permit)) = self.held.take() {
            if since.elapsed() < TURN {
                self.held.set(Some((since, permit)));
            } else {
                drop(permit);
                self.take();
            }
        }
        !self.shared.stopped.load(Relaxed)
    }

    /// Waits for a turn. The semaphore is never closed.
    fn take(&self) {
        let permit = self.runtime.block_on(self.shared.turn.acquire());
        self.held.set(permit.ok().map(|permit| (Instant::now(), permit)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Works until it is stopped.
    fn long(turns: &Turns, works: &mut JoinSet<(&'static str, Option<u64>)>, name: &'static str) {
        turns.begin(works, name, |go_on| {
            let mut asked = 0;
            while go_on() {
                asked += 1;
            }
            Some(asked)
        });
    }

    #[tokio::test]
    async fn short_work_ends_beside_long_work_and_long_work_ends_when_it_is_not_wanted() {
        let (turns, mut works) = (Turns::default(), JoinSet::new());
        long(&turns, &mut works, "one");
        long(&turns, &mut works, "other");
        for _ in 0..20 {
            turns.begin(&mut works, "short", |go_on| go_on().then_some(0));
            assert_eq!(works.join_next().await.unwrap().unwrap(), ("short", Some(0)));
        }
        drop(turns);
        let mut ended = [works.join_next().await.unwrap().unwrap(), works.join_next().await.unwrap().unwrap()];
        ended.sort_unstable();
        assert_eq!(ended.map(|(name, _)| name), ["one", "other"]);
        assert!(ended.iter().all(|(_, asked)| asked.is_some_and(|asked| asked > 0)), "each had turns: {ended:?}");
    }

    #[tokio::test]
    async fn one_works_at_a_time_and_a_panic_is_the_end_of_its_own_work_only() {
        let (turns, mut works) = (Turns::default(), JoinSet::new());
        let (at_work, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for number in 0..8 {
            let (at_work, most) = (Arc::clone(&at_work), Arc::clone(&most));
            turns.begin(&mut works, number, move |go_on| {
                assert!(number != 3, "this one fails");
                for _ in 0..200 {
                    most.fetch_max(at_work.fetch_add(1, Relaxed) + 1, Relaxed);
                    std::hint::black_box((0..10_000_u64).sum::<u64>());
                    at_work.fetch_sub(1, Relaxed);
                    go_on();
                }
                Some(())
            });
        }
        let mut failed = Vec::new();
        while let Some(ended) = works.join_next().await {
            let (number, result) = ended.unwrap();
            failed.extend(result.is_none().then_some(number));
        }
        assert_eq!((most.load(Relaxed), failed), (1, vec![3]));
    }
}
