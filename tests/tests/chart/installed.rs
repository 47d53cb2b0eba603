//! Releases on a real API server, which validates every object and has no node: from the first install to the last uninstall.

use std::fs;
use std::time::Duration;

use mqtt_access_tests::first_light::root;
use mqtt_access_tests::kubectl::KubectlError;
use mqtt_access_tests::{ControlPlane, Program, wait};
use serde_json::{Value, json};

use super::beside::{people_have_what_their_roles_say, two_releases_leave_each_other_alone};
use super::rendered::{documents, everything};
use super::stage::{CRDS, Stage, nothing_was_forbidden};
use mqtt_access_tests::pods::{helm_test, operator};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_release_from_its_first_install_to_its_end() {
    let stage = Stage { plane: ControlPlane::start().await, folder: tempfile::tempdir().unwrap() };
    crds_of_an_older_version_are_taken_over(&stage).await;
    pods_satisfy_the_restricted_standard(&stage).await;
    the_test_tells_whether_it_works(&stage).await;
    a_check_leaves_alone_what_is_not_its_own(&stage).await;
    a_namespace_of_tenants_takes_no_more_than_its_quota(&stage).await;
    tenants_survive_an_upgrade_and_a_rollback(&stage).await;
    two_releases_leave_each_other_alone(&stage).await;
    people_have_what_their_roles_say(&stage).await;
    what_is_kept_survives_an_uninstall_and_is_found_again(&stage).await;
    nothing_is_left_where_nothing_is_to_be_kept(&stage).await;
}

/// `kubectl apply` has installed them, and they lack a field that the chart's have.
async fn crds_of_an_older_version_are_taken_over(stage: &Stage) {
    for plural in CRDS {
        let text = fs::read_to_string(root().join(format!("crds/mqttaccess.io_{plural}.yaml"))).unwrap();
        let mut crd = documents(&text).remove(0);
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        crd.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("tests");
        stage.plane.apply(&crd.to_string()).await.unwrap_or_else(|error| panic!("{error}"));
    }
    stage.established().await;
    let field = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.tests.type}";
    let tests = async || stage.kubectl(&["get", "crd", "aclpolicies.mqttaccess.io", "-o", field]).await;
    assert_eq!(tests().await, "");
    stage.kubectl(&["create", "namespace", "mqtt"]).await;
    stage.kubectl(&["label", "namespace", "mqtt", "pod-security.kubernetes.io/enforce=restricted"]).await;
    stage.plane.apply(&tenant("mqtt", "earlier").to_string()).await.unwrap_or_else(|error| panic!("{error}"));

    let refusal = stage.install("mqtt-access", "mqtt", &[]).await.unwrap_err().stderr;
    assert!(refusal.contains("exists and cannot be imported into the current release"), "{refusal}");
    assert!(refusal.contains("aclpolicies.mqttaccess.io"), "{refusal}");
    let told = stage
        .install("mqtt-access", "mqtt", &["--take-ownership", "--force-conflicts"])
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(told.contains("STATUS: deployed") && told.contains("An uninstall keeps the CRDs"), "{told}");
    assert_eq!(tests().await, "array", "the CRDs are the chart's now");
    assert!(stage.exists(&["mqtttenant", "earlier", "-n", "mqtt"]).await, "and what there was is there");
    stage.kubectl(&["delete", "mqtttenant", "earlier", "-n", "mqtt"]).await;
}

fn tenant(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "mqttaccess.io/v1alpha1", "kind": "MqttTenant", "metadata": {"namespace": namespace, "name": name},
        "spec": {"instanceId": name, "clientIdPrefixes": [name], "topicSpace": [{"filter": format!("{name}/#")}]},
    })
}

/// As pods that are never made: a refusal of the real admission would leave a Deployment without pods, and say so nowhere else.
async fn pods_satisfy_the_restricted_standard(stage: &Stage) {
    let template = stage
        .kubectl(&["get", "deployment", "mqtt-access-operator", "-n", "mqtt", "-o", "jsonpath={.spec.template}"])
        .await;
    let mut pod: Value = serde_json::from_str(&template).unwrap();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("dry-run");
    let hooks = documents(&stage.plane.helm().run(&["get", "hooks", "mqtt-access", "-n", "mqtt"]).await.unwrap());
    let mut hook = hooks.into_iter().find(|hook| hook["kind"] == "Pod").unwrap();
    // The accounts of hooks are there during the test only.
    hook["spec"]["serviceAccountName"] = json!("mqtt-access-operator");
    let admitted = async |pod: &Value| {
        let kubectl = stage.plane.kubectl_as(stage.plane.admin_kubeconfig());
        kubectl.run_with_stdin(&["create", "--dry-run=server", "-n", "mqtt", "-f", "-"], &pod.to_string()).await
    };
    for pod in [&pod, &hook] {
        admitted(pod).await.unwrap_or_else(|error| panic!("{error}"));
        let mut wider = pod.clone();
        wider["spec"]["hostNetwork"] = json!(true);
        let refusal = admitted(&wider).await.unwrap_err().stderr;
        assert!(refusal.contains("violates PodSecurity \"restricted:latest\""), "{refusal}");
    }
}

