//! The fault drill: two gates under load from whole flows, while gates and servers are killed, replicas take over and slots move;
//! and what the honest clients and the thieves of it have seen.
//!
//! `DRILL_SECONDS=300 cargo test --test replicas drill -- --nocapture` runs it for five minutes and prints what came of it.
//! What is held is the same however long it runs: no code is redeemed twice, no family of refresh tokens forks, no honest client is
//! logged out, nothing that was ended lives, and no session is lost but with a primary, and then within the window.

mod client;
mod seen;

use crate::fleet::{Fleet, storage};
use crate::valkey::sentinel::SET;
use crate::valkey::{Cluster, Make, Options, Persistence, Sentinels, Server};
use client::Honest;
use seen::{Fault, MAX_LAG, MayLose, Seen};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the ordinary run lasts, with its three parts.
const SECONDS: u64 = 10;
/// Clients at a time.
const CLIENTS: usize = 4;
/// A gate or a server that is killed is away for so long.
const AWAY: Duration = Duration::from_millis(300);
/// How many slots move at a time.
const BAND: u16 = 1_500;
const SLOTS: u16 = 16_384;

#[test]
fn drill_t266_t267_t269_t270_t277_killed_gates_and_servers_and_moving_slots_cost_no_session_and_let_nobody_in_twice() {
    let seconds = std::env::var("DRILL_SECONDS").ok().map_or(SECONDS, |seconds| seconds.parse().expect("a number"));
    let part = Duration::from_secs(seconds) / 3;
    one_server("one server, appendfsync always", part, Persistence::Always, MayLose::Nothing);
    under_sentinels(part);
    in_a_cluster(part);
}

#[test]
fn t270_a_server_that_is_killed_and_writes_to_disk_once_a_second_loses_what_it_says_and_lets_nobody_in_twice() {
    let (lasts, may_lose) = (Duration::from_secs(3), MayLose::SessionsAndRevocations);
    one_server("one server, appendfsync everysec", lasts, Persistence::EverySecond, may_lose);
}

fn one_server(name: &str, lasts: Duration, persistence: Persistence, may_lose: MayLose) {
    let mut server = Server::with(Options::of(Make::Valkey9).persistence(persistence));
    let told = storage(server.address());
    drill(name, lasts, may_lose, &told, 3, &mut |fleet, round| match round % 3 {
        0 | 1 => kill_gate(fleet, round),
        _ => {
            let before = Instant::now();
            server.kill();
            let killed = before..=Instant::now();
            std::thread::sleep(AWAY);
            server.again();
            Fault { lossy: Some(killed), ..Fault::of("servers killed") }
        }
    });
}

fn under_sentinels(lasts: Duration) {
    let lags = Options::of(Make::Valkey9).line("min-replicas-to-write 1").line(MAX_LAG);
    let mut set = Sentinels::with(&lags.persistence(Persistence::Always));
    let addresses: Vec<String> = set.addresses().iter().map(SocketAddr::to_string).collect();
    let told = json!({
        "type": "valkey",
        "valkey": { "sentinel": { "masterName": SET, "addresses": addresses }, "waitReplicas": 1 },
    });
    let (mut primary, mut looked) = (set.primary(), Instant::now());
    drill("a primary, its replica and three Sentinels", lasts, MayLose::Sessions, &told, 4, &mut |fleet, round| {
        // On a busy machine Sentinels may replace a primary that lives.
        let (last, since) = (primary, looked);
        (primary, looked) = (set.primary(), Instant::now());
        if primary != last {
            return Fault { lossy: Some(since..=looked), ..Fault::of("failovers that nobody ordered") };
        }
        let fault = match round % 6 {
            0 | 2 | 4 => kill_gate(fleet, round),
            1 => {
                let (killed, made) = set.kill_primary();
                let what = if made { "primaries killed and replaced" } else { "primaries killed and not replaced" };
                Fault { lossy: Some(killed), ..Fault::of(what) }
            }
            turn => match (turn == 3, set.hand_over(turn == 3)) {
                (true, Some(during)) => Fault { lossy: Some(during), ..Fault::of("primaries that stepped back") },
                (false, Some(during)) => {
                    Fault { lossy: Some(during), ..Fault::of("primaries replaced while they lived") }
                }
                (_, None) => Fault::of("failovers that the Sentinels could not make"),
            },
        };
        // What is known of the primary is of before the fault: one that came back meanwhile is found in the next round.
        if fault.lossy.is_some() {
            (primary, looked) = (set.primary(), Instant::now());
        }
        fault
    });
}

