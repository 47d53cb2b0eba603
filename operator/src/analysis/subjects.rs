//! Which policies apply to every client that another one applies to, told from their subjects alone: it holds for clients
//! that do not exist yet, too.

use std::collections::HashMap;
use std::rc::Rc;

use mqtt_access_core::glob;
use mqtt_access_core::policy::{Requirement, Selector, Subject};

use super::Limit;

/// The number of a list of subjects.
pub(super) type Group = usize;

/// The different lists of subjects of a tenant.
///
/// A list is found through a fact that it demands, as audiences are found at a login: thousands of policies with a label
/// each are not compared with each other.
#[derive(Debug, Default)]
pub(super) struct Groups<'p> {
    numbers: HashMap<&'p [Subject], Group>,
    lists: Vec<&'p [Subject]>,
    gates: HashMap<Gate<'p>, Vec<Group>>,
    /// Lists that cannot be found through an exact fact.
    open: Vec<Group>,
    known: HashMap<Group, Rc<[Group]>>,
}

/// What a subject that includes another one has in common with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gate<'p> {
    Label(&'p str, &'p str),
    Requirement(&'p Requirement),
    Attribute(&'p str, &'p str),
    AccessKey(&'p str),
    ClientId(&'p str),
}

impl<'p> Groups<'p> {
    pub(super) fn number(&mut self, subjects: &'p [Subject]) -> Group {
        let fresh = self.lists.len();
        let number = *self.numbers.entry(subjects).or_insert(fresh);
        if number == fresh {
            self.lists.push(subjects);
            for subject in subjects {
                match gates(subject) {
                    Some(gates) => gates.into_iter().for_each(|gate| self.gates.entry(gate).or_default().push(fresh)),
                    None => self.open.push(fresh),
                }
            }
        }
        number
    }

    /// Those that select all that one selects, as an Allow reads both; a Deny selects no fewer. In ascending order, and
    /// without those for which the limit did not suffice.
    pub(super) fn including(&mut self, inner: Group, limit: &Limit) -> Rc<[Group]> {
        if let Some(known) = self.known.get(&inner) {
            return Rc::clone(known);
        }
        let mut found = self.candidates(inner);
        found.retain(|outer| *outer == inner || (limit.lasts() && self.include(*outer, inner, limit)));
        let found: Rc<[Group]> = found.into();
        self.known.insert(inner, Rc::clone(&found));
        found
    }

    fn candidates(&self, inner: Group) -> Vec<Group> {
        let mut found = self.open.clone();
        found.push(inner);
        if let Some(subject) = self.lists.get(inner).and_then(|subjects| subjects.first()) {
            found.extend(facts(subject).iter().filter_map(|gate| self.gates.get(gate)).flatten());
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the one selects all that the other selects.
    pub(super) fn include(&self, outer: Group, inner: Group, limit: &Limit) -> bool {
        let (Some(outer), Some(inner)) = (self.lists.get(outer), self.lists.get(inner)) else { return false };
        outer == inner || inner.iter().all(|inner| outer.iter().any(|outer| includes(outer, inner, limit)))
    }
}

/// Facts of which a subject that this one includes must state one; `None` where it may state none of them.
fn gates(subject: &Subject) -> Option<Vec<Gate<'_>>> {
    let Subject { everyone, device_selector, client_ids, attributes, access_keys } = subject;
    if *everyone {
        return None;
    }
    let selector = device_selector.as_ref();
    let label = selector.and_then(|selector| selector.match_labels.first_key_value());
    let requirement = selector.and_then(|selector| selector.match_expressions.first());
    let attribute = attributes.as_ref().and_then(|attributes| attributes.first_key_value());
    let one = label.map(|(key, value)| Gate::Label(key, value));
    let one = one.or_else(|| requirement.map(Gate::Requirement));
    let one = one.or_else(|| attribute.map(|(name, value)| Gate::Attribute(name, value)));
    if let Some(one) = one {
        return Some(vec![one]);
    }
    if let Some(names) = access_keys {
        return Some(names.iter().map(|name| Gate::AccessKey(name)).collect());
    }
    let ids = client_ids.as_ref().filter(|ids| ids.iter().all(|id| !id.contains('*')))?;
    Some(ids.iter().map(|id| Gate::ClientId(id)).collect())
}

/// What a subject states: a gate of every subject that includes it, unless that one has none.
fn facts(subject: &Subject) -> Vec<Gate<'_>> {
    let Subject { everyone: _, device_selector, client_ids, attributes, access_keys } = subject;
    let selector = device_selector.as_ref();
    let labels = selector.into_iter().flat_map(|selector| &selector.match_labels);
    let requirements = selector.into_iter().flat_map(|selector| &selector.match_expressions);
    let attributes = attributes.iter().flatten();
    let mut facts: Vec<Gate<'_>> = labels.map(|(key, value)| Gate::Label(key, value)).collect();
    facts.extend(requirements.map(Gate::Requirement));
    facts.extend(attributes.map(|(name, value)| Gate::Attribute(name, value)));
    // All of these must be among those of the outer subject, so the first one is.
    facts.extend(access_keys.iter().flatten().next().map(|name| Gate::AccessKey(name)));
    facts.extend(client_ids.iter().flatten().next().map(|id| Gate::ClientId(id)));
    facts
}

fn everyone() -> Subject {
    Subject { everyone: true, ..Subject::default() }
}

/// It is told in full whatever is left of the limit: a `false` that is none would make two topics that grant the same look as if
/// each could go.
fn includes(outer: &Subject, inner: &Subject, limit: &Limit) -> bool {
    limit.spend(1);
    if *outer == everyone() {
        return true;
    }
    if outer.everyone || inner.everyone {
        // Malformed, or wider: nothing is said of it.
        return false;
    }
    // Without `..`: a condition of the outer subject that is forgotten here would make it look wider than it is.
    let Subject { everyone: _, device_selector, client_ids, attributes, access_keys } = outer;
    let demands = device_selector.is_some() || client_ids.is_some() || attributes.is_some() || access_keys.is_some();
    demands
        && implied(device_selector.as_ref(), inner.device_selector.as_ref(), |outer, inner| {
            limit.spend(outer.match_labels.len() + outer.match_expressions.len() * inner.match_expressions.len());
            selector(outer, inner)
        })
        && implied(client_ids.as_ref(), inner.client_ids.as_ref(), |outer, inner| {
            inner.iter().all(|inner| outer.iter().any(|outer| covers(outer, inner, limit)))
        })
        && implied(attributes.as_ref(), inner.attributes.as_ref(), |outer, inner| {
            !outer.is_empty() && outer.iter().all(|(name, value)| inner.get(name) == Some(value))
        })
        && implied(access_keys.as_ref(), inner.access_keys.as_ref(), |outer, inner| {
            limit.spend(outer.len());
            inner.iter().all(|name| outer.contains(name))
        })
}

fn covers(outer: &str, inner: &str, limit: &Limit) -> bool {
    limit.spend(1 + outer.bytes().filter(|byte| *byte == b'*').count());
    glob::covers(outer, inner)
}

/// Whether a condition of the outer subject holds wherever the inner subject's condition of the same kind does.
fn implied<T>(outer: Option<&T>, inner: Option<&T>, test: impl Fn(&T, &T) -> bool) -> bool {
    match (outer, inner) {
        (None, _) => true,
        (Some(outer), Some(inner)) => test(outer, inner),
        (Some(_), None) => false,
    }
}

fn selector(outer: &Selector, inner: &Selector) -> bool {
    !outer.is_empty()
        && outer.match_labels.iter().all(|(key, value)| inner.match_labels.get(key) == Some(value))
        && outer.match_expressions.iter().all(|requirement| inner.match_expressions.contains(requirement))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ids(globs: &[&str]) -> Subject {
        Subject { client_ids: Some(globs.iter().map(ToString::to_string).collect()), ..Subject::default() }
    }

    fn labels(labels: &[(&str, &str)]) -> Subject {
        let match_labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let selector = Selector { match_labels, match_expressions: Vec::new() };
        Subject { device_selector: Some(selector), ..Subject::default() }
    }

    fn include(outer: &[Subject], inner: &[Subject]) -> bool {
        let mut groups = Groups::default();
        let (outer, inner) = (groups.number(outer), groups.number(inner));
        let included = groups.including(inner, &Limit::default()).contains(&outer);
        assert_eq!(included, groups.include(outer, inner, &Limit::default()), "what is found is what comparing finds");
        included
    }

    #[test]
    fn fewer_conditions_include_more() {
        let both = Subject { attributes: Some(BTreeMap::from([("a".to_owned(), "1".to_owned())])), ..ids(&["x"]) };
        assert!(include(&[everyone()], &[ids(&["a*"])]));
        assert!(include(&[ids(&["*"])], &[ids(&["a*"]), both.clone()]));
        assert!(include(&[labels(&[("a", "1")])], &[labels(&[("a", "1"), ("b", "2")])]));
        assert!(!include(&[labels(&[("a", "1"), ("b", "2")])], &[labels(&[("a", "1")])]));
        assert!(!include(std::slice::from_ref(&both), &[ids(&["x"])]));
        assert!(include(&[ids(&["y"]), ids(&["x", "z"])], &[both]));
        assert!(!include(&[ids(&["a*"])], &[everyone()]));
        assert!(!include(&[Subject::default()], &[ids(&["a"])]), "an empty subject selects nobody");
        assert!(!include(&[labels(&[])], &[labels(&[("a", "1")])]), "an empty selector selects nobody");
    }
}
