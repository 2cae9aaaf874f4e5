//! The guarded outbound client against hostile peers: real sockets on loopback, raw bytes, scripted name servers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_adapters::fetch::{Answer, Caps, Fetch, FetchConfig, Method, Refusal, Request, Resolver};
use portcullis_domain::limits::FETCH_CALLS_MAX;
use portcullis_domain::secret::SecretText;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

// Made with `openssl ca`, P-256, good from 2020 to 2120 (the expired one until 2021), for localhost, idp.test,
// 127.0.0.1 and ::1. The keys of the two authorities were thrown away; the key of the servers guards nothing.
const AUTHORITY: &[u8] = include_bytes!("certificates/authority.pem");
const OTHER_AUTHORITY: &[u8] = include_bytes!("certificates/other-authority.pem");
const SERVER: &[u8] = include_bytes!("certificates/server.pem");
const EXPIRED_SERVER: &[u8] = include_bytes!("certificates/expired-server.pem");
const SERVER_KEY: &[u8] = include_bytes!("certificates/server-key.pem");

const CAPS: Caps = Caps { deadline: Duration::from_secs(5), answer_max: 1_000 };

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

// ---- Peers.

/// What a peer saw and did, over all its connections.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    closed: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

/// A peer that reads one request head (and what comes with it) and then does as its script says.
struct Peer {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    async fn with<F, T>(script: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = io::Result<()>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let head = read_request(&mut stream).await;
                noted.heads.lock().unwrap().push(head);
                // The peer's own writes fail when the client hangs up: that is what many tests wait for.
                let _ = script(stream).await;
                noted.closed.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, seen, task }
    }

    /// A peer that sends these bytes and closes.
    async fn says(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::with(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                drain(&mut stream).await
            }
        })
        .await
    }

    /// A peer that sends these bytes, then `again` for ever.
    async fn repeats(first: &'static str, again: &'static str, pause: Duration) -> Self {
        Self::with(move |mut stream| async move {
            stream.write_all(first.as_bytes()).await?;
            // Without a pause the peer floods.
            let again = if pause.is_zero() { again.repeat(100) } else { again.to_owned() };
            loop {
                stream.write_all(again.as_bytes()).await?;
                sleep(pause).await;
            }
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    fn head(&self) -> String {
        self.seen.heads.lock().unwrap().first().cloned().unwrap_or_default()
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut taken = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&taken).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= announced.parse().unwrap() {
                return text;
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => taken.extend_from_slice(&piece[..count]),
        }
    }
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut piece = [0; 4096];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}

/// A TLS peer with this certificate that answers every request with "secret garden"; it keeps the server name that it
/// was asked for.
async fn tls_peer(certificate: &[u8], names: Arc<Mutex<Vec<Option<String>>>>) -> Peer {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            noted.connections.fetch_add(1, Ordering::SeqCst);
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
            names.lock().unwrap().push(session.server_name().map(str::to_owned));
            let head = read_request(&mut stream).await;
            noted.heads.lock().unwrap().push(head);
            let _ = answer_over_tls(&mut stream).await;
        }
    });
    Peer { address, seen, task }
}

async fn answer_over_tls<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nsecret garden").await?;
    stream.shutdown().await
}

// ---- Name servers.

/// A resolver that gives the next line of its script at each question, the last one for ever.
struct Scripted {
    lines: Vec<Vec<IpAddr>>,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(lines: &[&[&str]]) -> (Self, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let lines = lines.iter().map(|line| line.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        (Self { lines, asked: Arc::clone(&asked) }, asked)
    }
}

impl Resolver for Scripted {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, Refusal> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.lines.len() - 1);
        Ok(self.lines[at].clone())
    }
}

/// A resolver that never answers and counts who asks.
#[derive(Default)]
struct CountingSilence {
    asked: Arc<AtomicUsize>,
}

impl Resolver for CountingSilence {
    fn resolve(&self, _: &str) -> impl Future<Output = Result<Vec<IpAddr>, Refusal>> + Send {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    }
}

// ---- Clients.

