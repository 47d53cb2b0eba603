//! What the resources may hold: the committed CRDs, and one corpus of cases for the offline commands and a real API server.
//!
//! The corpus is `tests/data/crds/`; both must accept and refuse the same objects, for the same reason, and fill in the same
//! defaults.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test"
)]

mod crds {
    pub(crate) mod api_server;
    pub(crate) mod cases;
    pub(crate) mod rules;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crds::api_server::ApiServer;
use crds::cases::{Case, Expected, corpus};
use crds::rules::{Rule, rules};
use mqtt_access_core::template::Topic;
use mqtt_access_crds::{Bounds, Limits};
use mqtt_access_operator::manifest::definitions::definitions;
use mqtt_access_operator::manifest::validate::{Definitions, Kind};
use mqtt_access_operator::manifest::{self, Fault};
use mqtt_access_tests::ControlPlane;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    for definition in definitions().unwrap() {
        let file = root().join("crds").join(&definition.file_name);
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        if std::env::var_os("UPDATE_CRDS").is_some() {
            std::fs::write(&file, &definition.yaml).unwrap();
        } else {
            assert!(
                committed == definition.yaml,
                "{} is out of date: run this test with UPDATE_CRDS=1",
                file.display()
            );
        }
    }
}

#[test]
fn the_page_of_limits_says_what_the_schema_does() {
    let page = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    for (name, Bounds { default, min, max }) in Limits::BOUNDS {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md lacks `{name}`"));
        assert!(row.contains(&format!("| {default} | {min} | {max} |")), "{row}");
    }
}

