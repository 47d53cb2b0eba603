//! `values.schema.json`, what it refuses, and what values come to.

use std::fs;

use mqtt_access_operator::config::Config;
use serde_json::{Value, json};

use super::rendered::{Rendered, chart, everything, refused, render};

/// Paths of all values that have no properties of their own.
pub(crate) fn leaves(root: &Value, schema: &Value, path: &str, found: &mut impl FnMut(&str)) {
    let schema =
        schema["$ref"].as_str().map_or(schema, |reference| root.pointer(reference.trim_start_matches('#')).unwrap());
    match (schema["properties"].as_object(), schema.get("items")) {
        (Some(properties), _) => {
            for (key, schema) in properties {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(root, schema, &path, found);
            }
        }
        (None, Some(items)) if items.get("$ref").is_some_and(|reference| reference == "#/$defs/broker") => {
            leaves(root, items, &format!("{path}[]"), found);
        }
        _ => found(path),
    }
}

#[test]
fn no_object_with_known_keys_takes_others() {
    fn check(schema: &Value, place: &str) {
        if schema.get("properties").is_some_and(Value::is_object) && schema.get("type").is_some() {
            assert_eq!(schema["additionalProperties"], false, "{place}");
        }
        let children: Vec<(String, &Value)> = match schema {
            Value::Object(map) => map.iter().map(|(key, child)| (key.clone(), child)).collect(),
            Value::Array(list) => list.iter().enumerate().map(|(index, child)| (index.to_string(), child)).collect(),
            _ => Vec::new(),
        };
        children.into_iter().for_each(|(key, child)| check(child, &format!("{place}/{key}")));
    }
    let schema = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    check(&serde_json::from_str(&schema).unwrap(), "");
}

