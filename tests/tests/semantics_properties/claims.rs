//! `claims::resolve`: whatever tenants want, no two of them own the same; and `claims::withheld`, where they once agreed to.

use mqtt_access_core::bundle::{Claims, Space};
use mqtt_access_core::claims::{Claimant, Collision, Outcome, Witness, kept, resolve, withheld};
use mqtt_access_core::topic::{Filter, intersection};
use mqtt_access_tests::reference::{Names, is_name};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::arbitrary::filter;
use crate::cases;

#[derive(Debug, Clone)]
struct Tenant {
    name: String,
    created: i64,
    published: Option<Claims>,
    wanted: Option<Claims>,
}

impl Tenant {
    fn claimant(&self) -> Claimant<'_> {
        let Self { name, created, published, wanted } = self;
        Claimant { created: *created, namespace: "ns", name, published: published.as_ref(), wanted: wanted.as_ref() }
    }

    /// What it had published, shared as it wants now.
    fn kept(&self) -> Option<Claims> {
        Some(kept(self.published.as_ref()?, self.wanted.as_ref()).into_owned())
    }

    /// Everything that it may come to own.
    fn both(&self) -> impl Iterator<Item = Claims> {
        self.published.iter().chain(&self.wanted).cloned().chain(self.kept())
    }

    /// What it owns after a decision.
    fn owned(&self, outcome: &Outcome) -> Option<Claims> {
        match outcome {
            Outcome::Granted => self.wanted.clone(),
            Outcome::Kept(_) => self.kept(),
            Outcome::Refused(_) => None,
        }
    }

    /// Whether it owned everything that two filters have in common before.
    fn had(&self, one: &str, other: &str) -> bool {
        let parsed = |text| Filter::parse(text).unwrap();
        let common = Names::of(&intersection(parsed(one), parsed(other)).unwrap());
        let spaces = self.published.iter().flat_map(|claims| &claims.topic_space);
        spaces.into_iter().any(|space| Names::of(&space.filter).covers(&common))
    }
}

fn judge(tenants: &[Tenant]) -> Vec<Outcome> {
    resolve(&tenants.iter().map(Tenant::claimant).collect::<Vec<_>>())
}

fn tenants() -> impl Strategy<Value = Vec<Tenant>> {
    vec((0..3_i64, proptest::option::of(claims()), proptest::option::weighted(0.8, claims())), 1..5).prop_map(
        |tenants| {
            let named = (b'a'..).map(|letter| char::from(letter).to_string()).zip(tenants);
            named.map(|(name, (created, published, wanted))| Tenant { name, created, published, wanted }).collect()
        },
    )
}

fn claims() -> impl Strategy<Value = Claims> {
    let ids = || vec!["w".to_owned(), "x".to_owned(), "y".to_owned(), "z".to_owned()];
    let prefixes = vec(select(vec!["a-", "a-b", "b-", "c-", "d-", "e-", "é"]).prop_map(str::to_owned), 0..3);
    let space = (topics(), subsequence(ids(), 0..=4)).prop_map(|(filter, shared_with)| Space { filter, shared_with });
    (select(ids()), prefixes, vec(space, 0..3)).prop_map(|(instance_id, client_id_prefixes, topic_space)| Claims {
        instance_id,
        client_id_prefixes,
        topic_space,
    })
}

/// Mostly a root of one's own.
fn topics() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(vec!["w/#", "x/#", "y/#", "x/y", "/#"]).prop_map(str::to_owned), 1 => filter()]
}

/// "Each of these has one owner: an instance ID, a client-ID prefix, a part of the topic space."
fn collide(a: &Claims, b: &Claims) -> bool {
    !unshared(a, b).is_empty() || collide_beside_topics(a, b)
}

fn collide_beside_topics(a: &Claims, b: &Claims) -> bool {
    let nested = prefixes(a).any(|a| prefixes(b).any(|b| a.starts_with(b) || b.starts_with(a)));
    a.instance_id == b.instance_id || nested
}

/// "Two tenants may overlap only where both declare it": the pairs of filters that overlap where they do not.
fn unshared<'c>(a: &'c Claims, b: &'c Claims) -> Vec<(&'c str, &'c str)> {
    let shares = |space: &Space, with: &Claims| space.shared_with.contains(&with.instance_id);
    let pairs = a.topic_space.iter().flat_map(|of_a| b.topic_space.iter().map(move |of_b| (of_a, of_b)));
    let overlapping = pairs.filter(|(of_a, of_b)| Names::of(&of_a.filter).overlaps(&Names::of(&of_b.filter)));
    let unshared = overlapping.filter(|(of_a, of_b)| !(shares(of_a, b) && shares(of_b, a)));
    unshared.map(|(of_a, of_b)| (of_a.filter.as_str(), of_b.filter.as_str())).collect()
}

/// "May be empty only while the broker serves one tenant": no prefix is all client IDs.
fn prefixes(claims: &Claims) -> impl Iterator<Item = &str> {
    let all = claims.client_id_prefixes.is_empty().then_some("");
    claims.client_id_prefixes.iter().map(String::as_str).chain(all)
}

fn owns(claims: &Claims, witness: &Witness) -> bool {
    match witness {
        Witness::InstanceId(id) => claims.instance_id == *id,
        Witness::ClientId(id) => prefixes(claims).any(|prefix| id.starts_with(prefix)),
        Witness::Topic(name) => {
            is_name(name) && claims.topic_space.iter().any(|space| Names::of(&space.filter).contains(name))
        }
    }
}

