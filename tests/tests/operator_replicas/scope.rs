//! An operator that sees some namespaces only, with the rights of Roles in them.

use std::time::Duration;

use mqtt_access_tests::control_plane::AuditEvent;
use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, SOON, TENANTS, allow, client_id, device, edited, namespace, tenant,
};
use serde_json::{Value, json};

use crate::operator_replicas::replica::{Replica, WHO_AM_I, object, role_ref, subject, user};

/// The namespace of its bundles.
pub(crate) const SCOPED_BUNDLES: &str = "scoped-bundles";
const ACCOUNT: &str = "scoped";

fn role(namespace: &str, rules: &Value) -> [Value; 2] {
    let binding = json!({"roleRef": role_ref("Role", "scoped"), "subjects": [subject(ACCOUNT)]});
    [
        object("Role", namespace, "scoped", &json!({"rules": rules})),
        object("RoleBinding", namespace, "scoped", &binding),
    ]
}

/// Everything that it takes, and no `ClusterRole`.
fn rights() -> Vec<Value> {
    let secrets = |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["secrets"], "verbs": verbs});
    let tenants = json!([
        {"apiGroups": ["mqttaccess.io"], "resources": ["mqtttenants", "devicecredentials", "aclpolicies"], "verbs": ["list", "watch"]},
        {"apiGroups": ["mqttaccess.io"], "resources": ["mqtttenants/status", "devicecredentials/status", "aclpolicies/status"], "verbs": ["patch"]},
        secrets(&["get", "list", "watch", "create", "update"]),
    ]);
    let bundles = json!([
        secrets(&["get", "list", "watch", "create", "update", "delete"]),
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "create", "update", "delete"]},
    ]);
    let namespaces = [SCOPED_BUNDLES, "scope-a", "scope-b", "scope-c"].map(namespace);
    let roles = [role(SCOPED_BUNDLES, &bundles), role("scope-a", &tenants), role("scope-b", &tenants)];
    namespaces.into_iter().chain(roles.into_iter().flatten()).collect()
}

pub(crate) async fn the_rights_of_roles_suffice_for_some_namespaces(cluster: &Cluster) {
    let here = |name: &str| edited(tenant(name, "t"), &json!({"spec": {"broker": "scoped"}}));
    cluster.apply(rights()).await;
    for ns in ["scope-a", "scope-b", "scope-c"] {
        let topic = format!("{ns}/t/x");
        cluster.apply([here(ns), device(ns, "t", "d"), allow(ns, "t", "all", &[&topic])]).await;
    }
    cluster.create_secret("scope-a", "unlabelled", &json!({}), &json!({"accessKeySecret": "nobody's business"})).await;
    let mark = cluster.plane.audit_mark().await;
    let broker = json!({"name": "scoped", "bundleNamespace": SCOPED_BUNDLES, "tenantNamespaceSelector": {}});
    let config = json!({"brokers": [broker], "namespaces": ["scope-a", "scope-b"]});
    let operator = Replica::start(cluster, ACCOUNT, &config).await;
    for ns in ["scope-a", "scope-b"] {
        cluster.wait_device(ns, "d", "Ready").await;
    }
    cluster.delete(DEVICES, "scope-b", "d").await;
    cluster.apply([device("scope-a", "t", "late")]).await;
    cluster.wait_device("scope-a", "late", "Ready").await;
    cluster
        .wait_bundles_in(SCOPED_BUNDLES, "a deletion in one namespace and an addition in another", |found| {
            let [a, b] =
                ["scope-a", "scope-b"].map(|ns| found.tenant(ns, "t").map(|tenant| tenant.device_keys().len()));
            ((a, b) == (Some(2), Some(0))).then_some(())
        })
        .await;
    let who = cluster.credentials("scope-a", "d").await;
    assert_eq!(who.client_id, client_id("scope-a", "t", "d"));
    assert_eq!(cluster.bundles_in(SCOPED_BUNDLES).await.publish(&who, "scope-a/t/x"), "Allow scope-a/all rules[0]");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.bundles_in(SCOPED_BUNDLES).await.names(), ["scope-a.t", "scope-b.t"]);
    assert!(cluster.condition(TENANTS, "scope-c", "t", "Ready").await.is_none(), "it is seen");
    assert!(operator.program.terminate(SOON).await.success());

    let events = cluster.plane.audit_since(mark).await;
    // Discovery and the question who it is are kubectl's.
    let own = |event: &&AuditEvent| !["", WHO_AM_I].contains(&event.resource.as_str());
    let ours: Vec<_> = events.iter().filter(|event| event.user == user(ACCOUNT)).filter(own).collect();
    let allowed = [SCOPED_BUNDLES, "scope-a", "scope-b"];
    let strange: Vec<_> =
        ours.iter().filter(|event| event.code == 403 || !allowed.contains(&event.namespace.as_str())).collect();
    assert!(strange.is_empty(), "{strange:#?}");
    let lists: Vec<_> = ours.iter().filter(|event| event.verb == "list").collect();
    assert!(lists.len() >= 16, "{lists:#?}");
    // Objects that may be large come in smaller pages.
    let is_paged = |event: &AuditEvent| ["limit=500", "limit=100"].iter().any(|page| event.uri.contains(page));
    let unpaged: Vec<_> = lists.iter().filter(|event| !is_paged(event)).collect();
    assert!(unpaged.is_empty(), "{unpaged:#?}");
    let all =
        ours.iter().filter(|event| event.resource == "secrets" && ["list", "watch"].contains(&event.verb.as_str()));
    let unlabelled: Vec<_> = all.filter(|event| !event.uri.contains("labelSelector=mqttaccess.io%2F")).collect();
    assert!(unlabelled.is_empty(), "{unlabelled:#?}");
    let named = ours.iter().any(|event| event.name == "unlabelled");
    assert!(!named, "a Secret that is nobody's credential was asked for");
}
