//! The topics of rules as EMQX has to be told them: templates for an Allow, plain filters for a Deny.
//!
//! EMQX compares the filter of a subscription with that of a rule as if it were a name: a `+` at the end also takes a `#`. And it
//! skips a topic with a variable that the client has no value for, so that no topic of a Deny has one.

use std::collections::BTreeSet;

use super::pattern;
use super::term::Term;
use super::who::{Condition, Field};
use crate::client::{Mode, TICKET_ATTRIBUTE};
use crate::template::{Part, TemplateLevel, Topic, Variable};
use crate::topic::{Filter, Level, covers, overlaps};

/// A topic of an Allow.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) term: Term,
    /// What its values must be like.
    pub(super) guards: BTreeSet<Condition>,
    /// The topic with each variable read as `+`.
    pub(super) widest: String,
    /// Whether subscriptions with wildcards match it.
    pub(super) has_wildcard: bool,
    /// For each level the variable in it, where there is just one.
    slots: Vec<Option<Slot>>,
    pub(super) wider: Wider,
}

/// A level with one variable.
#[derive(Debug, Clone)]
struct Slot {
    field: Field,
    before: String,
    after: String,
}

/// Whether EMQX would take a subscription within a topic although a Deny stands against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Escape {
    No,
    /// From clients only that have this value, without which the two topics have nothing in common.
    Only(Field, String),
    Yes,
}

/// Which subscriptions EMQX would take that the topic does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wider {
    None,
    /// Just this one.
    One(String),
    /// More than can be listed.
    Many,
}

/// A topic of a Deny, which may be more than was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    Everything,
    Filter(String),
    Exact(String),
}

/// The modes in which the username is proven.
const VERIFIED: [Mode; 3] = [Mode::Signature, Mode::DeviceCredential, Mode::Password];

const DOLLAR: &str = "EMQX would read its `${` as a variable";
const HYPHEN: &str = "EMQX knows no variable with a `-` in its name; use an attribute without";

impl Granted {
    /// `Ok(None)` where the topic grants nothing to anybody; an error tells why EMQX cannot be told.
    pub(super) fn of(topic: &Topic) -> Result<Option<Self>, &'static str> {
        let levels = match topic {
            Topic::Exact(filter) => return Ok(Some(Self::exact(filter))),
            Topic::Template(levels) => levels,
        };
        let widest = topic.widest().ok_or("its first level begins with `$` and has a variable")?;
        let has_wildcard = levels.iter().any(|level| matches!(level, TemplateLevel::Plus | TemplateLevel::Hash));
        let variables = levels.iter().any(|level| matches!(level, TemplateLevel::Variable(_)));
        // A filter without wildcards and variables is the one topic that it names.
        if !has_wildcard && !variables {
            return Ok(Some(Self { term: plain(&widest), ..Self::exact(&widest) }));
        }
        let mut guards = BTreeSet::new();
        let mut texts = Vec::with_capacity(levels.len());
        for (place, level) in levels.iter().enumerate() {
            match level_text(level, place == 0, &mut guards)? {
                Some(text) => texts.push(text),
                None => return Ok(None),
            }
        }
        let (text, slots) = (texts.join("/"), levels.iter().map(Slot::of).collect());
        if text.starts_with("eq ") {
            return Err("EMQX would read its beginning as `eq`");
        }
        Ok(Some(Self { term: Term::Text(text), guards, widest, has_wildcard, slots, wider: wider(levels) }))
    }

    fn exact(filter: &str) -> Self {
        Self {
            term: exactly(filter),
            guards: BTreeSet::new(),
            widest: filter.to_owned(),
            has_wildcard: filter.contains(['+', '#']),
            slots: Vec::new(),
            wider: Wider::None,
        }
    }

    /// Whether a subscription within this topic gets past a Deny: because it overlaps the Deny without matching it.
    pub(super) fn escape(&self, refused: &Refused) -> Escape {
        let (Refused::Filter(text) | Refused::Exact(text)) = refused else { return Escape::No };
        let (Ok(own), Ok(denied)) = (Filter::parse(&self.widest), Filter::parse(text)) else { return Escape::Yes };
        let escapes = match refused {
            Refused::Exact(_) => covers(own, denied),
            _ => overlaps(own, denied) && !covers(denied, own),
        };
        if !self.has_wildcard || !escapes {
            return Escape::No;
        }
        let levels = denied.levels().take_while(|level| *level != Level::Hash);
        let meetings = self.slots.iter().zip(levels).filter_map(|(slot, level)| match (slot, level) {
            (Some(slot), Level::Literal(text)) => Some((slot, slot.value(text))),
            _ => None,
        });
        let meetings: Vec<_> = meetings.collect();
        if meetings.iter().any(|(_, value)| value.is_none()) {
            return Escape::No;
        }
        let first = meetings.into_iter().next();
        first
            .map_or(Escape::Yes, |(slot, value)| Escape::Only(slot.field.clone(), value.unwrap_or_default().to_owned()))
    }
}

impl Slot {
    fn of(level: &TemplateLevel) -> Option<Self> {
        let TemplateLevel::Variable(parts) = level else { return None };
        let (variable, before, after) = match &**parts {
            [Part::Variable(variable)] => (variable, "", ""),
            [Part::Text(before), Part::Variable(variable)] => (variable, &**before, ""),
            [Part::Variable(variable), Part::Text(after)] => (variable, "", &**after),
            [Part::Text(before), Part::Variable(variable), Part::Text(after)] => (variable, &**before, &**after),
            _ => return None,
        };
        let (field, _) = known_to_emqx(variable).ok()?;
        Some(Self { field, before: before.to_owned(), after: after.to_owned() })
    }

