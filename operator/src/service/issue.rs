//! Tokens of a tenant, as values (pure): what may be issued, and what a token that is shown is worth.
//!
//! A token can never do more than its access key, because every request of its holder is judged by the key's policies
//! too. What no request could ever use is refused here all the same, so that a mistake shows when it is made.

use std::collections::BTreeSet;

use mqtt_access_core::bundle::{AccessKey, KeyUse, UnixSeconds};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::is_client_id;
use mqtt_access_core::policy::Action;
use mqtt_access_core::token::{
    Act, Claims, Expected, MAX_LIFETIME, MAX_RESOURCES, MAX_TOKEN_BYTES, MIN_LIFETIME, Token, is_resource, token_key,
    verify,
};
use mqtt_access_core::topic::Filter;
use mqtt_access_core::verdict::Reason;
use thiserror::Error;

use super::caller::Held;
use super::directory::{Directory, Issuer};

/// Of an MQTT password beside the token: its type, and a separator.
const PASSWORD_OVERHEAD: usize = 3;

/// What is asked for.
pub(super) struct Order<'a> {
    pub(super) act: Act,
    pub(super) resources: Vec<String>,
    pub(super) expires_at: UnixSeconds,
    pub(super) client_id: Option<&'a str>,
}

/// A new token. Whoever holds it may use it: there is no `Debug`.
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) id: String,
    pub(super) expires_at: UnixSeconds,
    /// Whether it ends earlier than was asked for.
    pub(super) cut: bool,
}

/// Why no token is issued.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("a token has 1 to {MAX_RESOURCES} resources; issue several tokens")]
    Count,
    #[error("`{0}` is no resource: write a topic filter, without `$share/` and the like")]
    Resource(String),
    #[error("`{0}` cannot be used with the access key: no policy of the key allows it")]
    NotAllowed(String),
    #[error("a token lasts at least {MIN_LIFETIME} seconds")]
    Short,
    #[error("the client ID is not valid, or begins with none of the prefixes of the tenant and of the access key")]
    ClientId,
    #[error(
        "the tenant takes no token without `sub` (`spec.authentication.token.requireSub`); name the client ID in `clientId`, \
         as only the API under /v1 can"
    )]
    NoClientId,
    #[error("the token would not fit into an MQTT password; name fewer or shorter resources")]
    Long,
    #[error(
        "the tenant is suspended or does not accept the mode Token; change `spec.suspended` or `spec.authentication.modes`"
    )]
    Tenant,
    #[error(
        "the access key has no usable secret, is disabled, or has neither `Connect` nor `IssueTokens` among its `uses`"
    )]
    Key,
}

/// Issues a token with an access key.
pub(super) fn issue(
    issuer: &Issuer,
    held: Held<'_>,
    order: Order<'_>,
    id: String,
    now: UnixSeconds,
) -> Result<Issued, Refusal> {
    let tenant = issuer.index.tenant();
    if tenant.suspended || !tenant.modes.contains(&Mode::Token) {
        return Err(Refusal::Tenant);
    }
    let Held { key, secret, ends } = held;
    if !is_usable(key) {
        return Err(Refusal::Key);
    }
    let Order { act, resources, expires_at, client_id } = order;
    match client_id {
        None if tenant.sessions.require_sub => return Err(Refusal::NoClientId),
        Some(client_id) if !issuer.index.opens(key, client_id) => return Err(Refusal::ClientId),
        _ => {}
    }
    let resources = resources_of(issuer, key, act, resources, client_id)?;
    if expires_at.saturating_sub(now) < MIN_LIFETIME {
        return Err(Refusal::Short);
    }
    // Whoever has an old secret gets nothing that outlives it.
    let end = expires_at.min(now.saturating_add(longest(issuer))).min(ends.unwrap_or(UnixSeconds::MAX));
    if end.saturating_sub(now) < MIN_LIFETIME {
        return Err(Refusal::Key);
    }
    let claims = Claims {
        iss: key.id.clone(),
        aud: issuer.index.instance_id().to_owned(),
        iat: now,
        exp: end,
        nbf: None,
        jti: id.clone(),
        act,
        res: resources,
        sub: client_id.map(str::to_owned),
    };
    let token = claims.sign(&token_key(secret)).ok_or(Refusal::Key)?;
    if token.len() + PASSWORD_OVERHEAD > MAX_TOKEN_BYTES {
        return Err(Refusal::Long);
    }
    Ok(Issued { token, id, expires_at: end, cut: end < expires_at })
}

