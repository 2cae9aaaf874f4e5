//! The answers of the demonstration's servers.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use portcullis_adapters::http::AnswerBody;
use portcullis_domain::wire::json::ObjectWriter;
use std::net::SocketAddr;

/// One answer.
pub(super) type Answer = Response<AnswerBody>;

/// A JSON document.
pub(super) fn json(status: StatusCode, body: ObjectWriter) -> Answer {
    with_body(status, "application/json", body.finish())
}

/// A body of some type, which nobody keeps.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = AnswerBody::from(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Nothing but a status.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = status;
    answer
}

/// 405 with what is allowed (RFC 9110 section 15.5.6).
pub(super) fn only(allow: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// 303: the browser goes there with GET, whatever it came with.
pub(super) fn see_other(location: &str) -> Answer {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut answer = empty(StatusCode::SEE_OTHER);
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => empty(StatusCode::BAD_REQUEST),
    }
}

/// Whether a request means this server by its own name: a page of another name that was made to resolve to loopback must
/// not reach it.
pub(super) fn is_meant(headers: &HeaderMap, address: SocketAddr) -> bool {
    one(headers, &HOST).is_some_and(|host| host == address.to_string())
}

/// The value of a field that is there once and is text.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
