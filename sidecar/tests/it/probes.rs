//! What Kubernetes and Prometheus are told.

use std::sync::atomic::Ordering::Relaxed;

use crate::fixture::{DEV1, DEV1_USERNAME, START, device_password};
use crate::server::Server;

#[tokio::test]
async fn ready_means_that_a_list_was_complete() {
    let server = Server::empty().await;
    assert_eq!(server.probe("/livez").await.status, 200);
    let waiting = server.probe("/readyz").await;
    assert_eq!(waiting.status, 503);
    assert_eq!(waiting.body, "no list of bundles was complete yet; every request is denied\n");
    server.load_fixture();
    assert_eq!(server.probe("/readyz").await.status, 200);
}

#[tokio::test]
async fn decisions_and_bundles_are_counted_and_nothing_is_named() {
    let server = Server::start().await;
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    server.emqx_publish(DEV1, &ticket, "acme/dev1/up").await;
    server.emqx_publish(DEV1, &ticket, "acme/other/up").await;
    server.now.store(START + 7, Relaxed);
    let text = server.probe("/metrics").await.body;
    for line in [
        "mqtt_access_sidecar_decisions_total{dialect=\"emqx_v5\",action=\"login\",verdict=\"allow\",reason=\"ProofAccepted\"} 1",
        "mqtt_access_sidecar_decisions_total{dialect=\"emqx_v5\",action=\"publish\",verdict=\"allow\",reason=\"Rule\"} 1",
        "mqtt_access_sidecar_decisions_total{dialect=\"emqx_v5\",action=\"publish\",verdict=\"deny\",reason=\"NotGranted\"} 1",
        "mqtt_access_sidecar_request_duration_seconds_count{dialect=\"emqx_v5\"} 3",
        "mqtt_access_sidecar_bundles 2",
        "mqtt_access_sidecar_devices 5",
        "mqtt_access_sidecar_bundle_newest_revision 10",
        "mqtt_access_sidecar_bundle_change_age_seconds 7",
        "mqtt_access_sidecar_bundle_load_age_seconds 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    for secret in ["GID_acme", "own-topics", "shop", ticket.as_str()] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}
