//! The listener that Kubernetes and Prometheus ask. Nothing secret is told here, so that it may listen anywhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::store::Store;

/// `/livez` answers while the event loop turns, `/readyz` once questions are answered from bundles.
pub(crate) fn router(store: Arc<Store>) -> Router {
    let router = Router::new().route("/livez", get(async || "ok\n"));
    router.route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(store)
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
