//! The listener that Kubernetes and Prometheus ask. Nothing secret is told here, so that it may listen anywhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::controller::Context;

/// `/livez` answers while the event loop turns, `/readyz` once every cache has had its first complete list.
pub(super) async fn serve(listener: TcpListener, context: Arc<Context>) {
    let router = Router::new().route("/livez", get(async || "ok\n"));
    let router = router.route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(context);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "probes and metrics are no longer answered");
    }
}

async fn readyz(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no list of resources was complete yet; nothing is reconciled\n")
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let (devices, policies) = context.world(|world| (world.devices.counts(), world.policies.counts()));
    context.figures.cached(devices, policies);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], context.figures.render())
}
