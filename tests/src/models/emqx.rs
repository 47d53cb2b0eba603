//! EMQX 5 and 6: a list of rules, of which the first match decides.
//!
//! `emqx_topic:match/2` compares a filter that a client subscribes to as if it were a name: `t/#` matches `t/+`, and `a/#`
//! matches `a/+/#`, although both ask for more. A Deny is not intersected with the filter that is asked for.

mod acl_conf;

pub use acl_conf::{AclConf, Asked, Client, pattern_matches};

/// Whether a topic name or filter matches the filter of a rule (`emqx_topic:match/2`).
#[must_use]
pub fn matches(asked: &str, rule: &str) -> bool {
    // "Filters that start with a wildcard do not match names that start with `$`."
    if asked.starts_with('$') && (rule.starts_with('+') || rule.starts_with('#')) {
        return false;
    }
    let (asked, rule): (Vec<&str>, Vec<&str>) = (asked.split('/').collect(), rule.split('/').collect());
    words_match(&asked, &rule)
}

fn words_match(asked: &[&str], rule: &[&str]) -> bool {
    match (asked, rule) {
        ([], []) | (_, ["#"]) => true,
        ([a, asked @ ..], [r, rule @ ..]) if a == r => words_match(asked, rule),
        ([_, asked @ ..], ["+", rule @ ..]) => words_match(asked, rule),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_subscription_is_compared_as_if_it_were_a_name() {
        for (asked, rule, expected) in [
            ("t/+", "t/#", true),
            ("t/#", "t/+", true),
            ("#", "+", true),
            ("a/+/#", "a/+/+", true),
            ("a/#", "a/+/#", true),
            ("a/#", "a/+/b", false),
            ("#", "a/#", false),
            ("+/b", "a/b", false),
            ("t", "t/#", true),
            ("t/", "t/+", true),
            ("$SYS/x", "#", false),
            ("$SYS/x", "+/x", false),
            ("$SYS/x", "$SYS/#", true),
        ] {
            assert_eq!(matches(asked, rule), expected, "{asked} against {rule}");
        }
    }
}
