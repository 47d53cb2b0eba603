//! `explain`: a question on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use mqtt_access_core::client::Mode;
use mqtt_access_core::policy::{Effect, Qos};

use super::Outcome;
use crate::config::Config;
use crate::explain::{Asked, Question, Shown};

/// What a refusal is told by.
const DENIED: u8 = 4;

#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true, subcommand_required = true)]
pub(super) struct ExplainArgs {
    /// Files and folders with manifests; none: the cluster of the current context, of which Secrets are not read.
    paths: Vec<PathBuf>,
    /// The client ID.
    #[arg(long, global = true)]
    client: Option<String>,
    /// The access key that it logs in with, by its name in `spec.accessKeys`.
    #[arg(long, global = true, value_name = "NAME")]
    access_key: Option<String>,
    /// The login name that it logs in with.
    #[arg(long, global = true, value_name = "LOGIN_NAME")]
    username: Option<String>,
    /// How it logs in; every way that it has when left out.
    #[arg(long, global = true, value_parser = mode)]
    mode: Option<Mode>,
    /// NAMESPACE/NAME of the tenant; the owner of the client ID when left out.
    #[arg(long, global = true)]
    tenant: Option<String>,
    /// Whose tenants are asked.
    #[arg(long, global = true, default_value = "default")]
    broker: String,
    /// For people or for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// The brokers, as YAML, as for `run`.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

/// How something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines.
    Human,
    /// One JSON object.
    Json,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// May it publish to this topic?
    Publish {
        /// The topic name.
        topic: String,
        #[arg(long, default_value = "0", value_parser = qos)]
        qos: Qos,
        /// With the retain flag.
        #[arg(long)]
        retain: bool,
    },
    /// May it subscribe to this filter?
    Subscribe {
        /// The topic filter.
        filter: String,
        #[arg(long, default_value = "0", value_parser = qos)]
        qos: Qos,
    },
}

fn qos(text: &str) -> Result<Qos, String> {
    let level = text.parse::<u8>().map_err(|_| "a QoS is 0, 1 or 2".to_owned())?;
    Qos::try_from(level).map_err(str::to_owned)
}

fn mode(text: &str) -> Result<Mode, String> {
    let modes = [Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password];
    let found = modes.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| format!("a mode is one of {}", modes.map(Mode::as_str).join(", ")))
}

#[expect(clippy::print_stdout, reason = "the answer is the output of the command")]
pub(super) fn run(args: ExplainArgs) -> Outcome {
    let ExplainArgs { paths, client, access_key, username, mode, tenant, broker, format, config, action } = args;
    let asked = match action {
        Action::Publish { topic, qos, retain } => Asked::Publish { topic, qos, retain },
        Action::Subscribe { filter, qos } => Asked::Subscribe { filter, qos },
    };
    let client_id = client.ok_or("`--client` is missing; name the client ID")?;
    let question = Question { paths, client_id, access_key, username, mode, asked, broker, tenant };
    let config = Config::load(config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(question.answer(&config))?;
    match format {
        Format::Human => print!("{}", Shown(&question, &answer)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
    }
    Ok(if answer.verdict == Effect::Allow { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}
