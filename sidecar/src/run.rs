//! The sidecar as a process: configuration in, a source and two listeners running, until a signal.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::acl_dir::keep_acl_files;
use crate::clock::Clock;
use crate::serve::{Options, serve};
use crate::source::dir::watch_dir;
use crate::source::kubernetes::watch_secrets;
use crate::store::Store;

/// What the command line says.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Where bundles come from.
    pub source: SourceConfig,
    /// Where the broker asks.
    pub http: SocketAddr,
    /// Where probes ask.
    pub admin: SocketAddr,
    /// Where the last good bundles and logins are kept.
    pub state_dir: Option<PathBuf>,
    /// Where ACL files are kept for the broker.
    pub acl_dir: Option<PathBuf>,
    /// Whether replies carry their cause.
    pub cause_header: bool,
    /// Whether `/explain` answers on `admin`.
    pub explain: bool,
}

/// Where bundles come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// Secrets of a namespace.
    Kubernetes {
        /// The broker's bundle namespace.
        namespace: String,
    },
    /// A folder that `compile --out` wrote.
    Dir {
        /// The folder of one broker.
        path: PathBuf,
    },
}

/// Why the sidecar could not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// Passwords would cross a network in the clear, and anybody could ask.
    #[error(
        "--http {0} is reachable from other machines and there is no TLS yet; use a loopback address such as 127.0.0.1:8080 and run the sidecar beside the broker"
    )]
    NotLoopback(SocketAddr),
    /// Anybody could read the rules.
    #[error(
        "--explain tells the rules of every tenant, and --admin {0} is reachable from other machines; bind --admin to a loopback address such as 127.0.0.1:9090, or leave --explain out"
    )]
    ExplainNotLoopback(SocketAddr),
    /// A listener.
    #[error("cannot listen on {0}; choose another address, or stop what listens there")]
    Listen(SocketAddr, #[source] io::Error),
    /// The Kubernetes client.
    #[error("no way to the API server; run in a cluster, or set KUBECONFIG")]
    Client(#[source] Box<kube::Error>),
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The runtime.
    #[error("cannot start threads")]
    Runtime(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: RunConfig) -> Result<(), RunError> {
    let RunConfig { source, http, admin, state_dir, acl_dir, cause_header, explain } = config;
    if !http.ip().is_loopback() {
        return Err(RunError::NotLoopback(http));
    }
    if explain && !admin.ip().is_loopback() {
        return Err(RunError::ExplainNotLoopback(admin));
    }
    let shutdown = shutdown().map_err(RunError::Signals)?;
    let listen = async |address| TcpListener::bind(address).await.map_err(|error| RunError::Listen(address, error));
    let (http, admin) = (listen(http).await?, listen(admin).await?);
    let store = open(state_dir.clone()).await?;
    let source = start(source, Arc::clone(&store)).await?;
    let acl_files = acl_dir.map(|folder| tokio::spawn(keep_acl_files(Arc::clone(&store), folder)));
    tracing::info!(http = ?http.local_addr().ok(), admin = ?admin.local_addr().ok(), "listening");
    let options = Options { cause_header, state_dir, explain, ..Options::default() };
    serve(store, http, admin, options, shutdown).await;
    source.abort();
    acl_files.inspect(tokio::task::JoinHandle::abort);
    tracing::info!("stopped");
    Ok(())
}

/// Loads what is saved, on a thread that may block.
async fn open(state_dir: Option<PathBuf>) -> Result<Arc<Store>, RunError> {
    let Some(path) = state_dir else {
        return Ok(Store::in_memory(Clock::system()));
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&path, Clock::system())).await;
    opened.map_err(|error| RunError::Runtime(io::Error::other(error)))
}

async fn start(source: SourceConfig, store: Arc<Store>) -> Result<tokio::task::JoinHandle<()>, RunError> {
    Ok(match source {
        SourceConfig::Dir { path } => tokio::spawn(watch_dir(store, path)),
        SourceConfig::Kubernetes { namespace } => {
            let client = kube::Client::try_default().await.map_err(|error| RunError::Client(Box::new(error)))?;
            tokio::spawn(async move { watch_secrets(store, client, &namespace).await })
        }
    })
}

fn shutdown() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
