//! One client connection, from its first byte to its last: the HTTP library between the watched stream and a handler.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use portcullis_domain::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::body::{AnswerBody, Answering, RequestBody, Served};
use super::bound::Socket;
use super::framing::Place;
use super::io::{Begun, Wire};
use super::runtime::Counts;
use super::vitals::Vitals;
use super::wakes::Ear;

/// Answers requests. One clone serves one connection, on the core that made the first of them.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request, which lies on the heap because it is large and goes from hand to hand. Dropped where it stands when the
    /// client leaves.
    fn handle(
        &self,
        request: Box<Request<RequestBody>>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;
}

/// Makes a byte stream of an accepted socket: TLS or nothing.
pub trait Handshake<S: Socket = TcpStream>: Clone + Send + Sync + 'static {
    /// The stream.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// What a client is told for whom there is no room.
    const FULL: &'static [u8];

    /// Agrees with the client. The head's deadline runs meanwhile.
    fn shake(&self, socket: S) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// No TLS: the socket is the stream.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl<S: Socket> Handshake<S> for Plain {
    type Stream = S;

    const FULL: &'static [u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n";

    async fn shake(&self, socket: S) -> io::Result<S> {
        Ok(socket)
    }
}

/// The other end of a connection, as the socket knows it, and a hand on the connection itself.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    written: HeaderValue,
    turn: u32,
    vitals: Arc<Vitals>,
}

impl Peer {
    /// The socket's other end: the client, or the proxy in front of the gateway.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// This address as a header value: the peer's, unless a proxy has told of another. The peer's is written once per connection.
    pub(crate) fn value_of(&self, client: IpAddr) -> HeaderValue {
        if client == self.address.ip().to_canonical() { self.written.clone() } else { written(client) }
    }

    /// A handle by which this connection can be closed while this request is being answered, from anywhere.
    pub fn sever(&self) -> Sever {
        Sever { turn: self.turn, vitals: self.vitals.clone() }
    }

    /// Somebody with a session speaks on this connection: when there is little room left, it is not the first to go.
    pub fn recognise(&self) {
        self.vitals.set_known();
    }

