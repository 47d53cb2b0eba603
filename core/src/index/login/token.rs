//! Token: the password is one to three JWTs that were issued with an access key. All have to be valid.

use super::hmac::proved_by;
use super::{By, Credentials, Login, Proven, usable};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::credential::ModeUsername;
use crate::index::TenantIndex;
use crate::index::key::{Accepted, Key};
use crate::secret::Secret;
use crate::token::{self, Expected, MAX_LIFETIME, Token, TokenPair};
use crate::verdict::Reason;

pub(super) fn login(
    tenant: Result<&TenantIndex, Reason>,
    named: ModeUsername<'_>,
    credentials: &Credentials<'_>,
    now: UnixSeconds,
) -> Result<Login, Reason> {
    let key = tenant.ok().and_then(|tenant| tenant.key(Mode::Token, named.key_id));
    let expected = Expected {
        key_id: named.key_id,
        instance_id: named.instance_id,
        max_lifetime: tenant.ok().and_then(|tenant| tenant.tenant().token_max_ttl).unwrap_or(MAX_LIFETIME),
    };
    // Verified for everybody, before anything is said about the key.
    let pairs = token::pairs(credentials.password);
    let verified: Result<Vec<_>, Reason> = pairs.and_then(|pairs| {
        let results: Vec<_> = pairs.iter().map(|pair| verify(*pair, key, expected, now)).collect();
        results.into_iter().collect()
    });
    let tenant = tenant?;
    usable(credentials.client_id)?;
    let key = key.ok_or(Reason::UnknownKey)?;
    if key.secret().is_none() {
        return Err(Reason::KeyWithoutSecret);
    }
    let (tokens, signed_by): (Vec<Token>, Vec<Accepted<'_, Secret>>) = verified?.into_iter().unzip();
    tenant.check_tokens(&tokens, credentials.client_id, now)?;
    // The session lasts no longer than the first of the secrets that its tokens were signed with.
    let by = signed_by.into_iter().min_by_key(|accepted| accepted.ends.unwrap_or(UnixSeconds::MAX));
    let by = By::secret(&by.ok_or(Reason::TokenMalformed)?);
    let ModeUsername { mode, key_id, instance_id: _ } = named;
    Proven { tenant, key, mode, key_id, client_id: credentials.client_id, tokens, by }.admit(now)
}

/// A token, and the secret that it was signed with.
fn verify<'i>(
    pair: TokenPair<'_>,
    key: Option<Key<'i>>,
    expected: Expected<'_>,
    now: UnixSeconds,
) -> Result<(Token, Accepted<'i, Secret>), Reason> {
    // A token that another secret signed may be in order: the next one is tried. Any other fault is the token's own.
    let verified =
        proved_by(key, now, |secret| match token::verify(pair.token, &token::token_key(secret), expected, now) {
            Err(Reason::TokenSignatureInvalid) => None,
            verified => Some(verified),
        });
    let (accepted, token) = verified.ok_or(Reason::TokenSignatureInvalid)?;
    let token = token?;
    if token.act == pair.act { Ok((token, accepted)) } else { Err(Reason::TokenTypeMismatch) }
}
