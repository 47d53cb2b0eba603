//! The sidecar as a broker sees it: real sockets, bundles made with core's own types, and the reason beside each verdict.

mod bad_input;
mod emqx;
mod fixture;
mod last_good;
mod probes;
mod program;
mod rabbitmq;
mod restart;
mod server;
mod wire;
