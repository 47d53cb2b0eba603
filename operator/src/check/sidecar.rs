//! A sidecar, asked as EMQX 5 asks.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::objects::Login;

const LIMIT: Duration = Duration::from_secs(10);
const LARGEST_REPLY: usize = 1 << 20;
/// The attribute in which the ticket of a login travels.
const TICKET: &str = "mqa_ticket";

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum SidecarError {
    /// Nobody listens there, or the connection broke.
    #[error("cannot ask {0}")]
    Connection(SocketAddr, #[source] hyper_util::client::legacy::Error),
    /// The request could not be built, or the reply not be read.
    #[error("the exchange of requests failed")]
    Http(#[from] axum::http::Error),
    /// It stopped in the middle.
    #[error("the reply broke off")]
    Body(#[source] axum::Error),
    /// Nothing came.
    #[error("no reply from {0} within 10 s")]
    Silent(SocketAddr),
    /// It is no sidecar that answers there.
    #[error("the reply is neither an allow nor a deny")]
    NoVerdict,
}

/// Where a sidecar answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sidecar(pub(crate) SocketAddr);

/// What it answered.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    result: String,
    #[serde(default)]
    client_attrs: Value,
}

impl Answer {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, SidecarError> {
        serde_json::from_slice(body).map_err(|_| SidecarError::NoVerdict)
    }

    pub(crate) fn is_allow(&self) -> bool {
        self.result == "allow"
    }

    pub(crate) fn is_deny(&self) -> bool {
        self.result == "deny"
    }

    fn ticket(&self) -> &str {
        self.client_attrs.get(TICKET).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Sidecar {
    pub(crate) async fn login(self, login: &Login) -> Result<Answer, SidecarError> {
        let Login { client_id, username, password } = login;
        let body = json!({"clientid": client_id, "username": username, "password": password.as_str()});
        self.ask("/emqx/v5/authn", &body).await
    }

    /// `session` is the answer to the login.
    pub(crate) async fn publish(self, login: &Login, session: &Answer, topic: &str) -> Result<Answer, SidecarError> {
        let Login { client_id, username, .. } = login;
        let body = json!({
            "clientid": client_id, "username": username, "ticket": session.ticket(),
            "action": "publish", "topic": topic, "qos": "1", "retain": "false",
        });
        self.ask("/emqx/v5/authz", &body).await
    }

    async fn ask(self, path: &str, body: &Value) -> Result<Answer, SidecarError> {
        let Self(address) = self;
        let request = Request::post(format!("http://{address}{path}")).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string()))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let exchange = async {
            let reply = client.request(request).await.map_err(|error| SidecarError::Connection(address, error))?;
            if reply.status() != StatusCode::OK {
                return Err(SidecarError::NoVerdict);
            }
            let body = to_bytes(Body::new(reply.into_body()), LARGEST_REPLY).await.map_err(SidecarError::Body)?;
            Answer::parse(&body)
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(SidecarError::Silent(address)))
    }
}
