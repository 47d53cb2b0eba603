//! How many passwords are compared for a login name and a source, so that guessing ends soon and keeps nobody out.
//!
//! Each (identity, source) has a bucket of [`Limit::burst`] guesses, of which one comes back every half minute. A slow hash takes
//! its token before it is made, and gets it back if the password was right or was not compared after all; where there is no token
//! it is refused without being made. A proof that is fast to judge is judged first and never refused for guesses: an empty
//! bucket only changes what the log and the metrics call the refusal. The client is told the same as ever.
//!
//! **Whose bucket.** A name is not refused for what others guess: where the broker tells an address that few share, they have
//! another bucket. An address from which many names logged in rightly within a day (a router, a load balancer) tells nothing;
//! its clients, and those of brokers that tell none (RabbitMQ), share one bucket for each name. There the first password
//! that was refused for want of a token and is asked again gets the next one, before any that is new: a person who tries
//! again gets in within about half a minute while every guess is another one. Whoever keeps asking several guesses again and
//! again, beginning before the person does, delays it by half a minute each. What was found right before is remembered
//! elsewhere and needs no token at all.
//!
//! All of it is bounded in number and shared among tenants; a bucket that is forgotten is a full one. Proofs of SCRAM users
//! do not count: the broker checks them, and does not tell.

mod crowd;

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::ModeUsername;
use mqtt_access_core::index::Credentials;
use mqtt_access_core::shares::Shares;
use mqtt_access_core::verdict::Reason;

use crate::dialect::Attempt;
use crate::peer::Peer;
use crowd::Crowd;

/// About 100 bytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
/// As long as a broker, or a device in a hurry, takes to send a login once more.
const SAME_ATTEMPT: UnixSeconds = 10;
/// How long it is remembered that a password was refused uncompared.
const AGAIN: UnixSeconds = 300;
/// How long a token is kept for a password since it was asked: clients rest for two minutes at most between two tries.
const AWAITED: UnixSeconds = 150;
/// Ten typing errors in a row, then 2,880 guesses a day: nothing against a password that is not on every list.
const WITH_SOURCE: Limit = Limit { burst: 10, interval: 30 };
/// Fewer, since all the world shares them.
const WITHOUT_SOURCE: Limit = Limit { burst: 5, interval: 30 };

/// A token bucket's size, and the seconds until one token comes back.
#[derive(Debug, Clone, Copy)]
struct Limit {
    burst: UnixSeconds,
    interval: UnixSeconds,
}

/// A token bucket, by when it will be full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: UnixSeconds,
    /// What gets the next token once there is none.
    next: Option<Candidate>,
}

/// A password that was refused for want of a token and then asked again.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    asked: u64,
    first: UnixSeconds,
    last: UnixSeconds,
}

/// A failed attempt that was counted.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: UnixSeconds,
    too_many: bool,
}

/// The buckets of one broker.
pub(crate) struct Failures {
    /// Attempts and identities are kept as digests under a key of this process: no name and no password.
    digests: RandomState,
    inner: Mutex<Inner>,
}

struct Inner {
    /// For slow hashes.
    buckets: Shares<u64, Bucket>,
    /// For proofs that are fast to judge: apart, because a flood of these may be much larger.
    fast: Shares<u64, Bucket>,
    counted: Shares<u64, Counted>,
    crowds: Shares<Peer, Crowd>,
    /// When passwords were refused first, only for want of a token or of a turn.
    deferred: Shares<u64, UnixSeconds>,
}

/// The right to one comparison. It is given back unless it is spent.
pub(crate) struct Token {
    failures: Arc<Failures>,
    tenant: Box<str>,
    bucket: u64,
    limit: Limit,
    taken_at: UnixSeconds,
    spent: bool,
}

/// A login whose password may be compared.
pub(crate) struct Admitted {
    pub(crate) token: Token,
    /// Where it comes from, if the broker tells and few share it.
    pub(crate) source: Option<Peer>,
    /// Whether it was refused before, only for want of a token or of a turn.
    pub(crate) again: bool,
    /// Whether a wrong password came from there for this name lately.
    pub(crate) failed: bool,
}

