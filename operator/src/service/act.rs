//! How callers write what a token may be used for.

use mqtt_access_core::token::Act;

/// `R`, `W`, `RW`, and ApsaraMQ's own `R,W`: its API writes a comma where its tokens have none.
pub(super) fn act(text: &str) -> Option<Act> {
    match text {
        "R,W" | "W,R" => Some(Act::RW),
        other => Act::parse(other),
    }
}
