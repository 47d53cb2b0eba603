//! The one thing that keeps a rule from matching, in a closed list.

use std::collections::BTreeSet;
use std::fmt;

use super::Unmet;
use crate::policy::Qos;

/// Why a rule did not match. Holds names, topics and attribute values, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// If and only if the subscription asks for more than the topic grants, and for some of it.
    AsksForMore {
        /// What is granted to this client.
        granted: String,
        /// A subscription that is granted; `None` where it would be too long to be of use.
        narrow_to: Option<String>,
    },
    /// If and only if the topic would match if its variables had other values.
    OtherValue {
        /// The level of the topic, as it was written.
        level: String,
        /// What it is for this client.
        value: String,
        /// What the request has there, shortened.
        asked: String,
    },
    /// If and only if an Allow topic matches nothing for this client, because the value of a variable cannot be used.
    Unusable {
        /// The variable, such as `${clientid}`.
        variable: String,
        /// What is wrong with its value.
        fault: ValueFault,
    },
    /// If and only if the filter would match without `eq` before it.
    Exactly {
        /// The filter after `eq`.
        filter: String,
    },
    /// If and only if the topic begins with a wildcard, and what is asked for with `$`.
    Dollar,
    /// If and only if the `QoS` is another one, or not told.
    Qos {
        /// Those that the rule is about.
        levels: BTreeSet<Qos>,
        /// That of the request.
        asked: Option<Qos>,
    },
    /// If and only if the retain flag is another one, or not told.
    Retain {
        /// The one that the rule is about.
        wanted: bool,
        /// That of the request.
        asked: Option<bool>,
    },
    /// If and only if the rule is about the other action.
    Action,
    /// If and only if no subject of the policy selects the client; what each of them lacks.
    Subject(Vec<Unmet>),
}

/// Why the value of a variable cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueFault {
    /// The client has none.
    Absent,
    /// The client chose its client ID, and nothing proves it.
    Unproven,
    /// The way in which the client logs in does not verify a username.
    Unverified,
    /// It is the ticket, which no topic may contain.
    Reserved,
    /// It has no characters.
    Empty,
    /// It would be several levels.
    Slash,
    /// It holds a wildcard, `${` or a control character.
    Character,
    /// It would make the topic begin with `$`.
    LeadingDollar,
    /// It holds `.` or `*`, which the broker takes for something else.
    Dotted,
}

impl Why {
    /// The kind, for JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AsksForMore { .. } => "AsksForMore",
            Self::OtherValue { .. } => "OtherValue",
            Self::Unusable { .. } => "Unusable",
            Self::Exactly { .. } => "Exactly",
            Self::Dollar => "Dollar",
            Self::Qos { .. } => "Qos",
            Self::Retain { .. } => "Retain",
            Self::Action => "Action",
            Self::Subject(_) => "Subject",
        }
    }

    /// What a reader most likely meant comes first.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::AsksForMore { .. } => 0,
            Self::Unusable { .. } => 1,
            Self::Exactly { .. } => 2,
            Self::Dollar => 3,
            Self::Qos { .. } => 4,
            Self::Retain { .. } => 5,
            Self::Action => 6,
            Self::OtherValue { .. } => 7,
            Self::Subject(_) => 8,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsksForMore { granted, narrow_to: None } => {
                write!(f, "the subscription asks for more than `{granted}`; narrow it")
            }
            Self::AsksForMore { granted, narrow_to: Some(to) } => {
                write!(f, "the subscription asks for more than `{granted}`; narrow it to `{to}`")
            }
            Self::OtherValue { level, value, asked } => {
                write!(f, "`{level}` is `{value}` for this client, and the request has `{asked}` there")
            }
            Self::Unusable { variable, fault } => write!(f, "`{variable}` cannot be used for this client: {fault}"),
            Self::Exactly { filter } => write!(f, "`eq` means exactly `{filter}`"),
            Self::Dollar => f.write_str("a leading wildcard does not reach topics that begin with `$`"),
            Self::Qos { levels, asked } => {
                let levels: Vec<String> = levels.iter().map(|level| u8::from(*level).to_string()).collect();
                let levels = if levels.is_empty() { "no QoS".to_owned() } else { format!("QoS {}", levels.join(", ")) };
                match asked {
                    Some(asked) => write!(f, "it is about {levels}, and the request has {}", u8::from(*asked)),
                    None => write!(f, "it is about {levels}, and the request does not tell its QoS"),
                }
            }
            Self::Retain { wanted, asked } => {
                let about = if *wanted { "with" } else { "without" };
                let told = if asked.is_some() { "is another one" } else { "does not tell its retain flag" };
                write!(f, "it is about publishes {about} the retain flag, and the request {told}")
            }
            Self::Action => f.write_str("it is about the other action; see `actions`"),
            Self::Subject(unmet) => {
                f.write_str("no subject selects the client")?;
                unmet
                    .iter()
                    .take(4)
                    .enumerate()
                    .try_for_each(|(place, unmet)| write!(f, "{} {unmet}", if place == 0 { ":" } else { ";" }))?;
                if unmet.len() > 4 { write!(f, "; and {} more", unmet.len() - 4) } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "it has no such value; set it in `clientAttributes`",
            Self::Unproven => "the client ID is the client's choice, and nothing proves it",
            Self::Unverified => "its way of logging in verifies no username",
            Self::Reserved => "no topic may contain it",
            Self::Empty => "the value is empty",
            Self::Slash => "the value contains `/`",
            Self::Character => "the value contains a wildcard, `${` or a control character",
            Self::LeadingDollar => "the topic would begin with `$`",
            Self::Dotted => "the value contains `.` or `*`, which this broker takes for something else",
        })
    }
}
