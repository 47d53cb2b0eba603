//! Slow password hashes: bcrypt (`$2b$`, `$2a$`, `$2y$`), and argon2, PBKDF2 and scrypt as PHC strings, with their costs
//! capped. A hash beyond a cap is refused when it is read; it is never tried.

use std::fmt;
use std::str::FromStr;

use password_hash::PasswordVerifier as _;
use password_hash::phc::{Output, PasswordHash};
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha512};
use thiserror::Error;

use crate::secret::Secret;

/// Four of these a second and core; each step doubles the time.
const MAX_BCRYPT_COST: u32 = 14;
/// 64 MiB, as much as all scrypt and argon2 hashes may take.
const MAX_MEMORY_KIB: u64 = 64 * 1024;
/// Passes over the memory, times the memory in KiB: 64 MiB four times, or 19 MiB thirteen times.
const MAX_ARGON2_WORK: u64 = 4 * MAX_MEMORY_KIB;
const MAX_PBKDF2_ROUNDS: u32 = 2_000_000;
const MIN_PBKDF2_BYTES: usize = 16;
const MAX_LANES: u32 = 4;
/// 128 KiB: beside the memory of the cost, scrypt takes one such block a lane. Everybody has 8.
const MAX_SCRYPT_BLOCK: u32 = 1024;
const MAX_BYTES: usize = 512;

/// A slow password hash that this build can check at a bearable cost. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImportedHash(String);

/// Why a password hash is refused. No message quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HashError {
    /// Not one of the formats.
    #[error(
        "is not a password hash of a known form; use bcrypt (`$2b$`), or argon2id, pbkdf2-sha256, pbkdf2-sha512 or scrypt as a PHC string"
    )]
    Form,
    /// Checking it would take too long, or too much memory.
    #[error(
        "costs too much to check; at most bcrypt cost 14, argon2 64 MiB with 4 passes, PBKDF2 2000000 rounds, scrypt ln=16,r=8"
    )]
    Cost,
}

enum Kind {
    Bcrypt,
    Argon2,
    Pbkdf2,
    Scrypt,
}

impl ImportedHash {
    /// argon2id with 19 MiB and 2 passes, as OWASP recommends.
    pub(super) fn make(salt: &[u8], password: &Secret) -> Option<Self> {
        use password_hash::PasswordHasher as _;
        let hash: PasswordHash = argon2::Argon2::default().hash_password_with_salt(password.expose(), salt).ok()?;
        Some(Self(hash.to_string()))
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the hash of a password. Slow on purpose.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match kind(&self.0) {
            // No tool's password holds a NUL, and to some hashes one at the end is none.
            Ok(_) if password.contains(&0) => false,
            // As bcrypt has it, bytes after the 72nd do not count.
            Ok(Kind::Bcrypt) => bcrypt::verify(password, &self.0).unwrap_or(false),
            Ok(other) => PasswordHash::new(&self.0).is_ok_and(|hash| {
                let verified = match other {
                    Kind::Argon2 => argon2::Argon2::default().verify_password(password, &hash),
                    Kind::Pbkdf2 => {
                        return pbkdf2_output(&hash, password).is_some_and(|output| hash.hash == Some(output));
                    }
                    Kind::Scrypt | Kind::Bcrypt => scrypt::Scrypt::default().verify_password(password, &hash),
                };
                verified.is_ok()
            }),
            Err(_) => false,
        }
    }
}

fn kind(text: &str) -> Result<Kind, HashError> {
    if text.len() > MAX_BYTES {
        return Err(HashError::Form);
    }
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
        let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Form)?;
        return if parts.get_cost() <= MAX_BCRYPT_COST { Ok(Kind::Bcrypt) } else { Err(HashError::Cost) };
    }
    let hash = PasswordHash::new(text).map_err(|_| HashError::Form)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashError::Form);
    }
    match hash.algorithm.as_str() {
        "argon2id" | "argon2i" | "argon2d" => argon2(&hash),
        "pbkdf2-sha256" | "pbkdf2-sha512" => pbkdf2(&hash),
        "scrypt" => scrypt(&hash),
        _ => Err(HashError::Form),
    }
}

fn argon2(hash: &PasswordHash) -> Result<Kind, HashError> {
    let params = argon2::Params::try_from(hash).map_err(|_| HashError::Form)?;
    let memory = u64::from(params.m_cost());
    let work = memory.saturating_mul(u64::from(params.t_cost()));
    let bearable = memory <= MAX_MEMORY_KIB && work <= MAX_ARGON2_WORK && params.p_cost() <= MAX_LANES;
    if bearable { Ok(Kind::Argon2) } else { Err(HashError::Cost) }
}

fn pbkdf2(hash: &PasswordHash) -> Result<Kind, HashError> {
    let rounds = hash.params.get_decimal("i").filter(|rounds| *rounds > 0).ok_or(HashError::Form)?;
    let known = hash.params.iter().all(|(name, _)| ["i", "l"].contains(&name.as_str()));
    let length = hash.hash.as_ref().map_or(0, Output::len);
    let told = hash.params.get_decimal("l").is_none_or(|told| usize::try_from(told) == Ok(length));
    if hash.version.is_some() || !known || !told || length < MIN_PBKDF2_BYTES {
        return Err(HashError::Form);
    }
    // Every part of the output that is as long as the hash costs all rounds again.
    let part = if hash.algorithm.as_str() == "pbkdf2-sha256" { 32 } else { 64 };
    let parts = u32::try_from(length.div_ceil(part)).unwrap_or(u32::MAX);
    if rounds.saturating_mul(parts) <= MAX_PBKDF2_ROUNDS { Ok(Kind::Pbkdf2) } else { Err(HashError::Cost) }
}

