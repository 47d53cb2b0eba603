//! One Deny topic against one request, level by level: the slow way.

use super::Question;
use super::steps::Step;
use crate::template::render::{Position, Unusable, is_dotted, spells, unusable};
use crate::template::{Part, Topic};
use crate::topic::{Filter, Level, covers, covers_with_dollars};
use crate::verdict::Target;

/// Whether a Deny topic refuses what is asked. `None` is every topic there is.
pub(in crate::rules) fn meets(topic: Option<&Topic>, question: &Question<'_>) -> bool {
    match topic {
        None => true,
        Some(Topic::Template(levels)) => meets_levels(levels.iter().map(Step::of_template), question),
        Some(Topic::Exact(filter)) if question.dotted && is_dotted(filter) => {
            meets_levels(filter.split('/').map(Step::of_filter), question)
        }
        Some(Topic::Exact(filter)) => meets_exactly(filter, question),
    }
}

/// Whether a filter, in which nothing is expanded, meets what is asked.
pub(in crate::rules) fn filter_meets(filter: &str, question: &Question<'_>) -> bool {
    meets_levels(filter.split('/').map(Step::of_filter), question)
}

/// `eq F` refuses a publish to F and every subscription that covers F.
fn meets_exactly(filter: &str, question: &Question<'_>) -> bool {
    // A filter that cannot be read is a fault of ours, and must deny.
    let Ok(own) = Filter::parse(filter) else { return true };
    match question.target {
        Target::Publish(name) => name.as_str() == filter,
        Target::Subscribe(asked) if question.dotted => covers_with_dollars(asked, own),
        Target::Subscribe(asked) => covers(asked, own),
    }
}

/// How one level of a topic compares with what is asked there.
enum Compared {
    /// The level matches: the next ones decide.
    Goes,
    /// It becomes `#`, or is one.
    Grows,
    /// Nothing is matched by both.
    Differs,
}

fn meets_levels<'t>(steps: impl Iterator<Item = Step<'t>>, question: &Question<'_>) -> bool {
    let mut steps = steps.peekable();
    // A lone `+` does not reach the empty level: there is no empty name.
    if question.levels == ["+"] && steps.peek() == Some(&Step::Literal("")) {
        return false;
    }
    let mut asked = question.levels.iter();
    let mut first = true;
    while let Some(step) = steps.next() {
        let last = steps.peek().is_none();
        let here = Here { first, last, question };
        match asked.next() {
            // `#` matches its parent too.
            None => return here.grows(step),
            Some(&"#") => return !here.escapes(step),
            Some(level) => match here.compare(step, level) {
                Compared::Goes => {}
                Compared::Grows => return true,
                Compared::Differs => return false,
            },
        }
        first = false;
    }
    asked.next().is_none_or(|level| *level == "#")
}

struct Here<'a> {
    first: bool,
    last: bool,
    question: &'a Question<'a>,
}

impl Here<'_> {
    fn compare(&self, step: Step<'_>, level: &str) -> Compared {
        if self.grows(step) && !matches!(step, Step::Hash) {
            return Compared::Grows;
        }
        let dollar = self.first && level.starts_with('$');
        let matches = match (step, Level::of(level)) {
            (Step::Hash, _) => return if dollar { Compared::Differs } else { Compared::Grows },
            (_, Level::Plus | Level::Hash) => !self.escapes(step),
            (Step::Literal(text), Level::Literal(level)) => text == level,
            (Step::Plus, Level::Literal(_)) => !dollar,
            (Step::Variable(parts), Level::Literal(level)) => {
                let client = self.question.client;
                self.unusable(parts).is_some() || spells(parts, level, |variable| client.variable(variable))
            }
        };
        if matches { Compared::Goes } else { Compared::Differs }
    }

    /// Whether the level is `#`, or stands for it since a value cannot be used or the broker would read several levels.
    fn grows(&self, step: Step<'_>) -> bool {
        let dotted = self.question.dotted && step.is_dotted();
        dotted
            || match step {
                Step::Hash => true,
                Step::Variable(parts) => match self.unusable(parts) {
                    Some(Unusable::Below) => true,
                    Some(Unusable::Level) => self.last,
                    None => false,
                },
                Step::Literal(_) | Step::Plus => false,
            }
    }

    /// Whether a leading wildcard does not reach the level because it starts with `$`.
    fn escapes(&self, step: Step<'_>) -> bool {
        let starts = match step {
            Step::Literal(text) => text.starts_with('$'),
            Step::Variable(parts) => {
                let leading = matches!(parts.first(), Some(Part::Text(text)) if text.starts_with('$'));
                leading && self.unusable(parts).is_none()
            }
            Step::Plus | Step::Hash => false,
        };
        starts && self.first && !self.question.dotted
    }

    fn unusable(&self, parts: &[Part]) -> Option<Unusable> {
        let position = Position { first: self.first, dotted: self.question.dotted };
        unusable(parts, position, |variable| self.question.client.variable(variable))
    }
}
