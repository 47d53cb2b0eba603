//! `helm template`, and what every rendering must be.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mqtt_access_operator::manifest::yaml;
use mqtt_access_tests::first_light::root;
use mqtt_access_tests::kubectl::{Kubectl, KubectlError};
use serde_json::Value;

/// The chart.
pub(crate) fn chart() -> PathBuf {
    root().join("charts/mqtt-access")
}

/// `--values` with every option at another value than its default.
pub(crate) fn everything() -> String {
    format!("--values={}", root().join("tests/data/chart/everything.yaml").display())
}

/// The objects of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents = yaml::documents(text).into_iter().map(|document| document.unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// What a release comes to.
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    /// All objects of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.0.iter().filter(|object| object["kind"] == kind).cloned().collect()
    }

    /// The object of that kind and name.
    pub(crate) fn one(&self, kind: &str, name: &str) -> Value {
        let names = || self.of_kind(kind).into_iter().map(|object| object["metadata"]["name"].clone());
        let found = self.of_kind(kind).into_iter().find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} `{name}` among {:?}", names().collect::<Vec<_>>()))
    }
}

/// Runs helm without a cluster.
pub(crate) async fn helm(args: &[&str]) -> Result<String, KubectlError> {
    let home = tempfile::tempdir().unwrap();
    Kubectl::helm(&home.path().join("no-kubeconfig"), home.path()).run(args).await
}

async fn template(args: &[&str]) -> Result<String, KubectlError> {
    let chart = chart();
    helm(&[&["template", "release", chart.to_str().unwrap(), "--namespace=mqtt"], args].concat()).await
}

/// What a release `release` in the namespace `mqtt` comes to.
pub(crate) async fn render(args: &[&str]) -> Rendered {
    Rendered(documents(&template(args).await.unwrap_or_else(|error| panic!("{error}"))))
}

/// Why helm does not render it.
pub(crate) async fn refused(args: &[&str]) -> String {
    match template(args).await {
        Ok(_) => panic!("{args:?} is not refused"),
        Err(error) => error.stderr,
    }
}

#[tokio::test]
async fn lint_finds_nothing() {
    let (chart, everything) = (chart(), everything());
    for args in [&[][..], &[everything.as_str()]] {
        let told = helm(&[&["lint", "--strict", "--quiet", chart.to_str().unwrap()], args].concat()).await;
        assert_eq!(told.unwrap_or_else(|error| panic!("{error}{}", error.stdout)).trim(), "", "{args:?}");
    }
}

#[tokio::test]
async fn every_object_is_named_once_and_labelled() {
    for args in [
        &[][..],
        &[everything().as_str()],
        &["--set", "scope.namespaces={a,b},tokenService.enabled=true,tokenService.certificate.secretName=tls"],
    ] {
        let rendered = render(args).await;
        let mut names = BTreeSet::new();
        for object in &rendered.0 {
            let (kind, metadata) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            let name = metadata["name"].as_str().unwrap();
            assert!(names.insert((kind, metadata["namespace"].as_str(), name)), "{kind} {name} is there twice");
            if kind == "ConfigMap" && metadata["labels"].is_null() {
                assert!(["release-extra", "release-text"].contains(&name), "{object}");
                continue;
            }
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "release", "{kind} {name}");
            assert!(metadata["labels"]["app.kubernetes.io/component"].is_string(), "{kind} {name}");
            if args.len() == 1 {
                assert_eq!(metadata["labels"]["team"], "platform", "{kind} {name}");
                assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "access", "{kind} {name}");
            }
        }
    }
}

#[tokio::test]
async fn objects_of_two_releases_never_have_one_name() {
    let names = async |release: &str, namespace: &str| -> BTreeSet<String> {
        let (chart, namespace) = (chart(), format!("--namespace={namespace}"));
        let options = "crds.enabled=false,admissionPolicies.enabled=true,tokenService.enabled=true,tokenService.certificate.secretName=t";
        let text = helm(&["template", release, chart.to_str().unwrap(), &namespace, "--set", options]).await.unwrap();
        let name = |object: &Value| {
            let metadata = &object["metadata"];
            format!("{} {}/{}", object["kind"], metadata["namespace"], metadata["name"])
        };
        // The default names of bundle namespaces are read by people and may collide; Helm then refuses the second release.
        documents(&text).iter().filter(|object| object["kind"] != "Namespace").map(name).collect()
    };
    let releases = [
        ("mqtt-access", "mqtt-access"),
        ("mqtt-access", "other"),
        ("second", "mqtt-access"),
        ("a-b", "c"),
        ("b", "c-a"),
    ];
    let mut all = BTreeSet::new();
    for (release, namespace) in releases {
        let own = names(release, namespace).await;
        assert!(own.len() > 20, "{own:?}");
        let shared: Vec<_> = all.intersection(&own).cloned().collect();
        assert!(shared.is_empty(), "{release} in {namespace} shares {shared:?}");
        all.extend(own);
    }
}
