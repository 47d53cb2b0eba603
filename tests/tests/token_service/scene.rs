//! What the steps share: a tenant with three keys, two replicas, a sidecar.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_tests::certificates::Authority;
use mqtt_access_tests::control_plane::AuditMark;
use mqtt_access_tests::http::{self, Reply};
use mqtt_access_tests::https::Https;
use mqtt_access_tests::operator_fixture::{BUNDLES, Cluster, Manifest, SOON, edited, namespace, policy, rule, tenant};
use mqtt_access_tests::{Program, ports, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKENS: &str = "/v1/namespaces/shop/tenants/t/tokens";
/// The instance ID that the fixture gives the tenant.
pub(crate) const INSTANCE: &str = "mqtt-shop-t";

pub(crate) struct Scene {
    pub(crate) operator: Program,
    second_operator: Mutex<Option<Program>>,
    _sidecar: Program,
    pub(crate) cluster: Cluster,
    pub(crate) first: Replica,
    pub(crate) second: Replica,
    pub(crate) backend: Key,
    pub(crate) registrar: Key,
    pub(crate) mark: AuditMark,
    /// Every token and key that was seen: none may be in a log.
    pub(crate) told: Mutex<Vec<String>>,
    sidecar: SocketAddr,
    files: TempDir,
}

/// An access key as its holder knows it.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// One replica's token service.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    client: Https,
    basic: String,
}

pub(crate) fn client_id(name: &str) -> String {
    mqtt_access_tests::operator_fixture::client_id("shop", "t", name)
}

fn manifests() -> Vec<Manifest> {
    let keys = json!([
        {"name": "backend", "uses": ["Connect", "IssueTokens"]},
        {"name": "registrar", "uses": ["ManageDevices"]},
        {"name": "plain"},
    ]);
    let spec = json!({"spec": {"accessKeys": keys, "topicSpace": [{"filter": "shop/#"}]}});
    let rbac = |kind: &str, rest: Value| {
        let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"namespace": "shop", "name": "issuer"}});
        edited(object, &rest)
    };
    let rules = json!([{"apiGroups": ["mqttaccess.io"], "resources": ["mqtttenants/tokens"], "resourceNames": ["t"], "verbs": ["create", "get"]}]);
    let subject = json!([{"kind": "ServiceAccount", "namespace": "shop", "name": "app"}]);
    let leases = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch", "create", "update"]}]);
    let operator = json!([{"kind": "ServiceAccount", "namespace": "mqtt-access", "name": "operator"}]);
    let system = |rest: &Value| edited(rest.clone(), &json!({"metadata": {"namespace": "mqtt-access"}}));
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "issuer"});
    vec![
        namespace("shop"),
        edited(tenant("shop", "t"), &spec),
        policy("shop", "t", "all", &json!({"everyone": true}), &[rule("Allow", &["shop/t/#"])]),
        rbac("Role", json!({"rules": rules})),
        rbac("RoleBinding", json!({"roleRef": role, "subjects": subject})),
        system(&rbac("Role", json!({"rules": leases}))),
        system(&rbac("RoleBinding", json!({"roleRef": role, "subjects": operator}))),
    ]
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start().await;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let rights = root.join("examples/cluster/token-service");
        cluster.plane.kubectl(&["apply", "-f", rights.to_str().unwrap()]).await.unwrap();
        let mark = cluster.plane.audit_mark().await;
        let files = TempDir::new().unwrap();
        let authority = Authority::new();
        authority.certificate().write(files.path());
        std::fs::write(files.path().join("authority.pem"), authority.pem()).unwrap();
        let [one, two] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], ports::free())));
        cluster.apply(manifests()).await;
        let operator = cluster.operator_with(&["run", "--config", &config(files.path(), one)]).await;
        operator.wait_for_line("\"leading\"", SOON).await;
        let second = cluster.operator_with(&["run", "--config", &config(files.path(), two)]).await;
        let backend = key(&cluster, "backend").await;
        let registrar = key(&cluster, "registrar").await;
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", backend.id, backend.secret)));
        let replica = |address| Replica { address, client: Https::new(address, &authority), basic: basic.clone() };
        let (sidecar_program, sidecar) = sidecar(&cluster, files.path()).await;
        let scene = Self {
            first: replica(one),
            second: replica(two),
            told: Mutex::new(vec![backend.secret.clone(), registrar.secret.clone(), basic.clone()]),
            operator,
            second_operator: Mutex::new(Some(second)),
            _sidecar: sidecar_program,
            cluster,
            backend,
            registrar,
            mark,
            sidecar,
            files,
        };
        for replica in [&scene.first, &scene.second] {
            wait::until("a replica to answer", SOON, async || {
                let reply = replica.try_post("/query", &scene.basic(), &json!({"token": "x"})).await;
                reply.is_some_and(|reply| reply.status == 200).then_some(())
            })
            .await;
        }
        scene
    }

    pub(crate) fn folder(&self) -> &Path {
        self.files.path()
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.files.path().join("authority.pem")
    }

    pub(crate) fn basic(&self) -> String {
        self.first.basic.clone()
    }

    pub(crate) async fn bearer(&self, account: &str) -> String {
        format!("Bearer {}", self.cluster.plane.service_account_token("shop", account).await)
    }

    /// A token of the key `backend`.
    pub(crate) async fn issue(&self, actions: &str, resources: &[&str]) -> String {
        let order = json!({"actions": actions, "resources": resources, "expiresIn": 3600});
        let reply = self.first.post("", &self.basic(), &order).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let token = body.get("token").and_then(Value::as_str).unwrap().to_owned();
        self.told.lock().unwrap().push(token.clone());
        token
    }

    /// The ticket of a token client that the sidecar lets in, or the reason why it does not.
    pub(crate) async fn login(&self, client_id: &str, password: &str) -> Result<String, String> {
        self.login_as(&format!("Token|{}|{INSTANCE}", self.backend.id), client_id, password).await
    }

    pub(crate) async fn login_as(&self, username: &str, client_id: &str, password: &str) -> Result<String, String> {
        let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": "10.0.0.7"});
        let reply = http::post_json(self.sidecar, "/emqx/v5/authn", &body).await.unwrap();
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let ticket = answer.pointer("/client_attrs/mqa_ticket").and_then(Value::as_str);
        ticket.map(str::to_owned).ok_or_else(|| cause(&reply))
    }

    pub(crate) async fn until_logged_in(&self, client_id: &str, password: &str) -> String {
        wait::until("a token to be let in", SOON, async || self.login(client_id, password).await.ok()).await
    }

    /// `allow`, or `deny` and why.
    pub(crate) async fn ask(&self, client_id: &str, ticket: &str, action: &str, topic: &str) -> String {
        let body = json!({
            "clientid": client_id, "username": "any", "action": action, "topic": topic, "qos": "1", "retain": "false",
            "ticket": ticket,
        });
        let reply = http::post_json(self.sidecar, "/emqx/v5/authz", &body).await.unwrap();
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        match answer.get("result").and_then(Value::as_str) {
            Some("allow") => "allow".to_owned(),
            other => format!("{} {}", other.unwrap_or_default(), cause(&reply)),
        }
    }

    /// Ends the second replica and starts it again.
    pub(crate) async fn restart_second(&self) -> &Replica {
        let stopped = self.second_operator.lock().unwrap().take().unwrap();
        assert!(stopped.terminate(SOON).await.success());
        let config = config(self.files.path(), self.second.address);
        let started = self.cluster.operator_with(&["run", "--config", &config]).await;
        *self.second_operator.lock().unwrap() = Some(started);
        wait::until("the second replica to answer", SOON, async || {
            let reply = self.second.try_post("/query", &self.basic(), &json!({"token": "x"})).await;
            reply.is_some_and(|reply| reply.status == 200).then_some(())
        })
        .await;
        &self.second
    }
}

