//! The chart on a real node, from an empty cluster to a rotation: pods from the images of `make image`, a RabbitMQ with the
//! sidecar as a native one, and devices that connect to the pod.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is a failed test")]

mod node {
    pub(crate) mod broker;
    pub(crate) mod devices;
    pub(crate) mod release;
}

use std::time::Instant;

use mqtt_access_tests::node::apart;
use mqtt_access_tests::{Node, first_light};
use node::{broker, devices, release};

#[test]
fn a_chart_on_a_node_lets_devices_in_and_follows_a_rotation() {
    apart("a_chart_on_a_node_lets_devices_in_and_follows_a_rotation", async || {
        let start = Instant::now();
        let node = Node::start().await;
        eprintln!("node: ready after {:.1?}", start.elapsed());
        release::images_are_imported(&node).await;
        let start = Instant::now();
        release::helm_installs_and_the_pods_are_ready(&node, start).await;
        apply(&node, "examples/acme.yaml").await;
        let mqtt = broker::a_broker_starts_after_its_sidecar(&node, start).await;
        devices::a_device_is_let_in(&node, mqtt).await;
        eprintln!(
            "node: helm install to the first login allowed, RabbitMQ's own start included: {:.1?}",
            start.elapsed()
        );
        devices::others_are_kept_out(&node, mqtt).await;
        devices::a_rotation_is_followed(&node, mqtt).await;
        broker::a_sidecar_that_is_killed_comes_back(&node, mqtt).await;
        release::helm_test_goes_through(&node).await;
        release::an_upgrade_switches_injection_on(&node).await;
        broker::an_injected_sidecar_runs(&node).await;
        release::an_operator_that_is_deleted_is_replaced(&node).await;
    });
}

/// kubectl as administrator; what it is refused fails the test.
pub(crate) async fn kubectl(node: &Node, args: &[&str]) -> String {
    node.plane.kubectl(args).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn apply(node: &Node, file: &str) {
    kubectl(node, &["apply", "-f", &first_light::root().join(file).display().to_string()]).await;
}
