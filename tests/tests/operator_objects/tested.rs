//! Tests of policies: the condition, the event, and that they change nothing that is in force. And `explain` on a cluster.

use std::time::Duration;

use mqtt_access_tests::operator_fixture::{
    Cluster, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace, tenant,
};
use mqtt_access_tests::{Program, wait};
use serde_json::{Value, json};

const NAMESPACE: &str = "tested";

/// Type, reason and note of the events about a policy, oldest first.
async fn events(cluster: &Cluster, policy: &str) -> Vec<(String, String, String)> {
    let found = cluster.read(&format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")).await.expect("a list");
    let mut found: Vec<Value> = found["items"].as_array().expect("its items").clone();
    found.retain(|event| event["regarding"]["kind"] == "AclPolicy" && event["regarding"]["name"] == policy);
    found.sort_by_key(|event| event["eventTime"].to_string());
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    found.iter().map(|event| (text(event, "type"), text(event, "reason"), text(event, "note"))).collect()
}

fn with_tests(tests: &Value) -> Value {
    json!({ "spec": { "tests": tests } })
}

pub(crate) async fn tests_of_policies_report_and_change_nothing(cluster: &Cluster) {
    let dev = client_id(NAMESPACE, "t", "d");
    let asks = |topic: &str, expect: &str| json!({"name": "of d", "as": {"clientId": dev}, "publish": topic, "expect": expect});
    let own = |name: &str| allow(NAMESPACE, "t", name, &["tested/t/${client_attrs.device_id}/#"]);
    let good = json!([asks("tested/t/d/x", "Allow"), asks("tested/t/e/x", "Deny")]);
    cluster.apply([namespace(NAMESPACE), tenant(NAMESPACE, "t"), device(NAMESPACE, "t", "d"), own("plain")]).await;
    cluster.wait_device(NAMESPACE, "d", "Ready").await;
    cluster.apply([edited(own("own"), &with_tests(&good))]).await;
    let told = cluster.wait_reason(POLICIES, NAMESPACE, "own", "TestsPassed", "Passed").await;
    assert_eq!((told.status.as_str(), told.message.as_str()), ("True", "2 of 2 tests got the answer that they expect"));
    assert_eq!(cluster.condition(POLICIES, NAMESPACE, "plain", "TestsPassed").await, None);
    assert_eq!(events(cluster, "own").await, []);

    // Another policy makes them fail: all policies of the tenant answer.
    let wide = allow(NAMESPACE, "t", "wide", &["tested/t/#"]);
    cluster.apply([wide]).await;
    let told = cluster.wait_reason(POLICIES, NAMESPACE, "own", "TestsPassed", "Failed").await;
    let failure = "tests[1] (of d): expected Deny, got Allow by tested/wide rules[0], mode DeviceCredential";
    assert_eq!((told.status.as_str(), told.message), ("False", format!("1 of 2 tests failed; {failure}")));
    let credentials = cluster.credentials(NAMESPACE, "d").await;
    assert_eq!(cluster.bundles().await.publish(&credentials, "tested/t/e/x"), "Allow tested/wide rules[0]");
    let warned = events(cluster, "own").await;
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!((warned[0].0.as_str(), warned[0].1.as_str()), ("Warning", "TestsFailed"));
    assert!(warned[0].2.contains(failure), "{warned:?}");

    // A suspension makes them fail in another way: the condition tells it, and there is no second event.
    cluster.patch(TENANTS, NAMESPACE, "t", &json!({"spec": {"suspended": true}})).await;
    wait::until("the suspension to be told", SOON, async || {
        let told = cluster.condition(POLICIES, NAMESPACE, "own", "TestsPassed").await?;
        told.message.contains("tests[0] (of d): expected Allow, got Deny by Suspended").then_some(())
    })
    .await;
    cluster.patch(TENANTS, NAMESPACE, "t", &json!({"spec": {"suspended": false}})).await;
    cluster.wait_reason(TENANTS, NAMESPACE, "t", "Ready", "Ready").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(events(cluster, "own").await.len(), 1);

    cluster.delete(POLICIES, NAMESPACE, "wide").await;
    cluster.wait_reason(POLICIES, NAMESPACE, "own", "TestsPassed", "Passed").await;
    cluster.patch(POLICIES, NAMESPACE, "own", &with_tests(&json!([]))).await;
    cluster.wait_reason(POLICIES, NAMESPACE, "own", "TestsPassed", "NoTests").await;
    let told: Vec<_> = events(cluster, "own").await.into_iter().map(|(kind, reason, _)| (kind, reason)).collect();
    assert_eq!(told.last(), Some(&("Normal".to_owned(), "TestsPassed".to_owned())), "{told:?}");

    // One that stays and fails, for the restart to say nothing about.
    let nobody = json!([{"as": {"clientId": client_id(NAMESPACE, "t", "nobody")}, "publish": "a", "expect": "Deny"}]);
    cluster.apply([edited(own("nobody"), &with_tests(&nobody))]).await;
    let told = cluster.wait_reason(POLICIES, NAMESPACE, "nobody", "TestsPassed", "Failed").await;
    assert!(told.message.contains("got no answer: no DeviceCredential has the client ID"), "{told:?}");
    let stray = edited(allow("homeless-tests", "none", "own", &["a"]), &with_tests(&nobody));
    cluster.apply([namespace("homeless-tests"), stray]).await;
    let told = cluster.wait_reason(POLICIES, "homeless-tests", "own", "TestsPassed", "NotEvaluated").await;
    assert_eq!(told.status, "Unknown");
}

/// As somebody who may list the three kinds, and no Secrets.
pub(crate) async fn explain_reads_lists_and_no_secrets(cluster: &Cluster) {
    let (own, there) = (allow("asked", "t", "own", &["asked/t/${client_attrs.device_id}/#"]), namespace("asked"));
    cluster.apply([there, tenant("asked", "t"), device("asked", "t", "d"), own]).await;
    cluster.wait_device("asked", "d", "Ready").await;
    cluster.wait_reason(POLICIES, "asked", "own", "Compiled", "Compiled").await;
    for args in [
        &["create", "serviceaccount", "-n", "asked", "reader"][..],
        &["create", "clusterrole", "asker", "--verb=list", "--resource=mqtttenants,devicecredentials,aclpolicies"],
        &["create", "clusterrolebinding", "asker", "--clusterrole=asker", "--serviceaccount=asked:reader"],
    ] {
        cluster.plane.kubectl(args).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let kubeconfig = cluster.plane.service_account_kubeconfig("asked", "reader").await;
    let kubeconfig = kubeconfig.to_str().unwrap();
    let dev = client_id("asked", "t", "d");
    let ask = async |topic: &str| {
        let args = ["explain", "--client", &dev, "--format", "json", "publish", topic];
        let program = Program::start("mqtt-access-operator", &args, &[("KUBECONFIG", kubeconfig)]);
        let status = program.wait_end(SOON).await;
        let answer: Value = serde_json::from_str(&program.stdout())
            .unwrap_or_else(|error| panic!("{error}: {}{}", program.stdout(), program.stderr()));
        (status.code(), answer)
    };
    let (code, answer) = ask("asked/t/d/x").await;
    assert_eq!((code, &answer["clients"][0]["cause"]), (Some(0), &json!("asked/own rules[0]")));
    assert_eq!(answer.get("notes"), None, "{answer}");
    let status = cluster.get(TENANTS, "asked", "t").await.unwrap()["status"]["bundle"].clone();
    assert_eq!(answer["bundle"], status);
    let (code, answer) = ask("asked/t/e/x").await;
    assert_eq!((code, &answer["clients"][0]["near"][0]["why"]), (Some(4), &json!("OtherValue")));
}
