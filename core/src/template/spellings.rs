//! Levels with variables, found by what they spell for a client: one look-up for each way in which text and variables follow
//! each other, not one comparison for each level.
//!
//! Levels with the same variables are a *group*. Where a client's values are known, the lengths of the texts around them fix
//! the place of every text in a level that is asked for: levels of one group with texts of the same lengths are a *shape*, and
//! the texts of a shape are found by their hash.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::render::{self, Position, Unusable};
use super::{Part, Variable};

/// Levels with variables, each with a number.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    groups: Vec<Group>,
    by_variables: HashMap<(Box<[Part]>, bool), usize>,
    known: HashTable<Known>,
    texts: Vec<u8>,
    shapes: u32,
    hasher: DefaultHashBuilder,
}

/// The levels with the same variables in the same order.
#[derive(Debug)]
pub(crate) struct Group {
    /// The variables without the texts around them.
    variables: Box<[Part]>,
    /// Whether the first variable begins the level, and so the topic.
    leads: bool,
    /// In the order of their bytes of text, then of the lengths.
    shapes: Vec<Shape>,
}

#[derive(Debug)]
struct Shape {
    /// How many bytes of text there are altogether.
    bytes: usize,
    /// The bytes of text before each variable, and after the last.
    lengths: Box<[u16]>,
    number: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    hash: u64,
    group: u32,
    shape: u32,
    start: u32,
    bytes: u16,
    value: u32,
}

impl Group {
    /// Why a client's values cannot be used in these levels; `None` when they can. The texts count nothing.
    pub(crate) fn unusable<'v>(
        &self,
        position: Position,
        value: impl Fn(&Variable) -> Option<&'v str>,
    ) -> Option<Unusable> {
        // A text before the variable keeps a `$` in its value from leading the topic.
        render::unusable(&self.variables, Position { first: position.first && self.leads, ..position }, value)
    }

    /// The variables in their order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    fn shapes_of(&self, bytes: usize) -> impl Iterator<Item = &Shape> {
        let start = self.shapes.partition_point(|shape| shape.bytes < bytes);
        self.shapes.iter().skip(start).take_while(move |shape| shape.bytes == bytes)
    }
}

impl Spellings {
    /// The groups, by their numbers.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// In how many ways text and variables follow each other.
    pub(crate) fn shapes(&self) -> usize {
        usize::try_from(self.shapes).unwrap_or(usize::MAX)
    }

    /// The number of the level's group, and the value of the level; where it is new, `fresh` makes it. Where the level is not
    /// the first of its topic, it does not matter whether a variable leads it.
    pub(crate) fn get_or_insert(&mut self, parts: &[Part], first: bool, fresh: impl FnOnce() -> u32) -> (usize, u32) {
        let (variables, leads) = variables_of(parts);
        let leads = leads && first;
        let number = *self.by_variables.entry((variables, leads)).or_insert_with_key(|(variables, leads)| {
            self.groups.push(Group { variables: variables.clone(), leads: *leads, shapes: Vec::new() });
            self.groups.len() - 1
        });
        let shape = self.shape(number, lengths_of(parts));
        let texts = || parts.iter().filter_map(text_of);
        let hash = hash(&self.hasher, shape, texts());
        let text: Vec<u8> = texts().flatten().copied().collect();
        let Self { known, texts, .. } = self;
        let found = known.find(hash, |known| known.shape == shape && known.text(texts) == text);
        if let Some(found) = found {
            return (number, found.value);
        }
        let start = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
        texts.extend(text);
        let group = u32::try_from(number).unwrap_or(u32::MAX);
        let value = fresh();
        known.insert_unique(hash, Known { hash, group, shape, start, bytes, value }, |known| known.hash);
        (number, value)
    }

    fn shape(&mut self, group: usize, lengths: Box<[u16]>) -> u32 {
        let bytes = lengths.iter().map(|length| usize::from(*length)).sum();
        let Some(group) = self.groups.get_mut(group) else { return u32::MAX };
        let key = (bytes, &lengths);
        match group.shapes.binary_search_by(|shape| (shape.bytes, &shape.lengths).cmp(&key)) {
            Ok(place) => group.shapes.get(place).map_or(u32::MAX, |shape| shape.number),
            Err(place) => {
                let number = self.shapes;
                group.shapes.insert(place, Shape { bytes, lengths, number });
                self.shapes += 1;
                number
            }
        }
    }

    /// Hands on the value of each level of a group that spells a text for a client. Says nothing of values that cannot be used.
    pub(crate) fn spelt<'v>(
        &self,
        group: &Group,
        text: &str,
        value: impl Fn(&Variable) -> Option<&'v str>,
        mut then: impl FnMut(u32),
    ) {
        let value = |variable: &Variable| value(variable).unwrap_or_default().as_bytes();
        let values: usize = group.variables().map(|variable| value(variable).len()).sum();
        let Some(bytes) = text.len().checked_sub(values) else { return };
        for shape in group.shapes_of(bytes) {
            let texts = || texts_around(shape, group.variables().map(value), text.as_bytes());
            if texts().any(|text| text.is_none()) {
                continue;
            }
            let hash = hash(&self.hasher, shape.number, texts().flatten().filter(|text| !text.is_empty()));
            let same =
                |known: &&Known| known.shape == shape.number && is_concatenated(known.text(&self.texts), texts());
            self.known.find(hash, |known| same(&known)).into_iter().for_each(|known| then(known.value));
        }
    }

    /// Each level: its group, the text that it begins with, and its value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Group, &[u8], u32)> {
        self.known.iter().filter_map(|known| {
            let group = self.groups.get(usize::try_from(known.group).ok()?)?;
            let leading = if group.leads { &[] } else { known.text(&self.texts) };
            Some((group, leading, known.value))
        })
    }

    pub(crate) fn shrink(&mut self) {
        self.texts.shrink_to_fit();
        self.known.shrink_to_fit(|known| known.hash);
    }
}