/// Whether a refusal says that the proof was wrong, as a guess would be; rather than right, too late or not our business.
pub(crate) fn is_guess(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::WrongProof
            | Reason::UnknownKey
            | Reason::UnknownInstance
            | Reason::UnknownClientId
            | Reason::TokenMalformed
            | Reason::TokenSignatureInvalid
    )
}

impl Limit {
    fn of(source: Option<Peer>) -> Self {
        if source.is_some() { WITH_SOURCE } else { WITHOUT_SOURCE }
    }

    /// How many tokens there are. A clock that was set back leaves no bucket empty for longer.
    fn tokens(self, bucket: &mut Bucket, now: UnixSeconds) -> UnixSeconds {
        let whole = self.burst * self.interval;
        bucket.full_at = bucket.full_at.clamp(now, now.saturating_add(whole));
        (whole - bucket.full_at.saturating_sub(now)) / self.interval
    }

    /// Takes a token; false where there is none.
    fn take(self, bucket: &mut Bucket, now: UnixSeconds) -> bool {
        let is_there = self.tokens(bucket, now) > 0;
        if is_there {
            bucket.full_at = bucket.full_at.saturating_add(self.interval);
        }
        is_there
    }
}

impl Bucket {
    /// Whether the only token is kept for another password, which was asked lately.
    fn is_kept_from(&self, asked: u64, now: UnixSeconds) -> bool {
        self.next.is_some_and(|next| next.asked != asked && next.is_awaited(now))
    }

    /// Notes a password that was refused and asked again. The one that was asked first stands first.
    fn stand_in_line(&mut self, asked: u64, first: UnixSeconds, now: UnixSeconds) {
        let goes_before = |next: Candidate| next.asked == asked || first < next.first || !next.is_awaited(now);
        if self.next.is_none_or(goes_before) {
            self.next = Some(Candidate { asked, first, last: now });
        }
    }
}

impl Candidate {
    fn is_awaited(self, now: UnixSeconds) -> bool {
        (0..AWAITED).contains(&now.saturating_sub(self.last))
    }
}