/// A client for which the configuration names loopback.
fn named() -> Fetch {
    let named_hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    Fetch::new(FetchConfig { named_hosts, ..FetchConfig::default() }).unwrap()
}

/// A client for which the configuration names nothing.
fn public(lines: &[&[&str]]) -> (Fetch<Scripted>, Arc<AtomicUsize>) {
    let (resolver, asked) = Scripted::new(lines);
    (Fetch::with_resolver(FetchConfig::default(), resolver).unwrap(), asked)
}

async fn get(url: String) -> Result<Answer, Refusal> {
    named().fetch(Request::get(url, "application/json"), CAPS).await
}

/// What comes of a peer that says these bytes.
fn answer_to(bytes: impl Into<Vec<u8>>) -> Result<Answer, Refusal> {
    let bytes = bytes.into();
    run(async move {
        let peer = Peer::says(bytes).await;
        get(peer.url("/")).await
    })
}

fn refusal_of(bytes: impl Into<Vec<u8>>) -> Option<Refusal> {
    answer_to(bytes).err()
}

// ---- Where a call may go.

#[test]
fn as_14_t123_special_use_addresses_are_not_dialled() {
    run(async {
        let peer = Peer::says("HTTP/1.1 200 OK\r\n\r\n").await;
        let port = peer.address.port();
        let (client, asked) = public(&[&["127.0.0.1"]]);
        for (url, expected) in [
            ("https://127.0.0.1/".to_owned(), Refusal::SpecialUse),
            ("https://[::1]/".to_owned(), Refusal::SpecialUse),
            ("https://[::ffff:7f00:1]/".to_owned(), Refusal::SpecialUse),
            ("https://[64:ff9b::7f00:1]/".to_owned(), Refusal::SpecialUse),
            ("https://169.254.169.254/latest/meta-data".to_owned(), Refusal::SpecialUse),
            ("https://2130706433/".to_owned(), Refusal::Url),
            ("https://0x7f.1/".to_owned(), Refusal::Url),
            (format!("http://127.0.0.1:{port}/"), Refusal::Scheme),
            (format!("https://127.0.0.1:{port}/"), Refusal::Port),
        ] {
            assert_eq!(client.fetch(Request::get(url.clone(), "*/*"), CAPS).await.err(), Some(expected), "{url}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0, "an address is not resolved");
        let private = client.fetch(Request::get("https://rebound.example/".into(), "*/*"), CAPS).await;
        assert_eq!(private.err(), Some(Refusal::SpecialUse));
        assert_eq!(peer.connections(), 0);
    });
}

#[test]
fn t125_a_name_is_resolved_once_and_judged_whole() {
    run(async {
        let many: Vec<String> = (0..101).map(|n| format!("8.8.8.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (answers, expected) in [
            (&["1.1.1.1", "127.0.0.1"][..], Refusal::SpecialUse),
            (&["1.1.1.1", "fd00::1"], Refusal::SpecialUse),
            (&[], Refusal::NoAddress),
            (&many, Refusal::TooManyAddresses),
        ] {
            // The second answer would be good: nobody may ask for it.
            let (client, asked) = public(&[answers, &["1.1.1.1"]]);
            let answer = client.fetch(Request::get("https://rebound.example/".into(), "*/*"), CAPS).await;
            assert_eq!(answer.err(), Some(expected), "{answers:?}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{answers:?}");
        }
    });
}

#[test]
fn t125_the_vetted_address_itself_is_dialled() {
    run(async {
        let peer = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        // The name exists nowhere but in the script, and the script would send a second question elsewhere.
        let (resolver, asked) = Scripted::new(&[&["127.0.0.1"], &["127.9.9.9"]]);
        let named_hosts = vec!["pinned.test".to_owned()];
        let client = Fetch::with_resolver(FetchConfig { named_hosts, ..FetchConfig::default() }, resolver).unwrap();
        let port = peer.address.port();
        let answer = client.fetch(Request::get(format!("http://pinned.test:{port}/"), "*/*"), CAPS).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(peer.head().contains(&format!("host: pinned.test:{port}\r\n")), "{}", peer.head());
    });
}

#[test]
fn t125_further_addresses_are_tried_in_order() {
    run(async {
        let peer = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        // Nothing listens at the first two.
        let (resolver, _) = Scripted::new(&[&["127.9.9.9", "127.9.9.8", "127.0.0.1"]]);
        let named_hosts = vec!["several.test".to_owned()];
        let client = Fetch::with_resolver(FetchConfig { named_hosts, ..FetchConfig::default() }, resolver).unwrap();
        let url = format!("http://several.test:{}/", peer.address.port());
        assert_eq!(client.fetch(Request::get(url, "*/*"), CAPS).await.map(|answer| answer.status), Ok(200));
        assert_eq!(peer.connections(), 1);
    });
}

#[test]
fn r78_a_resolver_that_never_answers_is_cut_at_the_deadline() {
    run(async {
        let client = Fetch::with_resolver(FetchConfig::default(), CountingSilence::default()).unwrap();
        let caps = Caps { deadline: Duration::from_millis(200), answer_max: 10 };
        let start = Instant::now();
        let answer = client.fetch(Request::get("https://slow.example/".into(), "*/*"), caps).await;
        assert_eq!(answer.err(), Some(Refusal::Deadline));
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn the_resolver_of_the_system_knows_localhost() {
    run(async {
        let peer = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let url = format!("http://localhost:{}/", peer.address.port());
        assert_eq!(get(url).await.map(|answer| answer.status), Ok(200));
    });
}

#[test]
fn t131_the_gateway_does_not_call_itself() {
    run(async {
        let (resolver, _) = Scripted::new(&[&["93.184.215.14"]]);
        let own_hosts = vec!["gate.example".to_owned()];
        let own_addresses = vec!["93.184.215.14".parse().unwrap()];
        let config = FetchConfig { own_hosts, own_addresses, ..FetchConfig::default() };
        let client = Fetch::with_resolver(config, resolver).unwrap();
        for url in ["https://gate.example/", "https://alias.example/", "https://93.184.215.14/"] {
            assert_eq!(client.fetch(Request::get(url.into(), "*/*"), CAPS).await.err(), Some(Refusal::Own), "{url}");
        }
    });
}

#[test]
fn t126_r84_redirects_are_answers_and_are_not_followed() {
    run(async {
        let inner = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
        for status in [301, 302, 303, 307, 308, 300, 304] {
            let head = format!("HTTP/1.1 {status} X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", inner.url("/"));
            let outer = Peer::says(head).await;
            let answer = get(outer.url("/")).await.unwrap();
            assert_eq!((answer.status, answer.body.len()), (status, 0));
            assert_eq!(outer.connections(), 1);
        }
        assert_eq!(inner.connections(), 0);
    });
}

#[test]
fn t129_every_call_has_its_own_connection_and_carries_nothing_over() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAlt-Svc: h2=\"127.0.0.1:1\"\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
        let peer = Peer::says(head).await;
        let client = named();
        for _ in 0..3 {
            let request = Request::get(peer.url("/a?b=c"), "application/json");
            assert_eq!(client.fetch(request, CAPS).await.map(|answer| answer.status), Ok(200));
        }
        assert_eq!(peer.connections(), 3);
        let expected = format!(
            "GET /a?b=c HTTP/1.1\r\nhost: {}\r\nuser-agent: portcullis/{}\r\naccept-encoding: identity\r\nconnection: close\r\n\
             accept: application/json\r\n\r\n",
            peer.address,
            env!("CARGO_PKG_VERSION")
        );
        for seen in peer.seen.heads.lock().unwrap().iter() {
            assert_eq!(*seen, expected);
        }
    });
}

#[test]
fn the_request_line_holds_the_path_of_the_url_as_it_stands() {
    for (path, line) in [
        ("", "GET / HTTP/1.1"),
        ("?a=b", "GET /?a=b HTTP/1.1"),
        ("//other.example/a", "GET //other.example/a HTTP/1.1"),
        ("/http://other.example/", "GET /http://other.example/ HTTP/1.1"),
        ("/a%2Fb/../c;d=e?f=%20&g", "GET /a%2Fb/../c;d=e?f=%20&g HTTP/1.1"),
        ("/a%0d%0aX:%20y", "GET /a%0d%0aX:%20y HTTP/1.1"),
    ] {
        run(async {
            let peer = Peer::says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(get(peer.url(path)).await.map(|answer| answer.status), Ok(200), "{path}");
            assert_eq!(peer.head().lines().next(), Some(line), "{path}");
        });
    }
}

#[test]
fn t115_calls_at_a_time_are_bounded_and_the_rest_waits_within_its_deadline() {
    run(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let resolver = CountingSilence { asked: Arc::clone(&asked) };
        let client = Fetch::with_resolver(FetchConfig::default(), resolver).unwrap();
        let caps = Caps { deadline: Duration::from_millis(300), answer_max: 10 };
        let calls: Vec<_> = (0..FETCH_CALLS_MAX + 50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.fetch(Request::get("https://a.example/".into(), "*/*"), caps).await })
            })
            .collect();
        sleep(Duration::from_millis(150)).await;
        assert_eq!(asked.load(Ordering::SeqCst), FETCH_CALLS_MAX);
        for call in calls {
            assert_eq!(call.await.unwrap().err(), Some(Refusal::Deadline));
        }
        // Calls that were given up have left their places.
        let (client, again) = (client.clone(), asked.load(Ordering::SeqCst));
        let last = client.fetch(Request::get("https://a.example/".into(), "*/*"), caps).await;
        assert_eq!((last.err(), asked.load(Ordering::SeqCst)), (Some(Refusal::Deadline), again + 1));
    });
}

