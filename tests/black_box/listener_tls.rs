//! The public listener over TLS.
//!
//! | id | where |
//! |---|---|
//! | T238 | `t238_…` |
//! | T246 | the handshake's deadline in `adapters/tests/http/tls.rs` |

use super::harness::browser::call_request;
use super::harness::{Answer, BASE, Connection, HOST, Request, World, eventually, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ProtocolVersion};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn with_certificate(config: &mut Value) {
    config["tls"] = json!({ "certFile": tls::file("server.pem"), "keyFile": tls::file("server-key.pem") });
}

fn connect(world: &World, config: &Arc<ClientConfig>, name: &'static str) -> Connection {
    Connection::to(world.gate.public()).secured(config, name)
}

fn all() -> Arc<ClientConfig> {
    tls::client(rustls::ALL_VERSIONS, &["http/1.1"])
}

fn leaf(name: &str) -> CertificateDer<'static> {
    CertificateDer::pem_file_iter(tls::file(name)).unwrap().next().unwrap().unwrap()
}

/// What the gate shows to whoever comes now.
fn shown(world: &World) -> CertificateDer<'static> {
    let mut connection = connect(world, &all(), HOST);
    connection.shake().unwrap();
    connection.tls.unwrap().peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_login_and_its_calls_go_over_tls_as_they_do_without() {
    let world = World::with(with_certificate);
    let tokens = world.tokens(&world.public_client("A client"));
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    let seen = world.upstream.only();
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-for")), (Some("https"), Some("127.0.0.1")));
    assert_eq!(
        world.send(&Request::get("/health")).header("strict-transport-security").is_some(),
        BASE.starts_with("https")
    );

    // Events come one by one, and not when the stream ends.
    let (answer, events) = Answer::events(&[]);
    let mut answer = Some(answer);
    world.upstream.answers(move |_| answer.take().unwrap());
    let mut stream = world.connect();
    stream.send(&Request::get("/mcp").header("Accept", "text/event-stream").bearer(&tokens.access));
    assert_eq!(stream.head().unwrap().status, 200);
    for event in [":one\n\n", ":two\n\n"] {
        events.send(event);
        assert_eq!(stream.chunk().unwrap().as_deref(), Some(event.as_bytes()));
    }
    events.finish();
    assert_eq!(stream.chunk().unwrap(), None);

    // Much in both directions.
    let body = "x".repeat(1 << 20);
    let echo = format!("{{\"back\":\"{body}\"}}");
    let sent = echo.clone();
    world.upstream.answers(move |_| Answer::json(&echo));
    let mut connection = world.connect();
    for _ in 0..3 {
        let answer = connection.exchange(&call_request("/mcp", &tokens.access).body(sent.clone()));
        assert_eq!((answer.status, answer.text() == sent), (200, true));
    }
    assert!(world.upstream.seen().pop().unwrap().body == sent.as_bytes());
}

