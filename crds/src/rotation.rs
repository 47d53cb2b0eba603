//! Rotation: when a key or password is replaced by another, and how long the one before it is still accepted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// When a key or password is replaced, and how long the one before it is still accepted.
///
/// The Secret then holds the new one under the usual keys and, until `previousValidUntil`, the old one as
/// `previousAccessKeySecret` (or `previousPassword`). Both log in; afterwards only the new one. A session that began with the
/// old one ends with it. To go back, write the old one into `accessKeySecret` of the Secret: that is a rotation too; a
/// `password` that you write there yourself cuts over. To end an overlap early, shorten `overlap`, or remove the previous
/// one from the Secret.
///
/// A Secret of your own is rotated by editing it. `Scram` knows one record per user, and a password that somebody chose, or
/// whose hash alone is known, is compared slowly: these cut over at once, and the status says so (`cutOver`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = schema::rotation_rules()))]
pub struct Rotation {
    /// Any text of 1 to 128 characters, for example `2027-01-31` or a ticket number. A change rotates once, also a change
    /// back to an earlier text: the key of then does not come back, and one that is still accepted from an overlap is not any
    /// more. Removing it rotates nothing. When mqtt-access meets a Secret without a record of rotations, whatever stands here
    /// is taken as done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rotation_trigger")]
    pub trigger: Option<String>,

    /// The age at which a key is replaced: hours, minutes and seconds as in `2160h` or `36h30m`, from `1h` to `43800h`, which is
    /// five years. Rotations of many credentials are spread over the last tenth of it, so none gets older. Waits while an
    /// overlap is open. Left out: never by age.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rotation_interval")]
    pub interval: Option<String>,

    /// How long the previous key is accepted beside the current one, written as `interval`, from `0s`, which cuts over at once, to
    /// `2160h`, and not longer than `interval`. Left out: `24h`, or `interval` where that is shorter. A change applies to an
    /// overlap that is open, counted from when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rotation_overlap")]
    pub overlap: Option<String>,
}

/// What became of rotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RotationStatus {
    /// The `spec.rotation.trigger` that was carried out last, or adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub trigger: Option<String>,

    /// Since when the current key is the current one, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub rotated_at: Option<Time>,

    /// When it is replaced, where `interval` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub next_rotation_at: Option<Time>,

    /// Until when the previous key is accepted too. Absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub previous_valid_until: Option<Time>,

    /// `true` where a rotation cuts over at once, whatever `overlap` says: `Scram`, a password that somebody chose, a hash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_over: bool,
}

impl Rotation {
    /// The overlap where none is set, in seconds.
    pub const DEFAULT_OVERLAP: i64 = 24 * 3600;

    /// `interval` in seconds. `None` also where it cannot be read: nothing is replaced that nobody asked for.
    #[must_use]
    pub fn interval_seconds(&self) -> Option<i64> {
        self.interval.as_deref().and_then(seconds).filter(|seconds| *seconds > 0)
    }

    /// `overlap` in seconds, never longer than `interval`. 0 where it cannot be read: the old key is not kept by mistake.
    #[must_use]
    pub fn overlap_seconds(&self) -> i64 {
        let overlap = self.overlap.as_deref().map_or(Self::DEFAULT_OVERLAP, |text| seconds(text).unwrap_or_default());
        overlap.clamp(0, self.interval_seconds().unwrap_or(i64::MAX))
    }
}

fn seconds(text: &str) -> Option<i64> {
    Some(text.parse::<SignedDuration>().ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(interval: Option<&str>, overlap: Option<&str>) -> Rotation {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Rotation { trigger: None, interval: text(interval), overlap: text(overlap) }
    }

    #[test]
    fn durations_are_read_as_the_api_server_reads_them() {
        let read = |interval, overlap| {
            let rotation = rotation(interval, overlap);
            (rotation.interval_seconds(), rotation.overlap_seconds())
        };
        assert_eq!(read(None, None), (None, 86_400));
        assert_eq!(read(Some("2160h"), Some("36h30m")), (Some(7_776_000), 131_400));
        assert_eq!(read(Some("1h0m1s"), None), (Some(3601), 3601));
        assert_eq!(read(None, Some("0s")), (None, 0));
    }

    #[test]
    fn what_cannot_be_read_rotates_nothing_and_keeps_no_old_key() {
        let faulty = rotation(Some("soon"), Some("for a while"));
        assert_eq!((faulty.interval_seconds(), faulty.overlap_seconds()), (None, 0));
        assert_eq!(rotation(Some("0h"), Some("-1h")).interval_seconds(), None);
        assert_eq!(rotation(Some("0h"), Some("-1h")).overlap_seconds(), 0);
    }
}
