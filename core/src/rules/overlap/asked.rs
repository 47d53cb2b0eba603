//! A question, and what it says of the variables in an index: looked up once for all spans.

use smallvec::SmallVec;

use super::sets::{Set, SetId};
use super::{Group, Overlap, Question};
use crate::template::Variable;
use crate::template::render::{Position, Unusable};

/// A question with the values that it is about. Nothing is allocated up to so many terms.
#[derive(Debug)]
pub(super) struct Asked<'q, const TERMS: usize> {
    /// The levels, `#` aside.
    pub(super) texts: &'q [&'q str],
    /// Whether it ends in `#`.
    pub(super) hash: bool,
    pub(super) whole: bool,
    dotted: bool,
    /// By the number of the group.
    groups: SmallVec<[Values; TERMS]>,
    spelt: SmallVec<[SetId; TERMS]>,
}

/// The items that match one level.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    /// Whether an item has to fulfil something there.
    pub(super) restricts: bool,
    /// Items with the text.
    pub(super) text: Option<SetId>,
    /// Items that match any text, where those of `text` do not hold them.
    pub(super) wild: Option<SetId>,
}

/// A client's values in the levels of one group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values {
    /// Why they cannot be used.
    pub(super) fault: Option<Unusable>,
    /// Where the sets of what they spell stand.
    start: usize,
    end: usize,
}

impl<'q, const TERMS: usize> Asked<'q, TERMS> {
    pub(super) fn new(index: &Overlap, question: &'q Question<'q>) -> Self {
        let (texts, hash) = match question.levels {
            // `+/#` matches exactly what `#` matches.
            ["+", "#"] => (&[][..], true),
            [levels @ .., "#"] => (levels, true),
            levels => (levels, false),
        };
        let (groups, spelt) = (SmallVec::new(), SmallVec::new());
        let mut asked = Self { texts, hash, whole: question.whole, dotted: question.dotted, groups, spelt };
        for group in &index.groups {
            let values = index.values(question, group, texts, &mut asked.spelt);
            asked.groups.push(values);
        }
        asked
    }

    /// How many levels it has, `#` aside.
    pub(super) fn depth(&self) -> usize {
        self.texts.len()
    }

    /// Whether `+` is asked for, and nothing else.
    pub(super) fn is_lone_plus(&self) -> bool {
        self.texts == ["+"] && !self.hash
    }

    /// Whether it starts with a wildcard that reaches no `$`.
    pub(super) fn stops_at_dollar(&self) -> bool {
        self.texts.first().is_none_or(|level| *level == "+") && !self.dotted
    }

    pub(super) fn values(&self, group: usize) -> Values {
        self.groups.get(group).copied().unwrap_or_default()
    }

    /// The sets of items that spell what is asked.
    pub(super) fn spelt(&self, values: Values) -> &[SetId] {
        self.spelt.get(values.start..values.end).unwrap_or_default()
    }
}

impl Overlap {
    #[inline]
    pub(super) fn level(&self, place: usize, text: &str, whole: bool) -> Level {
        let wild = self.places.get(place).and_then(|place| place.wild);
        match text {
            "+" if !whole => Level::default(),
            "+" => Level { restricts: true, text: None, wild },
            _ => {
                let text_set = self.texts.get(place, text);
                // Sets in bits hold what matches any text already.
                let holds_wild = text_set.is_some_and(|set| matches!(self.sets.get(set), Set::Bits(_)));
                let beyond = if place == 0 && text.starts_with('$') { self.everything } else { wild };
                Level { restricts: true, text: text_set, wild: beyond.filter(|_| !holds_wild) }
            }
        }
    }

    /// Looks at a client's values, and adds what they spell to `spelt`.
    fn values<const TERMS: usize>(
        &self,
        question: &Question<'_>,
        group: &Group,
        texts: &[&str],
        spelt: &mut SmallVec<[SetId; TERMS]>,
    ) -> Values {
        let Group { place, number, .. } = *group;
        let spellings = self.places.get(place).map(|place| &place.spellings).filter(|_| place <= texts.len());
        let Some((spellings, own)) = spellings.and_then(|known| known.groups().get(number).map(|own| (known, own)))
        else {
            return Values::default();
        };
        // Each value is looked up once, however many texts stand around it.
        let known: SmallVec<[(&Variable, Option<&str>); 4]> =
            own.variables().map(|variable| (variable, question.client.variable(variable))).collect();
        let value = |wanted: &Variable| {
            known.iter().find(|(variable, _)| std::ptr::eq(*variable, wanted)).and_then(|(_, value)| *value)
        };
        let fault = own.unusable(Position { first: place == 0, dotted: question.dotted }, value);
        let literal = texts.get(place).filter(|text| fault.is_none() && **text != "+");
        let start = spelt.len();
        if let Some(text) = literal {
            spellings.spelt(own, text, value, |set| spelt.push(set));
        }
        Values { fault, start, end: spelt.len() }
    }
}
