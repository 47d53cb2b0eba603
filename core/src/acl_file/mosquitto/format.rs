//! What the lines of Mosquitto's files can carry.
//!
//! One topic that Mosquitto refuses makes it refuse the whole file. It cuts white space off both ends of a topic, and
//! takes the rest of a line as it is.

use std::borrow::Cow;

use crate::topic::Filter;

/// `TOPIC_HIERARCHY_LIMIT` of Mosquitto's `config.h`: slashes in a topic.
const MAX_SLASHES: usize = 200;

/// A comment line. Nothing in it can end the line.
pub(super) fn comment(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("# {text}\n")
}

/// Whether a username stands in both files as it is: the `password_file` parts its fields by `:`, and a line that begins
/// with `#` is a comment.
pub(super) fn is_username(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('#')
        && !text.contains(':')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Whether a topic line can carry a filter.
pub(super) fn carries(filter: &str) -> bool {
    Filter::parse(filter).is_ok() && filter.trim_ascii() == filter && slashes(filter) <= MAX_SLASHES
}

/// The filter for a Deny: where a line cannot carry it, a wider one.
pub(super) fn grown(filter: &str) -> Cow<'_, str> {
    if carries(filter) {
        return Cow::Borrowed(filter);
    }
    let mut levels: Vec<&str> = filter.split('/').collect();
    if levels.len() > MAX_SLASHES + 1 {
        levels.truncate(MAX_SLASHES);
        levels.push("#");
    }
    for end in [levels.len().saturating_sub(1), 0] {
        if let Some(level) = levels.get_mut(end).filter(|level| level.trim_ascii() != **level) {
            *level = "+";
        }
    }
    let text = levels.join("/");
    Cow::Owned(if carries(&text) { text } else { "#".to_owned() })
}

fn slashes(filter: &str) -> usize {
    filter.bytes().filter(|byte| *byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::covers;

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(comment("a\nuser b\r\0\u{85}"), "# a?user b???\n");
    }

    #[test]
    fn usernames_that_a_line_would_change_are_not_written() {
        for name in ["DeviceCredential|DC.x|mqtt-acme", "GID_acme@@@ada", "é", "$x", "a=b"] {
            assert!(is_username(name), "{name}");
        }
        for name in ["", "#a", "a:b", "a b", " a", "a\t", "a\n", "a\u{85}", "a\u{a0}"] {
            assert!(!is_username(name), "{name:?}");
        }
    }

    #[test]
    fn what_a_line_cannot_carry_grows() {
        let deep = vec!["a"; 300].join("/");
        let at_the_limit = vec!["a"; 201].join("/");
        assert!(carries(&at_the_limit) && carries("a b/c") && carries("#") && carries("/"));
        assert_eq!(grown(" a/b"), "+/b");
        assert_eq!(grown("a/b "), "a/+");
        assert_eq!(grown(" "), "+");
        assert_eq!(grown(" a/#"), "+/#");
        for filter in [" a/b", "a/b ", " ", "/ ", " a/+/ ", &deep, &format!(" {deep} "), &format!("{deep}/#")] {
            assert!(!carries(filter) && carries(&grown(filter)), "{filter:?}");
            assert!(covers(Filter::parse(&grown(filter)).unwrap(), Filter::parse(filter).unwrap()), "{filter:?}");
        }
    }
}
