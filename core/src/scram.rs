//! SCRAM: what a broker needs to check a client's proof without knowing its password.
//!
//! Keys follow RFC 5802 section 3 with SHA-256 (RFC 7677) or SHA-512. The password is taken as it is, without `SASLprep`, as
//! EMQX does. A broker announces one algorithm and one iteration count to all clients, so both are the broker's.
//!
//! The salt is a MAC of the login name under the tenant's ticket key, whether or not the name exists: a name that nobody
//! has is answered with [`Keys::decoy`], which looks the same, is the same every time, and fits no password.

use hmac::{Hmac, KeyInit as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::credential::hmac_sha256;
use crate::secret::Secret;

/// The fewest iterations that RFC 7677 allows.
pub const MIN_ITERATIONS: u32 = 4096;
/// More would hold up every login at the client.
pub const MAX_ITERATIONS: u32 = 1_000_000;

const SALT_DOMAIN: &[u8] = b"mqtt-access/scram-salt/v1\0";
const DECOY_DOMAIN: &[u8] = b"mqtt-access/scram-decoy/v1\0";
const SALT_BYTES: usize = 16;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ScramAlgorithm {
    /// `SCRAM-SHA-256`
    Sha256,
    /// `SCRAM-SHA-512`
    Sha512,
}

/// What a broker announces to every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScramSettings {
    /// The hash.
    pub algorithm: ScramAlgorithm,
    /// Rounds of PBKDF2.
    pub iterations: u32,
}

/// The record of one user, from which neither the password nor its salted form can be computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    /// Bytes of the salt.
    pub salt: Secret,
    /// H(ClientKey)
    pub stored_key: Secret,
    /// HMAC(SaltedPassword, "Server Key")
    pub server_key: Secret,
}

impl Default for ScramSettings {
    /// SHA-256 and 4096, as EMQX has it.
    fn default() -> Self {
        Self { algorithm: ScramAlgorithm::Sha256, iterations: MIN_ITERATIONS }
    }
}

/// The salt of a login name.
#[must_use]
pub fn salt(ticket_key: &Secret, login_name: &str) -> Secret {
    let mut mac = hmac_sha256(ticket_key.expose(), &[SALT_DOMAIN, login_name.as_bytes()].concat());
    mac.truncate(SALT_BYTES);
    Secret::new(mac)
}

impl Keys {
    /// Derives the record of a password. Slow on purpose: `iterations` rounds of PBKDF2.
    #[must_use]
    pub fn derive(settings: ScramSettings, salt: Secret, password: &Secret) -> Self {
        let rounds = settings.iterations;
        match settings.algorithm {
            ScramAlgorithm::Sha256 => {
                let salted = Secret::new(
                    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.expose(), salt.expose(), rounds).to_vec(),
                );
                let mac = |text: &[u8]| finish(Hmac::<Sha256>::new_from_slice(salted.expose()), text);
                let stored_key = Secret::new(Sha256::digest(mac(b"Client Key").expose()).to_vec());
                Self { salt, stored_key, server_key: mac(b"Server Key") }
            }
            ScramAlgorithm::Sha512 => {
                let salted = Secret::new(
                    pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.expose(), salt.expose(), rounds).to_vec(),
                );
                let mac = |text: &[u8]| finish(Hmac::<Sha512>::new_from_slice(salted.expose()), text);
                let stored_key = Secret::new(Sha512::digest(mac(b"Client Key").expose()).to_vec());
                Self { salt, stored_key, server_key: mac(b"Server Key") }
            }
        }
    }

    /// The record of a name that nobody has: always the same, and of no use to anyone.
    #[must_use]
    pub fn decoy(algorithm: ScramAlgorithm, ticket_key: &Secret, login_name: &str) -> Self {
        let mac = |part: u8| hmac_sha256(ticket_key.expose(), &[DECOY_DOMAIN, &[part], login_name.as_bytes()].concat());
        let key = |part: u8| match algorithm {
            ScramAlgorithm::Sha256 => Secret::new(mac(part)),
            ScramAlgorithm::Sha512 => Secret::new([mac(part), mac(part + 1)].concat()),
        };
        Self { salt: salt(ticket_key, login_name), stored_key: key(0), server_key: key(2) }
    }
}

fn finish<M: hmac::Mac>(mac: Result<M, hmac::digest::InvalidLength>, text: &[u8]) -> Secret {
    // HMAC takes keys of every length, so there is always one.
    Secret::new(mac.map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoy_is_stable_looks_like_a_record_and_differs_by_name_and_tenant() {
        let (key, other) = (Secret::from("key"), Secret::from("other"));
        for (algorithm, length) in [(ScramAlgorithm::Sha256, 32), (ScramAlgorithm::Sha512, 64)] {
            let settings = ScramSettings { algorithm, iterations: MIN_ITERATIONS };
            let real = Keys::derive(settings, salt(&key, "dev1"), &Secret::from("p"));
            let decoy = Keys::decoy(algorithm, &key, "dev1");
            assert_eq!(decoy, Keys::decoy(algorithm, &key, "dev1"));
            assert_eq!(decoy.salt, real.salt, "a name that comes into being keeps its salt");
            for keys in [&real, &decoy] {
                assert_eq!(keys.salt.expose().len(), 16);
                assert_eq!((keys.stored_key.expose().len(), keys.server_key.expose().len()), (length, length));
            }
            for another in [Keys::decoy(algorithm, &key, "dev2"), Keys::decoy(algorithm, &other, "dev1"), real] {
                assert!(another.stored_key != decoy.stored_key && another.server_key != decoy.server_key);
            }
            assert_ne!(decoy.stored_key, decoy.server_key);
        }
    }
}