#[test]
fn a_post_carries_its_form_and_its_credentials() {
    run(async {
        let peer = Peer::says("HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nCache-Control: private\r\nAge: 3\r\nExpires: 0\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}").await;
        let request = Request {
            method: Method::Post,
            url: peer.url("/token"),
            accept: Some("application/json"),
            content_type: Some("application/x-www-form-urlencoded"),
            authorization: Some(SecretText::new("Basic YTpi".into())),
            further: Vec::new(),
            body: Some(SecretText::new("code=x".into())),
        };
        let answer = named().fetch(request, CAPS).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (400, &b"{}"[..]));
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
        assert_eq!(answer.cache_control.as_deref(), Some("no-store, private"));
        assert_eq!((answer.age.as_deref(), answer.expires.as_deref()), (Some("3"), Some("0")));
        assert_eq!((answer.retry_after.as_deref(), answer.date), (Some("7"), None));
        let seen = peer.head();
        assert!(seen.starts_with("POST /token HTTP/1.1\r\n") && seen.ends_with("\r\n\r\ncode=x"), "{seen}");
        for line in
            ["authorization: Basic YTpi", "content-type: application/x-www-form-urlencoded", "content-length: 6"]
        {
            assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
        }
    });
}

#[test]
fn a_credential_that_would_split_the_head_is_not_sent() {
    run(async {
        let peer = Peer::says("HTTP/1.1 200 OK\r\n\r\n").await;
        let mut request = Request::get(peer.url("/"), "*/*");
        request.authorization = Some(SecretText::new("Bearer a\r\nX-Admin: 1".into()));
        assert_eq!(named().fetch(request, CAPS).await.err(), Some(Refusal::Unsendable));
        assert_eq!(peer.connections(), 0);
    });
}

