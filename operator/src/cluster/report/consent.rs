//! What a tenant is told of topics that it and another one own without mutual consent. It is not told which: that is in the
//! operator's log.

use mqtt_access_core::claims::Overlap;
use mqtt_access_crds::TenantIsolated;

use crate::cluster::broker_claims::{Isolation, Unshared};
use crate::cluster::cache::ObjectKey;

/// How many of its filters a tenant is told.
const MAX_TOLD: usize = 5;

/// The reason and message of `Isolated` where all that the tenant wants is granted.
pub(super) fn standing(standing: &Isolation) -> (TenantIsolated, String) {
    let none = Unshared::default();
    let Unshared { withheld, owned_alone } = standing.unshared().unwrap_or(&none);
    let told = [
        filters(withheld, |overlap| &overlap.other_filter).map(|filters| {
            format!(
                "{filters}: topics there belong to another, older tenant of the broker alone, because not both name the \
                 other in `sharedWith`; they are denied to the clients of this tenant until both do"
            )
        }),
        filters(owned_alone, |overlap| &overlap.filter).map(|filters| {
            format!(
                "{filters}: topics there belong to this tenant alone, because it and another, younger tenant of the broker \
                 do not both name the other in `sharedWith`; they are denied to the clients of the other"
            )
        }),
    ];
    let reason = match (withheld.is_empty(), owned_alone.is_empty()) {
        (false, _) => TenantIsolated::ConsentWithdrawn,
        (true, false) => TenantIsolated::OwnedAlone,
        (true, true) => return (TenantIsolated::NoConflict, "nobody else holds what the tenant claims".to_owned()),
    };
    (reason, told.into_iter().flatten().collect::<Vec<_>>().join(". "))
}

/// The filters of the tenant itself, each once, with a topic of the first.
fn filters<'u>(overlaps: &'u [(ObjectKey, Overlap)], own: impl Fn(&'u Overlap) -> &'u String) -> Option<String> {
    let (_, first) = overlaps.first()?;
    let mut filters: Vec<&String> = overlaps.iter().map(|(_, overlap)| own(overlap)).collect();
    filters.sort();
    filters.dedup();
    let more = filters.len().saturating_sub(MAX_TOLD);
    let shown: Vec<String> = filters.into_iter().take(MAX_TOLD).map(|filter| format!("`{filter}`")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{}{more}, for example `{}`", shown.join(", "), first.witness))
}

#[cfg(test)]
mod tests {
    use mqtt_access_core::bundle::Claims;
    use mqtt_access_crds::TenantIsolated::{ConsentWithdrawn, NoConflict, OwnedAlone};

    use super::*;

    fn told(withheld: &[(&str, &str)], owned_alone: &[(&str, &str)]) -> (TenantIsolated, String) {
        let overlap = |(filter, other): &(&str, &str)| {
            let (filter, other_filter, witness) = ((*filter).to_owned(), (*other).to_owned(), "t/1".to_owned());
            (ObjectKey::new("secret", "name"), Overlap { owner: 0, filter, other_filter, witness })
        };
        let [withheld, owned_alone] = [withheld, owned_alone].map(|pairs| pairs.iter().map(overlap).collect());
        let claims = Claims { instance_id: String::new(), client_id_prefixes: Vec::new(), topic_space: Vec::new() };
        standing(&Isolation::Granted(claims, Unshared { withheld, owned_alone }))
    }

    #[test]
    fn both_are_told_by_their_own_filters_and_not_who_the_other_is() {
        assert_eq!(told(&[], &[]).0, NoConflict);
        let (reason, message) = told(&[("theirs/#", "mine/+"), ("other/#", "mine/+")], &[]);
        assert_eq!(reason, ConsentWithdrawn);
        assert!(message.starts_with("`mine/+`, for example `t/1`: topics there belong to another, older"), "{message}");
        assert!(!message.contains("theirs") && !message.contains("secret"), "{message}");
        let (reason, message) = told(&[], &[("mine/#", "theirs/+")]);
        assert_eq!(reason, OwnedAlone);
        assert!(message.starts_with("`mine/#`, for example `t/1`: topics there belong to this tenant"), "{message}");
        assert!(!message.contains("theirs") && !message.contains("secret"), "{message}");
        let (reason, message) = told(&[("a", "b")], &[("c", "d")]);
        assert_eq!(reason, ConsentWithdrawn);
        assert!(message.contains("`b`") && message.contains(". `c`"), "{message}");
        let many: Vec<String> = (0..9).map(|number| format!("f{number}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|filter| ("x", filter.as_str())).collect();
        assert!(told(&many, &[]).1.contains("`f4` and 4 more"), "{}", told(&many, &[]).1);
    }
}
