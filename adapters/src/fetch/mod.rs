//! The one guarded outbound HTTP client: what leaves the gateway towards an address that somebody else named leaves
//! here.
//!
//! A call is judged by its URL ([`Refusal::Url`], [`Refusal::Scheme`], [`Refusal::Port`]), its host is resolved once,
//! every answer is vetted ([`vet`]), and one of the vetted addresses itself is dialled, so that a second answer of the
//! name server cannot change where the call goes. Redirects are answers like any other and are never followed. There
//! are no cookies, no Referer, no proxy, no connection that serves two calls, no protocol but HTTP/1.1.
//!
//! RFC 9110, RFC 9112, RFC 9525; RFC 9728 section 7.7 and the security sections of OAuth Client ID Metadata Documents
//! ask for the guard.
//!
//! Who may reach private addresses is a property of the [`Fetch`], not of the call. URLs that strangers choose (client
//! documents and what they refer to) go through one without named hosts, so that the exception which the configuration
//! makes for the identity provider is not theirs to use.

mod address;
mod dial;
mod exchange;
mod resolve;
mod target;
mod vet;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::tls::{self, BadTls};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use portcullis_domain::limits::FETCH_CALLS_MAX;
use portcullis_domain::secret::SecretText;

pub use address::special_use;
pub use resolve::{Resolver, SystemResolver};
use target::{Host, Place, Places, Target};
pub use vet::{Reach, Vetted, vet};

/// What the configuration says about outbound calls.
#[derive(Clone, Debug, Default)]
pub struct FetchConfig {
    /// Further trusted certificate authorities: PEM files as they are, each with at least one certificate.
    pub extra_roots: Vec<Vec<u8>>,
    /// `host` or `host:port` that the configuration itself names: any address, any port (or that one), plain http too.
    pub named_hosts: Vec<String>,
    /// `host` or `host:port` at which this gateway is reached; refused unless named.
    pub own_hosts: Vec<String>,
    /// Public addresses at which this gateway is reached; refused unless the host is named.
    pub own_addresses: Vec<IpAddr>,
}

/// Why a client cannot be made from its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconfigured {
    /// A host is not `host`, `host:port`, `[v6]` or `[v6]:port`.
    Host,
    /// A file of certificates cannot be used.
    Tls(BadTls),
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => out.write_str("names a host that is none"),
            Self::Tls(bad) => write!(out, "names files that {}", bad.words()),
        }
    }
}

/// The methods that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// One request. `Debug` shows neither the query nor a secret.
#[derive(Clone)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// An absolute http or https URL without userinfo and fragment.
    pub url: String,
    /// `Accept`.
    pub accept: Option<&'static str>,
    /// `Content-Type` of the body.
    pub content_type: Option<&'static str>,
    /// `Authorization`, scheme and credentials.
    pub authorization: Option<SecretText>,
    /// Other fields, by their names in small letters.
    pub further: Vec<(&'static str, String)>,
    /// The body; a form may hold codes and secrets, so all of them are treated as such.
    pub body: Option<SecretText>,
}

impl Request {
    /// A GET of `url`.
    #[must_use]
    pub fn get(url: String, accept: &'static str) -> Self {
        Self {
            method: Method::Get,
            url,
            accept: Some(accept),
            content_type: None,
            authorization: None,
            further: Vec::new(),
            body: None,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.url.split(['?', '#']).next().unwrap_or_default();
        out.debug_struct("Request").field("method", &self.method).field("url", &shown).finish_non_exhaustive()
    }
}

/// What one call may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// From the call to the last byte of its answer, waiting and resolving included.
    pub deadline: Duration,
    /// The body of the answer, in bytes.
    pub answer_max: usize,
}

/// An answer of any status. `Debug` does not show the body, which may hold tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200..=999; redirects are not followed.
    pub status: u16,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `Cache-Control`, several lines joined by commas.
    pub cache_control: Option<String>,
    /// `Age`, as sent.
    pub age: Option<String>,
    /// `Date`, as sent.
    pub date: Option<String>,
    /// `Expires`, as sent.
    pub expires: Option<String>,
    /// `Retry-After`, as sent.
    pub retry_after: Option<String>,
    /// The body, without any coding.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why a call brought no answer: for logs. `Display` gives the same text for all, because which one it was would tell a
