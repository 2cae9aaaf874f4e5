//! The identity provider's adapter against providers that are late, wrong, slow, broken, or change their keys.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

use portcullis_adapters::fetch::{Fetch, FetchConfig};
use portcullis_adapters::oidc::{Oidc, Pace, named_host};
use portcullis_domain::jose::jwk::{Key, KeySet};
use portcullis_domain::limits::{PROVIDER_CALLS_MAX, PROVIDER_FAILURES_MAX};
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::secret::SecretText;
use portcullis_ports::{IdentityProvider, Unreachable};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Fast enough to wait for, slow enough to count.
const PACE: Pace = Pace {
    deadline: Duration::from_millis(500),
    retry_first: Duration::from_millis(20),
    retry_max: Duration::from_millis(100),
    again: Duration::from_secs(60),
    refetch_pause: Duration::from_secs(60),
    keys_kept: Duration::from_secs(60),
    left_alone: Duration::from_secs(60),
};

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

// ---- A provider that does as it is told.

/// What is answered at one path: status and body, or nothing for ever.
#[derive(Clone)]
enum Says {
    This(u16, String),
    Nothing,
}

struct Scripted {
    address: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

struct Script {
    document: Mutex<Says>,
    keys: Mutex<Says>,
    token: Mutex<Says>,
    key_reads: AtomicUsize,
    document_reads: AtomicUsize,
    token_calls: AtomicUsize,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// A provider that does everything right.
    async fn good() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script {
            document: Mutex::new(Says::This(200, document(&format!("http://{address}"), &format!("http://{address}")))),
            keys: Mutex::new(Says::This(200, keys(&["first"]))),
            token: Mutex::new(Says::This(200, "{}".to_owned())),
            key_reads: AtomicUsize::new(0),
            document_reads: AtomicUsize::new(0),
            token_calls: AtomicUsize::new(0),
        });
        let told = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&told)));
            }
        });
        Self { address, script, task }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn oidc(&self, pace: Pace) -> Oidc {
        oidc(&self.issuer(), pace)
    }

    /// The adapter with everything read once.
    async fn known(&self, pace: Pace) -> (Oidc, Running) {
        let oidc = self.oidc(pace);
        let running = Running::start(&oidc);
        let begin = Instant::now();
        while oidc.discovered().is_none() || self.key_reads() == 0 {
            assert!(begin.elapsed() < Duration::from_secs(5), "never discovered");
            sleep(Duration::from_millis(5)).await;
        }
        (oidc, running)
    }

    fn key_reads(&self) -> usize {
        self.script.key_reads.load(Ordering::SeqCst)
    }

    fn document_reads(&self) -> usize {
        self.script.document_reads.load(Ordering::SeqCst)
    }

    fn token_calls(&self) -> usize {
        self.script.token_calls.load(Ordering::SeqCst)
    }

    fn say_document(&self, says: Says) {
        *self.script.document.lock().unwrap() = says;
    }

    fn say_keys(&self, says: Says) {
        *self.script.keys.lock().unwrap() = says;
    }

    fn say_token(&self, says: Says) {
        *self.script.token.lock().unwrap() = says;
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Script>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&piece[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let says = match path {
        "/.well-known/openid-configuration" => {
            script.document_reads.fetch_add(1, Ordering::SeqCst);
            script.document.lock().unwrap().clone()
        }
        "/keys" => {
            script.key_reads.fetch_add(1, Ordering::SeqCst);
            script.keys.lock().unwrap().clone()
        }
        "/token" => {
            script.token_calls.fetch_add(1, Ordering::SeqCst);
            script.token.lock().unwrap().clone()
        }
        _ => Says::This(404, String::new()),
    };
    match says {
        Says::This(status, body) => {
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
        }
        Says::Nothing => {}
    }
    // Held open until the client leaves.
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}

fn document(issuer: &str, origin: &str) -> String {
    format!(
        r#"{{"issuer":"{issuer}","authorization_endpoint":"{origin}/auth","token_endpoint":"{origin}/token","jwks_uri":"{origin}/keys"}}"#
    )
}

fn keys(names: &[&str]) -> String {
    KeySet::of(names.iter().map(|name| Key::ed25519([7; 32]).with_kid((*name).to_owned())).collect()).to_json()
}

fn oidc(issuer: &str, pace: Pace) -> Oidc {
    let named_hosts = vec![named_host(issuer).unwrap()];
    Oidc::new(issuer.into(), Fetch::new(FetchConfig { named_hosts, ..FetchConfig::default() }).unwrap(), pace)
}

/// The background future, ended with the test.
struct Running(JoinHandle<()>);

impl Running {
    fn start(oidc: &Oidc) -> Self {
        let oidc = oidc.clone();
        Self(tokio::spawn(async move {
            oidc.run().await;
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn names(keys: &KeySet) -> Vec<&str> {
    keys.keys().iter().filter_map(Key::kid).collect()
}

fn request(url: String) -> BackChannel {
    BackChannel { url, authorization: Some(SecretText::new("Basic Zzpn".into())), body: SecretText::new("a=b".into()) }
}

// ---- The document.

#[test]
fn t201_a_provider_that_is_late_is_found_when_it_comes() {
    run(async {
        // A port that nobody listens on yet.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let oidc = oidc(&format!("http://{address}"), PACE);
        let _running = Running::start(&oidc);
        sleep(Duration::from_millis(100)).await;
        assert!(oidc.discovered().is_none());
        assert_eq!(oidc.keys().await, Err(Unreachable));

        let provider = Scripted::good().await;
        let (found, _running) = provider.known(PACE).await;
        assert_eq!(found.discovered().unwrap().issuer.only(), Some(provider.issuer().as_str()));
        assert_eq!(names(&found.keys().await.unwrap()), ["first"]);
    });
}

#[test]
fn t193_a_document_that_is_no_good_is_never_adopted_and_the_next_good_one_is() {
    run(async {
        let provider = Scripted::good().await;
        let (issuer, good) = (provider.issuer(), document(&provider.issuer(), &provider.issuer()));
        let bad = [
            Says::This(200, document("https://id.example", &issuer)),
            Says::This(200, document(&format!("{issuer}/"), &issuer)),
            Says::This(200, document(&issuer, "http://id.example")),
            Says::This(200, document(&issuer, "http://127.0.0.1:1")),
            Says::This(200, "<!DOCTYPE html><title>Maintenance</title>".to_owned()),
            Says::This(200, format!(r#"{{"issuer":"{issuer}"}}"#)),
            Says::This(200, good.replacen('{', &format!(r#"{{"issuer":"{issuer}","#), 1)),
            Says::This(200, format!("{good}{}", " ".repeat(300 * 1024))),
            Says::This(500, good.clone()),
            Says::This(302, good.clone()),
            Says::This(204, String::new()),
            Says::Nothing,
        ];
        let pace = Pace { deadline: Duration::from_millis(50), retry_max: Duration::from_millis(20), ..PACE };
        for (number, says) in bad.into_iter().enumerate() {
            provider.say_document(says);
            let oidc = provider.oidc(pace);
            let _running = Running::start(&oidc);
            let before = provider.document_reads();
            while provider.document_reads() < before + 2 {
                sleep(Duration::from_millis(5)).await;
            }
            assert!(oidc.discovered().is_none(), "case {number}");
            provider.say_document(Says::This(200, good.clone()));
            while oidc.discovered().is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
}

#[test]
fn r28_t193_cve_2026_53513_endpoints_that_lead_inside_are_not_called() {
    run(async {
        let inside = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = inside.local_addr().unwrap().port();
        let provider = Scripted::good().await;
        let issuer = provider.issuer();
        let places =
            [&format!("https://127.0.0.2:{port}"), "https://127.0.0.2", "https://169.254.169.254", "https://[::1]"];
        for place in places {
            let lying = document(&issuer, &issuer).replace(&format!("{issuer}/keys"), &format!("{place}/keys"));
            provider.say_document(Says::This(200, lying));
            let oidc = provider.oidc(PACE);
            let before = provider.document_reads();
            let _running = Running::start(&oidc);
            while provider.document_reads() == before {
                sleep(Duration::from_millis(5)).await;
            }
            assert!(oidc.keys().await.is_err(), "{place}");
            assert!(oidc.send(request(format!("{place}/token"))).await.is_err(), "{place}");
        }
        assert_eq!(provider.key_reads(), 0);
        assert!(
            tokio::time::timeout(Duration::from_millis(50), inside.accept()).await.is_err(),
            "somebody called inside"
        );
    });
}

#[test]
fn t193_the_last_good_document_stays_when_a_later_one_is_wrong() {
    run(async {
        let provider = Scripted::good().await;
        let pace = Pace { again: Duration::from_millis(20), ..PACE };
        let (oidc, _running) = provider.known(pace).await;
        let first = oidc.discovered().unwrap();
        for says in [
            Says::This(200, document("https://id.example", &provider.issuer())),
            Says::This(503, String::new()),
            Says::This(200, "<html>".to_owned()),
        ] {
            provider.say_document(says);
            let before = provider.document_reads();
            while provider.document_reads() < before + 2 {
                sleep(Duration::from_millis(5)).await;
            }
            assert!(Arc::ptr_eq(&oidc.discovered().unwrap(), &first));
        }
        let moved = document(&provider.issuer(), &provider.issuer()).replace("/auth", "/elsewhere");
        provider.say_document(Says::This(200, moved));
        while Arc::ptr_eq(&oidc.discovered().unwrap(), &first) {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(oidc.discovered().unwrap().authorization_endpoint.ends_with("/elsewhere"));
    });
}

#[test]
fn t201_failures_are_retried_ever_more_slowly() {
    run(async {
        let provider = Scripted::good().await;
        provider.say_document(Says::This(500, String::new()));
        let pace = Pace { retry_first: Duration::from_millis(50), retry_max: Duration::from_millis(400), ..PACE };
        let oidc = provider.oidc(pace);
        let _running = Running::start(&oidc);
        sleep(Duration::from_millis(1_000)).await;
        // 50, 100, 200, 400, 400 ms, each a fifth more or less.
        assert!((3..=6).contains(&provider.document_reads()), "{}", provider.document_reads());
    });
}

// ---- The keys.

#[test]
fn t199_a_new_key_is_found_and_a_removed_one_is_gone() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(PACE).await;
        let known = oidc.keys().await.unwrap();
        provider.say_keys(Says::This(200, keys(&["second"])));
        assert_eq!(names(&oidc.keys().await.unwrap()), ["first"], "read once, and then from memory");
        assert_eq!(names(&oidc.newer_keys(&known).await.unwrap()), ["second"]);
        assert_eq!(names(&oidc.keys().await.unwrap()), ["second"]);
        assert_eq!(provider.key_reads(), 2);
    });
}

#[test]
fn t199_a_flood_of_unknown_names_costs_one_fetch() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(PACE).await;
        let known = oidc.keys().await.unwrap();
        let asks: Vec<_> = (0..1_000)
            .map(|_| {
                let (oidc, known) = (oidc.clone(), Arc::clone(&known));
                tokio::spawn(async move { oidc.newer_keys(&known).await })
            })
            .collect();
        for ask in asks {
            assert_eq!(names(&ask.await.unwrap().unwrap()), ["first"]);
        }
        assert_eq!(provider.key_reads(), 2);
        // One after the other, each with what it was given last.
        for _ in 0..1_000 {
            let known = oidc.keys().await.unwrap();
            assert!(Arc::ptr_eq(&oidc.newer_keys(&known).await.unwrap(), &known));
        }
        assert_eq!(provider.key_reads(), 2);
    });
}

#[test]
fn t199_the_pause_between_two_fetches_ends() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(Pace { refetch_pause: Duration::from_millis(100), ..PACE }).await;
        let mut known = oidc.keys().await.unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(550) {
            known = oidc.newer_keys(&known).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        assert!((4..=8).contains(&provider.key_reads()), "{}", provider.key_reads());
    });
}

#[test]
fn t199_keys_that_cannot_be_read_leave_the_last_good_ones() {
    run(async {
        for says in [
            Says::This(200, r#"{"keys":[]}"#.to_owned()),
            Says::This(200, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#.to_owned()),
            Says::This(200, "<html>".to_owned()),
            Says::This(500, keys(&["second"])),
            Says::This(302, keys(&["second"])),
            Says::Nothing,
        ] {
            let provider = Scripted::good().await;
            let (oidc, _running) = provider.known(PACE).await;
            let known = oidc.keys().await.unwrap();
            provider.say_keys(says);
            assert_eq!(oidc.newer_keys(&known).await, Err(Unreachable));
            assert_eq!(oidc.newer_keys(&known).await, Err(Unreachable), "a failure is remembered, not repeated");
            assert_eq!(provider.key_reads(), 2);
            assert!(Arc::ptr_eq(&oidc.keys().await.unwrap(), &known));
        }
    });
}

#[test]
fn t199_keys_are_not_kept_for_ever() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(Pace { keys_kept: Duration::from_millis(200), ..PACE }).await;
        let known = oidc.keys().await.unwrap();
        provider.say_keys(Says::This(500, String::new()));
        assert_eq!(oidc.newer_keys(&known).await, Err(Unreachable));
        assert!(oidc.keys().await.is_ok());
        sleep(Duration::from_millis(250)).await;
        assert_eq!(oidc.keys().await, Err(Unreachable));
    });
}

#[test]
fn t199_keys_are_read_again_without_anybody_asking() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(Pace { again: Duration::from_millis(20), ..PACE }).await;
        provider.say_keys(Says::This(200, keys(&["second"])));
        while names(&oidc.keys().await.unwrap()) != ["second"] {
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn t201_keys_that_come_late_are_fetched_when_they_are_needed() {
    run(async {
        let provider = Scripted::good().await;
        provider.say_keys(Says::This(503, String::new()));
        let pace = Pace {
            retry_first: Duration::from_secs(60),
            retry_max: Duration::from_secs(60),
            refetch_pause: Duration::from_millis(50),
            ..PACE
        };
        let (oidc, _running) = provider.known(pace).await;
        assert_eq!(oidc.keys().await, Err(Unreachable));
        provider.say_keys(Says::This(200, keys(&["first"])));
        sleep(Duration::from_millis(60)).await;
        let known = oidc.keys().await.unwrap();
        // The provider changes its keys right after: the first token to say so is believed.
        provider.say_keys(Says::This(200, keys(&["second"])));
        assert_eq!(names(&oidc.newer_keys(&known).await.unwrap()), ["second"]);
    });
}

#[test]
fn t199_whoever_hangs_up_does_not_take_the_fetch_along() {
    run(async {
        let provider = Scripted::good().await;
        let (oidc, _running) = provider.known(PACE).await;
        let known = oidc.keys().await.unwrap();
        provider.say_keys(Says::This(200, keys(&["second"])));
        {
            let mut ask = pin!(oidc.newer_keys(&known));
            let waits = poll_fn(|context| Poll::Ready(ask.as_mut().poll(context).is_pending())).await;
            assert!(waits, "the answer cannot be there at once");
        }
        assert_eq!(names(&oidc.newer_keys(&known).await.unwrap()), ["second"]);
        assert_eq!(provider.key_reads(), 2);
    });
}

// ---- The back channel.

#[test]
fn t194_whatever_the_back_channel_answers_is_handed_on_and_silence_ends() {
    run(async {
        let provider = Scripted::good().await;
        let oidc = provider.oidc(PACE);
        let url = format!("{}/token", provider.issuer());
        for (status, body) in [(200, "{}"), (302, ""), (429, "{}"), (500, "<html>"), (400, r#"{"error":"x"}"#)] {
            provider.say_token(Says::This(status, body.to_owned()));
            let answer = oidc.send(request(url.clone())).await.unwrap_or_else(|_| panic!("{status}"));
            assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()));
            assert_eq!(answer.content_type.as_deref(), Some("application/json"));
        }
        for says in [Says::This(200, " ".repeat(300 * 1024)), Says::Nothing] {
            provider.say_token(says);
            let begin = Instant::now();
            assert!(oidc.send(request(url.clone())).await.is_err());
            assert!(begin.elapsed() < PACE.deadline * 4);
        }
    });
}

#[test]
fn t201_only_so_many_wait_for_a_provider_that_hangs() {
    run(async {
        let provider = Scripted::good().await;
        let oidc = provider.oidc(Pace { deadline: Duration::from_secs(60), ..PACE });
        let url = format!("{}/token", provider.issuer());
        provider.say_token(Says::Nothing);
        let call = || {
            let (oidc, request) = (oidc.clone(), request(url.clone()));
            tokio::spawn(async move { oidc.send(request).await.is_ok() })
        };
        let waiting: Vec<JoinHandle<bool>> = (0..PROVIDER_CALLS_MAX).map(|_| call()).collect();
        let begin = Instant::now();
        while provider.token_calls() < PROVIDER_CALLS_MAX {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} calls", provider.token_calls());
            sleep(Duration::from_millis(5)).await;
        }
        assert!(oidc.send(request(url.clone())).await.is_err(), "told at once");
        assert_eq!((provider.token_calls(), waiting.iter().any(JoinHandle::is_finished)), (PROVIDER_CALLS_MAX, false));
        // Whoever leaves makes room, and says nothing about the provider.
        for call in waiting {
            call.abort();
            assert!(call.await.is_err());
        }
        provider.say_token(Says::This(200, "{}".to_owned()));
        assert!(oidc.send(request(url)).await.is_ok());
    });
}

#[test]
fn t201_a_provider_that_does_not_answer_is_left_alone_and_found_again() {
    run(async {
        let provider = Scripted::good().await;
        let url = format!("{}/token", provider.issuer());
        provider.say_token(Says::Nothing);
        let most = usize::try_from(PROVIDER_FAILURES_MAX).unwrap();
        let pace = Pace { deadline: Duration::from_millis(250), ..PACE };
        let oidc = provider.oidc(pace);
        for _ in 0..most + 3 {
            assert!(oidc.send(request(url.clone())).await.is_err());
        }
        assert!(provider.token_calls() <= most, "the others were told at once");
        // Whoever answers for it, or for want of anything better, does not count as its answer.
        let (oidc, before) = (provider.oidc(pace), provider.token_calls());
        for status in [502, 503, 504, 502, 503] {
            provider.say_token(Says::This(status, String::new()));
            assert_eq!(oidc.send(request(url.clone())).await.map(|answer| answer.status).ok(), Some(status));
        }
        assert!(oidc.send(request(url.clone())).await.is_err());
        assert_eq!(provider.token_calls(), before + most);
        provider.say_token(Says::Nothing);
        // With a shorter pause: one finds out that it answers.
        let oidc = provider.oidc(Pace { left_alone: Duration::from_millis(50), ..pace });
        for _ in 0..most {
            assert!(oidc.send(request(url.clone())).await.is_err());
        }
        provider.say_token(Says::This(400, r#"{"error":"x"}"#.to_owned()));
        let begin = Instant::now();
        while oidc.send(request(url.clone())).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "never asked again");
            sleep(Duration::from_millis(10)).await;
        }
    });
}
