//! Tenants that are isolated, tenants that say they are not, and bundles that no compiler may write.

use mqtt_access_core::bundle::Space;
use mqtt_access_core::claims::{Claimant, Outcome, resolve};
use mqtt_access_core::topic::overlaps;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn reach(name: &str, prefixes: &[&str], space: &[(&str, &[&str])], allows: &[&str]) -> Reach {
    let space = space.iter().map(|(filter, shared)| Space {
        filter: (*filter).to_owned(),
        shared_with: shared.iter().map(ToString::to_string).collect(),
    });
    let widest = |topic: &&str| Topic::parse(topic).ok().and_then(|topic| topic.widest());
    Reach {
        tenant: format!("ns/{name}"),
        claims: Claims {
            instance_id: name.to_owned(),
            client_id_prefixes: prefixes.iter().map(ToString::to_string).collect(),
            topic_space: space.collect(),
        },
        withheld: Vec::new(),
        allows: allows.iter().map(|topic| (widest(topic), "p rules[0]".to_owned())).collect(),
    }
}

fn violations(tenants: &[Reach]) -> Vec<(ViolationReason, Option<String>)> {
    let isolation = check(tenants, false);
    isolation.violations.into_iter().map(|violation| (violation.reason, violation.witness)).collect()
}

#[test]
fn tenants_of_their_own_spaces_are_isolated() {
    let a = reach("a", &["a-"], &[("a/#", &[]), ("x/+/a", &[])], &["a/${clientid}/#", "x/${username}/a"]);
    let b = reach("b", &["b-"], &[("b/#", &[]), ("x/+/b", &[])], &["b/#", "x/+/b"]);
    let isolation = check([&a, &b], false);
    assert_eq!((isolation.tenants, isolation.topics, isolation.filters), (2, 4, 4));
    assert_eq!((isolation.exceptions, isolation.violations), (Vec::new(), Vec::new()));
}

#[test]
fn what_both_share_is_an_exception_with_a_witness() {
    let a = reach("a", &["a-"], &[("t/#", &["b"])], &["t/#"]);
    let b = reach("b", &["b-"], &[("t/+/x", &["a"])], &["t/1/x"]);
    let isolation = check([&b, &a], false);
    assert_eq!(isolation.violations, []);
    let expected = Exception {
        tenants: ["ns/a".to_owned(), "ns/b".to_owned()],
        shared_with: ["b".to_owned(), "a".to_owned()],
        filters: ["t/#".to_owned(), "t/+/x".to_owned()],
        witness: "t/x/x".to_owned(),
    };
    assert_eq!(isolation.exceptions, [expected]);
    let silent = reach("b", &["b-"], &[("t/+/x", &[])], &[]);
    assert_eq!(violations(&[a, silent]), [(ViolationReason::TopicSpaceOverlap, Some("t/x/x".to_owned()))]);
}

#[test]
fn what_is_denied_to_one_of_two_because_consent_was_withdrawn_is_listed_and_no_violation() {
    let a = reach("a", &["a-"], &[("t/#", &[])], &["t/#"]);
    let b = || reach("b", &["b-"], &[("t/+/x", &["a"])], &["t/1/x"]);
    let withheld = |filter: &str| Reach { withheld: vec![filter.to_owned()], ..b() };
    for filter in ["t/#", "t/+/x", "#"] {
        let isolation = check([&a, &withheld(filter)], false);
        let expected = Withdrawn {
            owner: "ns/a".to_owned(),
            refused: "ns/b".to_owned(),
            filters: ["t/#".to_owned(), "t/+/x".to_owned()],
            witness: "t/x/x".to_owned(),
        };
        assert_eq!((isolation.withdrawn, isolation.violations), (vec![expected], Vec::new()), "{filter}");
    }
    for part in ["t/1/x", "u/#"] {
        let isolation = check([&a, &withheld(part)], false);
        assert_eq!(
            (isolation.withdrawn.len(), isolation.violations.len()),
            (0, 1),
            "{part} is not all that they share"
        );
    }
}

