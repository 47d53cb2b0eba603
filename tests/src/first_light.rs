//! First light: every part real, put together as a user would do it.
//!
//! ```text
//!   kubectl ──► ControlPlane ◄── operator        with the rights of examples/cluster, and no more
//!                    ▲
//!                 sidecar ◄── HTTP ── RabbitMq ◄── MQTT ── Key::login
//! ```
//!
//! Verdicts are the broker's, as MQTT clients see them; their causes are read from the sidecar's log of denials. An
//! expectation that fails is noted and the run goes on: [`Check::conclude`] tells them all.

mod check;
mod denial;
mod key;
mod parts;
mod secrets;
mod session;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use check::Check;
pub use denial::{Denial, Mark};
pub use key::{Key, Login};
pub use secrets::{SecretHistory, Versions};
pub use session::{Act, Session};

use crate::{ControlPlane, Program, RabbitMq, http, ports, wait};

/// The namespace of the bundles, as examples/cluster makes it.
pub const BUNDLES: &str = "mqtt-access-mqtt-access-bundles";

const SYSTEM: &str = "mqtt-access";
const LIMIT: Duration = Duration::from_mins(1);

/// A cluster, an operator, a sidecar and a broker.
#[derive(Debug)]
pub struct FirstLight {
    // Fields drop in this order: who asks comes before who is asked.
    broker: RabbitMq,
    operator: Option<Program>,
    sidecar: Option<Program>,
    /// Programs that were ended, kept for what they said.
    ended: Vec<Program>,
    /// Every Secret of the cluster as it was at any time.
    pub secrets: SecretHistory,
    /// The cluster.
    pub plane: ControlPlane,
    /// What was expected, and what came.
    pub check: Check,
    operator_kubeconfig: PathBuf,
    sidecar_kubeconfig: PathBuf,
    http: SocketAddr,
    admin: SocketAddr,
    state: TempDir,
    /// What `/metrics` said before each end of a sidecar.
    metrics: Vec<String>,
    /// Every password that an MQTT client presented.
    passwords: Mutex<BTreeSet<String>>,
}

impl FirstLight {
    /// Starts the cluster, the broker and the sidecar; nothing is applied yet, so that the sidecar may not list Secrets.
    pub async fn start() -> Self {
        let (http, admin) = (ports::free_address(), ports::free_address());
        let (plane, broker) = tokio::join!(ControlPlane::start(), RabbitMq::start(http));
        let (operator_kubeconfig, sidecar_kubeconfig) = tokio::join!(
            plane.service_account_kubeconfig(SYSTEM, "operator"),
            plane.service_account_kubeconfig(SYSTEM, "sidecar"),
        );
        let mut light = Self {
            broker,
            operator: None,
            sidecar: None,
            ended: Vec::new(),
            secrets: SecretHistory::watch(plane.client().await),
            plane,
            check: Check::default(),
            operator_kubeconfig,
            sidecar_kubeconfig,
            http,
            admin,
            state: TempDir::with_prefix("mqtt-access-state-").expect("create a state folder"),
            metrics: Vec::new(),
            passwords: Mutex::default(),
        };
        light.start_sidecar().await;
        light
    }

    /// Where MQTT clients connect.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.broker.mqtt()
    }

    /// Where brokers ask the sidecar.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where probes ask the sidecar.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The folder that outlives a sidecar.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// `kubectl ARGS` as administrator, from the root of the source tree.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.plane.kubectl(args).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// `kubectl apply` of files of the source tree.
    pub async fn apply_files(&self, files: &[&str]) {
        let files = files.iter().flat_map(|file| ["-f".to_owned(), root().join(file).display().to_string()]);
        let args: Vec<String> = ["apply".to_owned()].into_iter().chain(files).collect();
        self.kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Waits until objects say that a condition is true.
    pub async fn wait_for_condition(&self, condition: &str, args: &[&str]) {
        let condition = format!("--for=condition={condition}");
        let fixed = ["wait", "--timeout=30s", &condition];
        self.kubectl(&fixed.iter().chain(args).copied().collect::<Vec<_>>()).await;
    }

    /// Makes an edit with kubectl and waits until the sidecar serves another bundle; gives the time from kubectl's start.
    pub async fn edit(&self, args: &[&str]) -> Duration {
        let (before, start) = (self.revision().await, Instant::now());
        self.kubectl(args).await;
        let what = format!("the sidecar to load what `kubectl {}` changed", args.join(" "));
        wait::until(&what, LIMIT, async || (self.revision().await != before).then_some(())).await;
        start.elapsed()
    }

    /// [`Self::edit`] with a file of the source tree.
    pub async fn edit_with(&self, file: &str) -> Duration {
        self.edit(&["apply", "-f", &root().join(file).display().to_string()]).await
    }

    /// The newest revision that the sidecar serves.
    pub async fn revision(&self) -> u64 {
        let revision = self.metric("bundle_newest_revision").await;
        revision.parse().unwrap_or_else(|_| panic!("`{revision}` is no revision"))
    }

    /// The value of one of the sidecar's metrics, named with its labels but without the common prefix; 0 where absent.
    pub async fn metric(&self, name: &str) -> String {
        let (text, name) = (self.scrape().await, format!("mqtt_access_sidecar_{name} "));
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or("0").to_owned()
    }

    /// Every password that an MQTT client presented.
    #[must_use]
    pub fn passwords(&self) -> BTreeSet<String> {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the run: panics with every expectation that failed.
    pub fn conclude(self) {
        self.check.conclude();
    }

    async fn scrape(&self) -> String {
        http::get(self.admin, "/metrics").await.map(|reply| reply.body).unwrap_or_default()
    }

    /// What the operator, the sidecar and its metrics have told in the whole run, with a name for each.
    pub async fn everything_told(&self) -> Vec<(String, String)> {
        let programs = self.ended.iter().chain(&self.operator).chain(&self.sidecar);
        let logs = programs.map(|program| (format!("process {}", program.id()), program.stdout() + &program.stderr()));
        let metrics = self.metrics.iter().cloned().chain([self.scrape().await]);
        logs.chain(metrics.map(|text| ("/metrics".to_owned(), text))).collect()
    }
}

/// The root of the source tree.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}