#[test]
fn t238_both_versions_one_protocol_and_one_certificate_for_every_name() {
    let world = World::with(with_certificate);
    for (versions, version) in
        [([&rustls::version::TLS12], ProtocolVersion::TLSv1_2), ([&rustls::version::TLS13], ProtocolVersion::TLSv1_3)]
    {
        for (offered, agreed) in
            [(&["http/1.1"][..], Some("http/1.1")), (&["h2", "http/1.1"], Some("http/1.1")), (&[], None)]
        {
            let mut connection = connect(&world, &tls::client(&versions, offered), HOST);
            assert_eq!(connection.exchange(&Request::get("/health")).status, 200);
            let tls = connection.tls.as_ref().unwrap();
            assert_eq!(tls.protocol_version(), Some(version));
            assert_eq!(tls.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
        }
        // RFC 7301 section 3.2: nothing in common is the end.
        let error = connect(&world, &tls::client(&versions, &["h2"]), HOST).shake().unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        // An address as name sends none at all.
        for name in ["localhost", "127.0.0.1"] {
            let mut connection = connect(&world, &tls::client(&versions, &[]), name);
            assert_eq!(connection.exchange(&Request::get("/.well-known/jwks.json")).status, 200, "{name}");
            let misdirected = Request::get("/.well-known/jwks.json").header("Host", name);
            assert_eq!(connection.exchange(&misdirected).status, 421, "the name in the handshake is no Host");
        }
        // The client is the one who finds that the certificate is another's.
        let error = connect(&world, &tls::client(&versions, &[]), "other.example").shake().unwrap_err();
        assert!(error.to_string().contains("certificate not valid for name"), "{error}");
    }
}

#[test]
fn t238_what_is_older_or_no_tls_at_all_gets_no_answer() {
    let world = World::with(with_certificate);
    // RFC 5246 section 7.4.1.2, in the version before, with a suite of that time.
    let hello = {
        let mut body = vec![3, 2];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
    };
    for said in [hello, Request::get("/health").bytes(), b"\x16\x03\x01\xff\xff".repeat(4_000)] {
        let mut connection = Connection::to(world.gate.public());
        connection.write(&said);
        let heard = connection.rest();
        assert!(heard.is_empty() || (heard[0] == 21 && heard.len() == 7), "{heard:?}");
    }
    eventually("they are counted", || world.counted("portcullis_tls_handshakes_failed_total") >= 3);
    assert_eq!(world.send(&Request::get("/health")).status, 200);
}

#[test]
fn t238_a_session_that_is_taken_up_again_sends_nothing_early() {
    let world = World::with(with_certificate);
    let config = tls::client(&[&rustls::version::TLS13], &["http/1.1"]);
    let mut first = connect(&world, &config, HOST);
    assert_eq!(first.exchange(&Request::get("/health")).status, 200);
    let mut second = connect(&world, &config, HOST);
    assert!(second.tls.as_mut().unwrap().early_data().is_none(), "a ticket allows early data");
    assert_eq!(second.exchange(&Request::get("/health")).status, 200);
}

/// A folder of this test alone, which goes when it ends.
struct Folder(PathBuf);

impl Folder {
    fn put(&self, from: &str, to: &str) {
        // As it is done well: written beside, then moved.
        let beside = self.0.join("beside");
        std::fs::copy(tls::file(from), &beside).unwrap();
        std::fs::rename(beside, self.0.join(to)).unwrap();
    }

    fn at(&self, name: &str) -> &Path {
        Box::leak(self.0.join(name).into_boxed_path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_certificate_is_shown_soon_and_a_broken_one_never() {
    let folder = Folder(std::env::temp_dir().join(format!("portcullis-certificates-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).unwrap();
    folder.put("server.pem", "cert.pem");
    folder.put("server-key.pem", "key.pem");
    let world = World::with(|config| {
        config["tls"] = json!({ "certFile": folder.at("cert.pem"), "keyFile": folder.at("key.pem") });
    });
    assert_eq!(shown(&world), leaf("server.pem"));
    let mut before = world.connect();
    assert_eq!(before.exchange(&Request::get("/health")).status, 200);

    folder.put("next.pem", "cert.pem");
    folder.put("next-key.pem", "key.pem");
    eventually("the new certificate is shown", || shown(&world) == leaf("next.pem"));
    assert_eq!(before.exchange(&Request::get("/health")).status, 200, "who was inside stays inside");

    folder.put("server-key.pem", "key.pem");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(shown(&world), leaf("next.pem"), "a key of another certificate");
    std::fs::remove_file(folder.at("cert.pem")).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(shown(&world), leaf("next.pem"), "no file");
    folder.put("server.pem", "cert.pem");
    eventually("it is mended", || shown(&world) == leaf("server.pem"));
}

#[test]
fn a_certificate_that_cannot_be_used_does_not_load() {
    for (certificate, key, wrong) in [
        ("server.pem", "next-key.pem", "not the certificate's"),
        ("server-key.pem", "server-key.pem", "private key in it"),
        ("server.pem", "server.pem", "without a PEM private key"),
    ] {
        let refused = std::panic::catch_unwind(|| {
            World::with(|config| {
                config["tls"] = json!({ "certFile": tls::file(certificate), "keyFile": tls::file(key) });
            })
        });
        let said = refused.err().map(|said| *said.downcast::<String>().unwrap()).unwrap_or_default();
        assert!(said.contains("tls") && said.contains(wrong), "{certificate} {key}: {said}");
    }
}

#[test]
fn t281_what_is_at_rest_ends_in_the_words_of_tls() {
    let world = World::with(with_certificate);
    let mut connection = world.gate.connect(Ipv4Addr::LOCALHOST);
    assert_eq!(connection.exchange(&Request::get("/health")).status, 200);
    world.gate.stop();
    // A connection that is cut would be an error here.
    assert_eq!(connection.read(&mut [0; 16]).unwrap(), 0);
}
