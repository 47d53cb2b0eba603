use mqtt_access_core::acl_file::Language;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_crds::{ConditionReason as _, PolicyAccepted};

use super::objects::tests::bundle;
use super::*;
use crate::cluster::report;
use crate::compile::{PolicyReport, Reports};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

fn version(revision: u64) -> Version {
    Version { revision, withheld: Vec::new() }
}

fn known(waiting: &[(&str, u64)]) -> Known {
    let mut known = Known::default();
    waiting.iter().for_each(|(name, revision)| known.wait(&key(name), bundle(name, 1000), version(*revision)));
    known
}

/// What came of the work on a tenant's revision.
fn done(name: &str, revision: u64) -> Option<Standing> {
    work::standing(&[File::Emqx], &key(name), bundle(name, 1000), version(revision), &|| true)
}

fn revision(known: &Known, name: &str) -> Option<u64> {
    match known.tenants.get(&key(name))? {
        Standing::Compiled(compiled) => Some(compiled.version.revision),
        Standing::Nothing => None,
    }
}

#[test]
fn a_tenant_is_worked_on_once_at_a_time_and_the_others_meanwhile() {
    let mut known = known(&[("a", 1), ("b", 1)]);
    let taken: Vec<(ObjectKey, u64)> =
        std::iter::from_fn(|| known.take().map(|(tenant, version, _)| (tenant, version.revision))).collect();
    assert_eq!(taken, [(key("a"), 1), (key("b"), 1)]);
    known.wait(&key("a"), bundle("a", 1000), version(2));
    assert!(known.take().is_none(), "it is still worked on");
    known.settle(&key("b"), &version(1), done("b", 1));
    assert_eq!((revision(&known, "a"), revision(&known, "b")), (None, Some(1)));
    // What was asked for is not in force any more, and newer than nothing.
    known.settle(&key("a"), &version(1), done("a", 1));
    assert_eq!(revision(&known, "a"), Some(1));
    assert_eq!(known.take().map(|(tenant, version, _)| (tenant, version.revision)), Some((key("a"), 2)));
    known.settle(&key("a"), &version(2), done("a", 2));
    assert_eq!(revision(&known, "a"), Some(2));
    assert!(known.waiting().is_empty() && known.take().is_none());
}

#[test]
fn what_was_said_without_work_is_not_undone_by_work_that_had_begun() {
    let mut known = known(&[("a", 1), ("b", 1)]);
    while known.take().is_some() {}
    known.put(&key("a"), Standing::Nothing);
    assert!(known.forget(&key("b")));
    for name in ["a", "b"] {
        assert!(!known.settle(&key(name), &version(1), done(name, 1)));
        assert_eq!(revision(&known, name), None);
    }
    assert!(matches!(known.tenants.get(&key("a")), Some(Standing::Nothing)) && !known.tenants.contains_key(&key("b")));
}

#[test]
fn work_that_fails_leaves_what_a_tenant_said_before() {
    let mut known = known(&[("a", 1)]);
    known.take();
    known.settle(&key("a"), &version(1), done("a", 1));
    known.wait(&key("a"), bundle("a", 1000), version(2));
    known.take();
    assert!(!known.settle(&key("a"), &version(2), None));
    assert_eq!(revision(&known, "a"), Some(1));
    assert!(known.waiting().contains(&key("a")), "it is still owed");
}

#[tokio::test(start_paused = true)]
async fn a_file_of_all_tenants_waits_for_a_moment_only() {
    let mut known = known(&[("a", 1)]);
    assert!(known.late().is_empty());
    tokio::time::advance(PATIENCE).await;
    // Another edit does not let the others wait anew.
    known.wait(&key("a"), bundle("a", 1000), version(2));
    assert_eq!(known.late(), [key("a")].into());
}

