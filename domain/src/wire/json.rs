//! JSON from outside, read strictly. The writer is next door.
//!
//! RFC 8259. Duplicate names are refused: two readers that keep different ones of them see different documents. What is
//! absent and what has the wrong type are kept apart: a claim of the wrong type is not a claim that nobody made.

use super::{json_writer, text};
use crate::limits;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

pub use super::json_writer::{ObjectWriter, quote};

/// Which rule the document breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More bytes than the caller allows.
    TooLong,
    /// Begins with a byte order mark (RFC 8259 section 8.1).
    ByteOrderMark,
    /// Not JSON, not UTF-8, a number out of range, or something behind the document.
    Syntax,
    /// Nests deeper than [`limits::JSON_DEPTH_MAX`].
    TooDeep,
    /// More values than [`limits::JSON_VALUES_MAX`].
    TooManyValues,
    /// An object has the same name twice.
    DuplicateName,
}

/// A member is there, but is not of the type that was asked for; or what was asked is not an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// Why a member that must be there cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The object has no member of that name.
    Absent,
    /// The member has another type.
    WrongType,
}

impl From<WrongType> for Unfit {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

/// A number as it was written, as far as 64 bits hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// Written with a fraction or an exponent, or beyond 64 bits. Finite.
    Float(f64),
}

/// A JSON value.
#[derive(Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order in which it came; no name is there twice.
    Object(Vec<(String, Json)>),
}

/// Reads one document of at most `max_len` bytes.
pub fn parse(bytes: &[u8], max_len: usize) -> Result<Json, Malformed> {
    if bytes.len() > max_len {
        return Err(Malformed::TooLong);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Malformed::ByteOrderMark);
    }
    let budget = Budget { values_left: Cell::new(limits::JSON_VALUES_MAX), broken: Cell::new(None) };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reading { budget: &budget, depth_left: limits::JSON_DEPTH_MAX }
        .deserialize(&mut reader)
        .map_err(|_| budget.broken.get().unwrap_or(Malformed::Syntax))?;
    reader.end().map_err(|_| Malformed::Syntax)?;
    Ok(value)
}

impl Json {
    /// The member of this name; absent also where this is not an object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members().ok()?.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The members in their order.
    pub fn members(&self) -> Result<&[(String, Self)], WrongType> {
        if let Self::Object(members) = self { Ok(members) } else { Err(WrongType) }
    }

    /// The elements of an array.
    pub fn list(&self) -> Result<&[Self], WrongType> {
        if let Self::List(elements) = self { Ok(elements) } else { Err(WrongType) }
    }

    /// The text of a string.
    pub fn text(&self) -> Result<&str, WrongType> {
        if let Self::Text(text) = self { Ok(text) } else { Err(WrongType) }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, WrongType> {
        if let Self::Bool(value) = self { Ok(*value) } else { Err(WrongType) }
    }

    /// An integer that is not negative, written as one.
    pub fn unsigned(&self) -> Result<u64, WrongType> {
        if let Self::Number(Number::Unsigned(value)) = self { Ok(*value) } else { Err(WrongType) }
    }

    /// A NumericDate or a number of seconds (RFC 7519 section 2): not negative, a fraction is cut off.
    pub fn seconds(&self) -> Result<u64, WrongType> {
        match self {
            Self::Number(Number::Unsigned(value)) => Ok(*value),
            Self::Number(Number::Float(value)) => whole(*value).ok_or(WrongType),
            _ => Err(WrongType),
        }
    }

    /// The strings of an array that holds nothing else.
    pub fn texts(&self) -> Result<Vec<&str>, WrongType> {
        self.list()?.iter().map(Self::text).collect()
    }

    /// A string or an array of strings, as `aud` is (RFC 7519 section 4.1.3).
    pub fn text_or_texts(&self) -> Result<Vec<&str>, WrongType> {
        self.text().map_or_else(|_| self.texts(), |text| Ok(vec![text]))
    }

    /// A string member, if there is one.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        self.optional(name, Self::text)
    }

