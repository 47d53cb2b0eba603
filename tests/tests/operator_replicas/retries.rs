//! What somebody has to change first is not asked for every few seconds, as after an outage.

use std::time::Duration;

use axum::http::Method;
use mqtt_access_tests::operator_fixture::{BUNDLES, Cluster, SOON, TENANTS, device, edited, namespace, tenant};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

use crate::operator_replicas::replica::{Replica, user};

/// Long enough for four attempts, were it an outage.
const WHILE: Duration = Duration::from_secs(6);

/// Nobody may create what belongs to the bundle of a tenant in the namespace `banned`.
fn ban() -> [Value; 2] {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "ban"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
            "validations": [{"expression": "!object.metadata.name.startsWith('banned.')", "message": "banned", "reason": "Forbidden"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "ban"},
        "spec": {"policyName": "ban", "validationActions": ["Deny"]},
    });
    [policy, binding]
}

pub(crate) async fn what_is_refused_is_not_asked_for_again_and_again(cluster: &Cluster) {
    cluster.apply(ban()).await;
    let dry_run = format!("/api/v1/namespaces/{BUNDLES}/secrets?dryRun=All");
    let probe = json!({"metadata": {"name": "banned.probe"}});
    wait::until("the ban to be in force", SOON, async || {
        cluster.send(Method::POST, &dry_run, &probe).await.err().map(drop)
    })
    .await;
    let operator = Replica::start(cluster, "one", &json!({})).await;
    let mark = cluster.plane.audit_mark().await;
    let absent = json!({"spec": {"secretRef": {"name": "absent"}}});
    let lonely = [namespace("lonely"), tenant("lonely", "t"), edited(device("lonely", "t", "d"), &absent)];
    cluster.apply(lonely.into_iter().chain([namespace("banned"), tenant("banned", "t")])).await;
    let told = cluster.wait_reason(TENANTS, "banned", "t", "Published", "PublishFailed").await;
    assert!(told.message.contains("banned"), "{}", told.message);
    let told = cluster.wait_device("lonely", "d", "SecretMissing").await;
    assert!(told.message.contains("`absent` does not exist"), "{}", told.message);
    tokio::time::sleep(WHILE).await;
    let events = cluster.plane.audit_since(mark).await;
    let ours = || events.iter().filter(|event| event.user == user("one"));
    let refused = ours().filter(|event| event.code == 403).count();
    // Once, and again because its conditions changed.
    assert!((1..=2).contains(&refused), "{refused} attempts in {WHILE:?}");

    // A Secret that is missing is a condition, and nobody asks for it again.
    let mark = cluster.plane.audit_mark().await;
    tokio::time::sleep(WHILE / 2).await;
    let events = cluster.plane.audit_since(mark).await;
    let asked: Vec<_> = events
        .iter()
        .filter(|event| event.user == user("one") && event.namespace == "lonely" && event.verb != "watch")
        .collect();
    assert!(asked.is_empty(), "{asked:#?}");
    let labels = json!({"mqttaccess.io/credential": "true"});
    cluster.create_secret("lonely", "absent", &labels, &json!({"accessKeySecret": "found"})).await;
    cluster.wait_device("lonely", "d", "Ready").await;
    assert!(operator.program.terminate(SOON).await.success());
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/ban");
        cluster.send(Method::DELETE, &path, &Value::Null).await.unwrap();
    }
    cluster.delete(TENANTS, "banned", "t").await;
}
