//! Secrets that are accepted beside the current one while it is being replaced: clients cannot change over all at once.

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use crate::secret::Secret;

/// A secret that is accepted for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spare<S> {
    /// The secret.
    pub secret: S,
    /// Since when it is a spare.
    pub since: UnixSeconds,
    /// From when on it is refused.
    pub until: UnixSeconds,
}

/// What is accepted beside the current secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(deserialize = "S: Deserialize<'de>"), default)]
pub struct Spares<S> {
    /// The secret before the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Spare<S>>,
    /// The one that comes next. It is accepted before anybody is told, so that nobody who uses it at once is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Spare<S>>,
}

// A derived one would ask for a default secret.
impl<S> Default for Spares<S> {
    fn default() -> Self {
        Self { previous: None, next: None }
    }
}

impl<S> Spares<S> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.previous.is_none() && self.next.is_none()
    }

    /// What is accepted now, the current secret first, with the time at which a session that began with it ends. Without a
    /// current one nothing is.
    pub(crate) fn beside<'s>(
        &'s self,
        current: Option<&'s S>,
        now: UnixSeconds,
    ) -> impl Iterator<Item = (&'s S, Option<UnixSeconds>)> {
        current.into_iter().flat_map(move |current| std::iter::once((current, None)).chain(self.accepted(now)))
    }

    fn accepted(&self, now: UnixSeconds) -> impl Iterator<Item = (&S, Option<UnixSeconds>)> {
        let previous = self.previous.iter().map(|spare| (spare, Some(spare.until)));
        // It becomes the current one, so its sessions go on.
        let next = self.next.iter().map(|spare| (spare, None));
        previous.chain(next).filter(move |(spare, _)| now < spare.until).map(|(spare, end)| (&spare.secret, end))
    }

    /// With other secrets in place of these.
    pub fn map<T>(self, mut change: impl FnMut(S) -> T) -> Spares<T> {
        let mut change = |Spare { secret, since, until }| Spare { secret: change(secret), since, until };
        let Self { previous, next } = self;
        Spares { previous: previous.map(&mut change), next: next.map(&mut change) }
    }
}

impl Spares<Secret> {
    /// As [`Self::beside`]; an empty secret proves nothing.
    pub(crate) fn secrets<'s>(
        &'s self,
        current: Option<&'s Secret>,
        now: UnixSeconds,
    ) -> impl Iterator<Item = (&'s Secret, Option<UnixSeconds>)> {
        let filled = |secret: &Secret| !secret.expose().is_empty();
        self.beside(current.filter(|secret| filled(secret)), now).filter(move |(secret, _)| filled(secret))
    }
}
