//! The sidecar: bundles in, verdicts out, beside each broker.
//!
//! ```text
//!   source::kubernetes  Secrets  \                       /  http -> fields -> dialect -> core: login, authorize
//!   source::dir         a folder  >  store (last good)  <            |                 |-> login_table (RabbitMQ)
//!   operator standalone  bytes   /      |                \            '-> http::login -> slow_hashes, failures
//!                                       |                   reply, metrics, denial_log
//!                                       |-> state (disk)    admin: /livez /readyz /metrics
//!                                       '-> acl_dir: files for brokers that read files
//! ```
//!
//! [`Store`] takes bundles from any source, checks them completely and swaps one pointer. [`serve`] answers brokers and
//! probes from it until it is told to stop; listeners, clock and shutdown are passed in. `standalone` of the operator uses
//! just these two.

mod acl_dir;
mod admin;
pub mod cli;
mod clock;
mod denial_log;
mod dialect;
mod failures;
mod fields;
mod folder;
mod heartbeat;
mod http;
mod line;
mod listener;
mod log_error;
mod login_number;
mod login_table;
mod metrics;
mod peer;
mod probes;
mod run;
mod serve;
mod slow_hashes;
mod source;
mod state;
mod store;
mod tenant_key;
mod turns;

pub use acl_dir::keep_acl_files;
pub use clock::Clock;
pub use heartbeat::Heartbeat;
pub use http::Timeouts;
pub use listener::{Limits, listen};
pub use probes::Probes;
pub use run::{RunError, run};
pub use serve::{Options, admin_router, router, serve};
pub use source::dir::watch_dir;
pub use source::kubernetes::watch_secrets;
pub use store::{Applied, Files, ReloadError, Shard, Store};
pub use tenant_key::{TenantKey, TenantKeyError};
pub use turns::Turns;
