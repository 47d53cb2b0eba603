//! Where the processes of a control plane listen, and for whom.

use std::net::Ipv4Addr;

use crate::ports;

/// The address of the service `kubernetes`: the first of the range that services get theirs from.
pub const SERVICE_ADDRESS: &str = "10.0.0.1";

/// The bearer token of the kubelet of a node named `node`.
pub const NODE_TOKEN: &str = "node-token";

/// The bearer token of the scheduler.
pub const SCHEDULER_TOKEN: &str = "scheduler-token";

#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) etcd_clients: u16,
    pub(super) etcd_peers: u16,
    pub(super) api_server: u16,
    pub(super) controller_manager: u16,
    /// Where kubelets and pods reach this host; `None` when there are none.
    pub(super) node: Option<Ipv4Addr>,
    pub(super) capacity: Capacity,
}

/// How much the control plane is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// What etcd and the API server are by default: 2 GiB of objects.
    Usual,
    /// 24 GiB of objects.
    Large,
    /// The same, of which the API server keeps none in its memory, where they are many times as large: each list and each watch
    /// is answered by etcd.
    LargeUncached,
}

impl Site {
    pub(super) fn loopback() -> Self {
        Self {
            etcd_clients: ports::free(),
            etcd_peers: ports::free(),
            api_server: ports::free(),
            controller_manager: ports::free(),
            node: None,
            capacity: Capacity::Usual,
        }
    }

    /// The port of the service is the API server's own: nothing here translates addresses as kube-proxy would.
    pub(super) fn with_nodes(node: Ipv4Addr) -> Self {
        Self { api_server: 443, node: Some(node), ..Self::loopback() }
    }
}
