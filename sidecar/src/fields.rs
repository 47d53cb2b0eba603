//! A request's parameters, from a query, a form or JSON: each name once, each value of the type it should have.

use std::collections::BTreeMap;
use std::fmt;

use mqtt_access_core::verdict::Reason;
use percent_encoding::percent_decode;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The parameters are not what the dialect says: a denial with reason `Malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Malformed> for Reason {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Parameters by name. Names that a dialect does not know are ignored, so that brokers may send more.
pub(crate) struct Fields(BTreeMap<String, Value>);

/// A value as it was sent.
#[derive(PartialEq, Eq)]
pub(crate) enum Value {
    /// JSON `null`; as if the name were absent.
    Null,
    /// JSON `true` and `false`.
    Bool(bool),
    /// A JSON number without sign or fraction.
    Number(u64),
    /// Text; bytes, because passwords in forms are not always UTF-8.
    Text(Vec<u8>),
    /// Anything else that JSON has.
    Other,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
}

impl Encoding {
    /// By the `content-type` header; parameters such as `charset` are ignored, both are UTF-8.
    pub(crate) fn of(content_type: &str) -> Result<Self, Malformed> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence {
            _ if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Ok(Self::Form),
            _ if essence.eq_ignore_ascii_case("application/json") => Ok(Self::Json),
            _ => Err(Malformed),
        }
    }
}

impl Fields {
    pub(crate) fn parse(encoding: Encoding, bytes: &[u8]) -> Result<Self, Malformed> {
        match encoding {
            Encoding::Form => Self::form(bytes),
            Encoding::Json => Self::json(bytes),
        }
    }

    /// Reads a query or a form.
    pub(crate) fn form(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Self(BTreeMap::new());
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(parts.next().unwrap_or_default());
            let value = decode(parts.next().unwrap_or_default());
            fields.insert(String::from_utf8(name).map_err(|_| Malformed)?, Value::Text(value))?;
        }
        Ok(fields)
    }

    /// Reads a JSON object. The cause of a failure is not kept: it could quote a secret.
    fn json(bytes: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(bytes).map_err(|_| Malformed)
    }

    fn insert(&mut self, name: String, value: Value) -> Result<(), Malformed> {
        match self.0.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    /// A value of any type; `None` where it is absent or null.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| **value != Value::Null)
    }

    /// Bytes that need not be text; `None` where they are absent.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<&[u8]>, Malformed> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Text(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(Malformed),
        }
    }

    /// Text; `None` where it is absent.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Malformed> {
        let bytes = self.bytes(name)?;
        bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed)).transpose()
    }

    /// Text that must be there, though it may be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Malformed> {
        self.text(name)?.ok_or(Malformed)
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// By hand, because a map would take the last of two values that have one name.
struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields(BTreeMap::new());
        while let Some((name, value)) = map.next_entry()? {
            fields.insert(name, value).map_err(|Malformed| serde::de::Error::custom("a name stands twice"))?;
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.as_bytes().to_vec()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_and_names_stand_once() {
        let fields = Fields::form(b"a=x+y%2B%C3%A9&b=&c=%FF&&d").unwrap_or_else(|_| panic!());
        assert_eq!(fields.text("a"), Ok(Some("x y+é")));
        assert_eq!(fields.text("b"), Ok(Some("")));
        assert_eq!(fields.text("c"), Err(Malformed));
        assert_eq!(fields.bytes("c"), Ok(Some(&[0xFF][..])));
        assert_eq!(fields.text("d"), Ok(Some("")));
        assert_eq!(fields.text("e"), Ok(None));
        assert_eq!(fields.required("e"), Err(Malformed));
        for wrong in [&b"a=1&a=1"[..], b"a=1&%61=2", b"%FF=1"] {
            assert!(Fields::form(wrong).is_err());
        }
    }

    #[test]
    fn json_is_an_object_whose_names_stand_once() {
        let text = br#"{"a":"x","n":null,"i":1,"m":-1,"f":1.0,"t":true,"l":[1,[2]],"o":{"a":1}}"#;
        let fields = Fields::parse(Encoding::Json, text).unwrap_or_else(|_| panic!());
        assert_eq!(fields.text("a"), Ok(Some("x")));
        assert_eq!(fields.text("n"), Ok(None));
        assert!(fields.value("i") == Some(&Value::Number(1)));
        assert!(fields.value("t") == Some(&Value::Bool(true)));
        for other in ["m", "f", "l", "o"] {
            assert!(fields.value(other) == Some(&Value::Other), "{other}");
            assert_eq!(fields.text(other), Err(Malformed), "{other}");
        }
        let wrong: [&[u8]; 8] =
            [b"", b"[]", b"\"a\"", br#"{"a":1,"a":1}"#, br#"{"a":1}x"#, br#"{"a":"#, b"{\"a\":\"\xFF\"}", b"null"];
        for text in wrong {
            assert!(Fields::parse(Encoding::Json, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_harm() {
        let deep = format!("{{\"a\":{}", "[".repeat(200_000));
        assert!(Fields::parse(Encoding::Json, deep.as_bytes()).is_err());
    }

    #[test]
    fn content_types_may_carry_parameters() {
        assert_eq!(Encoding::of("application/json; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(Encoding::of("Application/X-WWW-form-urlencoded"), Ok(Encoding::Form));
        for wrong in ["", "text/plain", "application/jsonp", "multipart/form-data; boundary=x"] {
            assert_eq!(Encoding::of(wrong), Err(Malformed), "{wrong}");
        }
    }
}
