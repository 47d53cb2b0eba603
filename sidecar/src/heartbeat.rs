//! A heartbeat of the threads that do the work, for a thread of its own that is asked whether they live.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

const EVERY: Duration = Duration::from_secs(1);
/// How long no thread may have had time for a heartbeat. The busiest spell that was seen, with more questions than the machine
/// could take, was 20 s; threads that hang do so for ever. A restart in the middle of a spell makes it longer.
const LIMIT: Duration = Duration::from_mins(2);

/// When the threads of a runtime last had time.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    limit: Duration,
    /// Milliseconds from `started`.
    last: AtomicU64,
}

impl Heartbeat {
    /// Begins to beat on the runtime that this is called on, until it is dropped.
    #[must_use]
    pub fn start() -> Arc<Self> {
        Self::with_limit(LIMIT, EVERY)
    }

    fn with_limit(limit: Duration, every: Duration) -> Arc<Self> {
        let heart = Arc::new(Self { started: Instant::now(), limit, last: AtomicU64::new(0) });
        let beating = Arc::downgrade(&heart);
        tokio::spawn(async move {
            while let Some(heart) = beating.upgrade() {
                heart.last.store(heart.age(), Relaxed);
                drop(heart);
                tokio::time::sleep(every).await;
            }
        });
        heart
    }

    /// Whether there was one within the last two minutes.
    fn is_alive(&self) -> bool {
        let silent = self.age().saturating_sub(self.last.load(Relaxed));
        Duration::from_millis(silent) < self.limit
    }

    /// What `/livez` answers.
    #[must_use]
    pub fn livez(&self) -> (StatusCode, &'static str) {
        if self.is_alive() {
            (StatusCode::OK, "ok\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "no thread had time for a heartbeat for two minutes; restart this process\n",
            )
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::sleep;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    fn until(what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_runtime_without_a_free_thread_is_dead_after_a_while_and_alive_when_it_moves_again() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heart = runtime.block_on(async { Heartbeat::with_limit(SHORT, SHORT / 10) });
        assert!(heart.is_alive());
        let (release, blocked) = mpsc::channel::<()>();
        runtime.spawn(async move { blocked.recv() });
        until("dead", || !heart.is_alive());
        assert_eq!(heart.livez().0, StatusCode::SERVICE_UNAVAILABLE);
        release.send(()).unwrap();
        until("alive", || heart.is_alive());
        assert_eq!(heart.livez(), (StatusCode::OK, "ok\n"));
    }

    #[test]
    fn the_limit_is_far_beyond_a_busy_spell() {
        assert!(LIMIT >= 6 * Duration::from_secs(20));
    }
}
