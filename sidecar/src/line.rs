//! How long the requests of one connection may be held up by logins that wait for slow hashes.
//!
//! Answers of HTTP/1.1 come in order, and brokers send everything over a few connections: whoever waits makes all wait that
//! stand behind, here or at the broker. A storm of slow logins, or one guesser, would stop every login of the broker. So of
//! the time of a connection slow logins get a quarter, and [`CREDIT`] in advance, which is enough where they are few.
//! What they do not get is refused at once, and so what stands behind moves on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const CREDIT: Duration = Duration::from_secs(1);
/// How much longer than it was held up a connection is kept free.
const REST: u32 = 3;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// When the time that it was held up is made good.
    even: Mutex<Option<Instant>>,
}

/// Holds up a line as long as it is there.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    line: &'a Line,
    since: Instant,
}

impl Line {
    /// Begins to hold it up; `None` where that was done for long enough.
    pub(crate) fn hold(&self) -> Option<Hold<'_>> {
        let since = Instant::now();
        let owed =
            self.even.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|even| even > since + CREDIT * REST);
        (!owed).then_some(Hold { line: self, since })
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut even = self.line.even.lock().unwrap_or_else(PoisonError::into_inner);
        // The time itself, which has passed, and the rest.
        let owed = now.duration_since(self.since) * (1 + REST);
        *even = Some(even.map_or(now, |even| even.max(now)) + owed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(100);

    /// How long a line is held up by logins that come one after the other.
    async fn held_in(line: &Line, all: Duration, pause: Duration) -> Duration {
        let (end, mut held) = (Instant::now() + all, Duration::ZERO);
        while Instant::now() < end {
            if let Some(_hold) = line.hold() {
                tokio::time::sleep(HASH).await;
                held += HASH;
            }
            tokio::time::sleep(pause).await;
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_gets_its_credit_and_then_a_quarter_of_the_time() {
        let (line, pause) = (Line::default(), Duration::from_millis(1));
        let first = held_in(&line, Duration::from_secs(2), pause).await;
        assert!((10..=14).contains(&(first.as_millis() / HASH.as_millis())), "{first:?}");
        let later = held_in(&line, Duration::from_secs(100), pause).await;
        assert!((24..=26).contains(&later.as_secs()), "{later:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_slow_logins_are_few_none_is_refused() {
        let held = held_in(&Line::default(), Duration::from_secs(400), 3 * HASH).await;
        assert_eq!(held, Duration::from_secs(100));
    }
}
