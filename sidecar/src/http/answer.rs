//! One request: read, judged, counted, logged, answered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use futures::{FutureExt as _, StreamExt as _};
use mqtt_access_core::verdict::{Cause, Reason};

use super::{Service, login};
use crate::dialect::{Dialect, Judgement, Reply};
use crate::fields::{Encoding, Fields, Malformed};
use crate::line::Line;
use crate::metrics::VerdictLabel;

const MAX_BODY_BYTES: usize = 256 * 1024;
/// A body that is too large is read to its end, up to here: hanging up in the middle of it may lose the denial.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;
const CAUSE: &str = "mqtt-access-cause";

/// Answers everything; the paths of a dialect always in that dialect's words.
pub(super) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let Some((dialect, endpoint)) = Dialect::of(&path) else {
        return not_here();
    };
    let line = request.extensions().get::<Arc<Line>>().map(Arc::clone).unwrap_or_default();
    let work = async {
        let fields = tokio::time::timeout(service.timeouts.body, read(request)).await;
        respond(&service, dialect, endpoint, fields.unwrap_or(Err(Malformed)), &line).await
    };
    // A panic is a bug, but never an answer that this broker could take for an allow.
    let response = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let refused = Judgement::refuse(dialect.about(endpoint), Reason::InternalError);
        finish(&service, dialect, &refused)
    });
    service.store.metrics().took(dialect, started.elapsed().as_secs_f64());
    response
}

async fn read(request: Request) -> Result<Fields, Malformed> {
    match *request.method() {
        // Never logged: a query holds passwords.
        Method::GET => Fields::form(request.uri().query().unwrap_or_default().as_bytes()),
        Method::POST => {
            let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let encoding = Encoding::of(content_type.unwrap_or_default());
            let body = read_body(request.into_body()).await?;
            Fields::parse(encoding?, &body)
        }
        _ => Err(Malformed),
    }
}

async fn read_body(body: Body) -> Result<Vec<u8>, Malformed> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Malformed)?;
        length = length.saturating_add(chunk.len());
        if length > MAX_DRAINED_BYTES {
            return Err(Malformed);
        }
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > MAX_BODY_BYTES { Err(Malformed) } else { Ok(bytes) }
}

async fn respond(
    service: &Service,
    dialect: Dialect,
    endpoint: &str,
    fields: Result<Fields, Malformed>,
    line: &Line,
) -> Response<Body> {
    let refuse = |reason| finish(service, dialect, &Judgement::refuse(dialect.about(endpoint), reason));
    if !dialect.is_served() {
        service.unserved.warn(dialect);
        return refuse(Reason::BrokerNotServed);
    }
    let Ok(fields) = fields else {
        return refuse(Reason::Malformed);
    };
    match dialect.login(endpoint, &fields) {
        _ if !service.store.is_ready() => refuse(Reason::NotReady),
        Some(Ok(attempt)) => login::answer(service, dialect, &attempt, line).await,
        Some(Err(reason)) => finish(service, dialect, &dialect.refuse(endpoint, &fields, reason)),
        None => judge(service, dialect, endpoint, &fields),
    }
}

fn judge(service: &Service, dialect: Dialect, endpoint: &str, fields: &Fields) -> Response<Body> {
    let snapshot = service.store.snapshot();
    let judgement = match service.view(&snapshot) {
        Some(view) => dialect.judge(endpoint, fields, view),
        None => Judgement::refuse(dialect.about(endpoint), Reason::NotReady),
    };
    finish(service, dialect, &judgement)
}

/// Counts, logs and writes an answer.
pub(super) fn finish(service: &Service, dialect: Dialect, judgement: &Judgement<'_>) -> Response<Body> {
    let metrics = service.store.metrics();
    let cause = judgement.outcome.cause();
    if judgement.outcome.is_allow() {
        metrics.decided(dialect, judgement.about, VerdictLabel::Allow, cause);
    } else {
        metrics.decided(dialect, judgement.about, VerdictLabel::Deny, cause);
        service.denials.denied(dialect, judgement, metrics);
    }
    if let Some(code) = judgement.token_code {
        metrics.token_refused(code);
    }
    let cause = service.cause_header.then(|| describe(cause, judgement.token_code));
    write(dialect.write(&judgement.outcome, judgement.login), cause)
}

fn describe(cause: Cause<'_>, token_code: Option<i8>) -> String {
    token_code.map_or_else(|| cause.to_string(), |code| format!("{cause}; code={code}"))
}

fn write(reply: Reply, cause: Option<String>) -> Response<Body> {
    let Reply { status, content_type, body } = reply;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Names of policies are those of Kubernetes, which fit; one that does not is left out.
    if let Some(value) = cause.and_then(|cause| HeaderValue::try_from(cause).ok()) {
        response.headers_mut().insert(CAUSE, value);
    }
    response
}

fn not_here() -> Response<Body> {
    let body = "no broker is answered on this path; see the sidecar's documentation for the paths of each broker\n";
    let reply = Reply { status: 404, content_type: "text/plain", body: body.to_owned() };
    write(reply, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::About;

    #[test]
    fn paths_that_are_no_dialects_are_told_from_mistyped_ones() {
        for (path, expected) in [
            ("/emqx/v5/authn", Some((Dialect::EmqxV5, "authn"))),
            ("/emqx/v6/authz", Some((Dialect::EmqxV6, "authz"))),
            ("/emqx/v4/auth", Some((Dialect::EmqxV4, "auth"))),
            ("/emqx/v7/authn", Some((Dialect::EmqxV5, "v7/authn"))),
            ("/emqx", Some((Dialect::EmqxV5, ""))),
            ("/emqx/v5/authn/", Some((Dialect::EmqxV5, "authn/"))),
            ("/rabbitmq/topic", Some((Dialect::RabbitMq, "topic"))),
            ("/rmqtt/auth", Some((Dialect::Rmqtt, "auth"))),
            ("/emqxx/v5/authn", None),
            ("/", None),
        ] {
            assert_eq!(Dialect::of(path), expected, "{path}");
        }
        assert_eq!(Dialect::EmqxV5.about("authn"), About::Login);
    }
}
