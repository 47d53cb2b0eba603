//! One entry of a rule's `topics`: what it says, and what it becomes for one client.

use mqtt_access_core::client::Client;
use mqtt_access_core::template::is_attribute_name;
use mqtt_access_core::verdict::{Notation, Request, Target};

use super::names::{Names, is_filter};
use super::value;

/// A valid entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// `eq `: "the rest, a valid filter, literally and without expansion".
    Exact(String),
    /// A template, level by level.
    Template(Vec<Vec<Piece>>),
}

/// A piece of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Variable(String),
}

/// An entry after rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rendered {
    /// Every request.
    Everything,
    /// A filter.
    Filter(Names),
    /// An `eq` filter.
    Exact(String),
}

/// A level after rendering.
enum Level {
    Text(String),
    /// A value is unusable. Whether one of them contains `/`, or the broker reads several levels here.
    Unusable {
        below: bool,
    },
}

impl Entry {
    /// `None` where the entry is invalid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(filter) = text.strip_prefix("eq ") {
            return is_filter(filter).then(|| Self::Exact(filter.to_owned()));
        }
        let levels: Vec<Vec<Piece>> = text.split('/').map(pieces).collect::<Option<_>>()?;
        // Whatever stands for the variables, the rest must be a filter.
        let sample: Vec<String> = levels.iter().map(|level| level.iter().map(Piece::sample).collect()).collect();
        is_filter(&sample.join("/")).then_some(Self::Template(levels))
    }

    /// A filter as it stands, with nothing in it that is expanded.
    pub(super) fn literal(filter: &str) -> Self {
        Self::Template(filter.split('/').map(|level| vec![Piece::Text(level.to_owned())]).collect())
    }

    /// "One filter of the space covers the template with every variable read as `+`."
    pub(super) fn lies_in(&self, space: &[String]) -> bool {
        let widest = match self {
            Self::Exact(filter) => filter.clone(),
            // `+` says nothing of a first level that starts with `$`, so nothing can be proved of it.
            Self::Template(levels) if starts_with_dollar_and_varies(levels) => return false,
            Self::Template(levels) => {
                let text = |level: &Vec<Piece>| level.iter().map(Piece::sample).collect();
                let varies = |level: &Vec<Piece>| level.iter().any(Piece::is_variable);
                let read = |level| if varies(level) { "+".to_owned() } else { text(level) };
                levels.iter().map(read).collect::<Vec<String>>().join("/")
            }
        };
        space.iter().any(|filter| Names::of(filter).covers(&Names::of(&widest)))
    }

    /// "In an Allow rule a topic with an unusable value matches nothing." On RabbitMQ "an Allow topic with `.` or `*` in
    /// a rendered level contributes nothing".
    pub(super) fn allow(self, client: &Client<'_>, dotted: bool) -> Option<Rendered> {
        let levels = match self {
            Self::Exact(filter) if dotted && filter.contains(['.', '*']) => return None,
            Self::Exact(filter) => return Some(Rendered::Exact(filter)),
            Self::Template(levels) => levels,
        };
        let mut filter = Vec::new();
        for (place, level) in levels.iter().enumerate() {
            match render(level, place, client, dotted) {
                Level::Text(text) => filter.push(text),
                Level::Unusable { .. } => return None,
            }
        }
        Some(Rendered::Filter(Names::of(&filter.join("/"))))
    }

    /// "In a Deny rule the whole level becomes `+` (`#` when it was the last, or when the value contains `/`), and such a
    /// first level also matches names that start with `$`." On RabbitMQ, for `.` or `*`, "that level and all after it
    /// become `#`".
    pub(super) fn deny(self, client: &Client<'_>, dotted: bool) -> Rendered {
        let levels = match self {
            Self::Exact(filter) if dotted && filter.contains(['.', '*']) => {
                filter.split('/').map(|level| vec![Piece::Text(level.to_owned())]).collect()
            }
            Self::Exact(filter) => return Rendered::Exact(filter),
            Self::Template(levels) => levels,
        };
        let mut filter = Vec::new();
        let mut first_grew = false;
        for (place, level) in levels.iter().enumerate() {
            let last = place + 1 == levels.len();
            match render(level, place, client, dotted) {
                Level::Text(text) => filter.push(text),
                Level::Unusable { below } => {
                    first_grew |= place == 0;
                    if below || last {
                        filter.push("#".to_owned());
                        break;
                    }
                    filter.push("+".to_owned());
                }
            }
        }
        let filter = filter.join("/");
        Rendered::Filter(if first_grew { Names::with_dollars(&filter) } else { Names::of(&filter) })
    }
}

impl Piece {
    fn is_variable(&self) -> bool {
        matches!(self, Self::Variable(_))
    }

    fn sample(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Variable(_) => "x",
        }
    }
}

