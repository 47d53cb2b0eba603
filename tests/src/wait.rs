//! Waiting for something that happens by itself, with an end.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(25);

/// Asks `probe` again and again until it answers `Some`.
///
/// Panics after `limit`, naming `what` was awaited.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
