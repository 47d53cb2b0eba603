//! What a node does with the pod of `helm test`: its two programs run as processes, with the arguments and the account that the
//! pod has, and the API server is told how it ended.

use std::time::Duration;

use mqtt_access_tests::kubectl::{Kubectl, KubectlError};
use mqtt_access_tests::{ControlPlane, Program, ports, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// A kubeconfig of the account that a pod has.
pub(crate) async fn kubeconfig_of(plane: &ControlPlane, namespace: &str, account: &str) -> String {
    let token = plane.kubectl(&["create", "token", account, "-n", namespace]).await;
    let token = token.unwrap_or_else(|error| panic!("{error}"));
    plane.kubeconfig(plane.url(), token.trim()).display().to_string()
}

/// Arguments of a container, with addresses of this machine that are free.
fn args(container: &Value, addresses: &[(&str, String)]) -> Vec<String> {
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned());
    args.map(|arg| addresses.iter().fold(arg, |arg, (from, to)| arg.replace(from, to))).collect()
}

/// `helm test`, with this process in the place of a node. What the check said comes back with helm's verdict.
pub(crate) async fn helm_test(
    plane: &ControlPlane,
    release: &str,
    namespace: &str,
) -> (Result<String, KubectlError>, String) {
    let (helm, space) = (plane.helm(), format!("--namespace={namespace}"));
    let args = ["test", release, &space, "--timeout=90s"];
    let (verdict, said) = tokio::join!(helm.run(&args), serve_pod(plane, namespace));
    (verdict, said)
}

async fn serve_pod(plane: &ControlPlane, namespace: &str) -> String {
    let selector = "--selector=app.kubernetes.io/component=test";
    let pod = wait::until("helm to make the pod of the test", SOON, async || {
        let list = plane.kubectl(&["get", "pods", "-n", namespace, selector, "-o", "json"]).await.ok()?;
        let list: Value = serde_json::from_str(&list).unwrap();
        // That of the last test is still there, and done.
        let waits =
            |pod: &&Value| pod["status"]["phase"] == "Pending" && pod["metadata"]["deletionTimestamp"].is_null();
        list["items"].as_array()?.iter().find(waits).cloned()
    })
    .await;
    let (name, spec) = (pod["metadata"]["name"].as_str().unwrap(), &pod["spec"]);
    let kubeconfig = kubeconfig_of(plane, namespace, spec["serviceAccountName"].as_str().unwrap()).await;
    let (http, admin) = (ports::free_address(), ports::free_address());
    let addresses = [("127.0.0.1:8080", http.to_string()), ("0.0.0.0:9090", admin.to_string())];
    let start = |program: &str, container: &Value| {
        let args = args(container, &addresses);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Program::start(program, &args, &[("KUBECONFIG", &kubeconfig)])
    };
    let sidecar = start("mqtt-access-sidecar", &spec["initContainers"][0]);
    sidecar.wait_ready(admin, SOON).await;
    let check = start("mqtt-access-operator", &spec["containers"][0]);
    let ended = check.wait_end(2 * SOON).await;
    let phase = if ended.success() { "Succeeded" } else { "Failed" };
    let patch = json!({"status": {"phase": phase}}).to_string();
    let patched = plane.kubectl(&["patch", "pod", name, "-n", namespace, "--subresource=status", "-p", &patch]).await;
    patched.unwrap_or_else(|error| panic!("{error}"));
    check.stdout() + &check.stderr()
}

/// Starts the operator as the Deployment of a release would: with the account, the arguments and the configuration that it has.
pub(crate) async fn operator(plane: &ControlPlane, namespace: &str, name: &str, folder: &std::path::Path) -> Program {
    let get = async |what: &str, path: &str| {
        let found = plane.kubectl(&["get", what, name, "-n", namespace, "-o", path]).await;
        found.unwrap_or_else(|error| panic!("{error}"))
    };
    let file = folder.join(format!("{namespace}.{name}.yaml"));
    std::fs::write(&file, get("configmap", "jsonpath={.data.config\\.yaml}").await).unwrap();
    let container = get("deployment", "jsonpath={.spec.template.spec.containers[0]}").await;
    let account = get("deployment", "jsonpath={.spec.template.spec.serviceAccountName}").await;
    let addresses = [
        ("/etc/mqtt-access/config/config.yaml", file.display().to_string()),
        ("0.0.0.0:9091", ports::free_address().to_string()),
    ];
    let args = args(&serde_json::from_str(&container).unwrap(), &addresses);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let kubeconfig = kubeconfig_of(plane, namespace, &account).await;
    let operator = Program::start("mqtt-access-operator", &args, &[("KUBECONFIG", &kubeconfig)]);
    let admin = addresses[1].1.parse().unwrap();
    operator.wait_ready(admin, SOON).await;
    operator
}

/// `kubectl` that has to go well.
pub(crate) async fn done(kubectl: &Kubectl, args: &[&str]) -> String {
    kubectl.run(args).await.unwrap_or_else(|error| panic!("{error}"))
}
