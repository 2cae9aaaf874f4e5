//! The table of keys: how one row says name, type, default and meaning, and serves reading and schema alike.
//!
//! [`keys!`] turns a table into a struct and the one walk over its rows. The walk either reads an object or describes it;
//! a key that is read is described, a key that is described is read, and its value has nowhere to go but into the struct.

use super::complaint::Wrong;
use super::place::{Place, VARIABLE_PATTERN};
use serde_json::{Map, Value as Json, json};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A struct from a table of keys: `field: Type = rule(arguments) "meaning",` where the rule is a method of [`Keys`].
///
/// With `judged as Draft by function`, the function sees every field that could be read, before any field that could not
/// be read stops the whole, so that its complaints come out together with those of the rows.
macro_rules! keys {
    ($(#[$about:meta])* pub struct $name:ident {
        $($field:ident: $type:ty = $rule:ident($($argument:expr),* $(,)?) $meaning:literal,)*
    }) => {
        $crate::config::keys::keys!(@struct $(#[$about])* $name { $($field: $type = $meaning,)* });

        impl $crate::config::keys::Part for $name {
            fn walk(keys: &mut $crate::config::keys::Keys<'_>) -> Option<Self> {
                $(let $field: Option<$type> = keys.$rule($($argument,)* $meaning);)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
    ($(#[$about:meta])* pub struct $name:ident judged as $draft:ident by $judge:path {
        $($field:ident: $type:ty = $rule:ident($($argument:expr),* $(,)?) $meaning:literal,)*
    }) => {
        $crate::config::keys::keys!(@struct $(#[$about])* $name { $($field: $type = $meaning,)* });

        /// What could be read, row by row, for the rules that need more than one row.
        pub(super) struct $draft {
            $(pub(super) $field: Option<$type>,)*
        }

        impl $crate::config::keys::Part for $name {
            fn walk(keys: &mut $crate::config::keys::Keys<'_>) -> Option<Self> {
                let draft = $draft { $($field: keys.$rule($($argument,)* $meaning),)* };
                if let Some(at) = keys.place() {
                    $judge(&draft, at);
                }
                Some(Self { $($field: draft.$field?,)* })
            }
        }
    };
    (@struct $(#[$about:meta])* $name:ident { $($field:ident: $type:ty = $meaning:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(#[doc = $meaning] pub $field: $type,)*
        }
    };
}
pub(super) use keys;

/// Lets structs made by [`keys!`] stand where a table wants a value: written as objects.
macro_rules! objects {
    ($($name:ident),*) => {$(
        impl $crate::config::keys::Value for $name {
            fn schema() -> serde_json::Value {
                $crate::config::keys::object_schema::<Self>()
            }

            fn read(json: &serde_json::Value, at: &$crate::config::place::Place<'_>) -> Option<Self> {
                $crate::config::keys::read_object(json, at)
            }
        }
    )*};
}
pub(super) use objects;

/// Several keys of one object that together make one thing.
pub(super) trait Part: Sized {
    /// Takes every row, and only then looks at what the rows gave.
    fn walk(keys: &mut Keys<'_>) -> Option<Self>;
}

/// What one JSON value is read as.
pub(super) trait Value: Sized {
    /// Its JSON Schema (draft 2020-12).
    fn schema() -> Json;
    /// Its value; nothing after at least one complaint.
    fn read(json: &Json, at: &Place<'_>) -> Option<Self>;
}

/// What a string is read as, once a `"${NAME}"` is replaced.
pub(super) trait Text: Sized {
    /// What its JSON Schema says beyond its being a string.
    fn shape() -> Json;
    /// Its value, or what is wrong with it.
    fn parse(text: &str) -> Result<Self, Wrong>;
}

/// One row as the schema needs it.
struct Key {
    name: &'static str,
    schema: Json,
    required: bool,
}

/// Keys of one object of which at most one may be given.
struct Choice {
    names: &'static [&'static str],
    required: bool,
}

/// The walk over the rows of one object: a reading if there is an object, a description if there is none.
///
/// It is walked once, at start, by rows without number: each rule is made once and not into every row that goes by it.
pub(super) struct Keys<'r> {
    object: Option<(&'r Map<String, Json>, Place<'r>)>,
    names: Vec<&'static str>,
    described: Vec<Key>,
    choices: Vec<Choice>,
}

impl<'r> Keys<'r> {
    fn of(object: Option<(&'r Map<String, Json>, Place<'r>)>) -> Self {
        Self { object, names: Vec::new(), described: Vec::new(), choices: Vec::new() }
    }

    /// Where the object stands; nothing while describing.
    pub(super) fn place(&self) -> Option<&Place<'r>> {
        self.object.as_ref().map(|(_, at)| at)
    }

    /// A key that must be there.
    #[inline(never)]
    pub(super) fn required<V: Value>(&mut self, name: &'static str, meaning: &str) -> Option<V> {
        self.row(name, meaning, true, None, &V::schema);
        match self.find(name)? {
            (Some(json), at) => V::read(json, &at),
            (None, at) => {
                at.complain("is missing", format!("add it: {}", meaning));
                None
            }
        }
    }

    /// A key that may be left out.
    #[inline(never)]
    pub(super) fn optional<V: Value>(&mut self, name: &'static str, meaning: &str) -> Option<Option<V>> {
        self.row(name, meaning, false, None, &V::schema);
        match self.find(name)? {
            (Some(json), at) => V::read(json, &at).map(Some),
            (None, _) => Some(None),
        }
    }

    /// A key with a default, which is read like a written value.
    pub(super) fn or<V: Value>(&mut self, name: &'static str, default: impl Into<Json>, meaning: &str) -> Option<V> {
        self.with_default(name, default.into(), meaning)
    }

    #[inline(never)]
    fn with_default<V: Value>(&mut self, name: &'static str, default: Json, meaning: &str) -> Option<V> {
        self.row(name, meaning, false, Some(&default), &V::schema);
        let (json, at) = self.find(name)?;
        V::read(json.unwrap_or(&default), &at)
    }

    /// A list that may be left out, which is the same as leaving it empty.
    #[inline(never)]
    pub(super) fn list<V: Value>(&mut self, name: &'static str, meaning: &str) -> Option<Vec<V>> {
        self.or(name, Json::Array(Vec::new()), meaning)
    }

    /// A list that must hold something.
    #[inline(never)]
    pub(super) fn some<V: Value>(&mut self, name: &'static str, meaning: &str) -> Option<Vec<V>> {
        let schema = || with(Vec::<V>::schema(), json!({ "minItems": 1 }));
        self.row(name, meaning, true, None, &schema);
        let (json, at) = self.find(name)?;
        let list = json.map_or(Some(Vec::new()), |json| Vec::<V>::read(json, &at))?;
        if list.is_empty() {
            at.complain("is missing or empty", format!("add it: {}", meaning));
            return None;
        }
        Some(list)
    }

    /// A duration between two bounds.
    #[inline(never)]
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        meaning: &str,
    ) -> Option<Duration> {
        let default = Json::from(spell(default));
        self.row(name, meaning, false, Some(&default), &Duration::schema);
        let (json, at) = self.find(name)?;
        let value = Duration::read(json.unwrap_or(&default), &at)?;
        if !bounds.contains(&value) {
            let instead = format!("write {} to {}", spell(*bounds.start()), spell(*bounds.end()));
            at.complain("is out of bounds", instead);
            return None;
        }
        Some(value)
    }

    /// A whole number between two bounds.
    #[inline(never)]
    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u32,
        bounds: RangeInclusive<u32>,
        meaning: &str,
    ) -> Option<u32> {
        let (least, most) = (*bounds.start(), *bounds.end());
        let default = Json::from(default);
        let schema = || json!({ "type": "integer", "minimum": least, "maximum": most });
        self.row(name, meaning, false, Some(&default), &schema);
        let (json, at) = self.find(name)?;
        let number = json.unwrap_or(&default).as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            at.complain("is not a whole number within bounds", format!("write {least} to {most}, without quotes"));
        }
        number
    }

    /// Several keys of this same object that make one thing.
    #[inline(never)]
    pub(super) fn part<P: Part>(&mut self, _meaning: &str) -> Option<P> {
        P::walk(self)
    }

    /// Says that of these keys at most one may be given, or exactly one; complains about every one too many.
    #[inline(never)]
    pub(super) fn choice(&mut self, names: &'static [&'static str], required: bool) {
        self.choices.push(Choice { names, required });
        let Some((object, at)) = &self.object else { return };
        let mut given = names.iter().filter(|name| object.contains_key(**name));
        if let Some(first) = given.next() {
            for more in given {
                at.key(more).complain(format!("is given beside {first}"), "keep one of the two");
            }
        } else if let (true, Some(first)) = (required, names.first()) {
            at.key(first).complain("is missing", format!("give one of {}", names.join(", ")));
        }
    }

    /// Notes a row: always its name, and all of it while describing.
    #[inline(never)]
    fn row(
        &mut self,
        name: &'static str,
        meaning: &str,
        required: bool,
        default: Option<&Json>,
        schema: &dyn Fn() -> Json,
    ) {
        debug_assert!(!self.names.contains(&name), "two rows are called {name}");
        self.names.push(name);
        if self.object.is_none() {
            let mut schema = with(schema(), json!({ "description": meaning }));
            if let (Json::Object(members), Some(default)) = (&mut schema, default) {
                members.insert("default".to_owned(), default.clone());
            }
            self.described.push(Key { name, schema, required });
        }
    }

    /// What the object has under a name, and where that is; nothing while describing.
    #[inline(never)]
    fn find(&self, name: &str) -> Option<(Option<&'r Json>, Place<'r>)> {
        self.object.as_ref().map(|(object, at)| (object.get(name), at.key(name)))
    }
}

/// Reads an object by its table; every key that is in no row is a complaint.
pub(super) fn read_object<P: Part>(json: &Json, at: &Place<'_>) -> Option<P> {
    let Json::Object(object) = json else {
        at.complain("is not an object", "write it in curly braces");
        return None;
    };
    let mut keys = Keys::of(Some((object, at.clone())));
    let value = P::walk(&mut keys);
    complain_of_unknown(object, &keys, at);
    value
}

#[inline(never)]
fn complain_of_unknown(object: &Map<String, Json>, keys: &Keys<'_>, at: &Place<'_>) {
    let unknown = object.keys().filter(|key| !keys.names.contains(&key.as_str()));
    for key in unknown {
        let instead = match super::nearest::nearest(key, &keys.names) {
            Some(near) => format!("did you mean {near}? If not, remove it"),
            None => format!("remove it; known here: {}", keys.names.join(", ")),
        };
        at.key(key).complain("is not a key of this version", instead);
    }
}

/// Reads an object by its table, or the short form of it that needs no object.
pub(super) fn read_short_or_object<P: Part, S: Value>(json: &Json, at: &Place<'_>, long: fn(S) -> P) -> Option<P> {
    if json.is_object() { read_object(json, at) } else { S::read(json, at).map(long) }
}

/// The JSON Schema of what [`read_short_or_object`] reads.
pub(super) fn short_or_object_schema<P: Part, S: Value>() -> Json {
    json!({ "oneOf": [S::schema(), object_schema::<P>()] })
}

/// The JSON Schema of an object by its table.
pub(super) fn object_schema<P: Part>() -> Json {
    let mut keys = Keys::of(None);
    let _nothing_to_read = P::walk(&mut keys);
    schema_of(keys)
}

#[inline(never)]
fn schema_of(keys: Keys<'_>) -> Json {
    let required: Vec<_> = keys.described.iter().filter(|key| key.required).map(|key| key.name).collect();
    let choices: Vec<_> = keys.choices.iter().map(Choice::schema).collect();
    let properties: Map<_, _> = keys.described.into_iter().map(|key| (key.name.to_owned(), key.schema)).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema = with(schema, json!({ "required": required }));
    }
    if !choices.is_empty() {
        schema = with(schema, json!({ "allOf": choices }));
    }
    schema
}

impl Choice {
    fn schema(&self) -> Json {
        let mut given: Vec<_> = self.names.iter().map(|name| json!({ "required": [name] })).collect();
        if !self.required {
            let none = json!({ "not": { "anyOf": given } });
            given.push(none);
        }
        json!({ "oneOf": given })
    }
}

/// A schema with more members.
#[inline(never)]
fn with(mut schema: Json, more: Json) -> Json {
    if let (Json::Object(schema), Json::Object(more)) = (&mut schema, more) {
        schema.extend(more);
    }
    schema
}

/// A duration as a configuration would write it.
fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) if seconds > 0 => format!("{}h", seconds / 3600),
        (_, 0) if seconds > 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

