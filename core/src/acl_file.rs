//! Files in which brokers find rules that they evaluate themselves.
//!
//! What they say is never wider than docs/semantics.md: what a broker's language cannot say is left out of an Allow and grows in a
//! Deny, and [`Narrowed`] tells so. The same bundle at the same time gives the same text, whoever writes it: the operator into
//! a `ConfigMap`, `compile` into its folder, the sidecar into `--acl-dir`.

pub mod emqx;
mod files;
pub mod mosquitto;

pub use files::{File, Sections};
use serde::Deserialize;

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Language {
    /// EMQX: `acl.conf`.
    Emqx,
    /// Mosquitto: `acl_file` and `password_file`.
    Mosquitto,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Emqx, Self::Mosquitto];
}

/// What one tenant contributes to a broker's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The tenant, as `namespace/name`; sections stand in this order.
    pub tenant: String,
    /// Whole lines, each ended by a line feed.
    pub text: String,
    /// What the broker is told less than the rules say.
    pub narrowed: Vec<Narrowed>,
}

/// A rule that the broker's language cannot say as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Narrowed {
    /// Name of the `AclPolicy`.
    pub policy: String,
    /// Its place in `spec.rules`, from 0.
    pub rule: u32,
    /// What clients may not do there although the rule says so, why, and what to write instead.
    pub message: String,
}
