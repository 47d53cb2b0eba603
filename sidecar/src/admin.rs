//! The listener that Kubernetes and Prometheus ask. Nothing secret is told here, so that it may listen anywhere;
//! with `/explain` on loopback only.

mod explain;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::heartbeat::Heartbeat;
use crate::store::Store;
use explain::{Explain, MAX_BODY_BYTES};

/// `/livez` is well while the threads that answer brokers have time for a heartbeat, `/readyz` once questions are answered
/// from bundles; `/explain` where it is asked for.
pub(crate) fn router(store: Arc<Store>, explain: bool, heart: Option<Arc<Heartbeat>>) -> Router {
    let explain = explain.then(|| Explain::new(Arc::clone(&store)));
    let router = Router::new().route("/livez", get(async move || livez(heart.as_deref())));
    let router = router.route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(store);
    let Some(explain) = explain else { return router };
    let explaining = get(explain::by_query).post(explain::by_form).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    router.merge(Router::new().route("/explain", explaining).with_state(explain))
}

/// Without a heartbeat there are no threads to watch but the one that answers.
fn livez(heart: Option<&Heartbeat>) -> (StatusCode, &'static str) {
    heart.map_or((StatusCode::OK, "ok\n"), Heartbeat::livez)
}

async fn readyz(State(store): State<Arc<Store>>) -> impl IntoResponse {
    if store.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no list of bundles was complete yet; every request is denied\n")
    }
}

async fn metrics(State(store): State<Arc<Store>>) -> impl IntoResponse {
    let changed = store.snapshot().changed;
    let text = store.metrics().render(changed, store.clock().now());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
