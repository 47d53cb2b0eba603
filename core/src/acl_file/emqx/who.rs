//! Which clients a rule of `acl.conf` is about.

use std::collections::{BTreeSet, HashMap};

use super::super::meter::Meter;
use super::pattern;
use super::term::Term;
use crate::client::Mode;
use crate::glob;

/// What EMQX knows of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Field {
    /// A client attribute, as the login reply gave it. One that is not there fails every test.
    Attribute(String),
    /// The client ID of its CONNECT packet.
    ClientId,
    /// The username of its CONNECT packet, which proves nothing where it logged in by SCRAM.
    Username,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "`{name}`"),
            Self::ClientId => f.write_str("client ID"),
            Self::Username => f.write_str("username"),
        }
    }
}

/// What is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Test {
    OneOf(BTreeSet<String>),
    Globs(BTreeSet<String>),
    Pattern(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Condition {
    field: Field,
    test: Test,
}

/// Clients for whom all conditions of one of the lists hold.
///
/// Lists that differ only in the client ID or username that they ask for are one list, which asks for any of these: many
/// credentials are compared as sets, and not each with each.
#[derive(Debug, Clone, Default)]
pub(super) struct Who {
    any: Vec<Vec<Condition>>,
    /// The place of each list by what it asks for aside from client IDs and usernames.
    places: HashMap<Vec<Condition>, usize>,
}

impl Condition {
    pub(super) fn one_of<T: Into<String>>(field: Field, values: impl IntoIterator<Item = T>) -> Self {
        Self { field, test: Test::OneOf(values.into_iter().map(Into::into).collect()) }
    }

    pub(super) fn globs<T: Into<String>>(field: Field, globs: impl IntoIterator<Item = T>) -> Self {
        Self { field, test: Test::Globs(globs.into_iter().map(Into::into).collect()) }
    }

    pub(super) fn pattern(field: Field, pattern: String) -> Self {
        Self { field, test: Test::Pattern(pattern) }
    }

    pub(super) fn attribute(name: &str, value: &str) -> Self {
        Self::one_of(Field::Attribute(name.to_owned()), [value])
    }

    pub(super) fn mode(modes: impl IntoIterator<Item = Mode>) -> Self {
        Self::one_of(Field::Attribute("auth_mode".to_owned()), modes.into_iter().map(Mode::as_str))
    }

    /// The client ID that the proof fixes.
    pub(super) fn proven(client_ids: impl IntoIterator<Item = String>) -> Self {
        Self::one_of(Field::Attribute("client_id".to_owned()), client_ids)
    }

    fn term(&self) -> Term {
        let test = |value: Term| match &self.field {
            Field::Attribute(name) => Term::tuple([Term::Atom("client_attr"), Term::text(name), value]),
            Field::ClientId => Term::tuple([Term::Atom("clientid"), value]),
            Field::Username => Term::tuple([Term::Atom("username"), value]),
        };
        let matching = |pattern: &str| test(Term::tuple([Term::Atom("re"), Term::text(pattern)]));
        match &self.test {
            Test::OneOf(values) => any(values.iter().map(|value| test(Term::text(value))).collect()),
            Test::Globs(globs) => any(globs.iter().map(|glob| matching(&pattern::glob(glob))).collect()),
            Test::Pattern(pattern) => matching(pattern),
        }
    }

    /// The condition without the client IDs or usernames that it asks for; `None` where it asks for something else.
    fn of_anyone(&self) -> Option<Self> {
        let test = match (&self.field, &self.test) {
            (Field::Username | Field::ClientId, Test::OneOf(_)) => Test::OneOf(BTreeSet::new()),
            (Field::Username | Field::ClientId, Test::Globs(_)) => Test::Globs(BTreeSet::new()),
            _ => return None,
        };
        Some(Self { field: self.field.clone(), test })
    }

    /// Takes over what another one of the same kind asks for.
    fn add(&mut self, other: Self) {
        match (&mut self.test, other.test) {
            (Test::OneOf(own), Test::OneOf(more)) | (Test::Globs(own), Test::Globs(more)) => own.extend(more),
            _ => {}
        }
    }

    /// Whether no client can fulfil both. `false` where that is not seen.
    fn excludes(&self, other: &Self, meter: &Meter<'_>) -> bool {
        if self.field != other.field {
            return false;
        }
        match (&self.test, &other.test) {
            (Test::OneOf(a), Test::OneOf(b)) => meter.step(a.len() + b.len()) && a.is_disjoint(b),
            (Test::OneOf(values), Test::Globs(globs)) | (Test::Globs(globs), Test::OneOf(values)) => {
                let matches = |value: &String| globs.iter().any(|glob| glob::matches(glob, value));
                meter.step(values.len().saturating_mul(globs.len())) && !values.iter().any(matches)
            }
            _ => false,
        }
    }
}

impl Who {
    pub(super) fn everyone() -> Self {
        Self::with(Vec::new())
    }

    pub(super) fn with(conditions: Vec<Condition>) -> Self {
        let mut who = Self::default();
        who.or(conditions);
        who
    }

    pub(super) fn or(&mut self, conditions: Vec<Condition>) {
        let identities: Vec<usize> =
            conditions.iter().enumerate().filter(|(_, it)| it.of_anyone().is_some()).map(|(place, _)| place).collect();
        // With two of them, the lists would not add up to one.
        let [identity] = identities.as_slice() else {
            if !self.places.contains_key(&conditions) {
                self.places.insert(conditions.clone(), self.any.len());
                self.any.push(conditions);
            }
            return;
        };
        let key = conditions.iter().map(|it| it.of_anyone().unwrap_or_else(|| it.clone())).collect();
        let place = *self.places.entry(key).or_insert(self.any.len());
        match self.any.get_mut(place) {
            Some(list) => {
                let known = list.get_mut(*identity);
                known.into_iter().zip(conditions.into_iter().nth(*identity)).for_each(|(known, more)| known.add(more));
            }
            None => self.any.push(conditions),
        }
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.any.is_empty()
    }

    /// Whether no client is in both. `false` where that is not seen.
    pub(super) fn is_apart_from(&self, other: &Self, meter: &Meter<'_>) -> bool {
        let apart = |a: &[Condition], b: &[Condition]| {
            meter.step(1) && a.iter().any(|a| b.iter().any(|b| a.excludes(b, meter)))
        };
        self.any.iter().all(|a| other.any.iter().all(|b| apart(a, b)))
    }

    /// The term for those of a tenant's clients of whom this is true, and further conditions.
    pub(super) fn term(&self, tenant: &Condition, and: impl IntoIterator<Item = Condition>) -> Term {
        let mut terms = vec![tenant.term()];
        match self.any.as_slice() {
            all if all.iter().any(Vec::is_empty) => {}
            [one] => terms.extend(one.iter().map(Condition::term)),
            several => {
                let term = |conditions: &Vec<Condition>| all(conditions.iter().map(Condition::term).collect());
                terms.push(any(several.iter().map(term).collect()));
            }
        }
        terms.extend(and.into_iter().map(|condition| condition.term()));
        all(terms)
    }
}

fn any(terms: Vec<Term>) -> Term {
    combined("or", terms)
}

fn all(terms: Vec<Term>) -> Term {
    combined("and", terms)
}

fn combined(how: &'static str, mut terms: Vec<Term>) -> Term {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => {
            terms.extend(last);
            Term::tuple([Term::Atom(how), Term::List(terms)])
        }
    }
}
