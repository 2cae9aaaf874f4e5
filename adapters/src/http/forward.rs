//! A request passed on to its upstream, and the answer passed back, both as they come.
//!
//! Statuses and bodies pass unchanged, because clients negotiate by them (400, 404, 405, 202). There are two exceptions.
//! An upstream's 401 or 407 becomes 502: the client has shown the gate a good token, a 401 would send it back to log
//! in again, and the challenge would not be the gate's. An upstream's 101 becomes 502: nothing is upgraded.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use hyper::client::conn::TrySendError;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode, Version};

use portcullis_domain::oauth::fault::Fault;

use super::body::{AnswerBody, BodyFault, PassingBody, RequestBody};
use super::connection::Peer;
use super::headers::{self, Identity, Injected};
use super::pool::{Lease, Pool, Unreachable};

/// What the gate knows about a request that it lets pass.
#[derive(Debug, Clone, Copy)]
pub struct Onward<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// `X-Forwarded-Proto`: how the client reached the gate.
    pub proto: &'a HeaderValue,
    /// `X-Forwarded-Host`: under which name.
    pub public_host: &'a HeaderValue,
    /// Who is asking.
    pub identity: &'a Identity,
    /// The longest request body that passes.
    pub body_max: u64,
}

/// Passes a request on and its answer back. The future and the response's body hold the upstream connection; dropping
/// either ends it.
///
/// # Errors
/// Why the upstream's answer is not what the client gets. What is said of it is no JSON-RPC: nobody knows which call it would answer.
pub async fn forward(
    pool: &Pool,
    mut request: Request<RequestBody>,
    onward: Onward<'_>,
    peer: &Peer,
) -> Result<Response<AnswerBody>, Fault> {
    let target = pool.upstream().target(request.uri()).map_err(|_| Fault::Target)?;
    request.body_mut().cap(onward.body_max).map_err(|_| Fault::BodyTooLarge)?;
    let injected = Injected {
        host: pool.upstream().host(0),
        client: peer.value_of(onward.client),
        proto: onward.proto,
        public_host: onward.public_host,
        identity: onward.identity,
    };
    headers::onward(request.headers_mut(), &injected);
    *request.uri_mut() = target;
    *request.version_mut() = Version::HTTP_11;
    let (response, lease) = exchange(pool, request, peer).await?;
    pass_back(response, lease, peer)
}

type Answered = Response<hyper::body::Incoming>;

/// Sends the request on a connection of the pool, and once more on a new one if the first turned out to be closed
/// before a byte of the request had left.
async fn exchange(pool: &Pool, request: Request<RequestBody>, peer: &Peer) -> Result<(Answered, Lease), Fault> {
    let place = pool.upstream().pick();
    let request = match pool.take(place) {
        None => request,
        Some(mut lease) => match send(pool, &mut lease, request, peer).await {
            Ok(response) => return Ok((response, lease)),
            Err(Unsent::Returned(request)) => *request,
            Err(Unsent::Lost(refused)) => return Err(refused),
        },
    };
    let mut lease = pool.connect(place).await.map_err(|unreachable| match unreachable {
        Unreachable::Down => Fault::UpstreamDown,
        Unreachable::Late => Fault::UpstreamLate,
        Unreachable::Busy => Fault::UpstreamBusy,
    })?;
    match send(pool, &mut lease, request, peer).await {
        Ok(response) => Ok((response, lease)),
        Err(Unsent::Returned(_)) => Err(Fault::UpstreamDown),
        Err(Unsent::Lost(refused)) => Err(refused),
    }
}

enum Unsent {
    /// Not a byte of it left; here it is.
    Returned(Box<Request<RequestBody>>),
    /// Some of it may have arrived: it must not be sent again.
    Lost(Fault),
}

async fn send(
    pool: &Pool,
    lease: &mut Lease,
    mut request: Request<RequestBody>,
    peer: &Peer,
) -> Result<Answered, Unsent> {
    if pool.upstream().addresses() > 1 {
        request.headers_mut().insert(HOST, pool.upstream().host(lease.place()).clone());
    }
    let vitals = peer.vitals();
    let mut sent = pin!(lease.sender().try_send_request(request));
    // The core's ticker calls when the head is overdue; there is no timer per request.
    let answered = poll_fn(|cx| match sent.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending if vitals.wait_for_head(cx.waker()) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    vitals.head_came();
    match answered {
        None => Err(Unsent::Lost(Fault::UpstreamLate)),
        Some(Ok(response)) => {
            lease.succeeded();
            Ok(response)
        }
        Some(Err(failure)) => {
            let unsent = unsent(failure);
            if !matches!(unsent, Unsent::Lost(Fault::BodyTooLarge | Fault::Malformed(_))) {
                lease.failed();
            }
            Err(unsent)
        }
    }
}

fn unsent(mut failure: TrySendError<Request<RequestBody>>) -> Unsent {
    match failure.take_message() {
        Some(request) => Unsent::Returned(Box::new(request)),
        None => Unsent::Lost(match body_fault(failure.error()) {
            Some(BodyFault::TooLarge) => Fault::BodyTooLarge,
            Some(BodyFault::Broken) => Fault::Malformed("body"),
            None => Fault::UpstreamDown,
        }),
    }
}

fn body_fault(error: &hyper::Error) -> Option<BodyFault> {
    error.source()?.downcast_ref::<BodyFault>().copied()
}

fn pass_back(response: Answered, mut lease: Lease, peer: &Peer) -> Result<Response<AnswerBody>, Fault> {
    let (mut head, body) = response.into_parts();
    match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(Fault::UpstreamUnwelcome),
        StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::UpstreamDown),
        _ if has_two_lengths(&head.headers) => return Err(Fault::UpstreamDown),
        _ => {}
    }
    if let Some(seconds) = kept_for(&head.headers) {
        lease.keep_for(seconds);
    }
    headers::back(&mut head.headers);
    head.version = Version::HTTP_11;
    // A reason phrase of the upstream's own making is not worth passing, and hyper keeps it here.
    head.extensions.clear();
    let body = PassingBody::new(body, lease, peer.turn(), peer.vitals().clone());
    Ok(Response::from_parts(head, AnswerBody::Passing(body)))
}

/// Whether a client could find another end of the body than the gate did (RFC 9112 section 6.3). The library reads the
/// body by one of them and leaves both in the head.
fn has_two_lengths(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match lengths.next() {
        None => false,
        Some(length) => {
            lengths.next().is_some()
                || headers.contains_key(TRANSFER_ENCODING)
                || !length.as_bytes().iter().all(u8::is_ascii_digit)
        }
    }
}

/// `Keep-Alive: timeout=5`, as the servers of Node say it.
fn kept_for(headers: &HeaderMap) -> Option<u64> {
    let hint = headers.get(HeaderName::from_static("keep-alive"))?.to_str().ok()?;
    let seconds = hint.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.parse().ok()
}
