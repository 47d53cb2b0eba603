//! Pods of brokers with the sidecar in them, at a real API server: the manifests of `examples/brokers`, and what injection by the
//! chart's admission policies makes of a labelled pod.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod examples;
mod injection;
mod pod;

use std::path::{Path, PathBuf};

use mqtt_access_tests::ControlPlane;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_brokers_pods_with_the_sidecar_ahead_of_the_broker() {
    let plane = ControlPlane::start().await;
    plane.kubectl(&["apply", "-f", root().join("examples/cluster/rbac.yaml").to_str().unwrap()]).await.unwrap();
    examples::stateful_sets_are_taken_and_their_pods_are_restricted(&plane).await;
    examples::a_rabbitmq_cluster_is_what_its_definition_says(&plane).await;
    examples::the_override_of_a_rabbitmq_cluster_makes_a_pod_with_the_sidecar(&plane).await;
    examples::an_emqx_makes_a_pod_with_the_sidecar(&plane).await;
    injection::labelled_pods_get_the_sidecar_of_their_broker(&plane).await;
}
