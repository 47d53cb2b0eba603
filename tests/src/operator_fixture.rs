//! A cluster with the CRDs and the rights of `examples/cluster`, and the operator as its real binary under those rights.
//!
//! What the operator did is read from the API server: objects and conditions here, bundles and the verdicts that they
//! give in [`Bundles`], the operator's writes from the audit log.

mod bundles;
mod manifests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::control_plane::{AuditEvent, AuditMark, Capacity};
use crate::{ControlPlane, Program, StallingProxy, wait};

pub use bundles::{Bundles, Device, Found};
pub use manifests::{Manifest, allow, client_id, device, edited, list, namespace, policy, rule, tenant};

/// The namespace that the default broker's sidecars read.
pub const BUNDLES: &str = "mqtt-access-mqtt-access-bundles";
/// The user that the operator is.
pub const OPERATOR: &str = "system:serviceaccount:mqtt-access:operator";
/// How long the operator may take for anything.
pub const SOON: Duration = Duration::from_secs(30);
/// What the operator logs when it may begin.
pub const COMPLETE: &str = "every cache is complete";

/// Plural of `MqttTenant`.
pub const TENANTS: &str = "mqtttenants";
/// Plural of `DeviceCredential`.
pub const DEVICES: &str = "devicecredentials";
/// Plural of `AclPolicy`.
pub const POLICIES: &str = "aclpolicies";

/// A control plane that the operator can work on.
pub struct Cluster {
    /// The control plane.
    pub plane: ControlPlane,
    /// The administrator's client.
    pub client: kube::Client,
    /// Of the account that `examples/cluster` gives the operator; empty where that is not applied.
    token: String,
}

/// A generated or referenced Secret as it stands, comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub version: String,
    /// The data.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    /// An entry of the data as text; empty where there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        self.data.get(key).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}

/// A condition as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason.
    pub reason: String,
    /// The message.
    pub message: String,
    /// The generation that it is about.
    pub generation: i64,
}

impl Cluster {
    /// Starts a control plane, for tests that bring CRDs, rights and operators of their own.
    pub async fn bare() -> Self {
        Self::over(ControlPlane::start().await).await
    }

    async fn over(plane: ControlPlane) -> Self {
        let client = plane.client().await;
        Self { plane, client, token: String::new() }
    }

    /// Starts a control plane and applies `crds/` and `examples/cluster`.
    pub async fn start() -> Self {
        Self::start_for(Capacity::Usual).await
    }

