//! Reads Erlang terms as `file:consult` does: what an `acl.conf` is made of, and no more.

use std::iter::Peekable;
use std::str::Chars;

/// A term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// An atom, quoted or not.
    Atom(String),
    /// An integer.
    Integer(i64),
    /// A string: a list of code points.
    String(Vec<u32>),
    /// A binary.
    Binary(Vec<u8>),
    /// `{..}`
    Tuple(Vec<Self>),
    /// `[..]`
    List(Vec<Self>),
}

const RESERVED: [&str; 27] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div",
    "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "when",
];

/// All terms of a file, each ended by a dot.
pub fn consult(text: &str) -> Result<Vec<Term>, String> {
    let mut reader = Reader { rest: text.chars().peekable() };
    let mut terms = Vec::new();
    loop {
        reader.skip_space();
        if reader.rest.peek().is_none() {
            return Ok(terms);
        }
        terms.push(reader.term()?);
        reader.skip_space();
        reader.expect('.')?;
        // A dot ends a term only before white space, a comment or the end.
        if !reader.rest.peek().is_none_or(|next| is_space(*next) || *next == '%') {
            return Err("a dot is followed by something".to_owned());
        }
    }
}

fn is_space(c: char) -> bool {
    c <= ' ' || ('\u{80}'..='\u{a0}').contains(&c)
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while let Some(next) = self.rest.peek() {
            if *next == '%' {
                while self.rest.next_if(|c| *c != '\n').is_some() {}
            } else if !is_space(*next) {
                return;
            }
            self.rest.next();
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.rest.next() {
            Some(found) if found == wanted => Ok(()),
            found => Err(format!("{found:?} where {wanted:?} is expected")),
        }
    }

    fn term(&mut self) -> Result<Term, String> {
        self.skip_space();
        match self.rest.peek().copied() {
            Some('{') => Ok(Term::Tuple(self.terms('{', '}')?)),
            Some('[') => Ok(Term::List(self.terms('[', ']')?)),
            Some('<') => self.binary(),
            Some('"') => Ok(Term::String(self.strings()?)),
            Some('\'') => Ok(Term::Atom(self.quoted('\'')?.into_iter().filter_map(char::from_u32).collect())),
            Some('a'..='z') => {
                let name: String = std::iter::from_fn(|| self.rest.next_if(|c| is_name(*c))).collect();
                if RESERVED.contains(&name.as_str()) {
                    Err(format!("`{name}` is reserved"))
                } else {
                    Ok(Term::Atom(name))
                }
            }
            Some('0'..='9') => self.integer().map(Term::Integer),
            other => Err(format!("no term begins with {other:?}")),
        }
    }

    fn integer(&mut self) -> Result<i64, String> {
        let digits: String = std::iter::from_fn(|| self.rest.next_if(char::is_ascii_digit)).collect();
        digits.parse().map_err(|error| format!("{digits}: {error}"))
    }

    fn terms(&mut self, open: char, close: char) -> Result<Vec<Term>, String> {
        self.expect(open)?;
        self.skip_space();
        let mut terms = Vec::new();
        if self.rest.next_if_eq(&close).is_some() {
            return Ok(terms);
        }
        loop {
            terms.push(self.term()?);
            self.skip_space();
            match self.rest.next() {
                Some(',') => {}
                Some(found) if found == close => return Ok(terms),
                found => return Err(format!("{found:?} where ',' or {close:?} is expected")),
            }
        }
    }

    /// Strings beside each other are one.
    fn strings(&mut self) -> Result<Vec<u32>, String> {
        let mut text = Vec::new();
        while self.rest.peek() == Some(&'"') {
            text.extend(self.quoted('"')?);
            self.skip_space();
        }
        Ok(text)
    }

    fn quoted(&mut self, quote: char) -> Result<Vec<u32>, String> {
        self.expect(quote)?;
        let mut text = Vec::new();
        loop {
            match self.rest.next() {
                None => return Err("a quoted text does not end".to_owned()),
                Some(end) if end == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c.into()),
            }
        }
    }

    fn escape(&mut self) -> Result<u32, String> {
        let digits = |text: &str, radix| u32::from_str_radix(text, radix).map_err(|error| format!("{text}: {error}"));
        Ok(match self.rest.next().ok_or("an escape does not end")? {
            'b' => 8,
            'd' => 127,
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            's' => 32,
            't' => 9,
            'v' => 11,
            '^' => u32::from(self.rest.next().ok_or("an escape does not end")?) & 31,
            'x' if self.rest.next_if_eq(&'{').is_some() => {
                let text: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
                self.expect('}')?;
                digits(&text, 16)?
            }
            'x' => {
                let text: String = self.rest.by_ref().take(2).collect();
                digits(&text, 16)?
            }
            first @ '0'..='7' => {
                let mut text = first.to_string();
                while let Some(next) = self.rest.next_if(|c| text.len() < 3 && ('0'..='7').contains(c)) {
                    text.push(next);
                }
                digits(&text, 8)?
            }
            other => other.into(),
        })
    }

    fn binary(&mut self) -> Result<Term, String> {
        self.expect('<')?;
        self.expect('<')?;
        let mut bytes = Vec::new();
        loop {
            self.skip_space();
            match self.rest.peek().copied() {
                Some('>') if bytes.is_empty() => {}
                Some('"') => self.text_segment(&mut bytes)?,
                _ => bytes.push(u8::try_from(self.integer()? & 0xff).map_err(|error| error.to_string())?),
            }
            self.skip_space();
            if self.rest.next_if_eq(&',').is_none() {
                self.expect('>')?;
                self.expect('>')?;
                return Ok(Term::Binary(bytes));
            }
        }
    }

    /// Without `/utf8`, each code point is one byte: what of it fits.
    fn text_segment(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let text = self.strings()?;
        if self.rest.next_if_eq(&'/').is_none() {
            bytes.extend(text.into_iter().map(|code| code.to_le_bytes()[0]));
            return Ok(());
        }
        let kind: String = std::iter::from_fn(|| self.rest.next_if(|c| is_name(*c))).collect();
        if kind != "utf8" {
            return Err(format!("segments of type `{kind}` are not read here"));
        }
        let text: Option<String> = text.into_iter().map(char::from_u32).collect();
        bytes.extend(text.ok_or("a code point is none of Unicode")?.into_bytes());
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str) -> Term {
        Term::Atom(name.to_owned())
    }

    #[test]
    fn terms_are_read_as_file_consult_reads_them() {
        let text = "%% {deny, all}.\n{allow , 'and',\n[\"a\\\"\\x{e9}\\101\" \"b\", <<\"\\x{e9}\">>, <<\"\\x{e9}\"/utf8>>]}. % x\n[0,12].";
        let strings = [Term::String("a\"éAb".chars().map(u32::from).collect()), Term::Binary(vec![0xe9])];
        let list = strings.into_iter().chain([Term::Binary("é".into())]).collect();
        let expected = [
            Term::Tuple(vec![atom("allow"), atom("and"), Term::List(list)]),
            Term::List(vec![Term::Integer(0), Term::Integer(12)]),
        ];
        assert_eq!(consult(text).unwrap(), expected);
        assert_eq!(consult("<<>>.").unwrap(), [Term::Binary(Vec::new())]);
    }

    #[test]
    fn what_erlang_refuses_is_refused() {
        for text in ["{and, []}.", "a", "{a,}.", "\"a", "<<\"a\">.", "a.b", "A.", "{a}]."] {
            assert!(consult(text).is_err(), "{text}");
        }
    }
}
