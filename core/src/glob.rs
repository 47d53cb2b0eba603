//! Globs over client IDs: `*` is any run of bytes, everything else is literal.

/// Whether the glob matches the whole text. Linear in the text for each `*`, without recursion or allocation.
#[must_use]
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    let Some((head, tail)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, last) = tail.rsplit_once('*').map_or(("", tail), |(middle, last)| (middle, last));
    // Each middle piece at its earliest place leaves the most for the rest.
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None if piece.is_empty() => {}
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_bytes() {
        for (glob, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*bc", "abbc", true),
            ("ab*ba", "aba", false),
            ("a**c", "abc", true),
            ("*b*", "abc", true),
            ("*b*b*", "abc", false),
            ("a*b*c*d", "aXbYcZd", true),
            ("a*b*c*d", "aXcYbZd", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }
}
