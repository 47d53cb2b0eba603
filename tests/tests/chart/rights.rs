//! The rights that the chart gives: those of `examples/cluster`, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mqtt_access_tests::first_light::root;
use serde_json::Value;

use super::rendered::{Rendered, documents, render};

/// One thing that somebody may do.
type Right = (String, String, String);

/// Rules as single rights: group, resource, verb.
fn rights(rules: &Value) -> BTreeSet<Right> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                found.extend(texts(rule, "verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    found
}

/// What an account may do, by namespace; `*` for everywhere.
pub(crate) fn rights_of(objects: &[Value], account: &str) -> BTreeMap<String, BTreeSet<Right>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for binding in objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding")) {
        let Some(subjects) = binding["subjects"].as_array() else { continue };
        if !subjects.iter().any(|subject| subject["name"] == account) {
            continue;
        }
        let namespace = binding["metadata"]["namespace"].as_str();
        let role = objects.iter().find(|role| {
            let same =
                role["metadata"]["namespace"].as_str() == namespace || binding["roleRef"]["kind"] == "ClusterRole";
            role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"] && same
        });
        let rules = rights(&role.unwrap_or_else(|| panic!("no role for {binding}"))["rules"]);
        found.entry(namespace.unwrap_or("*").to_owned()).or_default().extend(rules);
    }
    found
}

fn examples(file: &str) -> Vec<Value> {
    documents(&fs::read_to_string(root().join("examples/cluster").join(file)).unwrap())
}

/// With the chart's names for namespaces.
fn renamed(rights: BTreeMap<String, BTreeSet<Right>>) -> BTreeMap<String, BTreeSet<Right>> {
    rights
        .into_iter()
        .map(|(namespace, rights)| {
            (namespace.replace("mqtt-access-mqtt-access-bundles", "mqtt-release-bundles"), rights)
        })
        .collect()
}

fn leases() -> BTreeSet<Right> {
    let verbs = ["get", "list", "watch", "create", "update"];
    verbs.map(|verb| ("coordination.k8s.io".to_owned(), "leases".to_owned(), verb.to_owned())).into()
}

const OPERATOR: &str = "release-mqtt-access-operator";

#[tokio::test]
async fn operator_and_sidecar_have_the_rights_of_the_examples() {
    let rendered = render(&[]).await;
    let mut operator = rights_of(&rendered.0, OPERATOR);
    assert_eq!(operator.remove("mqtt"), Some(leases()), "beside the examples, a Lease");
    let lease = &rendered.one("Role", "release-mqtt-access-operator-lease")["rules"][1]["resourceNames"];
    assert_eq!(*lease, serde_json::json!(["release-mqtt-access-operator"]));
    assert_eq!(operator, renamed(rights_of(&examples("rbac.yaml"), "operator")));
    let sidecar = rights_of(&rendered.0, "release-mqtt-access-default-sidecar");
    assert_eq!(sidecar, renamed(rights_of(&examples("rbac.yaml"), "sidecar")));
}

#[tokio::test]
async fn the_token_service_adds_the_rights_of_the_examples() {
    let set = "tokenService.enabled=true,tokenService.certificate.secretName=tls";
    let mut with = rights_of(&render(&["--set", set]).await.0, OPERATOR);
    let without = rights_of(&render(&[]).await.0, OPERATOR);
    let everywhere = with.get_mut("*").unwrap();
    everywhere.retain(|right| !without["*"].contains(right));
    assert_eq!(*everywhere, rights_of(&examples("token-service/rbac.yaml"), "operator")["*"]);
}

