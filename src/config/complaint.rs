//! What is wrong with a configuration: where, what, and what to write instead.

use std::borrow::Cow;
use std::fmt;

/// One thing that is wrong. It holds names of keys and words of this program, never a value that was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where: a path such as `resources[0].upstream`, or empty for the file as a whole.
    pub path: String,
    /// What is wrong there, so that it can follow the path in a sentence.
    pub wrong: Cow<'static, str>,
    /// What to do instead, as an order.
    pub instead: Cow<'static, str>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the configuration" } else { &self.path };
        write!(out, "{place}: {}; {}", self.wrong, self.instead)
    }
}

/// Everything that is wrong with one configuration, in the order of the table of keys; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaints(pub Vec<Complaint>);

impl Complaints {
    /// The one complaint that leaves nothing else to be judged.
    pub(super) fn one(wrong: impl Into<Cow<'static, str>>, instead: &'static str) -> Self {
        Self(vec![Complaint { path: String::new(), wrong: wrong.into(), instead: instead.into() }])
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|complaint| writeln!(out, "{complaint}"))
    }
}

impl std::error::Error for Complaints {}

/// What a reader of one text says of it, in words that were known before the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) wrong: &'static str,
    pub(super) instead: &'static str,
}

/// Short for making a [`Wrong`].
pub(super) const fn wrong(wrong: &'static str, instead: &'static str) -> Wrong {
    Wrong { wrong, instead }
}
