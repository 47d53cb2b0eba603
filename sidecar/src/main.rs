//! Starts the sidecar; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_access_sidecar::cli::main()
}
