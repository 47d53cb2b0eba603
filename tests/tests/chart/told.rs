//! What the chart tells: alerts about metrics that there are, and notes with settings that are the documented ones.

use std::collections::BTreeSet;
use std::fs;

use mqtt_access_tests::first_light::root;

use super::rendered::{chart, everything, helm, render};

/// Names in expressions, without what a kind of metric adds to them.
fn metrics(expression: &str) -> BTreeSet<(String, String)> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let name = |word: &str| {
        let (program, name) = word.strip_prefix("mqtt_access_")?.split_once('_')?;
        let name = name.strip_suffix("_total").or_else(|| name.strip_suffix("_seconds")).unwrap_or(name);
        Some((program.to_owned(), name.to_owned()))
    };
    words.filter_map(name).collect()
}

#[tokio::test]
async fn alerts_are_about_metrics_that_there_are() {
    let source = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (operator, sidecar) = (source("operator/src/cluster/figures.rs"), source("sidecar/src/metrics.rs"));
    let rule = render(&[&everything()]).await.one("PrometheusRule", "everything");
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap().clone();
    let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
    for alert in &rules {
        assert!(names.insert(alert["alert"].as_str().unwrap()), "a second one of this name: {alert}");
        for (program, name) in metrics(alert["expr"].as_str().unwrap()) {
            let source = if program == "operator" { &operator } else { &sidecar };
            assert!(source.contains(&format!("(\"{name}\",")), "{program} has no metric `{name}`: {alert}");
            seen.insert(format!("{program} {name}"));
        }
        assert!(["critical", "warning", "info"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{alert}");
        assert!(alert["annotations"]["description"].is_string(), "{alert}");
    }
    assert!(seen.len() >= 8 && rules.len() > seen.len(), "{seen:?} of {}", rules.len());
    // Whose clients are denied everything, or would be after a restart, is told although everybody else is served.
    for metric in ["operator acl_sections_closed", "sidecar acl_sections_closed", "sidecar state_behind"] {
        assert!(seen.contains(metric), "no alert is about {metric}: {seen:?}");
    }
}

#[tokio::test]
async fn notes_have_the_settings_of_the_manual_and_a_sidecar_for_each_broker() {
    let (chart, everything) = (chart(), everything());
    let mut args =
        vec!["install", "release", chart.to_str().unwrap(), "--namespace=mqtt", "--dry-run=client", &everything];
    // Pods that are labelled for it get the same from the API server.
    args.extend(["--set", "injection.enabled=false"]);
    let told = helm(&args).await.unwrap_or_else(|error| panic!("{error}"));
    let (_, notes) = told.split_once("NOTES:\n").unwrap();
    let manual = fs::read_to_string(root().join("README.md")).unwrap();
    let settings: Vec<_> = notes.lines().map(str::trim).filter(|line| line.contains(" = ")).collect();
    assert!(settings.len() >= 7, "{notes}");
    settings.iter().for_each(|line| assert!(manual.lines().any(|other| other == *line), "not in README.md: {line}"));
    for broker in
        ["eu-west --namespace=mqtt-eu-west", "default --namespace=mqtt-release-bundles", "us --namespace=mqtt-us"]
    {
        let (name, namespace) = broker.split_once(' ').unwrap();
        assert!(notes.contains(&format!("Broker `{name}`: ")) && notes.contains(namespace), "{notes}");
    }
    assert!(notes.contains("emqx/replica") && notes.contains("registry.example/mqtt-access-sidecar:1.2.4"), "{notes}");
    assert!(notes.contains("WARNING: crds.keep=false"), "{notes}");
}