#[test]
fn what_no_compiler_may_write_is_a_violation() {
    let b = || reach("b", &["b-"], &[("b/#", &[])], &[]);
    let with = |tenant: Reach| violations(&[tenant, b()]);
    let outside = |witness: Option<&str>| vec![(ViolationReason::AllowOutsideTopicSpace, witness.map(str::to_owned))];
    assert_eq!(with(reach("a", &["a-"], &[("a/#", &[])], &["b/${clientid}"])), outside(Some("b/x")));
    assert_eq!(with(reach("a", &["a-"], &[("a/#", &[])], &["+/x"])), outside(Some("b/x")));
    assert_eq!(with(reach("a", &["a-"], &[("a/#", &[])], &["c"])), outside(None));
    assert_eq!(with(reach("a", &["a-"], &[("a/#", &[])], &["$x${clientid}"])), outside(None));
    assert_eq!(with(reach("a", &["a-"], &[("$SYS/#", &[])], &[])), [(ViolationReason::DollarTopic, None)]);
    assert_eq!(
        with(reach("a", &["b-1"], &[("a/#", &[])], &[])),
        [(ViolationReason::ClientIdPrefixOverlap, Some("b-1".to_owned()))]
    );
    assert_eq!(
        with(reach("a", &[], &[("a/#", &[])], &[])),
        [(ViolationReason::ClientIdPrefixOverlap, Some("b-".to_owned()))]
    );
    let same_id = Reach {
        claims: Claims { instance_id: "b".to_owned(), ..reach("a", &["a-"], &[], &[]).claims },
        ..reach("a", &["a-"], &[], &[])
    };
    assert_eq!(with(same_id), [(ViolationReason::InstanceIdShared, Some("b".to_owned()))]);
}

#[test]
fn topics_with_a_dollar_are_a_tenants_where_the_broker_allows_it() {
    let a = reach("a", &["a-"], &[("$x/#", &[])], &["$x/${clientid}"]);
    let b = reach("b", &["b-"], &[("+/#", &[])], &["#"]);
    assert_eq!(check([&a, &b], true).violations, [], "a leading wildcard does not reach them");
    assert_eq!(check([&a], false).violations.len(), 2);
}

fn filter() -> impl Strategy<Value = String> {
    let level = select(vec!["a", "a", "b", "+", "$x", ""]);
    (proptest::collection::vec(level, 1..4), any::<bool>()).prop_map(|(levels, hash)| {
        let text = levels.into_iter().chain(hash.then_some("#")).collect::<Vec<_>>().join("/");
        if text.is_empty() { "a".to_owned() } else { text }
    })
}

fn tenant(name: &'static str, other: &'static str) -> impl Strategy<Value = Reach> {
    let prefix = select(vec!["", "x", "y", "xy", "z"]);
    (prefix, proptest::collection::vec((filter(), any::<bool>()), 0..4)).prop_map(move |(prefix, space)| {
        let shared = [other];
        let with = |shared_with: bool| if shared_with { shared.as_slice() } else { &[] };
        let space: Vec<(&str, &[&str])> =
            space.iter().map(|(filter, shared)| (filter.as_str(), with(*shared))).collect();
        reach(name, &[prefix], &space, &[])
    })
}

fn claimant(reach: &Reach) -> Claimant<'_> {
    let (name, wanted) = (reach.claims.instance_id.as_str(), Some(&reach.claims));
    Claimant { created: 0, namespace: "ns", name, published: None, wanted }
}

proptest! {
    /// Whoever decides on claims and whoever checks them know nothing of each other.
    #[test]
    fn what_is_granted_to_both_is_what_is_found_isolated(a in tenant("a", "b"), b in tenant("b", "a")) {
        let outcomes = resolve(&[claimant(&a), claimant(&b)]);
        let granted = outcomes.iter().all(|outcome| *outcome == Outcome::Granted);
        prop_assert_eq!(check([&a, &b], true).violations.is_empty(), granted);
    }

    #[test]
    fn every_pair_of_filters_that_overlap_is_found(a in tenant("a", "b"), b in tenant("b", "a")) {
        let isolation = check([&a, &b], true);
        let spaces = |reach: &Reach| reach.claims.topic_space.iter().map(|space| space.filter.clone()).collect::<Vec<_>>();
        let pairs = spaces(&a).into_iter().flat_map(|x| spaces(&b).into_iter().map(move |y| (x.clone(), y)));
        let overlapping = pairs.filter(|(x, y)| {
            overlaps(Filter::parse(x).unwrap(), Filter::parse(y).unwrap())
        });
        let spaces = isolation.violations.iter().filter(|violation| violation.reason == ViolationReason::TopicSpaceOverlap);
        prop_assert_eq!(isolation.exceptions.len() + spaces.count(), overlapping.count());
    }
}
