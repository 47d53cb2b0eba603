//! Passwords, and what is kept of them.
//!
//! A generated password has 256 bits: a keyed fast hash of it gives nothing away. Whatever a person may have chosen, or was
//! imported, is checked against a slow hash, which a server has to do outside of its reactor: see [`crate::index`].

mod cost;
mod imported;
mod memo;

use serde::{Deserialize, Serialize};

pub use cost::HashCost;
pub use imported::{HashError, ImportedHash};
pub(crate) use memo::Asked;
pub use memo::{ComparisonId, Memo};

use crate::acl_file::mosquitto;
use crate::credential::hmac_sha256;
use crate::secret::Secret;

/// The longest password that is looked at, in bytes: as long as MQTT allows.
pub const MAX_PASSWORD_BYTES: usize = 65_535;

const FAST_DOMAIN: &[u8] = b"mqtt-access/password/v1\0";
const SALT_DOMAIN: &[u8] = b"mqtt-access/password-salt/v1\0";

/// What a password is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verifier {
    /// HMAC-SHA256 of a generated password under the tenant's ticket key.
    Fast(Secret),
    /// The same, and the password as a broker's own file holds it.
    Filed {
        /// As in [`Verifier::Fast`].
        fast: Secret,
        /// As [`crate::acl_file::mosquitto::hash`] makes it.
        mosquitto: Secret,
    },
    /// A slow hash.
    Slow(ImportedHash),
}

impl Verifier {
    /// For a generated password only.
    #[must_use]
    pub fn fast(ticket_key: &Secret, password: &Secret) -> Self {
        Self::Fast(Secret::new(fast_hash(ticket_key, password.expose())))
    }

    /// For a generated password only, of a client of a broker that reads Mosquitto's `password_file`.
    #[must_use]
    pub fn filed(ticket_key: &Secret, login_name: &str, password: &Secret) -> Self {
        let fast = Secret::new(fast_hash(ticket_key, password.expose()));
        Self::Filed { fast, mosquitto: mosquitto::hash(ticket_key, login_name, password.expose()) }
    }

    /// The fast hash, where there is one.
    pub(crate) fn fast_hash(&self) -> Option<&Secret> {
        match self {
            Self::Fast(hash) | Self::Filed { fast: hash, mosquitto: _ } => Some(hash),
            Self::Slow(_) => None,
        }
    }

    /// For a password that somebody chose. Slow on purpose; the same input gives the same hash.
    #[must_use]
    pub fn slow(ticket_key: &Secret, login_name: &str, password: &Secret) -> Option<Self> {
        let salt = hmac_sha256(ticket_key.expose(), &[SALT_DOMAIN, login_name.as_bytes()].concat());
        ImportedHash::make(salt.get(..16)?, password).map(Self::Slow)
    }

    /// Bytes that are others for every password, for marking tickets.
    pub(crate) fn mark(&self) -> &[u8] {
        match self {
            Self::Fast(hash) | Self::Filed { fast: hash, mosquitto: _ } => hash.expose(),
            Self::Slow(hash) => hash.as_str().as_bytes(),
        }
    }
}

/// HMAC-SHA256 of a password under a tenant's ticket key.
pub(crate) fn fast_hash(ticket_key: &Secret, password: &[u8]) -> Vec<u8> {
    hmac_sha256(ticket_key.expose(), &[FAST_DOMAIN, password].concat())
}
