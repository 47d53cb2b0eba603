use super::*;
use crate::bundle::Space;

fn claims(instance_id: &str, prefixes: &[&str], space: &[(&str, &[&str])]) -> Claims {
    Claims {
        instance_id: instance_id.to_owned(),
        client_id_prefixes: prefixes.iter().map(ToString::to_string).collect(),
        topic_space: space
            .iter()
            .map(|(filter, shared)| Space {
                filter: (*filter).to_owned(),
                shared_with: shared.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}

fn tenant<'a>(created: i64, name: &'a str, published: Option<&'a Claims>, wanted: &'a Claims) -> Claimant<'a> {
    Claimant { created, namespace: "ns", name, published, wanted: Some(wanted) }
}

fn refused(holder: usize, witness: Witness) -> Outcome {
    Outcome::Refused(Collision { holder, witness })
}

#[test]
fn at_a_cold_start_the_older_wins_and_the_loser_gets_a_witness() {
    let acme = claims("acme", &["a-"], &[("acme/#", &[])]);
    for (other, witness) in [
        (claims("acme", &["b-"], &[]), Witness::InstanceId("acme".to_owned())),
        (claims("b", &["a-b"], &[]), Witness::ClientId("a-b".to_owned())),
        (claims("b", &["a"], &[]), Witness::ClientId("a-".to_owned())),
        (claims("b", &[], &[]), Witness::ClientId("a-".to_owned())),
        (claims("b", &["b-"], &[("+/x", &[])]), Witness::Topic("acme/x".to_owned())),
    ] {
        let tenants = [tenant(2, "b", None, &other), tenant(1, "a", None, &acme)];
        assert_eq!(resolve(&tenants), [refused(1, witness), Outcome::Granted]);
    }
}

#[test]
fn what_is_published_wins_over_the_older() {
    let (old, new) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
    let tenants = [tenant(1, "a", None, &old), tenant(2, "b", Some(&new), &new)];
    assert_eq!(resolve(&tenants), [refused(1, Witness::InstanceId("x".to_owned())), Outcome::Granted]);
}

#[test]
fn a_loser_keeps_what_it_had_published() {
    let (had, wants) = (claims("a", &["a-"], &[]), claims("a", &["a-", "b-"], &[]));
    let other = claims("b", &["b-"], &[]);
    let tenants = [tenant(1, "a", Some(&had), &wants), tenant(2, "b", Some(&other), &other)];
    let collision = Collision { holder: 1, witness: Witness::ClientId("b-".to_owned()) };
    assert_eq!(resolve(&tenants), [Outcome::Kept(Some(collision)), Outcome::Granted]);
}

#[test]
fn what_is_still_published_is_not_free_yet() {
    let (had, wants) = (claims("a", &["a-"], &[("t/#", &[])]), claims("a", &["a-"], &[]));
    let other = claims("b", &["b-"], &[("t/1", &[])]);
    let tenants = [tenant(1, "a", Some(&had), &wants), tenant(2, "b", None, &other)];
    assert_eq!(resolve(&tenants), [Outcome::Granted, refused(0, Witness::Topic("t/1".to_owned()))]);
}

#[test]
fn topics_are_shared_only_where_both_say_so() {
    let a = claims("a", &["a-"], &[("t/#", &["b"])]);
    let (mutual, silent) = (claims("b", &["b-"], &[("t/1", &["a"])]), claims("b", &["b-"], &[("t/1", &[])]));
    assert_eq!(
        resolve(&[tenant(1, "a", None, &a), tenant(2, "b", None, &mutual)]),
        [Outcome::Granted, Outcome::Granted]
    );
    let outcomes = resolve(&[tenant(1, "a", None, &a), tenant(2, "b", None, &silent)]);
    assert_eq!(outcomes[1], refused(0, Witness::Topic("t/1".to_owned())));
}

#[test]
fn two_published_owners_of_one_thing_leave_it_to_the_older() {
    let (a, b) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
    let tenants = [tenant(2, "a", Some(&a), &a), tenant(1, "b", Some(&b), &b)];
    assert_eq!(resolve(&tenants), [refused(1, Witness::InstanceId("x".to_owned())), Outcome::Granted]);
}

#[test]
fn a_gone_tenant_holds_its_claims_until_it_is_swept() {
    let (a, b) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
    let gone = Claimant { wanted: None, ..tenant(1, "a", Some(&a), &a) };
    let outcomes = resolve(&[gone, tenant(2, "b", None, &b)]);
    assert_eq!(outcomes, [Outcome::Kept(None), refused(0, Witness::InstanceId("x".to_owned()))]);
}

/// Claims of two tenants `a`, the older, and `b` on topics that they share or not: as they are published, and as wanted.
fn two(a: [(&str, bool); 2], b: [(&str, bool); 2]) -> [[Claims; 2]; 2] {
    let claim = |id: &str, other: &'static str, (filter, shares): (&str, bool)| {
        let with: &[&str] = if shares { &[other] } else { &[] };
        claims(id, &[&format!("{id}-")], &[(filter, with)])
    };
    [a.map(|claimed| claim("a", "b", claimed)), b.map(|claimed| claim("b", "a", claimed))]
}

