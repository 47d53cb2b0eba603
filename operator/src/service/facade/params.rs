//! Parameters of a request in the vendor's style: from the query and from a form in the body, each at most once.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What RFC 3986 leaves as it is; everything else is written as `%XX`. Both signatures are over this spelling.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// More than any action has.
const MAX_PARAMETERS: usize = 64;

/// Why parameters cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// One name comes twice: two readers could take different ones.
    Duplicate,
    /// Something is not percent-encoded UTF-8.
    Encoding,
    /// More parameters than any action has.
    TooMany,
}

/// Decoded parameters by their names. Values may be secrets: there is no `Debug`.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads the query and the form together.
    pub(super) fn read(query: &str, form: &[u8]) -> Result<Self, Malformed> {
        let mut params = Self::default();
        params.add(query.as_bytes())?;
        params.add(form)?;
        Ok(params)
    }

    fn add(&mut self, encoded: &[u8]) -> Result<(), Malformed> {
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (decode(parts.next().unwrap_or_default())?, decode(parts.next().unwrap_or_default())?);
            if self.0.len() >= MAX_PARAMETERS {
                return Err(Malformed::TooMany);
            }
            if self.0.insert(name, value).is_some() {
                return Err(Malformed::Duplicate);
            }
        }
        Ok(())
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Names and values sorted by the bytes of the names, percent-encoded and joined as a query, without one of them.
    pub(super) fn canonical(&self, without: Option<&str>) -> String {
        let mut text = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| Some(name.as_str()) != without) {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(utf8_percent_encode(name, ENCODED));
            text.push('=');
            text.extend(utf8_percent_encode(value, ENCODED));
        }
        text
    }
}

/// Percent-encodes as the signatures want it.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn decode(bytes: &[u8]) -> Result<String, Malformed> {
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().map(String::from).map_err(|_| Malformed::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, form: &str) -> Result<Params, Malformed> {
        Params::read(query, form.as_bytes())
    }

    #[test]
    fn query_and_form_are_one_and_sorted() {
        let params = read("b=%2F+%7e&a=", "C=%E4%BD%A0*").ok().unwrap();
        assert_eq!(params.canonical(None), "C=%E4%BD%A0%2A&a=&b=%2F%20~");
        assert_eq!(params.canonical(Some("b")), "C=%E4%BD%A0%2A&a=");
        assert_eq!(params.get("a"), None);
        assert_eq!(params.get("b"), Some("/ ~"));
    }

    #[test]
    fn a_name_that_comes_twice_is_refused_wherever_it_stands() {
        for (query, form) in [("a=1&a=1", ""), ("a=1", "a=2"), ("", "a&a"), ("a=1&%61=2", "")] {
            assert_eq!(read(query, form).err(), Some(Malformed::Duplicate), "{query} {form}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(read("a=%FF", "").err(), Some(Malformed::Encoding));
        assert_eq!(Params::read("", b"\xff=1").err(), Some(Malformed::Encoding));
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|number| format!("p{number}=1")).collect();
        assert_eq!(read(&many.join("&"), "").err(), Some(Malformed::TooMany));
    }
}
