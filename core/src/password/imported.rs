//! Slow password hashes: bcrypt (`$2b$`, `$2a$`, `$2y$`), and argon2, PBKDF2 and scrypt as PHC strings, with their costs
//! capped. A hash beyond a cap is refused when it is read; it is never tried. These caps are what any hash may cost; an
//! operator may accept less, see [`HashCost`].

use std::fmt;
use std::str::FromStr;

use password_hash::PasswordVerifier as _;
use password_hash::phc::{Output, PasswordHash};
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha512};
use thiserror::Error;

use super::HashCost;
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

    /// The work of checking a password against it.
    #[must_use]
    pub fn cost(&self) -> HashCost {
        // What is no hash any more costs nothing: it is refused without being tried.
        kind(&self.0).map_or(HashCost::of_argon2(0, 0), |(_, cost)| cost)
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
            Ok((Kind::Bcrypt, _)) => bcrypt::verify(password, &self.0).unwrap_or(false),
            Ok((other, _)) => PasswordHash::new(&self.0).is_ok_and(|hash| {
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

type Found = Result<(Kind, HashCost), HashError>;

fn kind(text: &str) -> Found {
    if text.len() > MAX_BYTES {
        return Err(HashError::Form);
    }
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
        let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Form)?;
        let cost = parts.get_cost();
        return bearable(cost <= MAX_BCRYPT_COST, Kind::Bcrypt, HashCost::of_bcrypt(cost));
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

fn bearable(bearable: bool, kind: Kind, cost: HashCost) -> Found {
    if bearable { Ok((kind, cost)) } else { Err(HashError::Cost) }
}

fn argon2(hash: &PasswordHash) -> Found {
    let params = argon2::Params::try_from(hash).map_err(|_| HashError::Form)?;
    let memory = u64::from(params.m_cost());
    let passes = u64::from(params.t_cost());
    let work = memory.saturating_mul(passes);
    let fits = memory <= MAX_MEMORY_KIB && work <= MAX_ARGON2_WORK && params.p_cost() <= MAX_LANES;
    bearable(fits, Kind::Argon2, HashCost::of_argon2(memory, passes))
}

fn pbkdf2(hash: &PasswordHash) -> Found {
    let rounds = hash.params.get_decimal("i").filter(|rounds| *rounds > 0).ok_or(HashError::Form)?;
    let known = hash.params.iter().all(|(name, _)| ["i", "l"].contains(&name.as_str()));
    let length = hash.hash.as_ref().map_or(0, Output::len);
    let told = hash.params.get_decimal("l").is_none_or(|told| usize::try_from(told) == Ok(length));
    if hash.version.is_some() || !known || !told || length < MIN_PBKDF2_BYTES {
        return Err(HashError::Form);
    }
    // Every block of the output that is as long as the hash costs all rounds again.
    let sha256 = hash.algorithm.as_str() == "pbkdf2-sha256";
    let blocks = u32::try_from(length.div_ceil(if sha256 { 32 } else { 64 })).unwrap_or(u32::MAX);
    let of = if sha256 { HashCost::of_pbkdf2_sha256 } else { HashCost::of_pbkdf2_sha512 };
    let cost = of(u64::from(rounds), u64::from(blocks));
    bearable(rounds.saturating_mul(blocks) <= MAX_PBKDF2_ROUNDS, Kind::Pbkdf2, cost)
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

fn scrypt(hash: &PasswordHash) -> Found {
    let beyond = |name, most| hash.params.get_decimal(name).is_some_and(|value| value > most);
    // Before the crate reads them: it multiplies the two without a check, and large ones made it panic.
    if beyond("r", MAX_SCRYPT_BLOCK) || beyond("p", MAX_LANES) {
        return Err(HashError::Cost);
    }
    let params = scrypt::Params::try_from(hash).map_err(|_| HashError::Form)?;
    let blocks = 1_u64.checked_shl(u32::from(params.log_n())).unwrap_or(u64::MAX);
    let memory_kib = blocks.saturating_mul(u64::from(params.r())).saturating_mul(128) / 1024;
    let cost = HashCost::of_scrypt(memory_kib.max(1), u64::from(params.p()));
    bearable(memory_kib <= MAX_MEMORY_KIB, Kind::Scrypt, cost)
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
            (format!("$2x$10${salt}"), Some(HashError::Form)),
            (format!("$2b$10$b{salt}"), Some(HashError::Form)),
            ("$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$argon2id$v=19$m=65537,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$argon2id$v=19$m=65536,t=5,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$argon2id$v=19$m=64,t=4097,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$argon2id$v=19$m=1024,t=1,p=5$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$pbkdf2-sha256$i=600000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$pbkdf2-sha256$i=2000001$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$scrypt$ln=16,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$scrypt$ln=17,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            // The guard stands before the crate that computes with these: one over its limits is enough to see it.
            ("$scrypt$ln=4,r=1024,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), None),
            ("$scrypt$ln=4,r=1025,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
            ("$scrypt$ln=4,r=8,p=5$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(), Some(HashError::Cost)),
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

    #[test]
    fn kinds_are_compared_by_their_work() {
        let cost = |text: &str| text.parse::<ImportedHash>().unwrap().cost();
        let bcrypt = HashCost::of_bcrypt;
        let tail = "$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";
        assert_eq!(cost("$2b$12$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"), bcrypt(12));
        assert_eq!(cost(&format!("$argon2id$v=19$m=65536,t=2,p=1{tail}")), bcrypt(10));
        assert_eq!(cost(&format!("$pbkdf2-sha256$i=524288{tail}")), bcrypt(10));
        assert_eq!(cost(&format!("$pbkdf2-sha512$i=524288{tail}")), bcrypt(12));
        assert_eq!(cost(&format!("$scrypt$ln=15,r=8,p=1{tail}")), bcrypt(10));
        assert_eq!(cost(&format!("$scrypt$ln=16,r=8,p=2{tail}")), bcrypt(12));
        assert!(cost(&format!("$pbkdf2-sha512$i=524289{tail}")) > bcrypt(12));
        assert!(cost(&format!("$scrypt$ln=16,r=8,p=3{tail}")) > bcrypt(12));
        // Every block of output costs all rounds again.
        let long = format!("$pbkdf2-sha256$i=1000$c2FsdHNhbHQ${}", "A".repeat(86));
        assert_eq!(cost(&long).rounds(), 2000);
        // What is made for passwords that people chose is within any cap.
        let made = ImportedHash::make(&[7; 16], &Secret::from("pencil")).unwrap().cost();
        assert!(bcrypt(8) < made && made <= bcrypt(9) && made == HashCost::cap(4));
        assert_eq!(HashCost::cap(12), bcrypt(12));
    }
}
