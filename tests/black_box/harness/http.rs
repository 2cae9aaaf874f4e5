//! A strict HTTP/1.1 client on a bare socket: it sends exactly what it is told, and takes nothing that RFC 9112 does not allow.

use super::{HOST, SILENCE};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

/// A request that is still being put together. `Host` is the gate's unless another is given.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// A POST of a form.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(target: &str, fields: &[(N, V)]) -> Self {
        Self::post(target).header("Content-Type", "application/x-www-form-urlencoded").body(form(fields))
    }

    /// A POST of JSON.
    pub fn json(target: &str, body: &Value) -> Self {
        Self::post(target).header("Content-Type", "application/json").body(body.to_string())
    }

    /// Adds a header; one that is there already stays, so that it stands twice.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// `client_secret_basic`, encoded as RFC 6749 section 2.3.1 says.
    pub fn basic(self, id: &str, secret: &str) -> Self {
        use base64::Engine as _;
        let pair = format!("{}:{}", escape(id), escape(secret));
        self.header("Authorization", &format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair)))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            head.push_str(&format!("Host: {HOST}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A form, everything escaped that is not unreserved.
pub fn form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", escape(name.as_ref()), escape(value.as_ref()))).collect();
    pairs.join("&")
}

/// Percent escapes for everything that is not unreserved.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Undoes [`escape`], and `+` for a space.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// The fields of a query or form, in order.
pub fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (unescape(n), unescape(v))).collect()
}

/// What a response begins with.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The one header of this name. Panics if it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands more than once: {self:?}");
        all.first().copied()
    }

    /// All headers of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, which the content type must say too.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `error` of a JSON refusal.
    #[track_caller]
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text())).to_owned()
    }

    /// It is a refusal in the form of RFC 6749 section 5.2, with this status and error, and holds nothing else.
    #[track_caller]
    pub fn refuses(&self, status: u16, error: &str) {
        let body = self.json();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(error)), "{body}");
        let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["error", "error_description"]);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.all("set-cookie").is_empty() && self.header("location").is_none(), "{self:?}");
    }

    /// Where a redirect leads.
    #[track_caller]
    pub fn location(&self) -> &str {
        assert!(matches!(self.status, 302 | 303), "{} {}", self.status, self.text());
        self.header("location").unwrap()
    }
}

/// Why what came is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection ended before anything came.
    Closed,
    /// It ended in the middle.
    Truncated,
    /// Nothing more came in time.
    Silent,
    /// It breaks a rule of RFC 9112.
    Malformed(String),
}

/// A connection that is kept as long as the test wants.
pub struct Connection {
    pub stream: TcpStream,
    /// Between the stream and what is said here, if TLS is spoken.
    pub tls: Option<Box<ClientConnection>>,
    ahead: Vec<u8>,
}

