//! The listener that brokers ask: limits and timeouts.
//!
//! Whatever goes wrong under a dialect's path is that broker's denial; what a question comes to is decided in [`answer`], and
//! in [`login`] where it may take its time.

mod answer;
mod canned;
mod login;
mod unserved;

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use tokio::net::TcpListener;

use crate::denial_log::DenialLog;
use crate::failures::Failures;
use crate::line::Line;
use crate::listener::{Limits, listen};
use crate::login_table::LoginTable;
use crate::slow_hashes::SlowHashes;
use crate::store::Store;
use canned::Canned;
pub(crate) use unserved::Unserved;

/// Connections at one time. EMQX opens 8 per node, RabbitMQ a few dozen. Beyond, those that were idle longest are closed.
const MAX_CONNECTIONS: usize = 4096;
/// More than any MQTT client can bring about: three fields of 65,535 bytes, each written as `%XX`. A head within it is read
/// to its end before it is refused; hanging up in the middle could lose the denial.
const MAX_HEAD_BYTES: usize = 1024 * 1024;

/// How long brokers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the head of the next request, idle time included. Then the connection is closed.
    pub head: Duration,
    /// For the body of a request. Then it is denied, and the connection is closed.
    pub body: Duration,
}

impl Default for Timeouts {
    /// 60 s and 3 s: brokers keep idle connections, and give up on an answer after 5 s (EMQX) or 15 s (RabbitMQ).
    fn default() -> Self {
        Self { head: Duration::from_mins(1), body: Duration::from_secs(3) }
    }
}

/// What the answering side of a sidecar needs; shared by all connections.
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
    pub(crate) logins: LoginTable,
    pub(crate) hashes: SlowHashes,
    pub(crate) failures: Arc<Failures>,
    pub(crate) denials: DenialLog,
    pub(crate) unserved: Unserved,
    pub(crate) timeouts: Timeouts,
    pub(crate) cause_header: bool,
}

/// All dialects. Paths and methods are told apart by the dialects: a router of axum's would answer 404 and 405 itself.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(answer::answer).with_state(service)
}

/// Serves until the shutdown resolves, then finishes the answers that are being written.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    timeouts: Timeouts,
    shutdown: impl Future<Output = ()>,
) {
    let limits = Limits { connections: MAX_CONNECTIONS, head: timeouts.head, head_bytes: MAX_HEAD_BYTES };
    let open = |stream, _| {
        let router = router.clone().layer(Extension(Arc::new(Line::default())));
        std::future::ready(Some((Canned::new(stream), router)))
    };
    listen(listener, limits, open, shutdown).await;
}