/// stranger what the gateway can see from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a URL as `wire::uri` reads them (odd spellings of addresses are none), or with userinfo or a fragment.
    Url,
    /// Neither https nor, for a named host, http.
    Scheme,
    /// Not 443, and the host is not named.
    Port,
    /// The gateway itself.
    Own,
    /// A value of the request cannot be sent as a header.
    Unsendable,
    /// The name could not be resolved.
    Resolve,
    /// The resolver took too long.
    ResolveDeadline,
    /// The name has no addresses.
    NoAddress,
    /// The name has more addresses than are looked at.
    TooManyAddresses,
    /// An address of the name is not a public one.
    SpecialUse,
    /// No address took the connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The certificate is not trusted or is for another name.
    Certificate,
    /// The answer broke a rule of HTTP/1.1, or says two things at once.
    Malformed,
    /// The head of the answer is too long or has too many lines.
    HeadTooLarge,
    /// The answer is longer than asked for.
    BodyTooLarge,
    /// The answer is coded, which was not asked for.
    Encoded,
    /// Interim answers or framing without end.
    Flood,
    /// The connection ended before the answer did.
    Broken,
    /// The call took too long.
    Deadline,
}

impl Refusal {
    /// Whether there was an answer, only none that can be used.
    pub(crate) const fn is_of_the_answer(self) -> bool {
        matches!(self, Self::Malformed | Self::HeadTooLarge | Self::BodyTooLarge | Self::Encoded | Self::Flood)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Url => "it has an address that cannot be called",
            Self::Scheme => "its address is not an https one",
            Self::Port => "its address has another port than 443",
            Self::Own => "its address is this gate itself",
            Self::Unsendable => "what it is to be sent is no header field",
            Self::Resolve => "its name cannot be resolved",
            Self::ResolveDeadline => "its name is not resolved in time",
            Self::NoAddress => "its name has no address",
            Self::TooManyAddresses => "its name has more addresses than are tried",
            Self::SpecialUse => "its name has an address that is not public",
            Self::Connect => "nothing takes a connection there",
            Self::Tls => "it agrees on no TLS",
            Self::Certificate => "its certificate is not trusted, or is for another name",
            Self::Malformed => "it answers what is no HTTP/1.1",
            Self::HeadTooLarge => "the head of its answer is too large",
            Self::BodyTooLarge => "its answer is too large",
            Self::Encoded => "its answer is compressed, which was not asked for",
            Self::Flood => "its answer has no end",
            Self::Broken => "it breaks off before the end of its answer",
            Self::Deadline => "it does not answer in time",
        })
    }
}

impl std::error::Error for Refusal {}

/// The guarded client. Clones share its bounds.
pub struct Fetch<R = SystemResolver> {
    shared: Arc<Shared<R>>,
}

impl<R> Clone for Fetch<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<R> {
    places: Places,
    own_addresses: Vec<IpAddr>,
    tls: Arc<ClientConfig>,
    resolver: R,
    calls: Semaphore,
}

impl Fetch {
    /// A client that resolves as the operating system does.
    ///
    /// # Errors
    /// See [`Misconfigured`].
    pub fn new(config: FetchConfig) -> Result<Self, Misconfigured> {
        Self::with_resolver(config, SystemResolver::default())
    }
}

impl<R: Resolver> Fetch<R> {
    /// A client with another resolver.
    ///
    /// # Errors
    /// See [`Misconfigured`].
    pub fn with_resolver(config: FetchConfig, resolver: R) -> Result<Self, Misconfigured> {
        let read = |texts: &[String]| texts.iter().map(|text| Place::read(text)).collect::<Result<Vec<_>, _>>();
        let places = Places { named: read(&config.named_hosts)?, own: read(&config.own_hosts)? };
        let roots = config.extra_roots.iter().map(Vec::as_slice);
        let tls = Arc::new(tls::client(roots, None).map_err(Misconfigured::Tls)?);
        let calls = Semaphore::new(FETCH_CALLS_MAX);
        Ok(Self { shared: Arc::new(Shared { places, own_addresses: config.own_addresses, tls, resolver, calls }) })
    }

