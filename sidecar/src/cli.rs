//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::log_error::Chain;
use crate::run::{RunConfig, RunError, SourceConfig, run};

/// Answers an MQTT broker's questions about its clients, from bundles that mqtt-access compiled.
#[derive(Debug, Parser)]
#[command(name = "mqtt-access-sidecar", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load bundles and answer until SIGTERM.
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Where bundles come from.
    #[arg(long)]
    source: SourceKind,
    /// Source `kubernetes`: the broker's bundle namespace.
    #[arg(long, required_if_eq("source", "kubernetes"), conflicts_with = "path")]
    namespace: Option<String>,
    /// Source `dir`: the folder that `compile --out` wrote for this broker.
    #[arg(long, required_if_eq("source", "dir"))]
    path: Option<PathBuf>,
    /// Where the broker asks. Loopback only: requests carry passwords, and there is no TLS yet.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// A private, best memory-backed folder for the last good bundles and logins, so that a restart needs no API server.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// A folder shared with a broker that reads files: its `acl.conf`, or `mosquitto.acl` and `mosquitto.passwords`, are kept
    /// there. The broker has to be told to read them again.
    #[arg(long)]
    acl_dir: Option<PathBuf>,
    /// Add the header `mqtt-access-cause` to replies: the rule or the reason behind the verdict.
    #[arg(long)]
    cause_header: bool,
    /// Answer /explain on --admin, which must then be a loopback address: may this client do that, and why?
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SourceKind {
    Kubernetes,
    Dir,
}

impl RunArgs {
    fn config(self) -> Option<RunConfig> {
        let Self { source, namespace, path, http, admin, state_dir, acl_dir, cause_header, explain } = self;
        let source = match source {
            SourceKind::Kubernetes => SourceConfig::Kubernetes { namespace: namespace? },
            SourceKind::Dir => SourceConfig::Dir { path: path? },
        };
        Some(RunConfig { source, http, admin, state_dir, acl_dir, cause_header, explain })
    }
}

/// Runs the program: exit code 0 after a signal, 1 when it could not start, 2 for a wrong command line.
#[must_use]
pub fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    start_log();
    // clap has seen to it that the source has what it needs.
    let Some(config) = args.config() else {
        return ExitCode::from(2);
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "not started");
            ExitCode::FAILURE
        }
    }
}

fn start(config: RunConfig) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime)?;
    let result = runtime.block_on(run(config));
    // A decode that is under way need not be waited for.
    runtime.shutdown_background();
    result
}

/// One line of JSON per event, to stderr; `RUST_LOG` chooses which.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Where it happened, not what it said: a message could quote what was being read.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RunConfig, String> {
        let words = ["mqtt-access-sidecar", "run"].into_iter().chain(line.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(words).map_err(|error| error.to_string())?.command;
        args.config().ok_or_else(|| "no config".to_owned())
    }

    #[test]
    fn each_source_needs_its_own_argument() {
        assert!(parse("--source dir --path /x").is_ok());
        assert!(parse("--source kubernetes --namespace n --state-dir /s --cause-header").is_ok());
        for wrong in
            ["", "--source dir", "--source kubernetes", "--source kubernetes --path /x", "--source x --path /x"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn listeners_are_on_loopback_by_default() {
        let config = parse("--source dir --path /x").unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin.to_string(), "127.0.0.1:9090");
    }
}
