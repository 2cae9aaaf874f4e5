//! The demonstration's MCP server: two tools over streamable HTTP, for clients of both generations.
//!
//! Revisions 2025-03-26 to 2025-11-25 begin with `initialize`; 2026-07-28 has no beginning, and every request says in its
//! `_meta` and its header fields what it is. Neither needs a session here, and every answer is one JSON document.

use super::answer::{self, Answer, is_meant, json, one, only};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use portcullis_adapters::http::{BodyFault, Handler, Peer, RequestBody};
use portcullis_domain::limits;
use portcullis_domain::wire::json::{Json, Number, ObjectWriter, parse};
use std::borrow::Cow;
use std::net::SocketAddr;

/// Where it is.
pub(super) const PATH: &str = "/mcp";

/// The server. It remembers nothing.
#[derive(Clone, Copy)]
pub(super) struct Tools {
    address: SocketAddr,
}

impl Tools {
    /// A server that will listen there.
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address }
    }
}

impl Handler for Tools {
    async fn handle(&self, request: Box<Request<RequestBody>>, _: Peer) -> Answer {
        if !is_meant(request.headers(), self.address) {
            return answer::empty(StatusCode::MISDIRECTED_REQUEST);
        }
        if request.uri().path() != PATH {
            return answer::empty(StatusCode::NOT_FOUND);
        }
        if request.method() != Method::POST {
            return only("POST");
        }
        let (head, body) = request.into_parts();
        // A form of another site cannot have this type, so that no page can make a browser call a tool.
        let kind = one(&head.headers, &CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            return answer::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        match body.gather(limits::RESOURCE_BODY_MAX.into()).await {
            Ok(body) => answer_to(&head.headers, &body),
            Err(BodyFault::TooLarge) => answer::empty(StatusCode::PAYLOAD_TOO_LARGE),
            Err(BodyFault::Broken) => answer::empty(StatusCode::BAD_REQUEST),
        }
    }
}

/// The revision without sessions.
const STATELESS: &str = "2026-07-28";
/// The revisions with `initialize`, the newest first.
const WITH_SESSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// A JSON-RPC error, and the status that it comes with.
struct Fault {
    status: StatusCode,
    code: i64,
    message: &'static str,
    data: Option<ObjectWriter>,
}

impl Fault {
    const fn new(status: StatusCode, code: i64, message: &'static str) -> Self {
        Self { status, code, message, data: None }
    }

    /// About what was asked for, and not about how: the answer is an ordinary one.
    const fn inside(code: i64, message: &'static str) -> Self {
        Self::new(StatusCode::OK, code, message)
    }

