//! Topic templates: filters in which a level may contain `${clientid}`, `${username}` or `${client_attrs.NAME}`.
//!
//! A template is parsed once and never rendered into a string on the reply path: its levels are compared with those of
//! the request. What a variable's value may be, and what an unusable value means, is [`render`].

mod for_client;
mod layout;
pub mod render;
mod spellings;

use thiserror::Error;

pub use for_client::ClientTopic;
pub use layout::{Layout, Shape};
pub(crate) use spellings::Spellings;

use crate::topic::{Filter, TopicError};

/// The longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1024;

/// An entry of a rule's `topics`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A template; `${$}` in it is a literal `$`.
    Template(Vec<TemplateLevel>),
    /// The valid filter after `eq `, taken literally.
    Exact(Box<str>),
}

/// One level of a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TemplateLevel {
    /// Exactly this text.
    Literal(Box<str>),
    /// `+`
    Plus,
    /// `#`
    Hash,
    /// Text and variables mixed; at least one variable.
    Variable(Box<[Part]>),
}

/// A piece of a level with variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Literal text, never empty.
    Text(Box<str>),
    /// A variable to be replaced by the client's value.
    Variable(Variable),
}

/// What a template may refer to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `${clientid}`
    ClientId,
    /// `${username}`
    Username,
    /// `${client_attrs.NAME}`
    Attribute(Box<str>),
}

impl std::fmt::Display for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientId => f.write_str("${clientid}"),
            Self::Username => f.write_str("${username}"),
            Self::Attribute(name) => write!(f, "${{client_attrs.{name}}}"),
        }
    }
}

/// Why an entry of `topics` is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Longer than [`MAX_TEMPLATE_BYTES`].
    #[error("a topic is longer than 1024 bytes; shorten it")]
    TooLong,
    /// `${` that starts no known variable.
    #[error(
        "a variable is unknown; use `${{clientid}}`, `${{username}}`, `${{client_attrs.NAME}}`, or `${{$}}` for a literal `$`"
    )]
    Variable,
    /// The text around the variables is not a filter.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl Variable {
    /// Whether a topic may use a value of it that stands within a level.
    #[must_use]
    pub fn is_usable(&self, value: Option<&str>) -> bool {
        let position = render::Position { first: false, dotted: false };
        render::unusable(&[Part::Variable(self.clone())], position, |_| value).is_none()
    }
}

impl Topic {
    /// Parses one entry of a rule's `topics`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        if let Some(filter) = text.strip_prefix("eq ") {
            Filter::parse(filter)?;
            return Ok(Self::Exact(filter.into()));
        }
        // With each variable in the place of a word, the rest must be a filter: this settles the wildcards.
        let levels = text.split('/').map(parse_level).collect::<Result<Vec<_>, _>>()?;
        Filter::parse(&skeleton(&levels, "x"))?;
        Ok(Self::Template(levels))
    }

    /// The widest filter that any client's rendering can reach: every level with a variable read as `+`.
    ///
    /// `None` where no filter can say it: a level such as `$x${clientid}` first, which `+` does not match.
    #[must_use]
    pub fn widest(&self) -> Option<String> {
        match self {
            Self::Exact(filter) => Some(filter.to_string()),
            Self::Template(levels) if dollar_variable(levels.first()) => None,
            Self::Template(levels) => Some(widest(levels)),
        }
    }
}

fn dollar_variable(first: Option<&TemplateLevel>) -> bool {
    let Some(TemplateLevel::Variable(parts)) = first else {
        return false;
    };
    matches!(parts.first(), Some(Part::Text(text)) if text.starts_with('$'))
}

/// The template with every level that has a variable read as `+`.
pub(crate) fn widest(levels: &[TemplateLevel]) -> String {
    let texts = levels.iter().map(|level| match level {
        TemplateLevel::Literal(text) => text,
        TemplateLevel::Hash => "#",
        TemplateLevel::Plus | TemplateLevel::Variable(_) => "+",
    });
    texts.collect::<Vec<_>>().join("/")
}

