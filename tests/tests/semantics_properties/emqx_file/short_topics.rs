//! All short topics: what EMQX takes that a topic does not cover, found by trying.

use mqtt_access_core::acl_file::emqx;
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::topic::{Filter, covers, overlaps};
use mqtt_access_tests::models::emqx::{AclConf, Asked as ModelAsked, Client as ModelClient};
use mqtt_access_tests::two_tenants::NOW;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::OF_TOKENS;
use super::scene::{LoggedIn, Team, bundle, index, log_in};
use crate::arbitrary::{Scenario, scenario};

/// Every filter of up to three levels over an alphabet of what levels can be, first levels with `$` included.
fn all_filters() -> Vec<String> {
    let mut found = Vec::new();
    let mut before = vec![String::new()];
    for depth in 0..3 {
        let first = depth == 0;
        let joined = |before: &String, level: &str| if first { level.to_owned() } else { format!("{before}/{level}") };
        found.extend(before.iter().map(|before| joined(before, "#")));
        let levels = if first { vec!["a", "", "+", "$x"] } else { vec!["a", "", "+"] };
        before = before
            .iter()
            .flat_map(|before| levels.iter().map(|level| joined(before, level)).collect::<Vec<_>>())
            .collect();
        found.extend(before.iter().cloned());
    }
    found.retain(|filter| Filter::parse(filter).is_ok());
    found
}

/// What a tenant's file and docs/semantics.md say of every subscription of one client, where these topics are allowed and denied.
fn exhaust(
    scene: &(Scenario, LoggedIn),
    allowed: &[&str],
    denied: &[&str],
    filters: &[String],
) -> (Vec<String>, Vec<String>, usize) {
    let rule = |index, effect, topics: &[&str]| Rule {
        index,
        effect,
        actions: [Action::Subscribe].into(),
        topics: Topics::Listed(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        qos: None,
        retain: None,
    };
    let everyone = Subject { everyone: true, ..Default::default() };
    // Each Allow is a rule of its own, in an order that is not the one in which it would have to stand in the file.
    let allows = (0..).zip(allowed).map(|(index, topic)| rule(index, Effect::Allow, &[topic]));
    let rules = allows.chain([rule(9, Effect::Deny, denied)]).collect();
    let mut bundle = bundle(&scene.0, &Team::plain(), false);
    bundle.policies = vec![Policy { name: "p".to_owned(), subjects: vec![everyone], rules }];
    let section = emqx::section(&TenantIndex::new(bundle, 1).unwrap(), NOW);
    let model = AclConf::compile(&emqx::file([&section])).unwrap();
    let parse = |text| Filter::parse(text).unwrap();
    let (mut wider, mut lost) = (Vec::new(), Vec::new());
    for filter in filters {
        let asked = ModelAsked { publish: false, topic: filter, qos: 0, retain: false };
        let LoggedIn { client_id, username, mode: _, login } = &scene.1;
        let known = ModelClient { client_id, username: username.as_deref(), attributes: login.attributes() };
        let emqx = model.decide(known, asked).unwrap().1;
        let meant = allowed.iter().any(|it| covers(parse(it), parse(filter)))
            && !denied.iter().any(|it| overlaps(parse(it), parse(filter)));
        match (meant, emqx) {
            (false, true) => wider.push(filter.clone()),
            (true, false) => lost.push(filter.clone()),
            _ => {}
        }
    }
    let told = section.narrowed.iter().filter(|it| !it.message.starts_with(OF_TOKENS)).count();
    (wider, lost, told)
}

/// Where nothing is denied, EMQX takes subscriptions that a topic does not cover only for topics that end in `+` or `+/#`.
/// Each is kept out, and what is lost with it was told; of two topics, neither takes from the other.
#[test]
fn of_all_short_topics_none_lets_a_wider_subscription_in() {
    let nobody = Team::plain();
    let mut runner = TestRunner::deterministic();
    let mut scenario = scenario().new_tree(&mut runner).unwrap().current();
    scenario.space = vec!["#".to_owned(), "$x/#".to_owned()];
    let clients = log_in(&index(&scenario, bundle(&scenario, &nobody, false)), &nobody);
    let scene = (scenario, clients.into_iter().find(|client| client.mode == Mode::Signature).unwrap());
    let filters = all_filters();
    let (mut told_of, mut untouched) = (0, 0);
    for one in &filters {
        for other in filters.iter().filter(|it| it.split('/').count() < 3 && !it.starts_with('$')) {
            let (wider, lost, told) = exhaust(&scene, &[one, other], &[], &filters);
            assert!(wider.is_empty(), "{one} and {other} let in {wider:?}");
            assert!(lost.is_empty() || told > 0, "{one} and {other} lose {lost:?}");
            let (wider, lost, told) = exhaust(&scene, &[one], &[other], &filters);
            assert!(wider.is_empty(), "{one} without {other} lets in {wider:?}");
            assert!(lost.is_empty() || told > 0, "{one} without {other} loses {lost:?}");
            told_of += usize::from(told > 0);
            untouched += usize::from(told == 0);
        }
    }
    assert!(told_of > 200 && untouched > 500, "{told_of} {untouched}");
}