/// Sorted, each once, as the vendor's service writes them.
fn resources_of(
    issuer: &Issuer,
    key: &AccessKey,
    act: Act,
    resources: Vec<String>,
    client_id: Option<&str>,
) -> Result<Vec<String>, Refusal> {
    if !(1..=MAX_RESOURCES).contains(&resources.len()) {
        return Err(Refusal::Count);
    }
    let resources: BTreeSet<String> = resources.into_iter().collect();
    for resource in &resources {
        if !is_resource(resource) {
            return Err(Refusal::Resource(resource.clone()));
        }
        let Ok(filter) = Filter::parse(resource) else { return Err(Refusal::Resource(resource.clone())) };
        let could = |action| issuer.index.could_use(key, client_id, action, filter);
        let (reads, writes) =
            (!act.subscribes() || could(Action::Subscribe), !act.publishes() || could(Action::Publish));
        if !(reads && writes) {
            return Err(Refusal::NotAllowed(resource.clone()));
        }
    }
    Ok(resources.into_iter().collect())
}

/// What a token is worth that claims to be of an access key.
pub(super) fn examine(
    directory: &dyn Directory,
    issuer: &Issuer,
    key: &AccessKey,
    token: &str,
    now: UnixSeconds,
) -> Result<Token, Reason> {
    let tenant = issuer.index.tenant();
    let token = read(issuer, key, token, longest(issuer), now)?;
    if tenant.token_revocations.revoke(&token.id, token.issued_at) || directory.is_revoked(issuer, &token.id) {
        Err(Reason::TokenRevoked)
    } else if tenant.suspended {
        Err(Reason::Suspended)
    } else if !tenant.modes.contains(&Mode::Token) {
        Err(Reason::ModeNotAccepted)
    } else if tenant.sessions.require_sub && token.client_id.is_none() {
        Err(Reason::TokenWithoutClientId)
    } else if key.disabled {
        Err(Reason::Disabled)
    } else {
        Ok(token)
    }
}

/// A token of an access key that is to be revoked. It is read as if it could last the longest, because the tenant's own
/// limit may be raised later: it is then still revoked.
pub(super) fn revocable(issuer: &Issuer, key: &AccessKey, token: &str, now: UnixSeconds) -> Result<Token, Reason> {
    read(issuer, key, token, MAX_LIFETIME, now)
}

fn read(
    issuer: &Issuer,
    key: &AccessKey,
    token: &str,
    max_lifetime: UnixSeconds,
    now: UnixSeconds,
) -> Result<Token, Reason> {
    let expected = Expected { key_id: &key.id, instance_id: issuer.index.instance_id(), max_lifetime };
    let mut read = key.accepted(now).map(|(secret, _)| verify(token, &token_key(secret), expected, now)).peekable();
    if read.peek().is_none() {
        return Err(Reason::KeyWithoutSecret);
    }
    let of_another = |read: &Result<Token, Reason>| matches!(read, Err(Reason::TokenSignatureInvalid));
    read.find(|read| !of_another(read)).unwrap_or(Err(Reason::TokenSignatureInvalid))
}

fn longest(issuer: &Issuer) -> UnixSeconds {
    issuer.index.tenant().token_max_ttl.unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME)
}

fn is_usable(key: &AccessKey) -> bool {
    let logs_in = key.uses.contains(&KeyUse::Connect) || key.uses.contains(&KeyUse::IssueTokens);
    !key.disabled && logs_in && key.secret.as_ref().is_some_and(|secret| !secret.expose().is_empty())
}

/// Whether a client ID is the tenant's.
pub(super) fn owns(issuer: &Issuer, client_id: &str) -> bool {
    let prefixes = &issuer.index.tenant().claims.client_id_prefixes;
    is_client_id(client_id)
        && (prefixes.is_empty() || prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str())))
}
