//! A release with everything switched on, and its programs under the accounts that it gives them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mqtt_access_tests::certificates::Authority;
use mqtt_access_tests::first_light::root;
use mqtt_access_tests::https::Https;
use mqtt_access_tests::operator_fixture::{Cluster, SOON, namespace};
use mqtt_access_tests::pods::{self, done};
use mqtt_access_tests::{Program, http, ports, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const RELEASE: &str = "mqtt-access";
const OPERATOR: &str = "mqtt-access-operator";
/// Brokers of the release, in the order of its values.
pub(crate) const BROKERS: [&str; 2] = ["default", "edge"];
/// An account of a broker's own pods, which the values name.
const OWN: (&str, &str) = ("brokers", "emqx");
const LEADS: &str = "\"leading\"";

/// How far the operator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// By a `ClusterRole`; one broker selects namespaces by labels.
    Cluster,
    /// By Roles in some namespaces; one broker is without ACL files.
    Namespaces,
}

impl Scope {
    /// Whether a broker's ACL files are written.
    pub(crate) fn has_acl_files(self, broker: usize) -> bool {
        self == Self::Cluster || broker == 0
    }
}

/// A namespace with a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Team {
    pub(crate) name: &'static str,
    /// Its broker's place among [`BROKERS`].
    pub(crate) own: usize,
}

pub(crate) struct Release<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) scope: Scope,
    pub(crate) authority: Authority,
    leader: Option<Replica>,
    second: Option<Replica>,
    sidecars: Vec<Sidecar>,
    started: usize,
    folder: TempDir,
}

struct Replica {
    program: Program,
    service: SocketAddr,
}

struct Sidecar {
    /// Namespace and name of its account.
    account: (String, String),
    container: Value,
    state: PathBuf,
    running: Option<(Program, SocketAddr)>,
}

impl<'c> Release<'c> {
    pub(crate) async fn install(cluster: &'c Cluster, scope: Scope, teams: [&str; 2]) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new();
        authority.certificate().write(folder.path());
        std::fs::write(folder.path().join("authority.pem"), authority.pem()).unwrap();
        let values = folder.path().join("values.yaml");
        std::fs::write(&values, values_of(scope, teams).to_string()).unwrap();
        let release =
            Self { cluster, scope, authority, leader: None, second: None, sidecars: Vec::new(), started: 0, folder };
        let labelled = teams.map(|team| {
            let mut namespace = namespace(team);
            namespace["metadata"]["labels"] = json!({"edge": "admitted"});
            namespace
        });
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": OWN.0, "name": OWN.1}});
        cluster.apply(labelled.into_iter().chain([namespace(OWN.0), account])).await;
        let chart = root().join("charts/mqtt-access");
        let values = format!("--values={}", values.display());
        release.helm(&["install", RELEASE, chart.to_str().unwrap(), "--create-namespace", &values]).await;
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        done(&cluster.plane.kubectl_as(cluster.plane.admin_kubeconfig()), &wait).await;
        // It owns objects of kinds that its garbage collector did not know when it started.
        cluster.plane.restart_controller_manager();
        release
    }

