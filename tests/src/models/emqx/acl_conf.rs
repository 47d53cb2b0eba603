//! EMQX's own evaluation of an `acl.conf`, 5.8.5 or later: its rule compiler, its conditions and its templates.
//!
//! Regular expressions are PCRE over bytes there; here they are evaluated over one character a byte, which is the same for
//! everything that does not ask for Unicode classes.

use std::collections::BTreeMap;

use fancy_regex::Regex;

use super::matches;
use crate::models::erlang::{Term, consult};

/// A compiled file.
#[derive(Debug)]
pub struct AclConf(Vec<Rule>);

/// A client as EMQX knows it.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The client ID of its CONNECT packet.
    pub client_id: &'a str,
    /// The username of its CONNECT packet.
    pub username: Option<&'a str>,
    /// What the login reply gave it.
    pub attributes: &'a BTreeMap<String, String>,
}

/// A publish or a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whether it is a publish.
    pub publish: bool,
    /// The topic name or filter, without any prefix.
    pub topic: &'a str,
    /// The QoS that is asked for.
    pub qos: i64,
    /// The retain flag of a publish.
    pub retain: bool,
}

#[derive(Debug)]
struct Rule {
    allow: bool,
    who: Who,
    action: Action,
    topics: Vec<Topic>,
}

#[derive(Debug)]
enum Who {
    All,
    Username(Wanted),
    ClientId(Wanted),
    Attribute(String, Wanted),
    And(Vec<Self>),
    Or(Vec<Self>),
}

#[derive(Debug)]
enum Wanted {
    Exactly(String),
    Matching(Box<Regex>),
}

#[derive(Debug)]
struct Action {
    publish: bool,
    subscribe: bool,
    qos: Vec<i64>,
    retain: Option<bool>,
}

#[derive(Debug)]
enum Topic {
    All,
    Exactly(String),
    Filter(String),
    Template(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(String),
}

impl AclConf {
    /// Compiles a file; a term that EMQX refuses makes the whole file invalid.
    pub fn compile(text: &str) -> Result<Self, String> {
        consult(text)?.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// The first rule that matches: its place in the file, and whether it allows. `None` where no rule says anything.
    #[must_use]
    pub fn decide(&self, client: Client<'_>, asked: Asked<'_>) -> Option<(usize, bool)> {
        let found = self.0.iter().enumerate().find(|(_, rule)| {
            rule.action.is_about(asked)
                && rule.who.holds(client)
                && rule.topics.iter().any(|it| it.takes(client, asked))
        });
        found.map(|(place, rule)| (place, rule.allow))
    }
}

impl Action {
    fn is_about(&self, asked: Asked<'_>) -> bool {
        let retain = !asked.publish || self.retain.is_none_or(|wanted| wanted == asked.retain);
        (if asked.publish { self.publish } else { self.subscribe }) && self.qos.contains(&asked.qos) && retain
    }
}

impl Who {
    fn holds(&self, client: Client<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Username(wanted) => client.username.is_some_and(|it| wanted.holds(it)),
            Self::ClientId(wanted) => wanted.holds(client.client_id),
            Self::Attribute(name, wanted) => client.attributes.get(name).is_some_and(|it| wanted.holds(it)),
            Self::And(all) => all.iter().all(|who| who.holds(client)),
            Self::Or(any) => any.iter().any(|who| who.holds(client)),
        }
    }
}

impl Wanted {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == value,
            Self::Matching(regex) => regex.is_match(&one_character_a_byte(value.as_bytes())).is_ok_and(|it| it),
        }
    }
}

impl Topic {
    fn takes(&self, client: Client<'_>, asked: Asked<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(topic) => topic == asked.topic,
            Self::Filter(filter) => matches(asked.topic, filter),
            Self::Template(parts) => {
                let rendered: Option<String> = parts.iter().map(|part| part.render(client)).collect();
                rendered.is_some_and(|filter| matches(asked.topic, &filter))
            }
        }
    }
}

impl Part {
    /// The value as it is, whatever it contains; `None` without one.
    fn render<'a>(&'a self, client: Client<'a>) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Variable(name) => match name.as_str() {
                "username" => client.username,
                "clientid" => Some(client.client_id),
                _ => client.attributes.get(name.strip_prefix("client_attrs.")?).map(String::as_str),
            },
        }
    }
}

fn rule(term: &Term) -> Result<Rule, String> {
    let Term::Tuple(parts) = term else { return Err(format!("{term:?} is no rule")) };
    let (permission, rest) = parts.split_first().ok_or("an empty rule")?;
    let allow = match atom(permission) {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(format!("{permission:?} is no permission")),
    };
    match rest {
        [all] if atom(all) == Some("all") => {
            Ok(Rule { allow, who: Who::All, action: action(all)?, topics: vec![Topic::All] })
        }
        [who, action, topics] => {
            Ok(Rule { allow, who: self::who(who)?, action: self::action(action)?, topics: self::topics(topics)? })
        }
        _ => Err(format!("{term:?} is no rule")),
    }
}

fn who(term: &Term) -> Result<Who, String> {
    if atom(term) == Some("all") {
        return Ok(Who::All);
    }
    let Term::Tuple(parts) = term else { return Err(format!("{term:?} is no condition")) };
    match (parts.first().and_then(atom), parts.as_slice()) {
        (Some("username" | "user"), [_, value]) => Ok(Who::Username(wanted(value)?)),
        (Some("clientid" | "client"), [_, value]) => Ok(Who::ClientId(wanted(value)?)),
        (Some("client_attr"), [_, name, value]) => Ok(Who::Attribute(text(name)?, wanted(value)?)),
        (Some("and"), [_, Term::List(all)]) => Ok(Who::And(all.iter().map(who).collect::<Result<_, _>>()?)),
        (Some("or"), [_, Term::List(any)]) => Ok(Who::Or(any.iter().map(who).collect::<Result<_, _>>()?)),
        _ => Err(format!("{term:?} is no condition")),
    }
}

