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

//!
//! What was right and what was wrong are kept apart, and each tenant has its share of both: no guesses, and no other tenant's
//! logins, make a password forgotten that was found right.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ImportedHash;
use crate::credential::hmac_sha256;
use crate::secret::Secret;
use crate::shares::Shares;

const MAX_RIGHT: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const MAX_WRONG: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
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

/// Outcomes of slow hashes, bounded; the least recently used goes, of the tenant that has most.
pub struct Memo {
    key: Secret,
    known: Mutex<Known>,
}

struct Known {
    right: Shares<ComparisonId, ()>,
    wrong: Shares<ComparisonId, ()>,
}

impl Memo {
    /// An empty memo. The key is 32 random bytes that nobody else has.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self { key, known: Mutex::new(Known { right: Shares::new(MAX_RIGHT), wrong: Shares::new(MAX_WRONG) }) }
    }

    pub(crate) fn get(&self, tenant: &str, id: ComparisonId) -> Option<bool> {
        let Known { right, wrong } = &mut *self.lock();
        if right.get_mut(tenant, &id).is_some() {
            return Some(true);
        }
        wrong.get_mut(tenant, &id).map(|()| false)
    }

    pub(crate) fn put(&self, tenant: &str, id: ComparisonId, fits: bool) {
        let Known { right, wrong } = &mut *self.lock();
        if fits { right.put(tenant, id, ()) } else { wrong.put(tenant, id, ()) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_and_other_tenants_make_no_right_password_forgotten() {
        let memo = Memo::new(Secret::new(vec![7; 32]));
        let id = |number: u32| {
            let mut id = [0; ID_BYTES];
            id[..4].copy_from_slice(&number.to_le_bytes());
            ComparisonId(id)
        };
        memo.put("acme", id(0), true);
        (1..=120_000).for_each(|number| memo.put("acme", id(number), false));
        (1..=120_000).for_each(|number| memo.put("globex", id(number), true));
        assert_eq!(memo.get("acme", id(0)), Some(true));
        assert_eq!(memo.get("globex", id(0)), None);
        assert_eq!((memo.get("acme", id(120_000)), memo.get("acme", id(1))), (Some(false), None));
        let known = memo.lock();
        assert_eq!((known.right.len(), known.wrong.len()), (MAX_RIGHT.get(), MAX_WRONG.get()));
    }
}
