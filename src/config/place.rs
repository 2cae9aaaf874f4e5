//! A place in the file: what is read there, from the environment too, and what is wrong there.

use super::complaint::{Complaint, Complaints, Wrong, wrong};
use super::surroundings::{Surroundings, Unreadable};
use portcullis_domain::limits::TEXT_VALUE_MAX;
use portcullis_domain::secret::SecretText;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;

/// One reading of one configuration.
pub(super) struct Reading<'r> {
    around: &'r dyn Surroundings,
    complaints: RefCell<Vec<Complaint>>,
}

impl<'r> Reading<'r> {
    pub(super) fn new(around: &'r dyn Surroundings) -> Self {
        Self { around, complaints: RefCell::default() }
    }

    /// Where the file as a whole stands.
    pub(super) fn root(&'r self) -> Place<'r> {
        Place { path: String::new(), reading: self }
    }

    /// The value, if nothing was wrong.
    pub(super) fn close<T>(self, value: Option<T>) -> Result<T, Complaints> {
        let complaints = self.complaints.into_inner();
        match value {
            Some(value) if complaints.is_empty() => Ok(value),
            _ if complaints.is_empty() => Err(Complaints::one("cannot be read", "report this as a defect")),
            _ => Err(Complaints(complaints)),
        }
    }
}

/// A place in the file, and the way to complain about it.
#[derive(Clone)]
pub(super) struct Place<'r> {
    path: String,
    reading: &'r Reading<'r>,
}

impl<'r> Place<'r> {
    /// The value of a key of the object here.
    #[inline(never)]
    pub(super) fn key(&self, name: &str) -> Place<'r> {
        Place { path: member_path(&self.path, name), reading: self.reading }
    }

    /// An element of the list here.
    #[inline(never)]
    pub(super) fn item(&self, index: usize) -> Place<'r> {
        Place { path: item_path(&self.path, index), reading: self.reading }
    }

    /// Says what is wrong here.
    pub(super) fn complain(&self, wrong: impl Into<Cow<'static, str>>, instead: impl Into<Cow<'static, str>>) {
        self.note(wrong.into(), instead.into());
    }

    #[inline(never)]
    fn note(&self, wrong: Cow<'static, str>, instead: Cow<'static, str>) {
        self.reading.complaints.borrow_mut().push(Complaint { path: self.path.clone(), wrong, instead });
    }

    /// A good value as it is; a [`Wrong`] becomes a complaint about this place.
    pub(super) fn take<T>(&self, value: Result<T, Wrong>) -> Option<T> {
        value.map_err(|wrong| self.complain(wrong.wrong, wrong.instead)).ok()
    }

    /// The text here, taken from the environment if it is written as `"${NAME}"`.
    #[inline(never)]
    pub(super) fn text(&self, json: &Json) -> Option<SecretText> {
        let Json::String(text) = json else {
            self.complain("is not a string", "write it in double quotes");
            return None;
        };
        let text = match variable_name(text) {
            Ok(None) => SecretText::new(text.clone()),
            Ok(Some(name)) => match self.reading.around.variable(name) {
                Some(value) => value,
                None => {
                    let wrong = format!("asks for the environment variable {name}, which is not set");
                    self.complain(wrong, "set the variable or write the value here");
                    return None;
                }
            },
            Err(wrong) => return self.take(Err(wrong)),
        };
        self.take(plain(text.expose()).map(|()| text.clone()))
    }

    /// The text of a file named here; nothing after a complaint.
    #[inline(never)]
    pub(super) fn file(&self, path: &Path) -> Option<SecretText> {
        match self.reading.around.file(path) {
            Ok(text) => Some(text),
            Err(why) => {
                self.complain(why.words(), "mend the path or the file");
                None
            }
        }
    }

    /// The text of a file, or nothing if it does not exist, which the caller has a use for.
    pub(super) fn file_if_present(&self, path: &Path) -> Option<Option<SecretText>> {
        match self.reading.around.file(path) {
            Err(Unreadable::Absent) => Some(None),
            _ => self.file(path).map(Some),
        }
    }
}

/// The name in `"${NAME}"`, if the text is of that form.
fn variable_name(text: &str) -> Result<Option<&str>, Wrong> {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match name {
        Some(name)
            if !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) =>
        {
            Ok(Some(name))
        }
        _ if text.contains("${") => Err(wrong(
            "mixes an environment variable with other text, or names one that no shell could set",
            "write \"${NAME}\" as the whole value",
        )),
        _ => Ok(None),
    }
}

/// What holds for every text: there is some, not too much of it, and nothing invisible in it.
fn plain(text: &str) -> Result<(), Wrong> {
    match text {
        "" => Err(wrong("is empty", "give a value or leave the key out")),
        _ if text.len() > TEXT_VALUE_MAX => Err(wrong("is too long", "write at most 2048 bytes")),
        _ if text.chars().any(char::is_control) => {
            Err(wrong("contains a line break or another control character", "remove it"))
        }
        _ if text.trim() != text => Err(wrong("begins or ends with a space", "remove it")),
        _ => Ok(()),
    }
}

/// The path of a member of the object at `path`.
pub(super) fn member_path(path: &str, name: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}", printable(name))
}

/// The path of an element of the list at `path`.
pub(super) fn item_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// A key of the file as a complaint may show it: short and without control characters.
fn printable(key: &str) -> String {
    let mut shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
    if key.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// `"${NAME}"` as the whole value.
pub(super) const VARIABLE_PATTERN: &str = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$";