#[test]
fn every_case_ends_offline_as_it_says() {
    let cases = corpus();
    let failures: Vec<_> =
        cases.iter().zip(offline(&cases)).filter_map(|(case, outcome)| unexpected(case, &outcome)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_has_an_object_that_passes_and_one_that_is_refused() {
    let cases = corpus();
    let outcomes: Vec<_> = offline(&cases).into_iter().zip(cases).collect();
    for rule in rules() {
        let refuses = |(outcome, case): &(Outcome, Case)| match outcome {
            Err(faults) => case.kind == rule.kind && faults.iter().any(|fault| rule.gave(fault)),
            Ok(_) => false,
        };
        let passes = |(outcome, case): &(Outcome, Case)| {
            let updated = !rule.on_update || case.update.is_some();
            outcome.as_ref().is_ok_and(|object| case.kind == rule.kind && updated && rule.applies_to(object))
        };
        assert!(outcomes.iter().any(refuses), "no case is refused by {rule:?}");
        assert!(outcomes.iter().any(passes), "no case passes {rule:?}");
    }
}

/// What the schema lets through must be what the core can compile, and what it refuses must be refused for a reason.
#[test]
fn the_schema_and_the_core_know_the_same_topics() {
    const PIECES: [&str; 12] =
        ["a", "/", "+", "#", "$", "}", "${$}", "${clientid}", "${client_attrs.a-1}", "${client_attrs.", "${b}", "eq "];
    const MORE: [&str; 6] = ["{", "$$", "${username}", "${username", "${client_attrs.-}", "\u{7f}"];
    let shorter = || std::iter::once("").chain(PIECES);
    let triples = shorter().flat_map(|a| shorter().flat_map(move |b| shorter().map(move |c| [a, b, c].concat())));
    let pairs = MORE.into_iter().flat_map(|a| shorter().flat_map(move |b| [[a, b].concat(), [b, a].concat()]));
    let topics: BTreeSet<String> = triples.chain(pairs).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    let definitions = Definitions::new();
    for topics in topics.chunks(32 * 64) {
        let faulty = faulty_topics(&definitions, topics);
        for (index, topic) in topics.iter().enumerate() {
            let parsed = Topic::parse(topic);
            assert_eq!(
                parsed.is_err(),
                faulty.contains(&(index / 32, index % 32)),
                "`{topic}`: the core says {parsed:?}"
            );
        }
    }
}

/// Rule and position of every topic that the definition refuses.
fn faulty_topics(definitions: &Definitions, topics: &[String]) -> BTreeSet<(usize, usize)> {
    let rules = topics.chunks(32).map(|topics| json!({ "effect": "Deny", "actions": ["Publish"], "topics": topics }));
    let spec =
        json!({ "tenantRef": { "name": "a" }, "subjects": [{ "everyone": true }], "rules": rules.collect::<Vec<_>>() });
    let policy = json!({ "apiVersion": "mqttaccess.io/v1alpha1", "kind": "AclPolicy", "metadata": { "name": "a" }, "spec": spec });
    let faults = definitions.check(Kind::AclPolicy, policy, None).err().unwrap_or_default();
    let place = |fault: &Fault| {
        let rest = fault.path.strip_prefix("spec.rules[")?.strip_suffix(']')?;
        let (rule, topic) = rest.split_once("].topics[")?;
        Some((rule.parse().ok()?, topic.parse().ok()?))
    };
    faults.iter().map(|fault| place(fault).unwrap_or_else(|| panic!("{fault}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_ends_at_the_api_server_as_offline() {
    let control_plane = ControlPlane::start().await;
    apply(&control_plane, "crds").await;
    let server = ApiServer::new(control_plane.client().await).await;
    let cases = corpus();
    let mut failures = Vec::new();
    for (case, offline) in cases.iter().zip(offline(&cases)) {
        let outcome = server.outcome(case).await;
        failures.extend(unexpected(case, &outcome.clone().map_err(|message| vec![Fault::new("", message)])));
        if let (Ok(stored), Ok(offline)) = (outcome, offline) {
            let same = stored.get("spec") == offline.get("spec");
            failures.extend((!same).then(|| format!("{}: {stored} is stored, {offline} expected", case.name)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    apply(&control_plane, "examples").await;
}

#[test]
fn the_examples_are_accepted_offline() {
    let objects = manifest::read(&[root().join("examples")]).unwrap_or_else(|refused| panic!("{refused}"));
    assert!(objects.tenants.len() >= 2 && objects.devices.len() >= 3 && objects.policies.len() >= 3, "{objects:?}");
}

/// The object with its defaults, or what is wrong with it.
type Outcome = Result<Value, Vec<Fault>>;

/// What the offline commands make of every case: all in one file, each in a namespace of its own.
fn offline(cases: &[Case]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    let in_namespaces = cases.iter().zip(1..).map(|(case, number)| {
        let mut object = case.object.clone();
        object["metadata"]["namespace"] = format!("case-{number}").into();
        object.to_string()
    });
    std::fs::write(&file, in_namespaces.collect::<Vec<_>>().join("\n")).unwrap();
    let refused = manifest::read(&[file]).expect_err("some cases are refused");
    let definitions = Definitions::new();
    let outcome = |(case, number): (&Case, usize)| {
        let refusals = refused.refusals().iter().filter(|refusal| refusal.place.document == number);
        let faults: Vec<_> = refusals.map(|refusal| refusal.fault.clone()).collect();
        if faults.is_empty() { check(&definitions, case) } else { Err(faults) }
    };
    cases.iter().zip(1..).map(outcome).collect()
}

fn check(definitions: &Definitions, case: &Case) -> Outcome {
    match &case.update {
        Some(updated) => definitions.check(case.kind, updated.clone(), Some(&case.object)),
        None => definitions.check(case.kind, case.object.clone(), None),
    }
}

fn unexpected(case: &Case, outcome: &Outcome) -> Option<String> {
    match (&case.expected, outcome) {
        (Expected::Accepted, Ok(_)) => None,
        (Expected::Refused(_), Ok(_)) => Some(format!("{:?} {}: is accepted", case.kind, case.name)),
        (Expected::Accepted, Err(faults)) => Some(format!("{:?} {}: is refused: {faults:?}", case.kind, case.name)),
        (Expected::Refused(message), Err(faults)) => {
            let found = faults.iter().any(|fault| fault.to_string().contains(message));
            (!found).then(|| format!("{:?} {}: `{message}` is not in {faults:?}", case.kind, case.name))
        }
    }
}

/// `kubectl apply` of a folder.
async fn apply(control_plane: &ControlPlane, folder: &str) {
    let folder = root().join(folder);
    let args = ["apply", "-f", folder.to_str().unwrap()];
    control_plane.kubectl(&args).await.unwrap_or_else(|error| panic!("{error}"));
    if folder.ends_with("crds") {
        let args = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
        control_plane.kubectl(&args).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Rule {
    /// Whether a fault comes from this rule.
    fn gave(&self, fault: &Fault) -> bool {
        fault.message == self.message && self.is_at(&fault.path)
    }
}
