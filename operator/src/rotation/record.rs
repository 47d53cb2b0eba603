//! What is remembered of a secret's rotations: in an annotation of its Secret, so that a lost status, a restart or another
//! replica rotates nothing twice.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mqtt_access_core::bundle::{Spare, UnixSeconds};
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::RotationStatus;
use serde::{Deserialize, Serialize};

use super::{Cause, SKEW, Wish};

/// The record of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The trigger that was carried out last, or adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// Since when the current secret is the current one.
    pub(crate) rotated_at: UnixSeconds,
    /// Until when the previous one is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_valid_until: Option<UnixSeconds>,
    /// The overlap that `previous_valid_until` was reckoned with, in seconds.
    pub(super) overlap: i64,
    /// Which secret it speaks of: see [`mark`]. Another one was put there by hand.
    pub(super) mark: String,
}

impl Record {
    /// Of a secret that was there before anybody kept a record: whatever is wished counts as done.
    pub(crate) fn adopted(wish: &Wish, now: UnixSeconds) -> Self {
        let trigger = wish.trigger.clone();
        Self { trigger, rotated_at: now, previous_valid_until: None, overlap: wish.overlap, mark: String::new() }
    }

    /// Of a secret that is restored, together with the one before it where there is one. `told` is what stands in its
    /// owner's status: whoever asked for another secret and deleted this one wants another all the same.
    pub(crate) fn restored<S>(
        wish: &Wish,
        told: Option<&RotationStatus>,
        previous: Option<&Spare<S>>,
        mark: String,
        now: UnixSeconds,
    ) -> Self {
        let adopted = Self::adopted(wish, now);
        let told_at = told.and_then(|told| Some(told.rotated_at.as_ref()?.0.as_second()));
        Self {
            trigger: told.map_or(adopted.trigger, |told| told.trigger.clone()),
            rotated_at: previous.map(|previous| previous.since).or(told_at).unwrap_or(now),
            previous_valid_until: previous.map(|previous| previous.until),
            overlap: previous.map_or(wish.overlap, |previous| previous.until.saturating_sub(previous.since)),
            mark,
        }
    }

    /// Reads what stands in an annotation. What does not decode is no record: the present secret is adopted.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As it is written to an annotation.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Of a secret that was just replaced by somebody who cuts over.
    pub(crate) fn refreshed(self, mark: String, now: UnixSeconds) -> Self {
        // Later than any other, also where the clock of another replica is ahead.
        let rotated_at = now.max(self.rotated_at.saturating_add(1));
        Self { rotated_at, previous_valid_until: None, mark, ..self }
    }

    /// As it would have been written when the overlap began that is in force.
    pub(super) fn of<S>(self, previous: &Spare<S>, mark: String) -> Self {
        Self {
            rotated_at: previous.since,
            previous_valid_until: Some(previous.until),
            overlap: previous.until.saturating_sub(previous.since),
            mark,
            ..self
        }
    }

    /// Older than what is known: it proves nothing of the secret beside it.
    pub(super) fn rolled_back(self, trigger: Option<String>) -> Self {
        Self { trigger: trigger.or(self.trigger), mark: String::new(), previous_valid_until: None, ..self }
    }

    /// Whether a Secret says the same already. The mark of another operator, which has another key, is as good.
    pub(crate) fn is_told_by(&self, told: Option<&Self>) -> bool {
        told.is_some_and(|told| {
            let comparable = is_comparable(&told.mark, &self.mark);
            Self { mark: self.mark.clone(), ..told.clone() } == *self && (told.mark == self.mark || !comparable)
        })
    }

    /// Whether it speaks of another secret than the one with this mark.
    pub(super) fn is_of_another(&self, mark: &str) -> bool {
        self.mark != mark && is_comparable(&self.mark, mark)
    }

    /// The current secret is new.
    pub(super) fn begin(&mut self, wish: &Wish, now: UnixSeconds) {
        self.rotated_at = now;
        self.overlap = wish.overlap;
        self.previous_valid_until = (wish.overlap > 0).then(|| now.saturating_add(wish.overlap));
    }

    /// What was asked for is done.
    pub(super) fn done(&mut self, wish: &Wish) {
        self.trigger = wish.trigger.clone().or(self.trigger.take());
    }

    /// After a clock was set back, what it wrote lies in a future that must not be waited for.
    pub(super) fn settle_clock(&mut self, now: UnixSeconds) {
        if self.rotated_at > now.saturating_add(SKEW) {
            self.rotated_at = now;
        }
    }

    /// The previous secret with its end, if that is still to come.
    pub(super) fn keep<S>(&mut self, previous: Spare<S>, wish: &Wish, now: UnixSeconds) -> Option<Spare<S>> {
        // Another wish counts from when the overlap began. What no record knows has no end: it is not accepted. What has
        // ended does not begin again.
        let until = self.previous_valid_until.filter(|until| now < *until).map(|until| {
            let wished =
                if self.overlap == wish.overlap { until } else { self.rotated_at.saturating_add(wish.overlap) };
            wished.min(now.saturating_add(wish.overlap))
        });
        self.overlap = wish.overlap;
        self.previous_valid_until = until.filter(|until| now < *until);
        let (until, since) = (self.previous_valid_until?, self.rotated_at);
        Some(Spare { until, since, ..previous })
    }

    /// Whether a trigger asks for another secret.
    pub(super) fn due(&self, wish: &Wish, now: UnixSeconds) -> Option<(Cause, UnixSeconds)> {
        let asked = wish.trigger.is_some() && wish.trigger != self.trigger;
        asked.then_some((Cause::Trigger, now))
    }
}

const MARK_DOMAIN: &[u8] = b"mqtt-access/rotation/v1\0";
const KEY_DOMAIN: &[u8] = b"mqtt-access/rotation/key/v1\0";

/// By which a secret is recognised, and from which nobody can tell or guess it: a MAC under a key that only the operator and
/// the sidecars of a tenant have.
pub(crate) fn mark(key: &Secret, secret: &Secret) -> String {
    use mqtt_access_core::ticket::generation;
    let (by, mark) = (generation(key, KEY_DOMAIN), generation(key, &[MARK_DOMAIN, secret.expose()].concat()));
    format!("{by}.{mark}")
}

/// Whether two marks can be compared: a tenant that lost its bundle gets another key, and its secrets are what they were.
pub(super) fn is_comparable(one: &str, other: &str) -> bool {
    let by = |mark: &str| mark.split_once('.').map(|(by, _)| by.to_owned());
    by(one) == by(other)
}

/// A time as Kubernetes writes it.
pub(super) fn time(at: UnixSeconds) -> Option<Time> {
    Timestamp::from_second(at).ok().map(Time)
}