impl<T: Text> Value for T {
    fn schema() -> Json {
        let shape = T::shape();
        let narrow = ["pattern", "enum", "format"].iter().any(|rule| shape.get(rule).is_some());
        // A string may always be an environment variable instead, so a narrow shape needs the way around it.
        let shape = if narrow { json!({ "anyOf": [shape, { "pattern": VARIABLE_PATTERN }] }) } else { shape };
        with(json!({ "type": "string" }), shape)
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let text = at.text(json)?;
        at.take(T::parse(text.expose()))
    }
}

impl Value for bool {
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        if json.as_bool().is_none() {
            at.complain("is neither true nor false", "write true or false, without quotes");
        }
        json.as_bool()
    }
}

impl<V: Value> Value for Vec<V> {
    fn schema() -> Json {
        json!({ "type": "array", "items": V::schema() })
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let Json::Array(items) = json else {
            at.complain("is not a list", "write it in square brackets");
            return None;
        };
        // Every element is read, also after a bad one, so that all complaints come out.
        let read: Vec<_> = items.iter().enumerate().map(|(index, item)| V::read(item, &at.item(index))).collect();
        read.into_iter().collect()
    }
}

/// The path of a file.
pub(super) struct FilePath(pub(super) PathBuf);

impl Text for FilePath {
    fn shape() -> Json {
        json!({})
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(Self(PathBuf::from(text)))
    }
}
