//! The levels of a Deny topic as a search compares them.

use crate::template::render::is_dotted;
use crate::template::{Part, TemplateLevel, Topic};
use crate::topic::Level;

/// One level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'t> {
    Literal(&'t str),
    Plus,
    Hash,
    Variable(&'t [Part]),
}

/// A topic: its levels, of which none is `#`, and how it ends.
#[derive(Debug)]
pub(super) struct Steps<'t> {
    pub(super) levels: Vec<Step<'t>>,
    /// Whether it ends in `#`.
    pub(super) hash: bool,
    /// `eq F`: it refuses what covers it, not what overlaps it.
    pub(super) exact: bool,
    /// Whether it is `#` and reaches names that start with `$` too.
    pub(super) everything: bool,
}

impl<'t> Step<'t> {
    pub(super) fn of_template(level: &'t TemplateLevel) -> Self {
        match level {
            TemplateLevel::Literal(text) => Self::Literal(text),
            TemplateLevel::Plus => Self::Plus,
            TemplateLevel::Hash => Self::Hash,
            TemplateLevel::Variable(parts) => Self::Variable(parts),
        }
    }

    pub(super) fn of_filter(level: &'t str) -> Self {
        match Level::of(level) {
            Level::Literal(text) => Self::Literal(text),
            Level::Plus => Self::Plus,
            Level::Hash => Self::Hash,
        }
    }

    /// Whether RabbitMQ cannot keep the level apart from others, whatever the values of variables are.
    pub(super) fn is_dotted(self) -> bool {
        match self {
            Self::Literal(text) => is_dotted(text),
            Self::Variable(parts) => parts.iter().any(|part| matches!(part, Part::Text(text) if is_dotted(text))),
            Self::Plus | Self::Hash => false,
        }
    }
}

/// Whether a topic is another one where the broker confuses `.` with `/`.
pub(super) fn grows_dotted(topic: &Topic) -> bool {
    match topic {
        Topic::Template(levels) => levels.iter().map(Step::of_template).any(Step::is_dotted),
        Topic::Exact(filter) => is_dotted(filter),
    }
}

impl<'t> Steps<'t> {
    /// The levels of a topic; `None` is every topic there is.
    pub(super) fn of(topic: Option<&'t Topic>, dotted: bool) -> Self {
        match topic {
            None => Self { levels: Vec::new(), hash: true, exact: false, everything: true },
            Some(Topic::Template(levels)) => Self::read(levels.iter().map(Step::of_template), dotted, false),
            Some(Topic::Exact(filter)) => {
                let exact = !(dotted && is_dotted(filter));
                Self::read(filter.split('/').map(Step::of_filter), dotted, exact)
            }
        }
    }

    fn read(steps: impl Iterator<Item = Step<'t>>, dotted: bool, exact: bool) -> Self {
        let mut levels = Vec::new();
        let mut hash = false;
        let mut everything = false;
        for step in steps {
            // On RabbitMQ that level and all after it become `#`.
            let grows = dotted && step.is_dotted();
            if grows || step == Step::Hash {
                hash = true;
                everything = grows && levels.is_empty();
                break;
            }
            levels.push(step);
        }
        // `+/#` matches exactly what `#` matches, and no name is empty: `/#` is the same as `/+/#`.
        if hash && levels == [Step::Plus] {
            levels.clear();
        } else if hash && levels == [Step::Literal("")] {
            levels.push(Step::Plus);
        }
        Self { levels, hash, exact, everything }
    }
}
