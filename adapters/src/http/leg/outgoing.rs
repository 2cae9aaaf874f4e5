//! A request on its way to an upstream.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes};
use hyper::{Method, Uri};
use tokio::io::AsyncWrite;

use crate::http::address::Stream;
use crate::http::body::{BodyFault, RequestBody};
use crate::http::headers::Lines;

/// A request, as far as it has not been written.
#[derive(Debug)]
pub(in crate::http) struct Outgoing {
    /// Head and body, as far as they are made; the head first.
    made: Vec<u8>,
    /// How long the head is, as long as none of it was written.
    head: usize,
    /// How much of what is made is written.
    written: usize,
    /// Some of it was written, and not all that is made now has to be from the begin.
    has_left: bool,
    /// As long as it has not come to its end.
    body: Option<RequestBody>,
    /// How long all of it is; nothing if it comes in chunks.
    length: Option<u64>,
    /// The upstream takes no more of it.
    refused: bool,
}

/// Why a request does not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Its own body did not come to its end.
    Body(BodyFault),
    /// The connection takes no more.
    Refused,
}

impl Outgoing {
    /// A request without its head, which depends on where it goes.
    pub(in crate::http) fn new(body: RequestBody) -> Self {
        let length = body.size_hint().exact();
        Self { made: Vec::new(), head: 0, written: 0, has_left: false, body: Some(body), length, refused: false }
    }

    /// Makes the head: that of a request of which nothing was written, and which no connection has refused. One that was made for
    /// another connection goes, and what was made of the body stays behind the new one. `fields` is handed what takes them, in lower
    /// case; those of the framing (RFC 9112 section 6) are made here.
    pub(in crate::http) fn head(&mut self, method: &Method, target: &Uri, fields: impl FnOnce(&mut Lines<'_>)) {
        let before = std::mem::replace(&mut self.made, Vec::with_capacity(HEAD));
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        for piece in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
            self.made.extend_from_slice(piece.as_bytes());
        }
        fields(&mut Lines(&mut self.made));
        let expects_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        match self.length {
            None => self.made.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Some(length) if length > 0 || expects_body => {
                self.made.extend_from_slice(b"content-length: ");
                put_digits(&mut self.made, length);
                self.made.extend_from_slice(b"\r\n");
            }
            Some(_) => {}
        }
        self.made.extend_from_slice(b"\r\n");
        let body = before.get(self.head..).unwrap_or_default();
        self.head = self.made.len();
        self.made.extend_from_slice(body);
        self.refused = false;
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.body = None;
        }
    }

    /// Whether any of it was written: then it must not be sent again.
    pub(super) fn has_left(&self) -> bool {
        self.has_left
    }

    /// Writes what there is, and says when all of it is written.
    pub(super) fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.refused {
            return Poll::Pending;
        }
        let sent = self.poll_write(stream, cx);
        self.refused = matches!(sent, Poll::Ready(Err(_)));
        sent
    }

    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            self.gather(cx).map_err(Unsent::Body)?;
            let left = self.made.get(self.written..).unwrap_or_default();
            if left.is_empty() {
                let was_enough = self.made.len() >= GATHER;
                self.made = Vec::new();
                self.written = 0;
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(|_| Unsent::Refused)?;
                match &self.body {
                    None => return Poll::Ready(Ok(())),
                    // The body was not asked for more as long as there was enough to write: nobody would say that more is there.
                    Some(_) if was_enough => continue,
                    Some(_) => return Poll::Pending,
                }
            }
            match ready!(Pin::new(&mut *stream).poll_write(cx, left)) {
                Ok(count @ 1..) => {
                    self.has_left = true;
                    self.written = self.written.saturating_add(count);
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Unsent::Refused)),
            }
        }
    }

    /// Takes up what has come of the body, until there is enough for one writing.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), BodyFault> {
        while let Some(body) = &mut self.body
            && self.made.len() < GATHER
        {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => {
                    self.body = None;
                    if self.length.is_none() {
                        self.made.extend_from_slice(b"0\r\n\r\n");
                    }
                }
                Poll::Ready(Some(frame)) => {
                    let ended = body.is_end_stream();
                    // A request body has no other frames.
                    let data = frame?.into_data().unwrap_or_default();
                    self.put(&data);
                    if ended && self.length.is_some() {
                        self.body = None;
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, data: &Bytes) {
        match self.length {
            _ if data.is_empty() => {}
            Some(_) => self.made.extend_from_slice(data),
            None => {
                let _ = write!(self.made, "{:x}\r\n", data.len());
                self.made.extend_from_slice(data);
                self.made.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Writes a number, without what formatting costs.
fn put_digits(to: &mut Vec<u8>, number: u64) {
    let begin = to.len();
    let mut left = number;
    loop {
        to.push(b'0'.saturating_add(u8::try_from(left % 10).unwrap_or_default()));
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if let Some(digits) = to.get_mut(begin..) {
        digits.reverse();
    }
}

/// What most heads and a small body fit into.
const HEAD: usize = 1_024;
/// Bytes that are enough for one writing.
const GATHER: usize = 16 * 1024;
