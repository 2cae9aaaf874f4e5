//! JSON answers, written in the order in which they are meant to be read.
//!
//! RFC 8259 sections 4 and 7.

use super::json::{Json, Number};
use std::fmt;

/// Writes a JSON string with its quotes. The result is one line to every reader, also to those that end lines at U+2028.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    push_quoted(&mut out, text);
    out
}

/// Writes a JSON object, its members in the order in which they are added. The caller adds no name twice.
#[derive(Clone)]
pub struct ObjectWriter(String);

impl ObjectWriter {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.member(name, |out| push_quoted(out, value))
    }

    /// Adds a string, where there is one.
    #[must_use]
    pub fn optional_text(self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value { self.text(name, value) } else { self }
    }

    /// Adds an integer.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        self.member(name, |out| out.push_str(&value.to_string()))
    }

    /// Adds `true` or `false`.
    #[must_use]
    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.member(name, |out| out.push_str(if value { "true" } else { "false" }))
    }

    /// Adds an array of strings.
    #[must_use]
    pub fn texts<T: AsRef<str>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.member(name, |out| push_list(out, values, |out, value| push_quoted(out, value.as_ref())))
    }

    /// Adds an object.
    #[must_use]
    pub fn object(self, name: &str, value: Self) -> Self {
        self.member(name, |out| out.push_str(&value.finish()))
    }

    /// Adds an array of objects.
    #[must_use]
    pub fn objects(self, name: &str, values: impl IntoIterator<Item = Self>) -> Self {
        self.member(name, |out| push_list(out, values, |out, value| out.push_str(&value.finish())))
    }

    /// Adds a value that was read.
    #[must_use]
    pub fn json(self, name: &str, value: &Json) -> Self {
        self.member(name, |out| push_json(out, value))
    }

    /// The object's text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn member(mut self, name: &str, write: impl FnOnce(&mut String)) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_quoted(&mut self.0, name);
        self.0.push(':');
        write(&mut self.0);
        self
    }
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ObjectWriter(..)")
    }
}

pub(super) fn push_json(out: &mut String, value: &Json) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(Number::Unsigned(value)) => out.push_str(&value.to_string()),
        Json::Number(Number::Negative(value)) => out.push_str(&value.to_string()),
        // The exponent keeps the reader from taking a whole float for an integer.
        Json::Number(Number::Float(value)) => out.push_str(&format!("{value:e}")),
        Json::Text(text) => push_quoted(out, text),
        Json::List(elements) => push_list(out, elements, push_json),
        Json::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_quoted(out, name);
                out.push(':');
                push_json(out, value);
            }
            out.push('}');
        }
    }
}

fn push_list<T>(out: &mut String, values: impl IntoIterator<Item = T>, push: impl Fn(&mut String, T)) {
    out.push('[');
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, value);
    }
    out.push(']');
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            control if control.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;
    use proptest::prelude::*;

    #[test]
    fn answers_keep_the_order_in_which_they_were_written() {
        let text = ObjectWriter::new()
            .text("z", "a\"b\\c\n\u{1}\u{7f}\u{2028}</script>\u{e9}")
            .number("y", 3600)
            .boolean("x", false)
            .optional_text("w", None)
            .optional_text("v", Some("1"))
            .texts("u", ["a", "b"])
            .texts::<&str>("t", [])
            .object("s", ObjectWriter::new())
            .objects("r", [ObjectWriter::new().number("a", 1), ObjectWriter::default()])
            .json("q", &json::parse(b"[1.0,-2,{\"a\":null}]", 64).unwrap())
            .finish();
        assert_eq!(
            text,
            "{\"z\":\"a\\\"b\\\\c\\n\\u0001\\u007f\\u2028</script>\u{e9}\",\"y\":3600,\"x\":false,\"v\":\"1\",\
             \"u\":[\"a\",\"b\"],\"t\":[],\"s\":{},\"r\":[{\"a\":1},{}],\"q\":[1e0,-2,{\"a\":null}]}"
        );
        assert!(json::parse(text.as_bytes(), 1024).is_ok());
        assert_eq!(ObjectWriter::new().finish(), "{}");
    }

    #[test]
    fn p11_debug_prints_nothing_of_an_answer() {
        assert_eq!(format!("{:?}", ObjectWriter::new().text("access_token", "hush")), "ObjectWriter(..)");
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_one_line_and_comes_back(text: String) {
            let quoted = quote(&text);
            let ends_a_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            prop_assert!(!quoted.contains(ends_a_line));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
    }
}
