//! How brokers evaluate rules themselves, as their documents and sources tell: small and obvious, and nothing that the product
//! uses. A request that a model allows has to be one that docs/semantics.md allows.

pub mod emqx;
pub mod emqx_inline;
pub mod erlang;
pub mod mosquitto;
pub mod rabbitmq;
pub mod written;
