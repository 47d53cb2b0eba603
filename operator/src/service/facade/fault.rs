//! Errors as the vendor's clients expect them: `{RequestId, HostId, Code, Message}` with the vendor's codes.
//!
//! Sources: the metadata of the vendor's API `OnsMqtt` for the codes of its actions, the vendor's list of common error codes for
//! those of its gateway.

use std::fmt::Display;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use mqtt_access_core::bundle::KeyUse;
use serde::Serialize;

use super::super::answer::{json, retry_after};
use super::super::directory::{ClusterError, DeviceError, RevokeError};
use super::super::issue::Refusal;
use super::super::limits::{Kind, TooOften};
use super::super::nonces::Stale;
use super::params::Malformed;
use super::signature::SignatureProblem;

/// A refusal in the vendor's words.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    request_id: &'a str,
    host_id: &'a str,
    code: &'a str,
    message: &'a str,
}

impl Fault {
    fn new(status: StatusCode, code: impl Into<String>, message: impl Display) -> Self {
        Self { status, code: code.into(), message: message.to_string(), retry_after: None }
    }

    fn bad(code: impl Into<String>, message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A parameter of an action that does not fit.
    pub(super) fn check(message: impl Display) -> Self {
        Self::bad("ParameterCheckFailed", message)
    }

    pub(super) fn invalid(name: &str, message: impl Display) -> Self {
        Self::bad(format!("InvalidParameter.{name}"), message)
    }

    pub(super) fn missing(name: &str) -> Self {
        Self::bad("MissingParameter", format!("`{name}` is mandatory for this action and was not supplied"))
    }

    pub(super) fn no_such_action(name: &str) -> Self {
        // What was signed by nobody yet is not repeated at length.
        let known: String = name.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        Self::new(StatusCode::NOT_FOUND, "ApiNotSupport", format!("the action `{known}` is not supported"))
    }

    pub(super) fn version() -> Self {
        Self::bad("InvalidVersion", "the version is 2020-04-20")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHTTPMethod", "use POST")
    }

    pub(super) fn media_type() -> Self {
        let message = "parameters stand in the query, or in a body of application/x-www-form-urlencoded";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidContentType", message)
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", "the body has more than 256 KiB")
    }

    pub(super) fn expired() -> Self {
        Self::bad("InvalidTimeStamp.Expired", "the timestamp is more than 15 minutes from now; set the clock")
    }

    pub(super) fn signature() -> Self {
        let message = "the signature does not match, or the AccessKeyId is not one of this instance";
        Self::bad("SignatureDoesNotMatch", message)
    }

    pub(super) fn use_not_allowed(wanted: KeyUse) -> Self {
        let message = format!("the access key lacks `{wanted:?}` among its `uses`");
        Self::bad("InstancePermissionCheckFailed", message)
    }

    pub(super) fn suspended() -> Self {
        Self::bad("InstancePermissionCheckFailed", "the tenant is suspended; change `spec.suspended`")
    }

    pub(super) fn too_often(kind: Kind, TooOften(after): TooOften) -> Self {
        let code = match kind {
            Kind::Apply => "ApplyTokenOverFlow",
            Kind::Query => "QueryTokenOverFlow",
            Kind::Revoke => "RevokeTokenOverFlow",
            Kind::Device | Kind::Review => "SystemOverFlow",
        };
        let message = "asked too often; wait as long as `retry-after` says";
        let status = if kind == Kind::Device { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
        Self { retry_after: Some(after), ..Self::new(status, code, message) }
    }

    pub(super) fn not_ready() -> Self {
        let message = "the operator has not seen the whole cluster yet; ask again in a moment";
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message) }
    }

    pub(super) fn internal() -> Self {
        let message = "something is wrong here; see the operator's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(super) fn response(&self, request_id: &str, host_id: &str) -> Response<Body> {
        let Self { status, code, message, retry_after: after } = self;
        let mut response = json(*status, &Told { request_id, host_id, code, message });
        if let Some(after) = after {
            retry_after(&mut response, *after);
        }
        response
    }
}

/// As the vendor writes them: a UUID in capitals.
pub(super) fn request_id() -> String {
    let bytes = crate::credential::random().map(|bytes| bytes.to_vec()).unwrap_or_default();
    let digits: Vec<String> = bytes.iter().take(16).map(|byte| format!("{byte:02X}")).collect();
    let group = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().concat();
    [group(0, 4), group(4, 6), group(6, 8), group(8, 10), group(10, 16)].join("-")
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Duplicate => Self::bad("InvalidParameter", "a parameter comes twice; send each once"),
            Malformed::Encoding => Self::bad("InvalidParameter", "a parameter is not percent-encoded UTF-8"),
            Malformed::TooMany => Self::bad("InvalidParameter", "there are more parameters than any action has"),
        }
    }
}

impl From<SignatureProblem> for Fault {
    fn from(problem: SignatureProblem) -> Self {
        match problem {
            SignatureProblem::Missing(name) => Self::missing(name),
            SignatureProblem::Invalid("Timestamp" | "x-acs-date") => {
                Self::bad("InvalidTimeStamp.Format", "the timestamp is not of the form 2020-12-31T17:01:01Z")
            }
            SignatureProblem::Invalid(name) => {
                Self::invalid(name, format!("`{name}` is not what signing a request makes of it"))
            }
        }
    }
}

impl From<Stale> for Fault {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Expired => Self::expired(),
            Stale::Used => Self::bad("SignatureNonceUsed", "the nonce was used already; sign each request anew"),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::Count | Refusal::Resource(_) | Refusal::Long | Refusal::Short | Refusal::ClientId => {
                Self::check(why)
            }
            Refusal::NotAllowed(_) => Self::bad("PermissionCheckFailed", why),
            Refusal::Tenant | Refusal::Key | Refusal::NoClientId => Self::bad("InstancePermissionCheckFailed", why),
        }
    }
}

impl From<RevokeError> for Fault {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Full(_) | RevokeError::Damaged => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "SystemOverFlow", error)
            }
            RevokeError::Cluster(error) => error.into(),
        }
    }
}

impl From<ClusterError> for Fault {
    fn from(error: ClusterError) -> Self {
        tracing::warn!(error = %crate::error_chain(&error), "the token service could not do what was asked");
        let message = "the cluster did not answer as it should; ask again in a moment";
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
        }
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::bad("DeviceCredentialNotFound", error),
            DeviceError::ForeignClientId => Self::check(error),
            DeviceError::OutOfReach | DeviceError::Edited | DeviceError::Refused => {
                Self::bad("PermissionCheckFailed", error)
            }
            DeviceError::NotYet => {
                let retry_after = Some(Duration::from_secs(1));
                Self { retry_after, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "SystemOverFlow", error) }
            }
            DeviceError::Cluster(error) => error.into(),
        }
    }
}