#[tokio::test]
async fn with_a_list_of_namespaces_no_right_on_secrets_is_of_the_whole_cluster() {
    let set = "scope.namespaces={a,b},tokenService.enabled=true,tokenService.certificate.secretName=tls";
    let rendered = render(&["--set", set]).await;
    let scoped = rights_of(&rendered.0, OPERATOR);
    let whole = rights_of(
        &render(&["--set", "tokenService.enabled=true,tokenService.certificate.secretName=tls"]).await.0,
        OPERATOR,
    );
    let reviews: BTreeSet<_> = whole["*"].iter().filter(|right| right.1.ends_with("reviews")).cloned().collect();
    assert_eq!((&scoped["*"], reviews.len()), (&reviews, 2), "who somebody is, is asked of the whole cluster");
    let in_namespaces: BTreeSet<_> = whole["*"].difference(&reviews).cloned().collect();
    assert_eq!((&scoped["a"], &scoped["b"]), (&in_namespaces, &in_namespaces));
    // What the ClusterRole would give there.
    let secrets = whole["*"].iter().filter(|right| right.1 == "secrets").cloned();
    let bundles: BTreeSet<_> = whole["mqtt-release-bundles"].iter().cloned().chain(secrets).collect();
    assert_eq!(scoped["mqtt-release-bundles"], bundles);
    let names: Vec<_> = scoped.keys().map(String::as_str).collect();
    assert_eq!(names, ["*", "a", "b", "mqtt", "mqtt-release-bundles"]);
    let cluster_roles = rendered.of_kind("ClusterRole");
    let secrets = cluster_roles.iter().filter(|role| rights(&role["rules"]).iter().any(|right| right.1 == "secrets"));
    assert_eq!(secrets.count(), 0);
}

#[tokio::test]
async fn labels_of_namespaces_are_seen_only_where_a_broker_selects_by_them() {
    let sees = |rendered: &Rendered| rights_of(&rendered.0, OPERATOR)["*"].iter().any(|right| right.1 == "namespaces");
    assert!(!sees(&render(&[]).await));
    assert!(sees(&render(&["--set", "brokers[0].name=a,brokers[0].tenantNamespaceSelector.matchLabels.a=b"]).await));
}

#[tokio::test]
async fn pods_of_a_broker_that_are_named_may_read_its_bundles_and_nothing_else() {
    let accounts = r#"brokers=[{"name":"a","tenantNamespaceSelector":{},"sidecar":{"serviceAccounts":[{"namespace":"emqx","name":"emqx"}]}}, {"name":"b","tenantNamespaceSelector":{}}]"#;
    let rendered = render(&["--set-json", accounts]).await;
    let own = rights_of(&rendered.0, "release-mqtt-access-a-sidecar");
    assert_eq!(own, rights_of(&rendered.0, "emqx"));
    assert_eq!(own.keys().collect::<Vec<_>>(), ["mqtt-release-a-bundles"]);
    let verbs: Vec<_> =
        own["mqtt-release-a-bundles"].iter().map(|(_, resource, verb)| format!("{verb} {resource}")).collect();
    assert_eq!(verbs, ["get secrets", "list secrets", "watch secrets"]);
}

#[tokio::test]
async fn people_get_devices_and_policies_and_tenants_only_by_a_role_of_their_own() {
    let roles = render(&[]).await.of_kind("ClusterRole");
    let aggregated = |role: &Value| {
        role["metadata"]["labels"].as_object().unwrap().keys().any(|label| label.contains("aggregate-to"))
    };
    let writes = |verb: &str| !["get", "list", "watch"].contains(&verb);
    for role in roles.iter().filter(|role| aggregated(role)) {
        for (_, resource, verb) in rights(&role["rules"]) {
            assert_ne!(resource, "secrets", "{role}");
            assert!(resource != "mqtttenants" || !writes(&verb), "{role}");
        }
    }
    let tenants = |role: &&Value| {
        rights(&role["rules"]).iter().any(|(_, resource, verb)| resource == "mqtttenants" && writes(verb))
    };
    let names: Vec<_> = roles.iter().filter(tenants).map(|role| role["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mqtt.release-mqtt-access-tenants"]);
    assert!(
        render(&["--set", "rbac.userRoles=false"]).await.of_kind("ClusterRole").iter().all(|role| !aggregated(role))
    );
}
