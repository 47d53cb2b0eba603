//! What one policy asks for of each limit.

use std::collections::BTreeSet;

use mqtt_access_core::policy::Subject;
use mqtt_access_core::template::{Layout, Shape, Topic};
use mqtt_access_crds as crds;

/// What a policy costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::compile) struct Cost {
    pub(super) allow_topics: usize,
    pub(super) deny_topics: usize,
    pub(super) deny_levels: usize,
    pub(super) ungated_subjects: usize,
    pub(super) globs: usize,
    pub(super) deny_layouts: BTreeSet<Layout>,
    pub(super) allow_shapes: BTreeSet<Shape>,
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
            // A topic that cannot be read is in no index.
            let parsed = topics.iter().filter_map(|topic| Topic::parse(topic).ok());
            match effect {
                crds::Effect::Allow => {
                    cost.allow_topics += topics.len();
                    cost.allow_shapes.extend(parsed.map(|topic| Shape::of(&topic)));
                }
                crds::Effect::Deny => {
                    cost.deny_topics += topics.len();
                    cost.deny_levels += topics.iter().map(|topic| topic.split('/').count()).sum::<usize>();
                    cost.deny_layouts.extend(parsed.map(|topic| Layout::of(&topic)));
                }
            }
        }
        cost
    }
}

/// How many globs with a `*` there are.
pub(super) fn globs(subjects: &[Subject]) -> usize {
    subjects.iter().flat_map(|subject| subject.client_ids.iter().flatten()).filter(|glob| glob.contains('*')).count()
}
