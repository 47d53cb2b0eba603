//! Logins as tables: every mode with everything that can come of it, at the login and afterwards.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod after;
mod attempt;
mod names;
mod outcomes;
mod principals;
mod spares;
mod tokens;
mod will_grace;
