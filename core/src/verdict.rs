//! What is asked and what is answered.

use crate::policy::{Action, Qos};
use crate::topic::{Filter, TopicName};

/// May this client publish there, or subscribe to that?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Publish or subscribe, and to what.
    pub target: Target<'a>,
    /// The QoS of the publish, or the one asked for by the subscription; `None` where the broker does not tell.
    pub qos: Option<Qos>,
    /// The retain flag of a publish; `None` where the broker does not tell. It means nothing for a subscription.
    pub retain: Option<bool>,
    /// How the broker writes topics.
    pub notation: Notation,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// PUBLISH, or a will message, to this name.
    Publish(TopicName<'a>),
    /// SUBSCRIBE to this filter.
    Subscribe(Filter<'a>),
}

/// How the broker that asks writes topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// As MQTT does.
    Mqtt,
    /// As AMQP routing keys, translated back: a `.` or `*` inside a level cannot be told from `/` and `+`, and a
    /// leading wildcard reaches names that start with `$`. RabbitMQ.
    Dotted,
}

impl Request<'_> {
    /// Publish or subscribe.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.target {
            Target::Publish(_) => Action::Publish,
            Target::Subscribe(_) => Action::Subscribe,
        }
    }
}

impl Reason {
    /// What ApsaraMQ calls the refusal of a token client: 1 forged or unparsable, 2 expired, 3 revoked, 4 the resource does
    /// not match, 5 the permission type does not match, 8 the signature is invalid, and -1 (the account has no permission)
    /// for everything that is not the token's fault.
    #[must_use]
    pub fn token_code(self) -> i8 {
        match self {
            Self::TokenMalformed | Self::TokenClientIdMismatch | Self::TokenWithoutClientId => 1,
            Self::TokenExpired | Self::TicketExpired => 2,
            Self::TokenRevoked => 3,
            Self::NotGrantedByToken => 4,
            Self::TokenTypeMismatch => 5,
            Self::TokenSignatureInvalid => 8,
            _ => -1,
        }
    }
}

impl Cause<'_> {
    /// [`Reason::token_code`]; a rule that denies is the account's.
    #[must_use]
    pub fn token_code(self) -> i8 {
        match self {
            Self::Reason(reason) => reason.token_code(),
            Self::Rule(_) => -1,
        }
    }
}

/// The answer. Only the decider in this crate can make an [`Allowed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'i> {
    /// Let it pass.
    Allow(Allowed<'i>),
    /// Refuse it.
    Deny(Cause<'i>),
}

/// A permission, with the rule that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed<'i> {
    cause: Cause<'i>,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'i> {
    /// A rule of a policy; of several the first by namespace, name and index.
    Rule(RuleRef<'i>),
    /// No rule was involved.
    Reason(Reason),
}

/// Names a rule of an `AclPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef<'i> {
    /// The policy's namespace, which is the tenant's.
    pub namespace: &'i str,
    /// The policy's name.
    pub policy: &'i str,
    /// The rule's place in `spec.rules`, from 0.
    pub index: u32,
}

impl std::fmt::Display for RuleRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} rules[{}]", self.namespace, self.policy, self.index)
    }
}

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Reason(reason) => f.write_str(reason.as_str()),
        }
    }
}

impl<'i> Allowed<'i> {
    pub(crate) fn new(cause: Cause<'i>) -> Self {
        Self { cause }
    }

    /// The rule, or the reason.
    #[must_use]
    pub fn cause(self) -> Cause<'i> {
        self.cause
    }
}

