//! Starts the operator.

use std::process::ExitCode;

/// That of the C library keeps several times of what a large tenant needs for a moment, for each thread that ever compiled one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mqtt_access_operator::cli::main()
}
