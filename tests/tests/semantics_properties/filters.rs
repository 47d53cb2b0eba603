//! `covers`, `overlaps` and the prefixes against their definitions.

use std::sync::LazyLock;

use mqtt_access_core::topic::prefix::{self, Prefixes};
use mqtt_access_core::topic::{Filter, TopicName, covers, overlap_witness, overlaps};
use mqtt_access_tests::reference::{self, Names, is_filter, is_name};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::filter;
use crate::cases;
use crate::decisions::names;

/// Every name of up to five levels: the literals that [`filter`] uses, and two words that it does not.
static ALL: LazyLock<Vec<String>> = LazyLock::new(|| names(&["a", "b", "", "$x", "xa", "${clientid}", "c", "$c"], 5));

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_filter_matches_what_the_definition_says(text in filter(), name in filter()) {
        let name = name.replace(['+', '#'], "a");
        let fast = Filter::parse(&text).unwrap().matches(TopicName::parse(&name).unwrap());
        prop_assert_eq!(fast, Names::of(&text).contains(&name));
    }

    #[test]
    fn covering_and_overlapping_are_what_they_are_defined_as(a in filter(), b in filter()) {
        let (fast_a, fast_b) = (Filter::parse(&a).unwrap(), Filter::parse(&b).unwrap());
        let (slow_a, slow_b) = (Names::of(&a), Names::of(&b));
        prop_assert_eq!(covers(fast_a, fast_b), slow_a.covers(&slow_b), "{} covers {}", a, b);
        prop_assert_eq!(overlaps(fast_a, fast_b), slow_a.overlaps(&slow_b), "{} overlaps {}", a, b);
        let witness = overlap_witness(fast_a, fast_b);
        prop_assert_eq!(witness.is_some(), slow_a.overlaps(&slow_b));
        if let Some(name) = witness {
            prop_assert!(is_name(&name), "`{}` of {} and {}", name, a, b);
            prop_assert!(slow_a.contains(&name) && slow_b.contains(&name), "`{}` of {} and {}", name, a, b);
        }
    }

    #[test]
    fn any_text_is_a_name_or_a_filter_as_the_definition_says(
        text in vec(select(vec!["a", "/", "+", "#", "$", "\u{0}", "\u{7f}", "\u{9f}", "é"]), 0..6),
    ) {
        let text = text.concat();
        prop_assert_eq!(TopicName::parse(&text).is_ok(), is_name(&text));
        prop_assert_eq!(Filter::parse(&text).is_ok(), is_filter(&text));
    }

    #[test]
    fn one_prefix_is_stripped_and_a_reserved_one_that_remains_is_denied(
        levels in vec(select(vec!["$share", "$queue", "$exclusive", "$delayed", "a", "7", "", "+", "#"]), 1..6),
        stripped in any::<bool>(),
    ) {
        let text = levels.join("/");
        let prefixes = if stripped { Prefixes::Stripped } else { Prefixes::Strip };
        let filter = prefix::subscribe_filter(&text, prefixes).ok().map(|filter| filter.as_str().to_owned());
        prop_assert_eq!(filter, reference::subscribe_filter(&text, stripped));
        let name = prefix::publish_name(&text, prefixes).ok().map(|name| name.as_str().to_owned());
        prop_assert_eq!(name, reference::publish_name(&text, stripped));
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// The reference asks only the names that matter; this asks all of them up to five levels.
    #[test]
    fn the_names_that_matter_are_enough(a in filter(), b in filter()) {
        let (a, b) = (Names::of(&a), Names::of(&b));
        for (a, b) in [(&a, &b), (&b, &a)] {
            prop_assert_eq!(a.covers(b), ALL.iter().all(|name| a.contains(name) || !b.contains(name)));
            prop_assert_eq!(a.overlaps(b), ALL.iter().any(|name| a.contains(name) && b.contains(name)));
        }
    }
}
