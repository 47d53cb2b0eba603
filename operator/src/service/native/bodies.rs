//! JSON bodies, in and out. Fields that are not known are refused: a misspelt `clientId` would bind a token to nobody.

use mqtt_access_core::bundle::UnixSeconds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::refused::Refused;

/// `POST .../tokens`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Apply {
    /// Name of the access key; only Kubernetes users need to say it.
    pub(super) access_key: Option<String>,
    /// `R`, `W` or `RW`; ApsaraMQ's `R,W` too.
    pub(super) actions: String,
    pub(super) resources: Vec<String>,
    /// In seconds from now; this or the next.
    pub(super) expires_in: Option<UnixSeconds>,
    /// Seconds since 1970.
    pub(super) expires_at: Option<UnixSeconds>,
    /// The only client ID that may use it.
    pub(super) client_id: Option<String>,
}

/// `POST .../tokens/query` and `.../revoke`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    pub(super) token: String,
}

/// The answer to an application.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    pub(super) token: String,
    pub(super) id: String,
    pub(super) actions: &'static str,
    pub(super) expires_at: UnixSeconds,
    /// Whether it ends earlier than was asked for.
    pub(super) cut: bool,
}

/// The answer to a query: `code` and `reason`, or what the token says.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queried {
    pub(super) valid: bool,
    /// As ApsaraMQ numbers refusals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actions: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issued_at: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
}

/// Reads a body. The refusal tells where it is wrong and never what stands there: that may be a token.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is missing, unknown, repeated or of the wrong type",
            _ => "it is not JSON",
        };
        Refused::invalid(None, format!("the body cannot be read at line {line}, column {column}: {what}"))
    })
}