// ---- What a peer may answer.

#[test]
fn bodies_in_every_framing_arrive_whole() {
    for (bytes, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more that does not belong to it", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: v\r\n\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.0 200 OK\r\nContent-Encoding: identity\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
    ] {
        let answer = answer_to(bytes).unwrap_or_else(|refusal| panic!("{bytes}: {refusal:?}"));
        assert_eq!(answer.body, body.as_bytes(), "{bytes}");
    }
}

#[test]
fn t110_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let body = |length: usize| "x".repeat(length);
    for (length, expected) in [(1_000, None), (1_001, Some(Refusal::BodyTooLarge))] {
        let text = body(length);
        assert_eq!(refusal_of(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")), expected);
        assert_eq!(refusal_of(format!("HTTP/1.1 200 OK\r\n\r\n{text}")), expected);
        let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n");
        assert_eq!(refusal_of(chunked), expected);
    }
}

#[test]
fn t110_a_length_that_lies_is_found_out() {
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nshort", Refusal::BodyTooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort", Refusal::Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Refusal::Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", Refusal::Malformed),
    ] {
        assert_eq!(refusal_of(bytes), Some(expected), "{bytes}");
    }
}

#[test]
fn t110_codings_that_nobody_asked_for_are_refused() {
    for header in [
        "Content-Encoding: gzip",
        "Content-Encoding: BR",
        "Content-Encoding: identity, gzip",
        "Content-Encoding: identity\r\nContent-Encoding: deflate",
        "Content-Encoding: ",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let answer = refusal_of(format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n0\r\n\r\n"));
        assert_eq!(answer, Some(Refusal::Encoded), "{header}");
    }
}

#[test]
fn heads_that_are_not_heads_are_refused() {
    for (bytes, expected) in [
        ("", Refusal::Broken),
        ("HTTP/1.1 200", Refusal::Broken),
        ("SSH-2.0-OpenSSH_9.6\r\n", Refusal::Malformed),
        ("hello, this is HTTP/0.9", Refusal::Malformed),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 99 X\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 20 X\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n", Refusal::Malformed),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Refusal::Malformed),
    ] {
        assert_eq!(refusal_of(bytes), Some(expected), "{bytes:?}");
    }
}

#[test]
fn t110_huge_heads_are_refused() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65));
    for (bytes, expected) in [(long, Refusal::HeadTooLarge), (many, Refusal::HeadTooLarge)] {
        assert_eq!(refusal_of(bytes), Some(expected));
    }
    let just = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "X: y\r\n".repeat(63));
    assert_eq!(refusal_of(just), None);
}

