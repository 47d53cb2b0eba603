//! Which passwords were found to fit which hashes a moment ago, so that a fleet that reconnects costs one slow hash a
//! client and not one a connection.
//!
//! An entry is a MAC, under a key of this process, of whose login it is, the hash and the password: it holds none of them,
//! and a hash that has been replaced is never looked up again. Whether the credential still counts is judged at every login
//! all the same.
//!
//! Whose login it is has to be in it, because the hash that stands in for those of unknown names is somebody's: otherwise a
//! quick refusal under any name would tell that this is somebody's password, and two quick ones in a row that neither name
//! exists.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use super::ImportedHash;
use crate::credential::hmac_sha256;
use crate::secret::Secret;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const ID_BYTES: usize = 16;

/// A password with what it is compared with, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Instance ID of the tenant that owns the client ID; `None` where there is none.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) login_name: &'a str,
    pub(crate) hash: &'a ImportedHash,
    pub(crate) password: &'a [u8],
}

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

    pub(crate) fn id(&self, asked: Asked<'_>) -> ComparisonId {
        let Asked { tenant, login_name, hash, password } = asked;
        let texts = [tenant.unwrap_or_default(), login_name, hash.as_str()].map(str::as_bytes);
        // With its length before each part, no two lists of parts give one message.
        let part = |part: &[u8]| [&part.len().to_le_bytes()[..], part].concat();
        let message: Vec<u8> = texts.into_iter().chain([password]).flat_map(part).collect();
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