impl Replica {
    pub(crate) async fn try_post(&self, path: &str, authorization: &str, body: &Value) -> Option<Reply> {
        self.client.post(&format!("{TOKENS}{path}"), authorization, body).await.ok()
    }

    pub(crate) async fn post(&self, path: &str, authorization: &str, body: &Value) -> Reply {
        self.client.post(&format!("{TOKENS}{path}"), authorization, body).await.unwrap()
    }

    /// The same server, under another authority.
    pub(crate) fn with(&self, authority: &Authority) -> Self {
        Self { address: self.address, client: Https::new(self.address, authority), basic: self.basic.clone() }
    }

    /// `true`, or the reason why a token is not valid.
    pub(crate) async fn query(&self, token: &str) -> Value {
        let reply = self.post("/query", &self.basic, &json!({"token": token})).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        body.get("reason").or(body.get("valid")).cloned().unwrap_or_default()
    }

    /// Revokes a token; waits as long as it is told to.
    pub(crate) async fn revoke(&self, token: &str) {
        let revoked = async || {
            let reply = self.post("/revoke", &self.basic, &json!({"token": token})).await;
            assert!([204, 429].contains(&reply.status), "{}", reply.body);
            (reply.status == 204).then_some(())
        };
        wait::until("a revocation", SOON, revoked).await;
    }
}

fn cause(reply: &Reply) -> String {
    let cause = reply.headers.get("mqtt-access-cause").and_then(|cause| cause.to_str().ok());
    // A token client's refusal is numbered too: `TokenRevoked; code=3`.
    cause.and_then(|cause| cause.split(';').next()).unwrap_or_default().to_owned()
}

fn config(folder: &Path, listen: SocketAddr) -> String {
    let config = json!({
        "brokers": [{"name": "default", "bundleNamespace": BUNDLES, "tenantNamespaceSelector": {}}],
        "tokenService": {"listen": listen.to_string(), "certificate": folder},
        // The first replica reconciles, the second one only answers.
        "leaderElection": {"namespace": "mqtt-access"},
    });
    let path = folder.join(format!("config-{}.yaml", listen.port()));
    std::fs::write(&path, config.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn key(cluster: &Cluster, name: &str) -> Key {
    let secret =
        wait::until("an access key", SOON, async || cluster.secret("shop", &format!("t-{name}-access-key")).await)
            .await;
    Key { id: secret.text("accessKeyId"), secret: secret.text("accessKeySecret") }
}

async fn sidecar(cluster: &Cluster, folder: &Path) -> (Program, SocketAddr) {
    let kubeconfig = cluster.plane.service_account_kubeconfig("mqtt-access", "sidecar").await;
    let [http, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], ports::free())));
    let (http_text, admin_text) = (http.to_string(), admin.to_string());
    let state = folder.join("state");
    std::fs::create_dir(&state).unwrap();
    let args = [
        "run",
        "--source",
        "kubernetes",
        "--namespace",
        BUNDLES,
        "--http",
        &http_text,
        "--admin",
        &admin_text,
        "--state-dir",
        state.to_str().unwrap(),
        "--cause-header",
    ];
    let program = Program::start("mqtt-access-sidecar", &args, &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
    program.wait_ready(admin, SOON).await;
    (program, http)
}
