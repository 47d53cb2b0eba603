//! Which passwords were found to fit which hashes a moment ago, so that a fleet that reconnects costs one slow hash a
//! client and not one a connection.
//!
//! An entry is a MAC, under a key of this process, of the hash, the login name and the password: it holds none of them, and
//! a hash that has been replaced is never looked up again. The name belongs to it because one hash stands in for those of
//! all names that do not exist: a quick answer to the second of them would tell that neither does. Whether the credential
//! still counts is judged at every login all the same.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use super::ImportedHash;
use crate::credential::hmac_sha256;
use crate::secret::Secret;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const ID_BYTES: usize = 16;

/// Names one comparison of a password with a hash, for one login name, within the process that made the [`Memo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ComparisonId([u8; ID_BYTES]);

/// Outcomes of slow hashes, bounded; the least recently used goes.
pub struct Memo {
    key: Secret,
    known: Mutex<LruCache<ComparisonId, bool>>,
}

impl Memo {
    /// An empty memo. The key is 32 random bytes that nobody else has.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self { key, known: Mutex::new(LruCache::new(CAPACITY)) }
    }

    pub(crate) fn get(&self, id: ComparisonId) -> Option<bool> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    pub(crate) fn put(&self, id: ComparisonId, fits: bool) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(id, fits);
    }

    pub(crate) fn id(&self, hash: &ImportedHash, login_name: &str, password: &[u8]) -> ComparisonId {
        let length = u64::try_from(login_name.len()).unwrap_or(u64::MAX).to_be_bytes();
        let message = [hash.as_str().as_bytes(), &[0], &length, login_name.as_bytes(), password].concat();
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hmac_sha256(self.key.expose(), &message)).for_each(|(to, from)| *to = from);
        ComparisonId(id)
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}
