//! Where fields go: into a map, or straight into the lines of a head.

use super::Introduced;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Takes fields, in the order in which they go out.
pub trait Fields {
    /// One more.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);

    /// All that is said of somebody.
    fn introduce(&mut self, who: &Introduced) {
        who.fields().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| self.put(name, &value));
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }
}

/// Fields as lines of a head (RFC 9112 section 5).
pub(in crate::http) struct Lines<'a>(pub(in crate::http) &'a mut Vec<u8>);

impl Fields for Lines<'_> {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        put_line(self.0, name, value);
    }

    fn introduce(&mut self, who: &Introduced) {
        self.0.extend_from_slice(who.lines());
    }
}

/// One more line.
pub(super) fn put_line(lines: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    lines.extend_from_slice(name.as_str().as_bytes());
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value.as_bytes());
    lines.extend_from_slice(b"\r\n");
}
