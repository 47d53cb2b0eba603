//! What a node's processes read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::ADDRESS;
use crate::ControlPlane;
use crate::control_plane::{NODE_TOKEN, SCHEDULER_TOKEN};

pub(super) const CONTAINERD: &str = "/run/containerd/containerd.sock";

#[derive(Debug)]
pub(super) struct Files {
    pub(super) containerd: PathBuf,
    pub(super) kubelet: PathBuf,
    pub(super) kubelet_kubeconfig: PathBuf,
    pub(super) scheduler_kubeconfig: PathBuf,
}

impl Files {
    pub(super) fn write(folder: &Path, plane: &ControlPlane) -> Self {
        let networks = folder.join("networks");
        fs::create_dir(&networks).expect("create a folder");
        write(&networks.join("10-node.conflist"), &network());
        let files = Self {
            containerd: folder.join("containerd.toml"),
            kubelet: folder.join("kubelet.json"),
            kubelet_kubeconfig: plane.kubeconfig(plane.url(), NODE_TOKEN),
            scheduler_kubeconfig: plane.kubeconfig(plane.url(), SCHEDULER_TOKEN),
        };
        write(&files.containerd, &containerd(&networks));
        write(&files.kubelet, &kubelet());
        files
    }
}

/// Pods share the bridge of the node.
fn network() -> String {
    let range = json!([{"subnet": "10.244.0.0/24", "gateway": ADDRESS}]);
    json!({
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {
                "type": "host-local",
                "ranges": [range],
                "routes": [{"dst": "0.0.0.0/0"}],
            }},
            {"type": "loopback"},
        ],
    })
    .to_string()
}

fn containerd(networks: &Path) -> String {
    format!(
        r#"version = 2
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "mqtt-access.test/pause:test"
# A root without CAP_SYS_RESOURCE may not make a process less likely to be killed than itself.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{}"
"#,
        networks.display()
    )
}

/// Whoever reaches the kubelet may ask for logs: only this test and its pods do.
fn kubelet() -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        // A full disk of the developer is no reason to evict pods or to collect the images that nobody can pull again.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    })
    .to_string()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
