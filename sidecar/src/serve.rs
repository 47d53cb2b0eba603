//! Both listeners of one sidecar, from their start to the end.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use crate::admin;
use crate::denial_log::DenialLog;
use crate::failures::Failures;
use crate::http::{self, Service, Timeouts};
use crate::login_table::LoginTable;
use crate::slow_hashes::SlowHashes;
use crate::store::Store;

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
    http::router(Arc::new(Service { store, logins, hashes, failures, denials, timeouts, cause_header }))
}

/// `/livez`, `/readyz` and `/metrics`, and `/explain` where the options have it, without a socket.
pub fn admin_router(store: Arc<Store>, options: &Options) -> Router {
    admin::router(store, options.explain)
}

/// Answers brokers on `http` and probes on `admin` until `shutdown` resolves; then finishes what is being answered.
///
/// `http` must be bound to loopback: there is no TLS yet, and requests carry passwords.
pub async fn serve(
    store: Arc<Store>,
    http: TcpListener,
    admin: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let brokers = http::serve(http, router(Arc::clone(&store), &options), options.timeouts, shutdown);
    let admin_router = admin_router(store, &options);
    let probes = async {
        let _: std::io::Result<()> = axum::serve(admin, admin_router).await;
        // It never ends by itself; if it did, brokers would be answered all the same.
        std::future::pending::<()>().await;
    };
    // Probes are answered for as long as brokers are.
    tokio::select! {
        () = brokers => {}
        () = probes => {}
    }
}
