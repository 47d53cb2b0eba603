//! `standalone`: compile manifests and answer a broker from them, in one process, without Kubernetes.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mqtt_access_core::bundle::Encoded;
use mqtt_access_sidecar::{Clock, Files, Options, Shard, Store, TenantKey, serve};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::block_in_place;

use super::before::{Before, Past};
use super::gather::Sources;
use super::report::Report;
use super::secrets::Secrets;
use super::{BrokerBundles, OfflineError, TenantBundle, compile_broker, gather, now, out_dir, read};
use crate::compile::Seniority;
use crate::config::Config;
use crate::login::Derived;

/// How often files are looked at. A look costs a few system calls; there is nothing to install or to overflow.
const POLL: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Debug)]
pub struct Standalone {
    /// Files and folders with manifests.
    pub paths: Vec<PathBuf>,
    /// The configuration.
    pub config: Config,
    /// Whose tenants are served.
    pub broker: String,
    /// Where the broker asks.
    pub http: SocketAddr,
    /// Where probes ask.
    pub admin: SocketAddr,
    /// Where generated secrets are kept, and what is in force.
    pub state_dir: Option<PathBuf>,
    /// Whether manifests tell which of two objects is older.
    pub seniority: Seniority,
    /// Whether replies carry their cause.
    pub cause_header: bool,
}

