//! `check`: the command line of a check of the whole path.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{Outcome, block_on, shutdown};
use crate::check::{self, Check};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Where the tenant is made, which is deleted again; the namespace of the context when left out.
    #[arg(long)]
    namespace: Option<String>,
    /// Its name, and that of its device and policy; a random one when left out.
    #[arg(long)]
    name: Option<String>,
    /// Whose tenant it is.
    #[arg(long, default_value = "default")]
    broker: String,
    /// Where a sidecar of that broker answers.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = address)]
    sidecar: SocketAddr,
    /// How many seconds it may take, without what is needed to clean up.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    address.and_then(|address| address.parse().ok()).ok_or_else(|| "write it as `http://127.0.0.1:8080`".to_owned())
}

#[expect(clippy::print_stdout, reason = "what was found is the output of the command")]
pub(super) fn run(args: CheckArgs) -> Outcome {
    let CheckArgs { namespace, name, broker, sidecar, timeout } = args;
    let check = Check { namespace, name, broker, sidecar, timeout: Duration::from_secs(timeout) };
    block_on(async { check::run(check, shutdown()?, |step| println!("{step}")).await.map_err(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_is_named_by_its_address() {
        for fine in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://[::1]:8080"] {
            assert_eq!(address(fine).map(|address| address.port()), Ok(8080), "{fine}");
        }
        for wrong in ["127.0.0.1:8080", "https://127.0.0.1:8080", "http://sidecar:8080", "http://127.0.0.1", ""] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
