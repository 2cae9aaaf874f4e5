//! The client's byte stream, watched: it tells the vitals what moves, refuses what has no single reading, and says
//! the last word itself where no handler can.
//!
//! A head that comes in pieces is kept here until its end has come: the library would read it from its begin at each piece, and
//! would have buffers for it before there is anything to put into them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use portcullis_domain::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use super::vitals::{Farewell, Vitals};

/// A client's stream with its framing and its vitals.
#[derive(Debug)]
pub(super) struct Wire<S: AsyncRead + AsyncWrite + Unpin> {
    stream: S,
    framing: Framing,
    /// What came and was not handed on yet.
    kept: Vec<u8>,
    /// So many of these bytes may be handed on; the others are the begin of a head.
    ready: usize,
    vitals: Arc<Vitals>,
    refused: bool,
    /// The connection is over and is only read to be emptied.
    lingering: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, vitals: Arc<Vitals>) -> Self {
        Self { stream, framing: Framing::new(), kept: Vec::new(), ready: 0, vitals, refused: false, lingering: false }
    }

    /// Waits until a whole head is here, or the end of what the client sends.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Begun>> {
        let mut scratch = [0_u8; SCRATCH];
        loop {
            if self.ready > 0 {
                return Poll::Ready(Ok(Begun::Head));
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(Begun::Nothing));
            }
            self.judge(buffer.filled())?;
            self.keep(buffer.filled());
        }
    }

    /// Takes bytes back that the library has read and not used.
    pub(super) fn take_back(&mut self, bytes: &[u8]) {
        self.kept.splice(..0, bytes.iter().copied());
        self.ready = self.ready.saturating_add(bytes.len());
    }

    fn judge(&mut self, came: &[u8]) -> io::Result<()> {
        if let Err(fault) = self.framing.feed(came) {
            self.refused = true;
            self.vitals.refuse(fault);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.vitals.read(self.framing.place());
        Ok(())
    }

    fn keep(&mut self, came: &[u8]) {
        self.kept.extend_from_slice(came);
        self.ready = self.kept.len().saturating_sub(self.framing.unfinished());
    }

    /// Hands on what may be, as much of it as there is room for. False if there is nothing.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let Some(piece) = self.kept.get(..self.ready.min(buffer.remaining())).filter(|piece| !piece.is_empty()) else {
            return false;
        };
        let length = piece.len();
        buffer.put_slice(piece);
        self.ready = self.ready.saturating_sub(length);
        if length == self.kept.len() {
            // All of it, so that an idle connection keeps nothing.
            self.kept = Vec::new();
        } else {
            self.kept.drain(..length);
        }
        true
    }

    /// Watches for the end of a client that has asked more than is being answered: the library looks for it only while it holds
    /// nothing of the next request. A little of what comes is kept, and what is behind that waits in the socket.
    #[cold]
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut scratch = [0_u8; SCRATCH];
        while self.kept.len() < limits::ASKED_AHEAD_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
                Poll::Pending => break,
                Poll::Ready(()) if buffer.filled().is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(()) => {
                    self.judge(buffer.filled())?;
                    self.keep(buffer.filled());
                }
            }
        }
        Ok(())
    }

    /// Whether the client sent something that has no single reading.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Offers the last word to the socket, if one is due. Once, without waiting: it is shorter than any socket's buffer,
    /// and a client whose socket is full is not owed more.
    fn say_farewell(&mut self) -> bool {
        let Some(farewell) = self.vitals.take_farewell() else { return false };
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_write(&mut context, words(farewell));
        let _ = Pin::new(&mut self.stream).poll_flush(&mut context);
        true
    }

    /// From here on nothing that is read is judged any more.
    pub(super) fn linger(&mut self) {
        self.lingering = true;
    }
}

/// What a client's next bytes were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// A whole head, and perhaps more.
    Head,
    /// It sends nothing any more.
    Nothing,
}

/// Read at a time while a head is waited for.
const SCRATCH: usize = 2_048;

/// The bytes of a last word.
fn words(farewell: Farewell) -> &'static [u8] {
    match farewell {
        Farewell::BadRequest => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        Farewell::Timeout => b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        Farewell::HeadTooLarge => {
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.hand_on(buffer) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let came = buffer.filled().get(before..).unwrap_or_default();
            if came.is_empty() || this.lingering {
                return Poll::Ready(Ok(()));
            }
            let judged = this.judge(came);
            if judged.is_ok() && this.kept.is_empty() && this.framing.unfinished() == 0 {
                return Poll::Ready(Ok(()));
            }
            if judged.is_ok() {
                this.keep(came);
            }
            buffer.set_filled(before);
            judged?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match written {
            Poll::Pending => self.vitals.set_writing(true),
            Poll::Ready(Ok(bytes @ 1..)) => self.vitals.wrote(bytes),
            Poll::Ready(_) => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever runs the connection flushes at each of its turns.
        if self.vitals.serving() && self.framing.heads() != self.vitals.turn() {
            self.watch(cx)?;
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.vitals.set_writing(true);
        } else if self.vitals.writing() {
            self.vitals.set_writing(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.vitals.set_closing();
        self.say_farewell();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Wire<S> {
    /// A connection that the ticker ends is dropped where it stands; this is its last word. One at rest ends cleanly, also in the
    /// eyes of TLS; one in the middle must not, or a part could pass for the whole.
    fn drop(&mut self) {
        if self.say_farewell() || self.vitals.is_at_rest() {
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}