fn starts_with_dollar_and_varies(levels: &[Vec<Piece>]) -> bool {
    let first = levels.first().expect("a template has a level");
    first.iter().any(Piece::is_variable) && matches!(first.first(), Some(Piece::Text(text)) if text.starts_with('$'))
}

/// "A level may contain `${clientid}`, `${username}` or `${client_attrs.NAME}`; `${$}` is a literal `$`."
fn pieces(level: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = level;
    while let Some(start) = rest.find("${") {
        let end = start + rest[start..].find('}')?;
        let name = &rest[start + 2..end];
        pieces.push(Piece::Text(rest[..start].to_owned()));
        pieces.push(match (name, name.strip_prefix("client_attrs.")) {
            ("$", _) => Piece::Text("$".to_owned()),
            ("clientid" | "username", _) => Piece::Variable(name.to_owned()),
            (_, Some(attribute)) if is_attribute_name(attribute) => Piece::Variable(name.to_owned()),
            _ => return None,
        });
        rest = &rest[end + 1..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    // Texts that stand together are one, and an empty text is none.
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces.into_iter().filter(|piece| *piece != Piece::Text(String::new())) {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (_, piece) => joined.push(piece),
        }
    }
    Some(joined)
}

/// "Rendering replaces each variable by the client's value."
fn render(level: &[Piece], place: usize, client: &Client<'_>, dotted: bool) -> Level {
    let mut text = String::new();
    let (mut unusable, mut below) = (false, false);
    for piece in level {
        let Piece::Variable(name) = piece else {
            text.push_str(piece.sample());
            continue;
        };
        let value = match name.strip_prefix("client_attrs.") {
            Some(attribute) => value::attribute(client, attribute),
            None if name == "clientid" => value::client_id(client),
            None => client.username,
        };
        // "And so is one that would make a first level start with `$`."
        let leads = place == 0 && text.is_empty() && value.is_some_and(|value| value.starts_with('$'));
        unusable |= leads || !value::is_usable(value);
        below |= value.is_some_and(|value| value.contains('/'));
        text.push_str(value.unwrap_or_default());
    }
    let ambiguous = dotted && text.contains(['.', '*']);
    if unusable || ambiguous { Level::Unusable { below: below || ambiguous } } else { Level::Text(text) }
}

impl Rendered {
    /// "Some topic in A matches T", "some single topic in A covers F"; "`eq F` in Allow grants exactly that
    /// subscription, or a publish to exactly that name".
    pub(super) fn grants(&self, request: &Request<'_>) -> bool {
        match (self, request.target) {
            (Self::Everything, _) => false,
            (Self::Filter(names), Target::Publish(name)) => names.contains(name.as_str()),
            (Self::Filter(names), Target::Subscribe(asked)) => names.covers(&Names::of(asked.as_str())),
            (Self::Exact(filter), Target::Publish(name)) => filter == name.as_str(),
            (Self::Exact(filter), Target::Subscribe(asked)) => filter == asked.as_str(),
        }
    }

    /// "No topic in D matches T", "no topic in D overlaps F"; `eq F` "in Deny refuses a publish to F and every
    /// subscription that covers F".
    pub(super) fn refuses(&self, request: &Request<'_>) -> bool {
        match (self, request.target) {
            (Self::Everything, _) => true,
            (Self::Filter(names), Target::Publish(name)) => names.contains(name.as_str()),
            (Self::Filter(names), Target::Subscribe(asked)) => names.overlaps(&reach(asked.as_str(), request)),
            (Self::Exact(filter), Target::Publish(name)) => filter == name.as_str(),
            (Self::Exact(filter), Target::Subscribe(asked)) => {
                reach(asked.as_str(), request).covers(&Names::of(filter))
            }
        }
    }

    /// The names that it grants to a subscription.
    pub(super) fn names(&self) -> Names {
        match self {
            Self::Everything => Names::with_dollars("#"),
            Self::Filter(names) => names.clone(),
            Self::Exact(filter) => Names::of(filter),
        }
    }

    /// What RabbitMQ makes of the text: `/` and `.`, and `+` and `*`, are the same to it.
    pub(super) fn on_rabbitmq(&self) -> Self {
        let read = |filter: &str| filter.replace('.', "/").replace('*', "+");
        match self {
            Self::Everything => Self::Everything,
            Self::Filter(names) => Self::Filter(names.map(read)),
            Self::Exact(filter) => Self::Exact(read(filter)),
        }
    }

    /// Whether it stands against a name's being received. `eq F` does so for the name F alone.
    pub(super) fn protects(&self, name: &str) -> bool {
        match self {
            Self::Exact(filter) => filter == name,
            other => other.names().contains(name),
        }
    }
}

/// What a subscription would receive: RabbitMQ's wildcards know no `$`.
fn reach(asked: &str, request: &Request<'_>) -> Names {
    match request.notation {
        Notation::Mqtt => Names::of(asked),
        Notation::Dotted => Names::with_dollars(asked),
    }
}
