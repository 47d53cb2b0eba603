//! The service's own API: JSON, and a tenant by its Kubernetes name.
//!
//! ```text
//!   POST /v1/namespaces/NS/tenants/TENANT/tokens          201 {token, id, actions, expiresAt, cut}
//!   POST /v1/namespaces/NS/tenants/TENANT/tokens/query    200 {valid, code?, reason?, id?, actions?, expiresAt?, ...}
//!   POST /v1/namespaces/NS/tenants/TENANT/tokens/revoke   204
//! ```
//!
//! A Kubernetes user needs the verb `create`, `get` or `delete` on `mqtttenants/tokens` of the tenant; an access key
//! `uses: [IssueTokens]`, and then sees and revokes its own tokens only.

mod bodies;
mod refused;
mod work;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use mqtt_access_core::bundle::KeyUse;

use super::answer::{Asked, BodyProblem, json};
use super::caller::{self, Caller, Presented, presented};
use super::directory::{Access, Issuer, Review};
use super::limits::Kind;
use super::listener::Source;
use super::{Service, now};
use crate::cluster::ObjectKey;
use refused::Refused;

/// What is asked of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Apply,
    Query,
    Revoke,
}

impl Question {
    fn verb(self) -> &'static str {
        match self {
            Self::Apply => "create",
            Self::Query => "get",
            Self::Revoke => "delete",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Apply => Kind::Apply,
            Self::Query => Kind::Query,
            Self::Revoke => Kind::Revoke,
        }
    }
}

pub(super) async fn answer(service: &Service, asked: &Asked) -> Response<Body> {
    respond(service, asked).await.unwrap_or_else(|refused| refused.response())
}

/// The answer to what ended in a panic.
pub(super) fn failed() -> Response<Body> {
    Refused::internal().response()
}

async fn respond(service: &Service, asked: &Asked) -> Result<Response<Body>, Refused> {
    let (tenant, question) = route(asked.head.uri.path()).ok_or_else(Refused::no_such_path)?;
    if asked.head.method != Method::POST {
        return Err(Refused::method());
    }
    if !service.directory.is_complete() {
        return Err(Refused::not_ready());
    }
    let issuer = service.directory.issuer(&tenant);
    let presented = presented(&asked.head.headers).ok_or_else(Refused::unauthorized)?;
    let user;
    let caller = match presented {
        Presented::Key { id, secret } => {
            let held = caller::holder(issuer.as_deref(), &id, &secret, now()).ok_or_else(Refused::unauthorized)?;
            if !caller::may(held.key, KeyUse::IssueTokens) {
                return Err(Refused::forbidden("the access key lacks `IssueTokens` among its `uses`"));
            }
            Caller::Key(held)
        }
        Presented::Bearer(bearer) => {
            service.limits.count(&source(asked), Kind::Review).map_err(Refused::too_often)?;
            let access = Access { tenant: &tenant, verb: question.verb() };
            user = match service.directory.review(&bearer, access).await.map_err(|error| Refused::cluster(&error))? {
                Review::Unknown => return Err(Refused::unauthorized()),
                Review::Forbidden => {
                    return Err(Refused::forbidden(
                        "RBAC does not permit it; grant the verb on `mqtttenants/tokens` of the group mqttaccess.io",
                    ));
                }
                Review::Permitted(user) => user,
            };
            Caller::User(&user)
        }
    };
    let issuer: &Arc<Issuer> = issuer.as_ref().ok_or_else(Refused::no_tenant)?;
    service.limits.count(&format!("{tenant} {}", caller.name()), question.kind()).map_err(Refused::too_often)?;
    let body = body(asked)?;
    match question {
        Question::Apply => {
            let answer = work::apply(issuer, caller, bodies::read(body)?, now())?;
            Ok(json(StatusCode::CREATED, &answer))
        }
        Question::Query => {
            let bodies::Shown { token } = bodies::read(body)?;
            Ok(json(StatusCode::OK, &work::query(service, issuer, caller, &token, now())))
        }
        Question::Revoke => {
            let bodies::Shown { token } = bodies::read(body)?;
            work::revoke(service, issuer, caller, &token, now()).await?;
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
    }
}

/// The address that a request comes from.
fn source(asked: &Asked) -> String {
    asked.head.extensions.get::<Source>().map(|Source(address)| address.to_string()).unwrap_or_default()
}

fn route(path: &str) -> Option<(ObjectKey, Question)> {
    let parts: Vec<&str> = path.strip_prefix("/v1/namespaces/")?.split('/').collect();
    let (namespace, tenant, question) = match parts.as_slice() {
        [namespace, "tenants", tenant, "tokens"] => (namespace, tenant, Question::Apply),
        [namespace, "tenants", tenant, "tokens", "query"] => (namespace, tenant, Question::Query),
        [namespace, "tenants", tenant, "tokens", "revoke"] => (namespace, tenant, Question::Revoke),
        _ => return None,
    };
    // What is handed to Kubernetes, and may stand in a log: names as Kubernetes has them.
    let fits = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
    };
    (fits(namespace) && fits(tenant)).then(|| (ObjectKey::new(*namespace, *tenant), question))
}

fn body(asked: &Asked) -> Result<&[u8], Refused> {
    match &asked.body {
        Err(BodyProblem::TooLarge) => Err(Refused::too_large()),
        Err(BodyProblem::Broken) => Err(Refused::invalid(None, "the body did not come in time, or not whole")),
        Ok(_) if asked.media_type().as_deref() != Some("application/json") => Err(Refused::media_type()),
        Ok(body) => Ok(body),
    }
}

#[cfg(test)]
mod tests;
