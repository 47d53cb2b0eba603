//! How much work it is to check a password against a slow hash, so that hashes of different kinds can be compared, capped
//! and take fair turns.
//!
//! The unit is one round of PBKDF2 with SHA-256, about a quarter of a microsecond. One step of the other kinds is so many of
//! these as its inner loop was measured to take, rounded to a power of two; machines differ, the table does not:
//!
//! | kind | work |
//! |---|---|
//! | bcrypt | 512 for each of its `2^cost` rounds |
//! | argon2id, argon2i, argon2d | 4 for each KiB of memory and pass |
//! | pbkdf2-sha256, pbkdf2-sha512 | 1, 4 for each round and block of output |
//! | scrypt | 16 for each KiB of memory and lane |
//!
//! So these are equal to bcrypt, where the limits of every hash allow them:
//!
//! | bcrypt | argon2, KiB x passes | pbkdf2-sha256 | pbkdf2-sha512 | scrypt, KiB x lanes |
//! |---|---|---|---|---|
//! | 10 | 131,072 | 524,288 | 131,072 | 32,768 |
//! | 12 | 524,288 | 2,097,152 | 524,288 | 131,072 |
//! | 14 | 2,097,152 | 8,388,608 | 2,097,152 | 524,288 |

const BCRYPT_ROUND: u64 = 512;
const ARGON2_KIB: u64 = 4;
const PBKDF2_SHA256_ROUND: u64 = 1;
const PBKDF2_SHA512_ROUND: u64 = 4;
const SCRYPT_KIB: u64 = 16;

/// The work of checking a password against a slow hash. It is computed from the parameters of the hash and never measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashCost(u64);

impl HashCost {
    /// The work of bcrypt at a cost; a hash of any kind fits under that cap if its own work is at most this.
    #[must_use]
    pub const fn of_bcrypt(cost: u32) -> Self {
        Self(BCRYPT_ROUND.saturating_mul(2_u64.saturating_pow(cost)))
    }

    /// The most work of an imported hash under a cap that is said as a cost of bcrypt. What is made here for passwords that
    /// people chose (argon2id with 19 MiB and 2 passes, a bit more than bcrypt 8) is within every cap.
    #[must_use]
    pub fn cap(bcrypt: u32) -> Self {
        Self::of_bcrypt(bcrypt).max(Self::of_argon2(19 * 1024, 2))
    }

    /// As a number of rounds of PBKDF2 with SHA-256.
    #[must_use]
    pub const fn rounds(self) -> u64 {
        self.0
    }

    pub(super) const fn of_argon2(memory_kib: u64, passes: u64) -> Self {
        Self(memory_kib.saturating_mul(passes).saturating_mul(ARGON2_KIB))
    }

    pub(super) const fn of_pbkdf2_sha256(rounds: u64, blocks: u64) -> Self {
        Self(rounds.saturating_mul(blocks).saturating_mul(PBKDF2_SHA256_ROUND))
    }

    pub(super) const fn of_pbkdf2_sha512(rounds: u64, blocks: u64) -> Self {
        Self(rounds.saturating_mul(blocks).saturating_mul(PBKDF2_SHA512_ROUND))
    }

    pub(super) const fn of_scrypt(memory_kib: u64, lanes: u64) -> Self {
        Self(memory_kib.saturating_mul(lanes).saturating_mul(SCRYPT_KIB))
    }
}
