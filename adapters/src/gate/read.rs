//! What came, in the form in which the use cases take it.

use crate::http::{BodyFault, RequestBody};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap as Headers, Request};
use portcullis_domain::limits::{AUTHORIZATION_MAX, CLIENT_SECRET_MAX, OAUTH_BODY_MAX};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::wire::basic::{self, Credentials};
use portcullis_domain::wire::form::Form;
use portcullis_domain::wire::header::{self, Cookies};
use zeroize::Zeroizing;

/// A request whose body has come.
pub(crate) struct Received<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
}

/// What `Authorization` says.
#[derive(Debug)]
pub(crate) enum Authorization<'a> {
    None,
    Basic(Credentials),
    Bearer(&'a str),
    /// Of a scheme that is not spoken here.
    Other,
}

impl<'a> Received<'a> {
    /// The one `Host` of a request, if there is one that can be read.
    pub(crate) fn host<B>(request: &Request<B>) -> Option<&str> {
        only(request.headers(), &HOST).ok().flatten()
    }

    /// The form in the body.
    pub(crate) fn form(&self) -> Result<Form<'a>, Fault> {
        let content_type = only(self.headers, &CONTENT_TYPE)?;
        if !content_type.is_some_and(header::is_form) {
            return Err(Fault::ContentType);
        }
        Form::parse(self.body).map_err(|_| Fault::Malformed("body"))
    }

    /// The JSON in the body.
    pub(crate) fn json(&self) -> Result<&'a [u8], Fault> {
        let content_type = only(self.headers, &CONTENT_TYPE)?;
        if content_type.is_some_and(header::is_json) { Ok(self.body) } else { Err(Fault::ContentType) }
    }

    /// The form in the query.
    pub(crate) fn query(&self) -> Result<Form<'a>, Fault> {
        Form::parse(self.query).map_err(|_| Fault::Malformed("query"))
    }

    /// The cookies.
    pub(crate) fn cookies(&self) -> Result<Cookies<'a>, Fault> {
        Cookies::parse(self.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes))
            .map_err(|_| Fault::Malformed("Cookie"))
    }

    /// `Authorization`.
    pub(crate) fn authorization(&self) -> Result<Authorization<'a>, Fault> {
        authorization(self.headers)
    }

    /// Whether the browser says that a page of this origin has sent the request. Without fetch metadata the origin must be
    /// named: a form that says nothing of where it comes from does not come from our page.
    pub(crate) fn is_same_origin(&self, origin: &str) -> Result<bool, Fault> {
        Ok(match only(self.headers, &SEC_FETCH_SITE)? {
            Some(site) => site == "same-origin",
            None => only(self.headers, &ORIGIN)?.is_some_and(|own| own == origin),
        })
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `Authorization` of these headers.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Authorization<'_>, Fault> {
    let malformed = Fault::Malformed("Authorization");
    let Some(value) = only(headers, &AUTHORIZATION)? else { return Ok(Authorization::None) };
    if value.len() > AUTHORIZATION_MAX {
        return Err(Fault::TooLong("Authorization"));
    }
    let (scheme, rest) = header::credentials(value).map_err(|_| malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return header::token68(rest).map(Authorization::Bearer).map_err(|_| malformed);
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let credentials = basic::parse(rest).map_err(|_| malformed)?;
        if credentials.secret.expose().len() > CLIENT_SECRET_MAX {
            return Err(Fault::TooLong("client_secret"));
        }
        return Ok(Authorization::Basic(credentials));
    }
    Ok(Authorization::Other)
}

/// The one field of this name, as text.
pub(crate) fn only<'a>(headers: &'a Headers, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let value = single(headers, name)?;
    value.map(|value| value.to_str().map_err(|_| Fault::Malformed("header"))).transpose()
}

/// The one field of this name. Two are an error: which of them counts would be a guess.
pub(crate) fn single<'a>(headers: &'a Headers, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Fault> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Fault::Repeated),
    }
}

/// The whole body of a request to an OAuth endpoint, wiped when dropped as far as it is ours: it holds codes and secrets.
pub(crate) async fn body(body: RequestBody) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let most = u64::try_from(OAUTH_BODY_MAX).unwrap_or(u64::MAX);
    match body.gather(most).await {
        Ok(bytes) => Ok(Zeroizing::new(bytes.to_vec())),
        Err(BodyFault::TooLarge) => Err(Fault::BodyTooLarge),
        Err(BodyFault::Broken) => Err(Fault::Malformed("body")),
    }
}