fn in_a_cluster(lasts: Duration) {
    let mut cluster = Cluster::with(&Options::of(Make::Valkey9).persistence(Persistence::Always));
    let nodes: Vec<String> = cluster.addresses().iter().map(SocketAddr::to_string).collect();
    let told = json!({ "type": "valkey", "valkey": { "cluster": nodes } });
    drill("a cluster of three, appendfsync always", lasts, MayLose::Nothing, &told, 4, &mut |fleet, round| {
        // Bands that overlap, so that slots move on before all clients have found them.
        let first = u16::try_from(round * usize::from(BAND) * 2 / 5).unwrap() % (SLOTS - BAND);
        let (band, to) = (first..first + BAND, (cluster.owner(first) + 1) % 3);
        match round % 4 {
            0 => kill_gate(fleet, round / 2),
            1 => {
                cluster.reshard(band, to);
                Fault { times: usize::from(BAND), ..Fault::of("slots moved key by key") }
            }
            2 if cluster.hand_over(band, to) => {
                Fault { times: usize::from(BAND), ..Fault::of("slots moved as a whole") }
            }
            2 => Fault::of("moves that the cluster could not make"),
            _ => {
                let node = round / 4 % 3;
                let before = Instant::now();
                cluster.nodes[node].kill();
                let killed = before..=Instant::now();
                std::thread::sleep(AWAY);
                cluster.nodes[node].again();
                cluster.until_whole();
                Fault { lossy: Some(killed), ..Fault::of("nodes killed") }
            }
        }
    });
}

fn kill_gate(fleet: &Mutex<Fleet>, round: usize) -> Fault {
    let place = round / 2 % 2;
    fleet.lock().unwrap().replicas[place].kill();
    std::thread::sleep(AWAY);
    fleet.lock().unwrap().replicas[place].spawn();
    Fault::of("gates killed")
}

/// Says that it is over when it is dropped, by a panic too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs clients while harm is done again and again, at least so many times, and holds what they have seen to what is promised.
fn drill(
    name: &str,
    lasts: Duration,
    may_lose: MayLose,
    storage: &Value,
    rounds: usize,
    harm: &mut dyn FnMut(&Mutex<Fleet>, usize) -> Fault,
) {
    let fleet = Fleet::start(2, storage);
    let gates = [fleet.at(0).gate.public(), fleet.at(1).gate.public()];
    let (provider, client) = (fleet.provider.clone(), fleet.at(0).public_client("A client"));
    let (fleet, seen, stop, begun) = (Mutex::new(fleet), Seen::default(), AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (seen, stop, provider, client) = (&seen, &stop, provider.clone(), client.clone());
            scope.spawn(move || Honest { seen, begun, gates, provider, client, number }.lives(stop));
        }
        // However this ends, the clients end too: a scope waits for its threads, even for one that has panicked.
        let _stops = Stops(&stop);
        let mut round = 0;
        while begun.elapsed() < lasts || round < rounds {
            std::thread::sleep(Duration::from_millis(400 + u64::try_from(round * 137 % 400).unwrap()));
            let fault = harm(&fleet, round);
            seen.faults.lock().unwrap().push(fault);
            round += 1;
        }
    });
    seen.holds(name, begun.elapsed(), may_lose);
}
