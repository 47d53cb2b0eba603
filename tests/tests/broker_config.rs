//! The README shows what `broker-config` prints, to the letter. That brokers which run with it refuse what they should is shown
//! by the tests that start RabbitMQ and Mosquitto: they write it into the brokers' files.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is a failed test")]

use std::fs;
use std::path::Path;

use mqtt_access_operator::broker_config::{Settings, Software};

/// The fenced blocks of a language, in order.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let printed = |software: Software| software.config(Settings::default()).unwrap();
    assert_eq!(blocks(&readme, "ini"), [printed(Software::Rabbitmq), printed(Software::Mosquitto)]);
    assert_eq!(blocks(&readme, "hocon"), [printed(Software::Emqx5)]);
}
