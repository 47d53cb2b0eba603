//! Starts the operator.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_access_operator::cli::main()
}