#[test]
fn t110_what_never_ends_is_bounded_in_bytes() {
    for (first, again, expected) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n", Refusal::Flood),
        ("", "HTTP/1.1 102 Processing\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n", Refusal::Flood),
        ("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", Refusal::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\n", "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Refusal::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", Refusal::BodyTooLarge),
        ("HTTP/1.1 200 OK\r\n\r\n", "hello", Refusal::BodyTooLarge),
    ] {
        let answer = run(async {
            let peer = Peer::repeats(first, again, Duration::ZERO).await;
            get(peer.url("/")).await
        });
        assert_eq!(answer.err(), Some(expected), "{first:?} {again:?}");
    }
    // Extensions of chunks and trailers have caps of their own in the HTTP library, below the one on all bytes.
    for (first, again) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "T: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        ),
    ] {
        let answer = run(async {
            let peer = Peer::repeats(first, again, Duration::ZERO).await;
            get(peer.url("/")).await
        });
        assert!(matches!(answer, Err(Refusal::Malformed | Refusal::Flood)), "{first:?}: {answer:?}");
    }
}

#[test]
fn t110_what_drips_is_cut_at_the_deadline() {
    for first in ["", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"] {
        run(async {
            let peer = Peer::repeats(first, "H", Duration::from_secs(1)).await;
            let caps = Caps { deadline: Duration::from_millis(300), answer_max: 1_000 };
            let start = Instant::now();
            let answer = named().fetch(Request::get(peer.url("/"), "*/*"), caps).await;
            assert_eq!(answer.err(), Some(Refusal::Deadline), "{first:?}");
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        });
    }
}

#[test]
fn connections_that_break_are_told_from_those_that_never_stood() {
    run(async {
        let reset = Peer::with(|mut stream| async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await?;
            stream.set_zero_linger()
        })
        .await;
        assert_eq!(get(reset.url("/")).await.err(), Some(Refusal::Broken));
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(get(format!("http://{gone}/")).await.err(), Some(Refusal::Connect));
    });
}

