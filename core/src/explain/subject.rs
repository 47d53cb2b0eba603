//! Which subjects of a policy select a client, and what the others lack.

use std::fmt;

use crate::audience::{selects, well_formed};
use crate::client::Client;
use crate::policy::{Effect, Policy, Subject};

/// A condition of a subject that does not hold for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Its place in `spec.subjects`, from 0.
    pub subject: usize,
    /// The field.
    pub field: SubjectField,
}

/// What a subject asks for, and how the client is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectField {
    /// `deviceSelector`, of a client without a `DeviceCredential`.
    NoLabels,
    /// `deviceSelector`, of a client with other labels.
    Labels,
    /// `clientIds`, of a client whose client ID matches none.
    ClientIds,
    /// `clientIds`, of a client whose client ID is not proven.
    ClientIdUnproven,
    /// `attributes`: this one has another value, or none.
    Attribute {
        /// Its name.
        name: String,
        /// What the subject asks for.
        wanted: String,
        /// What the client has.
        found: Option<String>,
    },
    /// `accessKeys`, of a client that logs in with none of these.
    AccessKeys,
    /// The subject has no condition, or `everyone` among others.
    Malformed,
}

/// The subjects of a policy, as they stand towards one client.
pub(super) struct Selected<'a> {
    subjects: &'a [Subject],
    client: &'a Client<'a>,
    allow: bool,
    deny: bool,
}

impl<'a> Selected<'a> {
    pub(super) fn of(policy: &'a Policy, client: &'a Client<'a>) -> Self {
        let subjects = policy.subjects.as_slice();
        let by = |effect| subjects.iter().any(|subject| select(subject, client, effect));
        Self { subjects, client, allow: by(Effect::Allow), deny: by(Effect::Deny) }
    }

    pub(super) fn hold(&self, effect: Effect) -> bool {
        match effect {
            Effect::Allow => self.allow,
            Effect::Deny => self.deny,
        }
    }

    /// What each subject lacks: of one that asks for several things, each that is different.
    pub(super) fn unmet(&self, effect: Effect) -> Vec<Unmet> {
        let numbered = self.subjects.iter().enumerate();
        numbered
            .flat_map(|(place, subject)| {
                let fields = unmet(subject, self.client, effect);
                fields.into_iter().map(move |field| Unmet { subject: place, field })
            })
            .collect()
    }
}

fn select(subject: &Subject, client: &Client<'_>, effect: Effect) -> bool {
    well_formed(subject, effect).is_some_and(|subject| selects(&subject, client, effect))
}

/// Each condition is asked by itself, with the words of the decider.
fn unmet(subject: &Subject, client: &Client<'_>, effect: Effect) -> Vec<SubjectField> {
    let Subject { everyone: _, device_selector, client_ids, attributes, access_keys } = subject;
    let fails = |alone: Subject| !selects(&alone, client, effect);
    let mut fields = Vec::new();
    if device_selector.is_some() && fails(Subject { device_selector: device_selector.clone(), ..Subject::default() }) {
        fields.push(if client.labels.is_some() { SubjectField::Labels } else { SubjectField::NoLabels });
    }
    if client_ids.is_some() && fails(Subject { client_ids: client_ids.clone(), ..Subject::default() }) {
        let proven = client.client_id_proven;
        fields.push(if proven { SubjectField::ClientIds } else { SubjectField::ClientIdUnproven });
    }
    for (name, wanted) in attributes.iter().flatten() {
        let one = [(name.clone(), wanted.clone())].into();
        if fails(Subject { attributes: Some(one), ..Subject::default() }) {
            let (name, wanted) = (name.clone(), wanted.clone());
            let found = client.attribute(&name).map(str::to_owned);
            fields.push(SubjectField::Attribute { name, wanted, found });
        }
    }
    if access_keys.is_some() && fails(Subject { access_keys: access_keys.clone(), ..Subject::default() }) {
        fields.push(SubjectField::AccessKeys);
    }
    if fields.is_empty() {
        fields.push(SubjectField::Malformed);
    }
    fields
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, field } = self;
        write!(f, "`subjects[{subject}]")?;
        match field {
            SubjectField::NoLabels => f.write_str(".deviceSelector` is about clients with a DeviceCredential"),
            SubjectField::Labels => f.write_str(".deviceSelector` does not match its labels"),
            SubjectField::ClientIds => f.write_str(".clientIds` does not match its client ID"),
            SubjectField::ClientIdUnproven => f.write_str(".clientIds` needs a client ID that is proven"),
            SubjectField::Attribute { name, wanted, found: Some(found) } => {
                write!(f, ".attributes` wants {name}={wanted}, and it has `{found}`")
            }
            SubjectField::Attribute { name, wanted, found: None } => {
                write!(f, ".attributes` wants {name}={wanted}, and it has no {name}")
            }
            SubjectField::AccessKeys => f.write_str(".accessKeys` names none that it logs in with"),
            SubjectField::Malformed => f.write_str("` selects nobody"),
        }
    }
}
