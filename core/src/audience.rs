//! Who is meant: from the subjects of policies to the numbers of the audiences that a client belongs to.
//!
//! Policies with the same subjects share one audience. An audience is found through a *gate*: a fact that its
//! subject demands of the client (an exact client ID, a label, an attribute, a key), so that finding a client's
//! audiences costs its own facts, not the number of policies.

mod hanging;

use std::collections::{BTreeSet, HashMap};

use crate::client::{Client, Map, is_from_client_id};
use crate::glob;
use crate::policy::{Effect, Subject};
pub(crate) use hanging::Hanging;

/// The number of an audience within one index.
pub(crate) type AudienceId = u32;

/// All audiences of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    subjects: Vec<Vec<Subject>>,
    known: HashMap<Vec<Subject>, AudienceId>,
    gates: HashMap<Gate, Vec<AudienceId>>,
    open: Vec<AudienceId>,
    /// Audiences of Deny rules that ask for the client ID, or for what is derived from it: a client that only chose its
    /// client ID may belong to any of them.
    uncertain: BTreeSet<AudienceId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
    ClientId(String),
    Label(String, String),
    Attribute(String, String),
    AccessKey(String),
}

impl Audiences {
    /// The number of the audience with these subjects, for rules of this effect.
    pub(crate) fn intern(&mut self, subjects: &[Subject], effect: Effect) -> AudienceId {
        let subjects: Vec<Subject> = subjects.iter().filter_map(|subject| well_formed(subject, effect)).collect();
        let id = self.known.get(&subjects).copied().unwrap_or_else(|| self.add(&subjects));
        if effect == Effect::Deny && subjects.iter().any(hangs_on_client_id) {
            self.uncertain.insert(id);
        }
        id
    }

    fn add(&mut self, subjects: &[Subject]) -> AudienceId {
        let id = AudienceId::try_from(self.subjects.len()).unwrap_or(AudienceId::MAX);
        for subject in subjects {
            match gates(subject) {
                Some(gates) => gates.into_iter().for_each(|gate| self.gates.entry(gate).or_default().push(id)),
                None => self.open.push(id),
            }
        }
        self.subjects.push(subjects.to_vec());
        self.known.insert(subjects.to_vec(), id);
        id
    }

    /// The audiences that a client belongs to, in ascending order.
    ///
    /// The effect matters only where the client ID is unproven: what hangs on it fails for an Allow and holds for a
    /// Deny.
    pub(crate) fn of(&self, client: &Client<'_>, effect: Effect) -> Vec<AudienceId> {
        let mut ids = self.candidates(client);
        if effect == Effect::Deny && !client.client_id_proven {
            ids.extend(&self.uncertain);
        }
        ids.retain(|id| self.selects(*id, client, effect));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn selects(&self, id: AudienceId, client: &Client<'_>, effect: Effect) -> bool {
        let subjects = usize::try_from(id).ok().and_then(|id| self.subjects.get(id));
        subjects.is_some_and(|subjects| subjects.iter().any(|subject| selects(subject, client, effect)))
    }

    fn candidates(&self, client: &Client<'_>) -> Vec<AudienceId> {
        let mut ids = self.open.clone();
        if self.gates.is_empty() {
            return ids;
        }
        let mut ask = |gate: Gate| ids.extend(self.gates.get(&gate).into_iter().flatten());
        client.proven_client_id().into_iter().for_each(|id| ask(Gate::ClientId(id.to_owned())));
        let labels = client.labels.into_iter().flatten();
        labels.for_each(|(key, value)| ask(Gate::Label(key.clone(), value.clone())));
        client.attributes().into_iter().for_each(|(key, value)| ask(Gate::Attribute(key, value)));
        client.access_key.into_iter().for_each(|name| ask(Gate::AccessKey(name.to_owned())));
        ids
    }
}

/// Whether a subject asks for the client ID, or for what is derived from it.
fn hangs_on_client_id(subject: &Subject) -> bool {
    let asks = |attributes: &Map| attributes.keys().any(|name| is_from_client_id(name));
    subject.client_ids.is_some() || subject.attributes.as_ref().is_some_and(asks)
}

/// `everyone` together with anything else is malformed: it is everyone for a Deny, and nobody for an Allow.
pub(crate) fn well_formed(subject: &Subject, effect: Effect) -> Option<Subject> {
    let everyone = Subject { everyone: true, ..Subject::default() };
    match (subject.everyone && *subject != everyone, effect) {
        (false, _) => Some(subject.clone()),
        (true, Effect::Deny) => Some(everyone),
        (true, Effect::Allow) => None,
    }
}

/// Facts of which a client must have at least one to be selected; `None` where nothing exact can be said.
pub(crate) fn gates(subject: &Subject) -> Option<Vec<Gate>> {
    let Subject { everyone: _, device_selector, client_ids, attributes, access_keys } = subject;
    if let Some(ids) = client_ids.as_ref().filter(|ids| ids.iter().all(|id| !id.contains('*'))) {
        return Some(ids.iter().cloned().map(Gate::ClientId).collect());
    }
    let first = |map: &Map| map.first_key_value().map(|(key, value)| (key.clone(), value.clone()));
    if let Some((key, value)) = device_selector.as_ref().and_then(|selector| first(&selector.match_labels)) {
        return Some(vec![Gate::Label(key, value)]);
    }
    if let Some((key, value)) = attributes.as_ref().and_then(first) {
        return Some(vec![Gate::Attribute(key, value)]);
    }
    let names = access_keys.as_ref()?;
    Some(names.iter().cloned().map(Gate::AccessKey).collect())
}

pub(crate) fn selects(subject: &Subject, client: &Client<'_>, effect: Effect) -> bool {
    let Subject { everyone, device_selector, client_ids, attributes, access_keys } = subject;
    let conditions = [
        device_selector.as_ref().map(|selector| client.labels.is_some_and(|labels| selector.matches(labels))),
        client_ids.as_ref().map(|globs| has_client_id(globs, client, effect)),
        attributes.as_ref().map(|wanted| has_attributes(wanted, client, effect)),
        access_keys.as_ref().map(|names| client.access_key.is_some_and(|key| names.iter().any(|name| name == key))),
    ];
    let mut present = conditions.into_iter().flatten().peekable();
    *everyone || (present.peek().is_some() && present.all(|holds| holds))
}

fn has_client_id(globs: &[String], client: &Client<'_>, effect: Effect) -> bool {
    match client.proven_client_id() {
        Some(id) => globs.iter().any(|glob| glob::matches(glob, id)),
        None => effect == Effect::Deny,
    }
}

fn has_attributes(wanted: &Map, client: &Client<'_>, effect: Effect) -> bool {
    let holds = |(name, value): (&String, &String)| {
        if client.is_unproven(name) { effect == Effect::Deny } else { client.attribute(name) == Some(value.as_str()) }
    };
    !wanted.is_empty() && wanted.iter().all(holds)
}
