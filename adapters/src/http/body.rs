//! Bodies in both directions, as they pass: counted, capped, without their trailers, never gathered on the way through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::answer::Reader;
use super::pool::Lease;
use super::vitals::Vitals;
use super::wakes::holding;

/// Why a request body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than is read here (413).
    TooLarge,
    /// The client broke off or sent something that is no body.
    Broken,
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request body is too large",
            Self::Broken => "the request body broke off",
        })
    }
}

impl std::error::Error for BodyFault {}

/// A request's body. It has no trailers: nothing that was judged in the head can be added to behind it.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    left: u64,
    turn: u32,
    vitals: Arc<Vitals>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, turn: u32, vitals: Arc<Vitals>) -> Self {
        Self { incoming, left: u64::MAX, turn, vitals }
    }

    /// Sets how many bytes may still come; refuses at once a length that is announced and larger.
    pub fn cap(&mut self, most: u64) -> Result<(), BodyFault> {
        self.left = most;
        if self.incoming.size_hint().lower() > most { Err(BodyFault::TooLarge) } else { Ok(()) }
    }

    /// The whole body, at most so many bytes of it: copied, because each of the pieces that it comes in, be it one byte, would
    /// hold on to the buffer that it was read into.
    pub async fn gather(mut self, most: u64) -> Result<Bytes, BodyFault> {
        self.cap(most)?;
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.into())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        loop {
            let incoming = &mut this.incoming;
            // Behind the last piece nothing is to be brought: a length that was announced is used up.
            let (frame, _) = holding(
                || (Pin::new(&mut *incoming).poll_frame(cx), incoming.is_end_stream()),
                |(frame, ended)| !(*ended && matches!(frame, Poll::Ready(Some(Ok(_))))),
            );
            let Poll::Ready(frame) = frame else {
                this.vitals.await_body(this.turn);
                return Poll::Pending;
            };
            let data = match frame {
                None => {
                    this.vitals.body_ended(this.turn);
                    return Poll::Ready(None);
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFault::Broken))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_trailers) => continue,
                },
            };
            this.vitals.body_came(this.turn, data.len());
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let Some(left) = this.left.checked_sub(length) else {
                return Poll::Ready(Some(Err(BodyFault::TooLarge)));
            };
            this.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.vitals.body_ended(self.turn);
        }
    }
}

/// A response's body: bytes at hand, or the upstream's as it comes.
#[derive(Debug)]
pub enum AnswerBody {
    /// All of it is here.
    Whole(Bytes),
    /// It comes from the upstream.
    Passing(PassingBody),
    /// It comes from a service in this process.
    Embedded(EmbeddedBody),
}

impl AnswerBody {
    /// No body.
    pub fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// Whether it is a stream of events, which may be silent for as long as it likes.
    pub(super) fn is_event_stream(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Passing(body) => body.is_event_stream,
            Self::Embedded(body) => body.is_event_stream,
        }
    }

    /// The head in front of it is ready at `now`.
    pub(crate) fn answered(&mut self, now: Instant) {
        if let Self::Passing(body) = self {
            body.answered = Some(now);
        }
    }

    /// A body as it comes, without its trailers. An error breaks the client's connection off.
    pub fn stream<B: Body<Data = Bytes> + Send + 'static>(body: B) -> Self {
        let body = Box::pin(body.map_err(|_| BrokenOff));
        Self::Embedded(EmbeddedBody { body, is_event_stream: false, vitals: None })
    }
}

/// The body of an answer of a service in this process.
pub struct EmbeddedBody {
    body: Pin<Box<dyn Body<Data = Bytes, Error = BrokenOff> + Send>>,
    pub(super) is_event_stream: bool,
    pub(super) vitals: Option<Arc<Vitals>>,
}

impl std::fmt::Debug for EmbeddedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedBody")
    }
}

impl EmbeddedBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            match ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                Some(Ok(frame)) => {
                    if let Some(vitals) = &self.vitals {
                        vitals.moved();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                ended => return Poll::Ready(ended),
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for AnswerBody {
    fn from(bytes: T) -> Self {
        Self::Whole(bytes.into())
    }
}

/// The upstream broke off: the client's connection must break off too, or it would take a part for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upstream broke off")
    }
}

