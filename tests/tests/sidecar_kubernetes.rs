//! The sidecar's source `kubernetes`, on a real API server: lists, edits, missing shards, outages and deletions.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Encoded, FORMAT_VERSION, KeyUse, Revocations, SessionRules,
    Space, Spares, Tenant, encode,
};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_tests::{ControlPlane, Program, http, ports, wait};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const NAMESPACE: &str = "bundles";
const INDEX: &str = "shop.acme";
const CLIENT_ID: &str = "acme-1";

const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sidecar, namespace: bundles}
rules: [{apiGroups: [''], resources: [secrets], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sidecar, namespace: bundles}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sidecar}
subjects: [{kind: ServiceAccount, name: sidecar, namespace: sidecars}]
";

/// A tenant whose access key `AK.1` is good or disabled; `ballast` policies make the shard another one.
fn bundle(disabled: bool, ballast: usize) -> Bundle {
    let key = AccessKey {
        name: "backend".into(),
        id: "AK.1".into(),
        secret: Some("secret".into()),
        disabled,
        generated: false,
        client_id_prefixes: None,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
    };
    let device = |number: usize| mqtt_access_core::bundle::Device {
        name: format!("d{number}"),
        uid: None,
        client_id: ClientIds::One(format!("acme-device-{number}")),
        key_id: format!("DC.{number}"),
        secret: Some("secret".into()),
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    };
    let tenant = Tenant {
        namespace: "shop".into(),
        name: "acme".into(),
        uid: "uid".into(),
        created: 1,
        claims: Claims {
            instance_id: "mqtt-acme".into(),
            client_id_prefixes: vec!["acme-".into()],
            topic_space: vec![Space { filter: "acme/#".into(), shared_with: Vec::new() }],
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: vec![key],
        modes: vec![Mode::Signature],
        signature_algorithms: vec![MacAlgorithm::HmacSha1],
        superusers_allowed: false,
        ticket_key: "ticket key".into(),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    Bundle { tenant, policies: Vec::new(), devices: (0..=ballast).map(device).collect() }
}

fn secret(name: &str, key: &str, bytes: Vec<u8>) -> Secret {
    let label = (key == "index").then(|| BTreeMap::from([("mqttaccess.io/bundle".into(), "index".into())]));
    let metadata = ObjectMeta { name: Some(name.into()), labels: label, ..ObjectMeta::default() };
    let data = Some(BTreeMap::from([(key.into(), ByteString(bytes))]));
    Secret { metadata, data, ..Secret::default() }
}

/// The bundle namespace as the operator writes it.
struct Published {
    secrets: Api<Secret>,
}

impl Published {
    async fn shards(&self, encoded: &Encoded) {
        for (digest, bytes) in &encoded.shards {
            let name = format!("{INDEX}.{digest}");
            if self.secrets.get_opt(&name).await.unwrap().is_none() {
                let shard = secret(&name, "shard", bytes.clone());
                self.secrets.create(&PostParams::default(), &shard).await.unwrap();
            }
        }
    }

    async fn index(&self, bytes: Vec<u8>) {
        let mut index = secret(INDEX, "index", bytes);
        match self.secrets.get_opt(INDEX).await.unwrap() {
            None => _ = self.secrets.create(&PostParams::default(), &index).await.unwrap(),
            Some(found) => {
                index.metadata.resource_version = found.resource_version();
                self.secrets.replace(INDEX, &PostParams::default(), &index).await.unwrap();
            }
        }
    }

    async fn publish(&self, bundle: &Bundle, revision: u64) {
        let encoded = encode(bundle).unwrap();
        self.shards(&encoded).await;
        self.index(encoded.index(revision).unwrap()).await;
    }
}

struct Sidecar {
    program: Program,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Sidecar {
    fn start(kubeconfig: &Path, state: &Path) -> Self {
        let address = || SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (http, admin) = (address(), address());
        let (http_text, admin_text) = (http.to_string(), admin.to_string());
        let program = Program::start(
            "mqtt-access-sidecar",
            &[
                "run",
                "--source",
                "kubernetes",
                "--namespace",
                NAMESPACE,
                "--http",
                &http_text,
                "--admin",
                &admin_text,
                "--state-dir",
                state.to_str().unwrap(),
                "--cause-header",
            ],
            &[("KUBECONFIG", kubeconfig.to_str().unwrap())],
        );
        Self { program, http, admin }
    }

    /// Why the login of the access key's client ends as it does.
    async fn cause(&self) -> String {
        let password = password(MacAlgorithm::HmacSha1, &"secret".into(), CLIENT_ID);
        let pairs = [("clientid", CLIENT_ID), ("username", "Signature|AK.1|mqtt-acme"), ("password", &password)];
        let reply = http::post_form(self.http, "/emqx/v5/authn", &pairs).await;
        reply.map(|reply| reply.headers["mqtt-access-cause"].to_str().unwrap().to_owned()).unwrap_or_default()
    }

    async fn until(&self, cause: &str) {
        wait::until(cause, SOON, async || (self.cause().await == cause).then_some(())).await;
    }

    async fn metric(&self, line: &str) -> f64 {
        let text = http::get(self.admin, "/metrics").await.unwrap().body;
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0.0)
    }

    async fn failures(&self, reason: &str) -> f64 {
        self.metric(&format!("mqtt_access_sidecar_reload_failures_total{{reason=\"{reason}\"}}")).await
    }
}

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_follows_its_bundle_namespace() {
    let plane = ControlPlane::start().await;
    plane.kubectl(&["create", "namespace", NAMESPACE]).await.unwrap();
    let kubeconfig: PathBuf = plane.service_account_kubeconfig("sidecars", "sidecar").await;
    let published = Published { secrets: Api::namespaced(plane.client().await, NAMESPACE) };
    let state = TempDir::new().unwrap();
    let sidecar = Sidecar::start(&kubeconfig, state.path());
    a_list_that_never_came_denies_everything(&plane, &sidecar).await;
    an_edit_is_in_force_at_once(&published, &sidecar).await;
    a_damaged_index_changes_nothing(&published, &sidecar).await;
    a_shard_that_comes_late_is_found(&published, &sidecar).await;
    let sidecar = an_outage_of_the_api_server_changes_nothing(&plane, &kubeconfig, state.path(), sidecar).await;
    a_deleted_index_is_a_deleted_tenant(&plane, &published, &kubeconfig, state.path(), sidecar).await;
}

async fn a_list_that_never_came_denies_everything(plane: &ControlPlane, sidecar: &Sidecar) {
    sidecar.until("NotReady").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(http::get(sidecar.admin, "/readyz").await.unwrap().status, 503);
    plane.apply(RIGHTS).await.unwrap();
    sidecar.program.wait_ready(sidecar.admin, SOON).await;
    assert_eq!(sidecar.cause().await, "UnknownInstance", "an empty list is a list");
}

async fn an_edit_is_in_force_at_once(published: &Published, sidecar: &Sidecar) {
    published.publish(&bundle(false, 0), 10).await;
    sidecar.until("ProofAccepted").await;
    let mut times = Vec::new();
    for revision in 11..21 {
        let disabled = revision % 2 == 1;
        let encoded = encode(&bundle(disabled, revision)).unwrap();
        published.shards(&encoded).await;
        let start = Instant::now();
        published.index(encoded.index(revision as u64).unwrap()).await;
        while (sidecar.cause().await == "Disabled") != disabled {
            assert!(start.elapsed() < SOON);
        }
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!("index Secret to verdict, with a new shard: median {:?}, longest {:?}", times[5], times[9]);
    assert!(times[5] < Duration::from_secs(1));
}

async fn a_damaged_index_changes_nothing(published: &Published, sidecar: &Sidecar) {
    let good = encode(&bundle(true, 0)).unwrap().index(30).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    for (bytes, reason) in [
        (good[..good.len() - 5].to_vec(), "WrongDigest"),
        (text.replacen(&format!("index {FORMAT_VERSION} "), "index 9 ", 1).into_bytes(), "UnknownVersion"),
        (b"nonsense".to_vec(), "Header"),
        (encode(&bundle(true, 0)).unwrap().index(1).unwrap(), "RevisionBack"),
    ] {
        published.index(bytes).await;
        wait::until(reason, SOON, async || (sidecar.failures(reason).await > 0.5).then_some(())).await;
        assert_eq!(sidecar.cause().await, "ProofAccepted", "{reason}");
    }
}

async fn a_shard_that_comes_late_is_found(published: &Published, sidecar: &Sidecar) {
    let encoded = encode(&bundle(true, 1000)).unwrap();
    published.index(encoded.index(40).unwrap()).await;
    wait::until("ShardMissing", SOON, async || (sidecar.failures("ShardMissing").await > 0.5).then_some(())).await;
    assert_eq!(sidecar.cause().await, "ProofAccepted");
    published.shards(&encoded).await;
    sidecar.until("Disabled").await;
    published.publish(&bundle(false, 0), 41).await;
    sidecar.until("ProofAccepted").await;
}

async fn an_outage_of_the_api_server_changes_nothing(
    plane: &ControlPlane,
    kubeconfig: &Path,
    state: &Path,
    sidecar: Sidecar,
) -> Sidecar {
    plane.stop_api_server();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sidecar.cause().await, "ProofAccepted");
    assert!(sidecar.program.terminate(SOON).await.success());
    let again = Sidecar::start(kubeconfig, state);
    again.program.wait_ready(again.admin, SOON).await;
    assert_eq!(again.cause().await, "ProofAccepted", "a restart needs no API server");
    again
}

async fn a_deleted_index_is_a_deleted_tenant(
    plane: &ControlPlane,
    published: &Published,
    kubeconfig: &Path,
    state: &Path,
    sidecar: Sidecar,
) {
    plane.start_api_server().await;
    published.publish(&bundle(true, 0), 50).await;
    sidecar.until("Disabled").await;
    published.secrets.delete(INDEX, &DeleteParams::default()).await.unwrap();
    sidecar.until("UnknownInstance").await;
    // Once more, while nobody watches.
    published.publish(&bundle(false, 0), 60).await;
    sidecar.until("ProofAccepted").await;
    sidecar.program.kill();
    published.secrets.delete(INDEX, &DeleteParams::default()).await.unwrap();
    let again = Sidecar::start(kubeconfig, state);
    again.until("UnknownInstance").await;
    for program in [&sidecar.program, &again.program] {
        assert!(!program.stderr().contains("c2VjcmV0"), "a secret in the log");
    }
}
