//! The password of a client as Mosquitto keeps it: `$7$`, PBKDF2 with HMAC-SHA512.
//!
//! Every password here is random or a MAC, of 160 bits or more, and nobody ever chose one: no number of rounds makes it
//! harder to guess, so it is the 101 of `mosquitto_passwd`, and a `CONNECT` costs Mosquitto's only thread next to nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::bundle::{ClientIds, Device};
use crate::client::Mode;
use crate::credential::{self, MacAlgorithm, hmac_sha256};
use crate::index::Persona;
use crate::password::Verifier;
use crate::secret::Secret;

const ITERATIONS: u32 = 101;
const HASH_BYTES: usize = 64;
/// Mosquitto takes no other.
const SALT_BYTES: usize = 12;
const SALT_DOMAIN: &[u8] = b"mqtt-access/mosquitto-salt/v1\0";

/// A password that is fixed.
pub(super) enum Password {
    /// Itself: a MAC.
    Plain(Zeroizing<String>),
    /// Of a generated one, what [`hash`] made of it.
    Hashed(Secret),
}

impl Password {
    /// That of a client; `None` where it has none, or none that is known.
    pub(super) fn of(persona: &Persona<'_>) -> Option<Self> {
        let device = persona.device()?;
        match persona.mode() {
            Mode::DeviceCredential => signature(persona, device).map(Self::Plain),
            Mode::Password => match device.login.as_ref()?.password.as_ref()? {
                Verifier::Filed { fast: _, mosquitto } => Some(Self::Hashed(mosquitto.clone())),
                Verifier::Fast(_) | Verifier::Slow(_) => None,
            },
            Mode::Signature | Mode::Token | Mode::Scram => None,
        }
    }

    /// As the `password_file` holds it for a username.
    pub(super) fn written(self, ticket_key: &Secret, username: &str) -> String {
        let hash = match self {
            Self::Plain(password) => hash(ticket_key, username, password.as_bytes()),
            Self::Hashed(hash) => hash,
        };
        let (salt, hash) = (STANDARD.encode(salt(ticket_key, username)), STANDARD.encode(hash.expose()));
        format!("$7${ITERATIONS}${salt}${hash}")
    }
}

/// The ready-made password: HMAC-SHA1 as the generated Secret has it, or the other one where the tenant takes only that.
/// A line holds one password.
fn signature(persona: &Persona<'_>, device: &Device) -> Option<Zeroizing<String>> {
    let taken = &persona.tenant().tenant().signature_algorithms;
    let known = [MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256];
    let algorithm = known.into_iter().find(|algorithm| taken.contains(algorithm))?;
    let ClientIds::One(client_id) = &device.client_id else { return None };
    Some(Zeroizing::new(credential::password(algorithm, device.secret.as_ref()?, client_id)))
}

/// The same for the same username, so that a file changes only when something in it does.
fn salt(ticket_key: &Secret, username: &str) -> Vec<u8> {
    let mut mac = hmac_sha256(ticket_key.expose(), &[SALT_DOMAIN, username.as_bytes()].concat());
    mac.truncate(SALT_BYTES);
    mac
}

/// What Mosquitto compares: it fits one username, and one salt.
pub(super) fn hash(ticket_key: &Secret, username: &str, password: &[u8]) -> Secret {
    let hash = pbkdf2::pbkdf2_hmac_array::<Sha512, HASH_BYTES>(password, &salt(ticket_key, username), ITERATIONS);
    Secret::new(hash.to_vec())
}