/// Why it does not start.
#[derive(Debug, Error)]
pub enum StandaloneError {
    /// The manifests.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// Anybody on the network could ask.
    #[error(
        "--http {0} is reachable from other machines and there is no TLS yet; use a loopback address such as 127.0.0.1:8080"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken.
    #[error("cannot listen on {0}; choose another address, or stop what listens there")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// No folder for generated secrets.
    #[error("cannot make a private folder for generated secrets; name one by `--state-dir`")]
    StateDir(#[source] std::io::Error),
}

/// Runs until `shutdown`.
pub async fn run(
    options: Standalone,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StandaloneError> {
    if !options.http.ip().is_loopback() {
        return Err(StandaloneError::NotLoopback(options.http));
    }
    let state_dir = state_dir(options.state_dir.as_deref())?;
    let before = Before::read(&published_in(&state_dir, &options.broker));
    let mut world = World { options, state_dir, revision: 0, seen: Vec::new(), derived: Derived::default(), before };
    world.seen = fingerprint(&world.options.paths);
    let store = Store::in_memory(Clock::system());
    world.load(&store)?;
    let http = listen(world.options.http).await?;
    let admin = listen(world.options.admin).await?;
    announce(&http, &admin, &world.state_dir);
    let serving = Options {
        cause_header: world.options.cause_header,
        state_dir: Some(world.state_dir.join("sidecar")),
        ..Options::default()
    };
    let reload = tokio::spawn(world.follow(Arc::clone(&store)));
    serve(store, http, admin, serving, shutdown).await;
    reload.abort();
    Ok(())
}

fn state_dir(named: Option<&Path>) -> Result<PathBuf, StandaloneError> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("mqtt-access-").permissions(private).tempdir();
    // Kept after the end: the keys in it are in the hands of devices.
    Ok(folder.map_err(StandaloneError::StateDir)?.keep())
}

/// Where the bundles in force are kept: after a restart their tenants and credentials go first again.
fn published_in(state_dir: &Path, broker: &str) -> PathBuf {
    state_dir.join("published").join(broker)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StandaloneError> {
    TcpListener::bind(address).await.map_err(|error| StandaloneError::Listen(address, error))
}

#[expect(clippy::print_stdout, reason = "the addresses are what the user needs next")]
fn announce(http: &TcpListener, admin: &TcpListener, state_dir: &Path) {
    let shown = |listener: &TcpListener| listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    println!("secrets:  {}", state_dir.display());
    println!("admin:    http://{}/readyz", shown(admin));
    println!("serving:  http://{}", shown(http));
}

struct World {
    options: Standalone,
    state_dir: PathBuf,
    revision: u64,
    seen: Vec<(PathBuf, Option<SystemTime>, u64)>,
    derived: Derived,
    /// What is in force.
    before: Before,
}

impl World {
    async fn follow(mut self, store: Arc<Store>) {
        loop {
            tokio::time::sleep(POLL).await;
            let seen = fingerprint(&self.options.paths);
            if seen == self.seen {
                continue;
            }
            self.seen = seen;
            // Deriving from many passwords takes a while, in which the sidecar has to answer.
            if let Err(error) = block_in_place(|| self.load(&store)) {
                tracing::error!(error = %crate::error_chain(&error), "the manifests are refused; the last ones stay in force");
            }
        }
    }

    fn load(&mut self, store: &Store) -> Result<(), OfflineError> {
        let Standalone { paths, config, broker, seniority, .. } = &self.options;
        let broker = config.broker(broker).ok_or_else(|| OfflineError::NoBroker(broker.clone()))?;
        let objects = read(paths, *seniority)?;
        let mut secrets = Secrets::kept(&objects, &self.state_dir)?;
        let mut sources = Sources { secrets: &mut secrets, derived: &mut self.derived };
        let past = Past { before: &self.before, seniority: *seniority, now: now() };
        // Of names that nobody got the findings tell.
        let BrokerBundles { bundles, report, collisions: _ } =
            compile_broker(&objects, config, broker, &mut sources, past)?;
        for finding in Report::new(vec![report], gather::strays(&objects, config)).lines() {
            tracing::warn!(finding, "not in force as written, or probably not meant");
        }
        // Later than every earlier one, also after the clock was set back.
        self.revision = (self.revision + 1).max(u64::try_from(now()).unwrap_or_default() * 1000);
        let mut offered = BTreeMap::new();
        for TenantBundle { namespace, name, encoded, .. } in &bundles {
            let files = files(encoded, self.revision).map_err(|error| OfflineError::Encode(name.clone(), error))?;
            // The manifests have been checked: such a name is a tenant's.
            offered.extend(TenantKey::new(namespace, name).map(|key| (key, files)));
        }
        tracing::info!(bundles = offered.len(), revision = self.revision, "loaded the manifests");
        let refused = store.replace(offered);
        for (tenant, error) in &refused {
            tracing::error!(%tenant, error = %crate::error_chain(error), "a bundle is refused");
        }
        // A tenant whose bundle was refused has what it had.
        let is_refused = |bundle: &TenantBundle| {
            TenantKey::new(&bundle.namespace, &bundle.name).is_ok_and(|key| refused.iter().any(|(of, _)| *of == key))
        };
        let now_in_force = bundles.iter().filter_map(|bundle| {
            if is_refused(bundle) {
                self.before.entry(&bundle.namespace, &bundle.name)
            } else {
                Some(bundle.published())
            }
        });
        self.before = now_in_force.collect();
        // They are in force already: an edit must not wait for a disk that is full.
        let folder = published_in(&self.state_dir, &self.options.broker);
        if let Err(error) = out_dir::write(&folder, &bundles) {
            tracing::error!(
                error = %crate::error_chain(&error),
                "cannot keep what is in force; after a restart a name that two want may be nobody's"
            );
        }
        Ok(())
    }
}

fn files(encoded: &Encoded, revision: u64) -> Result<Files, mqtt_access_core::bundle::BundleError> {
    let shards = encoded.shards.iter().map(|(digest, bytes)| (digest.clone(), Shard::new(bytes.clone())));
    Ok(Files { index: encoded.index(revision)?, shards: shards.collect() })
}

/// Names, times and sizes of all files below the paths.
fn fingerprint(paths: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let mut files = Vec::new();
    let mut left: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = left.pop() {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path()));
        } else {
            files.push((path, metadata.modified().ok(), metadata.len()));
        }
    }
    files.sort();
    files
}
