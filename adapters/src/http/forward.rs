//! A request passed on to its upstream, and the answer passed back, both as they come.
//!
//! Statuses and bodies pass unchanged, because clients negotiate by them (400, 404, 405, 202). There are two exceptions.
//! An upstream's 401 or 407 becomes 502: the client has shown the gate a good token, a 401 would send it back to log
//! in again, and the challenge would not be the gate's. An upstream's 101 becomes 502: nothing is upgraded.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::task::Poll;
use std::time::Instant;

use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use portcullis_domain::oauth::fault::Fault;

use super::answer::Head;
use super::body::{AnswerBody, BodyFault, PassingBody, RequestBody};
use super::connection::Peer;
use super::headers::{self, Injected, Introduced};
use super::leg::{Failure, Outgoing};
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
    pub who: &'a Introduced,
    /// `X-Request-Id`.
    pub request_id: &'a HeaderValue,
    /// The longest request body that passes.
    pub body_max: u64,
    /// When the request came.
    pub came: Instant,
}

/// Passes a request on and its answer back. The future and the response's body hold the upstream connection; dropping
/// either ends it.
///
/// What can be said before anything is sent is said at once and not by the future, which would otherwise keep the whole request
/// in its place beside what is made of it.
///
/// # Errors
/// Why the upstream's answer is not what the client gets. What is said of it is no JSON-RPC: nobody knows which call it would answer.
pub fn forward<'a>(
    pool: &'a Pool,
    mut request: Box<Request<RequestBody>>,
    onward: Onward<'a>,
    peer: &'a Peer,
) -> Result<impl Future<Output = Result<Response<AnswerBody>, Fault>> + Send + use<'a>, Fault> {
    let target = pool.upstream().target(request.uri()).map_err(|_| Fault::Target)?;
    request.body_mut().cap(onward.body_max).map_err(|_| Fault::BodyTooLarge)?;
    let (head, body) = request.into_parts();
    let mut asked =
        Asked { method: head.method, target, headers: head.headers, onward, client: peer.value_of(onward.client) };
    let outgoing = Outgoing::new(body);
    Ok(async move {
        let (answer, lease) = exchange(pool, &mut asked, outgoing, peer).await?;
        pass_back(answer, lease, peer)
    })
}

/// A request's head, and what the gate says beside it.
struct Asked<'a> {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    onward: Onward<'a>,
    client: HeaderValue,
}

/// Sends the request on a connection of the pool, and once more on a new one if the first turned out to be closed
/// before a byte of the request had left.
async fn exchange(pool: &Pool, asked: &mut Asked<'_>, outgoing: Outgoing, peer: &Peer) -> Result<(Head, Lease), Fault> {
    let place = pool.upstream().pick();
    let outgoing = match pool.take(place, asked.onward.came) {
        None => outgoing,
        Some(mut lease) => match send(pool, &mut lease, asked, outgoing, peer).await {
            Ok(answer) => return Ok((answer, lease)),
            Err(Unsent::Returned(outgoing)) => *outgoing,
            Err(Unsent::Lost(refused)) => return Err(refused),
        },
    };
    // On the heap: a new connection is rare, and what leads to one is large.
    let mut lease = Box::pin(pool.connect(place)).await.map_err(|unreachable| match unreachable {
        Unreachable::Down => Fault::UpstreamDown,
        Unreachable::Late => Fault::UpstreamLate,
        Unreachable::Busy => Fault::UpstreamBusy,
    })?;
    match send(pool, &mut lease, asked, outgoing, peer).await {
        Ok(answer) => Ok((answer, lease)),
        Err(Unsent::Returned(_)) => Err(Fault::UpstreamDown),
        Err(Unsent::Lost(refused)) => Err(refused),
    }
}

enum Unsent {
    /// Not a byte of it left; here it is.
    Returned(Box<Outgoing>),
    /// Some of it may have arrived: it must not be sent again.
    Lost(Fault),
}

