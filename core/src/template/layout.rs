//! How the variables of a topic stand in it: what the topics of a tenant are counted and put in order by.

use super::{Part, TemplateLevel, Topic, Variable};

/// The levels of a topic that have variables: where each stands, which variables it has, and how many bytes of text stand
/// around them. Topics that differ only in their texts have the same layout.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout(Box<[VariableLevel]>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct VariableLevel {
    place: usize,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    /// A text of so many bytes.
    Text(usize),
    Variable(Variable),
}

impl Layout {
    /// That of a topic. A filter after `eq ` has no variables.
    #[must_use]
    pub fn of(topic: &Topic) -> Self {
        let levels = match topic {
            Topic::Template(levels) => levels.as_slice(),
            Topic::Exact(_) => &[],
        };
        let with_variables = levels.iter().enumerate().filter_map(|(place, level)| match level {
            TemplateLevel::Variable(parts) => {
                Some(VariableLevel { place, pieces: parts.iter().map(Piece::of).collect() })
            }
            TemplateLevel::Literal(_) | TemplateLevel::Plus | TemplateLevel::Hash => None,
        });
        Self(with_variables.collect())
    }

    /// How many levels have variables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no level has variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Piece {
    fn of(part: &Part) -> Self {
        match part {
            Part::Text(text) => Self::Text(text.len()),
            Part::Variable(variable) => Self::Variable(variable.clone()),
        }
    }
}

/// What makes a walk down the topics of Allow rules branch: which levels of a topic are `+`, and its [`Layout`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    plus: Box<[usize]>,
    layout: Layout,
}

impl Shape {
    /// That of a topic.
    #[must_use]
    pub fn of(topic: &Topic) -> Self {
        let places_of = |levels: &mut dyn Iterator<Item = bool>| {
            levels.enumerate().filter(|(_, is_plus)| *is_plus).map(|(place, _)| place).collect()
        };
        let plus = match topic {
            Topic::Template(levels) => places_of(&mut levels.iter().map(|level| *level == TemplateLevel::Plus)),
            Topic::Exact(filter) => places_of(&mut filter.split('/').map(|level| level == "+")),
        };
        Self { plus, layout: Layout::of(topic) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_whose_variables_stand_alike_have_one_layout() {
        let layout = |text: &str| Layout::of(&Topic::parse(text).unwrap());
        let same = ["a/x${clientid}", "b/y${clientid}", "+/z${clientid}/c/#"];
        assert!(same.iter().all(|text| layout(text) == layout(same[0]) && layout(text).len() == 1));
        for other in ["a/${clientid}", "a/xx${clientid}", "a/${clientid}x", "x${clientid}", "a/x${username}"] {
            assert_ne!(layout(other), layout(same[0]), "{other}");
        }
        assert!(layout("a/b/+/#").is_empty() && layout("eq a/x${clientid}").is_empty());
        assert_eq!(layout("${clientid}/${client_attrs.a}${username}/a").len(), 2);
    }

    #[test]
    fn topics_that_branch_alike_have_one_shape() {
        let shape = |text: &str| Shape::of(&Topic::parse(text).unwrap());
        assert_eq!(shape("a/+/b"), shape("c/+/d/e/#"));
        assert_eq!(shape("a/b"), shape("#"));
        assert_eq!(shape("eq a/+"), shape("b/+"));
        for other in ["+/a/b", "a/+/+", "a/b", "a/+/${clientid}"] {
            assert_ne!(shape(other), shape("a/+/b"), "{other}");
        }
    }
}
