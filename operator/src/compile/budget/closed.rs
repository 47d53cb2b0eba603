//! Policies that do not fit and have a Deny: everything is denied to those they select. That costs something, too, so it has
//! a limit of its own, beyond which everything is denied to every client of the tenant: a Deny never vanishes.

use mqtt_access_core::policy::{Policy, Subject};

use super::cost::globs;

/// How many such policies are kept, and what their subjects may cost together.
pub(crate) const MAX_CLOSED: usize = 256;
const MAX_SUBJECT_BYTES: usize = 1024 * 1024;
const MAX_UNGATED: usize = 256;
const MAX_GLOBS: usize = 1024;

/// What is kept of policies that do not fit.
#[derive(Default)]
pub(in crate::compile) struct Closed {
    policies: usize,
    bytes: usize,
    ungated: usize,
    globs: usize,
    /// Whether everything is denied to every client of the tenant.
    full: bool,
}

impl Closed {
    /// Takes the subjects of a policy, or says that they are too many. They come in the order of their age.
    pub(in crate::compile) fn takes(&mut self, policy: &Policy) -> bool {
        let subjects = &policy.subjects;
        self.policies += 1;
        self.bytes += serde_json::to_string(subjects).map_or(MAX_SUBJECT_BYTES, |text| text.len());
        self.ungated += subjects.iter().filter(|subject| !subject.has_equality_gate()).count();
        self.globs += globs(subjects);
        self.policies <= MAX_CLOSED
            && self.bytes <= MAX_SUBJECT_BYTES
            && self.ungated <= MAX_UNGATED
            && self.globs <= MAX_GLOBS
    }

    /// Closes the tenant; tells whether it was open.
    pub(in crate::compile) fn close_tenant(&mut self) -> bool {
        !std::mem::replace(&mut self.full, true)
    }

    pub(in crate::compile) fn is_full(&self) -> bool {
        self.full
    }
}

/// Every client of the tenant.
pub(in crate::compile) fn everyone() -> Vec<Subject> {
    vec![Subject { everyone: true, ..Subject::default() }]
}