/// The template as a filter in which every variable is `word`, so that its text can be checked as one.
fn skeleton(levels: &[TemplateLevel], word: &str) -> String {
    let text = |level: &TemplateLevel| match level {
        TemplateLevel::Literal(text) => text.to_string(),
        TemplateLevel::Plus => "+".to_owned(),
        TemplateLevel::Hash => "#".to_owned(),
        TemplateLevel::Variable(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Variable(_) => word,
            })
            .collect(),
    };
    levels.iter().map(text).collect::<Vec<_>>().join("/")
}

fn parse_level(text: &str) -> Result<TemplateLevel, TemplateError> {
    match text {
        "+" => return Ok(TemplateLevel::Plus),
        "#" => return Ok(TemplateLevel::Hash),
        _ if !text.contains("${") => return Ok(TemplateLevel::Literal(text.into())),
        _ => {}
    }
    let parts = parse_parts(text)?;
    Ok(match parts.as_slice() {
        [Part::Text(text)] => TemplateLevel::Literal(text.clone()),
        _ => TemplateLevel::Variable(parts.into()),
    })
}

fn parse_parts(mut rest: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        literal.push_str(before);
        let (name, after) = after.split_once('}').ok_or(TemplateError::Variable)?;
        rest = after;
        if name == "$" {
            literal.push('$');
            continue;
        }
        flush(&mut literal, &mut parts);
        parts.push(Part::Variable(parse_variable(name)?));
    }
    literal.push_str(rest);
    flush(&mut literal, &mut parts);
    Ok(parts)
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal).into()));
    }
}

fn parse_variable(name: &str) -> Result<Variable, TemplateError> {
    match name {
        "clientid" => Ok(Variable::ClientId),
        "username" => Ok(Variable::Username),
        _ => match name.strip_prefix("client_attrs.") {
            Some(attribute) if is_attribute_name(attribute) => Ok(Variable::Attribute(attribute.into())),
            _ => Err(TemplateError::Variable),
        },
    }
}

/// Whether a client attribute may have this name: `[A-Za-z0-9][A-Za-z0-9_-]*`, as EMQX demands it.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<TemplateLevel> {
        match Topic::parse(text).unwrap() {
            Topic::Template(levels) => levels,
            Topic::Exact(filter) => panic!("{filter} is exact"),
        }
    }

    #[test]
    fn variables_may_stand_anywhere_in_a_level() {
        let id = Part::Variable(Variable::ClientId);
        assert_eq!(
            levels("a/x${clientid}-${client_attrs.site}/+/#"),
            [
                TemplateLevel::Literal("a".into()),
                TemplateLevel::Variable(
                    [
                        Part::Text("x".into()),
                        id,
                        Part::Text("-".into()),
                        Part::Variable(Variable::Attribute("site".into())),
                    ]
                    .into()
                ),
                TemplateLevel::Plus,
                TemplateLevel::Hash,
            ]
        );
    }

    #[test]
    fn an_escaped_dollar_is_literal_text() {
        assert_eq!(levels("${$}{clientid}"), [TemplateLevel::Literal("${clientid}".into())]);
        assert_eq!(levels("a$b"), [TemplateLevel::Literal("a$b".into())]);
    }

    #[test]
    fn eq_takes_a_filter_literally() {
        assert_eq!(Topic::parse("eq a/${clientid}/#").unwrap(), Topic::Exact("a/${clientid}/#".into()));
        assert!(Topic::parse("eq a/#/b").is_err());
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "",
            "a/${client}",
            "a/${clientid",
            "a/${client_attrs.}",
            "a/${client_attrs.x y}",
            "a/+${clientid}",
            "${client_attrs.${clientid}}",
            "${${clientid}}",
            "${",
        ] {
            assert!(Topic::parse(text).is_err(), "{text}");
        }
        for text in ["a/${clientid}#", "#/a", "a/\n", "${a/b}"] {
            assert!(Topic::parse(text).is_err(), "{text}");
        }
        assert_eq!(Topic::parse(&"a".repeat(1025)), Err(TemplateError::TooLong));
    }

    #[test]
    fn the_widest_rendering_reads_variables_as_plus() {
        assert_eq!(Topic::parse("a/x${clientid}/#").unwrap().widest().as_deref(), Some("a/+/#"));
        assert_eq!(Topic::parse("$a${clientid}/#").unwrap().widest(), None);
    }
}
