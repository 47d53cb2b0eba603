//! The listener that brokers ask: accepting, limits and timeouts.
//!
//! Whatever goes wrong under a dialect's path is that broker's denial; what a question comes to is decided in [`answer`], and
//! in [`login`] where it may take its time.

mod answer;
mod canned;
mod login;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::denial_log::DenialLog;
use crate::failures::Failures;
use crate::line::Line;
use crate::login_table::LoginTable;
use crate::slow_hashes::SlowHashes;
use crate::store::Store;
use canned::Canned;

/// Connections at one time. EMQX opens 8 per node, RabbitMQ a few dozen.
const MAX_CONNECTIONS: usize = 4096;
/// More than any MQTT client can bring about: three fields of 65,535 bytes, each written as `%XX`. A head within it is read
/// to its end before it is refused; hanging up in the middle could lose the denial.
const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// How long a shutdown waits for answers that are being written.
const DRAIN: Duration = Duration::from_secs(5);
/// A rest after an error of `accept`, which is mostly one of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        loop {
            // Waiting for room before accepting leaves the rest in the kernel's queue.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), timeouts, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn connection(stream: TcpStream, router: Router, timeouts: Timeouts, watcher: Watcher) {
    // An answer is one small packet: it must not wait for the acknowledgement of the one before.
    let _: io::Result<()> = stream.set_nodelay(true);
    let io = TokioIo::new(Canned::new(stream));
    let router = router.layer(Extension(Arc::new(Line::default())));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        // Brokers and scanners hang up at any time. The error tells of the protocol, never of content.
        tracing::debug!(%error, "connection ended");
    }
}
