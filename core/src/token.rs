//! Tokens: JWTs that stand for some of an access key's rights, for some time.
//!
//! HS256 only, signed with the access key's *token key* and never with its AccessKeySecret: a Signature password is an
//! HMAC under that secret over a string the client chooses, and would be a forged token. Sources: RFC 7519 for the form,
//! the ApsaraMQ for MQTT documentation of token authentication for the password and the codes of refusals.
//!
//! Clocks: `iat` and `nbf` may be 60 seconds ahead; `exp` has no leeway.

mod hs256;
mod parts;

use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use parts::{TokenPair, pairs};

use crate::bundle::UnixSeconds;
use crate::client::Grant;
use crate::secret::Secret;
use crate::topic::Filter;
use crate::topic::prefix::{Prefixes, subscribe_filter};
use crate::verdict::Reason;

/// The most resources of a token.
pub const MAX_RESOURCES: usize = 100;
/// The shortest lifetime of a token, in seconds.
pub const MIN_LIFETIME: UnixSeconds = 60;
/// The longest lifetime of a token, in seconds; one that asks for more ends with it.
pub const MAX_LIFETIME: UnixSeconds = 30 * 24 * 60 * 60;
/// The longest token, in bytes: what an MQTT password can hold.
pub const MAX_TOKEN_BYTES: usize = 65_535;
/// How far the clock of whoever made a token may be ahead, in seconds.
const LEEWAY: UnixSeconds = 60;
const MAX_ID_BYTES: usize = 128;
/// No time in seconds is that far ahead: it is one in milliseconds, which would never end.
const MILLISECONDS: UnixSeconds = 100_000_000_000;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Act {
    /// Subscribing.
    R,
    /// Publishing.
    W,
    /// Both.
    RW,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The AccessKeyId that it was issued with.
    pub iss: String,
    /// The tenant's instance ID.
    pub aud: String,
    /// When it was issued.
    pub iat: UnixSeconds,
    /// When it ends.
    pub exp: UnixSeconds,
    /// From when on it counts, where whoever made it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<UnixSeconds>,
    /// Its ID, for revocation: 1 to 128 bytes.
    pub jti: String,
    /// What its resources may be used for.
    pub act: Act,
    /// 1 to 100 topic filters.
    pub res: Vec<String>,
    /// The only client ID that may use it, where it is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// What a token has to fit to.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The AccessKeyId of the username.
    pub key_id: &'a str,
    /// The instance ID of the username.
    pub instance_id: &'a str,
    /// The longest lifetime that the tenant allows, in seconds.
    pub max_lifetime: UnixSeconds,
}

/// A token whose signature and claims are in order. Whether it is revoked is the tenant's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// `jti`
    #[serde(rename = "j")]
    pub id: String,
    /// `iat`
    #[serde(rename = "a")]
    pub issued_at: UnixSeconds,
    /// When it ends: `exp`, or earlier where its lifetime was too long.
    #[serde(rename = "e")]
    pub expires_at: UnixSeconds,
    /// `act`
    #[serde(rename = "t")]
    pub act: Act,
    /// `res`
    #[serde(rename = "r")]
    pub resources: Vec<String>,
    /// `sub`
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// The token key of an access key: HKDF-SHA256 of its secret, empty salt, info `mqtt-access/token/v1`, 32 bytes written as
/// base64url without padding. Those 43 characters are the HMAC key.
#[must_use]
pub fn token_key(access_key_secret: &Secret) -> Secret {
    use base64::Engine as _;
    let mut key = zeroize::Zeroizing::new([0_u8; 32]);
    // It fails only for outputs of more than 8,160 bytes; an empty key then verifies nothing.
    match hkdf::Hkdf::<Sha256>::new(None, access_key_secret.expose()).expand(b"mqtt-access/token/v1", key.as_mut()) {
        Ok(()) => Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.as_slice()).into_bytes()),
        Err(_) => Secret::new(Vec::new()),
    }
}

impl Claims {
    /// The token as text; `None` where it cannot be made.
    #[must_use]
    pub fn sign(&self, token_key: &Secret) -> Option<String> {
        hs256::sign(self, token_key)
    }
}

/// Checks a token: signature first, then everything that it says.
pub fn verify(text: &str, token_key: &Secret, expected: Expected<'_>, now: UnixSeconds) -> Result<Token, Reason> {
    let claims = hs256::verify(text, token_key)?;
    let Claims { iss, aud, iat, exp, nbf, jti, act, res, sub } = claims;
    let ahead = |time: UnixSeconds| time > now.saturating_add(LEEWAY);
    let id_fits = !jti.is_empty() && jti.len() <= MAX_ID_BYTES;
    let ours = iss == expected.key_id && aud == expected.instance_id;
    let counts = !ahead(iat) && !nbf.is_some_and(ahead);
    let lasts = exp < MILLISECONDS && exp.saturating_sub(iat) >= MIN_LIFETIME;
    if !(id_fits && ours && counts && lasts && resources_fit(&res)) {
        return Err(Reason::TokenMalformed);
    }
    let longest = expected.max_lifetime.min(MAX_LIFETIME);
    let expires_at = exp.min(iat.saturating_add(longest));
    if expires_at <= now {
        return Err(Reason::TokenExpired);
    }
    Ok(Token { id: jti, issued_at: iat, expires_at, act, resources: res, client_id: sub })
}

fn resources_fit(resources: &[String]) -> bool {
    (1..=MAX_RESOURCES).contains(&resources.len()) && resources.iter().all(|resource| is_resource(resource))
}

/// Whether a token may name a resource: a topic filter without a prefix such as `$share/`.
#[must_use]
pub fn is_resource(resource: &str) -> bool {
    // With its prefix stripped before, a filter that has one is refused.
    Filter::parse(resource).is_ok() && subscribe_filter(resource, Prefixes::Stripped).is_ok()
}

impl Act {
    /// As it stands in claims and in passwords.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R => "R",
            Self::W => "W",
            Self::RW => "RW",
        }
    }

    /// Reads `R`, `W` or `RW`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::R, Self::W, Self::RW].into_iter().find(|act| act.as_str() == text)
    }

    /// Whether it permits publishing.
    #[must_use]
    pub fn publishes(self) -> bool {
        self != Self::R
    }

    /// Whether it permits subscribing.
    #[must_use]
    pub fn subscribes(self) -> bool {
        self != Self::W
    }
}

impl Token {
    /// What the token permits.
    pub(crate) fn grants(&self) -> impl Iterator<Item = Grant> {
        let (publish, subscribe) = (self.act.publishes(), self.act.subscribes());
        self.resources.iter().map(move |filter| Grant { filter: filter.clone(), publish, subscribe })
    }
}

#[cfg(test)]
mod tests;
