//! The sidecar as a broker sees it: real sockets, bundles made with core's own types, and the reason beside each verdict.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::large_futures,
    reason = "a panic is a failed test, and a large future a slow one at worst"
)]

mod acl_dir;
mod attributes;
mod bad_input;
mod consent;
mod emqx;
mod explain;
mod fixture;
mod idle;
mod inline;
mod kubernetes;
mod last_good;
mod probes;
mod program;
mod rabbitmq;
mod refusals;
mod restart;
mod rotation;
mod scram;
mod scram_exchange;
mod server;
mod slow_hashes;
mod tokens;
mod unserved;
mod volume;
mod wire;