    /// The value with which the level is this text. It is never empty.
    fn value<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&self.before)?.strip_suffix(&*self.after).filter(|value| !value.is_empty())
    }
}

impl Refused {
    /// The topic of a Deny, and whether it had to grow. `has_slash` tells of which variables a value may be several levels.
    pub(super) fn of(topic: &Topic, has_slash: impl Fn(&Variable) -> bool) -> (Self, bool) {
        let levels = match topic {
            Topic::Exact(filter) => return (Self::Exact(filter.to_string()), false),
            Topic::Template(levels) => levels,
        };
        let literal = levels.iter().all(|level| matches!(level, TemplateLevel::Literal(_)));
        let mut texts = Vec::with_capacity(levels.len());
        let mut grown = false;
        for (place, level) in levels.iter().enumerate() {
            let below = match level {
                TemplateLevel::Plus => {
                    texts.push("+");
                    continue;
                }
                TemplateLevel::Hash => {
                    texts.push("#");
                    continue;
                }
                TemplateLevel::Literal(text) if literal || !text.contains("${") => {
                    texts.push(text);
                    continue;
                }
                TemplateLevel::Literal(_) => false,
                TemplateLevel::Variable(parts) => {
                    parts.iter().any(|part| matches!(part, Part::Variable(variable) if has_slash(variable)))
                }
            };
            if place == 0 {
                // No filter reaches all that the level may be: a name that starts with `$` too.
                return (Self::Everything, true);
            }
            grown = true;
            let last = below || place + 1 == levels.len();
            texts.push(if last { "#" } else { "+" });
            if last {
                break;
            }
        }
        (Self::Filter(texts.join("/")), grown)
    }

    /// The filter, where one says what is refused.
    pub(super) fn filter(&self) -> Option<&str> {
        match self {
            Self::Everything => None,
            Self::Filter(text) | Self::Exact(text) => Some(text),
        }
    }

    /// `None` for every topic there is, which no filter is.
    pub(super) fn term(&self) -> Option<Term> {
        match self {
            Self::Everything => None,
            Self::Filter(text) => Some(plain(text)),
            Self::Exact(text) => Some(exactly(text)),
        }
    }
}

/// A filter without variables. One that EMQX would not take literally has no wildcard, and is the one topic that it names.
fn plain(filter: &str) -> Term {
    if filter.contains("${") || filter.starts_with("eq ") { exactly(filter) } else { Term::text(filter) }
}

pub(super) fn exactly(filter: &str) -> Term {
    Term::tuple([Term::Atom("eq"), Term::text(filter)])
}

fn level_text(
    level: &TemplateLevel,
    first: bool,
    guards: &mut BTreeSet<Condition>,
) -> Result<Option<String>, &'static str> {
    let parts = match level {
        TemplateLevel::Plus => return Ok(Some("+".to_owned())),
        TemplateLevel::Hash => return Ok(Some("#".to_owned())),
        TemplateLevel::Literal(text) if text.contains("${") => return Err(DOLLAR),
        TemplateLevel::Literal(text) => return Ok(Some(text.to_string())),
        TemplateLevel::Variable(parts) => parts,
    };
    let mut level = String::new();
    for (place, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) if text.contains("${") => return Err(DOLLAR),
            // Before a variable, `$` was once what escapes it.
            Part::Text(text) if text.ends_with('$') && place + 1 < parts.len() => return Err(DOLLAR),
            Part::Text(text) => level.push_str(text),
            Part::Variable(Variable::Attribute(name)) if **name == *TICKET_ATTRIBUTE => return Ok(None),
            Part::Variable(variable) => {
                let (field, placeholder) = known_to_emqx(variable)?;
                level.push_str(&placeholder);
                let pattern = pattern::usable(first && place == 0).to_owned();
                if field == Field::Username {
                    guards.insert(Condition::mode(VERIFIED));
                }
                guards.insert(Condition::pattern(field, pattern));
            }
        }
    }
    Ok(Some(level))
}

/// Where EMQX has the value. Its own `${clientid}` is whatever the client chose; the attribute is there only where it is
/// proven.
fn known_to_emqx(variable: &Variable) -> Result<(Field, String), &'static str> {
    let name = match variable {
        Variable::Username => return Ok((Field::Username, "${username}".to_owned())),
        Variable::ClientId => "client_id",
        Variable::Attribute(name) if name.contains('-') => return Err(HYPHEN),
        Variable::Attribute(name) => name,
    };
    Ok((Field::Attribute(name.to_owned()), format!("${{client_attrs.{name}}}")))
}

/// `t/+` also takes a subscription to `t/#`, and `t/+/#` one to `t/#`.
fn wider(levels: &[TemplateLevel]) -> Wider {
    let before = match levels {
        // `+/#` matches what `#` does, and `/+/#` what `/#` does: no topic name is empty.
        [TemplateLevel::Plus, TemplateLevel::Hash] => return Wider::None,
        [TemplateLevel::Literal(empty), TemplateLevel::Plus, TemplateLevel::Hash] if empty.is_empty() => {
            return Wider::None;
        }
        [before @ .., TemplateLevel::Plus] | [before @ .., TemplateLevel::Plus, TemplateLevel::Hash] => before,
        _ => return Wider::None,
    };
    let literals = before.iter().map(|level| match level {
        TemplateLevel::Literal(text) => Some(&**text),
        _ => None,
    });
    let levels: Option<Vec<&str>> = literals.chain([Some("#")]).collect();
    levels.map_or(Wider::Many, |levels| Wider::One(levels.join("/")))
}
