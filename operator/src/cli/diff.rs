//! `diff`: two sets of manifests on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::explain::Format;
use super::{ConfigArg, Outcome};
use crate::config::Config;
use crate::diff::Diff;

/// What differences are told by.
const DIFFERENT: u8 = 5;

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The manifests before: a file or a folder.
    before: PathBuf,
    /// The manifests after: a file or a folder.
    after: PathBuf,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    config: ConfigArg,
}

#[expect(clippy::print_stdout, reason = "the differences are the output of the command")]
pub(super) fn run(args: &DiffArgs) -> Outcome {
    let config = Config::load(args.config.config.as_deref())?;
    let diff = Diff::of(&args.before, &args.after, &config)?;
    match args.format {
        Format::Human => print!("{diff}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&diff)?),
    }
    Ok(if diff.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
