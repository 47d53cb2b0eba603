//! ApsaraMQ's own API, so that an application server changes only its endpoint: eight actions of `OnsMqtt`, version
//! 2020-04-20, with both signatures, the vendor's field names and its error codes.
//!
//! The instance ID and the AccessKeyId tell which tenants may be meant (the same instance ID may be served on several
//! brokers); the signature decides. Where the vendor's documents are silent:
//!
//! - `RegisterDeviceCredential` of a device that is registered answers with its credential; `DeviceCredentialExsit` never.
//! - `RefreshDeviceCredential` ends the old key at once, open sessions included.
//! - `UnRegisterDeviceCredential` of a device that was declared by hand, or that somebody disabled, gave an end, labels or
//!   attributes, is refused: registered anew it would have none of that, and escape what it was meant for.
//! - A token is asked for with an `ExpireTime` at least 60 s ahead; 10 s of that may have gone by on the way.
//! - An AccessKeyId that does not exist and a wrong secret are both `SignatureDoesNotMatch`: nobody learns which keys exist.
//! - An access key sees and revokes its own tokens only.
//! - A suspended tenant's keys issue no tokens and reach no devices; they can still revoke.
//! - Answers are JSON, whatever `Format` says.

mod devices;
mod fault;
mod params;
mod signature;
mod tokens;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use mqtt_access_core::bundle::{KeyUse, UnixSeconds};
use serde_json::{Map, Value};

use super::answer::{Asked, BodyProblem, json};
use super::caller::{Held, may};
use super::directory::Issuer;
use super::limits::Kind;
use super::nonces::is_timely;
use super::{Service, now};
use fault::Fault;
use params::Params;
use signature::{Signed, Unsigned};

const VERSION: &str = "2020-04-20";

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    ApplyToken,
    QueryToken,
    RevokeToken,
    Register,
    Get,
    Refresh,
    Unregister,
    List,
}

impl Action {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ApplyToken" => Self::ApplyToken,
            "QueryToken" => Self::QueryToken,
            "RevokeToken" => Self::RevokeToken,
            "RegisterDeviceCredential" => Self::Register,
            "GetDeviceCredential" => Self::Get,
            "RefreshDeviceCredential" => Self::Refresh,
            "UnRegisterDeviceCredential" => Self::Unregister,
            "ListDeviceCredentialClientId" => Self::List,
            _ => return None,
        })
    }

    fn kind(self) -> Kind {
        match self {
            Self::ApplyToken => Kind::Apply,
            Self::QueryToken => Kind::Query,
            Self::RevokeToken => Kind::Revoke,
            Self::Register | Self::Get | Self::Refresh | Self::Unregister | Self::List => Kind::Device,
        }
    }

    fn needs(self) -> KeyUse {
        match self.kind() {
            Kind::Device => KeyUse::ManageDevices,
            Kind::Apply | Kind::Query | Kind::Revoke | Kind::Review => KeyUse::IssueTokens,
        }
    }
}

/// A request whose signature is right.
struct Call<'a> {
    service: &'a Service,
    issuer: &'a Issuer,
    held: Held<'a>,
    params: &'a Params,
    now: UnixSeconds,
}

/// The fields of an answer beside `RequestId`.
type Fields = Map<String, Value>;

pub(super) async fn answer(service: &Service, asked: &Asked) -> Response<Body> {
    let id = fault::request_id();
    match respond(service, asked).await {
        Ok(mut fields) => {
            fields.insert("RequestId".to_owned(), Value::String(id));
            json(StatusCode::OK, &fields)
        }
        Err(fault) => {
            let host = asked.head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            fault.response(&id, host)
        }
    }
}

/// The answer to what ended in a panic.
pub(super) fn failed() -> Response<Body> {
    Fault::internal().response(&fault::request_id(), "")
}

async fn respond(service: &Service, asked: &Asked) -> Result<Fields, Fault> {
    let form = form(asked)?;
    let query = asked.head.uri.query().unwrap_or_default();
    let (params, query) = (Params::read(query, form)?, Params::read(query, b"")?);
    let (method, path, headers) = (asked.head.method.as_str(), asked.head.uri.path(), &asked.head.headers);
    let signed = signature::read(&Unsigned { method, path, headers, params: &params, query: &query, body: form })?;
    let action = Action::parse(&signed.action).ok_or_else(|| Fault::no_such_action(&signed.action))?;
    if signed.version != VERSION {
        return Err(Fault::version());
    }
    let allowed =
        asked.head.method == Method::POST || (action == Action::QueryToken && asked.head.method == Method::GET);
    if !allowed {
        return Err(Fault::method());
    }
    if !service.directory.is_complete() {
        return Err(Fault::not_ready());
    }
    let now = now();
    if !is_timely(signed.timestamp, now) {
        return Err(Fault::expired());
    }
    let instance_id = params.get("InstanceId").ok_or_else(|| Fault::missing("InstanceId"))?;
    let issuers = service.directory.issuers_of(instance_id);
    let (issuer, held) = signer(&issuers, &signed, now).ok_or_else(Fault::signature)?;
    let caller = format!("{} key {}", issuer.tenant, held.key.name);
    service.nonces.take(&caller, &signed.nonce, signed.timestamp, now)?;
    if !may(held.key, action.needs()) {
        return Err(Fault::use_not_allowed(action.needs()));
    }
    if action.kind() == Kind::Device && issuer.index.tenant().suspended {
        return Err(Fault::suspended());
    }
    service.limits.count(&caller, action.kind()).map_err(|after| Fault::too_often(action.kind(), after))?;
    perform(action, Call { service, issuer, held, params: &params, now }).await
}

async fn perform(action: Action, call: Call<'_>) -> Result<Fields, Fault> {
    match action {
        Action::ApplyToken => tokens::apply(&call),
        Action::QueryToken => tokens::query(&call),
        Action::RevokeToken => tokens::revoke(&call).await,
        Action::Register => devices::register(&call).await,
        Action::Get => devices::get(&call),
        Action::Refresh => devices::refresh(&call).await,
        Action::Unregister => devices::unregister(&call).await,
        Action::List => devices::list(&call),
    }
}

/// The key that signed. A key that does not exist costs the same work as a wrong secret.
fn signer<'i>(issuers: &'i [Arc<Issuer>], signed: &Signed, now: UnixSeconds) -> Option<(&'i Issuer, Held<'i>)> {
    let keys: Vec<_> =
        issuers.iter().filter_map(|issuer| Some((&**issuer, issuer.key_by_id(&signed.key_id)?))).collect();
    if keys.is_empty() {
        let _: Option<Held<'_>> = Held::by(None, now, |secret| signed.is_by(secret));
    }
    keys.into_iter().find_map(|(issuer, key)| Some((issuer, Held::by(Some(key), now, |secret| signed.is_by(secret))?)))
}

fn form(asked: &Asked) -> Result<&[u8], Fault> {
    match &asked.body {
        Err(BodyProblem::TooLarge) => Err(Fault::too_large()),
        Err(BodyProblem::Broken) => Err(Fault::invalid("body", "the body did not come in time, or not whole")),
        Ok(body) if body.is_empty() => Ok(body),
        Ok(_) if asked.media_type().as_deref() != Some("application/x-www-form-urlencoded") => Err(Fault::media_type()),
        Ok(body) => Ok(body),
    }
}

impl Call<'_> {
    fn required(&self, name: &'static str) -> Result<&str, Fault> {
        self.params.get(name).ok_or_else(|| Fault::missing(name))
    }
}

#[cfg(test)]
mod tests;
