//! The protocol of Valkey and Redis, without sockets: RESP3, and RESP2, which is a part of it.
//!
//! Source: the RESP specification of Redis, versions 2 and 3. What those servers never send is not read: attributes, streamed
//! strings and streamed aggregates end the connection like anything else that is no RESP.

mod decoder;
mod encoder;

pub use decoder::{Decoder, Violation};
pub use encoder::command;

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A simple, bulk or verbatim string; a double or a big number as its text.
    Text(Vec<u8>),
    /// An error, simple or bulk.
    Error(Vec<u8>),
    /// An integer.
    Number(i64),
    /// A boolean, which only RESP3 has.
    Boolean(bool),
    /// Nothing, in any of its three spellings.
    Null,
    /// An array or a set; a map as its keys and values in turn, as RESP2 has it.
    List(Vec<Self>),
}

impl Value {
    /// The bytes of a text.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn str(&self) -> Option<&str> {
        self.text().and_then(|text| std::str::from_utf8(text).ok())
    }

    /// An integer, however it is written.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { self.str()?.parse().ok() }
    }

    /// The items of a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The value behind a name, in a list of names and values.
    #[must_use]
    pub fn under(&self, name: &[u8]) -> Option<&Self> {
        let (pairs, _) = self.list()?.as_chunks::<2>();
        pairs.iter().find(|[key, _]| key.text() == Some(name)).map(|[_, value]| value)
    }
}

/// One thing that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The answer to the oldest command that has none yet.
    Reply(Value),
    /// Something that nobody has asked for: `invalidate` and what it is about. It stands between replies, never inside of one.
    Push(Vec<Value>),
}
