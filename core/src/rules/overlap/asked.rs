//! A question as sets and values, looked up once for all spans.

use smallvec::SmallVec;

use super::sets::{Set, SetId};
use super::{Group, Overlap, Question};
use crate::template::Variable;
use crate::template::render::{Position, Unusable};

/// A question with the sets and values that it asks about. Nothing is allocated up to so many levels and terms.
#[derive(Debug, Default)]
pub(super) struct Asked<const LEVELS: usize, const TERMS: usize> {
    pub(super) levels: SmallVec<[Level; LEVELS]>,
    /// By the number of the group.
    groups: SmallVec<[Values; TERMS]>,
    spelt: SmallVec<[SetId; TERMS]>,
    /// How many levels the question has, `#` aside.
    pub(super) depth: usize,
    /// Whether it ends in `#`.
    pub(super) hash: bool,
    /// Whether it starts with a wildcard that reaches no `$`.
    pub(super) stops_at_dollar: bool,
    pub(super) whole: bool,
}

/// One level that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    /// Whether it is `+`.
    plus: bool,
    /// Whether an item has to fulfil something there.
    pub(super) restricts: bool,
    /// Items with this text.
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

impl<const LEVELS: usize, const TERMS: usize> Asked<LEVELS, TERMS> {
    /// Whether `+` is asked for, and nothing else.
    pub(super) fn is_lone_plus(&self) -> bool {
        self.depth == 1 && !self.hash && self.levels.first().is_some_and(|level| level.plus)
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
    pub(super) fn look_up<const LEVELS: usize, const TERMS: usize>(
        &self,
        question: &Question<'_>,
        asked: &mut Asked<LEVELS, TERMS>,
    ) {
        let (texts, hash) = match question.levels {
            // `+/#` matches exactly what `#` matches.
            ["+", "#"] => (&[][..], true),
            [levels @ .., "#"] => (levels, true),
            levels => (levels, false),
        };
        for (text, place) in texts.iter().take(self.places.len()).zip(0..) {
            asked.levels.push(self.level(question, place, text));
        }
        for group in &self.groups {
            let values = self.values(question, group, texts, &mut asked.spelt);
            asked.groups.push(values);
        }
        asked.depth = texts.len();
        asked.hash = hash;
        asked.stops_at_dollar = texts.first().is_none_or(|level| *level == "+") && !question.dotted;
        asked.whole = question.whole;
    }

    fn level(&self, question: &Question<'_>, place: usize, text: &str) -> Level {
        let wild = self.places.get(place).and_then(|place| place.wild);
        match text {
            "+" if !question.whole => Level { plus: true, ..Level::default() },
            "+" => Level { plus: true, restricts: true, text: None, wild },
            _ => {
                let text_set = self.texts.get(place, text);
                // Sets in bits hold what matches any text already.
                let holds_wild = text_set.is_some_and(|set| matches!(self.sets.get(set), Set::Bits(_)));
                let beyond = if place == 0 && text.starts_with('$') { self.everything } else { wild };
                Level { plus: false, restricts: true, text: text_set, wild: beyond.filter(|_| !holds_wild) }
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
