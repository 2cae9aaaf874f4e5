//! From the text of the file to its JSON, strictly, and where it is not good JSON.

use super::complaint::Complaints;
use portcullis_domain::limits::{CONFIG_FILE_MAX, JSON_DEPTH_MAX, JSON_VALUES_MAX};
use portcullis_domain::wire::json::{self, Malformed, Number};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fmt;

/// The one document of the file.
pub(super) fn parse(text: &str) -> Result<Json, Complaints> {
    json::parse(text.as_bytes(), CONFIG_FILE_MAX).map(plain).map_err(|malformed| match malformed {
        Malformed::TooLong => Complaints::one("is too long", "keep it below 1 MiB"),
        Malformed::ByteOrderMark => Complaints::one("begins with a byte order mark", "save it as UTF-8 without one"),
        Malformed::Syntax => {
            // The position of an error is two numbers; its text might quote the file.
            let place = serde_json::from_str::<IgnoredAny>(text).err().filter(|error| error.line() > 0);
            let place = place.map(|error| format!(" at line {}, column {}", error.line(), error.column()));
            Complaints::one(
                format!("is not JSON{}", place.unwrap_or_default()),
                "mend it there or just before: a comma, a quote or a bracket too many or too few, or a comment",
            )
        }
        Malformed::TooDeep => {
            Complaints::one(format!("nests deeper than {JSON_DEPTH_MAX} levels"), "no key needs more than a few")
        }
        Malformed::TooManyValues => {
            Complaints::one(format!("holds more than {JSON_VALUES_MAX} values"), "keep what is needed")
        }
        Malformed::DuplicateName => duplicates(text),
    })
}

/// The same value in the form that schemas and defaults have too.
fn plain(json: json::Json) -> Json {
    match json {
        json::Json::Null => Json::Null,
        json::Json::Bool(value) => Json::Bool(value),
        json::Json::Number(Number::Unsigned(value)) => value.into(),
        json::Json::Number(Number::Negative(value)) => value.into(),
        json::Json::Number(Number::Float(value)) => value.into(),
        json::Json::Text(text) => Json::String(text),
        json::Json::List(items) => Json::Array(items.into_iter().map(plain).collect()),
        json::Json::Object(members) => {
            Json::Object(members.into_iter().map(|(name, value)| (name, plain(value))).collect())
        }
    }
}

/// Where names stand twice, in a text that was refused for it.
fn duplicates(text: &str) -> Complaints {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    // A text that ends in an error has shown its duplicates up to there, which is enough to go on.
    let _end = Finder { path: String::new(), found: &mut found }.deserialize(&mut reader);
    let complaints = found.into_iter().map(|path| super::Complaint {
        path,
        wrong: "is there twice".into(),
        instead: "keep one of the two".into(),
    });
    let complaints: Vec<_> = complaints.collect();
    if complaints.is_empty() {
        Complaints::one("has a key twice", "keep one of the two")
    } else {
        Complaints(complaints)
    }
}

/// Walks one value and notes the path of every name that its object has had already.
struct Finder<'f> {
    path: String,
    found: &'f mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = super::place::member_path(&self.path, &name);
            if !names.insert(name) {
                self.found.push(path.clone());
            }
            members.next_value_seed(Finder { path, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index: usize = 0;
        let path = |index| super::place::item_path(&self.path, index);
        while items.next_element_seed(Finder { path: path(index), found: self.found })?.is_some() {
            index = index.saturating_add(1);
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        parse(text).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_duplicate_is_named_by_its_path() {
        let text = r#"{"a": 1, "b": [true, {"c": "x", "c": null}], "a": 2.5, "d": {"e": -1, "f": {}, "e": []}}"#;
        assert_eq!(
            said(text),
            [
                "b[1].c: is there twice; keep one of the two",
                "a: is there twice; keep one of the two",
                "d.e: is there twice; keep one of the two",
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_named_by_its_position_and_not_quoted() {
        let [said] = said("{\n  \"clientSecret\": hush\n}").try_into().unwrap();
        assert!(said.starts_with("the configuration: is not JSON at line 2, column 19"), "{said}");
        assert!(!said.contains("hush"), "{said}");
        for (text, what) in [
            ("", "is not JSON"),
            ("{} {}", "is not JSON at line 1, column 4"),
            ("{// comment\n}", "is not JSON"),
            ("\u{feff}{}", "byte order mark"),
            ("{\"a\": 1,}", "is not JSON"),
        ] {
            assert!(super::parse(text).unwrap_err().to_string().contains(what), "{text}");
        }
        assert!(super::parse(&"[".repeat(100_000)).unwrap_err().to_string().contains("nests deeper"));
        assert!(super::parse(&" ".repeat(CONFIG_FILE_MAX + 1)).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn values_come_out_as_they_went_in() {
        let text = r#"{"a":[null,true,1,-1,1.5,"x"],"b":{}}"#;
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
}
