//! What the API server makes of a pod, and what a broker's pod has to be.

use mqtt_access_tests::ControlPlane;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "mqtt-broker";
pub(crate) const SIDECAR: &str = "mqtt-access-sidecar";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A pod of a template; claims are volumes that a stateful set would add.
pub(crate) fn of_template(template: &Value, claims: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": "broker-0"}});
    pod["metadata"]["labels"] = template["metadata"]["labels"].clone();
    pod["spec"] = template["spec"].clone();
    for claim in claims.as_array().into_iter().flatten() {
        let volume = json!({"name": claim["metadata"]["name"], "emptyDir": {}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }
    pod
}

/// The pod as it would be stored, or why it is refused.
pub(crate) async fn admitted(plane: &ControlPlane, pod: &Value) -> Result<Value, String> {
    let args = ["create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"];
    let kubectl = plane.kubectl_as(plane.admin_kubeconfig());
    let stored = kubectl.run_with_stdin(&args, &pod.to_string()).await.map_err(|error| error.stderr)?;
    Ok(serde_json::from_str(&stored).unwrap())
}

/// The init container that is the sidecar.
pub(crate) fn sidecar(pod: &Value) -> &Value {
    let all = pod["spec"]["initContainers"].as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|container| container["name"] == SIDECAR).collect();
    assert_eq!(found.len(), 1, "{pod:#}");
    found[0]
}

/// It keeps running, holds the broker back, and has a token that no other container gets; and the whole pod passes `restricted`,
/// which would refuse it otherwise.
pub(crate) async fn is_gated_and_restricted(plane: &ControlPlane, pod: &Value) -> Value {
    let stored = admitted(plane, pod).await.unwrap_or_else(|told| panic!("{told}"));
    let sidecar = sidecar(&stored);
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["startupProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(sidecar["startupProbe"]["httpGet"]["port"], 9090);
    let args = sidecar["args"].as_array().unwrap();
    for argument in ["--http=127.0.0.1:8080", "--admin=0.0.0.0:9090", "--state-dir=/run/mqtt-access"] {
        assert!(args.iter().any(|given| given == argument), "{argument} in {args:?}");
    }
    let state = volume(&stored, "mqtt-access-state");
    assert_eq!(state["emptyDir"]["medium"], "Memory");
    assert_eq!(mounting(&stored, "mountPath", TOKEN), [SIDECAR]);
    assert_eq!(mounting(&stored, "name", "mqtt-access-state"), [SIDECAR]);
    without_a_security_context_it_is_refused(plane, pod).await;
    stored
}

pub(crate) fn volume<'p>(pod: &'p Value, name: &str) -> &'p Value {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("no volume {name}"))
}

/// Which containers have a mount like this.
fn mounting<'p>(pod: &'p Value, field: &str, value: &str) -> Vec<&'p str> {
    let all = ["initContainers", "containers"].into_iter().filter_map(|kind| pod["spec"][kind].as_array()).flatten();
    let has = |container: &&Value| {
        container["volumeMounts"].as_array().is_some_and(|mounts| mounts.iter().any(|mount| mount[field] == value))
    };
    all.filter(has).map(|container| container["name"].as_str().unwrap()).collect()
}

/// That the namespace really judges: else nothing above would prove anything.
async fn without_a_security_context_it_is_refused(plane: &ControlPlane, pod: &Value) {
    let mut open = pod.clone();
    open["spec"]["containers"][0]["securityContext"] = Value::Null;
    let told = admitted(plane, &open).await.unwrap_err();
    assert!(told.contains("violates PodSecurity \"restricted:latest\""), "{told}");
}
