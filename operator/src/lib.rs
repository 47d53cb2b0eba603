//! The operator of mqtt-access: resources in; Secrets, bundles and conditions out.
//!
//! ```text
//!   cluster  (run)         Kubernetes -> gather -> compile -> publish -> report
//!   offline  (standalone,  manifests  -> gather -> compile -> a folder, or a sidecar in the same process
//!             compile)
//!   explain, diff          the same compile without secrets, and what people ask of it
//! ```
//!
//! [`compile`] in the middle is pure and the same for both; it is the only place that knows the Kubernetes types and
//! the core together.

pub mod analysis;
pub mod broker_config;
mod check;
pub mod cli;
mod cluster;
pub mod compile;
pub mod config;
mod credential;
pub mod diff;
pub mod explain;
pub mod finding;
pub mod isolation;
mod login;
pub mod manifest;
mod names;
pub mod offline;
pub mod policy_tests;
mod rotation;
pub(crate) mod service;
mod shorten;

/// An error with its causes on one line, for a log or a condition.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