async fn the_test_tells_whether_it_works(stage: &Stage) {
    // It owns objects of kinds that its garbage collector did not know when it started.
    stage.plane.restart_controller_manager();
    let mark = stage.plane.audit_mark().await;
    let running = operator(&stage.plane, "mqtt", "mqtt-access-operator", stage.folder.path()).await;
    let (verdict, said) = helm_test(&stage.plane, "mqtt-access", "mqtt").await;
    let told = verdict.unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(told.contains("Succeeded"), "{told}");
    let steps = [
        "a tenant `mqtt-access-test` in the namespace `mqtt`, of the broker `default`, with a device and a policy is made",
        "the operator says that it is in force",
        "a login with the password of its Secret is allowed",
        "a publish to its own topic is allowed",
        "a publish to a foreign topic is denied",
        "a login with a wrong password is denied",
        "what was made is deleted",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), steps);
    nothing_of_the_test_is_left(stage).await;
    nothing_was_forbidden(stage, mark).await;

    drop(running);
    let (verdict, said) = helm_test_without_operator(stage).await;
    assert!(verdict.is_err(), "there is no operator");
    assert!(said.contains("is not looked at by the operator yet; see that it runs"), "{said}");
    assert!(said.contains("what was made is deleted"), "{said}");
    nothing_of_the_test_is_left(stage).await;
}

async fn helm_test_without_operator(stage: &Stage) -> (Result<String, KubectlError>, String) {
    stage
        .helm(&["upgrade"], "mqtt-access", "mqtt", &["--set", "test.timeoutSeconds=10"])
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    helm_test(&stage.plane, "mqtt-access", "mqtt").await
}

/// The tenant of that name is somebody's.
async fn a_check_leaves_alone_what_is_not_its_own(stage: &Stage) {
    stage.plane.apply(&tenant("mqtt", "taken").to_string()).await.unwrap_or_else(|error| panic!("{error}"));
    let kubeconfig = stage.plane.admin_kubeconfig().display().to_string();
    let args = ["check", "--namespace=mqtt", "--name=taken"];
    let check = Program::start("mqtt-access-operator", &args, &[("KUBECONFIG", &kubeconfig)]);
    assert_eq!(check.wait_end(SOON).await.code(), Some(1));
    let told = check.stderr();
    assert!(told.contains("the MqttTenant `taken` exists and is nobody's throwaway"), "{told}");
    assert_eq!(check.stdout(), "", "nothing was made or deleted");
    stage.kubectl(&["delete", "mqtttenant", "taken", "-n", "mqtt"]).await;
}

/// The controller that counts has known the kinds since it was started anew; the admission refuses what is beyond.
async fn a_namespace_of_tenants_takes_no_more_than_its_quota(stage: &Stage) {
    stage.kubectl(&["create", "namespace", "team"]).await;
    let quota = "tenantQuota.namespaces={team},tenantQuota.aclPolicies=1";
    stage.helm(&["upgrade"], "mqtt-access", "mqtt", &["--set", quota]).await.unwrap_or_else(|error| panic!("{error}"));
    let used = "jsonpath={.items[0].status.used.count/aclpolicies\\.mqttaccess\\.io}";
    wait::until("the quota to be counted", SOON, async || {
        (stage.kubectl(&["get", "resourcequota", "-n", "team", "-o", used]).await == "0").then_some(())
    })
    .await;
    let policy = |name: &str| {
        json!({
            "apiVersion": "mqttaccess.io/v1alpha1", "kind": "AclPolicy", "metadata": {"namespace": "team", "name": name},
            "spec": {"tenantRef": {"name": "t"}, "subjects": [{"everyone": true}],
                "rules": [{"effect": "Allow", "actions": ["Publish"], "topics": ["t/x"]}]},
        })
    };
    stage.plane.apply(&policy("first").to_string()).await.unwrap_or_else(|error| panic!("{error}"));
    let refusal = stage.plane.apply(&policy("second").to_string()).await.unwrap_err().stderr;
    let told = "exceeded quota: mqtt.mqtt-access-tenants, requested: count/aclpolicies.mqttaccess.io=1";
    assert!(refusal.contains(told), "{refusal}");
    stage.helm(&["rollback"], "mqtt-access", "mqtt", &[]).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stage.kubectl(&["get", "resourcequota", "-n", "team", "-o", "name"]).await, "");
    stage.kubectl(&["delete", "namespace", "team"]).await;
}

async fn nothing_of_the_test_is_left(stage: &Stage) {
    for plural in CRDS {
        let left = stage.kubectl(&["get", plural, "-A", "-o", "name"]).await;
        assert_eq!(left, "", "{plural}");
    }
    for what in ["role/mqtt-access-test", "rolebinding/mqtt-access-test", "serviceaccount/mqtt-access-test"] {
        assert!(!stage.exists(&["-n", "mqtt", what]).await, "{what}");
    }
    wait::until("the Secret of the device to follow it", SOON, async || {
        (!stage.exists(&["-n", "mqtt", "secret/mqtt-access-test-mqtt"]).await).then_some(())
    })
    .await;
}