    pub(super) fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

fn written(address: IpAddr) -> HeaderValue {
    // Addresses are written with digits, colons and dots.
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Closes a connection in the middle of an answer.
#[derive(Debug, Clone)]
pub struct Sever {
    turn: u32,
    vitals: Arc<Vitals>,
}

impl Sever {
    /// Whether the answer is still on its way.
    pub fn is_open(&self) -> bool {
        self.vitals.serving() && self.vitals.turn() == self.turn
    }

    /// Closes the connection within two ticks, if it is still at the same answer; its upstream connection with it.
    pub fn close(&self) {
        if self.is_open() {
            self.vitals.sever();
        }
    }
}

/// The vitals of a new connection, and its whole life as one future, which holds `held` to its end.
pub(super) fn serve<S: Socket, T: Handshake<S>, H: Handler>(
    socket: S,
    address: SocketAddr,
    handshake: T,
    handler: H,
    counts: Arc<Counts>,
    held: impl Send,
) -> (Arc<Vitals>, impl Future<Output = ()> + Send) {
    let vitals = Arc::new(Vitals::default());
    let watched = vitals.clone();
    let life = async move {
        let _held = held;
        vitals.set_shaking(true);
        let shaken = handshake.shake(socket).await;
        vitals.set_shaking(false);
        // A failed handshake has nobody to be told.
        let Ok(stream) = shaken else { return counts.count_failed_handshake() };
        let wire = Wire::new(stream, vitals.clone());
        let written = written(address.ip().to_canonical());
        let service = service_fn(|request: Request<Incoming>| {
            let turn = vitals.begin();
            let peer = Peer { address, written: written.clone(), turn, vitals: vitals.clone() };
            let (handler, counts) = (&handler, &counts);
            // On the heap and not in the connection: the library keeps its place for as long as the connection lives, and
            // one whose answer streams has no use for it.
            Box::pin(answer(request, peer, handler, counts))
        });
        run(wire, service, &vitals).await;
    };
    (watched, life)
}

/// Runs a connection to its end. The library is there while there is something to do: an idle connection, and one whose head is
/// still coming, has none of its buffers.
async fn run<S, V>(mut wire: Wire<S>, service: V, vitals: &Vitals)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: HttpService<Incoming, ResBody = Served> + Unpin + Clone,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_clean = loop {
        let begun = poll_fn(|cx| {
            vitals.run_by(cx.waker());
            wire.poll_head(cx)
        });
        match begun.await {
            Ok(Begun::Head) => {}
            Ok(Begun::Nothing) => return,
            Err(_) => break false,
        }
        // On the heap, so that an idle connection is not larger for it.
        let (back, ended) = Box::pin(converse(wire, service.clone(), vitals)).await;
        wire = back;
        if let Some(is_clean) = ended {
            break is_clean;
        }
    };
    // A refused client may have sent more than was read, and so may one whose request body nobody wanted. Any other
    // connection is done, or broke off in the middle, where a clean end would pass off a part as the whole.
    let is_refused = wire.is_refused();
    if (is_refused && wire.shutdown().await.is_ok()) || (is_clean && vitals.place() == Place::Body) {
        // On the heap, so that a connection is not larger all its life for what few of them do at its end.
        Box::pin(linger(wire)).await;
    }
}

/// Runs the library until the connection ends, and tells whether it ended well; nothing if it only has a rest.
async fn converse<S, V>(wire: Wire<S>, service: V, vitals: &Vitals) -> (Wire<S>, Option<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: HttpService<Incoming, ResBody = Served> + Unpin,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = http1::Builder::new()
        .half_close(false)
        .keep_alive(true)
        .writev(false)
        .max_headers(limits::HEADER_FIELDS_MAX)
        .max_header_size(limits::HEAD_MAX)
        .max_buf_size(limits::HEAD_MAX)
        .header_read_timeout(None)
        .pipeline_flush(false)
        .serve_connection(TokioIo::new(wire), service);
    let mut ear = None;
    let ended = poll_fn(|cx| {
        vitals.looked_after();
        let ear = ear.get_or_insert_with(|| Ear::of(cx.waker()));
        match Pin::new(&mut connection).poll(&mut ear.context(cx.waker())) {
            Poll::Pending if vitals.may_rest() => Poll::Ready(None),
            polled => polled.map(|ended| Some(ended.is_ok())),
        }
    })
    .await;
    let parts = connection.into_parts();
    let mut wire = parts.io.into_inner();
    if ended.is_none() {
        wire.take_back(&parts.read_buf);
    }
    (wire, ended)
}

/// Reads on for a moment after the last word: closing a socket with unread bytes resets it, and the reset would
/// overtake the answer (RFC 9112 section 9.6).
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>) {
    wire.linger();
    let _ = tokio::time::timeout(limits::LINGER, async {
        let mut scratch = [0_u8; 4_096];
        while matches!(wire.read(&mut scratch).await, Ok(1..)) {}
    })
    .await;
}

fn answer<H: Handler>(
    request: Request<Incoming>,
    peer: Peer,
    handler: &H,
    counts: &Counts,
) -> impl Future<Output = Result<Response<Served>, Infallible>> + Send {
    let answering = Answering { turn: peer.turn, vitals: peer.vitals.clone() };
    let judged = judge(&request);
    let keep = judged.is_ok() && !counts.draining();
    let request =
        Box::new(request.map(|incoming| RequestBody::new(incoming, answering.turn, answering.vitals.clone())));
    async move {
        answering.vitals.room().await;
        let mut response = match judged {
            Ok(()) => handler.handle(request, peer).await,
            Err(status) => {
                let mut response = Response::new(AnswerBody::empty());
                *response.status_mut() = status;
                response
            }
        };
        if !keep || counts.draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if response.body().is_event_stream() {
            answering.vitals.set_event_stream();
        }
        Ok(Served::of(response, answering))
    }
}

/// Refuses what has one reading to the library and another to somebody else, before any handler sees it.
fn judge(request: &Request<Incoming>) -> Result<(), StatusCode> {
    // The gateway is nobody's tunnel (RFC 9110 section 9.3.6).
    if request.method() == Method::CONNECT {
        return Err(StatusCode::BAD_REQUEST);
    }
    // RFC 9112 section 3.2: one Host, always, except that HTTP/1.0 may leave it out.
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || (host.is_none() && request.version() != Version::HTTP_10) {
        return Err(StatusCode::BAD_REQUEST);
    }
    // A target in absolute form overrules Host. Where the two differ, somebody is meant to be confused.
    if let Some(authority) = request.uri().authority() {
        let same = host.is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
        if !same {
            return Err(StatusCode::BAD_REQUEST);
        }
    }
    Ok(())
}
