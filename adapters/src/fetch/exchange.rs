//! One request and its answer over a connection of their own.
//!
//! RFC 9110, RFC 9112. Nothing outlives the exchange: it runs in the caller's future, and dropping that closes the
//! connection.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, DATE, EXPIRES, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::http::uri::PathAndQuery;
use hyper::{StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use portcullis_domain::limits::{FETCH_FRAMING_MAX, FETCH_HEAD_MAX, FETCH_HEADERS_MAX};
use portcullis_domain::secret::SecretText;

use super::target::Target;
use super::{Answer, Method, Refusal, Request};

/// The one User-Agent, the same for every destination.
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// A request in the form in which it goes out.
pub(super) type Prepared = hyper::Request<Full<Bytes>>;

/// Puts a request into its wire form: these headers and no others, so no cookie and no Referer.
pub(super) fn prepare(request: Request, target: &Target) -> Result<Prepared, Refusal> {
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let unsendable = |_| Refusal::Unsendable;
    let mut out = hyper::Request::builder()
        .method(method)
        .uri(PathAndQuery::try_from(target.path_and_query.as_str()).map_err(|_| Refusal::Unsendable)?)
        .version(Version::HTTP_11)
        .header(HOST, target.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Full::new(request.body.map_or_else(Bytes::new, |body| Bytes::from_owner(Content(body)))))
        .map_err(|_| Refusal::Unsendable)?;
    for (name, value) in [(ACCEPT, request.accept), (CONTENT_TYPE, request.content_type)] {
        if let Some(value) = value {
            out.headers_mut().insert(name, HeaderValue::from_str(value).map_err(unsendable)?);
        }
    }
    if let Some(authorization) = request.authorization {
        let mut value = HeaderValue::from_str(authorization.expose()).map_err(unsendable)?;
        value.set_sensitive(true);
        out.headers_mut().insert(AUTHORIZATION, value);
    }
    for (name, value) in request.further {
        let value = HeaderValue::try_from(value).map_err(|_| Refusal::Unsendable)?;
        out.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(out)
}

/// Sends `request` over `stream` and takes the answer, its body at most `answer_max` bytes.
pub(super) async fn exchange<S>(stream: S, request: Prepared, answer_max: usize) -> Result<Answer, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // A body in tiny chunks costs several times its length; what honest servers send stays far below twice.
    let budget = u64::try_from(answer_max).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(FETCH_FRAMING_MAX);
    let (sender, connection) = Builder::new()
        .max_headers(FETCH_HEADERS_MAX)
        .max_header_size(FETCH_HEAD_MAX)
        .max_buf_size(FETCH_HEAD_MAX)
        .handshake::<_, Full<Bytes>>(TokioIo::new(Metered { stream, budget }))
        .await
        .map_err(|error| cause(&error))?;

    let mut connection = pin!(connection);
    let mut answer = pin!(converse(sender, request, answer_max));
    let mut open = true;
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        if open && connection.as_mut().poll(context).is_ready() {
            open = false;
            // The end of the connection is what the answer was waiting for: its last bytes, or its error.
            return answer.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

/// The exchange as the request's side sees it; the connection is driven beside it.
async fn converse(
    mut sender: SendRequest<Full<Bytes>>,
    request: Prepared,
    answer_max: usize,
) -> Result<Answer, Refusal> {
    let (head, body) = sender.send_request(request).await.map_err(|error| cause(&error))?.into_parts();
    judge_head(head.status, &head.headers)?;
    let body = take_body(body, announced(&head.headers, answer_max)?, answer_max).await?;
    Ok(Answer {
        status: head.status.as_u16(),
        content_type: single(&head.headers, &CONTENT_TYPE)?,
        cache_control: joined(&head.headers, &CACHE_CONTROL),
        age: first(&head.headers, &AGE),
        date: first(&head.headers, &DATE),
        expires: first(&head.headers, &EXPIRES),
        retry_after: first(&head.headers, &RETRY_AFTER),
        body,
    })
}

/// Refuses answers whose body would not be what it seems: switched protocols, codings, two framings at once.
fn judge_head(status: StatusCode, headers: &HeaderMap) -> Result<(), Refusal> {
    if status.is_informational() {
        return Err(Refusal::Malformed);
    }
    let only = |name: &HeaderName, expected: &str| {
        headers.get_all(name).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()))
    };
    if !only(&CONTENT_ENCODING, "identity") {
        return Err(Refusal::Encoded);
    }
    if !only(&TRANSFER_ENCODING, "chunked") || headers.get_all(TRANSFER_ENCODING).iter().count() > 1 {
        return Err(Refusal::Encoded);
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

/// The room to reserve: what the answer announces, once that is known to be allowed.
fn announced(headers: &HeaderMap, answer_max: usize) -> Result<usize, Refusal> {
    let Some(length) = headers.get(CONTENT_LENGTH) else { return Ok(0) };
    let length = length.to_str().ok().and_then(|length| length.parse::<usize>().ok()).ok_or(Refusal::Malformed)?;
    if length > answer_max { Err(Refusal::BodyTooLarge) } else { Ok(length) }
}

/// Collects the body. The cap is on what arrives; what was announced only sizes the first reservation.
async fn take_body(mut body: Incoming, announced: usize, answer_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut taken = Vec::with_capacity(announced.min(FETCH_HEAD_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| cause(&error))?;
        // Trailers carry nothing that anybody here reads.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > answer_max.saturating_sub(taken.len()) {
            return Err(Refusal::BodyTooLarge);
        }
        taken.extend_from_slice(&data);
    }
    Ok(taken)
}

/// A header that may stand there once. Two of them would be two truths about one body.
fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    if headers.get_all(name).iter().count() > 1 {
        return Err(Refusal::Malformed);
    }
    headers.get(name).map(|value| value.to_str().map(str::to_owned).map_err(|_| Refusal::Malformed)).transpose()
}

/// The first line of a header, if it is text.
fn first(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// All lines of a list header as one (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Finds out who is at fault behind an error of the HTTP library.
fn cause(error: &hyper::Error) -> Refusal {
    if error.is_parse_too_large() {
        return Refusal::HeadTooLarge;
    }
    if error.is_parse() {
        return Refusal::Malformed;
    }
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io {
        Some(io) if io.get_ref().is_some_and(|inner| inner.is::<Overspent>()) => Refusal::Flood,
        Some(io) if io.kind() == io::ErrorKind::InvalidData || io.kind() == io::ErrorKind::InvalidInput => {
            Refusal::Malformed
        }
        _ => Refusal::Broken,
    }
}

/// A body that wipes itself when the last piece of the request is dropped.
struct Content(SecretText);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// A stream that may give only so many bytes: bounds what no other cap sees, such as interim answers without end.
struct Metered<S> {
    stream: S,
    budget: u64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        let taken = u64::try_from(buf.filled().len().saturating_sub(before)).unwrap_or(u64::MAX);
        match self.budget.checked_sub(taken) {
            Some(left) => self.budget = left,
            None => return Poll::Ready(Err(io::Error::other(Overspent))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The peer sent more than an answer of this size can cost.
#[derive(Debug)]
struct Overspent;

impl fmt::Display for Overspent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the answer costs more bytes than it may")
    }
}

impl Error for Overspent {}
