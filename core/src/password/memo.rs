//! Which passwords were found to fit which hashes a moment ago, so that a fleet that reconnects costs one slow hash a
//! client and not one a connection.
//!
//! An entry is a MAC, under a key of this process, of the hash and the password: it holds neither, and a hash that has been
//! replaced is never looked up again. Whether the credential still counts is judged at every login all the same.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use super::ImportedHash;
use crate::credential::hmac_sha256;
use crate::secret::Secret;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const ENTRY_BYTES: usize = 16;

/// Outcomes of slow hashes, bounded; the least recently used goes.
pub struct Memo {
    key: Secret,
    known: Mutex<LruCache<[u8; ENTRY_BYTES], bool>>,
}

impl Memo {
    /// An empty memo. The key is 32 random bytes that nobody else has.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self { key, known: Mutex::new(LruCache::new(CAPACITY)) }
    }

    pub(crate) fn get(&self, hash: &ImportedHash, password: &[u8]) -> Option<bool> {
        let entry = self.entry(hash, password)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&entry).copied()
    }

    pub(crate) fn put(&self, hash: &ImportedHash, password: &[u8], fits: bool) {
        if let Some(entry) = self.entry(hash, password) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).put(entry, fits);
        }
    }

    fn entry(&self, hash: &ImportedHash, password: &[u8]) -> Option<[u8; ENTRY_BYTES]> {
        let message = [hash.as_str().as_bytes(), &[0], password].concat();
        hmac_sha256(self.key.expose(), &message).get(..ENTRY_BYTES)?.try_into().ok()
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}
