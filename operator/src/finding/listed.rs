//! Findings as they stand in a status. Etcd takes objects of about a megabyte: a policy that is wrong from end to end must not
//! keep its own status, and those after it, from being written.

use super::Finding;
use crate::shorten::shorten;

/// How many findings a status lists, and the most bytes of what each says.
const MAX_LISTED: usize = 64;
const MAX_MESSAGE: usize = 512;

/// The findings in words, in their order; of too many the worst, and how many there are besides.
pub(crate) fn listed(findings: &[Finding]) -> Vec<String> {
    let mut worst: Vec<&Finding> = findings.iter().collect();
    if findings.len() > MAX_LISTED {
        worst.sort_by_key(|finding| finding.reason.severity());
    }
    let lines = worst.into_iter().take(MAX_LISTED).map(|finding| {
        let finding = finding.clone();
        Finding { message: shorten(finding.message, MAX_MESSAGE), ..finding }.to_string()
    });
    let more = findings.len().checked_sub(MAX_LISTED).filter(|more| *more > 0);
    let more = more.map(|more| format!("and {more} more; `mqtt-access-operator compile` tells all of them"));
    lines.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{FindingReason, Place};

    #[test]
    fn of_too_many_the_worst_are_listed_and_the_others_counted() {
        let of = |rule, reason| Finding::new(Place::Rule(rule), reason, "x".repeat(2_000));
        let mut findings: Vec<Finding> = (0..2_047).map(|rule| of(rule, FindingReason::InsideAnotherAllow)).collect();
        findings.push(of(2_047, FindingReason::OutsideTopicSpace));
        let listed = listed(&findings);
        assert_eq!(listed.len(), MAX_LISTED + 1);
        assert!(
            listed[0].starts_with("rules[2047]: ") && listed[0].ends_with("... (OutsideTopicSpace)"),
            "{}",
            listed[0]
        );
        assert!(listed[1].starts_with("rules[0]: "), "{}", listed[1]);
        assert!(listed[MAX_LISTED].starts_with("and 1984 more"), "{}", listed[MAX_LISTED]);
        assert!(listed.iter().map(String::len).sum::<usize>() < 64 * 1024);
    }

    #[test]
    fn few_are_listed_in_the_order_of_their_places() {
        let of = |rule, reason| Finding::new(Place::Rule(rule), reason, "m");
        let findings = [of(0, FindingReason::SelectsNobody), of(1, FindingReason::OutsideTopicSpace)];
        assert_eq!(listed(&findings), ["rules[0]: m (SelectsNobody)", "rules[1]: m (OutsideTopicSpace)"]);
        assert!(listed(&[]).is_empty());
    }
}
