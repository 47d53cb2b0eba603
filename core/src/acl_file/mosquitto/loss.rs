//! What Mosquitto's language cannot say of a rule, in words for who wrote it.

/// What is lost of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// An Allow asks for QoS levels.
    AllowQos,
    /// An Allow of publishing asks for a retain flag.
    AllowRetain,
    /// An Allow of subscribing to `eq` and a filter with wildcards.
    AllowExact,
    /// An Allow on topics that Mosquitto keeps for itself.
    Reserved,
    /// A Deny asks for QoS levels or a retain flag.
    DenyConditions,
    /// A Deny of one action takes the other one too.
    DenyOtherAction,
    /// A Deny of subscribing to `eq` and a filter with wildcards.
    DenyExact,
    /// A line cannot carry a topic.
    Unwritable,
}

impl Loss {
    /// What clients may not do although the rule says so, why, and what to write instead.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::AllowQos => {
                "nothing is allowed by it, since Mosquitto's ACL file does not ask for a QoS; take `qos` out of the rule"
            }
            Self::AllowRetain => {
                "no publishing is allowed by it, since Mosquitto's ACL file does not ask for a retain flag; take `retain` \
                 out of the rule"
            }
            Self::AllowExact => {
                "a topic with `eq ` and wildcards allows no subscription, since Mosquitto judges each message and would \
                 deliver to narrower subscriptions too; write the topic without `eq `, or without wildcards"
            }
            Self::Reserved => {
                "nobody publishes to `$SYS` and `$CONTROL`, and there are no messages under `$share`, since Mosquitto keeps \
                 these topics for itself; take them out of the rule"
            }
            Self::DenyConditions => {
                "it refuses every QoS and retain flag, since Mosquitto's ACL file does not ask for them; take `qos` and \
                 `retain` out of the rule"
            }
            Self::DenyOtherAction => {
                "it refuses publishing and subscribing alike, since a `deny` of Mosquitto knows no action; let the Deny \
                 cover whole topics of the Allow rules that it meets, or deny both actions"
            }
            Self::DenyExact => {
                "a topic with `eq ` and wildcards refuses everything within it, since Mosquitto judges each message and \
                 no subscription; write the topic without `eq `, or without wildcards"
            }
            Self::Unwritable => {
                "a topic that begins or ends with a space or has more than 201 levels cannot stand in Mosquitto's ACL \
                 file: an Allow leaves it out, and a Deny takes more; write another topic"
            }
        }
    }
}
