//! The command line.

mod broker_config;
mod check;
mod diff;
mod explain;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::manifest::definitions::definitions;
use crate::offline::report::Counts;
use crate::offline::standalone::{self, Standalone};
use crate::offline::{Seniority, Summary};
use crate::{cluster, offline};

/// Access control for MQTT brokers, declared as Kubernetes resources.
#[derive(Debug, Parser)]
#[command(name = "mqtt-access-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconcile the resources of a cluster until SIGTERM.
    Run {
        /// Where /livez, /readyz and /metrics are, such as 127.0.0.1:9091; nowhere when absent. Nothing secret is told there.
        #[arg(long)]
        admin: Option<SocketAddr>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Compile manifests and answer a broker from them, without Kubernetes.
    Standalone(StandaloneArgs),
    /// Compile manifests into a folder for the sidecar's source `dir`. Exit code 1: refused; 3: findings.
    Compile(CompileArgs),
    /// Tell whether a client may publish or subscribe somewhere, and why. Exit code 0: allowed; 4: denied; 1: no answer.
    Explain(Box<explain::ExplainArgs>),
    /// Tell what a second set of manifests changes for whom. Exit code 0: nothing; 5: something; 1: no answer.
    Diff(diff::DiffArgs),
    /// Print what a broker's own configuration must say to be judged by the sidecar beside it.
    BrokerConfig(broker_config::BrokerConfigArgs),
    /// Make a throwaway tenant in a cluster, ask a sidecar what it may do, and delete it again. Exit code 0: all is well.
    Check(check::CheckArgs),
    /// Print the custom resource definitions.
    Crds,
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// The brokers, as YAML; without it there is one, `default`, whose tenants may live in any namespace.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StandaloneArgs {
    /// Files and folders with manifests.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Whose tenants are served.
    #[arg(long, default_value = "default")]
    broker: String,
    /// Where the broker asks. Loopback only: requests carry passwords, and there is no TLS yet.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// A private folder in which generated secrets are kept as manifests, and what is in force, so that names keep their owners
    /// after a restart; a fresh one when absent.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// The objects were dumped from a cluster: where nobody is published with a name, the older by `creationTimestamp` gets it.
    #[arg(long)]
    exported: bool,
    /// Add the header `mqtt-access-cause` to replies: the rule or the reason behind the verdict.
    #[arg(long)]
    cause_header: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct CompileArgs {
    /// Files and folders with manifests.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Where to: `DIR/<broker>/<namespace>.<tenant>/`. Whoever is published there with a name keeps it; where nobody is and two want
    /// it, nothing is written.
    #[arg(long)]
    out: PathBuf,
    /// The objects were dumped from a cluster: where nobody is published with a name, the older by `creationTimestamp` gets it.
    #[arg(long)]
    exported: bool,
    /// A folder with Secret manifests that are not among the paths.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// What is printed: `human`, findings to standard error and one line to standard output; `json`, the report to standard
    /// output. It stands in `DIR/report.json` in any case.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Human,
    Json,
}

/// Runs the program: exit code 0 for success, 1 for a failure, 2 for a wrong command line, 3 for findings, 4 for
/// what `explain` finds refused, 5 for what `diff` finds different.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let outcome = match command {
        Command::Run { admin, config } => run(admin, &config),
        Command::Standalone(args) => standalone(args),
        Command::Compile(args) => compile(&args),
        Command::Explain(args) => explain::run(*args),
        Command::Diff(args) => diff::run(&args),
        Command::BrokerConfig(args) => broker_config::run(&args),
        Command::Check(args) => check::run(args),
        Command::Crds => crds(),
    };
    outcome.unwrap_or_else(|error| {
        complain(&crate::error_chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

type Outcome = Result<ExitCode, Box<dyn Error>>;

fn run(admin: Option<SocketAddr>, config: &ConfigArg) -> Outcome {
    start_log("info", true);
    let config = Config::load(config.config.as_deref())?;
    block_on(async { cluster::run(config, admin, shutdown()?).await.map_err(Into::into) })
}

fn standalone(args: StandaloneArgs) -> Outcome {
    start_log("warn", false);
    let StandaloneArgs { paths, broker, http, admin, state_dir, exported, cause_header, config } = args;
    let config = Config::load(config.config.as_deref())?;
    let seniority = seniority(exported);
    let options = Standalone { paths, config, broker, http, admin, state_dir, seniority, cause_header };
    block_on(async { standalone::run(options, shutdown()?).await.map_err(Into::into) })
}

fn seniority(exported: bool) -> Seniority {
    if exported { Seniority::Known } else { Seniority::Unknown }
}

#[expect(clippy::print_stdout, reason = "the summary is the output of the command")]
fn compile(args: &CompileArgs) -> Outcome {
    let config = Config::load(args.config.config.as_deref())?;
    let seniority = seniority(args.exported);
    let summary = offline::compile_to(&args.paths, &config, args.state_dir.as_deref(), &args.out, seniority)?;
    let Summary { bundles, written, report } = summary;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Human => {
            report.lines().for_each(|line| complain(&line));
            let Counts { findings, violations } = report.summary;
            let findings = findings + violations;
            println!("{bundles} bundles in {}, {written} written, {findings} findings", shown(&args.out));
        }
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

#[expect(clippy::print_stdout, reason = "the definitions are the output of the command")]
fn crds() -> Outcome {
    for definition in definitions()? {
        print!("---\n{}", definition.yaml);
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[expect(clippy::print_stderr, reason = "errors and findings go to the terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn block_on(work: impl Future<Output = Result<(), Box<dyn Error>>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves at SIGTERM or SIGINT.
fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn start_log(default: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.compact().init();
    }
}
