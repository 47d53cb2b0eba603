//! What the operator and the sidecar of mqtt-access must agree on. No Kubernetes, no HTTP, no I/O.
//!
//! ```text
//! operator                                               sidecar
//!   objects -> policy, bundle::Bundle                      bytes -> bundle::decode -> index::TenantIndex
//!              claims::resolve (who owns what)                      index::BrokerIndex (all tenants of a broker)
//!           -> bundle::encode -> bytes                     login    -> Login with a sealed ticket
//!                                                          request  -> ticket -> rules::decide -> Verdict with its cause
//! ```
//!
//! - [`topic`] and [`template`]: MQTT's topics, and filters with variables.
//! - [`policy`]: who is meant, and what is allowed or denied. [`rules`] is the same as an index, with `decide`.
//! - [`credential`], [`token`], [`scram`], [`password`]: what a client presents. [`ticket`]: what it is given.
//! - [`explain`]: why a verdict is what it is, for people.
//! - [`acl_file`]: the rules in the words of brokers that evaluate them themselves.
//! - [`claims`]: which tenant owns which client IDs and topics.
//! - [`shares`]: caches that no tenant can fill for all.
//! - [`bundle`]: one tenant in canonical bytes. [`index`]: bundles in the form that answers.

pub mod acl_file;
mod audience;
pub mod bundle;
pub mod claims;
pub mod client;
pub mod credential;
pub mod explain;
pub mod glob;
pub mod index;
pub mod password;
pub mod policy;
pub mod rules;
pub mod scram;
pub mod secret;
pub mod shares;
pub mod template;
pub mod ticket;
pub mod token;
pub mod topic;
pub mod verdict;
