//! A node with running pods.

use mqtt_access_tests::{Node, node};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: asleep, namespace: default}
spec:
  containers:
  - {name: asleep, image: 'mqtt-access.test/pause:test', imagePullPolicy: Never, resources: {limits: {memory: 16Mi}}}
";

#[test]
fn a_pod_runs_on_a_node() {
    node::apart("a_pod_runs_on_a_node", async || {
        let start = std::time::Instant::now();
        let node = Node::start().await;
        eprintln!("node ready after {:?}", start.elapsed());
        wait_for_service_account(&node).await;
        node.plane.apply(POD).await.unwrap();
        node.plane.kubectl(&["wait", "--for=condition=Ready", "pod/asleep", "--timeout=60s"]).await.unwrap();
        eprintln!("pod ready after {:?}", start.elapsed());
    });
}

async fn wait_for_service_account(node: &Node) {
    let limit = std::time::Duration::from_secs(20);
    let get = ["get", "serviceaccount", "default"];
    mqtt_access_tests::wait::until("the service account", limit, async || node.plane.kubectl(&get).await.ok()).await;
}
