//! Which clients a rule of `acl.conf` is about.

use std::collections::BTreeSet;

use super::pattern;
use super::term::Term;
use crate::client::Mode;
use crate::glob;

/// What EMQX knows of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Test {
    OneOf(BTreeSet<String>),
    Globs(BTreeSet<String>),
    Pattern(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    field: Field,
    test: Test,
}

/// Clients for whom all conditions of one of the lists hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Who(Vec<Vec<Condition>>);

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

    /// Whether no client can fulfil both. `false` where that is not seen.
    fn excludes(&self, other: &Self) -> bool {
        let no_match = |values: &BTreeSet<String>, globs: &BTreeSet<String>| {
            !values.iter().any(|value| globs.iter().any(|glob| glob::matches(glob, value)))
        };
        self.field == other.field
            && match (&self.test, &other.test) {
                (Test::OneOf(a), Test::OneOf(b)) => a.is_disjoint(b),
                (Test::OneOf(values), Test::Globs(globs)) | (Test::Globs(globs), Test::OneOf(values)) => {
                    no_match(values, globs)
                }
                _ => false,
            }
    }
}

impl Who {
    pub(super) fn everyone() -> Self {
        Self(vec![Vec::new()])
    }

    pub(super) fn with(conditions: Vec<Condition>) -> Self {
        Self(vec![conditions])
    }

    pub(super) fn or(&mut self, conditions: Vec<Condition>) {
        if !self.0.contains(&conditions) {
            self.0.push(conditions);
        }
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no client is in both. `false` where that is not seen.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let apart = |a: &[Condition], b: &[Condition]| a.iter().any(|a| b.iter().any(|b| a.excludes(b)));
        self.0.iter().all(|a| other.0.iter().all(|b| apart(a, b)))
    }

    /// The term for those of a tenant's clients of whom this is true, and further conditions.
    pub(super) fn term(&self, tenant: &Condition, and: impl IntoIterator<Item = Condition>) -> Term {
        let mut terms = vec![tenant.term()];
        match self.0.as_slice() {
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
