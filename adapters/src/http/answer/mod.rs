//! The answers of an upstream as they arrive on one connection, read without a socket: what has two readings is no answer.
//!
//! `head` reads the head and keeps of it what may go on to the client; `ends` knows where the body ends.
//!
//! RFC 9112 sections 4 (status line), 5 (fields), 6.3 (length of the body), 7.1 (chunked coding) and 9.3 (persistence).

mod ends;
mod head;

use hyper::HeaderMap;
use hyper::body::{Bytes, SizeHint};
use portcullis_domain::limits;

use super::framing::Misframed;
use ends::Ends;
pub use ends::Piece;
pub use head::{Head, Misanswered};

/// Reads the answers of one connection, one after the other.
#[derive(Debug)]
pub struct Reader {
    /// What came and has not been read.
    heard: Bytes,
    /// Where in it the first line of a head begins that has not come whole.
    line: usize,
    /// Heads of interim answers since the last other one.
    interim: usize,
    ends: Ends,
    keeps: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// At the begin of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { heard: Bytes::new(), line: 0, interim: 0, ends: Ends::Here, keeps: true }
    }

    /// Takes the bytes that came next.
    pub fn hear(&mut self, came: &[u8]) {
        self.heard = if self.heard.is_empty() {
            Bytes::copy_from_slice(came)
        } else {
            let mut all = Vec::from(std::mem::take(&mut self.heard));
            all.extend_from_slice(came);
            all.into()
        };
    }

    /// The head of the next answer, if it has come whole. Interim answers (RFC 9110 section 15.2) are left out. `is_head`: it
    /// answers a HEAD request, which has no body. `room` is a map whose room the fields may take.
    ///
    /// # Errors
    /// [`Misanswered`]: the connection must end.
    pub fn head(&mut self, is_head: bool, room: &mut HeaderMap) -> Result<Option<Head>, Misanswered> {
        while let Some(end) = head::end(&self.heard, &mut self.line)? {
            self.line = 0;
            let head = Head::read(&self.heard.split_to(end), is_head, room)?;
            if !head.is_interim() {
                self.interim = 0;
                self.ends = head.ends.clone();
                self.keeps = head.keeps;
                return Ok(Some(head));
            }
            self.interim = self.interim.saturating_add(1);
            if self.interim > limits::UPSTREAM_INTERIM_MAX {
                return Err(Misanswered::TooLarge);
            }
        }
        Ok(None)
    }

    /// What comes next of the answer's body.
    ///
    /// # Errors
    /// [`Misframed`]: the connection must end.
    pub fn data(&mut self) -> Result<Piece, Misframed> {
        self.ends.take(&mut self.heard)
    }

    /// The connection was closed. Whether that is the end of the body.
    pub fn close(&mut self) -> bool {
        self.keeps = false;
        if self.ends == Ends::Close {
            self.ends = Ends::Here;
        }
        self.ends == Ends::Here
    }

    /// Whether the body is at its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.ends == Ends::Here
    }

    /// How long the rest of the body is, as far as that is known.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self.ends {
            Ends::Here => SizeHint::with_exact(0),
            Ends::Length(length) => SizeHint::with_exact(length),
            Ends::Chunked(_) | Ends::Close => SizeHint::default(),
        }
    }

    /// Whether something came that has not been read.
    pub(super) fn has_more(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Whether another answer may follow: this one is read, and nothing has come behind it.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps && self.is_at_end() && !self.has_more()
    }
}