    /// One call. Dropping the future closes the connection.
    ///
    /// # Errors
    /// One [`Refusal`]; nothing was sent for those up to and including [`Refusal::Certificate`].
    pub async fn fetch(&self, request: Request, caps: Caps) -> Result<Answer, Refusal> {
        let target = self.shared.places.judge(&request.url)?;
        let deadline = Instant::now().checked_add(caps.deadline).ok_or(Refusal::Deadline)?;
        // On the heap: the state of a handshake would otherwise be part of every future that makes a call.
        let call = Box::pin(self.call(request, &target, caps.answer_max, deadline));
        let answer = timeout_at(deadline, call).await.unwrap_or(Err(Refusal::Deadline));
        if let Err(refusal) = answer {
            tracing::debug!(host = target.authority(), cause = ?refusal, "outbound call refused");
        }
        answer
    }

    /// The same over a Unix socket, wherever the URL leads.
    ///
    /// # Errors
    /// One [`Refusal`].
    pub async fn fetch_over(&self, socket: &Path, request: Request, caps: Caps) -> Result<Answer, Refusal> {
        let target = self.shared.places.judge(&request.url)?;
        let prepared = exchange::prepare(request, &target)?;
        let call = async {
            let stream = UnixStream::connect(socket).await.map_err(|_| Refusal::Connect)?;
            exchange::exchange(stream, prepared, caps.answer_max).await
        };
        timeout(caps.deadline, call).await.unwrap_or(Err(Refusal::Deadline))
    }

    async fn call(
        &self,
        request: Request,
        target: &Target,
        answer_max: usize,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let shared = &*self.shared;
        let prepared = exchange::prepare(request, target)?;
        let _permit = shared.calls.acquire().await.map_err(|_| Refusal::Broken)?;
        let answers = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => shared.resolver.resolve(name).await?,
        };
        let vetted = vet(&answers, target.port, target.reach, &shared.own_addresses)?;
        let stream = dial::connect(&vetted, deadline).await?;
        if target.secure {
            let stream = dial::secure(stream, &target.host, &shared.tls).await?;
            exchange::exchange(stream, prepared, answer_max).await
        } else {
            exchange::exchange(stream, prepared, answer_max).await
        }
    }
}

impl<R> fmt::Debug for Fetch<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fetch").field("places", &self.shared.places).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_debug_shows_neither_query_nor_secret() {
        let mut request = Request::get("https://a.example/token?code=hush#hush".into(), "*/*");
        request.authorization = Some(SecretText::new("Bearer hush".into()));
        request.body = Some(SecretText::new("hush=hush".into()));
        let shown = format!("{request:?}");
        assert!(shown.contains("https://a.example/token") && !shown.contains("hush"), "{shown}");
        let answer = Answer {
            status: 200,
            content_type: None,
            cache_control: None,
            age: None,
            date: None,
            expires: None,
            retry_after: None,
            body: b"hush".to_vec(),
        };
        assert!(!format!("{answer:?}").contains("104"), "not even as numbers");
    }

    #[test]
    fn configuration_that_cannot_work_does_not_load() {
        let with = |change: fn(&mut FetchConfig)| {
            let mut config = FetchConfig::default();
            change(&mut config);
            Fetch::new(config).err()
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|config| config.named_hosts.push("http://a".into())), Some(Misconfigured::Host));
        assert_eq!(with(|config| config.own_hosts.push("0x7f.1".into())), Some(Misconfigured::Host));
        assert_eq!(
            with(|config| config.extra_roots.push(b"not PEM".to_vec())),
            Some(Misconfigured::Tls(BadTls::RootsUnreadable))
        );
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(
            Fetch::new(FetchConfig { extra_roots: vec![garbage.to_vec()], ..FetchConfig::default() }).err(),
            Some(Misconfigured::Tls(BadTls::RootRefused))
        );
    }
}
