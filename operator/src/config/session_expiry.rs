//! How long a broker keeps the session of a client that is gone.

use k8s_openapi::jiff::SignedDuration;
use mqtt_access_core::bundle::UnixSeconds;
use serde::Deserialize;

/// The longest, in hours: more milliseconds do not fit where RabbitMQ keeps them.
const MAX_HOURS: i64 = 1000;

/// A time such as `2h` or `90m`; `0` where nothing is done about sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct SessionExpiry(UnixSeconds);

/// As it may stand in the configuration.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
}

impl SessionExpiry {
    /// In seconds; 0 where nothing is done about sessions.
    #[must_use]
    pub fn seconds(self) -> UnixSeconds {
        self.0
    }
}

impl TryFrom<Written> for SessionExpiry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let seconds = match &written {
            Written::Number(0) => Some(0),
            Written::Number(_) => None,
            Written::Text(text) => text.parse::<SignedDuration>().ok().map(|duration| duration.as_secs()),
        };
        let fits = seconds.filter(|seconds| (0..=MAX_HOURS * 3600).contains(seconds));
        let wrong = "`sessionExpiry` is a time of whole seconds such as `2h` or `90m`, at most";
        fits.map(Self).ok_or_else(|| format!("{wrong} `{MAX_HOURS}h`, or `0`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_time_with_a_unit_or_nothing() {
        let read = |text: &str| serde_json::from_str::<SessionExpiry>(text).map(SessionExpiry::seconds).ok();
        for (text, seconds) in [
            ("0", Some(0)),
            ("\"0s\"", Some(0)),
            ("\"2h\"", Some(7200)),
            ("\"90m\"", Some(5400)),
            ("\"1h30m\"", Some(5400)),
            ("\"1000h\"", Some(3_600_000)),
            ("\"1000h1s\"", None),
            ("\"-1h\"", None),
            ("7200", None),
            ("\"7200\"", None),
            ("\"soon\"", None),
            ("\"\"", None),
            ("-1", None),
            ("true", None),
        ] {
            assert_eq!(read(text), seconds, "{text}");
        }
    }
}