    const fn bad_request(code: i64, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
const SERVER_ERROR: i64 = -32_000;
const HEADER_MISMATCH: i64 = -32_020;
const UNSUPPORTED_VERSION: i64 = -32_022;

fn answer_to(headers: &HeaderMap, body: &[u8]) -> Answer {
    let most = usize::try_from(limits::RESOURCE_BODY_MAX).unwrap_or(usize::MAX);
    let Ok(message) = parse(body, most) else {
        return fault(&Json::Null, Fault::bad_request(PARSE_ERROR, "not JSON"));
    };
    let id = match message.member("id") {
        Some(id @ (Json::Text(_) | Json::Number(_))) => id,
        Some(_) => return fault(&Json::Null, Fault::bad_request(INVALID_REQUEST, "an id is a text or a number")),
        // Nothing to answer: a notification.
        None if is_rpc(&message) && message.required_text("method").is_ok() => {
            return answer::empty(StatusCode::ACCEPTED);
        }
        None => return fault(&Json::Null, Fault::bad_request(INVALID_REQUEST, "not one JSON-RPC message")),
    };
    if is_rpc(&message) && message.member("method").is_none() {
        // An answer, although nothing was asked.
        return answer::empty(StatusCode::ACCEPTED);
    }
    match call(headers, &message) {
        Ok(result) => json(StatusCode::OK, reply(id).object("result", result)),
        Err(refused) => fault(id, refused),
    }
}

fn is_rpc(message: &Json) -> bool {
    message.required_text("jsonrpc") == Ok("2.0")
}

fn reply(id: &Json) -> ObjectWriter {
    ObjectWriter::new().text("jsonrpc", "2.0").json("id", id)
}

fn fault(id: &Json, fault: Fault) -> Answer {
    let error =
        ObjectWriter::new().json("code", &Json::Number(Number::Negative(fault.code))).text("message", fault.message);
    let error = if let Some(data) = fault.data { error.object("data", data) } else { error };
    json(fault.status, reply(id).object("error", error))
}

fn call(headers: &HeaderMap, message: &Json) -> Result<ObjectWriter, Fault> {
    let malformed = Fault::bad_request(INVALID_REQUEST, "not a JSON-RPC request");
    let (true, Ok(method)) = (is_rpc(message), message.required_text("method")) else { return Err(malformed) };
    let params = message.member("params").unwrap_or(&Json::Null);
    let meta = params.member("_meta").unwrap_or(&Json::Null);
    let named = one(headers, &PROTOCOL_VERSION);
    match meta.member(META_VERSION) {
        Some(Json::Text(version)) => {
            judge(headers, method, params, version)?;
            stateless(headers, method, params)
        }
        Some(_) => Err(Fault::bad_request(INVALID_PARAMS, "the protocol version in _meta is not a text")),
        None if named == Some(STATELESS) => {
            Err(Fault::bad_request(INVALID_PARAMS, "_meta does not name the protocol version"))
        }
        None if headers.contains_key(PROTOCOL_VERSION)
            && !named.is_some_and(|named| WITH_SESSIONS.contains(&named)) =>
        {
            Err(Fault::bad_request(SERVER_ERROR, "this protocol version is not spoken here"))
        }
        None => with_sessions(headers, method, params),
    }
}

/// What a request of the stateless revision says of itself in its fields must be what it says in its body.
fn judge(headers: &HeaderMap, method: &str, params: &Json, version: &str) -> Result<(), Fault> {
    let mismatch = |message| Err(Fault::bad_request(HEADER_MISMATCH, message));
    if one(headers, &PROTOCOL_VERSION) != Some(version) {
        return mismatch("MCP-Protocol-Version is not what the body says");
    }
    if version != STATELESS {
        let data = ObjectWriter::new().texts("supported", [STATELESS]).text("requested", version);
        let fault = Fault::bad_request(UNSUPPORTED_VERSION, "this protocol version is not spoken here");
        return Err(Fault { data: Some(data), ..fault });
    }
    if one(headers, &METHOD) != Some(method) {
        return mismatch("Mcp-Method is not what the body says");
    }
    if method == "tools/call" {
        let named = one(headers, &NAME).and_then(plain);
        if named.as_deref() != params.required_text("name").ok() {
            return mismatch("Mcp-Name is not what the body says");
        }
    }
    let capabilities = params.member("_meta").and_then(|meta| meta.member(META_CAPABILITIES));
    if capabilities.is_some_and(|capabilities| capabilities.members().is_ok()) {
        Ok(())
    } else {
        Err(Fault::bad_request(INVALID_PARAMS, "_meta does not name the client's capabilities"))
    }
}

/// A field's value, which is base64 where it could not stand there as it is.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(Cow::Borrowed(value)),
        Some(coded) => STANDARD.decode(coded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Cow::Owned),
    }
}

fn stateless(headers: &HeaderMap, method: &str, params: &Json) -> Result<ObjectWriter, Fault> {
    let result = match method {
        "server/discover" => cacheable(
            ObjectWriter::new()
                .texts("supportedVersions", [STATELESS])
                .object("capabilities", capabilities())
                .text("instructions", INSTRUCTIONS),
        ),
        "tools/list" => cacheable(tools()),
        "tools/call" => use_tool(headers, params)?,
        _ => return Err(Fault::new(StatusCode::NOT_FOUND, METHOD_NOT_FOUND, "no such method")),
    };
    Ok(result.text("resultType", "complete").object("_meta", ObjectWriter::new().object(META_SERVER, server())))
}

/// May be kept by nobody, for no time: what a person sees is theirs.
fn cacheable(result: ObjectWriter) -> ObjectWriter {
    result.number("ttlMs", 0).text("cacheScope", "private")
}

fn with_sessions(headers: &HeaderMap, method: &str, params: &Json) -> Result<ObjectWriter, Fault> {
    match method {
        "initialize" => {
            let wished = params.required_text("protocolVersion").unwrap_or_default();
            let [newest, ..] = WITH_SESSIONS;
            let version = WITH_SESSIONS.into_iter().find(|known| *known == wished).unwrap_or(newest);
            Ok(ObjectWriter::new()
                .text("protocolVersion", version)
                .object("capabilities", capabilities())
                .object("serverInfo", server())
                .text("instructions", INSTRUCTIONS))
        }
        "ping" => Ok(ObjectWriter::new()),
        "tools/list" => Ok(tools()),
        "tools/call" => use_tool(headers, params),
        _ => Err(Fault::inside(METHOD_NOT_FOUND, "no such method")),
    }
}

const INSTRUCTIONS: &str =
    "A demonstration behind Portcullis: echo repeats a message, whoami tells who the gate says you are.";

fn server() -> ObjectWriter {
    ObjectWriter::new().text("name", "portcullis-demo").text("version", env!("CARGO_PKG_VERSION"))
}

fn capabilities() -> ObjectWriter {
    ObjectWriter::new().object("tools", ObjectWriter::new())
}

fn tools() -> ObjectWriter {
    let message = ObjectWriter::new().text("type", "string").text("description", "What to repeat");
    let echo =
        schema().object("properties", ObjectWriter::new().object("message", message)).texts("required", ["message"]);
    ObjectWriter::new().objects(
        "tools",
        [
            tool("echo", "Repeats a message", echo),
            tool("whoami", "Tells who the gate says is asking", schema().object("properties", ObjectWriter::new())),
        ],
    )
}

fn schema() -> ObjectWriter {
    ObjectWriter::new().text("type", "object")
}

fn tool(name: &str, description: &str, input: ObjectWriter) -> ObjectWriter {
    ObjectWriter::new()
        .text("name", name)
        .text("description", description)
        .object("inputSchema", input)
        .object("annotations", ObjectWriter::new().boolean("readOnlyHint", true).boolean("openWorldHint", false))
}

fn use_tool(headers: &HeaderMap, params: &Json) -> Result<ObjectWriter, Fault> {
    let arguments = params.member("arguments").unwrap_or(&Json::Null);
    match params.required_text("name") {
        Ok("echo") => Ok(match arguments.required_text("message") {
            Ok(message) => says(&format!("Echo: {message}")),
            Err(_) => says("echo needs the argument message, a text").boolean("isError", true),
        }),
        Ok("whoami") => Ok(whoami(headers)),
        _ => Err(Fault::inside(INVALID_PARAMS, "no such tool")),
    }
}

fn says(text: &str) -> ObjectWriter {
    ObjectWriter::new().objects("content", [ObjectWriter::new().text("type", "text").text("text", text)])
}

/// What the gate tells its upstream of the person, and the token that it must not have passed on.
const IDENTITY: [(&str, &str, HeaderName); 5] = [
    ("user", "user", HeaderName::from_static("x-forwarded-user")),
    ("email", "email", HeaderName::from_static("x-forwarded-email")),
    ("groups", "groups", HeaderName::from_static("x-forwarded-groups")),
    ("preferredUsername", "preferred user name", HeaderName::from_static("x-forwarded-preferred-username")),
    ("session", "session", HeaderName::from_static("x-session-id")),
];

fn whoami(headers: &HeaderMap) -> ObjectWriter {
    let mut text = String::new();
    let mut found = ObjectWriter::new();
    for (member, words, name) in IDENTITY {
        let value = one(headers, &name);
        found = found.optional_text(member, value);
        for piece in [words, ": ", value.unwrap_or("(not told)"), "\n"] {
            text.push_str(piece);
        }
    }
    let leaked = headers.contains_key(AUTHORIZATION);
    text.push_str(if leaked {
        "An Authorization header arrived here."
    } else {
        "No Authorization header arrived here: the token stayed at the gate."
    });
    says(&text).object("structuredContent", found.boolean("authorizationArrived", leaked))
}
