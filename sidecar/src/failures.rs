//! How many wrong proofs an identity and a source may give before their next passwords have to wait for everybody else's.
//!
//! A right proof is never refused: a login is judged first, and only a wrong one takes from a bucket. An empty bucket changes
//! two things: what the log and the metrics call the refusal, and in which lane the next slow hashes of that identity or
//! source wait, so that guessing costs nobody else's time. While a flood fills the queue, the right password of a login name
//! that was guessed at finds no place in it, unless it was found right before. The client is told the same as ever. Brokers
//! and devices send the same failed login again and again: within ten seconds it counts once.
//!
//! Buckets are bounded in number and shared among tenants; one that is forgotten is a full one. Sources are counted for
//! each tenant they ask for, because one address may stand for many clients. RabbitMQ tells no address: there only
//! identities count. Proofs of SCRAM users do not count at all: the broker checks them, and does not tell.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::ModeUsername;
use mqtt_access_core::index::Credentials;
use mqtt_access_core::verdict::Reason;

use crate::dialect::Attempt;
use crate::peer::Peer;
use crate::shares::Shares;

/// About 100 bytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
/// As long as a broker, or a device in a hurry, takes to send a login once more.
const SAME_ATTEMPT: UnixSeconds = 10;
/// Ten typing errors in a row, then 2,880 guesses a day: nothing against a password that is not on every list.
const BY_IDENTITY: Limit = Limit { burst: 10, interval: 30 };
/// A hundred devices with a wrong key behind one address, then one guess a second.
const BY_PEER: Limit = Limit { burst: 100, interval: 1 };

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
    by_identity: Shares<u64, Bucket>,
    by_peer: Shares<Peer, Bucket>,
    counted: Shares<u64, Counted>,
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
    /// Whether there is no token. A clock that was set back leaves no bucket empty for longer.
    fn is_empty(self, bucket: &mut Bucket, now: UnixSeconds) -> bool {
        let whole = self.burst * self.interval;
        bucket.full_at = bucket.full_at.clamp(now, now.saturating_add(whole));
        bucket.full_at.saturating_sub(now) > whole - self.interval
    }

    /// Takes a token; false where there is none.
    fn take(self, bucket: &mut Bucket, now: UnixSeconds) -> bool {
        let empty = self.is_empty(bucket, now);
        if !empty {
            bucket.full_at = bucket.full_at.saturating_add(self.interval);
        }
        !empty
    }
}

impl Failures {
    pub(crate) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: NonZeroUsize) -> Self {
        let (by_identity, by_peer, counted) = (Shares::new(capacity), Shares::new(capacity), Shares::new(capacity));
        Self { digests: RandomState::new(), inner: Mutex::new(Inner { by_identity, by_peer, counted }) }
    }

    /// Counts a wrong proof. Whether there were too many before it, of its identity or its source.
    pub(crate) fn count(&self, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) -> bool {
        let same = self.attempt(attempt);
        let identity = self.identity(&attempt.credentials);
        let inner = &mut *self.lock();
        if let Some(counted) = inner.counted.get_mut(tenant, &same)
            && (0..SAME_ATTEMPT).contains(&now.saturating_sub(counted.at))
        {
            return counted.too_many;
        }
        let taken = take(&mut inner.by_identity, tenant, identity, BY_IDENTITY, now);
        let taken = attempt.peer.is_none_or(|peer| take(&mut inner.by_peer, tenant, peer, BY_PEER, now)) && taken;
        inner.counted.put(tenant, same, Counted { at: now, too_many: !taken });
        !taken
    }

    /// Whether a login has to wait for everybody else's.
    pub(crate) fn too_many(&self, attempt: &Attempt<'_>, tenant: &str, now: UnixSeconds) -> bool {
        let identity = self.identity(&attempt.credentials);
        let inner = &mut *self.lock();
        let by_identity = inner.by_identity.get_mut(tenant, &identity);
        let by_peer = attempt.peer.and_then(|peer| inner.by_peer.get_mut(tenant, &peer));
        by_identity.is_some_and(|bucket| BY_IDENTITY.is_empty(bucket, now))
            || by_peer.is_some_and(|bucket| BY_PEER.is_empty(bucket, now))
    }

    fn attempt(&self, attempt: &Attempt<'_>) -> u64 {
        let Attempt { credentials: Credentials { username, password, client_id }, peer, vhost: _ } = attempt;
        self.digests.hash_one((username, password, client_id, peer))
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

fn take<K: std::hash::Hash + Eq>(
    buckets: &mut Shares<K, Bucket>,
    tenant: &str,
    key: K,
    limit: Limit,
    now: UnixSeconds,
) -> bool {
    if let Some(bucket) = buckets.get_mut(tenant, &key) {
        return limit.take(bucket, now);
    }
    let mut bucket = Bucket { full_at: now };
    let taken = limit.take(&mut bucket, now);
    buckets.put(tenant, key, bucket);
    taken
}

#[cfg(test)]
mod tests;
