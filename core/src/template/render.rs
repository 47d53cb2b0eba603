//! What a variable's value may be, and how a level with variables compares with a level of a request.

use super::{Part, Variable};

/// How far a Deny grows when a value in its level cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The level becomes `+`, or `#` where it was the last.
    Level,
    /// The level becomes `#`: the value would have been several levels.
    Below,
}

/// Where a level stands and how the broker writes topics, as far as that makes values unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Whether the level is the first of its template: there, no value may bring a leading `$`.
    pub first: bool,
    /// Whether `.` and `*` are ambiguous, as on RabbitMQ.
    pub dotted: bool,
}

/// Whether a level contains what RabbitMQ cannot tell from a level separator or a wildcard.
#[must_use]
pub fn is_dotted(level: &str) -> bool {
    level.contains(['.', '*'])
}

/// Why the value of a level's variables cannot be used; `None` when it can.
///
/// Of several unusable values the one that makes a Deny grow furthest counts.
pub fn unusable<'v>(
    parts: &[Part],
    position: Position,
    value: impl Fn(&Variable) -> Option<&'v str>,
) -> Option<Unusable> {
    let mut worst = None;
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) if position.dotted && is_dotted(text) => return Some(Unusable::Below),
            Part::Text(_) => {}
            Part::Variable(variable) => {
                let leads = position.first && index == 0;
                match unusable_value(value(variable), leads, position.dotted) {
                    Some(Unusable::Below) => return Some(Unusable::Below),
                    Some(Unusable::Level) => worst = Some(Unusable::Level),
                    None => {}
                }
            }
        }
    }
    worst
}

/// This is asked of every variable on the path of a decision, and most values hold nothing that needs a second look: a test
/// without branches, which the compiler does many bytes at a time, tells them.
fn unusable_value(value: Option<&str>, leads: bool, dotted: bool) -> Option<Unusable> {
    let Some(value) = value else {
        return Some(Unusable::Level);
    };
    let suspicious = |byte: u8| !matches!(byte, b'-' | b'0'..=b'~');
    if value.bytes().fold(value.is_empty(), |found, byte| suspicious(byte) || found) {
        return unusable_bytes(value, leads, dotted);
    }
    None
}

fn unusable_bytes(value: &str, leads: bool, dotted: bool) -> Option<Unusable> {
    let mut faulty = value.is_empty() || (leads && value.starts_with('$'));
    let mut before = 0;
    for byte in value.bytes() {
        match byte {
            b'/' => return Some(Unusable::Below),
            b'.' | b'*' if dotted => return Some(Unusable::Below),
            b'+' | b'#' | 0..0x20 | 0x7f => faulty = true,
            b'{' if before == b'$' => faulty = true,
            // The control characters U+0080 to U+009F in UTF-8.
            0x80..0xa0 if before == 0xc2 => faulty = true,
            _ => {}
        }
        before = byte;
    }
    faulty.then_some(Unusable::Level)
}

/// Whether a level of a request is the text that the parts make, without building it. Says nothing of [`unusable`].
pub fn spells<'v>(parts: &[Part], level: &str, value: impl Fn(&Variable) -> Option<&'v str>) -> bool {
    let mut rest = level;
    for part in parts {
        let text = match part {
            Part::Text(text) => text,
            Part::Variable(variable) => value(variable).unwrap_or_default(),
        };
        match rest.strip_prefix(text) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{TemplateLevel, Topic};

    fn parts(template: &str) -> Box<[Part]> {
        let Topic::Template(levels) = Topic::parse(template).unwrap() else { panic!("exact") };
        let Some(TemplateLevel::Variable(parts)) = levels.into_iter().next() else { panic!("no variable") };
        parts
    }

    fn fault(template: &str, client_id: Option<&str>, position: Position) -> Option<Unusable> {
        unusable(&parts(template), position, |_| client_id)
    }

    const FIRST: Position = Position { first: true, dotted: false };

    #[test]
    fn a_level_is_spelt_by_the_text_around_its_values() {
        let spells = |level| spells(&parts("a${clientid}b"), level, |_| Some("x"));
        assert!(spells("axb"));
        assert!(!spells("axbc") && !spells("a") && !spells("xb") && !spells(""));
    }

    #[test]
    fn unusable_values_are_told_by_how_far_a_deny_grows() {
        for (value, expected) in [
            (None, Some(Unusable::Level)),
            (Some(""), Some(Unusable::Level)),
            (Some("a+"), Some(Unusable::Level)),
            (Some("#"), Some(Unusable::Level)),
            (Some("a${b"), Some(Unusable::Level)),
            (Some("a\u{7f}"), Some(Unusable::Level)),
            (Some("a\u{85}"), Some(Unusable::Level)),
            (Some("$a"), Some(Unusable::Level)),
            (Some("+a/b"), Some(Unusable::Below)),
            (Some("a{$}é\u{a0}"), None),
        ] {
            assert_eq!(fault("${clientid}", value, FIRST), expected, "{value:?}");
        }
    }

    #[test]
    fn a_leading_dollar_is_unusable_only_where_it_leads_the_topic() {
        assert_eq!(fault("x${clientid}", Some("$a"), FIRST), None);
        assert_eq!(fault("${clientid}", Some("$a"), Position { first: false, dotted: false }), None);
    }

    #[test]
    fn dots_and_stars_are_unusable_where_the_broker_confuses_them() {
        let dotted = Position { first: false, dotted: true };
        for (template, value) in [("${clientid}", "a.b"), ("${clientid}", "*"), ("x.${clientid}", "a")] {
            assert_eq!(fault(template, Some(value), dotted), Some(Unusable::Below));
            assert_eq!(fault(template, Some(value), Position { dotted: false, ..dotted }), None);
        }
    }
}
