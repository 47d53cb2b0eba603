//! What a variable's value may be, and how a level with variables compares with a level of a request.

use super::{Part, Variable};

/// How a level with variables relates to one level of a request, for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendered {
    /// Every value is usable and the rendered text is the level asked about.
    Equal,
    /// Every value is usable and the rendered text is another.
    Different,
    /// Some value is unusable: an Allow matches nothing, a Deny grows.
    Unusable(Unusable),
}

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

fn unusable_value(value: Option<&str>, leads: bool, dotted: bool) -> Option<Unusable> {
    let Some(value) = value else {
        return Some(Unusable::Level);
    };
    if value.contains('/') || (dotted && is_dotted(value)) {
        return Some(Unusable::Below);
    }
    let faulty = value.is_empty()
        || (leads && value.starts_with('$'))
        || value.contains(['+', '#'])
        || value.contains("${")
        || value.chars().any(char::is_control);
    faulty.then_some(Unusable::Level)
}

/// Compares a level of a request with the level's rendering, without building it.
pub fn compare<'v>(
    parts: &[Part],
    position: Position,
    level: &str,
    value: impl Fn(&Variable) -> Option<&'v str>,
) -> Rendered {
    if let Some(unusable) = unusable(parts, position, &value) {
        return Rendered::Unusable(unusable);
    }
    let mut rest = level;
    for part in parts {
        let text = match part {
            Part::Text(text) => text,
            Part::Variable(variable) => value(variable).unwrap_or_default(),
        };
        match rest.strip_prefix(text) {
            Some(after) => rest = after,
            None => return Rendered::Different,
        }
    }
    if rest.is_empty() { Rendered::Equal } else { Rendered::Different }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{TemplateLevel, Topic};

    fn render(template: &str, level: &str, client_id: Option<&str>, position: Position) -> Rendered {
        let Topic::Template(levels) = Topic::parse(template).unwrap() else { panic!("exact") };
        let Some(TemplateLevel::Variable(parts)) = levels.into_iter().next() else { panic!("no variable") };
        compare(&parts, position, level, |_| client_id)
    }

    const FIRST: Position = Position { first: true, dotted: false };

    #[test]
    fn a_level_compares_with_text_around_its_values() {
        assert_eq!(render("a${clientid}b", "axb", Some("x"), FIRST), Rendered::Equal);
        assert_eq!(render("a${clientid}b", "axbc", Some("x"), FIRST), Rendered::Different);
        assert_eq!(render("a${clientid}b", "a", Some("x"), FIRST), Rendered::Different);
    }

    #[test]
    fn unusable_values_are_told_by_how_far_a_deny_grows() {
        for (value, expected) in [
            (None, Unusable::Level),
            (Some(""), Unusable::Level),
            (Some("a+"), Unusable::Level),
            (Some("#"), Unusable::Level),
            (Some("a${b"), Unusable::Level),
            (Some("a\u{7f}"), Unusable::Level),
            (Some("$a"), Unusable::Level),
            (Some("a/b"), Unusable::Below),
        ] {
            assert_eq!(render("${clientid}", "a", value, FIRST), Rendered::Unusable(expected), "{value:?}");
        }
    }

    #[test]
    fn a_leading_dollar_is_unusable_only_where_it_leads_the_topic() {
        assert_eq!(render("x${clientid}", "x$a", Some("$a"), FIRST), Rendered::Equal);
        let later = Position { first: false, dotted: false };
        assert_eq!(render("${clientid}", "$a", Some("$a"), later), Rendered::Equal);
    }

    #[test]
    fn dots_and_stars_are_unusable_where_the_broker_confuses_them() {
        let dotted = Position { first: false, dotted: true };
        assert_eq!(render("${clientid}", "a", Some("a.b"), dotted), Rendered::Unusable(Unusable::Below));
        assert_eq!(render("x.${clientid}", "x.a", Some("a"), dotted), Rendered::Unusable(Unusable::Below));
    }
}
