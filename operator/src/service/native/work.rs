//! The three questions, answered for a caller who may ask them.

use mqtt_access_core::bundle::{AccessKey, UnixSeconds};
use mqtt_access_core::token::Token;
use mqtt_access_core::verdict::Reason;

use super::super::caller::{Caller, Held};
use super::super::directory::Issuer;
use super::super::issue::{self, Issued, Order, Refusal};
use super::super::{Service, fresh_id};
use super::bodies::{Applied, Apply, Queried};
use super::refused::Refused;
use crate::service::act::act;

pub(super) fn apply(issuer: &Issuer, caller: Caller<'_>, wanted: Apply, now: UnixSeconds) -> Result<Applied, Refused> {
    let Apply { access_key, actions, resources, expires_in, expires_at, client_id } = wanted;
    let held = signing_key(issuer, caller, access_key.as_deref())?;
    let act = act(&actions).ok_or_else(|| Refused::invalid(Some("actions"), "write `R`, `W` or `RW`"))?;
    let expires_at = match (expires_in, expires_at) {
        (Some(seconds), None) => now.saturating_add(seconds),
        (None, Some(at)) => at,
        _ => return Err(Refused::invalid(Some("expiresIn"), "say either `expiresIn` or `expiresAt`, in seconds")),
    };
    let order = Order { act, resources, expires_at, client_id: client_id.as_deref() };
    let id = fresh_id().map_err(|error| Refused::cluster(&error.into()))?;
    let Issued { token, id, expires_at, cut } =
        issue::issue(issuer, held, order, id, now).map_err(|why| refused(&why))?;
    tracing::info!(tenant = %issuer.tenant, access_key = held.key.name, id, expires_at, "issued a token");
    Ok(Applied { token, id, actions: act.as_str(), expires_at, cut })
}

/// Holders of an access key sign with it; a Kubernetes user names one.
fn signing_key<'i>(issuer: &'i Issuer, caller: Caller<'i>, name: Option<&str>) -> Result<Held<'i>, Refused> {
    match (caller, name) {
        (Caller::Key(held), None) => Ok(held),
        (Caller::Key(held), Some(name)) if held.key.name == name => Ok(held),
        (Caller::Key(_), Some(_)) => Err(Refused::invalid(Some("accessKey"), "leave it out, or name your own key")),
        (Caller::User(_), None) => Err(Refused::invalid(Some("accessKey"), "name the access key that is to sign")),
        (Caller::User(_), Some(name)) => {
            let unknown = || Refused::invalid(Some("accessKey"), "the tenant has no access key of this name");
            let key = issuer.key_by_name(name).ok_or_else(unknown)?;
            let secret = key.secret.as_ref().ok_or_else(|| refused(&Refusal::Key))?;
            Ok(Held { key, secret, ends: None })
        }
    }
}

fn refused(why: &Refusal) -> Refused {
    let message = why.to_string();
    match why {
        Refusal::Count | Refusal::Resource(_) | Refusal::Long => Refused::invalid(Some("resources"), message),
        Refusal::NotAllowed(_) => Refused::not_allowed("resources", message),
        Refusal::Short => Refused::invalid(Some("expiresIn"), message),
        Refusal::ClientId | Refusal::NoClientId => Refused::invalid(Some("clientId"), message),
        Refusal::Key => Refused::not_allowed("accessKey", message),
        Refusal::Tenant => Refused::forbidden(&message),
    }
}

pub(super) fn query(service: &Service, issuer: &Issuer, caller: Caller<'_>, token: &str, now: UnixSeconds) -> Queried {
    let examined = signer(issuer, caller, |key| issue::examine(&*service.directory, issuer, key, token, now));
    match examined {
        Ok((key, token)) => valid(key, token),
        Err(reason) => Queried { code: Some(reason.token_code()), reason: Some(reason.as_str()), ..Queried::default() },
    }
}

fn valid(key: &AccessKey, token: Token) -> Queried {
    let Token { id, issued_at, expires_at, act, resources, client_id } = token;
    Queried {
        valid: true,
        code: None,
        reason: None,
        access_key: Some(key.name.clone()),
        id: Some(id),
        actions: Some(act.as_str()),
        resources: Some(resources),
        issued_at: Some(issued_at),
        expires_at: Some(expires_at),
        client_id,
    }
}

/// Only tokens that the tenant's own keys signed: nobody fills the list with inventions. One that has expired needs none.
pub(super) async fn revoke(
    service: &Service,
    issuer: &Issuer,
    caller: Caller<'_>,
    token: &str,
    now: UnixSeconds,
) -> Result<(), Refused> {
    match signer(issuer, caller, |key| issue::revocable(issuer, key, token, now)) {
        Ok((_, token)) => {
            let revoked = service.directory.revoke(issuer, &token.id, token.expires_at).await;
            revoked.map_err(|error| Refused::revoke(&error))
        }
        Err(Reason::TokenExpired) => Ok(()),
        Err(_) => {
            Err(Refused::invalid(Some("token"), "this is no token of the tenant, or not one that you may revoke"))
        }
    }
}

/// The key that signed a token, among those that the caller may look at, and what is read under it; else the refusal that
/// tells the most.
fn signer<'i>(
    issuer: &'i Issuer,
    caller: Caller<'i>,
    read: impl Fn(&AccessKey) -> Result<Token, Reason>,
) -> Result<(&'i AccessKey, Token), Reason> {
    let keys = match caller {
        Caller::Key(held) => std::slice::from_ref(held.key),
        Caller::User(_) => issuer.index.tenant().access_keys.as_slice(),
    };
    let mut refusal = Reason::TokenSignatureInvalid;
    for key in keys {
        match read(key) {
            Ok(token) => return Ok((key, token)),
            Err(Reason::TokenSignatureInvalid | Reason::KeyWithoutSecret) => {}
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}
