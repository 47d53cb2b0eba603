//! Both listeners of one sidecar, from their start to the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::admin;
use crate::denial_log::DenialLog;
use crate::failures::Failures;
use crate::heartbeat::Heartbeat;
use crate::http::{self, Service, Timeouts, Unserved};
use crate::login_table::LoginTable;
use crate::probes::Probes;
use crate::slow_hashes::SlowHashes;
use crate::store::Store;

/// How long a shutdown waits for the state folder; a volume that is slower leaves a mark there.
const SETTLE: Duration = Duration::from_secs(2);

/// How brokers are answered.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether replies carry `mqtt-access-cause`: the rule or the reason behind the verdict.
    pub cause_header: bool,
    /// Where logins are kept for brokers that bring no ticket back; in memory only when absent.
    pub state_dir: Option<PathBuf>,
    /// How long brokers may take.
    pub timeouts: Timeouts,
    /// Whether `/explain` answers on the listener for probes, which must then be bound to loopback: it tells rules.
    pub explain: bool,
}

/// Everything that brokers ask, without a socket: for tests, and for whoever brings a server of their own.
///
/// Only [`serve`] also turns the HTTP library's own answers (to heads it cannot take) into denials.
pub fn router(store: Arc<Store>, options: &Options) -> Router {
    let Options { cause_header, state_dir, timeouts, explain: _ } = options;
    let logins = LoginTable::open(state_dir.as_deref(), store.clock().now(), Arc::clone(store.metrics()));
    let (cause_header, timeouts) = (*cause_header, *timeouts);
    let hashes = SlowHashes::new(Arc::clone(store.metrics()));
    let failures = Arc::new(Failures::new());
    let denials = DenialLog::new();
    let unserved = Unserved::new();
    http::router(Arc::new(Service { store, logins, hashes, failures, denials, unserved, timeouts, cause_header }))
}

/// `/livez`, `/readyz` and `/metrics`, and `/explain` where the options have it, without a socket.
pub fn admin_router(store: Arc<Store>, options: &Options) -> Router {
    admin::router(store, options.explain, None)
}

/// Answers brokers on `http`, and probes on `admin` from a thread of their own, until `shutdown` resolves; then finishes what is being answered.
///
/// `http` must be bound to loopback: there is no TLS yet, and requests carry passwords.
pub async fn serve(
    store: Arc<Store>,
    http: TcpListener,
    admin: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let heart = Heartbeat::start();
    let admin_router = admin::router(Arc::clone(&store), options.explain, Some(heart));
    let probes = Probes::start(admin, admin_router);
    if let Err(error) = &probes {
        // Brokers are answered all the same.
        tracing::error!(%error, "no thread for probes; they are not answered");
    }
    http::serve(http, router(Arc::clone(&store), &options), options.timeouts, shutdown).await;
    // What is in force now should be there after a restart.
    let _: Result<bool, _> = tokio::task::spawn_blocking(move || store.settle(SETTLE)).await;
    // Until now probes were answered, since brokers were.
    drop(probes);
}
