//! Regular expressions for conditions of `acl.conf`: PCRE over bytes, unanchored unless they say otherwise.
//!
//! `$` also matches before a line feed at the end, so that an end is always `\z`. A search that takes too long counts as "no
//! match", which would skip a Deny: no pattern here goes back over what it has passed but for one run. And PCRE compiles to
//! 64 KiB at most; one pattern that takes more makes EMQX refuse the whole file, that of all tenants.

/// The most bytes of texts in one pattern: far from what PCRE refuses, which was seen at twice as many.
const MAX_BYTES: usize = 16 * 1024;

/// What a value in a topic must be like: docs/semantics.md section 2, over the bytes of its UTF-8.
pub(super) fn usable(leads: bool) -> &'static str {
    if leads {
        r"(?s)\A(?!\$)(?!.*\$\{)(?!.*\xc2[\x80-\x9f])[^/+#\x00-\x1f\x7f]+\z"
    } else {
        r"(?s)\A(?!.*\$\{)(?!.*\xc2[\x80-\x9f])[^/+#\x00-\x1f\x7f]+\z"
    }
}

/// Matches the texts that a glob does.
pub(super) fn glob(glob: &str) -> String {
    let Some((head, tail)) = glob.split_once('*') else {
        return format!(r"\A{}\z", literal(glob));
    };
    let (middle, last) = tail.rsplit_once('*').map_or(("", tail), |(middle, last)| (middle, last));
    // Each middle piece at its earliest place leaves the most for the rest, so that no other place need be tried.
    let pieces = middle.split('*').filter(|piece| !piece.is_empty());
    let pieces: Vec<String> = pieces.map(|piece| format!("(?>.*?{})", literal(piece))).collect();
    format!(r"(?s)\A{}{}.*{}\z", literal(head), pieces.concat(), literal(last))
}

/// What is none of some texts matches all of these.
pub(super) fn none_of<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<String> {
    alternatives(texts).into_iter().map(|texts| format!(r"\A(?!(?:{texts})\z)")).collect()
}

/// What begins with none of some texts matches all of these.
pub(super) fn begins_with_none_of<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<String> {
    alternatives(texts).into_iter().map(|texts| format!(r"\A(?!{texts})")).collect()
}

/// Spread over several where one pattern could not hold them.
fn alternatives<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.map(literal) {
        match found.last_mut().filter(|last| last.len() + text.len() < MAX_BYTES) {
            Some(last) => last.extend(["|", &text]),
            None => found.push(text),
        }
    }
    found
}

/// After a backslash, only ASCII letters and digits mean anything but themselves.
fn literal(text: &str) -> String {
    let escape = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '@' => character.to_string(),
        '\0'..=' ' | '<' | '>' | '\x7f' => format!(r"\x{:02x}", u32::from(character)),
        '!'..='~' => format!("\\{character}"),
        _ => character.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_anchored_and_their_text_is_literal() {
        for (text, expected) in [
            ("a.b", r"\Aa\.b\z"),
            ("GID_a@@@*", r"(?s)\AGID_a@@@.*\z"),
            ("*a**b*c", r"(?s)\A(?>.*?a)(?>.*?b).*c\z"),
            ("é\n", "\\Aé\\x0a\\z"),
        ] {
            assert_eq!(glob(text), expected);
        }
        assert_eq!(none_of(["a|b", "c"].into_iter()), [r"\A(?!(?:a\|b|c)\z)"]);
        assert_eq!(begins_with_none_of(["a-", "b"].into_iter()), [r"\A(?!a\-|b)"]);
    }

    #[test]
    fn what_one_pattern_cannot_hold_is_spread_over_several() {
        let texts: Vec<String> = (0..100).map(|number| format!("{number:0>1000}")).collect();
        let patterns = none_of(texts.iter().map(String::as_str));
        assert!(patterns.len() > 1 && patterns.iter().all(|pattern| pattern.len() < MAX_BYTES + 20));
        let held = |text: &String| patterns.iter().filter(|pattern| pattern.contains(text.as_str())).count();
        assert!(texts.iter().all(|text| held(text) == 1));
    }
}
