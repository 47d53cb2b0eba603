//! `/explain`: why a client may or may not do something, by the bundle that is really served. Off unless it is asked for.
//!
//! It tells rules and who they are about, never a secret. Rules are not for everyone to read, though, so the listener has to be
//! on loopback, and the request has to name loopback: a page in a browser of this machine may have a name of its own resolved
//! to it. GET with a query, or POST with a form for topics that no URI can hold.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mqtt_access_core::client::Mode;
use mqtt_access_core::explain::{ShownClient, Who};
use mqtt_access_core::policy::{Effect, Qos};
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Request, Target};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::fields::Fields;
use crate::store::Store;

/// The longest body; more than a topic of 65,535 bytes written as `%XX`.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// One question at a time: an answer looks at every rule of a tenant, and brokers come first.
pub(super) struct Explain {
    store: Arc<Store>,
    turn: Arc<Semaphore>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    verdict: Effect,
    tenant: String,
    instance_id: String,
    revision: u64,
    clients: Vec<ShownClient>,
}

/// Why there is no answer, for whoever asked.
struct Refused(StatusCode, String);

impl Explain {
    pub(super) fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { store, turn: Arc::new(Semaphore::new(1)) })
    }
}

pub(super) async fn by_query(
    State(explain): State<Arc<Explain>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&explain, &headers, query.unwrap_or_default().into()).await
}

pub(super) async fn by_form(State(explain): State<Arc<Explain>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&explain, &headers, body).await
}

async fn answer(explain: &Explain, headers: &HeaderMap, text: Bytes) -> Response {
    if !names_loopback(headers) {
        let why = "ask for `localhost`, or for a loopback address\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    let Ok(turn) = Arc::clone(&explain.turn).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let store = Arc::clone(&explain.store);
    let work = move || {
        // Whoever asked may have gone: the turn is over when the work is.
        let _turn = turn;
        work_out(&store, &text)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(Refused(status, why))) => (status, why + "\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether the request names this machine as only this machine does.
fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let host = host.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

fn work_out(store: &Store, text: &[u8]) -> Result<Answer, Refused> {
    let fields = Fields::form(text).map_err(|_| malformed("a parameter stands twice, or its name is not text"))?;
    let text = |name: &'static str| fields.text(name).map_err(|_| malformed(format!("`{name}` is not UTF-8")));
    let client_id = text("client_id")?.ok_or_else(|| malformed("`client_id` is missing; name the client"))?;
    let mode = text("mode")?.filter(|mode| !mode.is_empty()).map(mode).transpose()?;
    let (access_key, username) = (some(text("access_key")?), some(text("username")?));
    let topic = text("topic")?.ok_or_else(|| malformed("`topic` is missing; name a topic or a filter"))?;
    let target = target(text("action")?.unwrap_or_default(), topic)?;
    let (qos, retain) = (qos(some(text("qos")?))?, retain(some(text("retain")?))?);
    let request = Request { target, qos: Some(qos), retain: Some(retain), notation: Notation::Mqtt };

    let snapshot = store.snapshot();
    let unready = || Refused(StatusCode::SERVICE_UNAVAILABLE, "no list of bundles was complete yet".to_owned());
    let index = snapshot.index.as_ref().ok_or_else(unready)?;
    let unknown = |why: String| Refused(StatusCode::NOT_FOUND, why);
    let tenant = index.tenant_of_client(client_id);
    let tenant = tenant.ok_or_else(|| unknown("no tenant in service owns the client ID `client_id`".to_owned()))?;
    let who = Who { client_id: Some(client_id), access_key, username, mode };
    let personas = tenant.identify(who).map_err(|why| unknown(why.to_string()))?;
    let now = store.clock().now();
    let clients: Vec<_> = personas.iter().map(|persona| ShownClient::of(persona, &request, now, |_| None)).collect();
    let all = clients.iter().all(|client| client.explanation.verdict == Effect::Allow);
    Ok(Answer {
        verdict: if all { Effect::Allow } else { Effect::Deny },
        tenant: format!("{}/{}", tenant.tenant().namespace, tenant.tenant().name),
        instance_id: tenant.instance_id().to_owned(),
        revision: tenant.revision(),
        clients,
    })
}

fn malformed(why: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why.into())
}

fn some(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn target<'a>(action: &str, topic: &'a str) -> Result<Target<'a>, Refused> {
    let refused = |error| malformed(format!("`topic` is refused: {error}"));
    match action {
        "publish" => publish_name(topic, Prefixes::Strip).map(Target::Publish).map_err(refused),
        "subscribe" => subscribe_filter(topic, Prefixes::Strip).map(Target::Subscribe).map_err(refused),
        _ => Err(malformed("`action` is neither `publish` nor `subscribe`")),
    }
}

fn mode(text: &str) -> Result<Mode, Refused> {
    let modes = [Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password];
    let found = modes.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| malformed(format!("`mode` is none of {}", modes.map(Mode::as_str).join(", "))))
}

fn qos(text: Option<&str>) -> Result<Qos, Refused> {
    let level = text.unwrap_or("0").parse::<u8>().ok().and_then(|level| Qos::try_from(level).ok());
    level.ok_or_else(|| malformed("`qos` is not 0, 1 or 2"))
}

fn retain(text: Option<&str>) -> Result<bool, Refused> {
    match text {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(malformed("`retain` is neither `true` nor `false`")),
    }
}
