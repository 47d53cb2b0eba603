//! The prefixes that brokers give a meaning of their own: `$share/{group}/F`, `$queue/F`, `$exclusive/F` and
//! `$delayed/{seconds}/T`.
//!
//! Exactly one is stripped, and only where the broker has not done so before asking. What remains reserved, or is
//! malformed, is refused: a policy must not be read in one way here and in another by the broker.

use super::{Filter, TopicError, TopicName};

/// Whether the broker hands over topics with such a prefix still on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefixes {
    /// The broker asks with the prefix: strip one.
    Strip,
    /// The broker has stripped it, or knows none: one that remains is refused.
    Stripped,
}

const RESERVED: [&str; 4] = ["$share", "$queue", "$exclusive", "$delayed"];

/// The name by which a publish is judged.
pub fn publish_name(topic: &str, prefixes: Prefixes) -> Result<TopicName<'_>, TopicError> {
    let rest = match (prefixes, topic.strip_prefix("$delayed/")) {
        (Prefixes::Strip, Some(rest)) => strip_seconds(rest)?,
        _ => topic,
    };
    refuse_reserved(rest)?;
    TopicName::parse(rest)
}

/// The filter by which a subscription is judged.
pub fn subscribe_filter(filter: &str, prefixes: Prefixes) -> Result<Filter<'_>, TopicError> {
    let rest = match prefixes {
        Prefixes::Stripped => filter,
        Prefixes::Strip => strip_subscription(filter)?,
    };
    refuse_reserved(rest)?;
    Filter::parse(rest)
}

fn strip_seconds(rest: &str) -> Result<&str, TopicError> {
    match rest.split_once('/') {
        Some((seconds, topic)) if is_number(seconds) => Ok(topic),
        _ => Err(TopicError::ReservedPrefix),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn strip_subscription(filter: &str) -> Result<&str, TopicError> {
    if let Some(rest) = filter.strip_prefix("$share/") {
        return match rest.split_once('/') {
            Some((group, rest)) if !group.is_empty() && !group.contains(['+', '#']) => Ok(rest),
            _ => Err(TopicError::ReservedPrefix),
        };
    }
    let plain = filter.strip_prefix("$queue/").or_else(|| filter.strip_prefix("$exclusive/"));
    Ok(plain.unwrap_or(filter))
}

fn refuse_reserved(topic: &str) -> Result<(), TopicError> {
    let first = topic.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        return Err(TopicError::ReservedPrefix);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_is_stripped_where_the_broker_has_not() {
        for (filter, expected) in [
            ("$share/g/a/#", Some("a/#")),
            ("$queue/a", Some("a")),
            ("$exclusive/a", Some("a")),
            ("$share/g//a", Some("/a")),
            ("a/b", Some("a/b")),
            ("$SYS/a", Some("$SYS/a")),
            ("$share/g", None),
            ("$share//a", None),
            ("$share/+/a", None),
            ("$share/g/", None),
            ("$share", None),
            ("$share/g/$share/h/a", None),
            ("$queue/$exclusive/a", None),
            ("$delayed/1/a", None),
        ] {
            let stripped = subscribe_filter(filter, Prefixes::Strip).ok().map(Filter::as_str);
            assert_eq!(stripped, expected, "{filter}");
        }
        for (topic, expected) in [
            ("$delayed/10/a", Some("a")),
            ("$delayed/x/a", None),
            ("$delayed/10", None),
            ("$delayed/10/$delayed/1/a", None),
            ("$share/g/a", None),
        ] {
            let stripped = publish_name(topic, Prefixes::Strip).ok().map(TopicName::as_str);
            assert_eq!(stripped, expected, "{topic}");
        }
    }

    #[test]
    fn a_prefix_that_remains_is_refused() {
        assert_eq!(subscribe_filter("$share/g/a", Prefixes::Stripped), Err(TopicError::ReservedPrefix));
        assert_eq!(publish_name("$delayed/1/a", Prefixes::Stripped), Err(TopicError::ReservedPrefix));
        assert!(publish_name("a", Prefixes::Stripped).is_ok());
    }
}
