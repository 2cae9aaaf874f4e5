//! An honest person and their client, who only want their answers.

use crate::harness::browser::{call_request, exchange_request};
use crate::harness::{Ask, Client, Connection, Pkce, Script, Tokens, World};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where the honest client is.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// A person who is logged in with a client.
pub struct Honest<'a> {
    world: &'a World,
    client: Client,
    tokens: Mutex<Tokens>,
}

/// How long calls took.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    calls: usize,
    p50: Duration,
    pub p99: Duration,
    most: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, p50, p99, most } = self;
        write!(out, "p50 {p50:.1?}, p99 {p99:.1?}, at the most {most:.1?} ({calls} calls)")
    }
}

impl<'a> Honest<'a> {
    /// Registers and logs in.
    pub fn enter(world: &'a World) -> Self {
        let client = world.public_client("An honest client");
        let tokens = Mutex::new(enter(world, &client, Script::default()));
        Self { world, client, tokens }
    }

    /// What nobody may hear.
    pub fn secrets(&self) -> Vec<String> {
        let tokens = self.tokens.lock().unwrap();
        [&tokens.access, &tokens.refresh].map(|token| token[token.len() - 24..].to_owned()).to_vec()
    }

    /// Calls for this long, with nobody beside.
    pub fn alone(&self, lasts: Duration) -> Told {
        self.beside(|| thread::sleep(lasts)).0
    }

    /// Calls while something else happens, over one connection as clients do, and refreshes now and then. Others log in
    /// meanwhile: one person's logins would end their own first session in the end.
    pub fn beside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> (Told, T) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let calls = scope.spawn(|| self.call_until(&over));
            let logins = scope.spawn(|| {
                for number in 0_u32.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    enter(self.world, &self.client, Script::person(&format!("honest-{number}")));
                    thread::sleep(Duration::from_millis(500));
                }
            });
            let done = act();
            over.store(true, Ordering::Relaxed);
            logins.join().expect("an honest person could not log in");
            (calls.join().expect("an honest client was not answered"), done)
        })
    }

    fn call_until(&self, over: &AtomicBool) -> Told {
        let mut connection = self.world.gate.connect(HERE);
        let mut took = Vec::new();
        while !over.load(Ordering::Relaxed) {
            if took.len() % 500 == 499 {
                self.refresh();
            }
            let access = self.tokens.lock().unwrap().access.clone();
            let begun = Instant::now();
            let answer = connection.exchange(&call_request("/mcp", &access));
            took.push(begun.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.text());
            thread::sleep(Duration::from_millis(4));
        }
        took.sort_unstable();
        let at = |part: usize| took[took.len() * part / 100];
        Told { calls: took.len(), p50: at(50), p99: at(99), most: *took.last().unwrap() }
    }

    fn refresh(&self) {
        let mut tokens = self.tokens.lock().unwrap();
        let request = crate::harness::browser::refresh_request(&self.client, &tokens.refresh);
        *tokens = Tokens::of(&self.world.send_from(HERE, &request));
    }

    /// After all of it the session is what it was.
    pub fn still_in(&self) {
        self.refresh();
        let access = self.tokens.lock().unwrap().access.clone();
        assert_eq!(Connection::from(HERE, self.world.gate.public()).last(&call_request("/mcp", &access)).status, 200);
    }
}

/// A whole login: browser, provider and client.
fn enter(world: &World, client: &Client, person: Script) -> Tokens {
    let pkce = Pkce::new();
    let code = world.code_for(&Ask::of(client, &pkce), person);
    Tokens::of(&world.send_from(HERE, &exchange_request(client, &code, &pkce)))
}