/// One request on a connection of its own, which must end cleanly after the answer.
#[track_caller]
pub fn once(to: SocketAddr, request: &Request) -> Response {
    Connection::to(to).last(request)
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// The same; an error if nobody listens.
    pub fn reach(address: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(address).map(Self::over)
    }

    /// From another address of this machine, so that limits that count addresses count somebody else.
    pub fn from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((source, 0).into()).unwrap();
            socket.connect(address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        Self { stream, tls: None, ahead: Vec::new() }
    }

    /// The same over TLS, with a server of this name.
    pub fn secured(mut self, config: &Arc<ClientConfig>, name: &'static str) -> Self {
        let name = ServerName::try_from(name).unwrap();
        self.tls = Some(Box::new(ClientConnection::new(Arc::clone(config), name).unwrap()));
        self
    }

    /// What the TLS handshake leads to.
    pub fn shake(&mut self) -> std::io::Result<()> {
        let tls = self.tls.as_mut().unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        Ok(())
    }

    /// Some bytes of what comes; none at a clean end.
    pub fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.stream.read(buffer),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).read(buffer),
        }
    }

    /// Sends bytes as they are. Whether the other side still wants them is not asked.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = match &mut self.tls {
            None => self.stream.write_all(bytes),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).write_all(bytes),
        };
    }

    pub fn send(&mut self, request: &Request) {
        self.write(&request.bytes());
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads the whole answer.
    #[track_caller]
    pub fn exchange(&mut self, request: &Request) -> Response {
        self.send(request);
        self.response(&request.method).unwrap_or_else(|broken| panic!("{broken:?}"))
    }

    /// Sends a request, reads the whole answer, and sees the connection end.
    #[track_caller]
    pub fn last(mut self, request: &Request) -> Response {
        let response = self.exchange(&request.clone().header("Connection", "close"));
        self.expect_end();
        response
    }

    /// Reads a whole answer to a request with this method; interim answers are skipped.
    pub fn response(&mut self, method: &str) -> Result<Response, Broken> {
        loop {
            let mut response = self.head()?;
            if response.status >= 200 {
                response.body = self.body(&response, method)?;
                return Ok(response);
            }
        }
    }

    /// Reads status and headers only; the body of a stream then comes by [`Connection::chunk`].
    pub fn head(&mut self) -> Result<Response, Broken> {
        if self.ahead.is_empty() && !self.fill()? {
            return Err(Broken::Closed);
        }
        let line = self.line()?;
        let bad = || Broken::Malformed(format!("status line {line:?}"));
        let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(bad)?;
        let (code, _) = rest.split_once(' ').ok_or_else(bad)?;
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status: code.parse().unwrap(), headers, body: Vec::new() });
            }
            let bad = || Broken::Malformed(format!("header line {line:?}"));
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_field = |byte: u8| byte == b'\t' || (0x20..=0x7e).contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_field) {
                return Err(bad());
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked body; nothing after the last one.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let line = self.line()?;
        let bad = || Broken::Malformed(format!("chunk size {line:?}"));
        if line.is_empty() || line.len() > 16 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let size = usize::from_str_radix(&line, 16).map_err(|_| bad())?;
        let data = self.exactly(size)?;
        match self.line()?.as_str() {
            "" => Ok((size > 0).then_some(data)),
            other => Err(Broken::Malformed(format!("after a chunk {other:?}"))),
        }
    }

    fn body(&mut self, head: &Response, method: &str) -> Result<Vec<u8>, Broken> {
        let malformed = |what: &str| Err(Broken::Malformed(format!("{what}: {head:?}")));
        let (coding, length) = (head.all("transfer-encoding"), head.all("content-length"));
        if coding.len() + length.len() > 1 {
            return malformed("two framings");
        }
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            return Ok(Vec::new());
        }
        if let [coding] = coding[..] {
            if coding != "chunked" {
                return malformed("a coding that nobody asked for");
            }
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
            return Ok(body);
        }
        if let [length] = length[..] {
            return match length.parse() {
                Ok(length) if !length_has_sign(length, head) => self.exactly(length),
                _ => malformed("a length that is no number"),
            };
        }
        if head.header("connection") != Some("close") {
            return malformed("no framing");
        }
        while self.fill()? {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Nothing may follow but the end of the connection.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "", "bytes after the answer");
    }

    /// Everything until the connection ends; a reset is an end too.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill().unwrap_or_else(|broken| panic!("{broken:?}")) {}
        std::mem::take(&mut self.ahead)
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").ok_or_else(|| Broken::Malformed("a bare LF".to_owned()))?;
                return String::from_utf8(line.to_vec()).map_err(|_| Broken::Malformed("a line of bytes".to_owned()));
            }
            if !self.fill()? {
                return Err(Broken::Truncated);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.ahead.len() < length {
            if !self.fill()? {
                return Err(Broken::Truncated);
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    fn fill(&mut self) -> Result<bool, Broken> {
        let mut buffer = [0; 16 << 10];
        match self.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Broken::Silent),
            Err(_) => Ok(false),
        }
    }
}

/// `parse` takes a plus sign, RFC 9112 does not.
fn length_has_sign(_length: usize, head: &Response) -> bool {
    head.all("content-length").iter().any(|text| !text.bytes().all(|byte| byte.is_ascii_digit()))
}