    pub(crate) fn namespace(&self) -> &'static str {
        match self.scope {
            Scope::Cluster => "mqtt",
            Scope::Namespaces => "scoped",
        }
    }

    pub(crate) fn bundles(&self, broker: usize) -> String {
        let middle = if BROKERS[broker] == "default" { String::new() } else { format!("-{}", BROKERS[broker]) };
        format!("{}-{RELEASE}{middle}-bundles", self.namespace())
    }

    async fn helm(&self, args: &[&str]) {
        let namespace = format!("--namespace={}", self.namespace());
        done(&self.cluster.plane.helm(), &[args, &[&namespace]].concat()).await;
    }

    /// Both replicas, and a sidecar for each account that has one.
    pub(crate) async fn start(&mut self) {
        let leader = self.replica().await;
        leader.program.wait_for_line(LEADS, SOON).await;
        self.leader = Some(leader);
        self.second = Some(self.replica().await);
        let ours = |broker: usize| (self.namespace().to_owned(), format!("{RELEASE}-{}-sidecar", BROKERS[broker]));
        let accounts = [(ours(0), 0), (ours(1), 1), ((OWN.0.to_owned(), OWN.1.to_owned()), 0)];
        for (place, (account, broker)) in accounts.into_iter().enumerate() {
            let container = self.injected(&account, BROKERS[broker]).await;
            let state = self.folder.path().join(format!("state-{place}"));
            std::fs::create_dir(&state).unwrap();
            self.sidecars.push(Sidecar { account, container, state, running: None });
        }
        self.restart_sidecars().await;
    }

    async fn replica(&mut self) -> Replica {
        self.started += 1;
        let (service, folder) = (ports::free_address(), self.folder.path().join(self.started.to_string()));
        std::fs::create_dir(&folder).unwrap();
        let tls = self.folder.path().display().to_string();
        let changes = [("0.0.0.0:8443", service.to_string()), ("/etc/mqtt-access/tls", tls)];
        let program = pods::operator_with(&self.cluster.plane, self.namespace(), OPERATOR, &folder, &changes).await;
        Replica { program, service }
    }

    /// The sidecar that a pod of an account gets from the API server.
    async fn injected(&self, (namespace, account): &(String, String), broker: &str) -> Value {
        let secured = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": "broker", "labels": {"mqttaccess.io/inject": broker}},
            "spec": {"serviceAccountName": account, "automountServiceAccountToken": false, "enableServiceLinks": false,
                "containers": [{"name": "broker", "image": "broker", "securityContext": secured}]},
        });
        let kubectl = self.cluster.plane.kubectl_as(self.cluster.plane.admin_kubeconfig());
        // Policies of admission take a moment until they count.
        wait::until("a sidecar to be injected", SOON, async || {
            let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
            let created = kubectl.run_with_stdin(&args, &pod.to_string()).await.ok()?;
            let created: Value = serde_json::from_str(&created).unwrap();
            created.pointer("/spec/initContainers/0").cloned()
        })
        .await
    }

    /// Ends those that run.
    pub(crate) async fn restart_sidecars(&mut self) {
        for Sidecar { account, container, state, running } in &mut self.sidecars {
            if let Some((running, _)) = running.take() {
                assert!(running.terminate(SOON).await.success());
            }
            let account = (account.0.as_str(), account.1.as_str());
            *running = Some(pods::sidecar(&self.cluster.plane, container, account, state).await);
        }
    }

    /// The leader is told to end, and another one leads.
    pub(crate) async fn hand_over(&mut self) {
        let (leader, second) = (self.leader.take().unwrap(), self.second.take().unwrap());
        assert!(leader.program.terminate(SOON).await.success());
        second.program.wait_for_line(LEADS, SOON).await;
        self.leader = Some(second);
        self.second = Some(self.replica().await);
    }

    /// The token service of both replicas.
    pub(crate) fn services(&self) -> [SocketAddr; 2] {
        [&self.leader, &self.second].map(|replica| replica.as_ref().unwrap().service)
    }

    pub(crate) fn https(&self, replica: usize) -> Https {
        Https::new(self.services()[replica], &self.authority)
    }

    /// Certificates, also `authority.pem`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the sidecar of a broker lets a client in.
    pub(crate) async fn lets_in(&self, broker: usize, client_id: &str, username: &str, password: &str) -> bool {
        let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": "10.0.0.7"});
        let (_, address) = self.sidecars[broker].running.as_ref().unwrap();
        let reply = http::post_json(*address, "/emqx/v5/authn", &body).await.unwrap();
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        answer["result"] == "allow"
    }

    pub(crate) async fn helm_test(&self) {
        let (verdict, said) = pods::helm_test(&self.cluster.plane, RELEASE, self.namespace()).await;
        verdict.unwrap_or_else(|error| panic!("{error}: {said}"));
    }

    pub(crate) async fn test_is_there(&self) -> bool {
        let path = format!("/api/v1/namespaces/{}/pods/{RELEASE}-test", self.namespace());
        self.cluster.read(&path).await.is_some()
    }

    pub(crate) async fn uninstall(mut self) {
        for replica in [self.leader.take(), self.second.take()].into_iter().flatten() {
            assert!(replica.program.terminate(SOON).await.success());
        }
        self.helm(&["uninstall", RELEASE]).await;
    }
}

/// Everything on that takes rights, or could.
fn values_of(scope: Scope, teams: [&str; 2]) -> Value {
    let whole = scope == Scope::Cluster;
    let selector = if whole { json!({"matchLabels": {"edge": "admitted"}}) } else { json!({}) };
    let files = |broker| if scope.has_acl_files(broker) { Value::Null } else { json!([]) };
    let own = json!({"serviceAccounts": [{"namespace": OWN.0, "name": OWN.1}]});
    json!({
        // The second release finds those of the first one.
        "crds": {"enabled": whole},
        "scope": {"namespaces": if whole { json!([]) } else { json!(teams) }},
        "brokers": [
            {"name": BROKERS[0], "tenantNamespaceSelector": {}, "sidecar": own, "aclFiles": files(0)},
            {"name": BROKERS[1], "tenantNamespaceSelector": selector, "aclFiles": files(1)},
        ],
        "tokenService": {"enabled": true, "certificate": {"secretName": "tls"}},
        "admissionPolicies": {"enabled": true},
        "injection": {"enabled": true},
        "networkPolicy": {"enabled": true},
    })
}
