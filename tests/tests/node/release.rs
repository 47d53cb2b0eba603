//! The release: images, `helm install`, `helm test`, and a replica that goes.

use std::time::Instant;

use mqtt_access_tests::{Node, first_light, tools};
use serde_json::Value;

use crate::kubectl;

const NAMESPACE: &str = "mqtt-access";
const OPERATOR: &str = "deployment/mqtt-access-operator";

/// As a platform team would make it: no pod of the release may do more than `restricted` ones.
const RESTRICTED: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: mqtt-access, labels: {pod-security.kubernetes.io/enforce: restricted}}
";

/// Everything but who may read the bundles is the chart's default.
const VALUES: &str = r#"brokers=[{"name": "default", "tenantNamespaceSelector": {},
    "sidecar": {"serviceAccounts": [{"namespace": "mqtt-broker", "name": "rabbitmq"}]}}]"#;

pub(crate) async fn images_are_imported(node: &Node) {
    for program in ["mqtt-access-operator", "mqtt-access-sidecar"] {
        node.import(&tools::image(program)).await;
    }
    node.import(&node.rabbitmq()).await;
}

async fn helm(node: &Node, args: &[&str]) -> String {
    let told = node.plane.helm().run(&[args, &["--namespace", NAMESPACE]].concat()).await;
    told.unwrap_or_else(|error| panic!("{error}\n{}", error.stdout))
}

pub(crate) async fn helm_installs_and_the_pods_are_ready(node: &Node, start: Instant) {
    node.plane.apply(RESTRICTED).await.unwrap();
    let chart = first_light::root().join("charts/mqtt-access").display().to_string();
    helm(node, &["install", "mqtt-access", &chart, "--set-json", VALUES]).await;
    kubectl(node, &["rollout", "status", "-n", NAMESPACE, OPERATOR, "--timeout=120s"]).await;
    eprintln!("node: helm install to both operators ready: {:.1?}", start.elapsed());
    let pods = pods(node).await;
    assert_eq!(pods.len(), 2, "{pods:#?}");
    for pod in &pods {
        let container = pod.pointer("/status/containerStatuses/0").unwrap();
        assert_eq!(container["restartCount"], 0, "{container:#}");
        assert_eq!(container["ready"], true, "{container:#}");
    }
}

async fn pods(node: &Node) -> Vec<Value> {
    let selector = "app.kubernetes.io/component=operator";
    let listed = kubectl(node, &["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .cloned()
        .collect()
}

/// The hook's pod is gone when it went well, with what it made.
pub(crate) async fn helm_test_goes_through(node: &Node) {
    let start = Instant::now();
    let told = helm(node, &["test", "mqtt-access", "--timeout", "120s"]).await;
    eprintln!("node: helm test: {:.1?}", start.elapsed());
    assert!(told.contains("Phase:          Succeeded"), "{told}");
    for left in [["get", "pods", "-n"], ["get", "mqtttenants,devicecredentials,aclpolicies", "-n"]] {
        let names = kubectl(node, &[&left[..], &[NAMESPACE, "-o", "name"]].concat()).await;
        assert!(!names.contains("mqtt-access-test"), "{names}");
    }
}

pub(crate) async fn an_upgrade_switches_injection_on(node: &Node) {
    let chart = first_light::root().join("charts/mqtt-access").display().to_string();
    helm(node, &["upgrade", "mqtt-access", &chart, "--reuse-values", "--set", "injection.enabled=true"]).await;
}

/// As when a node is drained.
pub(crate) async fn an_operator_that_is_deleted_is_replaced(node: &Node) {
    let before = names(&pods(node).await);
    let start = Instant::now();
    kubectl(node, &["delete", "-n", NAMESPACE, "pod", before.first().unwrap()]).await;
    eprintln!("node: an operator's pod is gone {:.1?} after its deletion", start.elapsed());
    kubectl(node, &["rollout", "status", "-n", NAMESPACE, OPERATOR, "--timeout=60s"]).await;
    let after = names(&pods(node).await);
    assert_eq!(after.len(), 2, "{after:?}");
    assert_ne!(before, after);
}

fn names(pods: &[Value]) -> Vec<String> {
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}
