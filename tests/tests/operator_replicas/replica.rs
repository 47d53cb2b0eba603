//! Operators with names of their own in the audit log.

use std::net::SocketAddr;

use mqtt_access_tests::control_plane::AuditEvent;
use mqtt_access_tests::operator_fixture::{BUNDLES, COMPLETE, Cluster, SOON};
use mqtt_access_tests::{Program, http, ports};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a replica logs when it begins to work.
pub(crate) const LEADS: &str = "\"leading\"";

/// What kubectl asks.
pub(crate) const WHO_AM_I: &str = "selfsubjectreviews";

/// One running operator.
pub(crate) struct Replica {
    pub(crate) program: Program,
    admin: SocketAddr,
    _files: TempDir,
}

/// `ClusterRole` and `Role` of `examples/cluster` for the accounts `one` and `two`, and what an election takes beside them.
pub(crate) async fn grant_replicas(cluster: &Cluster) {
    let subjects = json!(["one", "two"].map(subject));
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["usual", "short"],
         "verbs": ["get", "list", "watch", "update"]},
    ]);
    cluster
        .apply([
            object(
                "ClusterRoleBinding",
                "",
                "replicas",
                &json!({"roleRef": role_ref("ClusterRole", "mqtt-access-operator"), "subjects": subjects}),
            ),
            object(
                "RoleBinding",
                BUNDLES,
                "replicas",
                &json!({"roleRef": role_ref("Role", "mqtt-access-operator"), "subjects": subjects}),
            ),
            object("Role", "mqtt-access", "election", &json!({"rules": rules})),
            object(
                "RoleBinding",
                "mqtt-access",
                "election",
                &json!({"roleRef": role_ref("Role", "election"), "subjects": subjects}),
            ),
        ])
        .await;
}

pub(crate) fn subject(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": "mqtt-access", "name": name})
}

pub(crate) fn role_ref(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

/// An object of `rbac.authorization.k8s.io`; without a namespace where that is empty.
pub(crate) fn object(kind: &str, namespace: &str, name: &str, rest: &Value) -> Value {
    let metadata =
        if namespace.is_empty() { json!({"name": name}) } else { json!({"name": name, "namespace": namespace}) };
    let base = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
    mqtt_access_tests::operator_fixture::edited(base, rest)
}

impl Replica {
    /// The operator under a service account, with the default broker unless the configuration lists others; waits until it
    /// knows everything.
    pub(crate) async fn start(cluster: &Cluster, account: &str, config: &Value) -> Self {
        let files = TempDir::new().unwrap();
        let path = files.path().join("config.yaml");
        let broker = json!({"name": "default", "bundleNamespace": BUNDLES, "tenantNamespaceSelector": {}});
        let config = mqtt_access_tests::operator_fixture::edited(json!({"brokers": [broker]}), config);
        std::fs::write(&path, config.to_string()).unwrap();
        let kubeconfig = cluster.plane.service_account_kubeconfig("mqtt-access", account).await;
        let admin = ports::free_address();
        let listen = admin.to_string();
        let args = ["run", "--config", path.to_str().unwrap(), "--admin", &listen];
        let env = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("POD_NAME", account)];
        let program = Program::start("mqtt-access-operator", &args, &env);
        program.wait_for_line(COMPLETE, SOON).await;
        Self { program, admin, _files: files }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let reply = http::get(self.admin, path).await.unwrap();
        (reply.status, reply.body)
    }
}

/// What an account changed in the cluster. That it asked who it is is the fixture's doing.
pub(crate) fn writes_by<'e>(events: &'e [AuditEvent], account: &str) -> Vec<&'e AuditEvent> {
    let changes = |event: &&AuditEvent| event.is_write() && event.code < 300 && event.resource != WHO_AM_I;
    let user = user(account);
    events.iter().filter(|event| event.user == user).filter(changes).collect()
}

pub(crate) fn user(account: &str) -> String {
    format!("system:serviceaccount:mqtt-access:{account}")
}
