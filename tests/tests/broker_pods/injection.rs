//! Injection: what the chart's admission policies make of pods that are labelled `mqttaccess.io/inject`.

use std::time::Duration;

use mqtt_access_tests::{ControlPlane, wait};
use serde_json::{Value, json};

use crate::pod::{NAMESPACE, SIDECAR, admitted, is_gated_and_restricted, of_template, sidecar, volume};
use crate::{examples, root};

const SOON: Duration = Duration::from_mins(1);

/// The policies of a release, as helm renders them, or why it does not.
async fn rendered(plane: &ControlPlane, release: &str, brokers: &[&str], more: &[&str]) -> Result<String, String> {
    let chart = root().join("charts/mqtt-access").display().to_string();
    let broker = |name: &&str| json!({"name": name, "bundleNamespace": format!("bundles-{name}"), "tenantNamespaceSelector": {}});
    let brokers = format!("brokers={}", brokers.iter().map(broker).collect::<Value>());
    let fixed = [
        "template",
        release,
        &chart,
        "--namespace=mqtt-access",
        "--kube-version=1.36.3",
        "--set=injection.enabled=true",
    ];
    let show = ["--show-only=templates/injection.yaml", "--set-json", &brokers];
    plane.helm().run(&[&fixed[..], &show, more].concat()).await.map_err(|error| error.stderr)
}

/// A broker's pod without a sidecar, which passes `restricted`.
fn pod(label: Option<&str>) -> Value {
    let secured = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let container = |name: &str| json!({"name": name, "image": "broker", "securityContext": secured});
    let labels = label.map(|broker| json!({"mqttaccess.io/inject": broker}));
    let template = json!({"metadata": {"labels": labels}, "spec": {"serviceAccountName": "default",
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [container("first"), container("second")], "containers": [container("broker")],
        "volumes": [{"name": "own", "emptyDir": {}}]}});
    of_template(&template, &Value::Null)
}

fn names<'p>(pod: &'p Value, kind: &str) -> Vec<&'p str> {
    pod["spec"][kind].as_array().into_iter().flatten().map(|it| it["name"].as_str().unwrap()).collect()
}

async fn refused(plane: &ControlPlane, pod: &Value, words: &str) {
    let told = admitted(plane, pod).await.unwrap_err();
    assert!(
        told.contains("ValidatingAdmissionPolicy 'mqtt-access.r-mqtt-access.injected'") && told.contains(words),
        "{told}"
    );
}

pub(crate) async fn labelled_pods_get_the_sidecar_of_their_broker(plane: &ControlPlane) {
    let policies = rendered(plane, "r", &["default", "eu-west"], &[]).await.unwrap();
    plane.apply(&policies).await.unwrap_or_else(|error| panic!("{error}"));
    // Policies of admission take a moment until they count, and each counts from a moment of its own.
    let counts = async |label: &str| admitted(plane, &pod(Some(label))).await.is_ok().then_some(());
    wait::until("labelled pods to be refused", SOON, async || admitted(plane, &pod(Some("no"))).await.err()).await;
    wait::until("injection to count", SOON, async || counts("default").await).await;
    wait::until("injection to count", SOON, async || counts("eu-west").await).await;

    the_sidecar_is_first_and_the_rest_is_untouched(plane).await;
    it_is_the_sidecar_of_the_examples(plane).await;
    a_pod_that_has_almost_nothing_gets_it_too(plane).await;
    a_pod_that_has_it_already_is_left_alone(plane).await;
    a_broker_that_has_a_token_keeps_it(plane).await;
    a_pod_whose_broker_reads_files_gets_them(plane).await;
    what_cannot_be_gated_is_refused(plane).await;
    stored_pods_can_still_be_edited(plane).await;
    another_release_serves_its_own_brokers(plane).await;
    a_cluster_that_is_too_old_is_told_what_to_do_instead(plane).await;
}

