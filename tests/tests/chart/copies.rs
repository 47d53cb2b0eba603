//! What stands in the chart because Helm reads nothing outside of it: copies of files of the source tree.

use std::fs;
use std::path::Path;

use mqtt_access_tests::first_light::root;
use serde_json::{Value, json};

use super::rendered::{chart, render};

/// File in the chart, file that it is a copy of.
const COPIES: [(&str, &str); 7] = [
    ("LICENSE", "LICENSE"),
    ("files/admission.yaml", "examples/cluster/admission.yaml"),
    ("files/brokers/mosquitto.conf", "operator/src/broker_config/mosquitto.conf"),
    ("files/brokers/rabbitmq.conf", "operator/src/broker_config/rabbitmq.conf"),
    ("files/crds/mqttaccess.io_aclpolicies.yaml", "crds/mqttaccess.io_aclpolicies.yaml"),
    ("files/crds/mqttaccess.io_devicecredentials.yaml", "crds/mqttaccess.io_devicecredentials.yaml"),
    ("files/crds/mqttaccess.io_mqtttenants.yaml", "crds/mqttaccess.io_mqtttenants.yaml"),
];

/// Writes a generated file where `UPDATE_CHART` is set; fails where it differs otherwise.
pub(crate) fn is_generated(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|committed| committed == text) {
        return;
    }
    assert!(std::env::var_os("UPDATE_CHART").is_some(), "{} is out of date: run `make chart`", file.display());
    fs::write(file, text).unwrap();
}

#[test]
fn files_of_the_chart_are_those_of_the_source_tree() {
    for (copy, original) in COPIES {
        is_generated(&chart().join(copy), &fs::read_to_string(root().join(original)).unwrap());
    }
    let crds = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> =
            names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "yaml")).collect();
        names.sort();
        names
    };
    assert_eq!(crds(&chart().join("files/crds")), crds(&root().join("crds")), "every CRD is a copy");
}

/// Helm writes 2.0 as 2.
fn whole(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, whole(value))).collect(),
        Value::Array(list) => list.into_iter().map(whole).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other,
    }
}

#[tokio::test]
async fn crds_are_those_of_the_source_tree_and_kept_unless_told_otherwise() {
    let original = |name: &str| {
        let (group, plural) = ("mqttaccess.io", name.split('.').next().unwrap());
        let text = fs::read_to_string(root().join(format!("crds/{group}_{plural}.yaml"))).unwrap();
        super::rendered::documents(&text).remove(0)
    };
    for (args, kept) in [(&[][..], Some("keep")), (&["--set", "crds.keep=false"], None)] {
        let mut crds = render(args).await.of_kind("CustomResourceDefinition");
        assert_eq!(crds.len(), 3, "{args:?}");
        for crd in &mut crds {
            let policy = crd.pointer("/metadata/annotations/helm.sh~1resource-policy").and_then(|found| found.as_str());
            assert_eq!(policy, kept, "{args:?}");
            let metadata = crd["metadata"].as_object_mut().unwrap();
            metadata.remove("annotations");
            metadata.remove("labels");
            let name = metadata["name"].as_str().unwrap().to_owned();
            assert!(whole(crd.clone()) == whole(original(&name)), "{name} differs from crds/");
        }
    }
    let none = render(&["--set", "crds.enabled=false"]).await;
    assert!(none.of_kind("CustomResourceDefinition").is_empty());
}

#[tokio::test]
async fn admission_policies_are_those_of_the_examples_under_names_of_the_release() {
    assert!(render(&[]).await.of_kind("ValidatingAdmissionPolicy").is_empty());
    let rendered = render(&["--set", "admissionPolicies.enabled=true"]).await;
    let text = fs::read_to_string(root().join("examples/cluster/admission.yaml")).unwrap();
    let originals = super::rendered::documents(&text);
    for mut original in originals {
        let kind = original["kind"].as_str().unwrap().to_owned();
        let renamed =
            original["metadata"]["name"].as_str().unwrap().replacen("mqtt-access", "mqtt.release-mqtt-access", 1);
        original["metadata"]["name"] = renamed.clone().into();
        if kind == "ValidatingAdmissionPolicyBinding" {
            original["spec"]["policyName"] = renamed.clone().into();
        }
        let mut found = rendered.one(&kind, &renamed);
        found["metadata"].as_object_mut().unwrap().remove("labels");
        assert_eq!(found, original);
    }
}