#[test]
fn tenants_without_room_are_told_until_there_is_room_again() {
    let mut known = known(&[("a", 1)]);
    known.take();
    known.settle(&key("a"), &version(1), done("a", 1));
    assert_eq!((known.problem(&key("a")), known.closed()), (None, 0));
    let without_room = || BTreeMap::from([(key("a"), BTreeSet::from([File::Emqx]))]);
    assert_eq!(known.crowd_out(without_room()), [key("a")].into());
    let problem = known.problem(&key("a")).unwrap();
    assert!(problem.starts_with("acl.conf denies everything to the tenant in `acl`: "), "{problem}");
    assert_eq!(known.closed(), 1);
    assert!(known.crowd_out(without_room()).is_empty(), "it is no news");
    assert_eq!(known.crowd_out(BTreeMap::new()), [key("a")].into());
    assert_eq!((known.problem(&key("a")), known.closed()), (None, 0));
}

/// What the only policies of a large tenant and a small one are told of the files of all tenants.
fn told_of_files(bundles: [&Bundle; 2], languages: &[Language]) -> [PolicyReport; 2] {
    let broker = Broker { acl_files: Some(languages.to_vec()), ..Config::default().brokers.remove(0) };
    let keyed = bundles.map(|bundle| (key(&bundle.tenant.name), bundle));
    let mut known = Known::default();
    for (tenant, bundle) in &keyed {
        known.put(tenant, work::standing(&File::ALL, tenant, (*bundle).clone(), version(1), &|| true).unwrap());
    }
    let sections = known.tenants.iter().filter_map(|(tenant, standing)| Some((tenant, standing.sections()?)));
    let crowded_out = objects::broker_map(&File::ALL, &sections.collect::<Vec<_>>()).crowded_out;
    known.crowd_out(crowded_out);
    keyed.map(|(tenant, bundle)| {
        let accepted = PolicyReport {
            accepted: PolicyAccepted::Accepted,
            message: "".into(),
            findings: Vec::new(),
            matched: None,
            generation: None,
        };
        let mut reports = Reports { policies: [("p".to_owned(), accepted)].into(), ..Reports::default() };
        let files = known.crowded_out.get(&tenant).cloned().unwrap_or_default();
        report::crowded_out(&broker, bundle, &files, &mut reports);
        reports.policies.remove("p").unwrap()
    })
}

#[test]
fn the_policy_of_a_tenant_whose_section_is_closed_says_so_and_what_to_do() {
    let mut large = bundle("large", 1024 * 1024);
    let device = serde_json::json!({"name": "d", "clientId": "d", "keyId": "DC.d", "secret": "a2V5"});
    (large.tenant.modes, large.tenant.signature_algorithms) =
        (vec![Mode::DeviceCredential], vec![MacAlgorithm::HmacSha1]);
    large.devices.push(serde_json::from_value(device).unwrap());
    let small = bundle("small", 1000);
    let text = |language: &str| {
        format!(
            "rules[0]: clients of the MqttTenant may do nothing by the files of all tenants, here and by any other rule: its rules do not \
             fit into 1 MiB beside those of smaller tenants; take the file from a sidecar's `--acl-dir` (ClosedInAclFile, broker \
             `default`, {language})"
        )
    };
    let texts = |policy: &PolicyReport| policy.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let [closed, open] = told_of_files([&large, &small], &[Language::Emqx, Language::Mosquitto]);
    assert_eq!(texts(&closed), [text("Emqx"), text("Mosquitto")]);
    assert_eq!(closed.compiled().as_str(), "Findings");
    assert_eq!((texts(&open), open.compiled().as_str()), (Vec::new(), "Compiled"));
    // Of a language that the broker does not read, nobody is told.
    let [closed, _] = told_of_files([&large, &small], &[Language::Emqx]);
    assert_eq!(texts(&closed), [text("Emqx")]);
    // Once the large one fits, it is told nothing either.
    let fits = bundle("large", 100_000);
    assert!(
        told_of_files([&fits, &small], &[Language::Emqx, Language::Mosquitto])
            .iter()
            .all(|policy| policy.findings.is_empty())
    );
}
