//! One line in the log for each request, when its answer has ended: for whoever asks for it, by the level `debug`.
//!
//! It says nothing that a stranger wrote, but for a trace id and a trusted proxy's name of the request, which are judged by
//! their form; persons and clients are the digests of the audit journal; paths and queries, in which secrets may stand, are not
//! told.

use super::metrics::method_name;
use super::route::Route;
use crate::http::headers::TRACEPARENT;
use crate::http::{AnswerBody, Witness, Witnessed};
use crate::system::log_names;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::wire::trace;
use portcullis_ports::gateway::Bearer;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The target of these lines.
const TARGET: &str = "request";

/// What is known of a request so far. The line is written when this is dropped: then the answer is out, or was given up.
pub(crate) struct Telling {
    begin: Instant,
    request_id: HeaderValue,
    trace_id: Option<String>,
    route: Route,
    method: &'static str,
    address: IpAddr,
    bearer: Option<Bearer>,
    head: Option<Head>,
    sent: AtomicU64,
    whole: AtomicBool,
}

struct Head {
    after: Duration,
    status: StatusCode,
    fault: Option<Fault>,
}

impl Telling {
    /// Of a request that has just come; nothing if nobody listens.
    pub(crate) fn begin<B>(
        begin: Instant,
        request: &Request<B>,
        request_id: &HeaderValue,
        route: Route,
        address: IpAddr,
    ) -> Option<Box<Self>> {
        if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            return None;
        }
        Some(Box::new(Self {
            begin,
            request_id: request_id.clone(),
            trace_id: trace_id(request.headers()),
            route,
            method: method_name(request.method()),
            address,
            bearer: None,
            head: None,
            sent: AtomicU64::new(0),
            // Whoever asks for a head is not sent a body.
            whole: AtomicBool::new(request.method() == Method::HEAD),
        }))
    }

    /// This bearer was let in.
    pub(crate) fn admitted(&mut self, bearer: &Bearer) {
        self.bearer = Some(bearer.clone());
    }

    /// The head of the answer is ready; the rest is seen on its way out.
    pub(crate) fn answered(mut self: Box<Self>, response: &mut Response<AnswerBody>, fault: Option<Fault>) {
        self.head = Some(Head { after: self.begin.elapsed(), status: response.status(), fault });
        let seen: Arc<Self> = Arc::from(self);
        response.extensions_mut().insert(Witnessed(seen));
    }
}

impl Witness for Telling {
    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    fn ended(&self) {
        self.whole.store(true, Relaxed);
    }
}

fn trace_id(headers: &HeaderMap) -> Option<String> {
    trace::trace_id(headers.get(TRACEPARENT)?.as_bytes()).map(str::to_owned)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Telling {
    fn drop(&mut self) {
        let Self { begin, request_id, trace_id, route, method, address, bearer, head, sent, whole } = self;
        let fault = head.as_ref().and_then(|head| head.fault).map(|fault| format!("{fault:?}"));
        let person = bearer.as_ref().map(|bearer| match bearer {
            Bearer::Own(token) => token.id.person,
            Bearer::Stranger(stranger) => stranger.person,
        });
        let token = bearer.as_ref().and_then(|bearer| match bearer {
            Bearer::Own(token) => Some(token),
            Bearer::Stranger(_) => None,
        });
        let whole = head.is_some() && whole.load(Relaxed);
        tracing::debug!(
            target: TARGET,
            request_id = request_id.to_str().ok(),
            trace_id = trace_id.as_deref(),
            route = route.name(),
            method,
            status = head.as_ref().map(|head| head.status.as_u16()),
            fault = fault.as_deref(),
            address = %address,
            person = person.map(log_names::person),
            session = token.map(|token| log_names::session(token.id)),
            client = token.map(|token| log_names::client(token.client)),
            head_us = head.as_ref().map(|head| micros(head.after)),
            total_us = micros(begin.elapsed()),
            sent_bytes = sent.load(Relaxed),
            whole,
        );
    }
}
