//! Topic names and topic filters, and the two questions asked of filters: does one cover another, do two overlap.
//!
//! Strings are compared as bytes: no Unicode normalisation, no case folding. The rules are those of the MQTT
//! standard, section 4.7, with the restriction that control characters are refused everywhere.

pub mod prefix;
mod relation;

use thiserror::Error;

pub use relation::{covers, intersection, overlap_witness, overlaps};
pub(crate) use relation::{covers_with_dollars, overlaps_with_dollars};

/// The longest topic name or filter that MQTT can carry, in bytes.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why a string is not a topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TopicError {
    /// The string has no bytes.
    #[error("a topic is empty; write at least one character")]
    Empty,
    /// The string has more than [`MAX_TOPIC_BYTES`] bytes.
    #[error("a topic is longer than 65535 bytes; shorten it")]
    TooLong,
    /// The string holds a control character.
    #[error("a topic holds a control character; remove it")]
    Control,
    /// `+` or `#` where none may stand.
    #[error("a wildcard stands where none is allowed; use `+` alone in a level and `#` alone in the last level")]
    Wildcard,
    /// `$share`, `$queue`, `$exclusive` or `$delayed` where it means nothing.
    #[error("a reserved prefix is malformed or stands where it has no meaning")]
    ReservedPrefix,
}

/// What a PUBLISH packet carries: no wildcard, 1 to 65,535 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks the string.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// What a SUBSCRIBE packet carries, without a shared-subscription prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter<'a>(&'a str);

/// One level of a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level<'a> {
    /// Exactly this text, which may be empty.
    Literal(&'a str),
    /// `+`: any one level.
    Plus,
    /// `#`: the parent level and everything below.
    Hash,
}

impl<'a> Filter<'a> {
    /// Checks the string.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let last = levels.peek().is_none();
            let fits = match level {
                "+" => true,
                "#" => last,
                _ => !level.contains(['+', '#']),
            };
            if !fits {
                return Err(TopicError::Wildcard);
            }
        }
        Ok(Self(text))
    }

    /// The filter as it was written.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Its levels from left to right; those of `/#` are given as `/+/#`.
    pub fn levels(self) -> impl Iterator<Item = Level<'a>> + Clone {
        self.canonical().split('/').map(Level::of)
    }

    /// The text to compare by. No name is empty, so nothing matches the parent of `/#`: it is the same as `/+/#`.
    pub(crate) fn canonical(self) -> &'a str {
        if self.0 == "/#" { "/+/#" } else { self.0 }
    }

    /// Whether the filter matches the name, by the rules of MQTT.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        covers(self, Filter(name.0))
    }
}

impl<'a> From<TopicName<'a>> for Filter<'a> {
    /// A name is the filter that matches just itself.
    fn from(name: TopicName<'a>) -> Self {
        Self(name.0)
    }
}

impl<'a> Level<'a> {
    /// Reads one level of a valid filter.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        match text {
            "+" => Self::Plus,
            "#" => Self::Hash,
            _ => Self::Literal(text),
        }
    }

    /// Whether a leading wildcard does not reach this level because it starts with `$`.
    pub(crate) fn is_dollar(self) -> bool {
        matches!(self, Self::Literal(text) if text.starts_with('$'))
    }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        Err(TopicError::Empty)
    } else if text.len() > MAX_TOPIC_BYTES {
        Err(TopicError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(TopicError::Control)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_filters_are_told_apart() {
        for (text, name, filter) in [
            ("a/b", true, true),
            ("/", true, true),
            ("a//b/", true, true),
            ("$SYS/x", true, true),
            ("+", false, true),
            ("a/+/#", false, true),
            ("a+/b", false, false),
            ("a/#/b", false, false),
            ("a#", false, false),
            ("", false, false),
            ("a\u{0}b", false, false),
            ("a\u{85}b", false, false),
        ] {
            assert_eq!(TopicName::parse(text).is_ok(), name, "name {text:?}");
            assert_eq!(Filter::parse(text).is_ok(), filter, "filter {text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_bytes() {
        let longest = "é".repeat(32_767) + "a";
        assert!(TopicName::parse(&longest).is_ok());
        assert_eq!(TopicName::parse(&(longest + "a")), Err(TopicError::TooLong));
    }

    #[test]
    fn a_filter_matches_by_the_rules_of_mqtt() {
        for (filter, name, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("+", "a/b", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("a/+", "a/$b", true),
        ] {
            let (f, n) = (Filter::parse(filter).unwrap(), TopicName::parse(name).unwrap());
            assert_eq!(f.matches(n), expected, "{filter} {name}");
        }
    }
}