async fn the_sidecar_is_first_and_the_rest_is_untouched(plane: &ControlPlane) {
    for (label, namespace) in [("default", "bundles-default"), ("eu-west", "bundles-eu-west")] {
        let stored = is_gated_and_restricted(plane, &pod(Some(label))).await;
        assert_eq!(names(&stored, "initContainers"), [SIDECAR, "first", "second"]);
        assert_eq!(names(&stored, "containers"), ["broker"]);
        assert_eq!(names(&stored, "volumes"), ["own", "mqtt-access-state", "mqtt-access-token"]);
        let args = sidecar(&stored)["args"].as_array().unwrap();
        assert!(args.contains(&json!(format!("--namespace={namespace}"))), "{args:?}");
        // Beside what admission adds, nothing else of the pod changes.
        let plain = admitted(plane, &pod(None)).await.unwrap();
        assert_eq!(stored["spec"]["containers"], plain["spec"]["containers"]);
        assert_eq!(
            stored["spec"]["initContainers"].as_array().unwrap()[1..],
            plain["spec"]["initContainers"].as_array().unwrap()[..]
        );
        assert_eq!(names(&plain, "volumes"), ["own"]);
    }
}

async fn it_is_the_sidecar_of_the_examples(plane: &ControlPlane) {
    let injected = admitted(plane, &pod(Some("default"))).await.unwrap();
    let mut example = admitted(plane, &examples::rabbitmq_pod()).await.unwrap();
    let args = example["spec"]["initContainers"][0]["args"].as_array_mut().unwrap();
    let theirs = args.iter_mut().find(|arg| **arg == "--namespace=mqtt-access-mqtt-access-bundles").unwrap();
    *theirs = json!("--namespace=bundles-default");
    assert_eq!(sidecar(&injected), sidecar(&example));
    for name in ["mqtt-access-state", "mqtt-access-token"] {
        assert_eq!(volume(&injected, name), volume(&example, name));
    }
}

async fn a_pod_that_has_almost_nothing_gets_it_too(plane: &ControlPlane) {
    let mut bare = pod(Some("default"));
    for part in ["initContainers", "volumes"] {
        bare["spec"].as_object_mut().unwrap().remove(part);
    }
    let stored = is_gated_and_restricted(plane, &bare).await;
    assert_eq!(names(&stored, "initContainers"), [SIDECAR]);
}

async fn a_pod_that_has_it_already_is_left_alone(plane: &ControlPlane) {
    let stored = admitted(plane, &pod(Some("default"))).await.unwrap();
    let mut again = pod(Some("default"));
    again["spec"] = stored["spec"].clone();
    let twice = admitted(plane, &again).await.unwrap();
    assert_eq!(twice["spec"], stored["spec"]);
}