impl<'i> Verdict<'i> {
    /// The rule or the reason behind the verdict.
    #[must_use]
    pub fn cause(self) -> Cause<'i> {
        match self {
            Self::Allow(allowed) => allowed.cause,
            Self::Deny(cause) => cause,
        }
    }

    /// Whether the request may pass.
    #[must_use]
    pub fn is_allow(self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// A refusal without a rule.
    #[must_use]
    pub fn deny(reason: Reason) -> Self {
        Self::Deny(Cause::Reason(reason))
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// Why a verdict was reached without a rule: a closed list, for metrics and logs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])+ $name),+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason as it stands in metrics and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

reasons! {
    /// Allowed: the proof of a login was right.
    ProofAccepted,
    /// Allowed so far: the broker was given the keys of a SCRAM client, whose proof it checks itself.
    KeysIssued,
    /// Allowed although the session has expired: the broker judges last wills only then, and the tenant's broker has a grace
    /// for them.
    WillGrace,
    /// Allowed: the client is a superuser and the topic lies in its tenant's topic space.
    Superuser,
    /// The topics belong to another tenant alone: not both tenants name the other in `sharedWith` any more.
    ConsentWithdrawn,
    /// No Allow rule covers the request.
    NotGranted,
    /// The policies allow it, but no resource of the client's tokens reaches it.
    NotGrantedByToken,
    /// A token's resources reach it, but not for this; or a token was presented as another type than its own.
    TokenTypeMismatch,
    /// Not `type|token` pairs, or a token is no JWT, is not what it has to be, or is of another key or instance.
    TokenMalformed,
    /// A token was not signed with the access key's token key.
    TokenSignatureInvalid,
    /// A token has expired.
    TokenExpired,
    /// A token has been revoked.
    TokenRevoked,
    /// A token is bound to another client ID.
    TokenClientIdMismatch,
    /// A token is bound to no client ID, and the tenant requires that each is.
    TokenWithoutClientId,
    /// A field is missing, doubled, too long, of the wrong type or not what its name says.
    Malformed,
    /// The username names no mode that this tenant accepts.
    ModeNotAccepted,
    /// No tenant has this instance ID.
    UnknownInstance,
    /// No tenant owns the client ID.
    UnknownClientId,
    /// The tenant has no such key, or login name.
    UnknownKey,
    /// The password is not the signature of the client ID, or not that of the login name.
    WrongProof,
    /// The access key may not be used to connect.
    UseNotAllowed,
    /// Too many passwords wait to be checked, of all or of this tenant.
    TooManyLogins,
    /// The proof was wrong, as too many of the same identity or source were shortly before.
    TooManyFailures,
    /// The key exists but its secret is missing or unusable, or is not for this mode.
    KeyWithoutSecret,
    /// The access key or the device is disabled.
    Disabled,
    /// The credential has expired.
    Expired,
    /// The tenant is suspended.
    Suspended,
    /// Another tenant holds a claim that this one's bundle makes too.
    ClaimConflict,
    /// The client ID is not one that MQTT access control can work with.
    ClientIdInvalid,
    /// The client ID lies outside the tenant's client-ID prefixes.
    ClientIdOutsidePrefixes,
    /// The client ID lies outside the prefixes of the access key, or among those set aside for people.
    ClientIdOutsideKeyPrefixes,
    /// The client ID belongs to another credential.
    ClientIdTaken,
    /// The credential that had the client ID is gone, and its session may still stand at the broker.
    ClientIdResting,
    /// The credential is bound to another client ID.
    ClientIdMismatch,
    /// The broker cannot keep this client ID apart from others.
    ClientIdAmbiguous,
    /// The broker's software is not served, because it cannot keep tenants apart: every question of it is refused.
    BrokerNotServed,
    /// The authorization request carries no ticket, and no login is known.
    TicketMissing,
    /// The ticket was not issued by this tenant, or was changed.
    TicketForged,
    /// The ticket's time has passed.
    TicketExpired,
    /// The ticket was issued to another client ID.
    TicketForeign,
    /// Another login with the same username and client ID, which its proof does not fix, may not do this; and its session
    /// may still be open.
    SessionContested,
    /// The broker keeps a session of this client ID that another principal, or one with other grants, opened: what it is
    /// subscribed to is not this client's to read. A clean start ends that session.
    SessionForeign,
    /// As [`Self::SessionForeign`], where nothing is known of the principal that opened the session, if there is one.
    SessionOwnerUnknown,
    /// The key has been replaced since the login.
    KeyReplaced,
    /// Nothing has been loaded yet.
    NotReady,
    /// Something went wrong here; the log says what.
    InternalError,
}
