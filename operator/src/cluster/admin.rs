//! The listener that Kubernetes and Prometheus ask. Nothing secret is told here, so that it may listen anywhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use mqtt_access_sidecar::{Heartbeat, Probes};
use tokio::net::TcpListener;

use super::controller::Context;

/// Answers from a thread of its own: `/livez` is well while the other threads have time for a heartbeat, `/readyz` once every
/// cache has had its first complete list. Runs until it is dropped.
pub(super) async fn serve(listener: TcpListener, context: Arc<Context>) {
    let heart = Heartbeat::start();
    let router = Router::new().route("/livez", get(async move || heart.livez()));
    let router = router.route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(context);
    match Probes::start(listener, router) {
        Ok(_probes) => std::future::pending().await,
        Err(error) => tracing::error!(%error, "no thread for probes and metrics; they are not answered"),
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