/// By hand, because the crate's own reading wants `l` in every string whose output has not 32 bytes.
fn pbkdf2_output(hash: &PasswordHash, password: &[u8]) -> Option<Output> {
    let mut output = zeroize::Zeroizing::new(vec![0; hash.hash.as_ref()?.len()]);
    let (salt, rounds) = (hash.salt.as_ref()?, hash.params.get_decimal("i")?);
    match hash.algorithm.as_str() {
        "pbkdf2-sha256" => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut output),
        "pbkdf2-sha512" => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut output),
        _ => return None,
    }
    Output::new(&output).ok()
}

fn scrypt(hash: &PasswordHash) -> Result<Kind, HashError> {
    let beyond = |name, most| hash.params.get_decimal(name).is_some_and(|value| value > most);
    // Before the crate reads them: it multiplies the two, and the product of two large ones is a panic.
    if beyond("r", MAX_SCRYPT_BLOCK) || beyond("p", MAX_LANES) {
        return Err(HashError::Cost);
    }
    let params = scrypt::Params::try_from(hash).map_err(|_| HashError::Form)?;
    let blocks = 1_u64.checked_shl(u32::from(params.log_n())).unwrap_or(u64::MAX);
    let memory_kib = blocks.saturating_mul(u64::from(params.r())).saturating_mul(128) / 1024;
    if memory_kib <= MAX_MEMORY_KIB { Ok(Kind::Scrypt) } else { Err(HashError::Cost) }
}

impl FromStr for ImportedHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        kind(text).map(|_| Self(text.to_owned()))
    }
}

impl TryFrom<String> for ImportedHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImportedHash> for String {
    fn from(hash: ImportedHash) -> Self {
        hash.0
    }
}

impl fmt::Debug for ImportedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_hash_fits_its_password_only() {
        let hash = ImportedHash::make(&[7; 16], &Secret::from("pencil")).unwrap();
        assert!(hash.verify(b"pencil") && !hash.verify(b"pencil ") && !hash.verify(b""));
        assert_eq!(hash.as_str().parse(), Ok(hash.clone()));
        assert_eq!(format!("{hash:?}"), "***");
    }

    #[test]
    fn hashes_of_other_tools_are_checked() {
        for text in [
            // Made with Python's `bcrypt`, `argon2-cffi` and `hashlib`.
            "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76",
            "$2a$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76",
            "$2y$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76",
            "$argon2id$v=19$m=64,t=1,p=1$GTjE8x0ZcFA/JlE3zwf7qg$FnvebOn+WwqtBV4Rxq3wBI7ZuOjg+nFZ57YRWxjyVWc",
            "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$L2H31ELbEkEp/VPKxICbyp1Ohp7bT8BKnp3zAdQqqwU",
            "$pbkdf2-sha512$i=1000$c2FsdHNhbHRzYWx0c2FsdA$uiOvoeKbG0t7DO0jnrIx8zlCjSBrsb79JP21m9fAVok",
            "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$91ZUcq5ecp4cjJejRqn36oi1T1uOZMS/rPFDUCqUu/g",
        ] {
            let hash: ImportedHash = text.parse().unwrap();
            assert!(hash.verify(b"pencil"), "{text}");
            for wrong in [&b""[..], b"Pencil", b"pencil\0", b"pencil1"] {
                assert!(!hash.verify(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn costs_are_capped_and_other_forms_refused() {
        let salt = "abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
        for (text, expected) in [
            (format!("$2b$14${salt}"), None),
            (format!("$2a$10${salt}"), None),
            (format!("$2y$10${salt}"), None),
            (format!("$2b$15${salt}"), Some(HashError::Cost)),
            (format!("$2b$31${salt}"), Some(HashError::Cost)),
            (format!("$2x$10${salt}"), Some(HashError::Form)),
            (format!("$2b$10$b{salt}"), Some(HashError::Form)),
            ("$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$argon2id$v=19$m=65537,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$argon2id$v=19$m=65536,t=5,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            (
                "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
                Some(HashError::Cost),
            ),
            ("$argon2id$v=19$m=1024,t=1,p=5$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$pbkdf2-sha256$i=600000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$pbkdf2-sha256$i=2000001$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$scrypt$ln=16,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$scrypt$ln=17,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$scrypt$ln=25,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$scrypt$ln=63,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Form)),
            // 64 MiB for the cost, but 192 MiB beside it.
            ("$scrypt$ln=1,r=262144,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            // A product beyond 32 bits.
            ("$scrypt$ln=1,r=65536,p=65536$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            (
                "$scrypt$ln=1,r=4294967295,p=4294967295$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
                Some(HashError::Cost),
            ),
            (format!("$pbkdf2-sha256$i=1000000$c2FsdHNhbHQ${}", "A".repeat(86)), None),
            (format!("$pbkdf2-sha256$i=1000001$c2FsdHNhbHQ${}", "A".repeat(86)), Some(HashError::Cost)),
            (format!("$pbkdf2-sha512$i=2000000$c2FsdHNhbHQ${}", "A".repeat(86)), None),
            ("$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ".to_owned(), Some(HashError::Form)),
            ("$1$salt$hash".to_owned(), Some(HashError::Form)),
            ("password".to_owned(), Some(HashError::Form)),
            (String::new(), Some(HashError::Form)),
            ("$2b$".to_owned(), Some(HashError::Form)),
        ] {
            assert_eq!(text.parse::<ImportedHash>().err(), expected, "{text}");
        }
    }
}