impl std::error::Error for BrokenOff {}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passing(passing) => Pin::new(passing).poll_frame(cx),
            Self::Embedded(embedded) => embedded.poll_data(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Passing(passing) => passing.is_end_stream(),
            Self::Embedded(embedded) => embedded.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Passing(passing) => passing.size_hint(),
            Self::Embedded(embedded) => embedded.body.size_hint(),
        }
    }
}

/// The upstream's response body, with the connection that it comes on: at its end the connection goes back to the
/// pool, and whoever drops it before ends the connection, which is how an upstream learns that the client has left.
#[derive(Debug)]
pub struct PassingBody {
    lease: Option<Lease>,
    is_event_stream: bool,
    /// The upstream broke off, which is still to be told.
    broken: bool,
    /// When its head was answered, as long as the body came along with it. There is no need to read the clock again then.
    answered: Option<Instant>,
    vitals: Arc<Vitals>,
}

impl PassingBody {
    pub(super) fn new(lease: Lease, is_event_stream: bool, vitals: Arc<Vitals>) -> Self {
        Self { lease: Some(lease), is_event_stream, broken: false, answered: None, vitals }
    }

    /// The body is at its end: the connection rests from now on.
    fn end(&mut self, lease: Lease) {
        lease.give_back(self.answered.unwrap_or_else(Instant::now));
    }

    fn reader(&self) -> Option<&Reader> {
        self.lease.as_ref().map(|lease| &lease.leg().reader)
    }

    fn is_end_stream(&self) -> bool {
        !self.broken && self.reader().is_none_or(Reader::is_at_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.reader().map_or_else(SizeHint::default, Reader::size_hint)
    }
}

impl Body for PassingBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(self.broken.then_some(Err(BrokenOff))) };
        let Poll::Ready(data) = lease.leg_mut().poll_data(cx) else {
            self.answered = None;
            return Poll::Pending;
        };
        match data {
            None => {
                if let Some(lease) = self.lease.take() {
                    self.end(lease);
                }
                Poll::Ready(None)
            }
            Some(Err(BrokenOff)) => {
                self.lease = None;
                self.broken = true;
                // What came before gets its chance to leave: the library gives up at once when it is told.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Ok(data)) => {
                self.vitals.moved();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }
}

impl Drop for PassingBody {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take_if(|lease| lease.leg().reader.is_at_end()) {
            self.end(lease);
        }
    }
}

/// Sees an answer go out. Dropped when the last of it has, or when it was given up.
pub trait Witness: Send + Sync {
    /// So many bytes of the body went to the connection.
    fn sent(&self, bytes: usize);
    /// All of it did.
    fn ended(&self);
}

/// A response whose extension this is has a witness.
#[derive(Clone)]
pub struct Witnessed(pub Arc<dyn Witness>);

/// A request that is being answered, from its handler's begin to the end of its answer's body. Whoever looks after open answers lets
/// go of it when it is dropped, also where its client left before there was an answer.
pub(super) struct Answering {
    pub(super) turn: u32,
    pub(super) vitals: Arc<Vitals>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.vitals.rest(self.turn);
    }
}

/// A response body on its way out of a connection, which learns from it that the answer is done.
pub(super) struct Served {
    body: AnswerBody,
    witness: Option<Witnessed>,
    _answering: Answering,
}

impl Served {
    /// The body of this response in its place.
    pub(super) fn of(mut response: Response<AnswerBody>, answering: Answering) -> Response<Self> {
        let witness = response.extensions_mut().remove();
        response.map(|body| Self { body, witness, _answering: answering })
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(Witnessed(witness)), Poll::Ready(Some(Ok(frame)))) = (&self.witness, &frame) {
            witness.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(Witnessed(witness)) = self.witness.as_ref().filter(|_| self.body.is_end_stream()) {
            witness.ended();
        }
    }
}
