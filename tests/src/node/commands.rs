//! The command lines of a node's processes.

use std::path::Path;
use std::process::Command;

use super::ADDRESS;
use super::files::{CONTAINERD, Files};
use crate::program::guarded;
use crate::tools;

pub(super) fn containerd(files: &Files) -> Command {
    let mut command = guarded("containerd");
    command.arg("--config").arg(&files.containerd);
    command
}

pub(super) fn ctr() -> tokio::process::Command {
    let mut command = tokio::process::Command::new("ctr");
    command.args(["--address", CONTAINERD, "--namespace", "k8s.io"]);
    command
}

pub(super) fn scheduler(files: &Files) -> Command {
    let mut command = guarded(tools::control_plane("kube-scheduler"));
    command.arg(flag("kubeconfig", &files.scheduler_kubeconfig));
    command.args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
    command
}

pub(super) fn kubelet(files: &Files) -> Command {
    let mut command = guarded(tools::control_plane("kubelet"));
    command.arg(flag("config", &files.kubelet)).arg(flag("kubeconfig", &files.kubelet_kubeconfig));
    command.arg("--hostname-override=node").arg(format!("--node-ip={ADDRESS}"));
    command
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
