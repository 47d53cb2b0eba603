//! One line before each file: what it is, its format version and the digest of the rest.
//!
//! `mqtt-access-index 1 sha256:<64 hex digits>` and a newline. A truncated or altered file is told from a whole one
//! without looking inside, and an unknown version before anything is parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = EnvelopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hex) { Ok(Self(text.to_owned())) } else { Err(EnvelopeError::Digest) }
    }
}

impl TryFrom<String> for Digest {
    type Error = EnvelopeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What kind of file an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Index,
    Shard,
}

impl Kind {
    fn magic(self) -> &'static str {
        match self {
            Self::Index => "mqtt-access-index",
            Self::Shard => "mqtt-access-shard",
        }
    }
}

/// Why a file is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// The first line is not that of such a file.
    #[error("the first line is not that of a bundle file; compile the bundle again")]
    Header,
    /// Written by a newer release.
    #[error("format version {0} is unknown; upgrade the sidecar before the operator")]
    Version(u32),
    /// The content does not have the digest that the first line (or the file's name) tells.
    #[error("the digest does not fit the content: the file is truncated or altered; compile the bundle again")]
    Digest,
}

pub(super) fn wrap(kind: Kind, version: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{} {version} sha256:{}\n", kind.magic(), Digest::of(payload)).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload and its format version.
pub(super) fn unwrap(kind: Kind, bytes: &[u8]) -> Result<(u32, &[u8]), EnvelopeError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(EnvelopeError::Header)?;
    let (line, rest) = bytes.split_at_checked(end).ok_or(EnvelopeError::Header)?;
    let line = std::str::from_utf8(line).map_err(|_| EnvelopeError::Header)?;
    let mut words = line.split(' ');
    let (Some(magic), Some(version), Some(digest), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(EnvelopeError::Header);
    };
    if magic != kind.magic() {
        return Err(EnvelopeError::Header);
    }
    let version: u32 = version.parse().map_err(|_| EnvelopeError::Header)?;
    if !(1..=super::FORMAT_VERSION).contains(&version) {
        return Err(EnvelopeError::Version(version));
    }
    let payload = rest.get(1..).unwrap_or_default();
    let digest: Digest = digest.strip_prefix("sha256:").ok_or(EnvelopeError::Header)?.parse()?;
    if digest != Digest::of(payload) {
        return Err(EnvelopeError::Digest);
    }
    Ok((version, payload))
}