impl Failures {
    pub(crate) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: NonZeroUsize) -> Self {
        let inner = Inner {
            buckets: Shares::new(capacity),
            fast: Shares::new(capacity),
            counted: Shares::new(capacity),
            crowds: Shares::new(capacity),
            deferred: Shares::new(capacity),
        };
        Self { digests: RandomState::new(), inner: Mutex::new(inner) }
    }

    /// Counts a wrong proof that was fast to judge. Whether there were too many before it.
    pub(crate) fn count(&self, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) -> bool {
        let same = self.attempt(attempt);
        let inner = &mut *self.lock();
        if let Some(counted) = inner.counted.get_mut(tenant, &same)
            && (0..SAME_ATTEMPT).contains(&now.saturating_sub(counted.at))
        {
            return counted.too_many;
        }
        let (bucket, source) = self.bucket(inner, attempt, tenant, now);
        let take = |bucket: &mut Bucket| Limit::of(source).take(bucket, now);
        let too_many = !with_bucket(&mut inner.fast, tenant, bucket, now, take);
        inner.counted.put(tenant, same, Counted { at: now, too_many });
        too_many
    }

    /// Takes a token for comparing a login's password with a slow hash; `None` where there is none for it.
    pub(crate) fn admit(self: &Arc<Self>, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) -> Option<Admitted> {
        let asked = self.asked(attempt);
        let inner = &mut *self.lock();
        let (bucket, source) = self.bucket(inner, attempt, tenant, now);
        let limit = Limit::of(source);
        let first = inner.first_refusal(tenant, asked, now);
        let (admitted, failed) = with_bucket(&mut inner.buckets, tenant, bucket, now, |bucket| {
            let tokens = limit.tokens(bucket, now);
            let kept = tokens == 1 && bucket.is_kept_from(asked, now);
            let admitted = !kept && limit.take(bucket, now);
            match first {
                _ if admitted => bucket.next = bucket.next.filter(|next| next.asked != asked),
                Some(first) => bucket.stand_in_line(asked, first, now),
                None => {}
            }
            (admitted, tokens < limit.burst)
        });
        if !admitted {
            inner.defer(tenant, asked, now);
            return None;
        }
        let token =
            Token { failures: Arc::clone(self), tenant: tenant.into(), bucket, limit, taken_at: now, spent: false };
        Some(Admitted { token, source, again: first.is_some(), failed })
    }

    /// Notes that a password was not compared, only for want of a turn.
    pub(crate) fn defer(&self, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) {
        let asked = self.asked(attempt);
        self.lock().defer(tenant, asked, now);
    }

    /// Notes a right proof, with where it came from.
    pub(crate) fn succeed(&self, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) {
        let Some(peer) = attempt.peer else { return };
        let identity = self.identity(&attempt.credentials);
        let inner = &mut *self.lock();
        match inner.crowds.get_mut(tenant, &peer) {
            Some(crowd) => crowd.note(identity, now),
            None => inner.crowds.put(tenant, peer, Crowd::of(identity, now)),
        }
    }

    /// The bucket of a login, and where it comes from if few share that.
    fn bucket(&self, inner: &mut Inner, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) -> (u64, Option<Peer>) {
        let mut shared = |peer: &Peer| inner.crowds.get_mut(tenant, peer).is_some_and(|crowd| crowd.is_large(now));
        let source = attempt.peer.filter(|peer| !shared(peer));
        (self.digests.hash_one((self.identity(&attempt.credentials), source)), source)
    }

    fn attempt(&self, attempt: &Attempt<'_>) -> u64 {
        let Attempt { credentials: Credentials { username, password, client_id }, peer, vhost: _ } = attempt;
        self.digests.hash_one((username, password, client_id, peer))
    }

    /// A password for a name, whatever else differs when it is asked again.
    fn asked(&self, attempt: &Attempt<'_>) -> u64 {
        let Attempt { credentials, peer: _, vhost: _ } = attempt;
        self.digests.hash_one((self.identity(credentials), credentials.password))
    }

    /// An access key, a device key or a login name.
    fn identity(&self, credentials: &Credentials<'_>) -> u64 {
        match ModeUsername::parse(credentials.username) {
            Some(ModeUsername { mode, key_id, instance_id }) => {
                self.digests.hash_one((mode == Mode::DeviceCredential, key_id, instance_id))
            }
            None => self.digests.hash_one(credentials.username),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// When a password was first refused uncompared, if it is asked again now.
    fn first_refusal(&mut self, tenant: &str, asked: u64, now: UnixSeconds) -> Option<UnixSeconds> {
        let first = *self.deferred.get_mut(tenant, &asked)?;
        (1..AGAIN).contains(&now.saturating_sub(first)).then_some(first)
    }

    fn defer(&mut self, tenant: &str, asked: u64, now: UnixSeconds) {
        let first = self.deferred.get_mut(tenant, &asked).copied();
        let fresh = first.is_none_or(|first| !(0..AGAIN).contains(&now.saturating_sub(first)));
        if fresh {
            self.deferred.put(tenant, asked, now);
        }
    }
}

fn with_bucket<T>(
    buckets: &mut Shares<u64, Bucket>,
    tenant: &str,
    key: u64,
    now: UnixSeconds,
    change: impl FnOnce(&mut Bucket) -> T,
) -> T {
    if let Some(bucket) = buckets.get_mut(tenant, &key) {
        return change(bucket);
    }
    let mut bucket = Bucket { full_at: now, next: None };
    let done = change(&mut bucket);
    buckets.put(tenant, key, bucket);
    done
}

impl Token {
    /// Keeps it: the password was wrong.
    pub(crate) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.spent {
            return;
        }
        let mut inner = self.failures.lock();
        let Some(bucket) = inner.buckets.get_mut(&self.tenant, &self.bucket) else { return };
        bucket.full_at = bucket.full_at.saturating_sub(self.limit.interval);
        // A full one says nothing, and could be of any name that was made up.
        if bucket.full_at <= self.taken_at && bucket.next.is_none() {
            inner.buckets.remove(&self.tenant, &self.bucket);
        }
    }
}

#[cfg(test)]
mod tests;