impl Known {
    fn text<'t>(&self, texts: &'t [u8]) -> &'t [u8] {
        let start = usize::try_from(self.start).unwrap_or(usize::MAX);
        texts.get(start..start.saturating_add(usize::from(self.bytes))).unwrap_or_default()
    }
}

/// The same for texts that follow each other in the same way, so none of them is empty.
fn hash<'t>(hasher: &DefaultHashBuilder, shape: u32, texts: impl Iterator<Item = &'t [u8]>) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(shape);
    texts.for_each(|text| hasher.write(text));
    hasher.finish()
}

fn text_of(part: &Part) -> Option<&[u8]> {
    match part {
        Part::Text(text) => Some(text.as_bytes()),
        Part::Variable(_) => None,
    }
}

fn variables_of(parts: &[Part]) -> (Box<[Part]>, bool) {
    let variables = parts.iter().filter(|part| matches!(part, Part::Variable(_))).cloned().collect();
    (variables, matches!(parts.first(), Some(Part::Variable(_))))
}

fn lengths_of(parts: &[Part]) -> Box<[u16]> {
    let mut lengths = vec![0_u16];
    for part in parts {
        match part {
            Part::Variable(_) => lengths.push(0),
            // A template has at most 1,024 bytes.
            Part::Text(text) => {
                let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
                lengths.iter_mut().next_back().into_iter().for_each(|last| *last = last.saturating_add(length));
            }
        }
    }
    lengths.into()
}

/// The texts around the values in a level; `None` among them where another value than the client's stands at its place.
fn texts_around<'t, 'v>(
    shape: &Shape,
    values: impl Iterator<Item = &'v [u8]>,
    level: &'t [u8],
) -> impl Iterator<Item = Option<&'t [u8]>> {
    let mut rest = Some(level);
    let values = values.map(Some).chain(std::iter::once(None));
    shape.lengths.iter().zip(values).map(move |(length, value)| {
        let (text, after) = rest?.split_at_checked(usize::from(*length))?;
        rest = match value {
            Some(value) => after.strip_prefix(value),
            None => Some(after),
        };
        rest.map(|_| text)
    })
}

fn is_concatenated<'t>(whole: &[u8], texts: impl Iterator<Item = Option<&'t [u8]>>) -> bool {
    let mut rest = Some(whole);
    for text in texts {
        rest = text.and_then(|text| rest?.strip_prefix(text));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{TemplateLevel, Topic};

    const LEVELS: [&str; 8] = [
        "${clientid}",
        "x${clientid}",
        "y${clientid}",
        "${clientid}x",
        "xx${clientid}${username}",
        "x${clientid}x${username}",
        "${clientid}xx${username}",
        "${username}x${clientid}x",
    ];

    fn parts(level: &str) -> Box<[Part]> {
        let Topic::Template(levels) = Topic::parse(level).unwrap() else { panic!("exact") };
        let Some(TemplateLevel::Variable(parts)) = levels.into_iter().next() else { panic!("no variable") };
        parts
    }

    #[test]
    fn levels_are_found_by_what_they_spell_as_if_each_were_compared() {
        let mut spellings = Spellings::default();
        for (level, number) in LEVELS.iter().zip(0..) {
            assert_eq!(spellings.get_or_insert(&parts(level), true, || number).1, number);
        }
        for (level, number) in LEVELS.iter().zip(0..) {
            assert_eq!(spellings.get_or_insert(&parts(level), true, || 99).1, number, "{level} is known");
        }
        spellings.shrink();
        let mut spelt = 0;
        for (id, name) in [("a", "b"), ("x", "x"), ("xx", ""), ("", "xx")] {
            let value = |variable: &Variable| Some(if *variable == Variable::ClientId { id } else { name });
            for text in ["a", "xa", "ya", "ax", "xxab", "xaxb", "axxb", "bxax", "xx", "xxx", "xxxx", "", "b", "é"] {
                let mut found = Vec::new();
                spellings.groups().iter().for_each(|group| spellings.spelt(group, text, value, |it| found.push(it)));
                found.sort_unstable();
                let compared = LEVELS.iter().zip(0..).filter(|(level, _)| render::spells(&parts(level), text, value));
                let expected: Vec<u32> = compared.map(|(_, number)| number).collect();
                assert_eq!(found, expected, "{text} with {id} and {name}");
                spelt += found.len();
            }
        }
        assert!(spelt > 20, "{spelt}");
    }
}
