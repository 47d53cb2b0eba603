//! Token: the password is one to three JWTs that were issued with an access key. All have to be valid.

use super::hmac::NOBODY;
use super::{Credentials, Login, Proven, usable};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::credential::ModeUsername;
use crate::index::TenantIndex;
use crate::index::key::Key;
use crate::token::{self, Expected, MAX_LIFETIME, Token, TokenPair};
use crate::verdict::Reason;

pub(super) fn login(
    tenant: Result<&TenantIndex, Reason>,
    named: ModeUsername<'_>,
    credentials: &Credentials<'_>,
    now: UnixSeconds,
) -> Result<Login, Reason> {
    let key = tenant.ok().and_then(|tenant| tenant.key(Mode::Token, named.key_id));
    let secret = key.and_then(Key::secret);
    let token_key = token::token_key(secret.unwrap_or(&NOBODY));
    let expected = Expected {
        key_id: named.key_id,
        instance_id: named.instance_id,
        max_lifetime: tenant.ok().and_then(|tenant| tenant.tenant().token_max_ttl).unwrap_or(MAX_LIFETIME),
    };
    // Verified for everybody, before anything is said about the key.
    let pairs = token::pairs(credentials.password);
    let verified: Result<Vec<Token>, Reason> = pairs.and_then(|pairs| {
        let results: Vec<_> = pairs.iter().map(|pair| verify(*pair, &token_key, expected, now)).collect();
        results.into_iter().collect()
    });
    let tenant = tenant?;
    usable(credentials.client_id)?;
    let key = key.ok_or(Reason::UnknownKey)?;
    if secret.is_none() {
        return Err(Reason::KeyWithoutSecret);
    }
    let tokens = verified?;
    tenant.check_tokens(&tokens, credentials.client_id, now)?;
    let ModeUsername { mode, key_id, instance_id: _ } = named;
    Proven { tenant, key, mode, key_id, client_id: credentials.client_id, tokens }.admit(now)
}

fn verify(
    pair: TokenPair<'_>,
    token_key: &crate::secret::Secret,
    expected: Expected<'_>,
    now: UnixSeconds,
) -> Result<Token, Reason> {
    let token = token::verify(pair.token, token_key, expected, now)?;
    if token.act == pair.act { Ok(token) } else { Err(Reason::TokenTypeMismatch) }
}
