//! `run`: the controller. Resources in; Secrets, bundles and conditions out.
//!
//! ```text
//! watches -> world (caches) -> queue of tenants -> controller::reconcile, one tenant at a time:
//!
//!   gather (client)  tenant, devices, policies, claims granted, keys (made where they are missing)
//!   compile (pure)   objects -> bundle and reports
//!   publish (client) shards, then the index; nothing where the digest is equal
//!   report (client)  conditions of the tenant, its devices and its policies; also after a failure
//!
//!   acl_files (client)  beside it, one broker at a time: what brokers read themselves, from the same bundles
//! ```
//!
//! Work is keyed by the *name* of a tenant, whether or not the tenant exists: a reconcile of a name without a tenant
//! removes its bundle and tells its devices and policies. Deletions, moves and whatever happened while the operator was
//! down are therefore no special cases: at start and every ten minutes every name that is known anywhere is reconciled.
//!
//! Of several replicas one, the leader, does all this. The others keep their caches complete and write nothing; what their
//! token services do for callers is all that they change.

mod acl_files;
mod admin;
mod broker_claims;
mod cache;
mod controller;
mod entry;
mod figures;
mod fill;
mod gather;
mod keys;
mod leader;
mod pause;
mod publish;
mod queue;
mod report;
mod retire;
mod start;
mod ticket_key;
mod token_service;
mod watches;
mod world;

pub(crate) use cache::ObjectKey;
pub(crate) use start::run;