/// A kind of others, as far as the chart needs it.
fn foreign_kind(group: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

async fn tenants_survive_an_upgrade_and_a_rollback(stage: &Stage) {
    let kinds = [
        foreign_kind("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
        foreign_kind("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
        foreign_kind("cert-manager.io", "Certificate", "certificates"),
    ];
    for kind in kinds {
        stage.plane.apply(&kind.to_string()).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for namespace in ["mqtt-us", "emqx", "throwaway", "acme", "globex"] {
        stage.kubectl(&["create", "namespace", namespace]).await;
    }
    stage.plane.apply(&tenant("mqtt", "acme").to_string()).await.unwrap_or_else(|error| panic!("{error}"));
    let uid =
        async || stage.kubectl(&["get", "mqtttenant", "acme", "-n", "mqtt", "-o", "jsonpath={.metadata.uid}"]).await;
    let before = uid().await;
    let image = async |name: &str| {
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        stage.kubectl(&["get", "deployment", name, "-n", "mqtt", "-o", path]).await
    };

    let values = everything();
    // Other names are other objects, so that this is an upgrade of everything at once.
    let keep = ["--set", "crds.keep=true", "--set", "fullnameOverride=mqtt-access,nameOverride="];
    let upgraded = stage.helm(&["upgrade"], "mqtt-access", "mqtt", &[&[values.as_str()][..], &keep].concat()).await;
    upgraded.unwrap_or_else(|error| panic!("{error}"));
    assert!(image("mqtt-access-operator").await.starts_with("registry.example/"), "upgraded");
    assert_eq!(uid().await, before);
    for what in [
        "servicemonitor/mqtt-access-operator",
        "prometheusrule/mqtt-access",
        "certificate/mqtt-access-token-service",
        "networkpolicy/mqtt-access-operator",
        "configmap/mqtt-access-text",
    ] {
        assert!(stage.exists(&["-n", "mqtt", what]).await, "{what}");
    }
    let rolled_back = stage.helm(&["rollback"], "mqtt-access", "mqtt", &[]).await;
    rolled_back.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(image("mqtt-access-operator").await, "mqtt-access-operator:0.1.0", "rolled back");
    assert_eq!(uid().await, before);
    assert!(!stage.exists(&["-n", "mqtt", "networkpolicy/mqtt-access-operator"]).await);

    let refusal = stage.helm(&["upgrade"], "mqtt-access", "mqtt", &["--set", "operator.replica=1"]).await.unwrap_err();
    assert!(refusal.stderr.contains("additional properties 'replica' not allowed"), "{refusal}");
}

async fn what_is_kept_survives_an_uninstall_and_is_found_again(stage: &Stage) {
    let told = stage.helm(&["uninstall"], "mqtt-access", "mqtt", &[]).await.unwrap_or_else(|error| panic!("{error}"));
    let kept = ["[CustomResourceDefinition] mqtttenants.mqttaccess.io", "[Namespace] mqtt-mqtt-access-bundles"];
    assert!(kept.iter().all(|kept| told.contains(kept)), "{told}");
    assert!(stage.exists(&["mqtttenant", "acme", "-n", "mqtt"]).await);
    assert!(stage.exists(&["secret", "mqtt.acme", "-n", "mqtt-mqtt-access-bundles"]).await, "sidecars go on with it");
    for gone in [["deployment", "mqtt-access-operator"], ["serviceaccount", "mqtt-access-operator"]] {
        assert!(!stage.exists(&[&gone[..], &["-n", "mqtt"]].concat()).await, "{gone:?}");
    }
    assert!(!stage.exists(&["clusterrole", "mqtt.mqtt-access-operator"]).await);
    stage.install("mqtt-access", "mqtt", &[]).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(stage.exists(&["mqtttenant", "acme", "-n", "mqtt"]).await);
}

async fn nothing_is_left_where_nothing_is_to_be_kept(stage: &Stage) {
    let told = stage.helm(&["upgrade"], "mqtt-access", "mqtt", &["--set", "crds.keep=false"]).await;
    let told = told.unwrap_or_else(|error| panic!("{error}"));
    assert!(told.contains("WARNING: crds.keep=false. An uninstall deletes the CRDs"), "{told}");
    assert!(stage.exists(&["mqtttenant", "acme", "-n", "mqtt"]).await, "there is a resource");
    stage.helm(&["uninstall"], "mqtt-access", "mqtt", &[]).await.unwrap_or_else(|error| panic!("{error}"));
    wait::until("the CRDs and the bundles to be gone", SOON, async || {
        let crds = stage.kubectl(&["get", "crds", "-o", "name"]).await;
        let bundles = stage.exists(&["namespace", "mqtt-mqtt-access-bundles"]).await;
        (!crds.contains("mqttaccess.io") && !bundles).then_some(())
    })
    .await;
    let left = stage.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"]).await;
    assert!(!left.contains("mqtt-access"), "{left}");
}
