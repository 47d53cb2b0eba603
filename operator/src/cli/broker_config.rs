//! `broker-config`: what to paste into a broker's own configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Outcome;
use crate::broker_config::{Edition, Settings, Software};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct BrokerConfigArgs {
    /// The broker's software.
    #[arg(value_enum)]
    software: Software,
    /// The brokers, as YAML, as for `run`: it has the settings that the broker's own must agree with.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Which of them.
    #[arg(long, requires = "config", default_value = "default")]
    name: String,
    /// Where the sidecar listens, such as `http://127.0.0.1:8080`, which it is when absent.
    #[arg(long, value_name = "URL")]
    sidecar: Option<String>,
    /// For brokers that read files: the folder of the sidecar's `--acl-dir`, as the broker sees it; /mqtt-access/acl when absent.
    #[arg(long, value_name = "DIR")]
    acl_dir: Option<String>,
    /// For `emqx-5`: its edition; `open-source` when absent. Only the other one has SCRAM over HTTP.
    #[arg(long, value_enum)]
    edition: Option<Edition>,
}

#[expect(clippy::print_stdout, reason = "the settings are the output of the command")]
pub(super) fn run(args: &BrokerConfigArgs) -> Outcome {
    let BrokerConfigArgs { software, config, name, sidecar, acl_dir, edition } = args;
    let config = config.as_deref().map(|path| Config::load(Some(path))).transpose()?;
    let broker = match &config {
        Some(config) => Some(config.broker(name).ok_or_else(|| unknown(config, name))?),
        None => None,
    };
    let settings = Settings { sidecar: sidecar.as_deref(), acl_dir: acl_dir.as_deref(), edition: *edition, broker };
    print!("{}", software.config(settings)?);
    Ok(ExitCode::SUCCESS)
}

fn unknown(config: &Config, name: &str) -> String {
    let known: Vec<_> = config.brokers.iter().map(|broker| format!("`{}`", broker.name)).collect();
    format!("no broker `{name}` in the configuration file; `--name` is one of {}", known.join(", "))
}
