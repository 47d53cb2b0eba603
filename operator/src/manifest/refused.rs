//! Why manifests are refused: all faults, each with its place and with what to do. Never a value of a Secret.

use std::fmt;
use std::path::PathBuf;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// The document in the file, from 1; 0 for the file as a whole.
    pub document: usize,
    /// The item of a `List`, from 1.
    pub item: Option<usize>,
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The field, for example `spec.rules[0].topics[1]`; empty for the object as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A fault and the object that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Where the object stands.
    pub place: Place,
    /// Kind, namespace and name, where they are known: `MqttTenant acme/acme`.
    pub object: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// The manifests are refused, for at least one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(Vec<Refusal>);

impl Fault {
    /// A fault of the field at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl Refused {
    /// `None` when there is no refusal.
    pub(super) fn of(mut refusals: Vec<Refusal>) -> Option<Self> {
        refusals.sort();
        refusals.dedup();
        (!refusals.is_empty()).then_some(Self(refusals))
    }

    /// Every refusal, by file and document.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.document > 0 {
            write!(f, ", document {}", self.document)?;
        }
        self.item.map_or(Ok(()), |item| write!(f, ", item {item}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}: {object}: {}", self.place, self.fault),
            None => write!(f, "{}: {}", self.place, self.fault),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault(s) in the manifests:", self.0.len())?;
        self.0.iter().try_for_each(|refusal| write!(f, "\n  {refusal}"))
    }
}

impl std::error::Error for Refused {}