    /// [`Self::start`] for so many objects.
    pub async fn start_for(capacity: Capacity) -> Self {
        let Self { plane, client, .. } = Self::over(ControlPlane::start_for(capacity).await).await;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        for folder in ["crds", "examples/cluster"] {
            let folder = root.join(folder);
            let folder = folder.to_str().expect("a path of UTF-8");
            plane.kubectl(&["apply", "-f", folder]).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let established =
            plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await;
        established.unwrap_or_else(|error| panic!("{error}"));
        // Its garbage collector would not know the new kinds for half a minute.
        plane.restart_controller_manager();
        // Also waits until the API server knows the account.
        plane.service_account_kubeconfig("mqtt-access", "operator").await;
        let token = plane.service_account_token("mqtt-access", "operator").await;
        Self { plane, client, token }
    }

    /// Starts the operator and waits until it may begin.
    pub async fn operator(&self) -> Program {
        self.operator_with(&["run"]).await
    }

    /// Starts the operator with these arguments and waits until it may begin.
    pub async fn operator_with(&self, args: &[&str]) -> Program {
        self.operator_within(args, SOON).await
    }

    /// Starts the operator with these arguments, and waits until it may begin, or panics after `limit`.
    pub async fn operator_within(&self, args: &[&str], limit: Duration) -> Program {
        let operator = self.launch(self.plane.url(), args);
        operator.wait_for_line(COMPLETE, limit).await;
        operator
    }

    /// Starts the operator behind a proxy, and does not wait.
    #[must_use]
    pub fn operator_behind(&self, proxy: &StallingProxy) -> Program {
        self.launch(&proxy.url(), &["run"])
    }

    fn launch(&self, server: &str, args: &[&str]) -> Program {
        let kubeconfig = self.plane.kubeconfig(server, &self.token);
        let kubeconfig = kubeconfig.to_str().expect("a path of UTF-8");
        Program::start("mqtt-access-operator", args, &[("KUBECONFIG", kubeconfig)])
    }

    /// `kubectl apply` of some objects.
    pub async fn apply(&self, objects: impl IntoIterator<Item = Manifest>) {
        let applied = self.plane.apply(&list(objects).to_string()).await;
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Creates many objects of one kind, a few at a time.
    pub async fn create_all(&self, objects: impl IntoIterator<Item = Manifest>, at_once: usize) {
        let creations = objects.into_iter().map(|object| async move {
            let collection = manifests::collection(&object);
            self.send(Method::POST, &collection, &object).await.unwrap_or_else(|error| panic!("{error}"));
        });
        stream::iter(creations).buffer_unordered(at_once).collect::<Vec<()>>().await;
    }

    /// A merge patch of an object of a kind of ours.
    pub async fn patch(&self, plural: &str, namespace: &str, name: &str, patch: &Value) {
        let path = path(plural, namespace, name);
        self.send(Method::PATCH, &path, patch).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A merge patch of its status.
    pub async fn patch_status(&self, plural: &str, namespace: &str, name: &str, patch: &Value) {
        let path = format!("{}/status", path(plural, namespace, name));
        self.send(Method::PATCH, &path, patch).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A merge patch of a Secret.
    pub async fn patch_secret(&self, namespace: &str, name: &str, patch: &Value) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.send(Method::PATCH, &path, patch).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Creates a Secret with these labels and this data.
    pub async fn create_secret(&self, namespace: &str, name: &str, labels: &Value, data: &Value) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let secret = json!({"metadata": {"name": name, "labels": labels}, "stringData": data});
        self.send(Method::POST, &path, &secret).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Deletes a Secret; one that is not there is fine.
    pub async fn delete_secret(&self, namespace: &str, name: &str) {
        self.delete_path(&format!("/api/v1/namespaces/{namespace}/secrets/{name}")).await;
    }

    /// Deletes an object of a kind of ours and waits until it is gone.
    pub async fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.delete_path(&path(plural, namespace, name)).await;
        wait::until("an object to be gone", SOON, async || {
            self.get(plural, namespace, name).await.is_none().then_some(())
        })
        .await;
    }

    async fn delete_path(&self, path: &str) {
        if let Err(error) = self.send(Method::DELETE, path, &Value::Null).await {
            assert!(is_not_found(&error), "{path}: {error}");
        }
    }

    /// An object of a kind of ours.
    pub async fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.read(&path(plural, namespace, name)).await
    }

    /// All objects of a kind of ours.
    pub async fn all(&self, plural: &str) -> Vec<Value> {
        let listed = self.read(&format!("/apis/mqttaccess.io/v1alpha1/{plural}")).await.expect("a list");
        listed.get("items").and_then(Value::as_array).cloned().expect("its items")
    }

    /// Reads any path; `None` where nothing is there.
    pub async fn read(&self, path: &str) -> Option<Value> {
        match self.send(Method::GET, path, &Value::Null).await {
            Ok(found) => Some(found),
            Err(error) if is_not_found(&error) => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Any request with a JSON body, or none where it is null; a PATCH is a merge patch.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(bytes);
        self.client.request(request.expect("a request")).await
    }

    /// A Secret as it stands.
    pub async fn secret(&self, namespace: &str, name: &str) -> Option<Stored> {
        let secrets: Api<KubeSecret> = Api::namespaced(self.client.clone(), namespace);
        secrets.get_opt(name).await.expect("read a Secret").map(stored)
    }

    /// All Secrets of a namespace by their names.
    pub async fn secrets(&self, namespace: &str) -> BTreeMap<String, Stored> {
        let secrets: Api<KubeSecret> = Api::namespaced(self.client.clone(), namespace);
        let listed = secrets.list(&ListParams::default()).await.expect("list Secrets");
        listed.into_iter().map(|secret| (secret.metadata.name.clone().unwrap_or_default(), stored(secret))).collect()
    }

    /// What is published for the default broker.
    pub async fn bundles(&self) -> Bundles {
        self.bundles_in(BUNDLES).await
    }

    /// What is published in a bundle namespace.
    pub async fn bundles_in(&self, namespace: &str) -> Bundles {
        Bundles::decode(&self.secrets(namespace).await)
    }

    /// A device as its owner knows it: the contents of its Secret.
    pub async fn credentials(&self, namespace: &str, device: &str) -> Device {
        let secret = self.secret(namespace, &format!("{device}-mqtt")).await.expect("the Secret of a device");
        Device::of(&secret)
    }

    /// A condition of an object.
    pub async fn condition(&self, plural: &str, namespace: &str, name: &str, kind: &str) -> Option<Told> {
        told(&self.get(plural, namespace, name).await?, kind)
    }

    /// Waits until a condition has a reason, for the present generation of the object.
    pub async fn wait_reason(&self, plural: &str, namespace: &str, name: &str, kind: &str, reason: &str) -> Told {
        let start = Instant::now();
        loop {
            let object = self.get(plural, namespace, name).await;
            let current = object.as_ref().and_then(|object| object.pointer("/metadata/generation")?.as_i64());
            let found = object.as_ref().and_then(|object| told(object, kind));
            match found {
                Some(told) if told.reason == reason && Some(told.generation) == current => return told,
                other if start.elapsed() > SOON => {
                    panic!("waited in vain for {kind}={reason} of {plural} {namespace}/{name}; it is {other:?}")
                }
                _ => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    /// Waits for the reason of the condition `Ready` of a device.
    pub async fn wait_device(&self, namespace: &str, name: &str, reason: &str) -> Told {
        self.wait_reason(DEVICES, namespace, name, "Ready", reason).await
    }

    /// Waits until what is published for the default broker satisfies a look.
    pub async fn wait_bundles<T>(&self, what: &str, look: impl Fn(&Bundles) -> Option<T>) -> T {
        self.wait_bundles_in(BUNDLES, what, look).await
    }

    /// Waits until what is published in a bundle namespace satisfies a look.
    pub async fn wait_bundles_in<T>(&self, namespace: &str, what: &str, look: impl Fn(&Bundles) -> Option<T>) -> T {
        wait::until(what, SOON, async || look(&self.bundles_in(namespace).await)).await
    }

    /// What the operator tried to change since `mark`, granted or not.
    pub async fn writes_since(&self, mark: AuditMark) -> Vec<AuditEvent> {
        let events = self.plane.audit_since(mark).await;
        events.into_iter().filter(|event| event.user == OPERATOR && event.is_write()).collect()
    }

    /// Waits until the operator has written nothing for a while.
    pub async fn settle(&self) {
        wait::until("the operator to settle", Duration::from_mins(1), async || {
            let mark = self.plane.audit_mark().await;
            tokio::time::sleep(Duration::from_millis(1500)).await;
            self.writes_since(mark).await.is_empty().then_some(())
        })
        .await;
    }

    /// Fails when two Secrets of a namespace hold one key: then it would be nobody's own.
    pub async fn assert_keys_differ(&self, namespace: &str) {
        let secrets = self.secrets(namespace).await;
        let keys: BTreeSet<String> = secrets.values().map(|secret| secret.text("accessKeySecret")).collect();
        assert_eq!(keys.len(), secrets.len(), "two Secrets of {namespace} hold one key");
    }
}

fn path(plural: &str, namespace: &str, name: &str) -> String {
    format!("/apis/mqttaccess.io/v1alpha1/namespaces/{namespace}/{plural}/{name}")
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn stored(secret: KubeSecret) -> Stored {
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    let (uid, version) = (secret.metadata.uid, secret.metadata.resource_version);
    Stored { uid: uid.unwrap_or_default(), version: version.unwrap_or_default(), data }
}

fn told(object: &Value, kind: &str) -> Option<Told> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let condition = conditions.iter().find(|condition| condition.get("type").is_some_and(|found| found == kind))?;
    let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let generation = condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or_default();
    Some(Told { status: text("status"), reason: text("reason"), message: text("message"), generation })
}
