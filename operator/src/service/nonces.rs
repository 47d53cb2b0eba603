//! Signed requests are good once: nonces that were seen, for as long as their timestamp would still be taken.
//!
//! Only a request whose signature is right gets here, so a key's memory is filled by its owner alone. When it is full the
//! oldest nonces go, and requests as old as those are refused from then on: bounded, and never a replay.
//!
//! Each replica remembers its own. Whoever could read a request under TLS could send it to another replica, once, within
//! a quarter of an hour.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use mqtt_access_core::bundle::UnixSeconds;
use sha2::{Digest as _, Sha256};

/// How far the timestamp of a request may be off, in seconds; the vendor's figure.
pub(super) const WINDOW: UnixSeconds = 15 * 60;
/// Nonces of one access key.
const MAX_NONCES: usize = 100_000;

type Hash = [u8; 32];

/// Why a signed request is refused although its signature is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// Its timestamp is too far from now, or older than what is remembered.
    Expired,
    /// Its nonce was used.
    Used,
}

/// What was seen of each access key.
#[derive(Default)]
pub(super) struct Nonces(Mutex<HashMap<String, Seen>>);

#[derive(Default)]
struct Seen {
    order: BTreeSet<(UnixSeconds, Hash)>,
    hashes: HashSet<Hash>,
    /// Requests up to this time are refused: their nonces may be forgotten.
    forgotten: UnixSeconds,
}

/// Whether a timestamp is near enough to now.
pub(super) fn is_timely(timestamp: UnixSeconds, now: UnixSeconds) -> bool {
    timestamp.abs_diff(now) <= WINDOW.unsigned_abs()
}

impl Nonces {
    /// Remembers a nonce of a key.
    pub(super) fn take(&self, key: &str, nonce: &str, timestamp: UnixSeconds, now: UnixSeconds) -> Result<(), Stale> {
        if !is_timely(timestamp, now) {
            return Err(Stale::Expired);
        }
        let hash = Sha256::digest(nonce.as_bytes()).into();
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, seen| seen.order.last().is_some_and(|(last, _)| is_timely(*last, now)));
        let seen = keys.entry(key.to_owned()).or_default();
        seen.forget(now);
        seen.take(hash, timestamp)
    }
}

impl Seen {
    fn take(&mut self, hash: Hash, timestamp: UnixSeconds) -> Result<(), Stale> {
        if timestamp <= self.forgotten {
            return Err(Stale::Expired);
        }
        if !self.hashes.insert(hash) {
            return Err(Stale::Used);
        }
        self.order.insert((timestamp, hash));
        if self.order.len() > MAX_NONCES
            && let Some((oldest, hash)) = self.order.pop_first()
        {
            self.hashes.remove(&hash);
            self.forgotten = oldest;
        }
        Ok(())
    }

    /// Nonces whose timestamp is refused anyway are of no use.
    fn forget(&mut self, now: UnixSeconds) {
        while let Some((oldest, hash)) = self.order.first().copied().filter(|(oldest, _)| *oldest < now - WINDOW) {
            self.order.remove(&(oldest, hash));
            self.hashes.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = 1_800_000_000;

    #[test]
    fn a_nonce_is_good_once_and_for_one_key() {
        let nonces = Nonces::default();
        assert_eq!(nonces.take("a", "n", NOW, NOW), Ok(()));
        assert_eq!(nonces.take("a", "n", NOW, NOW), Err(Stale::Used));
        assert_eq!(nonces.take("a", "n", NOW + 1, NOW), Err(Stale::Used));
        assert_eq!(nonces.take("b", "n", NOW, NOW), Ok(()));
    }

    #[test]
    fn a_timestamp_is_good_for_a_quarter_of_an_hour_to_both_sides() {
        let nonces = Nonces::default();
        assert_eq!(nonces.take("a", "1", NOW - WINDOW, NOW), Ok(()));
        assert_eq!(nonces.take("a", "2", NOW + WINDOW, NOW), Ok(()));
        assert_eq!(nonces.take("a", "3", NOW - WINDOW - 1, NOW), Err(Stale::Expired));
        assert_eq!(nonces.take("a", "4", NOW + WINDOW + 1, NOW), Err(Stale::Expired));
        assert_eq!(nonces.take("a", "5", UnixSeconds::MIN, NOW), Err(Stale::Expired));
        // Seen first when it was from the future, it is remembered until it is refused for its age.
        assert_eq!(nonces.take("a", "2", NOW + WINDOW, NOW + 2 * WINDOW), Err(Stale::Used));
        assert_eq!(nonces.take("a", "2", NOW + WINDOW, NOW + 2 * WINDOW + 1), Err(Stale::Expired));
    }

    #[test]
    fn a_full_memory_refuses_what_it_forgot() {
        let mut seen = Seen::default();
        let hash = |number: usize| Sha256::digest(number.to_be_bytes()).into();
        for number in 0..=MAX_NONCES {
            let at = NOW + i64::try_from(number / 1000).unwrap();
            assert_eq!(seen.take(hash(number), at), Ok(()));
        }
        assert_eq!(seen.order.len(), MAX_NONCES);
        let forgotten = seen.forgotten;
        assert_eq!(forgotten, NOW);
        assert_eq!(seen.take(hash(0), NOW), Err(Stale::Expired));
        assert_eq!(seen.take(hash(MAX_NONCES), NOW + 100), Err(Stale::Used));
    }
}
