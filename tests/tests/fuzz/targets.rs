//! What strangers bring, one check for each kind: it takes any bytes, and panics where the outcome is not as it must be.
//!
//! `tests/tests/fuzz/main.rs` runs them for a moment with every `cargo test`, and `fuzz/` for as long as one likes, guided by
//! the code that is reached (`http`, the slowest to build, with the feature `sidecar`). A target's first byte mostly says how the rest is to be read.

mod acl_files;
mod bundles;
mod hashes;
#[cfg(feature = "sidecar")]
mod http;
mod logins;
mod tokens;

/// A check with the inputs that it starts from.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of the libFuzzer target too.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub check: fn(&[u8]),
    /// Inputs that lead somewhere.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "username", check: logins::username, seeds: logins::usernames },
    Target { name: "scram", check: logins::scram, seeds: logins::scram_names },
    Target { name: "ticket", check: logins::ticket, seeds: logins::tickets },
    Target { name: "token_password", check: tokens::password, seeds: tokens::passwords },
    Target { name: "jwt", check: tokens::jwt, seeds: tokens::jwts },
    Target { name: "password_hash", check: hashes::check, seeds: hashes::seeds },
    Target { name: "bundle", check: bundles::check, seeds: bundles::seeds },
    Target { name: "acl_conf", check: acl_files::acl_conf, seeds: acl_files::acl_confs },
    #[cfg(feature = "sidecar")]
    Target { name: "http", check: http::check, seeds: http::seeds },
];

/// The first byte, and the rest as text.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// A seed whose first byte is `how`.
fn seed(how: u8, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [&[how], rest.as_ref()].concat()
}

/// Replaces the byte at a place that the first two bytes name by the third.
fn with_one_byte_changed(original: &str, change: &[u8]) -> String {
    let mut bytes = original.as_bytes().to_vec();
    let [high, low, byte, ..] = change else { return original.to_owned() };
    let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
    bytes.splice(place..=place, [*byte]);
    text(&bytes)
}
