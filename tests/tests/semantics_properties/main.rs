//! The fast engine against the slow one, on random policies over a small alphabet.
//!
//! `PROPTEST_CASES=20000 cargo test -p mqtt-access-tests --test semantics_properties` looks longer.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod arbitrary;
mod claims;
mod decisions;
mod emqx_file;
mod explanations;
mod filters;
mod idle;
mod inline;
mod mosquitto_file;
mod sessions;

use proptest::test_runner::Config;

/// As many cases as the environment asks for, or a number that keeps the file under a minute.
fn cases(by_default: u32) -> Config {
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked_for { Config::default().cases } else { by_default };
    // What is found becomes a case of the corpus, not a seed in a file.
    Config { cases, failure_persistence: None, ..Config::default() }
}
