//! What the tests of the command stand on: a folder, a process that ends with its test, a socket, and a scripted provider.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take here before the test gives up; machines that run tests are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The 32 bytes 0 to 31 in base64: a key that no output may show.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A client secret that no output may show.
pub(crate) const CLIENT_SECRET: &str = "a-client-secret-that-is-never-shown";

/// A folder of this test alone, which goes when it ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("portcullis-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only this user can read.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    pub(crate) fn config(&self, config: &Value) -> PathBuf {
        self.put("portcullis.json", &config.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command with these words, knowing nothing of this process' environment but where programs are.
pub(crate) fn portcullis<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command that ends of itself.
pub(crate) fn ended<'a>(words: impl IntoIterator<Item = &'a str>) -> Ended {
    Process::start(portcullis(words)).wait()
}

/// A command that runs; it is killed with its test.
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
}

/// What a stream has said so far.
struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let write = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                write.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Everything, once the process has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (out, err) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    pub(crate) fn serve(config: &Path) -> Self {
        Self::start(portcullis(["serve", "--config", config.to_str().unwrap()]))
    }

    pub(crate) fn out(&self) -> String {
        self.out.so_far()
    }

    pub(crate) fn err(&self) -> String {
        self.err.so_far()
    }

    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
    }

    /// Waits for it to end of itself.
    pub(crate) fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended { status: status.code(), out: self.out.whole(), err: self.err.whole() }
    }

    /// Waits until something holds of it; it must not end meanwhile.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?} before {what}:\n{}{}", self.out(), self.err());
            assert!(begun.elapsed() < PATIENCE, "not {what} in time:\n{}{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the gate there says that it is well.
    pub(crate) fn until_healthy(&mut self, at: SocketAddr) {
        self.until("healthy", |_| {
            let health = Request::get("/health").try_send(at);
            health.is_some_and(|got| got.body == r#"{"status":"ok"}"#)
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    // The system may well give the same one again, and a test that asks twice wants two.
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(address) {
            return address;
        }
    }
}

/// An HTTP request over a connection of its own.
#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    headers: String,
    body: String,
}

impl Request {
    pub(crate) fn get(target: &str) -> Self {
        Self { line: format!("GET {target} HTTP/1.1"), headers: String::new(), body: String::new() }
    }

    pub(crate) fn post(target: &str, kind: &str, body: &str) -> Self {
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        Self { line: format!("POST {target} HTTP/1.1"), headers, body: body.to_owned() }
    }

    pub(crate) fn form<'f>(target: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let body = portcullis_domain::wire::form::encode(fields);
        Self::post(target, "application/x-www-form-urlencoded", &body)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sends it and leaves the answer to be read.
    pub(crate) fn begin(&self, at: SocketAddr) -> std::io::Result<TcpStream> {
        let mut socket = TcpStream::connect(at)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let Self { line, headers, body } = self;
        write!(socket, "{line}\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n{body}")?;
        Ok(socket)
    }

    pub(crate) fn try_send(&self, at: SocketAddr) -> Option<Got> {
        Got::read(self.begin(at).ok()?)
    }

    pub(crate) fn send(&self, at: SocketAddr) -> Got {
        self.try_send(at).unwrap_or_else(|| panic!("no answer to {}", self.line))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Got {
    /// Reads to the end of the connection.
    pub(crate) fn read(mut socket: TcpStream) -> Option<Self> {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    /// Where it sends the browser.
    pub(crate) fn location(&self) -> &str {
        assert!(matches!(self.status, 302 | 303), "{}\n{}", self.head, self.body);
        self.field("location").unwrap()
    }

    /// The value of a hidden field of the page.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let (_, rest) =
            self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{self:?}"));
        rest.split('"').next().unwrap().replace("&amp;", "&")
    }
}

/// The value of a parameter in a URL's query.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let form = portcullis_domain::wire::form::Form::parse(query).unwrap();
    form.fields().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("no {name} in {url}")).1.to_owned()
}

/// Answers every request on a free address of loopback, until the process ends.
pub(crate) fn answer(with: impl Fn(SocketAddr, &str, &mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read > 0) {
                head.extend_from_slice(&byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            with(at, head.split(' ').nth(1).unwrap_or_default(), &mut socket);
        }
    });
    at
}

/// An OpenID provider that has a discovery document and a key, and logs nobody in.
pub(crate) fn provider() -> SocketAddr {
    answer(|at, path, socket| {
        let base = format!("http://{at}");
        let body = match path {
            "/.well-known/openid-configuration" => json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
                "jwks_uri": format!("{base}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
            }),
            // The key of RFC 7517 appendix A.1.
            "/keys" => json!({ "keys": [{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            }] }),
            _ => json!({}),
        };
        let _ = reply(socket, "200 OK", &body.to_string());
    })
}

/// Writes one answer of JSON.
pub(crate) fn reply(socket: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        socket,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A good configuration.
pub(crate) fn config(listen: SocketAddr, admin: SocketAddr, provider: SocketAddr, upstream: SocketAddr) -> Value {
    json!({
        "baseUrl": format!("http://{listen}"),
        "listen": listen.to_string(),
        "adminListen": admin.to_string(),
        "masterKeys": [MASTER_KEY],
        "provider": "oidc",
        "oidc": { "issuerUrl": format!("http://{provider}"), "clientId": "gate", "clientSecret": CLIENT_SECRET },
        "resources": [{ "path": "/mcp", "upstream": format!("http://{upstream}/mcp"), "scopes": ["mcp"] }],
    })
}
