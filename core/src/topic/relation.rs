//! `covers` and `overlaps`: one walk over the levels each, O(levels).

use super::{Filter, Level};

/// Whether every name that `inner` matches is matched by `outer` too.
///
/// `+/#` and `#` match the same names (one level or more), so each covers the other; `a/+/#` does not match `a` and
/// so does not cover `a/#`.
#[must_use]
pub fn covers(outer: Filter<'_>, inner: Filter<'_>) -> bool {
    covers_unless(outer, inner, Level::is_dollar)
}

/// As [`covers`], for an outer filter whose leading wildcard reaches names that start with `$`.
#[must_use]
pub(crate) fn covers_with_dollars(outer: Filter<'_>, inner: Filter<'_>) -> bool {
    covers_unless(outer, inner, |_| false)
}

fn covers_unless<'a>(outer: Filter<'a>, inner: Filter<'a>, escapes: impl Fn(Level<'a>) -> bool) -> bool {
    let (mut outer, mut inner) = (outer.levels(), inner.levels());
    let mut first = true;
    loop {
        match (outer.next(), inner.next()) {
            (Some(Level::Hash), level) => return !(first && level.is_some_and(escapes)),
            (Some(Level::Plus), Some(Level::Hash)) => {
                return first && outer.next() == Some(Level::Hash);
            }
            (Some(Level::Plus), Some(level)) if !(first && escapes(level)) => {}
            (Some(Level::Literal(a)), Some(Level::Literal(b))) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
        first = false;
    }
}

/// Whether some name is matched by both filters.
#[must_use]
pub fn overlaps(a: Filter<'_>, b: Filter<'_>) -> bool {
    overlaps_unless(a, b, Level::is_dollar)
}

/// As [`overlaps`], for a filter whose leading wildcard reaches names that start with `$`.
#[must_use]
pub(crate) fn overlaps_with_dollars(a: Filter<'_>, b: Filter<'_>) -> bool {
    overlaps_unless(a, b, |_| false)
}

fn overlaps_unless<'a>(a: Filter<'a>, b: Filter<'a>, escapes: impl Fn(Level<'a>) -> bool) -> bool {
    let (mut a, mut b) = (a.levels(), b.levels());
    let mut first = true;
    loop {
        match (a.next(), b.next()) {
            (Some(Level::Hash), other) | (other, Some(Level::Hash)) => {
                return !(first && other.is_some_and(escapes));
            }
            (Some(Level::Plus), Some(other)) | (Some(other), Some(Level::Plus)) if !(first && escapes(other)) => {}
            (Some(Level::Literal(x)), Some(Level::Literal(y))) if x == y => {}
            (None, None) => return true,
            _ => return false,
        }
        first = false;
    }
}

/// A name that both filters match, where they overlap.
#[must_use]
pub fn overlap_witness(a: Filter<'_>, b: Filter<'_>) -> Option<String> {
    if !overlaps(a, b) {
        return None;
    }
    let (mut a, mut b) = (a.levels().peekable(), b.levels().peekable());
    let mut name = Vec::new();
    loop {
        let level = match (a.peek().copied(), b.peek().copied()) {
            (Some(Level::Literal(text)), _) | (_, Some(Level::Literal(text))) => text,
            (Some(Level::Plus), _) | (_, Some(Level::Plus)) => "x",
            // The parent of `#` is itself a match; only a lone `#` needs a level of its own.
            _ => break,
        };
        name.push(level);
        for side in [&mut a, &mut b] {
            // `#` stays in place: it matches whatever the other side still asks for.
            side.next_if(|level| *level != Level::Hash);
        }
    }
    Some(if name.is_empty() { "x".to_owned() } else { name.join("/") })
}

/// The filter that matches just the names that both match, and so covers just what both cover; `None` where they do not
/// overlap.
#[must_use]
pub fn intersection(a: Filter<'_>, b: Filter<'_>) -> Option<String> {
    if !overlaps(a, b) {
        return None;
    }
    let (mut a, mut b) = (a.levels().peekable(), b.levels().peekable());
    let mut common = Vec::new();
    loop {
        let level = match (a.peek().copied(), b.peek().copied()) {
            (Some(Level::Literal(text)), _) | (_, Some(Level::Literal(text))) => text,
            (Some(Level::Plus), _) | (_, Some(Level::Plus)) => "+",
            (Some(Level::Hash), Some(Level::Hash)) => {
                common.push("#");
                break;
            }
            // One ends, and the other's `#` matches its parent.
            _ => break,
        };
        common.push(level);
        for side in [&mut a, &mut b] {
            // `#` stays in place: it matches whatever the other side still asks for.
            side.next_if(|level| *level != Level::Hash);
        }
    }
    Some(common.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn covering_is_inclusion_of_the_names_matched() {
        for (outer, inner, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/+/b/#", true),
            ("#", "+/#", true),
            ("+/#", "#", true),
            ("a/+/#", "a/#", false),
            ("+", "#", false),
            ("a/+", "a/#", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("a", "+", false),
            ("a/b", "a/b", true),
            ("/+/#", "/#", true),
        ] {
            assert_eq!(covers(filter(outer), filter(inner)), expected, "{outer} covers {inner}");
        }
    }

    #[test]
    fn what_two_filters_have_in_common_is_a_filter() {
        for (a, b, expected) in [
            ("a/#", "a", Some("a")),
            ("#", "#", Some("#")),
            ("+/b", "a/+", Some("a/b")),
            ("a/#", "+/+/c", Some("a/+/c")),
            ("a/#", "a/+/#", Some("a/+/#")),
            ("a/+", "a/#", Some("a/+")),
            ("+", "+/#", Some("+")),
            ("a/b", "a/c", None),
            ("#", "$SYS/#", None),
            ("$SYS/#", "$SYS/+/x", Some("$SYS/+/x")),
            ("#", "/#", Some("/+/#")),
        ] {
            assert_eq!(intersection(filter(a), filter(b)).as_deref(), expected, "{a} {b}");
            assert_eq!(intersection(filter(b), filter(a)).as_deref(), expected, "{b} {a}");
        }
    }

    #[test]
    fn overlapping_filters_have_a_witness_and_others_none() {
        for (a, b, expected) in [
            ("a/#", "a", Some("a")),
            ("#", "#", Some("x")),
            ("+/b", "a/+", Some("a/b")),
            ("a/#", "+/+/c", Some("a/x/c")),
            ("a/b", "a/c", None),
            ("#", "$SYS/#", None),
            ("a", "a/+", None),
            ("+/#", "a", Some("a")),
            ("#", "/#", Some("/x")),
            ("+", "/#", None),
        ] {
            assert_eq!(overlap_witness(filter(a), filter(b)).as_deref(), expected, "{a} {b}");
            assert_eq!(overlaps(filter(b), filter(a)), expected.is_some(), "{b} {a}");
        }
    }
}
