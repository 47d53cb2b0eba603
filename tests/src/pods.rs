//! What a node does with the pods of the chart: their programs run as processes, with the arguments, the configuration and the
//! account that the pods have. There is no node in the tests' control plane, and rights do not depend on one.

#![expect(clippy::indexing_slicing, reason = "what is not in a JSON value is null, and fails the test a moment later")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{Kubectl, KubectlError};
use crate::{ControlPlane, Program, ports, wait};

const SOON: Duration = Duration::from_mins(1);

/// A kubeconfig of the account that a pod has.
pub async fn kubeconfig_of(plane: &ControlPlane, namespace: &str, account: &str) -> String {
    let token = plane.kubectl(&["create", "token", account, "-n", namespace]).await;
    let token = token.unwrap_or_else(|error| panic!("{error}"));
    plane.kubeconfig(plane.url(), token.trim()).display().to_string()
}

/// A text with what a pod has put for what this machine has: free addresses, folders.
fn here(text: &str, changes: &[(&str, String)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Starts the program of a container, with its arguments as they are here.
fn start(program: &str, container: &Value, changes: &[(&str, String)], kubeconfig: &str) -> Program {
    let args = container["args"].as_array().expect("arguments of the container").iter();
    let args: Vec<String> = args.map(|arg| here(arg.as_str().expect("an argument"), changes)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Program::start(program, &args, &[("KUBECONFIG", kubeconfig)])
}

/// Starts the sidecar of a container as the chart writes it, under an account, with its state in a folder; waits until it is
/// ready, and gives the address where brokers ask.
pub async fn sidecar(
    plane: &ControlPlane,
    container: &Value,
    (namespace, account): (&str, &str),
    state: &Path,
) -> (Program, SocketAddr) {
    let kubeconfig = kubeconfig_of(plane, namespace, account).await;
    let (http, admin) = (ports::free_address(), ports::free_address());
    let changes = [
        ("127.0.0.1:8080", http.to_string()),
        ("0.0.0.0:9090", admin.to_string()),
        ("/run/mqtt-access", state.display().to_string()),
    ];
    let sidecar = start("mqtt-access-sidecar", container, &changes, &kubeconfig);
    sidecar.wait_ready(admin, SOON).await;
    (sidecar, http)
}

/// `helm test`, with this process in the place of a node. What the check said comes back with helm's verdict.
pub async fn helm_test(plane: &ControlPlane, release: &str, namespace: &str) -> (Result<String, KubectlError>, String) {
    let (helm, space) = (plane.helm(), format!("--namespace={namespace}"));
    let args = ["test", release, &space, "--timeout=90s"];
    let (verdict, said) = tokio::join!(helm.run(&args), serve_pod(plane, namespace));
    (verdict, said)
}

async fn serve_pod(plane: &ControlPlane, namespace: &str) -> String {
    let selector = "--selector=app.kubernetes.io/component=test";
    let pod = wait::until("helm to make the pod of the test", SOON, async || {
        let list = plane.kubectl(&["get", "pods", "-n", namespace, selector, "-o", "json"]).await.ok()?;
        let list: Value = serde_json::from_str(&list).expect("a list of pods");
        // That of the last test is still there, and done.
        let waits =
            |pod: &&Value| pod["status"]["phase"] == "Pending" && pod["metadata"]["deletionTimestamp"].is_null();
        list["items"].as_array()?.iter().find(waits).cloned()
    })
    .await;
    let name = pod["metadata"]["name"].as_str().expect("the name of the pod");
    let account = pod["spec"]["serviceAccountName"].as_str().expect("the account of the pod");
    let (asked, answers) = (&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]);
    let (_sidecar, http) = sidecar(plane, answers, (namespace, account), plane.folder()).await;
    let kubeconfig = kubeconfig_of(plane, namespace, account).await;
    let check = start("mqtt-access-operator", asked, &[("127.0.0.1:8080", http.to_string())], &kubeconfig);
    let ended = check.wait_end(2 * SOON).await;
    let phase = if ended.success() { "Succeeded" } else { "Failed" };
    let patch = json!({"status": {"phase": phase}}).to_string();
    let patched = plane.kubectl(&["patch", "pod", name, "-n", namespace, "--subresource=status", "-p", &patch]).await;
    patched.unwrap_or_else(|error| panic!("{error}"));
    check.stdout() + &check.stderr()
}

/// Starts the operator as the Deployment of a release would: with the account, the arguments and the configuration that it has.
pub async fn operator(plane: &ControlPlane, namespace: &str, name: &str, folder: &Path) -> Program {
    operator_with(plane, namespace, name, folder, &[]).await
}

/// The same with further `changes` of its configuration: what a pod has, and what this machine has.
pub async fn operator_with(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    folder: &Path,
    changes: &[(&str, String)],
) -> Program {
    let get = async |what: &str, path: &str| {
        done(&plane.kubectl_as(plane.admin_kubeconfig()), &["get", what, name, "-n", namespace, "-o", path]).await
    };
    let file = folder.join(format!("{namespace}.{name}.yaml"));
    let config = here(&get("configmap", "jsonpath={.data.config\\.yaml}").await, changes);
    fs::write(&file, config).expect("write the operator's configuration");
    let container = get("deployment", "jsonpath={.spec.template.spec.containers[0]}").await;
    let container: Value = serde_json::from_str(&container).expect("the operator's container");
    let account = get("deployment", "jsonpath={.spec.template.spec.serviceAccountName}").await;
    let admin = ports::free_address();
    let addresses =
        [("/etc/mqtt-access/config/config.yaml", file.display().to_string()), ("0.0.0.0:9091", admin.to_string())];
    let kubeconfig = kubeconfig_of(plane, namespace, &account).await;
    let operator = start("mqtt-access-operator", &container, &addresses, &kubeconfig);
    operator.wait_ready(admin, SOON).await;
    operator
}

/// `kubectl` that has to go well.
pub async fn done(kubectl: &Kubectl, args: &[&str]) -> String {
    kubectl.run(args).await.unwrap_or_else(|error| panic!("{error}"))
}