    /// A string member.
    pub fn required_text(&self, name: &str) -> Result<&str, Unfit> {
        self.optional_text(name)?.ok_or(Unfit::Absent)
    }

    /// A member that is an array of strings, if there is one.
    pub fn optional_text_list(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        self.optional(name, Self::texts)
    }

    /// A member that is an array of strings.
    pub fn required_text_list(&self, name: &str) -> Result<Vec<&str>, Unfit> {
        self.optional_text_list(name)?.ok_or(Unfit::Absent)
    }

    /// A member that is an integer and not negative, if there is one.
    pub fn optional_unsigned(&self, name: &str) -> Result<Option<u64>, WrongType> {
        self.optional(name, Self::unsigned)
    }

    /// A member that is a NumericDate or a number of seconds, if there is one.
    pub fn optional_seconds(&self, name: &str) -> Result<Option<u64>, WrongType> {
        self.optional(name, Self::seconds)
    }

    /// A member that is a NumericDate or a number of seconds.
    pub fn required_seconds(&self, name: &str) -> Result<u64, Unfit> {
        self.optional_seconds(name)?.ok_or(Unfit::Absent)
    }

    /// A member that is `true` or `false`, if there is one.
    pub fn optional_bool(&self, name: &str) -> Result<Option<bool>, WrongType> {
        self.optional(name, Self::boolean)
    }

    /// A member that is an object, if there is one.
    pub fn optional_object(&self, name: &str) -> Result<Option<&Self>, WrongType> {
        self.optional(name, |value| value.members().map(|_| value))
    }

    /// A member that is an array, if there is one.
    pub fn optional_list(&self, name: &str) -> Result<Option<&[Self]>, WrongType> {
        self.optional(name, Self::list)
    }

    /// The object without members that are `null`, for formats where null means absent (RFC 7592 section 2.2).
    #[must_use]
    pub fn without_nulls(self) -> Self {
        match self {
            Self::Object(mut members) => {
                members.retain(|(_, value)| *value != Self::Null);
                Self::Object(members)
            }
            other => other,
        }
    }

    /// `null` is a value of the wrong type here, not an absence.
    fn optional<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a Self) -> Result<T, WrongType>,
    ) -> Result<Option<T>, WrongType> {
        self.members()?;
        self.member(name).map(read).transpose()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be tokens or a person's data, and so may be names of unknown members.
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(_) => out.write_str("bool"),
            Self::Number(_) => out.write_str("number"),
            Self::Text(_) => out.write_str("text"),
            Self::List(elements) => write!(out, "list({})", elements.len()),
            Self::Object(members) => out
                .debug_map()
                .entries(
                    members.iter().map(|(name, value)| (if text::is_plain_name(name) { name } else { ".." }, value)),
                )
                .finish(),
        }
    }
}

impl fmt::Display for Json {
    /// Writes the value as JSON, without white space.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        json_writer::push_json(&mut text, self);
        out.write_str(&text)
    }
}

/// The whole seconds of a float, where it holds them exactly.
fn whole(value: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !(value.is_sign_positive() && value < EXACT) {
        return None;
    }
    #[expect(clippy::as_conversions, reason = "between 0 and 2^53, where the cast only drops the fraction")]
    Some(value as u64)
}

/// What the whole document may still hold, and which of our rules it has broken: serde's errors are text only.
struct Budget {
    values_left: Cell<usize>,
    broken: Cell<Option<Malformed>>,
}

impl Budget {
    fn refuse<E: serde::de::Error>(&self, rule: Malformed) -> E {
        self.broken.set(Some(rule));
        E::custom("refused")
    }
}

#[derive(Clone, Copy)]
struct Reading<'b> {
    budget: &'b Budget,
    depth_left: usize,
}

