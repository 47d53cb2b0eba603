//! How long the requests of one connection may be held up by logins that wait for slow hashes.
//!
//! Answers of HTTP/1.1 come in order, and brokers send everything over a few connections: a login that waits makes all wait
//! that stand behind it, here or at the broker. One tenant's storm of slow logins, or one guesser, would stop every login of
//! the broker. So of the time of a connection each source, or each login name where no source is known, gets a quarter, and
//! [`CREDIT`] in advance, which is enough where it is a client. What it does not get is refused at once, and so what stands
//! behind moves on.
//!
//! Everyone is charged for their own hashes alone: the time that a login waits for those of others is not held against it,
//! and what another owes keeps it out of nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::slow_hashes::Account;

const CREDIT: Duration = Duration::from_secs(1);
/// How much longer than it was held up a connection is kept free.
const REST: u32 = 3;

/// Who holds a line up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Debtor {
    /// Instance ID, empty for client IDs of no tenant.
    pub(crate) tenant: Box<str>,
    pub(crate) account: Account,
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// When the time that it was held up is made good. Only of those that owe.
    even: Mutex<HashMap<Debtor, Instant>>,
}

/// Holds up a line as long as it is there.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    line: &'a Line,
    debtor: Debtor,
    since: Instant,
    own: Duration,
}

impl Line {
    /// Begins to hold it up; `None` where the debtor did that for long enough.
    pub(crate) fn hold(&self, debtor: Debtor) -> Option<Hold<'_>> {
        let since = Instant::now();
        self.may_be_held(&debtor, since).then_some(Hold { line: self, debtor, since, own: Duration::ZERO })
    }

    pub(crate) fn may_be_held(&self, debtor: &Debtor, now: Instant) -> bool {
        let mut even = self.lock();
        even.retain(|_, even| *even > now);
        even.get(debtor).is_none_or(|even| *even <= now + CREDIT * REST)
    }

    /// Charges a debtor that it held the line up for so long.
    pub(crate) fn charge(&self, debtor: &Debtor, held: Duration, now: Instant) {
        let mut even = self.lock();
        let before = even.get(debtor).map_or(now, |even| now.max(*even));
        // The time itself, which has passed, and the rest.
        even.insert(debtor.clone(), before + held * (1 + REST));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Debtor, Instant>> {
        self.even.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold<'_> {
    /// Sets how long the debtor's own hashes take that are waited for: no more of the time is charged.
    pub(crate) fn waits_for(&mut self, own: Duration) {
        self.own = own;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.line.charge(&self.debtor, now.duration_since(self.since).min(self.own), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(100);

    fn debtor(tenant: &str) -> Debtor {
        Debtor { tenant: tenant.into(), account: Account::OtherNames }
    }

    /// How long a line is held up by a tenant's logins that come one after the other.
    async fn held_in(line: &Line, tenant: &str, all: Duration, pause: Duration) -> Duration {
        let (end, mut held) = (Instant::now() + all, Duration::ZERO);
        while Instant::now() < end {
            if let Some(mut hold) = line.hold(debtor(tenant)) {
                hold.waits_for(HASH);
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
        let first = held_in(&line, "acme", Duration::from_secs(2), pause).await;
        assert!((10..=14).contains(&(first.as_millis() / HASH.as_millis())), "{first:?}");
        let later = held_in(&line, "acme", Duration::from_secs(100), pause).await;
        assert!((24..=26).contains(&later.as_secs()), "{later:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_slow_logins_are_few_none_is_refused() {
        let held = held_in(&Line::default(), "acme", Duration::from_secs(400), 3 * HASH).await;
        assert_eq!(held, Duration::from_secs(100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_owes_keeps_no_other_out() {
        let line = Line::default();
        held_in(&line, "acme", Duration::from_secs(10), Duration::from_millis(1)).await;
        assert!(line.hold(debtor("acme")).is_none());
        assert!(line.hold(debtor("globex")).is_some());
        let other = Debtor { account: Account::Name("person".into()), ..debtor("acme") };
        assert!(line.hold(other).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_others_costs_nothing() {
        let line = Line::default();
        for _ in 0..100 {
            let mut hold = line.hold(debtor("globex")).expect("its own hashes are few");
            hold.waits_for(HASH);
            tokio::time::sleep(10 * HASH).await;
        }
        assert!(line.lock().len() <= 1, "who owes nothing is forgotten");
    }
}