async fn send(
    pool: &Pool,
    lease: &mut Lease,
    asked: &mut Asked<'_>,
    mut outgoing: Outgoing,
    peer: &Peer,
) -> Result<Head, Unsent> {
    let Asked { method, target, headers, onward, client } = asked;
    let injected = Injected {
        host: pool.upstream().host(lease.place()),
        client,
        proto: onward.proto,
        public_host: onward.public_host,
        who: onward.who,
        request_id: onward.request_id,
    };
    outgoing.head(method, target, |lines| headers::onward(headers, &injected, lines));
    lease.leg_mut().begin(outgoing);
    let (vitals, is_head) = (peer.vitals(), *method == Method::HEAD);
    // Once an answer has come the request is not sent again, so that its fields may make room for those of the answer.
    // The core's ticker calls when the head is overdue; there is no timer per request.
    let answered = poll_fn(|cx| match lease.leg_mut().poll_head(cx, is_head, headers) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending if vitals.wait_for_head(cx.waker()) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    vitals.head_came();
    match answered {
        Some(Ok(head)) => {
            lease.succeeded();
            Ok(head)
        }
        None => Err(Unsent::Lost(Fault::UpstreamLate)),
        Some(Err(Failure::Body(BodyFault::TooLarge))) => Err(Unsent::Lost(Fault::BodyTooLarge)),
        Some(Err(Failure::Body(BodyFault::Broken))) => Err(Unsent::Lost(Fault::Malformed("body"))),
        Some(Err(Failure::Unsent(outgoing))) => {
            lease.failed();
            Err(Unsent::Returned(outgoing))
        }
        Some(Err(Failure::Broken)) => {
            lease.failed();
            Err(Unsent::Lost(Fault::UpstreamDown))
        }
    }
}

fn pass_back(head: Head, mut lease: Lease, peer: &Peer) -> Result<Response<AnswerBody>, Fault> {
    match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(Fault::UpstreamUnwelcome),
        StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::UpstreamDown),
        _ => {}
    }
    if let Some(seconds) = head.kept_for {
        lease.keep_for(seconds);
    }
    let mut response =
        Response::new(AnswerBody::Passing(PassingBody::new(lease, head.is_event_stream, peer.vitals().clone())));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// Hands a request over to a service in this process, and its answer back, by the rules of [`forward`].
///
/// # Errors
/// [`Fault::BodyTooLarge`], or why the service's answer is not what the client gets.
pub async fn hand_over<F: Future<Output = Response<AnswerBody>> + Send>(
    mut request: Box<Request<RequestBody>>,
    onward: Onward<'_>,
    peer: &Peer,
    service: impl FnOnce(Request<RequestBody>) -> F + Send,
) -> Result<Response<AnswerBody>, Fault> {
    request.body_mut().cap(onward.body_max).map_err(|_| Fault::BodyTooLarge)?;
    let client = peer.value_of(onward.client);
    let injected = Injected {
        host: onward.public_host,
        client: &client,
        proto: onward.proto,
        public_host: onward.public_host,
        who: onward.who,
        request_id: onward.request_id,
    };
    let mut seen = HeaderMap::with_capacity(request.headers().len());
    headers::onward(request.headers(), &injected, &mut seen);
    *request.headers_mut() = seen;
    let mut response = service(*request).await;
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(Fault::UpstreamUnwelcome),
        StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::UpstreamDown),
        _ => {}
    }
    let connection: Vec<HeaderValue> = response.headers().get_all(CONNECTION).iter().cloned().collect();
    let unfit: Vec<HeaderName> =
        response.headers().keys().filter(|name| !headers::passes_response(name.as_str())).cloned().collect();
    for name in unfit {
        response.headers_mut().remove(name);
    }
    let is_event_stream = headers::back(response.headers_mut(), &connection);
    if let AnswerBody::Embedded(body) = response.body_mut() {
        body.is_event_stream = is_event_stream;
        body.vitals = Some(peer.vitals().clone());
    }
    Ok(response)
}
