//! One address of an upstream: how it is reached, and whether it has been of use lately.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::header::HeaderValue;
use portcullis_domain::limits;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::unconstrained;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::upstream::BadUpstream;
use crate::apart;

/// Where requests can be sent.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) place: Place,
    /// `Host` as it knows itself.
    pub(super) host: HeaderValue,
    /// Its path, which all addresses of one upstream share.
    pub(super) path: Uri,
    secure: bool,
    /// When the program started to count.
    epoch: Instant,
    /// Until when it is left aside, in milliseconds since then; zero while it is well.
    aside: AtomicU64,
    /// How often it has failed since it was last well.
    failures: AtomicU32,
}

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Address(IpAddr, u16),
    Name(String, u16),
    Socket(PathBuf),
}

impl Address {
    /// Reads `http://host:port/path`, `https://host:port/path` or `unix:/socket:/path`.
    pub(super) fn parse(url: &str) -> Result<Self, BadUpstream> {
        if url.contains(['#', '?', '@']) {
            return Err(BadUpstream::Extra);
        }
        if let Some(rest) = url.strip_prefix("unix:") {
            return Self::socket(rest);
        }
        let uri: Uri = url.parse().map_err(|_| BadUpstream::Url)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadUpstream::Scheme),
        };
        let authority = uri.authority().ok_or(BadUpstream::Url)?;
        let name = authority.host();
        if name.is_empty() {
            return Err(BadUpstream::Url);
        }
        // Digits alone: `parse` would take a sign.
        let port = match authority.as_str().strip_prefix(name).and_then(|rest| rest.strip_prefix(':')) {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadUpstream::Url)?
            }
            Some(_) => return Err(BadUpstream::Url),
            None if secure => 443,
            None => 80,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let place = match bare.parse::<IpAddr>() {
            Ok(address) => Place::Address(address, port),
            Err(_) => Place::Name(name.to_owned(), port),
        };
        Self::new(place, authority.as_str(), uri.path(), secure)
    }

    /// `/run/mcp.sock:/mcp`: a path of the file system, and behind the last colon that a slash follows, one of the server.
    fn socket(rest: &str) -> Result<Self, BadUpstream> {
        let (socket, path) = match rest.rsplit_once(":/") {
            Some((socket, path)) => (socket, ["/", path].concat()),
            None => (rest, "/".to_owned()),
        };
        if !socket.starts_with('/') || socket.len() > limits::SOCKET_PATH_MAX {
            return Err(BadUpstream::Url);
        }
        Self::new(Place::Socket(socket.into()), "localhost", &path, false)
    }

    fn new(place: Place, host: &str, path: &str, secure: bool) -> Result<Self, BadUpstream> {
        Ok(Self {
            place,
            host: HeaderValue::from_str(host).map_err(|_| BadUpstream::Url)?,
            path: path.parse().map_err(|_| BadUpstream::Url)?,
            secure,
            epoch: Instant::now(),
            aside: AtomicU64::new(0),
            failures: AtomicU32::new(0),
        })
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Connects, and agrees on TLS where that is spoken. A name is tried at all its addresses in turn.
    pub(super) async fn connect(&self, tls: Option<&Arc<ClientConfig>>) -> io::Result<Stream> {
        let stream = match &self.place {
            Place::Address(address, port) => TcpStream::connect(SocketAddr::new(*address, *port)).await?,
            Place::Name(name, port) => apart::connect(name, *port).await?,
            Place::Socket(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
        };
        stream.set_nodelay(true)?;
        if !self.secure {
            return Ok(Stream::Tcp(stream));
        }
        let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
        let name = match &self.place {
            Place::Address(address, _) => ServerName::IpAddress((*address).into()),
            Place::Name(name, _) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Place::Socket(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// When it may be tried again: zero if it is well.
    pub(super) fn due(&self) -> Duration {
        match self.aside.load(Relaxed) {
            0 => Duration::ZERO,
            until => Duration::from_millis(until).saturating_sub(self.epoch.elapsed()),
        }
    }

    /// It answered.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.aside.store(0, Relaxed);
        }
    }

    /// It could not be reached, or broke off before it answered: it is left aside for a second, and twice as long each time.
    pub(super) fn failed(&self) {
        let failures = self.failures.fetch_add(1, Relaxed).min(10);
        let pause = limits::UPSTREAM_ASIDE_MIN.saturating_mul(1 << failures).min(limits::UPSTREAM_ASIDE_MAX);
        let until = self.epoch.elapsed().saturating_add(pause);
        self.aside.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A connection to an upstream, of whatever kind.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    /// Whether it is open, and nothing has come that was not read.
    pub(super) fn is_quiet(&mut self) -> bool {
        // What the runtime knows is enough here: nobody is to be woken, and a share of turns is of no concern.
        let came = match self {
            Self::Tcp(stream) => stream.try_read(&mut [0]),
            Self::Unix(stream) => stream.try_read(&mut [0]),
            Self::Tls(stream) => return is_silent(stream.as_mut()),
        };
        came.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock)
    }
}

fn is_silent(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut space = [MaybeUninit::uninit(); 1];
    let mut buffer = ReadBuf::uninit(&mut space);
    // Also where the task has used up its share of turns: silence would then be all that the runtime says.
    let heard = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer))));
    heard.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
