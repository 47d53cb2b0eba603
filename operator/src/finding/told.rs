//! A finding with the object that it is about, in one shape for all kinds of objects: for people, for the report of `compile`.

use std::fmt;

use serde::Serialize;

use super::{AclFile, Finding, Severity};

/// What is told about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of the object.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where in the object, such as `rules[0].topics[1]`; absent where it is about the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// A reason from a closed list: of findings about policies, or of a condition of the kind.
    pub reason: &'static str,
    /// The broker whose ACL files it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The language of those files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What is so, and what to do about it.
    pub message: String,
}

impl Told {
    /// About an object as a whole, which is not in force as it was written.
    pub(crate) fn whole(
        kind: &'static str,
        namespace: &str,
        name: &str,
        reason: &'static str,
        message: String,
    ) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let severity = Severity::NotInForce;
        Self { severity, kind, namespace, name, place: None, reason, broker: None, language: None, message }
    }

    /// About a policy.
    pub(crate) fn of_policy(namespace: &str, name: &str, finding: &Finding) -> Self {
        let Finding { place, reason, file, message } = finding;
        let (broker, language) = match file {
            Some(AclFile { broker, language }) => (Some(broker.clone()), Some(format!("{language:?}"))),
            None => (None, None),
        };
        Self {
            severity: reason.severity(),
            place: Some(place.to_string()),
            broker,
            language,
            ..Self::whole("AclPolicy", namespace, name, reason.as_str(), message.clone())
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity: _, kind, namespace, name, place, reason, broker, language, message } = self;
        write!(f, "{kind} {namespace}/{name}: ")?;
        place.iter().try_for_each(|place| write!(f, "{place}: "))?;
        write!(f, "{message} ({reason}")?;
        if let (Some(broker), Some(language)) = (broker, language) {
            write!(f, ", broker `{broker}`, {language}")?;
        }
        f.write_str(")")
    }
}
