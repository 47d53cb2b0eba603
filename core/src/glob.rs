//! Globs over client IDs: `*` is any run of bytes, everything else is literal.

/// Whether the glob matches the whole text. Linear in the text for each `*`, without recursion or allocation.
#[must_use]
pub fn matches(glob: &str, text: &str) -> bool {
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

/// Whether a glob matches whatever another one matches. Never says so wrongly; may say no of globs written unusually.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    // Read as text, a `*` of the inner glob can only fall within a `*` of the outer one, so whatever stands for it does too.
    matches(outer, inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_covers_another_that_is_written_longer() {
        for (outer, inner, expected) in [
            ("*", "a*b", true),
            ("a*", "a*b", true),
            ("a*", "ab", true),
            ("a*b", "a*", false),
            ("a", "a*", false),
            ("*b*", "ab*", true),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }

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
