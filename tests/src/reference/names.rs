//! Filters as sets of topic names.
//!
//! `covers` and `overlaps` are decided as they are defined, by asking every name for membership; see
//! [`names_that_matter`] for why finitely many names are enough.

/// The set of names that a filter matches: `L(F)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    filter: String,
    /// Whether a wildcard in the first level reaches names that start with `$`, which MQTT's does not.
    reaches_dollar: bool,
}

impl Names {
    /// What MQTT says that a filter matches.
    #[must_use]
    pub fn of(filter: &str) -> Self {
        Self { filter: filter.to_owned(), reaches_dollar: false }
    }

    /// The same, and names that start with `$` where the first level is a wildcard.
    #[must_use]
    pub fn with_dollars(filter: &str) -> Self {
        Self { filter: filter.to_owned(), reaches_dollar: true }
    }

    /// The same set of another filter.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self { filter: change(&self.filter), ..self.clone() }
    }

    /// Whether the filter matches the name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let filter: Vec<&str> = self.filter.split('/').collect();
        let levels: Vec<&str> = name.split('/').collect();
        let wildcard_first = filter.first().is_some_and(|first| *first == "+" || *first == "#");
        if wildcard_first && name.starts_with('$') && !self.reaches_dollar {
            return false;
        }
        matches(&filter, &levels)
    }

    /// Whether every name of the other set is in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        names_that_matter(self, other).iter().all(|name| self.contains(name) || !other.contains(name))
    }

    /// Whether some name is in both sets.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        names_that_matter(self, other).iter().any(|name| self.contains(name) && other.contains(name))
    }
}

/// "`+` one level, `#` the parent level and everything below."
fn matches(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => matches(filter, name),
        ([literal, filter @ ..], [level, name @ ..]) => literal == level && matches(filter, name),
        _ => false,
    }
}

/// Names enough to tell two filters apart: if any name is in one and not in the other, or in both, then so is one of
/// these.
///
/// Take any name. Replace each level that is not the literal of either filter at that place by a word that occurs in
/// neither (keeping a leading `$` of the first level): a filter looks at a level only to compare it with its own literal
/// there, and at the first for its `$`, so both filters say of the new name what they said of the old. Then cut the name
/// off one level beyond the longer filter: a filter that ends in `#` looks no further, and any other has already failed.
/// What is left is one of the names built here.
fn names_that_matter(a: &Names, b: &Names) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.filter.split('/').collect(), b.filter.split('/').collect());
    let mut fresh = "x".to_owned();
    while a.iter().chain(&b).any(|level| level.contains(&fresh)) {
        fresh.push('x');
    }
    let mut found = Vec::new();
    let mut longer: Vec<String> = Vec::new();
    for place in 0..=a.len().max(b.len()) {
        let mut choices = vec![fresh.clone()];
        choices.extend((place == 0).then(|| format!("${fresh}")));
        let literals = [a.get(place), b.get(place)].into_iter().flatten().filter(|level| !["+", "#"].contains(level));
        choices.extend(literals.map(ToString::to_string));
        choices.dedup();
        longer = match place {
            0 => choices,
            _ => longer.iter().flat_map(|name| choices.iter().map(move |level| format!("{name}/{level}"))).collect(),
        };
        found.extend(longer.iter().filter(|name| is_name(name)).cloned());
    }
    found
}

/// "1 to 65,535 bytes of UTF-8, no `+`, no `#`, no control character."
#[must_use]
pub fn is_name(text: &str) -> bool {
    is_text(text) && !text.contains('+') && !text.contains('#')
}

/// "`+` alone in a level, `#` alone in the last level."
#[must_use]
pub fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let plain = |level: &str| !level.contains('+') && !level.contains('#');
    let (last, others) = levels.split_last().expect("a string has at least one level");
    is_text(text)
        && others.iter().all(|level| *level == "+" || plain(level))
        && (["+", "#"].contains(last) || plain(last))
}

fn is_text(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.chars().any(char::is_control)
}
