//! "One such prefix is stripped, and only where the broker has not stripped it before asking; a reserved prefix that
//! remains, or a malformed one, is denied."

use super::{is_filter, is_name};

/// The filter as which a subscription is judged; `None` where it is denied.
#[must_use]
pub fn subscribe_filter(text: &str, stripped_by_broker: bool) -> Option<String> {
    let levels: Vec<&str> = text.split('/').collect();
    let rest = match levels.as_slice() {
        _ if stripped_by_broker => levels,
        ["$share", group, rest @ ..] if !group.is_empty() && !group.contains(['+', '#']) => rest.to_vec(),
        ["$share", ..] => return None,
        ["$queue" | "$exclusive", rest @ ..] => rest.to_vec(),
        _ => levels,
    };
    unreserved(&rest).filter(|rest| is_filter(rest))
}

/// The name as which a publish is judged; `None` where it is denied.
#[must_use]
pub fn publish_name(text: &str, stripped_by_broker: bool) -> Option<String> {
    let levels: Vec<&str> = text.split('/').collect();
    let rest = match levels.as_slice() {
        ["$delayed", seconds, rest @ ..] if !stripped_by_broker => {
            if seconds.is_empty() || !seconds.chars().all(|c| c.is_ascii_digit()) {
                return None;
            }
            rest.to_vec()
        }
        _ => levels,
    };
    unreserved(&rest).filter(|rest| is_name(rest))
}

fn unreserved(levels: &[&str]) -> Option<String> {
    match levels {
        ["$share" | "$queue" | "$exclusive" | "$delayed", ..] => None,
        _ => Some(levels.join("/")),
    }
}
