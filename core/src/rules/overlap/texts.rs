//! The literal levels of all items by place and text.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::block::{narrow, wide};
use super::sets::SetId;
use crate::template::MAX_TEMPLATE_BYTES;

/// The set of items that have a text at a place.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashTable<Known>,
    texts: String,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    place: u16,
    bytes: u16,
    start: u32,
    set: SetId,
}

impl Texts {
    pub(super) fn get(&self, place: usize, text: &str) -> Option<SetId> {
        // A level of a request may be 64 KiB long.
        if text.len() > MAX_TEMPLATE_BYTES {
            return None;
        }
        let place = u16::try_from(place).ok()?;
        let known = self.known.find(hash(&self.hasher, place, text), |known| known.is(place, text, &self.texts))?;
        Some(known.set)
    }

    /// The set of a text; where there is none, `fresh` makes it.
    pub(super) fn get_or_insert(&mut self, place: usize, text: &str, fresh: impl FnOnce() -> SetId) -> SetId {
        if let Some(set) = self.get(place, text) {
            return set;
        }
        let Self { known, texts, hasher } = self;
        let place = u16::try_from(place).unwrap_or(u16::MAX);
        let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let entry = Known { place, bytes, start: narrow(texts.len()), set: fresh() };
        texts.push_str(text);
        known.insert_unique(hash(hasher, place, text), entry, |known| hash(hasher, known.place, known.text(texts)));
        entry.set
    }

    /// Every place and text with its set.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str, SetId)> {
        self.known.iter().map(|known| (usize::from(known.place), known.text(&self.texts), known.set))
    }

    pub(super) fn shrink(&mut self) {
        let Self { known, texts, hasher } = self;
        texts.shrink_to_fit();
        known.shrink_to_fit(|known| hash(hasher, known.place, known.text(texts)));
    }
}

impl Known {
    fn text(self, texts: &str) -> &str {
        let start = wide(self.start);
        texts.get(start..start + usize::from(self.bytes)).unwrap_or_default()
    }

    fn is(self, place: u16, text: &str, texts: &str) -> bool {
        self.place == place && self.text(texts) == text
    }
}

fn hash(hasher: &DefaultHashBuilder, place: u16, text: &str) -> u64 {
    hasher.hash_one((place, text))
}
