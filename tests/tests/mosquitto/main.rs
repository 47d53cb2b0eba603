//! A stock Mosquitto, without any plugin, with the files that are compiled for it, and real clients.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod compiled;
mod corpus;
mod example;
mod reload;
mod watcher;
