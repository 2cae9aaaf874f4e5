//! The admin listener at a Unix socket (T287): for its own user alone, and what becomes of its file.

use super::harness::{Gate, Provider, Request, Upstream, World, configuration, eventually, until_ready};
use super::operator::{TOKEN, with};
use super::process::Process;
use super::two::session;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A folder with a place for a socket in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let name = format!("pc-admin-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// What lies in it, by name.
    fn holds(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn listen(path: &Path) -> Value {
    json!(format!("unix:{}", path.display()))
}

fn at(path: &Path) -> World {
    with(|config| config["adminListen"] = listen(path))
}

/// Status line and body of the answer to one request.
fn ask(path: &Path, request: &Request) -> (String, String) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&request.clone().header("Connection", "close").bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Why a gate with this configuration does not start.
fn refused(path: &Path) -> String {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    config["adminListen"] = listen(path);
    Gate::try_embedding(&config, Vec::new()).err().unwrap()
}

#[test]
fn t287_the_admin_listener_at_a_socket_serves_its_own_user_and_wants_the_token_all_the_same() {
    let folder = Folder::new();
    let path = folder.socket();
    let world = at(&path);
    let file = std::fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o777, 0o600, "nobody else may connect");
    assert_eq!(folder.holds(), ["admin.sock"], "nothing else is left there");
    session(&world, &world.public_client("A client"), |ask| ask);
    for page in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&path, &Request::get(page)).0, "HTTP/1.1 200 OK", "{page}");
    }
    let sessions = Request::get("/sessions?subject=ada");
    assert_eq!(ask(&path, &sessions).0, "HTTP/1.1 401 Unauthorized");
    let (status, body) = ask(&path, &sessions.bearer(TOKEN));
    assert!(status == "HTTP/1.1 200 OK" && body.contains("\"state\":\"lives\""), "{status} {body}");
    let cut = Request::json("/cuts", &json!({ "subject": "ada" })).bearer(TOKEN);
    assert_eq!(ask(&path, &cut).1, "{\"outcome\":\"cut\"}");
    // The lines of the manual, with this path in the place of theirs.
    let manual = include_str!("../../docs/operations.md");
    let lines: Vec<&str> = manual.lines().filter(|line| line.contains("/run/portcullis/admin.sock")).collect();
    let lines = lines.iter().filter(|line| line.starts_with("curl") || line.starts_with("portcullis"));
    let mut ran = 0;
    for line in lines {
        let line = line.replace("/run/portcullis/admin.sock", path.to_str().unwrap());
        let line = line.replace("portcullis health", &format!("{} health", env!("CARGO_BIN_EXE_portcullis")));
        let auth = format!("Authorization: Bearer {TOKEN}");
        let said = Command::new("sh").args(["-ec", &line]).env("AUTH", auth).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&said.stderr));
        assert!(text.contains("\"state\":\"cut\"") || text.contains("\"status\":\"ok\""), "{line}: {text}");
        ran += 1;
    }
    assert_eq!(ran, 2);
    drop(world);
    eventually("the file goes with the gate", || folder.holds().is_empty());
}

#[test]
fn t287_a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let folder = Folder::new();
    let path = folder.socket();
    // As after a kill: the file is there, and nobody listens.
    drop(UnixListener::bind(&path).unwrap());
    let world = at(&path);
    assert_eq!(ask(&path, &Request::get("/livez")).0, "HTTP/1.1 200 OK");
    // Somebody listens: a second gate does not start, and the first one does not notice.
    let why = refused(&path);
    assert!(why.contains("cannot listen at") && why.contains("admin.sock"), "{why}");
    assert_eq!(ask(&path, &Request::get("/livez")).0, "HTTP/1.1 200 OK");
    // What somebody else has put in its place stays when the gate ends.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "no socket").unwrap();
    let why = refused(&path);
    assert!(why.contains("cannot listen at"), "{why}");
    let public = world.gate.public();
    drop(world);
    eventually("it has ended", || std::net::TcpStream::connect(public).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no socket");
    assert!(refused(&folder.0.join("nowhere").join("admin.sock")).contains("cannot listen at"));
}

#[test]
fn t287_the_public_listener_may_be_handed_over_beside_it() {
    let (folder, provider, upstream) = (Folder::new(), Provider::start(), Upstream::start());
    let path = folder.socket();
    let mut config = configuration(&provider, &upstream);
    let handed = TcpListener::bind(config["listen"].as_str().unwrap()).unwrap();
    let public = handed.local_addr().unwrap();
    config["adminListen"] = listen(&path);
    let process = Process::start(&config, "", Stdio::from(OwnedFd::from(handed)));
    until_ready(public);
    assert_eq!(ask(&path, &Request::get("/readyz")).0, "HTTP/1.1 200 OK");
    // Killed, it leaves the file behind; the next one takes its place.
    drop(process);
    assert_eq!(folder.holds(), ["admin.sock"]);
    config["listen"] = super::harness::free_address().to_string().into();
    let _next = Gate::start(&config);
    assert_eq!(ask(&path, &Request::get("/livez")).0, "HTTP/1.1 200 OK");
}