#[test]
fn a_dropped_call_closes_its_connection() {
    run(async {
        let peer = Peer::with(|mut stream| async move { drain(&mut stream).await }).await;
        let call = tokio::spawn(get(peer.url("/")));
        while peer.seen.heads.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(peer.seen.closed.load(Ordering::SeqCst), 0);
        call.abort();
        for _ in 0..200 {
            if peer.seen.closed.load(Ordering::SeqCst) == 1 {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("the connection is still open");
    });
}

// ---- TLS.

/// Calls `host` at a TLS peer with this certificate, trusting these authorities; names resolve to the peer.
fn over_tls(certificate: &[u8], roots: &[&[u8]], host: &str) -> (Result<Answer, Refusal>, Vec<Option<String>>, usize) {
    run(async {
        let names = Arc::new(Mutex::new(Vec::new()));
        let peer = tls_peer(certificate, Arc::clone(&names)).await;
        let (resolver, _) = Scripted::new(&[&["127.0.0.1"]]);
        let config = FetchConfig {
            extra_roots: roots.iter().map(|root| root.to_vec()).collect(),
            named_hosts: vec![host.to_owned()],
            ..FetchConfig::default()
        };
        let client = Fetch::with_resolver(config, resolver).unwrap();
        let url = format!("https://{host}:{}/", peer.address.port());
        let answer = client.fetch(Request::get(url, "*/*"), CAPS).await;
        let requests = peer.seen.heads.lock().unwrap().len();
        let names = names.lock().unwrap().clone();
        (answer, names, requests)
    })
}

#[test]
fn seed_bug_39_tls_accepts_the_configured_authority_for_the_name_in_the_url() {
    for (host, sni) in [("idp.test", Some("idp.test")), ("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let (answer, names, requests) = over_tls(SERVER, &[OTHER_AUTHORITY, AUTHORITY], host);
        assert_eq!(answer.map(|answer| answer.body), Ok(b"secret garden".to_vec()), "{host}");
        assert_eq!((names, requests), (vec![sni.map(str::to_owned)], 1), "{host}");
    }
}

#[test]
fn r79_tls_refuses_other_authorities_other_names_and_old_certificates() {
    for (certificate, roots, host) in [
        (SERVER, &[][..], "idp.test"),
        (SERVER, &[OTHER_AUTHORITY], "idp.test"),
        (SERVER, &[AUTHORITY], "evil.test"),
        (SERVER, &[AUTHORITY], "sub.idp.test"),
        (EXPIRED_SERVER, &[AUTHORITY], "idp.test"),
    ] {
        let (answer, _, requests) = over_tls(certificate, roots, host);
        assert_eq!(answer.err(), Some(Refusal::Certificate), "{host}");
        assert_eq!(requests, 0, "nothing is sent to {host}");
    }
}

#[test]
fn tls_that_is_none_is_refused() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Plain HTTP\r\n\r\n").await.unwrap();
            let _ = drain(&mut stream).await;
        });
        assert_eq!(get(format!("https://{address}/")).await.err(), Some(Refusal::Tls));
        peer.await.unwrap();
    });
}

#[test]
fn tls_cut_short_is_no_whole_body() {
    run(async {
        let chain = CertificateDer::pem_slice_iter(SERVER).collect::<Result<Vec<_>, _>>().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_request(&mut stream).await;
            // A body that ends with the connection, and a connection that ends without saying so.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[]").await.unwrap();
            stream.flush().await.unwrap();
            stream.into_inner().0.shutdown().await.unwrap();
        });
        let config = FetchConfig {
            extra_roots: vec![AUTHORITY.to_vec()],
            named_hosts: vec!["127.0.0.1".into()],
            ..FetchConfig::default()
        };
        let answer = Fetch::new(config).unwrap().fetch(Request::get(format!("https://{address}/"), "*/*"), CAPS).await;
        assert_eq!(answer.err(), Some(Refusal::Broken));
        peer.await.unwrap();
    });
}

#[test]
fn calls_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let client = named();
    is_send(&client.fetch(Request::get("https://a.example/".into(), "*/*"), CAPS));
}
