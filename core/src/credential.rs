//! What a client presents: an ApsaraMQ username and an HMAC of its client ID as the password.
//!
//! Source of the formats: the ApsaraMQ for MQTT documentation of Signature and DeviceCredential authentication
//! (`Signature|AccessKeyId|InstanceId`, password = base64 of HMAC-SHA1 over the client ID). HMAC-SHA256 is our
//! extension; the length of the decoded password tells which it is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit as _, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::client::Mode;
use crate::secret::Secret;

/// The longest client ID that a credential may have, in bytes.
pub const MAX_CLIENT_ID_BYTES: usize = 128;

/// The MAC that a password is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MacAlgorithm {
    /// As ApsaraMQ does: 20 bytes, 28 characters.
    HmacSha1,
    /// 32 bytes, 44 characters.
    HmacSha256,
}

/// A username of one of the modes: exactly three non-empty parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeUsername<'a> {
    /// The first part.
    pub mode: Mode,
    /// The AccessKeyId or DeviceAccessKeyId.
    pub key_id: &'a str,
    /// The tenant's instance ID.
    pub instance_id: &'a str,
}

impl<'a> ModeUsername<'a> {
    /// Reads a username; anything that is not of this form is a login name and gives `None`.
    #[must_use]
    pub fn parse(username: &'a str) -> Option<Self> {
        let mut parts = username.split('|');
        let (mode, key_id, instance_id) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || key_id.is_empty() || instance_id.is_empty() {
            return None;
        }
        let modes = [Mode::Signature, Mode::DeviceCredential, Mode::Token];
        let mode = modes.into_iter().find(|known| known.as_str() == mode)?;
        Some(Self { mode, key_id, instance_id })
    }
}

impl std::fmt::Display for ModeUsername<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}|{}", self.mode.as_str(), self.key_id, self.instance_id)
    }
}

/// The password of a client ID: base64 of its MAC.
#[must_use]
pub fn password(algorithm: MacAlgorithm, secret: &Secret, client_id: &str) -> String {
    STANDARD.encode(mac(algorithm, secret.expose(), client_id.as_bytes()))
}

/// Which MAC a password turned out to be.
///
/// Both MACs are computed whatever the password looks like, so that a refusal takes the same time. A password that is
/// not canonical base64 with its padding is no MAC.
#[must_use]
pub fn verify(secret: &Secret, client_id: &str, password: &[u8]) -> Option<MacAlgorithm> {
    let presented = STANDARD.decode(password).unwrap_or_default();
    let is = |algorithm| equals(&mac(algorithm, secret.expose(), client_id.as_bytes()), &presented);
    let (sha1, sha256) = (is(MacAlgorithm::HmacSha1), is(MacAlgorithm::HmacSha256));
    match (sha1, sha256) {
        (true, _) => Some(MacAlgorithm::HmacSha1),
        (_, true) => Some(MacAlgorithm::HmacSha256),
        _ => None,
    }
}

/// Compares MACs in constant time. Nothing equals a MAC that is not there.
pub(crate) fn equals(mac: &[u8], presented: &[u8]) -> bool {
    !mac.is_empty() && bool::from(mac.ct_eq(presented))
}

fn mac(algorithm: MacAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    match algorithm {
        MacAlgorithm::HmacSha1 => finish(Hmac::<Sha1>::new_from_slice(key), message),
        MacAlgorithm::HmacSha256 => hmac_sha256(key, message),
    }
}

/// HMAC-SHA256, all 32 bytes.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    finish(Hmac::<Sha256>::new_from_slice(key), message)
}

fn finish<M: Mac>(mac: Result<M, InvalidLength>, message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of every length, so there is always one; see `equals` for the case that there were none.
    mac.map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// The default DeviceAccessKeyId: `DC.` and 22 characters of base64url(SHA-256(instance ID, NUL, client ID)).
///
/// Stable, so that nothing has to remember it.
#[must_use]
pub fn device_key_id(instance_id: &str, client_id: &str) -> String {
    key_id("DC.", instance_id, client_id)
}

/// The default AccessKeyId: `AK.` and the same hash over the key's name.
#[must_use]
pub fn access_key_id(instance_id: &str, name: &str) -> String {
    key_id("AK.", instance_id, name)
}

fn key_id(prefix: &str, instance_id: &str, name: &str) -> String {
    let hash = Sha256::new().chain_update(instance_id).chain_update([0]).chain_update(name).finalize();
    let text = URL_SAFE_NO_PAD.encode(hash);
    format!("{prefix}{}", text.get(..22).unwrap_or(&text))
}

/// Whether access control can work with a client ID: 1 to 128 bytes, no `/`, `+`, `#`, `|`, `${`, white space or control
/// character.
#[must_use]
pub fn is_client_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_CLIENT_ID_BYTES
        && !text.contains(['/', '+', '#', '|'])
        && !text.contains("${")
        && !text.chars().any(|character| character.is_control() || character.is_whitespace())
}

/// Whether a credential may have a login name of its own: like a client ID, and without `:` and a leading `$`.
#[must_use]
pub fn is_login_name(text: &str) -> bool {
    is_client_id(text) && !text.contains(':') && !text.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_have_exactly_three_parts() {
        let parsed = ModeUsername::parse("Signature|AK.1|mqtt-acme").unwrap();
        assert_eq!((parsed.mode, parsed.key_id, parsed.instance_id), (Mode::Signature, "AK.1", "mqtt-acme"));
        for text in [
            "Signature|AK.1",
            "Signature|AK.1|i|x",
            "Signature||i",
            "signature|a|i",
            "a",
            "",
            "token|a|i",
            "Password|a|i",
            "Scram|a|i",
        ] {
            assert_eq!(ModeUsername::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_password_is_the_strict_base64_of_either_mac() {
        let secret = Secret::from("XXXXX");
        let sha1 = "vI009IZJZVGRwBwZvnbwjfuXxVM=";
        assert_eq!(password(MacAlgorithm::HmacSha1, &secret, "GID_Test@@@0001"), sha1);
        let verify = |password: &str| verify(&secret, "GID_Test@@@0001", password.as_bytes());
        assert_eq!(verify(sha1), Some(MacAlgorithm::HmacSha1));
        let sha256 = password(MacAlgorithm::HmacSha256, &secret, "GID_Test@@@0001");
        assert_eq!(verify(&sha256), Some(MacAlgorithm::HmacSha256));
        // No padding, wrong trailing bits, white space, nothing, not base64.
        for wrong in
            ["vI009IZJZVGRwBwZvnbwjfuXxVM", "vI009IZJZVGRwBwZvnbwjfuXxVN=", "vI009IZJZVGRwBwZvnbwjfuXxVM=\n", "", "é"]
        {
            assert_eq!(verify(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn key_ids_are_stable() {
        let id = device_key_id("mqtt-acme", "GID_acme@@@dev1");
        assert_eq!(id.len(), 25);
        assert_eq!(id, device_key_id("mqtt-acme", "GID_acme@@@dev1"));
        assert_ne!(id, device_key_id("mqtt-acm", "eGID_acme@@@dev1"));
    }
}
