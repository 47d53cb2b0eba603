//! Labels: closed lists of values.

use mqtt_access_core::verdict::{Cause, Reason};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::dialect::{About, Dialect};

/// An enum whose variants are label values.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])+ $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$doc])+ $variant),+ }

        impl $name {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                self.as_str().encode(encoder)
            }
        }
    };
}
pub(crate) use labels;

labels! {
    /// Why a bundle was refused; the last good one stays.
    ReloadFailure {
        /// The first line of a file is not that of a bundle file.
        Header = "Header",
        /// The format version is newer than this program.
        UnknownVersion = "UnknownVersion",
        /// A file is truncated or altered.
        WrongDigest = "WrongDigest",
        /// A shard that the index names is not there.
        ShardMissing = "ShardMissing",
        /// A payload is not what its format version says.
        Payload = "Payload",
        /// A topic is none.
        Topic = "Topic",
        /// The index is another tenant's.
        Foreign = "Foreign",
        /// The revision is older than the one in service.
        RevisionBack = "RevisionBack",
        /// A Secret has not the data it should have.
        NoData = "NoData",
        /// A file cannot be read.
        Unreadable = "Unreadable",
        /// The API server did not give a shard.
        FetchFailed = "FetchFailed",
    }
}

labels! {
    /// Allow or deny.
    VerdictLabel {
        /// It may pass.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }
}

/// The reason of a verdict; `Rule` where a rule gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CauseLabel(Option<Reason>);

impl From<Cause<'_>> for CauseLabel {
    fn from(cause: Cause<'_>) -> Self {
        Self(match cause {
            Cause::Rule(_) => None,
            Cause::Reason(reason) => Some(reason),
        })
    }
}

impl EncodeLabelValue for CauseLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.map_or("Rule", Reason::as_str).encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DecisionLabels {
    pub(super) dialect: Dialect,
    pub(super) action: About,
    pub(super) verdict: VerdictLabel,
    pub(super) reason: CauseLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DialectLabel {
    pub(super) dialect: Dialect,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailureLabel {
    pub(super) reason: ReloadFailure,
}

labels! {
    /// What `ApsaraMQ` calls the refusal of a token client.
    TokenCode {
        /// Forged or unparsable.
        Forged = "1",
        /// Expired.
        Expired = "2",
        /// Revoked.
        Revoked = "3",
        /// The resource does not match.
        Resource = "4",
        /// The permission type does not match.
        Type = "5",
        /// The signature is invalid.
        Signature = "8",
        /// The account has no permission: not the token's fault.
        Account = "-1",
    }
}

impl TokenCode {
    pub(super) fn of(code: i8) -> Self {
        match code {
            1 => Self::Forged,
            2 => Self::Expired,
            3 => Self::Revoked,
            4 => Self::Resource,
            5 => Self::Type,
            8 => Self::Signature,
            _ => Self::Account,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) code: TokenCode,
}

labels! {
    /// Why a password was not compared with its slow hash.
    HashRefusal {
        /// Its tenant has too many that wait.
        Share = "share",
        /// Too many wait in all.
        Full = "full",
        /// It gave way to one that went before it.
        PushedOut = "pushed_out",
        /// It waited as long as its broker does.
        Waited = "waited",
        /// Its tenant held up its connection for long enough.
        Line = "line",
        /// No tenant owns its client ID, and no worker is free.
        Stranger = "stranger",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HashRefusalLabel {
    pub(super) reason: HashRefusal,
}
