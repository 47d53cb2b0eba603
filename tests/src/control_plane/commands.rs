//! The command lines of the control plane's processes.

use std::path::Path;
use std::process::Command;

use super::files::Files;
use super::site::{Capacity, Site};
use crate::program::guarded;
use crate::tools;

pub(super) fn etcd(files: &Files, site: Site) -> Command {
    let clients = format!("http://127.0.0.1:{}", site.etcd_clients);
    let peers = format!("http://127.0.0.1:{}", site.etcd_peers);
    let mut command = guarded(tools::control_plane("etcd"));
    command.arg(flag("data-dir", &files.etcd_data));
    command.arg(format!("--listen-client-urls={clients}")).arg(format!("--advertise-client-urls={clients}"));
    command.arg(format!("--listen-peer-urls={peers}")).arg(format!("--initial-advertise-peer-urls={peers}"));
    command.arg(format!("--initial-cluster=default={peers}"));
    command.args(["--unsafe-no-fsync", "--log-level=warn"]);
    if site.capacity != Capacity::Usual {
        command.arg(format!("--quota-backend-bytes={}", 24_u64 << 30));
    }
    command
}

pub(super) fn api_server(files: &Files, site: Site) -> Command {
    let mut command = guarded(tools::control_plane("kube-apiserver"));
    command.arg(format!("--etcd-servers=http://127.0.0.1:{}", site.etcd_clients));
    command.arg(format!("--secure-port={}", site.api_server));
    if let Some(node) = site.node {
        command.arg("--bind-address=0.0.0.0").arg(format!("--advertise-address={node}"));
        command.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
        command.arg("--kubelet-preferred-address-types=InternalIP");
    } else {
        // It would refuse to publish a loopback address as the endpoint of the service `kubernetes`; nobody asks for that one.
        command.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]);
        command.arg("--authorization-mode=RBAC");
    }
    command.args(["--service-cluster-ip-range=10.0.0.0/24", "--profiling=false"]);
    command.arg(flag("tls-cert-file", &files.certificate));
    command.arg(flag("tls-private-key-file", &files.certificate_key));
    command.arg(flag("token-auth-file", &files.tokens));
    command.arg("--service-account-issuer=https://kubernetes.default.svc");
    command.arg(flag("service-account-key-file", &files.service_account_public_key));
    command.arg(flag("service-account-signing-key-file", &files.service_account_key));
    command.arg(flag("audit-policy-file", &files.audit_policy));
    command.arg(flag("audit-log-path", &files.audit_log));
    if site.capacity == Capacity::LargeUncached {
        command.arg("--watch-cache=false");
    }
    // Never rotated: a test reads on where it stopped.
    command.args(["--audit-log-mode=blocking", "--audit-log-maxsize=100000"]);
    command
}

pub(super) fn controller_manager(files: &Files, site: Site) -> Command {
    let mut command = guarded(tools::control_plane("kube-controller-manager"));
    command.arg(flag("kubeconfig", &files.controller_kubeconfig));
    command.arg(flag("root-ca-file", &files.authority));
    command.arg(flag("tls-cert-file", &files.certificate));
    command.arg(flag("tls-private-key-file", &files.certificate_key));
    command.arg(format!("--secure-port={}", site.controller_manager));
    command.args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
    if site.node.is_some() {
        command.arg("--controllers=*");
    } else {
        let controllers =
            ["garbage-collector", "namespace", "serviceaccount", "clusterrole-aggregation", "resourcequota"];
        command.arg(format!("--controllers={}-controller", controllers.join("-controller,")));
    }
    command
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