fn collision(outcome: &Outcome) -> Option<&Collision> {
    match outcome {
        Outcome::Kept(collision) => collision.as_ref(),
        Outcome::Refused(collision) => Some(collision),
        Outcome::Granted => None,
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn no_two_tenants_own_the_same_unless_both_share_it_or_both_had_it_before(tenants in tenants()) {
        let outcomes = judge(&tenants);
        let owned: Vec<_> = tenants.iter().zip(&outcomes).map(|(tenant, outcome)| tenant.owned(outcome)).collect();
        for (place, claims) in owned.iter().enumerate() {
            for (other_place, other) in owned.iter().enumerate().skip(place + 1) {
                let (Some(claims), Some(other)) = (claims, other) else { continue };
                prop_assert!(!collide_beside_topics(claims, other), "{outcomes:?}");
                for (filter, other_filter) in unshared(claims, other) {
                    let had = [place, other_place].map(|place| tenants[place].had(filter, other_filter));
                    prop_assert_eq!(had, [true, true], "{} and {}: {:?}", filter, other_filter, outcomes);
                }
            }
        }
    }

    /// "The overlap belongs to the older claim alone": its filter is denied to the other, and nothing else is to anybody.
    #[test]
    fn of_two_that_own_the_same_without_consent_the_younger_is_denied_the_filter_of_the_older(tenants in tenants()) {
        let published = tenants.iter().map(|tenant| Tenant { wanted: None, ..tenant.clone() }).collect::<Vec<_>>();
        let denied = withheld(&published.iter().map(Tenant::claimant).collect::<Vec<_>>());
        let mut expected: Vec<Vec<(usize, String)>> = vec![Vec::new(); published.len()];
        for (place, tenant) in published.iter().enumerate() {
            for (other_place, other) in published.iter().enumerate() {
                let is_older = (other.created, &other.name) < (tenant.created, &tenant.name);
                if let (Some(claims), Some(older), true) = (&tenant.published, &other.published, is_older) {
                    let of_older = unshared(older, claims).into_iter().map(|(filter, _)| (other_place, filter.to_owned()));
                    expected[place].extend(of_older);
                }
            }
        }
        for (denied, mut expected) in denied.iter().zip(expected) {
            let found: Vec<_> = denied.iter().map(|overlap| (overlap.owner, overlap.filter.clone())).collect();
            expected.sort();
            prop_assert_eq!(found, expected);
            for overlap in denied {
                let both = [&overlap.filter, &overlap.other_filter].map(|filter| Names::of(filter));
                prop_assert!(both.iter().all(|names| names.contains(&overlap.witness)), "{overlap:?}");
            }
        }
    }

    #[test]
    fn who_collides_with_nobody_gets_what_it_wants(tenants in tenants()) {
        let outcomes = judge(&tenants);
        for (place, (tenant, outcome)) in tenants.iter().zip(&outcomes).enumerate() {
            let others = || tenants.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, tenant)| tenant);
            let free = |claims: &Claims| !others().flat_map(Tenant::both).any(|other| collide(claims, &other));
            if tenant.wanted.as_ref().is_some_and(free) {
                prop_assert_eq!(outcome, &Outcome::Granted);
            }
        }
    }

    #[test]
    fn what_is_published_wins_over_what_is_only_wanted(tenants in tenants()) {
        let outcomes = judge(&tenants);
        for (place, (tenant, outcome)) in tenants.iter().zip(&outcomes).enumerate() {
            let Some(published) = &tenant.published else { continue };
            let others = tenants.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, tenant)| tenant);
            if others.filter_map(|other| other.published.as_ref()).any(|other| collide(published, other)) {
                continue;
            }
            prop_assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
            if tenant.wanted.as_ref() == Some(published) {
                prop_assert_eq!(outcome, &Outcome::Granted);
            }
        }
    }

    #[test]
    fn a_witness_is_something_that_both_would_own(tenants in tenants()) {
        for (place, outcome) in judge(&tenants).iter().enumerate() {
            let Some(Collision { holder, witness }) = collision(outcome) else { continue };
            prop_assert_ne!(*holder, place);
            prop_assert!(tenants[place].both().any(|claims| owns(&claims, witness)), "{witness:?}");
            prop_assert!(tenants[*holder].both().any(|claims| owns(&claims, witness)), "{witness:?}");
        }
    }

    #[test]
    fn the_order_of_the_tenants_does_not_matter(
        (tenants, order) in tenants().prop_flat_map(|tenants| {
            let places: Vec<usize> = (0..tenants.len()).collect();
            (Just(tenants), Just(places).prop_shuffle())
        }),
    ) {
        let shuffled: Vec<Tenant> = order.iter().map(|place| tenants[*place].clone()).collect();
        let (outcomes, of_shuffled) = (judge(&tenants), judge(&shuffled));
        for (place, outcome) in order.iter().zip(of_shuffled) {
            let moved = |Collision { holder, witness }| Collision { holder: order[holder], witness };
            let outcome = match outcome {
                Outcome::Granted => Outcome::Granted,
                Outcome::Kept(collision) => Outcome::Kept(collision.map(moved)),
                Outcome::Refused(collision) => Outcome::Refused(moved(collision)),
            };
            prop_assert_eq!(&outcome, &outcomes[*place]);
        }
    }

    #[test]
    fn what_was_granted_and_published_is_granted_again(tenants in tenants()) {
        let outcomes = judge(&tenants);
        let published = tenants.iter().zip(&outcomes).map(|(tenant, outcome)| Tenant {
            published: tenant.owned(outcome),
            ..tenant.clone()
        });
        let again = judge(&published.collect::<Vec<_>>());
        for (before, after) in outcomes.iter().zip(&again) {
            prop_assert!(*before != Outcome::Granted || *after == Outcome::Granted, "{before:?}, then {after:?}");
        }
    }
}
