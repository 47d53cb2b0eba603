//! One request: read within limits, told apart, answered. A panic is a 500, never an open connection.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;

use super::{Service, facade, native};

const MAX_BODY_BYTES: usize = 256 * 1024;
/// A body that is too large is read to its end, up to here: hanging up in the middle of it may lose the answer.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;
const BODY: Duration = Duration::from_secs(10);

/// A request that was read.
pub(super) struct Asked {
    pub(super) head: Parts,
    pub(super) body: Result<Vec<u8>, BodyProblem>,
}

/// Why there is no body to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyProblem {
    TooLarge,
    /// It did not come, or not in time.
    Broken,
}

pub(super) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    // The vendor's clients know one path.
    let vendor = head.uri.path() == "/";
    let body = tokio::time::timeout(BODY, read(body)).await.unwrap_or(Err(BodyProblem::Broken));
    let asked = Asked { head, body };
    let work =
        async { if vendor { facade::answer(&service, &asked).await } else { native::answer(&service, &asked).await } };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a request to the token service ended in a panic");
        if vendor { facade::failed() } else { native::failed() }
    })
}

async fn read(body: Body) -> Result<Vec<u8>, BodyProblem> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| BodyProblem::Broken)?;
        length = length.saturating_add(chunk.len());
        if length > MAX_DRAINED_BYTES {
            return Err(BodyProblem::TooLarge);
        }
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > MAX_BODY_BYTES { Err(BodyProblem::TooLarge) } else { Ok(bytes) }
}

impl Asked {
    /// The media type of the body, without its parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let mut values = self.head.headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = value.to_str().ok()?;
        Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// A JSON answer. It is nobody else's: no cache may keep it.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says when to ask again, in whole seconds as HTTP wants it, and in milliseconds as the vendor's clients read it.
pub(super) fn retry_after(response: &mut Response<Body>, after: Duration) {
    let seconds = after.as_millis().div_ceil(1000).max(1).to_string();
    let millis = after.as_millis().max(1).to_string();
    for (name, value) in [("retry-after", seconds), ("x-acs-retry-after", millis)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}
