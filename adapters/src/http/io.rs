//! The client's byte stream, watched: it tells the vitals what moves, refuses what has no single reading, and says
//! the last word itself where no handler can.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use super::vitals::{Farewell, Vitals};

/// A client's stream with its framing and its vitals.
#[derive(Debug)]
pub(super) struct Wire<S: AsyncRead + AsyncWrite + Unpin> {
    stream: S,
    framing: Framing,
    vitals: Arc<Vitals>,
    refused: bool,
    /// The connection is over and is only read to be emptied.
    lingering: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, vitals: Arc<Vitals>) -> Self {
        Self { stream, framing: Framing::new(), vitals, refused: false, lingering: false }
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
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        if came.is_empty() || this.lingering {
            return Poll::Ready(Ok(()));
        }
        if let Err(fault) = this.framing.feed(came) {
            this.refused = true;
            this.vitals.refuse(fault);
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        this.vitals.read(this.framing.place());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match written {
            Poll::Pending => self.vitals.set_writing(true),
            Poll::Ready(Ok(1..)) => self.vitals.wrote(),
            Poll::Ready(_) => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.vitals.set_writing(true);
        } else if self.vitals.writing() {
            self.vitals.set_writing(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
