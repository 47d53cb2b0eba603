//! The broker's pod: `examples/brokers/statefulset-rabbitmq.yaml`, with an image that is made of what is installed here.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mqtt_access_operator::manifest::yaml;
use mqtt_access_tests::{Node, first_light, wait};
use serde_json::{Value, json};

use crate::kubectl;

const NAMESPACE: &str = "mqtt-broker";
const POD: &str = "rabbitmq-0";
const INJECTED: &str = "injected";
const LIMIT: Duration = Duration::from_mins(2);

/// Without a registry, a broker of Debian's; without a storage class, a volume of the node's. The chart's release is told about
/// the broker's account, as the example says, so that its own binding goes.
fn manifests(node: &Node) -> Vec<Value> {
    let example = first_light::root().join("examples/brokers/statefulset-rabbitmq.yaml");
    let documents = yaml::documents(&fs::read_to_string(example).unwrap());
    let mut objects: Vec<Value> = documents.into_iter().map(Result::unwrap).collect();
    objects.retain(|object| object["kind"] != "RoleBinding");
    let set = objects.iter_mut().find(|object| object["kind"] == "StatefulSet").unwrap();
    *set.pointer_mut("/spec/template/spec/containers/0/image").unwrap() = json!("mqtt-access.test/rabbitmq:test");
    // First: a claim that finds no volume looks again after a while only.
    objects.insert(
        0,
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "rabbitmq"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "local": {"path": node.new_folder("rabbitmq")},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]},
                ]}]}},
            },
        }),
    );
    objects
}

pub(crate) async fn a_broker_starts_after_its_sidecar(node: &Node, start: Instant) -> SocketAddr {
    for object in manifests(node) {
        node.plane.apply(&object.to_string()).await.unwrap();
    }
    wait::until("the broker's pod to be ready", LIMIT, async || {
        let pod = pod(node).await?;
        let ready = pod.pointer("/status/containerStatuses/0/ready").is_some_and(|ready| ready == true);
        ready.then_some(())
    })
    .await;
    eprintln!("node: helm install to the broker's pod ready: {:.1?}", start.elapsed());
    let pod = pod(node).await.unwrap();
    let sidecar = started_at(&pod, "/status/initContainerStatuses/0");
    let broker = started_at(&pod, "/status/containerStatuses/0");
    // Both are whole seconds; the sidecar's start comes before its first bundles, and those before the broker.
    assert!(sidecar <= broker, "the broker ({broker}) did not wait for its sidecar ({sidecar})");
    let address: IpAddr = pod.pointer("/status/podIP").and_then(Value::as_str).unwrap().parse().unwrap();
    SocketAddr::new(address, 1883)
}

/// The kubelet restarts it alone: the broker and its sessions stay.
pub(crate) async fn a_sidecar_that_is_killed_comes_back(node: &Node, mqtt: SocketAddr) {
    let sidecar = "/status/initContainerStatuses/0";
    let before = pod(node).await.unwrap();
    node.kill_process("mqtt-access-sidecar");
    let start = Instant::now();
    let after = wait::until("the sidecar to be started again", LIMIT, async || {
        let pod = pod(node).await?;
        let status = pod.pointer(sidecar)?;
        (status["restartCount"] == 1 && status["ready"] == true).then_some(pod)
    })
    .await;
    eprintln!("node: a killed sidecar is ready again after {:.1?}", start.elapsed());
    assert_eq!(started_at(&before, "/status/containerStatuses/0"), started_at(&after, "/status/containerStatuses/0"));
    crate::devices::a_device_is_let_in(node, mqtt).await;
}

/// Any program stands for a broker here: what counts is that the sidecar that nobody wrote down runs, and first.
pub(crate) async fn an_injected_sidecar_runs(node: &Node) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": NAMESPACE, "name": INJECTED, "labels": {"mqttaccess.io/inject": "default"}},
        "spec": {
            "serviceAccountName": "rabbitmq",
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "broker",
                "image": "mqtt-access.test/pause:test",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
    .to_string();
    // Policies of admission take a moment until they count.
    wait::until("injection to count", LIMIT, async || {
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made = node.plane.kubectl_as(node.plane.admin_kubeconfig()).run_with_stdin(&args, &pod).await.ok()?;
        made.contains("mqtt-access-sidecar").then_some(())
    })
    .await;
    let start = Instant::now();
    node.plane.apply(&pod).await.unwrap();
    kubectl(node, &["wait", "--for=condition=Ready", "-n", NAMESPACE, "pod", INJECTED, "--timeout=60s"]).await;
    eprintln!("node: an injected pod is ready after {:.1?}", start.elapsed());
    let pod = kubectl(node, &["get", "pod", "-n", NAMESPACE, INJECTED, "-o", "json"]).await;
    let pod: Value = serde_json::from_str(&pod).unwrap();
    let sidecar = pod.pointer("/status/initContainerStatuses/0").unwrap();
    assert_eq!(sidecar["name"], "mqtt-access-sidecar", "{sidecar:#}");
    assert_eq!((&sidecar["started"], &sidecar["ready"]), (&json!(true), &json!(true)), "{sidecar:#}");
    assert!(started_at(&pod, "/status/initContainerStatuses/0") <= started_at(&pod, "/status/containerStatuses/0"));
}

fn started_at(pod: &Value, status: &str) -> String {
    let started = pod.pointer(&format!("{status}/state/running/startedAt"));
    started.and_then(Value::as_str).unwrap_or_else(|| panic!("{status} does not run: {pod:#}")).to_owned()
}

async fn pod(node: &Node) -> Option<Value> {
    let found = kubectl(node, &["get", "pod", "-n", NAMESPACE, POD, "--ignore-not-found", "-o", "json"]).await;
    serde_json::from_str(&found).ok()
}
