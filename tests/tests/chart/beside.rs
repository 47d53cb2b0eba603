//! Two releases in one cluster, and the people in it.

use std::time::Duration;

use mqtt_access_tests::wait;

use super::stage::{Stage, nothing_was_forbidden};
use mqtt_access_tests::pods::{helm_test, operator};

const SOON: Duration = Duration::from_mins(1);

/// The second one is of another broker and sees one namespace, by Roles only.
pub(crate) async fn two_releases_leave_each_other_alone(stage: &Stage) {
    let values = [
        "--set",
        "brokers[0].name=second,scope.namespaces={throwaway}",
        "--set-json",
        "brokers[0].tenantNamespaceSelector={}",
    ];
    let refusal = stage.install("mqtt-access", "other", &values).await.unwrap_err().stderr;
    assert!(refusal.contains("exists and cannot be imported into the current release"), "{refusal}");
    let without = [&values[..], &["--set", "crds.enabled=false,admissionPolicies.enabled=true"]].concat();
    stage.install("mqtt-access", "other", &without).await.unwrap_or_else(|error| panic!("{error}"));
    let mark = stage.plane.audit_mark().await;
    let running = [
        operator(&stage.plane, "mqtt", "mqtt-access-operator", stage.folder.path()).await,
        operator(&stage.plane, "other", "mqtt-access-operator", stage.folder.path()).await,
    ];
    let told = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    wait::until("the first release to serve its tenant", SOON, async || {
        (stage.kubectl(&["get", "mqtttenant", "acme", "-n", "mqtt", "-o", told]).await == "True").then_some(())
    })
    .await;
    let (verdict, said) = helm_test(&stage.plane, "mqtt-access", "other").await;
    verdict.unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(said.contains("in the namespace `throwaway`, of the broker `second`"), "{said}");
    let bundles = async |namespace: &str| stage.kubectl(&["get", "secrets", "-n", namespace, "-o", "name"]).await;
    assert!(bundles("mqtt-mqtt-access-bundles").await.contains("secret/mqtt.acme"));
    assert!(!bundles("other-mqtt-access-second-bundles").await.contains("acme"), "the tenant is another broker's");
    nothing_was_forbidden(stage, mark).await;
    drop(running);
    stage.helm(&["uninstall"], "mqtt-access", "other", &[]).await.unwrap_or_else(|error| panic!("{error}"));
    let left = stage.kubectl(&["get", "clusterroles,validatingadmissionpolicies", "-o", "name"]).await;
    assert!(left.contains("clusterrole.rbac.authorization.k8s.io/mqtt.mqtt-access-operator"), "{left}");
    assert!(!left.contains("other.mqtt-access"), "{left}");
    assert!(stage.exists(&["mqtttenant", "acme", "-n", "mqtt"]).await);
}

pub(crate) async fn people_have_what_their_roles_say(stage: &Stage) {
    for (role, user) in
        [("view", "viewer"), ("edit", "editor"), ("admin", "owner"), ("mqtt.mqtt-access-tenants", "platform")]
    {
        let (role, user) = (format!("--clusterrole={role}"), user.to_owned());
        stage.kubectl(&["create", "rolebinding", &user, "-n", "mqtt", &role, &format!("--user={user}")]).await;
    }
    let may = async |user: &str, verb: &str, resource: &str, part: &str| {
        let part = format!("--subresource={part}");
        let asked = stage.plane.kubectl(&["auth", "can-i", verb, resource, &part, "-n", "mqtt", "--as", user]).await;
        asked.is_ok_and(|answer| answer.trim() == "yes")
    };
    // A controller sums the roles up.
    wait::until("the role `admin` to have what it is given", SOON, async || {
        may("owner", "create", "aclpolicies.mqttaccess.io", "").await.then_some(())
    })
    .await;
    for (user, verb, kind, expected) in [
        ("viewer", "get", "mqtttenants", true),
        ("viewer", "watch", "aclpolicies", true),
        ("viewer", "create", "devicecredentials", false),
        ("editor", "create", "devicecredentials", true),
        ("editor", "delete", "aclpolicies", true),
        ("editor", "get", "mqtttenants", true),
        ("editor", "create", "mqtttenants", false),
        ("editor", "update", "mqtttenants", false),
        ("owner", "delete", "devicecredentials", true),
        ("owner", "patch", "mqtttenants", false),
        ("owner", "get", "mqtttenants/tokens", false),
        ("platform", "create", "mqtttenants", true),
        ("platform", "create", "devicecredentials", false),
    ] {
        let (kind, part) = kind.split_once('/').unwrap_or((kind, ""));
        let resource = format!("{kind}.mqttaccess.io");
        assert_eq!(may(user, verb, &resource, part).await, expected, "{user} {verb} {resource}/{part}");
    }
    assert!(!may("viewer", "get", "secrets", "").await, "no look at keys");
}
