//! The control plane that other tests stand on: does it do what they rely on?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use mqtt_access_tests::control_plane::{ADMIN_TOKEN, client_of};
use mqtt_access_tests::{ControlPlane, StallingProxy, wait};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn config_map(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: default{more}}}, data: {{key: value}}}}"
    )
}

async fn exists(plane: &ControlPlane, name: &str) -> bool {
    plane.kubectl(&["get", "configmap", name, "--ignore-not-found", "-o", "name"]).await.unwrap() != ""
}

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_stores_collects_authorizes_logs_and_survives() {
    let start = Instant::now();
    let plane = ControlPlane::start().await;
    eprintln!("control plane ready after {:?}", start.elapsed());
    kubectl_writes_are_in_the_audit_log(&plane).await;
    the_garbage_collector_follows_owner_references(&plane).await;
    a_restarted_garbage_collector_knows_new_kinds(&plane).await;
    a_service_account_without_rights_is_refused(&plane).await;
    a_stalled_list_comes_late_and_keeps_its_user(&plane).await;
    a_watch_streams_through_the_proxy(&plane).await;
    a_stopped_api_server_comes_back_with_its_data(&plane).await;
}

async fn kubectl_writes_are_in_the_audit_log(plane: &ControlPlane) {
    let mark = plane.audit_mark().await;
    plane.apply(&config_map("kept", "")).await.unwrap();
    let events = plane.audit_since(mark).await;
    let writes: Vec<_> = events.iter().filter(|event| event.user == "admin" && event.is_write()).collect();
    assert_eq!(writes.len(), 1, "{events:#?}");
    let write = writes[0];
    let told = (write.verb.as_str(), write.resource.as_str(), write.name.as_str(), write.code);
    assert_eq!(told, ("create", "configmaps", "kept", 201));
    assert_eq!(
        plane.audit_since(plane.audit_mark().await).await.iter().filter(|event| event.user == "admin").count(),
        0
    );
}

async fn the_garbage_collector_follows_owner_references(plane: &ControlPlane) {
    plane.apply(&config_map("owner", "")).await.unwrap();
    let uid = plane.kubectl(&["get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"]).await.unwrap();
    let reference = format!(", ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}]");
    plane.apply(&config_map("owned", &reference)).await.unwrap();
    plane.kubectl(&["delete", "configmap", "owner"]).await.unwrap();
    let collected = async || (!exists(plane, "owned").await).then_some(());
    wait::until("the owned object to be collected", SOON, collected).await;
}

const KIND: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: owners.test.mqttaccess.io}
spec:
  group: test.mqttaccess.io
  scope: Namespaced
  names: {kind: Owner, plural: owners, singular: owner}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";

async fn a_restarted_garbage_collector_knows_new_kinds(plane: &ControlPlane) {
    plane.apply(KIND).await.unwrap();
    plane.kubectl(&["wait", "--for=condition=Established", "crd/owners.test.mqttaccess.io"]).await.unwrap();
    plane.restart_controller_manager();
    let owner = "{apiVersion: test.mqttaccess.io/v1, kind: Owner, metadata: {name: owner, namespace: default}}";
    plane.apply(owner).await.unwrap();
    let uid = plane.kubectl(&["get", "owner", "owner", "-o", "jsonpath={.metadata.uid}"]).await.unwrap();
    let reference =
        format!(", ownerReferences: [{{apiVersion: test.mqttaccess.io/v1, kind: Owner, name: owner, uid: {uid}}}]");
    plane.apply(&config_map("owned-by-new-kind", &reference)).await.unwrap();
    plane.kubectl(&["delete", "owner", "owner"]).await.unwrap();
    let collected = async || (!exists(plane, "owned-by-new-kind").await).then_some(());
    wait::until("what a new kind owns to be collected", SOON, collected).await;
}

async fn a_service_account_without_rights_is_refused(plane: &ControlPlane) {
    let kubeconfig = plane.service_account_kubeconfig("elsewhere", "nobody").await;
    let nobody = plane.kubectl_as(&kubeconfig);
    let mark = plane.audit_mark().await;
    let refusal = nobody.run(&["get", "configmap", "kept"]).await.unwrap_err();
    assert!(refusal.stderr.contains("Forbidden"), "{refusal}");
    let events = plane.audit_since(mark).await;
    let refused = events
        .iter()
        .find(|event| event.user == "system:serviceaccount:elsewhere:nobody" && event.resource == "configmaps");
    assert_eq!(refused.map(|event| event.code), Some(403), "{events:#?}");
}

async fn a_stalled_list_comes_late_and_keeps_its_user(plane: &ControlPlane) {
    let pause = Duration::from_secs(2);
    let delay =
        move |_: &_, uri: &axum::http::Uri| if uri.path().ends_with("/configmaps") { pause } else { Duration::ZERO };
    let proxy = StallingProxy::start(plane, delay).await;
    let token = plane.service_account_token("elsewhere", "nobody").await;
    let nobody = client_of(&plane.kubeconfig(&proxy.url(), &token)).await;
    let start = Instant::now();
    let refusal = Api::<ConfigMap>::namespaced(nobody, "default").list(&ListParams::default()).await.unwrap_err();
    assert!(refusal.to_string().contains("system:serviceaccount:elsewhere:nobody"), "{refusal}");
    assert!(start.elapsed() >= pause, "it was not held back");
    assert!(proxy.seen().iter().any(|(_, uri)| uri.path() == "/api/v1/namespaces/default/configmaps"));
}

async fn a_watch_streams_through_the_proxy(plane: &ControlPlane) {
    let proxy = StallingProxy::start(plane, |_, _| Duration::ZERO).await;
    let admin = client_of(&plane.kubeconfig(&proxy.url(), ADMIN_TOKEN)).await;
    let maps = Api::<ConfigMap>::namespaced(admin, "default");
    let params = WatchParams::default().fields("metadata.name=watched");
    let mut events = pin!(maps.watch(&params, "0").await.unwrap());
    plane.apply(&config_map("watched", "")).await.unwrap();
    let added = async { while !matches!(events.next().await.unwrap().unwrap(), WatchEvent::Added(_)) {} };
    timeout(SOON, added).await.unwrap();
}

async fn a_stopped_api_server_comes_back_with_its_data(plane: &ControlPlane) {
    plane.stop_api_server();
    plane.kubectl(&["get", "configmap", "kept"]).await.unwrap_err();
    plane.start_api_server().await;
    assert!(exists(plane, "kept").await);
}