impl Reading<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.budget.refuse(Malformed::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        match self.budget.values_left.get().checked_sub(1) {
            Some(left) => self.budget.values_left.set(left),
            None => return Err(self.budget.refuse(Malformed::TooManyValues)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(u64::try_from(value).map_or(Number::Negative(value), Number::Unsigned)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        if value.is_finite() { Ok(Json::Number(Number::Float(value))) } else { Err(E::custom("not finite")) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            members.push((name, access.next_value_seed(inner)?));
        }
        if has_duplicate(&members) {
            Err(self.budget.refuse(Malformed::DuplicateName))
        } else {
            Ok(Json::Object(members))
        }
    }
}

/// Sorting keeps the work of a hostile object far below the square of its members.
fn has_duplicate(members: &[(String, Json)]) -> bool {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [left, right] if left == right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Json, Malformed> {
        parse(text.as_ref(), 1 << 20)
    }

    #[test]
    fn values_keep_their_kind_and_order() {
        let json = read(r#" {"b":[null,true,-1,1,1.5,18446744073709551615,"\u00e9\ud83d\ude00"],"a":{}} "#).unwrap();
        assert_eq!(
            json,
            Json::Object(vec![
                (
                    "b".into(),
                    Json::List(vec![
                        Json::Null,
                        Json::Bool(true),
                        Json::Number(Number::Negative(-1)),
                        Json::Number(Number::Unsigned(1)),
                        Json::Number(Number::Float(1.5)),
                        Json::Number(Number::Unsigned(u64::MAX)),
                        Json::Text("\u{e9}\u{1f600}".into()),
                    ])
                ),
                ("a".into(), Json::Object(vec![])),
            ])
        );
    }

    #[test]
    fn malformed_documents_are_refused_by_their_rule() {
        for (text, malformed) in [
            (&b""[..], Malformed::Syntax),
            (b" ", Malformed::Syntax),
            (b"{", Malformed::Syntax),
            (b"{} {}", Malformed::Syntax),
            (b"{}x", Malformed::Syntax),
            (b"{}\0", Malformed::Syntax),
            (b"[1,]", Malformed::Syntax),
            (b"{\"a\":1,}", Malformed::Syntax),
            (b"{'a':1}", Malformed::Syntax),
            (b"{a:1}", Malformed::Syntax),
            (b"{1:1}", Malformed::Syntax),
            (b"// c\n{}", Malformed::Syntax),
            (b"NaN", Malformed::Syntax),
            (b"Infinity", Malformed::Syntax),
            (b"1e999", Malformed::Syntax),
            (b"01", Malformed::Syntax),
            (b"+1", Malformed::Syntax),
            (b"0x1", Malformed::Syntax),
            (b"\"\xff\"", Malformed::Syntax),
            (b"\"\\ud800\"", Malformed::Syntax),
            (b"\"a\nb\"", Malformed::Syntax),
            (b"\"\\x41\"", Malformed::Syntax),
            (b"\xef\xbb\xbf{}", Malformed::ByteOrderMark),
            (b"\xff\xfe{\0}\0", Malformed::Syntax),
            (b"{\"a\":1,\"a\":1}", Malformed::DuplicateName),
            (b"{\"a\":1,\"b\":2,\"\\u0061\":3}", Malformed::DuplicateName),
            (b"[{\"x\":{\"a\":1,\"a\":2}}]", Malformed::DuplicateName),
            (b"{\"\":1,\"\":2}", Malformed::DuplicateName),
        ] {
            assert_eq!(read(text), Err(malformed), "{:?}", String::from_utf8_lossy(text));
        }
        assert!(read(r#"{"a":1,"A":1,"a ":1}"#).is_ok());
        assert_eq!(parse(b"[1]", 3), Ok(Json::List(vec![Json::Number(Number::Unsigned(1))])));
        assert_eq!(parse(b"[1]", 2), Err(Malformed::TooLong));
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(limits::JSON_DEPTH_MAX)).is_ok());
        assert_eq!(read(nested(limits::JSON_DEPTH_MAX + 1)), Err(Malformed::TooDeep));
        assert_eq!(read("[".repeat(1 << 20)), Err(Malformed::TooDeep));
        let objects = "{\"a\":".repeat(limits::JSON_DEPTH_MAX + 1);
        assert_eq!(read(objects), Err(Malformed::TooDeep));
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert!(read(list(limits::JSON_VALUES_MAX - 1)).is_ok());
        assert_eq!(read(list(limits::JSON_VALUES_MAX)), Err(Malformed::TooManyValues));
    }

    #[test]
    fn cve_2026_25537_a_wrong_type_is_not_an_absence() {
        let json = read(r#"{"t":"x","n":null,"i":1,"l":["a"],"m":["a",1],"o":{},"b":true}"#).unwrap();
        assert_eq!(json.optional_text("t"), Ok(Some("x")));
        assert_eq!(json.optional_text("missing"), Ok(None));
        assert_eq!(json.required_text("missing"), Err(Unfit::Absent));
        for name in ["n", "i", "l", "o", "b"] {
            assert_eq!(json.optional_text(name), Err(WrongType), "{name}");
            assert_eq!(json.required_text(name), Err(Unfit::WrongType), "{name}");
        }
        assert_eq!(json.optional_text_list("l"), Ok(Some(vec!["a"])));
        assert_eq!(json.required_text_list("missing"), Err(Unfit::Absent));
        for name in ["t", "n", "i", "m", "o"] {
            assert_eq!(json.optional_text_list(name), Err(WrongType), "{name}");
        }
        assert_eq!(json.optional_bool("b"), Ok(Some(true)));
        assert_eq!(json.optional_bool("i"), Err(WrongType));
        assert_eq!(json.optional_unsigned("i"), Ok(Some(1)));
        assert!(json.optional_object("o").unwrap().is_some() && json.optional_object("l").is_err());
        assert!(json.optional_list("l").unwrap().is_some() && json.optional_list("o").is_err());
        for other in ["null", "[]", "\"t\"", "1"] {
            assert_eq!(read(other).unwrap().optional_text("t"), Err(WrongType), "{other}");
            assert_eq!(read(other).unwrap().member("t"), None, "{other}");
        }
        assert_eq!(json.member("t").unwrap().text_or_texts(), Ok(vec!["x"]));
        assert_eq!(json.member("l").unwrap().text_or_texts(), Ok(vec!["a"]));
        assert_eq!(json.member("m").unwrap().text_or_texts(), Err(WrongType));
        assert_eq!(json.without_nulls().optional_text("n"), Ok(None));
    }

    #[test]
    fn seconds_are_whole_and_not_negative() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000)),
            ("1700000000.9", Some(1_700_000_000)),
            ("1.7e9", Some(1_700_000_000)),
            ("0.0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-0", None),
            ("-1", None),
            ("-0.5", None),
            ("1e300", None),
            ("18446744073709551616", None),
            ("\"1700000000\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
        ] {
            let json = read(format!("{{\"exp\":{text}}}")).unwrap();
            assert_eq!(json.optional_seconds("exp"), seconds.map(Some).ok_or(WrongType), "{text}");
        }
        let json = read("{}").unwrap();
        assert_eq!((json.optional_seconds("exp"), json.required_seconds("exp")), (Ok(None), Err(Unfit::Absent)));
        assert_eq!(read("1.0").unwrap().unsigned(), Err(WrongType));
    }

    #[test]
    fn p11_debug_prints_the_shape_only() {
        let json = read(r#"{"access_token":"hush","list":["hush",1],"Hush hush":{"n":null,"b":true,"i":42}}"#).unwrap();
        assert_eq!(
            format!("{json:?}"),
            r#"{"access_token": text, "list": list(2), "..": {"n": null, "b": bool, "i": number}}"#
        );
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<u64>().prop_map(|value| Json::Number(Number::Unsigned(value))),
            (i64::MIN..0).prop_map(|value| Json::Number(Number::Negative(value))),
            any::<String>().prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(json in any_json()) {
            prop_assert_eq!(read(json.to_string()), Ok(json));
        }
    }
}
