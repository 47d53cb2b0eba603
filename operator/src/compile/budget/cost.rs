//! What one policy asks for of each limit.

use std::collections::BTreeSet;

use mqtt_access_core::policy::Subject;
use mqtt_access_core::template::{TemplateLevel, Topic};
use mqtt_access_crds as crds;

/// What a policy costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::compile) struct Cost {
    pub(super) allow_topics: usize,
    pub(super) deny_topics: usize,
    pub(super) ungated_subjects: usize,
    pub(super) globs: usize,
    pub(super) variable_levels: BTreeSet<TemplateLevel>,
}

impl Cost {
    /// The cost of subjects, and of rules as they are written: a mistake in one costs what the correct one would.
    pub(in crate::compile) fn of(subjects: &[Subject], rules: &[crds::Rule]) -> Self {
        let mut cost = Self {
            ungated_subjects: subjects.iter().filter(|subject| !subject.has_equality_gate()).count(),
            globs: globs(subjects),
            ..Self::default()
        };
        for crds::Rule { effect, topics, .. } in rules {
            cost.variable_levels.extend(topics.iter().flat_map(|topic| variable_levels(topic)));
            match effect {
                crds::Effect::Allow => cost.allow_topics += topics.len(),
                crds::Effect::Deny => cost.deny_topics += topics.len(),
            }
        }
        cost
    }
}

/// How many globs with a `*` there are.
pub(super) fn globs(subjects: &[Subject]) -> usize {
    subjects.iter().flat_map(|subject| subject.client_ids.iter().flatten()).filter(|glob| glob.contains('*')).count()
}

fn variable_levels(topic: &str) -> Vec<TemplateLevel> {
    match Topic::parse(topic) {
        Ok(Topic::Template(levels)) => {
            levels.into_iter().filter(|level| matches!(level, TemplateLevel::Variable(_))).collect()
        }
        Ok(Topic::Exact(_)) | Err(_) => Vec::new(),
    }
}