#[tokio::test]
async fn wrong_values_are_refused_and_the_refusal_says_where_and_why() {
    let digest = "operator.image.digest=latest";
    let broker = r#"brokers=[{"name":"a","tenantNamespaceSelector":{}"#;
    for (set, told) in [
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("operator.replica=2", "at '/operator': additional properties 'replica' not allowed"),
        ("operator.replicas=two", "at '/operator/replicas': got string, want integer"),
        ("operator.replicas=0", "at '/operator/replicas': minimum: got 0, want 1"),
        ("crds.keep=yes", "at '/crds/keep': got string, want boolean"),
        ("operator.image.pullPolicy=never", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        (digest, "at '/operator/image/digest': 'latest' does not match pattern"),
        ("tenantQuota.aclPolicies=0", "at '/tenantQuota/aclPolicies': minimum: got 0, want 1"),
        ("tenantQuota.deviceCredentials=-1", "at '/tenantQuota/deviceCredentials': minimum: got -1, want 1"),
        ("tenantQuota.namespaces={a,a}", "at '/tenantQuota/namespaces': items at 0 and 1 are equal"),
        ("scope.namespaces={Default}", "at '/scope/namespaces/0'"),
        ("tokenService.port=9091", "at '/tokenService/port': 'not' failed"),
        ("tokenService.certificates.secretName=x", "additional properties 'certificates' not allowed"),
        ("operator.resources=small", "at '/operator/resources': got string, want object"),
    ] {
        let refusal = refused(&["--set", set]).await;
        assert!(refusal.contains("values don't meet the specifications of the schema"), "{set}: {refusal}");
        assert!(refusal.contains(told), "{set}: {refusal}");
    }
    for (set, told) in [
        (r#"brokers=[{"tenantNamespaceSelector":{}}]"#.to_owned(), "at '/brokers/0': missing property 'name'"),
        (r#"brokers=[{"name":"a"}]"#.to_owned(), "at '/brokers/0': missing property 'tenantNamespaceSelector'"),
        ("brokers=[]".to_owned(), "at '/brokers': minItems: got 0, want 1"),
        (format!("{broker},\"namespace\":\"b\"}}]"), "at '/brokers/0': additional properties 'namespace' not allowed"),
        (format!("{broker},\"aclDelivery\":\"inline\"}}]"), "at '/brokers/0/aclDelivery': value must be one of"),
        (format!("{broker},\"scram\":{{\"iterations\":1}}}}]"), "at '/brokers/0/scram/iterations': minimum: got 1"),
        (
            format!("{broker},\"sidecar\":{{\"serviceAccounts\":[{{\"name\":\"x\"}}]}}}}]"),
            "missing property 'namespace'",
        ),
    ] {
        let refusal = refused(&["--set-json", &set]).await;
        assert!(refusal.contains(told), "{set}: {refusal}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_together_are_refused() {
    let broker = |name: &str, more: &str| format!("{{\"name\":\"{name}\",\"tenantNamespaceSelector\":{{}}{more}}}");
    let (a, same) = (broker("a", ",\"bundleNamespace\":\"x\""), broker("b", ",\"bundleNamespace\":\"x\""));
    for (sets, told) in [
        (vec![format!("brokers=[{a},{a}]")], "brokers[1] repeats the name or the bundle namespace"),
        (vec![format!("brokers=[{a},{same}]")], "brokers[1] repeats the name or the bundle namespace"),
        (
            vec![format!("brokers=[{}]", broker("a", ",\"bundleNamespace\":\"mqtt\""))],
            "is the namespace of the release",
        ),
        (vec![format!("brokers=[{a}]"), "scope.namespaces=[\"x\"]".to_owned()], "is one of scope.namespaces"),
        (vec![format!("brokers=[{}]", broker(&"a".repeat(63), ""))], "is no name for a namespace, set one"),
        (
            vec![
                r#"brokers=[{"name":"a","tenantNamespaceSelector":{"matchLabels":{"a":"b"}}}]"#.to_owned(),
                "scope.namespaces=[\"x\"]".to_owned(),
            ],
            "brokers[0].tenantNamespaceSelector must be {} beside scope.namespaces",
        ),
        (vec!["tokenService.enabled=true".to_owned()], "name a kubernetes.io/tls Secret in `secretName`"),
        (
            vec![
                "tokenService.enabled=true".to_owned(),
                "tokenService.certificate.certManager.enabled=true".to_owned(),
            ],
            "issuerRef.name is empty: name the issuer",
        ),
        (vec!["test.broker=\"other\"".to_owned()], "test.broker: `other` is none of brokers[].name"),
        (
            vec!["test.namespace=\"other\"".to_owned(), "scope.namespaces=[\"x\"]".to_owned()],
            "test.namespace: `other` is none of scope.namespaces",
        ),
    ] {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set.as_str()]).collect();
        let refusal = refused(&args).await;
        assert!(refusal.contains(told), "{sets:?}: {refusal}");
    }
}

/// The operator's configuration, as the operator reads it.
fn config(rendered: &Rendered, name: &str) -> Config {
    let map = rendered.one("ConfigMap", name);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, map["data"]["config.yaml"].as_str().unwrap()).unwrap();
    Config::load(Some(&file)).unwrap()
}

#[tokio::test]
async fn the_operator_takes_its_configuration() {
    let default = config(&render(&[]).await, "release-mqtt-access-operator");
    let usual = &Config::default().brokers[0];
    let mut broker = default.brokers[0].clone();
    assert_eq!((default.brokers.len(), broker.bundle_namespace.as_str()), (1, "mqtt-release-bundles"));
    broker.bundle_namespace.clone_from(&usual.bundle_namespace);
    assert_eq!((&broker, default.token_service), (usual, None), "the defaults are those of the program");
    let lease = default.leader_election.unwrap();
    assert_eq!((lease.namespace.as_deref(), lease.name.as_str()), (Some("mqtt"), "release-mqtt-access-operator"));
    assert_eq!((lease.lease_duration_seconds, default.namespaces), (15, None));

    let scoped = render(&["--set", "scope.namespaces={a,b}"]).await;
    assert_eq!(config(&scoped, "release-mqtt-access-operator").namespaces, Some(vec!["a".to_owned(), "b".to_owned()]));

    let all = config(&render(&[&everything()]).await, "everything-operator");
    let namespaces: Vec<_> = all.brokers.iter().map(|broker| broker.bundle_namespace.as_str()).collect();
    assert_eq!(namespaces, ["mqtt-eu-west", "mqtt-release-bundles", "mqtt-us"]);
    let [eu_west, second, third] = &all.brokers[..] else { panic!("{all:?}") };
    assert!(eu_west.allow_dollar_topics && eu_west.scram.iterations == 10000, "{eu_west:?}");
    assert_eq!(json!(eu_west.tenant_namespace_selector)["matchLabels"], json!({"mqtt": "eu-west"}));
    let files = [eu_west, second, third].map(|broker| broker.acl_files.as_ref().map(Vec::len));
    assert_eq!(files, [Some(1), Some(0), None]);
    assert_eq!(all.token_service.unwrap().listen.to_string(), "0.0.0.0:9443");
}

#[tokio::test]
async fn every_option_is_in_what_comes_of_it() {
    let rendered = render(&[&everything()]).await;
    let deployment = rendered.one("Deployment", "everything-operator");
    let pod = &deployment["spec"]["template"];
    let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
    let digest =
        "registry.example/mqtt-access-operator@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (found, expected) in [
        (&deployment["spec"]["replicas"], json!(3)),
        (&container["image"], json!(digest)),
        (&container["imagePullPolicy"], json!("Never")),
        (&container["args"][3], json!("--help")),
        (&container["env"][1]["name"], json!("RUST_LOG")),
        (&container["volumeMounts"][2]["name"], json!("scratch")),
        (&container["resources"]["limits"]["memory"], json!("1Gi")),
        (&container["securityContext"]["runAsUser"], json!(7)),
        (&spec["volumes"][2]["name"], json!("scratch")),
        (&spec["volumes"][1]["secret"]["secretName"], json!("token-tls")),
        (&spec["serviceAccountName"], json!("chosen")),
        (&spec["hostNetwork"], json!(true)),
        (&spec["imagePullSecrets"][0]["name"], json!("registry")),
        (&spec["securityContext"]["fsGroup"], json!(1)),
        (&spec["affinity"]["nodeAffinity"], json!({"preferredDuringSchedulingIgnoredDuringExecution": []})),
        (&spec["nodeSelector"]["disk"], json!("ssd")),
        (&spec["tolerations"][0]["key"], json!("edge")),
        (&spec["priorityClassName"], json!("system-cluster-critical")),
        (&spec["topologySpreadConstraints"][0]["labelSelector"], deployment["spec"]["selector"].clone()),
        (&pod["metadata"]["labels"]["pod"], json!("label")),
        (&pod["metadata"]["annotations"]["pod"], json!("annotation")),
    ] {
        assert_eq!(*found, expected);
    }
}

#[tokio::test]
async fn every_option_is_in_what_stands_beside_the_operator() {
    let rendered = render(&[&everything()]).await;
    assert_eq!(rendered.one("PodDisruptionBudget", "everything-operator")["spec"]["maxUnavailable"], "50%");
    let policy = &rendered.one("NetworkPolicy", "everything-operator")["spec"];
    assert_eq!(
        policy["egress"][0],
        json!({"ports": [{"port": 16443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]})
    );
    assert_eq!(policy["ingress"][1]["from"], json!([{"podSelector": {}}]));
    let monitor = rendered.one("ServiceMonitor", "everything-operator");
    assert_eq!(
        (&monitor["metadata"]["labels"]["release"], &monitor["spec"]["endpoints"][0]["interval"]),
        (&json!("prometheus"), &json!("10s"))
    );
    let service = rendered.one("Service", "everything-token-service");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    let certificate = &rendered.one("Certificate", "everything-token-service")["spec"];
    assert_eq!((&certificate["secretName"], &certificate["duration"]), (&json!("token-tls"), &json!("720h")));
    assert_eq!(
        certificate["dnsNames"],
        json!([
            "everything-token-service.mqtt.svc",
            "everything-token-service.mqtt",
            "everything-token-service",
            "mqtt.example.org"
        ])
    );
    let test = &rendered.one("Pod", "everything-test")["spec"];
    assert_eq!(test["initContainers"][0]["image"], "registry.example/mqtt-access-sidecar:1.2.4");
    assert_eq!(test["initContainers"][0]["args"][2], "--namespace=mqtt-us");
    assert_eq!(test["containers"][0]["args"][1], "--namespace=throwaway");
    let namespaces: Vec<_> =
        rendered.of_kind("Namespace").iter().map(|found| found["metadata"]["name"].clone()).collect();
    assert_eq!(namespaces, [json!("mqtt-eu-west"), json!("mqtt-release-bundles")], "the third exists already");
}

#[tokio::test]
async fn pods_are_replaced_when_their_configuration_changes_and_only_then() {
    let checksum = async |args: &[&str]| {
        let deployment = render(args).await.one("Deployment", "release-mqtt-access-operator");
        deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"].as_str().unwrap().to_owned()
    };
    let before = checksum(&[]).await;
    assert_eq!(checksum(&["--set", "operator.replicas=1"]).await, before);
    assert_ne!(checksum(&["--set", "operator.leaseDurationSeconds=16"]).await, before);
    assert!(render(&["--set", "operator.replicas=1"]).await.of_kind("PodDisruptionBudget").is_empty());
    assert_eq!(
        render(&[]).await.of_kind("PodDisruptionBudget")[0]["spec"]["unhealthyPodEvictionPolicy"],
        "AlwaysAllow"
    );
}

/// Numbers from a hundred thousand on must not come out as `2e+05`.
#[tokio::test]
async fn every_namespace_of_tenants_has_a_quota() {
    let quotas = async |args: &[&str]| -> Vec<Value> { render(args).await.of_kind("ResourceQuota") };
    assert_eq!(quotas(&[]).await, Vec::<Value>::new(), "no namespace is known");
    let hard = |tenants: &str, devices: &str, policies: &str| {
        json!({"count/mqtttenants.mqttaccess.io": tenants, "count/devicecredentials.mqttaccess.io": devices,
            "count/aclpolicies.mqttaccess.io": policies})
    };
    let of = |quotas: &[Value]| -> Vec<(Value, Value)> {
        quotas.iter().map(|quota| (quota["metadata"]["namespace"].clone(), quota["spec"]["hard"].clone())).collect()
    };
    let scoped = quotas(&["--set", "scope.namespaces={a,b}"]).await;
    let defaults = || hard("100", "200000", "2000");
    assert_eq!(of(&scoped), [(json!("a"), defaults()), (json!("b"), defaults())]);
    assert_eq!(quotas(&["--set", "scope.namespaces={a},tenantQuota.enabled=false"]).await, Vec::<Value>::new());
    let own = quotas(&["--set", "scope.namespaces={a,b},tenantQuota.namespaces={b}"]).await;
    assert_eq!(of(&own), [(json!("b"), defaults())]);
    let everything = quotas(&[&everything()]).await;
    let set = || hard("1", "1000000", "10");
    assert_eq!(of(&everything), [(json!("acme"), set()), (json!("globex"), set())]);
}
