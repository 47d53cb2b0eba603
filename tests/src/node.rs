//! A real node: containerd, runc and a kubelet under the control plane of the tests, with pods that run.
//!
//! ```text
//!   ControlPlane ◄── kubelet ──► containerd ──► runc: pods, on the bridge cni0
//!     ▲      ▲                                          │
//!     │      └── kube-scheduler                         │
//!     └──────────── 10.0.0.1:443, as in any cluster ────┘
//! ```
//!
//! All of it needs root and changes its machine, so a test with a node runs [`apart`]: in namespaces and cgroups of its own,
//! which end with everything in them. There is no registry, no kube-proxy and no DNS: images are imported from archives, and
//! pods reach each other and the API server by address.

mod apart;
mod commands;
mod files;

pub use apart::apart;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::Program;
use crate::{ControlPlane, tools, wait};
use files::Files;

/// The node's address on the bridge of its pods, as `tests/node/apart` made it.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

const BOOT: Duration = Duration::from_mins(1);

/// A cluster of one node; dropping it ends it, and in a panicking test prints first what its pods were about.
#[derive(Debug)]
pub struct Node {
    // Fields drop in this order: who calls comes before who is called.
    _kubelet: Program,
    _scheduler: Program,
    containerd: Program,
    /// The cluster that it is a node of.
    pub plane: ControlPlane,
    folder: TempDir,
}

impl Node {
    /// Starts everything and waits until the node is ready. Only inside [`apart`].
    pub async fn start() -> Self {
        assert!(apart::is_inside(), "a node would change this machine: run the test inside `node::apart`");
        let folder = TempDir::with_prefix("node-").expect("create a folder");
        let images = write_images(folder.path());
        let (plane, images) = tokio::join!(ControlPlane::start_for_nodes(ADDRESS), images);
        let files = Files::write(folder.path(), &plane);
        let containerd = Program::launch("containerd", commands::containerd(&files));
        wait_for_containerd(&containerd).await;
        import(&images.join("pause.tar")).await;
        let scheduler = Program::launch("kube-scheduler", commands::scheduler(&files));
        let kubelet = Program::launch("kubelet", commands::kubelet(&files));
        let node = Self { _kubelet: kubelet, _scheduler: scheduler, containerd, plane, folder };
        node.wait_until_ready().await;
        node
    }

    /// Gives the node an image out of a docker-archive, for pods with `imagePullPolicy: Never` or `IfNotPresent`.
    pub async fn import(&self, archive: &Path) {
        assert!(self.containerd.ended().is_none(), "containerd ended");
        import(archive).await;
    }

    /// The archive of a stock RabbitMQ, `mqtt-access.test/rabbitmq:test`, made of what is installed here.
    #[must_use]
    pub fn rabbitmq(&self) -> PathBuf {
        self.folder.path().join("rabbitmq.tar")
    }

    async fn wait_until_ready(&self) {
        let ready = ["wait", "--for=condition=Ready", "node/node", "--timeout=1s"];
        wait::until("the node to be ready", BOOT, async || self.plane.kubectl(&ready).await.ok()).await;
    }

    /// What tells why a pod is not what a test expects.
    fn tell_state(&self) {
        let questions: [&[&str]; 3] = [
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["describe", "pods", "-A"],
        ];
        for args in questions {
            self.tell(args);
        }
        let pods =
            ["get", "pods", "-A", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}"];
        for (namespace, name) in self.ask(&pods).split_whitespace().filter_map(|pod| pod.split_once('/')) {
            self.tell(&["logs", "-n", namespace, name, "--all-containers", "--prefix", "--tail=40"]);
        }
    }

    fn tell(&self, args: &[&str]) {
        eprintln!("---- kubectl {}\n{}", args.join(" "), self.ask(args));
    }

    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new(tools::control_plane("kubectl"));
        command.env_clear().env("HOME", self.folder.path()).env("KUBECONFIG", self.plane.admin_kubeconfig());
        command.args(args).arg("--request-timeout=10s").stdin(Stdio::null());
        let output = command.output().map(|output| [output.stdout, output.stderr].concat());
        output.map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell_state();
        }
    }
}

/// Writes the images that need what is installed here; see `tests/node/images`.
async fn write_images(folder: &Path) -> PathBuf {
    let mut command = tokio::process::Command::new(script("images"));
    command.arg(folder);
    run("tests/node/images", command).await;
    folder.to_owned()
}

async fn wait_for_containerd(containerd: &Program) {
    wait::until("containerd to answer", BOOT, async || {
        assert!(containerd.ended().is_none(), "containerd ended");
        let asked = commands::ctr().args(["plugins", "list"]).output().await;
        asked.ok().filter(|output| output.status.success())
    })
    .await;
}

async fn import(archive: &Path) {
    let mut command = commands::ctr();
    command.args(["images", "import"]).arg(archive);
    run("ctr images import", command).await;
}

async fn run(name: &str, mut command: tokio::process::Command) {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(BOOT, output).await;
    let output = output.unwrap_or_else(|_| panic!("{name} took longer than {BOOT:?}"));
    let output = output.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    assert!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(name)
}