/// What both get, and which filters are denied to the clients of each, once that is published.
fn published_then([[had_a, wants_a], [had_b, wants_b]]: &[[Claims; 2]; 2]) -> (Vec<Outcome>, [Vec<String>; 2]) {
    let outcomes = resolve(&[tenant(1, "a", Some(had_a), wants_a), tenant(2, "b", Some(had_b), wants_b)]);
    let owned = |outcome: &Outcome, had, wants: &Claims| match outcome {
        Outcome::Granted => Some(wants.clone()),
        Outcome::Kept(_) => Some(kept(had, Some(wants)).into_owned()),
        Outcome::Refused(_) => None,
    };
    let (a, b) = (owned(&outcomes[0], had_a, wants_a), owned(&outcomes[1], had_b, wants_b));
    let claimant = |created, name, published| Claimant { created, namespace: "ns", name, published, wanted: None };
    let denied = withheld(&[claimant(1, "a", a.as_ref()), claimant(2, "b", b.as_ref())]);
    let filters = |of: usize| denied[of].iter().map(|overlap| overlap.filter.clone()).collect();
    (outcomes, [filters(0), filters(1)])
}

#[test]
fn whoever_withdraws_its_consent_the_topics_belong_to_the_older_tenant_alone() {
    let none: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let of_b = [Vec::new(), vec!["t/#".to_owned()]];
    for (a, b, denied) in [(true, true, &none), (false, true, &of_b), (true, false, &of_b), (false, false, &of_b)] {
        for (had_a, had_b) in [(true, true), (false, true), (true, false), (false, false)] {
            let scene = two([("t/#", had_a), ("t/#", a)], [("t/1", had_b), ("t/1", b)]);
            let found = published_then(&scene);
            assert_eq!(found, (vec![Outcome::Granted; 2], denied.clone()), "{had_a} {had_b} {a} {b}");
        }
    }
}

#[test]
fn a_withdrawal_counts_after_a_widening_of_either_filter() {
    // Both had agreed on the wider filter; the owner's is denied as it is now.
    let scene = two([("t/#", true), ("t/#", false)], [("t/+/x", true), ("t/+/x", true)]);
    assert_eq!(published_then(&scene).1, [Vec::new(), vec!["t/#".to_owned()]]);
    let scene = two([("t/1", true), ("t/1", true)], [("t/#", true), ("t/#", false)]);
    assert_eq!(published_then(&scene).1, [Vec::new(), vec!["t/1".to_owned()]]);
}