fn wanted(term: &Term) -> Result<Wanted, String> {
    match term {
        Term::Tuple(parts) if parts.first().and_then(atom) == Some("re") && parts.len() == 2 => {
            regex(parts.last().ok_or("no pattern")?).map(Box::new).map(Wanted::Matching)
        }
        _ => text(term).map(Wanted::Exactly),
    }
}

/// PCRE compiles to 64 KiB at most, which text in an alternative reaches at about half as many bytes.
const MAX_PATTERN_BYTES: usize = 32_000;

fn regex(term: &Term) -> Result<Regex, String> {
    let pattern = one_character_a_byte(text(term)?.as_bytes());
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err("regular expression is too large".to_owned());
    }
    Regex::new(&pattern).map_err(|error| format!("{pattern}: {error}"))
}

/// Whether a text matches a regular expression, as EMQX would find.
pub fn pattern_matches(pattern: &str, text: &str) -> Result<bool, String> {
    regex(&Term::Binary(pattern.into())).map(|regex| Wanted::Matching(Box::new(regex)).holds(text))
}

fn one_character_a_byte(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn action(term: &Term) -> Result<Action, String> {
    let (name, options) = match term {
        Term::Tuple(parts) => match parts.as_slice() {
            [name, Term::List(options)] => (name, options.as_slice()),
            _ => return Err(format!("{term:?} is no action")),
        },
        _ => (term, &[][..]),
    };
    let (publish, subscribe) = match atom(name) {
        Some("all") => (true, true),
        Some("publish") => (true, false),
        Some("subscribe") => (false, true),
        _ => return Err(format!("{term:?} is no action")),
    };
    let (mut levels, mut retain) = (Vec::new(), None);
    for option in options {
        let Term::Tuple(parts) = option else { return Err(format!("{option:?} is no option")) };
        match (parts.first().and_then(atom), parts.as_slice()) {
            (Some("qos"), [_, Term::Integer(level)]) => levels.push(*level),
            (Some("qos"), [_, Term::List(several)]) => {
                let level = |term: &Term| if let Term::Integer(level) = term { Ok(*level) } else { Err("no QoS") };
                levels.extend(several.iter().map(level).collect::<Result<Vec<_>, _>>()?);
            }
            (Some("retain"), [_, value]) => match atom(value) {
                Some("true") => retain = Some(true),
                Some("false") => retain = Some(false),
                Some("all") => retain = None,
                _ => return Err(format!("{value:?} is no retain flag")),
            },
            _ => return Err(format!("{option:?} is no option")),
        }
    }
    if levels.iter().any(|level| !(0..=2).contains(level)) {
        return Err(format!("{levels:?} is no list of QoS"));
    }
    let asked = options.iter().any(|it| matches!(it, Term::Tuple(it) if it.first().and_then(atom) == Some("qos")));
    Ok(Action { publish, subscribe, qos: if asked { levels } else { vec![0, 1, 2] }, retain })
}

fn topics(term: &Term) -> Result<Vec<Topic>, String> {
    match term {
        Term::List(terms) => terms.iter().map(topic).collect(),
        _ if atom(term) == Some("all") => Ok(vec![Topic::All]),
        _ => Err(format!("{term:?} is no list of topics")),
    }
}

fn topic(term: &Term) -> Result<Topic, String> {
    if let Term::Tuple(parts) = term {
        return match parts.as_slice() {
            [eq, topic] if atom(eq) == Some("eq") => text(topic).map(Topic::Exactly),
            _ => Err(format!("{term:?} is no topic")),
        };
    }
    let text = text(term)?;
    if let Some(exact) = text.strip_prefix("eq ") {
        return Ok(Topic::Exactly(exact.to_owned()));
    }
    let parts = template(&text);
    // Without a variable the text is taken as it was written, `${$}` included.
    let constant = parts.iter().all(|part| matches!(part, Part::Text(_)));
    Ok(if constant { Topic::Filter(text) } else { Topic::Template(parts) })
}

/// `${name}` is a variable where the name is one that authorization knows, and `${$}` is `$`; everything else is text.
fn template(mut rest: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((before, after)) = rest.split_once("${") {
        let is_name = |it: &str| *it == *"$" || it.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
        let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
            parts.push(Part::Text(format!("{before}${{")));
            rest = after;
            continue;
        };
        parts.push(Part::Text(before.to_owned()));
        rest = after;
        let known = name.strip_prefix('.').unwrap_or(name);
        parts.push(match known {
            "$" => Part::Text("$".to_owned()),
            "username" | "clientid" | "cert_common_name" | "zone" => Part::Variable(known.to_owned()),
            _ if known.starts_with("client_attrs.") => Part::Variable(known.to_owned()),
            _ => Part::Text(format!("${{{name}}}")),
        });
    }
    parts.push(Part::Text(rest.to_owned()));
    parts
}

fn atom(term: &Term) -> Option<&str> {
    if let Term::Atom(name) = term { Some(name) } else { None }
}

/// The text of a string or a binary, which has to be UTF-8.
fn text(term: &Term) -> Result<String, String> {
    let text = match term {
        Term::Binary(bytes) => String::from_utf8(bytes.clone()).ok(),
        Term::String(codes) => codes.iter().map(|code| char::from_u32(*code)).collect(),
        _ => None,
    };
    text.ok_or_else(|| format!("{term:?} is no text"))
}
