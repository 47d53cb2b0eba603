//! Who asks the native API: the holder of an access key (HTTP Basic), or a Kubernetes user whom RBAC permits it (Bearer).
//!
//! Whoever is not known is told so in one way: an access key that does not exist, a wrong secret and a tenant that does
//! not exist are the same refusal after the same work.

use std::hint::black_box;
use std::sync::LazyLock;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_core::bundle::{AccessKey, KeyUse, UnixSeconds};
use mqtt_access_core::secret::Secret;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::directory::Issuer;

/// The longest Kubernetes token that is handed on.
const MAX_BEARER_BYTES: usize = 16 * 1024;

/// Stands in for the key of nobody.
pub(super) static NOBODY: LazyLock<Secret> = LazyLock::new(|| Secret::new(vec![0; 43]));

/// What a request presents.
pub(super) enum Presented {
    /// `Basic`: an AccessKeyId and an AccessKeySecret.
    Key { id: String, secret: Secret },
    /// `Bearer`: a Kubernetes token.
    Bearer(Secret),
}

/// An access key with the secret that its holder has: it may be on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'i> {
    pub(super) key: &'i AccessKey,
    pub(super) secret: &'i Secret,
    /// When the secret ends.
    pub(super) ends: Option<UnixSeconds>,
}

impl<'i> Held<'i> {
    /// The first of a key's accepted secrets that fits. All of them are tried, and one of nobody where there is none.
    pub(super) fn by(key: Option<&'i AccessKey>, now: UnixSeconds, fits: impl Fn(&Secret) -> bool) -> Option<Self> {
        let mut accepted = key.into_iter().flat_map(|key| key.accepted(now)).peekable();
        if accepted.peek().is_none() {
            black_box(fits(&NOBODY));
        }
        let found = accepted.fold(None, |found, accepted| {
            let fits = fits(accepted.0);
            found.or(fits.then_some(accepted))
        });
        let ((secret, ends), key) = found.zip(key)?;
        (!key.disabled).then_some(Self { key, secret, ends })
    }
}

/// Who asks, proven.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller<'i> {
    /// The holder of an access key that may issue tokens.
    Key(Held<'i>),
    /// A Kubernetes user whom RBAC permits it.
    User(&'i str),
}

impl Caller<'_> {
    /// What its questions are counted under.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Key(held) => format!("key {}", held.key.name),
            Self::User(user) => format!("user {user}"),
        }
    }
}

/// Reads the one `Authorization` header; `None` where there is none of a known kind.
pub(super) fn presented(headers: &HeaderMap) -> Option<Presented> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let id = String::from_utf8(decoded.get(..colon)?.to_vec()).ok()?;
        Some(Presented::Key { id, secret: Secret::new(decoded.get(colon + 1..)?.to_vec()) })
    } else if scheme.eq_ignore_ascii_case("bearer") {
        let token = rest.trim();
        // ServiceAccount tokens are JWTs: nothing else is worth a question to the API server.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = token.len() <= MAX_BEARER_BYTES && token.split('.').count() == 3 && token.chars().all(allowed);
        fits.then(|| Presented::Bearer(Secret::from(token)))
    } else {
        None
    }
}

/// The access key that a caller has proved to hold. Nobody's costs the same work.
pub(super) fn holder<'i>(issuer: Option<&'i Issuer>, id: &str, secret: &Secret, now: UnixSeconds) -> Option<Held<'i>> {
    let presented = digest(secret);
    Held::by(issuer.and_then(|issuer| issuer.key_by_id(id)), now, |known| digest(known) == presented)
}

/// Whether a key may be used so.
pub(super) fn may(key: &AccessKey, wanted: KeyUse) -> bool {
    key.uses.contains(&wanted)
}

/// Of one length, so that a comparison in constant time does not tell how long the secret is.
fn digest(secret: &Secret) -> Secret {
    Secret::new(Sha256::digest(secret.expose()).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Presented> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        presented(&headers)
    }

    #[test]
    fn basic_is_split_at_the_first_colon() {
        let Some(Presented::Key { id, secret }) = read(&format!("Basic {}", STANDARD.encode("AK.x:a:b"))) else {
            panic!()
        };
        assert_eq!((id.as_str(), secret), ("AK.x", Secret::from("a:b")));
        for wrong in ["Basic", "Basic !", "Basic QUI=", "Digest QUI6Yg==", ""] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_what_looks_like_a_jwt_is_handed_on() {
        assert!(matches!(read("bearer a.b-_.c"), Some(Presented::Bearer(_))));
        let long = format!("Bearer a.b.{}", "c".repeat(MAX_BEARER_BYTES));
        for wrong in ["Bearer abc", "Bearer a.b.c.d", "Bearer a.b c.d", "Bearer a.b.c=", &long] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn two_authorizations_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        headers.append(header::AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        assert!(presented(&headers).is_none());
    }
}
