//! Texts that go where there is little room: an API server takes objects of some size only, and refuses the others whole.

/// The text, or as much of it as fits into so many bytes with `...` behind it.
pub(crate) fn shorten(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes.saturating_sub(3)));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_fits() {
        for (text, max, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "..."), ("abcdef", 5, "ab..."), ("aéé", 4, "a..."), ("éééé", 6, "é...")]
        {
            assert_eq!(shorten(text.to_owned(), max), expected, "{text} {max}");
        }
    }
}
