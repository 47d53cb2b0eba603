//! The manifests of `examples/brokers`.

use std::fs;
use std::time::Duration;

use mqtt_access_operator::broker_config::{Settings, Software};
use mqtt_access_operator::manifest::yaml;
use mqtt_access_tests::{ControlPlane, tools, wait};
use serde_json::{Value, json};

use crate::pod::{NAMESPACE, SIDECAR, admitted, is_gated_and_restricted, of_template, sidecar};
use crate::root;

const SOON: Duration = Duration::from_mins(1);

fn path(name: &str) -> String {
    root().join("examples/brokers").join(name).display().to_string()
}

/// The object of a kind in a file.
fn object(name: &str, kind: &str) -> Value {
    let documents = yaml::documents(&fs::read_to_string(path(name)).unwrap());
    let mut objects = documents.into_iter().map(Result::unwrap).filter(|object| object["kind"] == kind);
    objects.next().unwrap_or_else(|| panic!("no {kind} in {name}"))
}

fn printed(software: Software) -> String {
    software.config(Settings::default()).unwrap()
}

/// The pod of the example for RabbitMQ.
pub(crate) fn rabbitmq_pod() -> Value {
    let set = &object("statefulset-rabbitmq.yaml", "StatefulSet")["spec"];
    of_template(&set["template"], &set["volumeClaimTemplates"])
}

async fn apply(plane: &ControlPlane, name: &str) {
    let applied = plane.kubectl(&["apply", "--server-side", "--validate=strict", "-f", &path(name)]).await;
    applied.unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) async fn stateful_sets_are_taken_and_their_pods_are_restricted(plane: &ControlPlane) {
    for (name, software, file) in [
        ("statefulset-rabbitmq.yaml", Software::Rabbitmq4, "mqtt-access.conf"),
        ("statefulset-mosquitto.yaml", Software::Mosquitto, "mosquitto.conf"),
    ] {
        apply(plane, name).await;
        let configuration = object(name, "ConfigMap");
        assert!(configuration["data"][file].as_str().unwrap().ends_with(&printed(software)), "{configuration:#}");
        let set = &object(name, "StatefulSet")["spec"];
        let stored = is_gated_and_restricted(plane, &of_template(&set["template"], &set["volumeClaimTemplates"])).await;
        assert_eq!(stored["spec"]["initContainers"][0]["name"], SIDECAR);
        assert_eq!(stored["spec"]["initContainers"].as_array().unwrap().len(), 1);
    }
    let (one, mut other) =
        (object("statefulset-rabbitmq.yaml", "StatefulSet"), object("statefulset-mosquitto.yaml", "StatefulSet"));
    let template = &mut other["spec"]["template"];
    let container = &mut template["spec"]["initContainers"][0];
    assert_eq!(container["args"].as_array_mut().unwrap().pop(), Some(json!("--acl-dir=/mqtt-access/acl")));
    assert_eq!(container["volumeMounts"].as_array_mut().unwrap().pop().unwrap()["name"], "mqtt-access-acl");
    assert_eq!(sidecar(template), sidecar(&one["spec"]["template"]), "the same sidecar for all");
}

pub(crate) async fn a_rabbitmq_cluster_is_what_its_definition_says(plane: &ControlPlane) {
    let definition = tools::broker_definitions().join("rabbitmqclusters.yaml");
    plane.kubectl(&["create", "-f", definition.to_str().unwrap()]).await.unwrap();
    let served = async || plane.kubectl(&["get", "rabbitmqclusters"]).await.ok();
    wait::until("the API server to serve the new kind", SOON, served).await;
    let example = "rabbitmq-cluster-operator.yaml";
    apply(plane, example).await;
    let cluster = object(example, "RabbitmqCluster");
    assert_eq!(cluster["spec"]["rabbitmq"]["additionalConfig"], printed(Software::Rabbitmq4));
    // A name that the definition does not have is not taken for nothing.
    let spec = |cluster: &mut Value| cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"].take();
    let mut misspelled = cluster.clone();
    let mut pod = spec(&mut misspelled);
    pod["initContainers"][0]["restartPolice"] = json!("Always");
    misspelled["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"] = pod;
    let told = admitted(plane, &misspelled).await.unwrap_err();
    assert!(told.contains("unknown field") && told.contains("restartPolice"), "{told}");
}

/// The operator merges the override into its own stateful set, by the same rules as the API server a patch.
pub(crate) async fn the_override_of_a_rabbitmq_cluster_makes_a_pod_with_the_sidecar(plane: &ControlPlane) {
    let change = object("rabbitmq-cluster-operator.yaml", "RabbitmqCluster")["spec"]["override"]["statefulSet"].take();
    let container = |name: &str| json!({"name": name, "image": "rabbitmq"});
    let labels = json!({"app.kubernetes.io/name": "rabbitmq"});
    let own = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": NAMESPACE, "name": "operators"},
        "spec": {"serviceName": "nodes", "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"serviceAccountName": "default", "automountServiceAccountToken": false,
                "securityContext": {"fsGroup": 0, "runAsUser": 999},
                "initContainers": [container("setup-container")], "containers": [container("rabbitmq")]}}}});
    plane.apply(&own.to_string()).await.unwrap();
    let args = ["patch", "statefulset", "operators", "-n", NAMESPACE, "--type=strategic", "-o", "json", "-p"];
    let patched = plane.kubectl(&[&args[..], &[&change.to_string()]].concat()).await.unwrap();
    let patched: Value = serde_json::from_str(&patched).unwrap();
    let stored = is_gated_and_restricted(plane, &of_template(&patched["spec"]["template"], &Value::Null)).await;
    let names: Vec<_> = stored["spec"]["initContainers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, [SIDECAR, "setup-container"]);
    assert_eq!(stored["spec"]["containers"].as_array().unwrap().len(), 1);
}

/// The definitions of EMQX's operator are in no registry that is reached here. What its resource takes was read in its source
/// (v2beta1 and v3beta1); containers and volumes are Kubernetes' own, so the API server judges them as a pod.
pub(crate) async fn an_emqx_makes_a_pod_with_the_sidecar(plane: &ControlPlane) {
    let emqx = object("emqx-operator.yaml", "EMQX");
    let spec = &emqx["spec"];
    let known = |object: &Value, fields: &[&str]| {
        let given: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(given.iter().all(|field| fields.contains(field)), "{given:?}");
    };
    known(spec, &["image", "serviceAccountName", "config", "coreTemplate"]);
    known(&spec["config"], &["data"]);
    assert_eq!(spec["config"]["data"], printed(Software::Emqx5));
    let core = &spec["coreTemplate"]["spec"];
    let settings =
        ["replicas", "resources", "podSecurityContext", "containerSecurityContext", "initContainers", "extraVolumes"];
    known(core, &settings);
    let broker = json!({"name": "emqx", "image": spec["image"], "resources": core["resources"],
        "securityContext": core["containerSecurityContext"]});
    let template = json!({"metadata": {}, "spec": {"serviceAccountName": spec["serviceAccountName"],
        "securityContext": core["podSecurityContext"], "initContainers": core["initContainers"],
        "containers": [broker], "volumes": core["extraVolumes"]}});
    let account = object("emqx-operator.yaml", "ServiceAccount");
    plane.apply(&account.to_string()).await.unwrap();
    is_gated_and_restricted(plane, &of_template(&template, &Value::Null)).await;
}
