//! Many people over few connections, while everything goes wrong that can: clients leave, the server lies, breaks off and answers
//! twice. No answer reaches anybody else, and what the gate took it gives back.
//!
//! ```text
//! cargo test --test soak
//! SOAK_REQUESTS=1000000 SOAK_PEOPLE=1000 cargo test --release --test soak -- --nocapture
//! ```
//!
//! The gate is a process, and everything goes over sockets. Who asks what, on which connection, and what goes wrong then follows
//! from a seed, which is printed and can be given as `SOAK_SEED`. In every request and every answer stands a canary: a word that
//! names its person and stands nowhere else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests may panic, and the figures are there to be read"
)]

#[path = "../engine/chance.rs"]
#[allow(dead_code, reason = "the simulation draws more kinds of numbers")]
mod chance;
mod client;
mod fault;
#[path = "../black_box/harness/mod.rs"]
mod harness;
mod server;

use chance::Chance;
use client::{Tally, Worker};
use harness::process::{Process, gate};
use harness::{Ask, Pkce, RESOURCE, SCOPE, Script, Tokens, World, at_once};
use server::Server;
use std::time::{Duration, Instant};

/// Workers, each with some kept connections.
const WORKERS: usize = 12;
/// Resident bytes that the gate may hold more at the end than when half of the requests were answered: what the allocator's pages come
/// and go by. A million requests of which each that is left leaves a hundred bytes behind bring more.
const GROWTH_MAX: f64 = 3e6;
/// Parts of the run; after each it is seen what the gate holds.
const PARTS: u64 = 4;

#[test]
fn r16_t236_p10_no_answer_reaches_another_person_and_what_was_taken_is_given_back() {
    let (requests, people) = (given("SOAK_REQUESTS", 20_000), given("SOAK_PEOPLE", 200));
    let seed = given("SOAK_SEED", u64::from(std::process::id()));
    println!("SOAK_SEED={seed}: {requests} requests of {people} people");
    let folder = std::env::temp_dir().join(format!("portcullis-soak-{}", std::process::id()));
    let server = Server::start();
    let (process, world) = gate(&folder, |config| {
        config["resources"][0]["upstream"] = format!("http://{}/mcp", server.address).into();
    });
    let tokens = log_in(&world, usize::try_from(people).unwrap());
    let mut chance = Chance::new(seed);

    let begun = Instant::now();
    let (mut tally, mut held) = (Tally::default(), vec![settled(&process, &server)]);
    for _ in 0..PARTS {
        tally = tally.join(work(&world, &tokens, &mut chance, requests / PARTS));
        held.push(settled(&process, &server));
    }
    std::fs::remove_dir_all(folder).unwrap();

    let Tally { requests, answered, refused, broken, left, unlucky, wrong } = &tally;
    println!(
        "{requests} requests in {:.0} s: {answered} answered, {refused} refused in the server's place,",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "{broken} broken off with it, {left} left by their clients, {unlucky} lost with a connection that was kept too long"
    );
    let seen: Vec<String> = held.iter().map(Held::to_string).collect();
    println!("held before, and after each quarter: {}", seen.join("; "));
    let (before, after) = (held[held.len() / 2], held[held.len() - 1]);
    let all: Vec<&String> = wrong.iter().collect();
    assert!(all.is_empty(), "{} answers are wrong, such as {:#?}", all.len(), &all[..all.len().min(5)]);
    let wrong = server.wrong();
    assert!(wrong.is_empty(), "{} requests are wrong, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    // The run is worth nothing if it does not see what it is about.
    for (what, count) in [("answered", answered), ("refused", refused), ("broken off", broken), ("left", left)] {
        assert!(*count > requests / 200, "only {count} requests were {what}");
    }
    assert!(*unlucky < requests / 50, "{unlucky} requests were lost");
    assert!(after.descriptors <= before.descriptors, "descriptors are not given back: {before}, then {after}");
    assert!(after.resident <= before.resident + GROWTH_MAX, "memory is not given back: {before}, then {after}");
}

fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A session of each person.
fn log_in(world: &World, people: usize) -> Vec<String> {
    let client = world.public_client("A soak");
    let login = |number: usize| {
        let pkce = Pkce::new();
        let ask = Ask::of(&client, &pkce).set("resource", RESOURCE).set("scope", SCOPE);
        let code = world.code_for(&ask, Script::person(&format!("person-{number:04}")));
        Tokens::of(&world.exchange(&client, &code, &pkce)).access
    };
    let logins = at_once(4, |worker| (worker..people).step_by(4).map(|number| (number, login(number))).collect());
    let mut logins: Vec<(usize, String)> = logins.into_iter().flat_map(|own: Vec<_>| own).collect();
    logins.sort();
    logins.into_iter().map(|(_, access)| access).collect()
}

fn work(world: &World, tokens: &[String], chance: &mut Chance, requests: u64) -> Tally {
    let branches: Vec<Chance> = (0..WORKERS).map(|_| chance.branch()).collect();
    let share = requests / WORKERS as u64;
    let tallies =
        at_once(WORKERS, |worker| Worker::new(world.gate.public(), tokens, branches[worker].clone()).work(share));
    tallies.into_iter().fold(Tally::default(), Tally::join)
}

/// What the gate holds when nobody asks anything.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    resident: f64,
}

impl std::fmt::Display for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} descriptors and {:.1} MB", self.descriptors, self.resident / 1e6)
    }
}

/// Waits until the gate has noticed that all have left.
fn settled(process: &Process, server: &Server) -> Held {
    server.hang_up();
    let end = Instant::now() + Duration::from_secs(20);
    let mut quiet_since = Instant::now();
    let mut descriptors = process.descriptors();
    while quiet_since.elapsed() < Duration::from_millis(1_500) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
        let now = process.descriptors();
        if now != descriptors {
            (descriptors, quiet_since) = (now, Instant::now());
        }
    }
    Held { descriptors, resident: process.resident() }
}
