//! A service that stands behind the gate in the same process.

use crate::harness::browser::call_request;
use crate::harness::{Ask, Gate, Pkce, Provider, Request, Tokens, Upstream, World, configuration, eventually};
use hyper::body::{Body, Bytes, Frame};
use hyper::{Request as Asked, Response};
use portcullis::embed::{AnswerBody, Embedded, ProtectedEndpoint, RequestBody, Visitor};
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// What the service has seen.
#[derive(Default)]
struct Seen {
    heads: Mutex<Vec<String>>,
    open: AtomicUsize,
}

/// Says who asks; streams for GET; answers whatever status the target asks for.
struct Tools(Arc<Seen>);

impl ProtectedEndpoint for Tools {
    type Request = Asked<RequestBody>;
    type Response = Response<AnswerBody>;

    async fn answer(&self, request: Self::Request, visitor: Arc<Visitor>) -> Self::Response {
        let (head, body) = request.into_parts();
        self.0.heads.lock().unwrap().push(format!("{:?}", head.headers));
        if head.method == "GET" {
            self.0.open.fetch_add(1, Ordering::SeqCst);
            let stream = AnswerBody::stream(Endless { seen: Arc::clone(&self.0), said: false });
            return Response::builder().header("Content-Type", "text/event-stream").body(stream).unwrap();
        }
        let length = match body.gather(1 << 20).await {
            Ok(bytes) => bytes.len(),
            Err(_) => return Response::builder().status(413).body(AnswerBody::empty()).unwrap(),
        };
        let status: u16 = head.uri.query().and_then(|query| query.parse().ok()).unwrap_or(200);
        let said = json!({
            "subject": visitor.claims.subject,
            "email": visitor.claims.email,
            "session": visitor.session,
            "scopes": visitor.scopes.line(),
            "length": length,
        });
        Response::builder()
            .status(status)
            .header("Content-Type", "application/json")
            .header("Connection", "x-private")
            .header("X-Private", "1")
            .header("WWW-Authenticate", "Basic")
            .header("Mcp-Session-Id", "session-of-the-service")
            .body(AnswerBody::from(said.to_string()))
            .unwrap()
    }
}

/// What somebody is shown of the person's ID token: by the visitor, and by the request.
pub type Shown = (Option<String>, Option<String>);

/// Writes down what it is shown of the person's ID token.
pub struct Whoami(pub Arc<Mutex<Vec<Shown>>>);

impl ProtectedEndpoint for Whoami {
    type Request = Asked<RequestBody>;
    type Response = Response<AnswerBody>;

    async fn answer(&self, request: Self::Request, visitor: Arc<Visitor>) -> Self::Response {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let id_token = visitor.id_token.as_ref().map(|token| token.expose().to_owned());
        self.0.lock().unwrap().push((id_token, authorization));
        Response::new(AnswerBody::empty())
    }
}

/// One event, and then nothing until somebody drops it.
struct Endless {
    seen: Arc<Seen>,
    said: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.said, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: one\n\n")))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A gate before such a service, and what the service has seen.
fn embedded() -> (World, Arc<Seen>) {
    let (provider, upstream, seen) = (Provider::start(), Upstream::start(), Arc::new(Seen::default()));
    let mut config = configuration(&provider, &upstream);
    config["resources"][0]["upstream"] = json!("embedded");
    config["resources"][0]["requestBytes"] = json!(1_000);
    let gate = Gate::embedding(&config, vec![("/mcp".to_owned(), Embedded::new(Tools(Arc::clone(&seen))))]);
    gate.until_ready();
    (World::around(gate, provider, upstream), seen)
}

#[test]
fn m19_an_embedded_service_knows_who_asks_and_never_sees_the_token() {
    let (world, seen) = embedded();
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let ask = Ask::of(&client, &pkce).set("scope", "mcp openid");
    let tokens = Tokens::of(&world.exchange(&client, &world.code_for(&ask, Default::default()), &pkce));
    world.send(&Request::get("/mcp")).refuses(401, "invalid_token");
    assert!(seen.heads.lock().unwrap().is_empty(), "a stranger gets no further than the gate");
    let request =
        call_request("/mcp", &tokens.access).header("X-Forwarded-User", "root").header("Cookie", "pc-x=1; own=2");
    let answer = world.send(&request);
    let said = answer.json();
    assert_eq!((&said["subject"], &said["email"]), (&json!("ada"), &json!("ada@example.com")));
    assert_eq!(said["scopes"], json!("mcp openid"));
    assert_eq!(said["length"], json!(request.body.as_ref().unwrap().len()));
    let head = seen.heads.lock().unwrap().pop().unwrap();
    assert!(!head.contains(&tokens.access) && !head.contains("authorization") && !head.contains("root"), "{head}");
    assert!(
        head.contains("\"x-forwarded-user\": \"ada\"") && head.contains("own=2") && !head.contains("pc-x"),
        "{head}"
    );
    assert!(head.contains(said["session"].as_str().unwrap()));
    // The rules of an answer hold.
    for name in ["x-private", "www-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let bound = answer.header("mcp-session-id").unwrap();
    assert!(bound.starts_with("session-of-the-service."), "{bound}");
    let next = world.send(&call_request("/mcp", &tokens.access).header("Mcp-Session-Id", bound));
    assert_eq!(next.status, 200);
    assert!(seen.heads.lock().unwrap().pop().unwrap().contains("\"session-of-the-service\""));
    world.send(&call_request("/mcp?401", &tokens.access)).refuses(502, "bad_gateway");
    assert_eq!(world.send(&call_request("/mcp?404", &tokens.access)).status, 404);
    let large = call_request("/mcp", &tokens.access).body("x".repeat(1_001));
    assert_eq!(world.send(&large).status, 413);
}

#[test]
fn t235_p05_an_embedded_stream_ends_with_its_session() {
    let (world, seen) = embedded();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let mut stream = world.connect();
    stream.send(&Request::get("/mcp").bearer(&tokens.access).header("Accept", "text/event-stream"));
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().unwrap(), b"data: one\n\n");
    assert_eq!(seen.open.load(Ordering::SeqCst), 1);
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    eventually("the stream is dropped", || seen.open.load(Ordering::SeqCst) == 0);
    assert!(stream.chunk().is_err());
    // Whoever hangs up ends it too.
    let tokens = world.tokens(&client);
    let mut stream = world.connect();
    stream.send(&Request::get("/mcp").bearer(&tokens.access));
    assert_eq!(stream.head().unwrap().status, 200);
    drop(stream);
    eventually("the stream is dropped", || seen.open.load(Ordering::SeqCst) == 0);
}

#[test]
fn an_embedded_resource_needs_its_service_and_a_service_its_resource() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    let tools = || Embedded::new(Tools(Arc::default()));
    let said = |config: &serde_json::Value, services| Gate::try_embedding(config, services).err().unwrap();
    assert!(said(&config, vec![("/mcp".to_owned(), tools())]).contains("no embedded resource at /mcp"));
    config["resources"][0]["upstream"] = json!("embedded");
    assert!(said(&config, Vec::new()).contains("resources[0].upstream: is embedded"));
    assert!(said(&config, vec![("/other".to_owned(), tools())]).contains("is embedded"));
}
