//! One connection to an upstream, and what is said on it: a request goes out, its answer comes in, and then the next may.
//!
//! All of it happens where the client's request is answered: there is no task beside it, so a connection at rest costs its socket
//! and an answer wakes nobody twice.

mod outgoing;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::HeaderMap;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::address::Stream;
use super::answer::{Head, Piece, Reader};
use super::body::{BodyFault, BrokenOff};
pub(super) use outgoing::Outgoing;
use outgoing::Unsent;

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Leg {
    stream: Stream,
    /// The request, as long as some of it is still to go.
    outgoing: Option<Outgoing>,
    pub(super) reader: Reader,
}

/// Why there is no head of an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was closed before a byte of the request had left: here it is.
    Unsent(Box<Outgoing>),
    /// The request's own body did not come to its end.
    Body(BodyFault),
    /// The upstream broke off, or said what is no answer.
    Broken,
}

impl Leg {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, outgoing: None, reader: Reader::new() }
    }

    /// Whether a request may be sent on it. Its other end may have closed it, and whatever it has said unasked would be taken
    /// for the answer to the next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }

    /// Begins a request.
    pub(super) fn begin(&mut self, outgoing: Outgoing) {
        self.outgoing = Some(outgoing);
    }

    /// Sends what goes out of the request, and reads the head of its answer, which may come before all has gone out. `room` is a map
    /// whose room its fields may take.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        is_head: bool,
        room: &mut HeaderMap,
    ) -> Poll<Result<Head, Failure>> {
        if let Err(fault) = self.send(cx) {
            return Poll::Ready(Err(Failure::Body(fault)));
        }
        loop {
            match self.reader.head(is_head, room) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Failure::Broken)),
            }
            if !matches!(ready!(self.poll_hear(cx)), Ok(true)) {
                return Poll::Ready(Err(self.broken_off()));
            }
        }
    }

    /// The next piece of the answer's body; nothing at its end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        // Where the request breaks off the answer still goes on: it may be the upstream's word on it.
        let _ = self.send(cx);
        loop {
            match self.reader.data() {
                Err(_) => return Poll::Ready(Some(Err(BrokenOff))),
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => match ready!(self.poll_hear(cx)) {
                    Ok(true) => {}
                    Ok(false) if self.reader.close() => {}
                    Ok(false) | Err(_) => return Poll::Ready(Some(Err(BrokenOff))),
                },
            }
        }
    }

    /// Whether another request may follow: this one is out, its answer is in, and nothing has come behind it.
    pub(super) fn keeps(&self) -> bool {
        self.outgoing.is_none() && self.reader.keeps()
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), BodyFault> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(()) };
        match outgoing.poll_send(&mut self.stream, cx) {
            Poll::Ready(Ok(())) => self.outgoing = None,
            Poll::Ready(Err(Unsent::Body(fault))) => return Err(fault),
            // An upstream that stops listening may have answered already: whether it has is read next.
            Poll::Ready(Err(Unsent::Refused)) | Poll::Pending => {}
        }
        Ok(())
    }

    /// The connection ended before an answer began.
    fn broken_off(&mut self) -> Failure {
        match self.outgoing.take() {
            Some(outgoing) if !outgoing.has_left() && !self.reader.has_more() => Failure::Unsent(Box::new(outgoing)),
            _ => Failure::Broken,
        }
    }

    /// Hears more, if there is any. It is read to the stack first, so that nothing is held while nothing comes.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let came = buffer.filled();
        self.reader.hear(came);
        Poll::Ready(Ok(!came.is_empty()))
    }
}

/// Bytes that are read at a time.
const READ: usize = 16 * 1024;
