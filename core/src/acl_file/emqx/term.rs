//! Erlang terms, as far as `acl.conf` has them, written so that `file:consult` reads back what was meant.
//!
//! Text is always a binary, never a string: a string is a list of code points, and what becomes of those beyond ASCII
//! depends on who takes the list apart. A binary of UTF-8 is what topics, client IDs and attributes are compared as.

use std::fmt::{Display, Formatter, Result, Write as _};

/// One term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// An atom; quoted where Erlang reserves the word.
    Atom(&'static str),
    /// An integer.
    Integer(u8),
    /// A binary that holds UTF-8.
    Text(String),
    /// `{..}`
    Tuple(Vec<Term>),
    /// `[..]`
    List(Vec<Term>),
}

impl Term {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn tuple<const N: usize>(terms: [Self; N]) -> Self {
        Self::Tuple(terms.into())
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Atom(name @ ("and" | "or")) => write!(f, "'{name}'"),
            Self::Atom(name) => f.write_str(name),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(text) => write_binary(f, text),
            Self::Tuple(terms) => write_all(f, '{', terms, '}'),
            Self::List(terms) => write_all(f, '[', terms, ']'),
        }
    }
}

fn write_all(f: &mut Formatter<'_>, open: char, terms: &[Term], close: char) -> Result {
    f.write_char(open)?;
    for (place, term) in terms.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { ", " })?;
        term.fmt(f)?;
    }
    f.write_char(close)
}

/// Only printable ASCII stands as it is; without `/utf8`, a code point beyond it would be cut to one byte.
fn write_binary(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_str("<<\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            ' '..='~' => f.write_char(character)?,
            _ => write!(f, "\\x{{{:x}}}", u32::from(character))?,
        }
    }
    f.write_str(if text.is_ascii() { "\">>" } else { "\"/utf8>>" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_stands_as_it_is() {
        for (text, written) in [
            ("", r#"<<"">>"#),
            ("a b~", r#"<<"a b~">>"#),
            (r#"a"b\c"#, r#"<<"a\"b\\c">>"#),
            ("\"}. {allow, all}.", r#"<<"\"}. {allow, all}.">>"#),
            ("a\n%% b\0\u{7f}", r#"<<"a\x{a}%% b\x{0}\x{7f}">>"#),
            ("é\u{85}", r#"<<"\x{e9}\x{85}"/utf8>>"#),
            ("\u{1f600}~", r#"<<"\x{1f600}~"/utf8>>"#),
        ] {
            assert_eq!(Term::text(text).to_string(), written);
        }
    }

    #[test]
    fn reserved_words_are_quoted() {
        let term = Term::tuple([Term::Atom("and"), Term::List(vec![Term::Integer(2), Term::Atom("true")])]);
        assert_eq!(term.to_string(), "{'and', [2, true]}");
    }
}
