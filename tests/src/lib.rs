//! The machinery of the tests: real parts, started on free ports, gone when the test ends.
//!
//! ```text
//!   kubectl ──► ControlPlane (etcd, kube-apiserver, kube-controller-manager)
//!                  ▲       ▲
//!     StallingProxy┘       │ watches bundles
//!          ▲               │
//!     operator          sidecar ◄── HTTP ── RabbitMq ◄── MQTT ── mqtt::Client
//!     (Program)         (Program)
//! ```
//!
//! All of these are processes; [`Node`] is a cluster whose pods run.
//!
//! `tests/setup` installs and builds what is not Rust; `make test` runs it first. Everything here panics when it cannot do
//! its own job, because that is a failed test; only what a test may expect to be refused is a `Result`. Nothing waits for
//! ever, and a child process dies with the test that started it, even when that test is killed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test machinery: a panic is a failed test"
)]

pub mod certificates;
pub mod control_plane;
pub mod corpus;
pub mod first_light;
pub mod http;
pub mod https;
pub mod kubectl;
pub mod models;
pub mod mosquitto;
pub mod mqtt;
pub mod node;
pub mod operator_fixture;
pub mod pods;
pub mod ports;
pub mod program;
pub mod rabbitmq;
pub mod reference;
pub mod stalling_proxy;
pub mod tools;
pub mod two_tenants;
pub mod vendor_client;
pub mod wait;

pub use control_plane::ControlPlane;
pub use mosquitto::Mosquitto;
pub use node::Node;
pub use program::Program;
pub use rabbitmq::RabbitMq;
pub use stalling_proxy::StallingProxy;