/// As one that finds its peers by asking the API server.
async fn a_broker_that_has_a_token_keeps_it(plane: &ControlPlane) {
    let mut asking = pod(Some("default"));
    asking["spec"]["automountServiceAccountToken"] = json!(true);
    let stored = admitted(plane, &asking).await.unwrap();
    let tokens = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let tokens = mounts.filter(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
        tokens.map(|mount| mount["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tokens(sidecar(&stored)), ["mqtt-access-token"]);
    let own = tokens(&stored["spec"]["containers"][0]);
    assert!(own.len() == 1 && own[0].starts_with("kube-api-access-"), "{own:?}");
}

async fn a_pod_whose_broker_reads_files_gets_them(plane: &ControlPlane) {
    let mut reading = pod(Some("default"));
    let volume = json!({"name": "mqtt-access-acl", "emptyDir": {"medium": "Memory"}});
    reading["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    let stored = admitted(plane, &reading).await.unwrap();
    let sidecar = sidecar(&stored);
    assert!(sidecar["args"].as_array().unwrap().contains(&json!("--acl-dir=/mqtt-access/acl")), "{sidecar:#}");
    let mount = json!({"name": "mqtt-access-acl", "mountPath": "/mqtt-access/acl"});
    assert!(sidecar["volumeMounts"].as_array().unwrap().contains(&mount), "{sidecar:#}");
}

async fn what_cannot_be_gated_is_refused(plane: &ControlPlane) {
    let unknown = "no sidecar `mqtt-access-sidecar` that holds the broker back came of the label";
    refused(plane, &pod(Some("eu-wets")), &format!("{unknown} `mqttaccess.io/inject: eu-wets`")).await;
    refused(plane, &pod(Some("eu-wets")), "this release injects for default, eu-west").await;
    refused(plane, &pod(Some("")), unknown).await;
    // One's own container of that name, which gates nothing.
    let mut own = pod(Some("default"));
    own["spec"]["initContainers"][0]["name"] = json!(SIDECAR);
    refused(plane, &own, unknown).await;
    own["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    refused(plane, &own, unknown).await;
    // In a namespace that would let it through.
    let mut on_the_node = pod(Some("default"));
    on_the_node["metadata"]["namespace"] = json!("default");
    on_the_node["spec"]["hostNetwork"] = json!(true);
    refused(plane, &on_the_node, "with `hostNetwork` everything on the node could ask the sidecar").await;
}

/// Policies look at new pods only: a pod from before the installation must not be stuck with its finalizers.
async fn stored_pods_can_still_be_edited(plane: &ControlPlane) {
    let mut plain = pod(None);
    plain["metadata"]["name"] = json!("from-before");
    plane.apply(&plain.to_string()).await.unwrap();
    plane.kubectl(&["label", "pod", "from-before", "-n", NAMESPACE, "mqttaccess.io/inject=default"]).await.unwrap();
    plane.kubectl(&["label", "pod", "from-before", "-n", NAMESPACE, "mqttaccess.io/inject-"]).await.unwrap();
}

/// By the labels of namespaces, so that both may call their broker `default`.
async fn another_release_serves_its_own_brokers(plane: &ControlPlane) {
    let unserved = "this release injects for";
    let lab = pod(Some("lab"));
    refused(plane, &lab, unserved).await;
    // Values keep their types and their characters on their way through Helm, CEL and JSON Patch.
    let (env, limits) = (json!({"name": "X", "value": "a'\"<&\\ # ${b}\n"}), json!({"cpu": 0.5, "memory": "1Gi"}));
    let injection = json!({"enabled": true, "namespaceSelector": {"matchLabels": {"team": "lab"}}, "extraEnv": [env],
        "resources": {"limits": limits}, "stateSizeLimit": "7Mi"});
    let options = ["--set-json", &format!("injection={injection}")];
    plane.apply(&rendered(plane, "other", &["lab"], &options).await.unwrap()).await.unwrap();
    plane.kubectl(&["label", "namespace", "default", "team=lab"]).await.unwrap();
    let mut theirs = lab.clone();
    theirs["metadata"]["namespace"] = json!("default");
    let counts = async || admitted(plane, &theirs).await.ok();
    let stored = wait::until("the other release to count", SOON, counts).await;
    assert!(sidecar(&stored)["args"].as_array().unwrap().contains(&json!("--namespace=bundles-lab")));
    assert_eq!(sidecar(&stored)["env"], json!([env]));
    assert_eq!(sidecar(&stored)["resources"]["limits"], json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(volume(&stored, "mqtt-access-state")["emptyDir"]["sizeLimit"], "7Mi");
    assert!(admitted(plane, &lab).await.unwrap_err().contains(unserved), "not in a namespace without the label");
    let stored = admitted(plane, &pod(Some("default"))).await.unwrap();
    assert!(sidecar(&stored)["args"].as_array().unwrap().contains(&json!("--namespace=bundles-default")));
}

async fn a_cluster_that_is_too_old_is_told_what_to_do_instead(plane: &ControlPlane) {
    let told = rendered(plane, "r", &["default"], &["--kube-version=1.35.4"]).await.unwrap_err();
    let reason = "injection.enabled needs Kubernetes 1.36 and its MutatingAdmissionPolicy, and this is v1.35.4";
    assert!(told.contains(reason) && told.contains("examples/brokers"), "{told}");
}
