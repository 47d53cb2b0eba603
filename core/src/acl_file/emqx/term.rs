//! Erlang terms, as far as `acl.conf` has them, written so that `file:consult` reads back what was meant.
//!
//! Text is always a binary, never a string: a string is a list of code points, and what becomes of those beyond ASCII
//! depends on who takes the list apart. A binary of UTF-8 is what topics, client IDs and attributes are compared as. Each
//! escape in it is one byte, for Erlang refuses to read some code points at all (U+FFFE, U+FFFF).

use std::fmt::{Display, Formatter, Result, Write as _};

/// One term.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// An atom; quoted where Erlang reserves the word.
    Atom(&'static str),
    /// An integer.
    Integer(u8),
    /// A binary that holds UTF-8.
    Text(String),
    /// `{..}`
    Tuple(Vec<Self>),
    /// `[..]`
    List(Vec<Self>),
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

fn write_binary(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_str("<<\"")?;
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' '..=b'~' => f.write_char(byte.into())?,
            _ => write!(f, "\\x{{{byte:02x}}}")?,
        }
    }
    f.write_str("\">>")
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
            ("a\n%% b\0\u{7f}", r#"<<"a\x{0a}%% b\x{00}\x{7f}">>"#),
            ("é\u{85}~", r#"<<"\x{c3}\x{a9}\x{c2}\x{85}~">>"#),
            ("\u{ffff}", r#"<<"\x{ef}\x{bf}\x{bf}">>"#),
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
