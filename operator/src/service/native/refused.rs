//! What the native API refuses, and how: one JSON object, `{"error": {code, field?, message}}`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::super::answer::{json, retry_after};
use super::super::directory::{ClusterError, RevokeError};
use super::super::limits::TooOften;

/// A refusal.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<Duration>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    message: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Refused,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, retry_after: None, code, field: None, message: message.into() }
    }

    pub(super) fn invalid(field: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { field, ..Self::new(StatusCode::BAD_REQUEST, "Invalid", message) }
    }

    /// What the access key may not do.
    pub(super) fn not_allowed(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::FORBIDDEN, "NotAllowed", message) }
    }

    pub(super) fn unauthorized() -> Self {
        let message =
            "send `Authorization: Basic` with an access key of the tenant, or `Bearer` with a ServiceAccount token";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn no_such_path() -> Self {
        let message =
            "nothing is here; the paths are /v1/namespaces/NS/tenants/TENANT/tokens, .../query and .../revoke";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn no_tenant() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "TenantNotFound",
            "no such tenant is published; see the conditions of the MqttTenant",
        )
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "use POST")
    }

    pub(super) fn media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", "send `content-type: application/json`")
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", "the body has more than 256 KiB")
    }

    pub(super) fn not_ready() -> Self {
        let message = "the operator has not seen the whole cluster yet; ask again in a moment";
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", message) }
    }

    pub(super) fn too_often(TooOften(after): TooOften) -> Self {
        let message = "asked too often; wait as long as `retry-after` says";
        Self { retry_after: Some(after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message) }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "something is wrong here; see the operator's log")
    }

    /// The log is told why; the caller, that it was not its fault.
    pub(super) fn cluster(error: &ClusterError) -> Self {
        tracing::warn!(error = %crate::error_chain(error), "the token service could not do what was asked");
        let message = "the cluster did not answer as it should; ask again in a moment";
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message) }
    }

    pub(super) fn revoke(error: &RevokeError) -> Self {
        match error {
            RevokeError::Full(_) => Self::new(StatusCode::CONFLICT, "TooManyRevocations", error.to_string()),
            RevokeError::Damaged => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Damaged", error.to_string()),
            RevokeError::Cluster(error) => Self::cluster(error),
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = json(self.status, &Envelope { error: self });
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Basic realm=\"mqtt-access\", Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        if let Some(after) = self.retry_after {
            retry_after(&mut response, after);
        }
        response
    }
}