#[test]
fn a_withdrawal_gives_nobody_topics_that_it_had_not() {
    // The older tenant drops its consent and reaches for the rest of what only the other had.
    let scene = two([("t/1", true), ("t/#", false)], [("t/#", true), ("t/#", true)]);
    let (outcomes, denied) = published_then(&scene);
    let held = Collision { holder: 1, witness: Witness::Topic("t".to_owned()) };
    assert_eq!(outcomes, [Outcome::Kept(Some(held)), Outcome::Granted]);
    assert_eq!(denied, [Vec::new(), vec!["t/1".to_owned()]], "the consent is withdrawn all the same");
}

#[test]
fn a_consent_that_is_being_withdrawn_lets_no_new_claim_in() {
    let had = claims("a", &["a-"], &[("t/#", &["b"])]);
    let wants = claims("a", &["a-"], &[("t/#", &[])]);
    let newcomer = claims("b", &["b-"], &[("t/1", &["a"])]);
    for created in [0, 2] {
        let outcomes = resolve(&[tenant(1, "a", Some(&had), &wants), tenant(created, "b", None, &newcomer)]);
        assert_eq!(outcomes, [Outcome::Granted, refused(0, Witness::Topic("t/1".to_owned()))]);
    }
}

#[test]
fn a_tenant_that_keeps_what_it_had_may_consent_again() {
    let had = claims("a", &["a-"], &[("t/#", &[]), ("u", &["b"])]);
    let wants = claims("a", &["a-", "b-"], &[("t/#", &["b"])]);
    let shared: Vec<_> = kept(&had, Some(&wants)).topic_space.iter().map(|space| space.shared_with.clone()).collect();
    assert_eq!(shared, [vec!["b".to_owned()], vec!["b".to_owned()]], "what is not wanted any more stays as it was");
    assert_eq!(*kept(&had, None), had);
}

#[test]
fn every_filter_of_the_owner_that_overlaps_is_withheld_and_no_other() {
    let a = claims("a", &["a-"], &[("t/1", &[]), ("t/2", &["b"]), ("+/3", &[]), ("u/#", &[])]);
    let b = claims("b", &["b-"], &[("t/#", &["a"])]);
    let claimant = |created, name, published| Claimant { created, namespace: "ns", name, published, wanted: None };
    let found = withheld(&[claimant(2, "b", Some(&b)), claimant(1, "a", Some(&a))]);
    let overlap = |filter: &str, witness: &str| Overlap {
        owner: 1,
        filter: filter.to_owned(),
        other_filter: "t/#".to_owned(),
        witness: witness.to_owned(),
    };
    assert_eq!(found, [vec![overlap("+/3", "t/3"), overlap("t/1", "t/1")], Vec::new()]);
}

#[test]
fn what_two_newcomers_want_is_contested_and_what_an_incumbent_has_is_not() {
    let (had, wants) = (claims("a", &["a-"], &[]), claims("a", &["a-"], &[("t/#", &[])]));
    let b = claims("b", &["b-"], &[("t/1", &[])]);
    let contest = |witness| vec![Contest { tenants: [0, 1], witness }];
    let of = |a: Claimant<'_>, b: Claimant<'_>| contests(&[a, b]);
    let topic = || contest(Witness::Topic("t/1".to_owned()));
    assert_eq!(of(tenant(1, "a", None, &wants), tenant(2, "b", None, &b)), topic());
    assert_eq!(of(tenant(1, "a", Some(&had), &wants), tenant(2, "b", None, &b)), topic(), "that is new to both");
    assert_eq!(of(tenant(1, "a", Some(&wants), &wants), tenant(2, "b", None, &b)), [], "the first has it");
    assert_eq!(of(tenant(2, "a", None, &wants), tenant(1, "b", Some(&b), &b)), [], "the second has it");
    let same = claims("a", &["c-"], &[]);
    let twice = of(tenant(1, "a", None, &had), tenant(2, "b", None, &same));
    assert_eq!(twice, contest(Witness::InstanceId("a".to_owned())));
    let shared = claims("a", &["a-"], &[("t/#", &["b"])]);
    let mutual = claims("b", &["b-"], &[("t/1", &["a"])]);
    assert_eq!(of(tenant(1, "a", None, &shared), tenant(2, "b", None, &mutual)), []);
}
