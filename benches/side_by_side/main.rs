//! The gate beside nginx and HAProxy, before one same server, in one run: `cargo bench`.
//!
//! ```text
//! cargo bench                      everything, about ten minutes on two cores
//! cargo bench -- --quick           one short round of each, to see that it works
//! cargo bench -- --rounds 9        more rounds, of --seconds each; --alone for none; --sessions, --streams and --grants for how many
//! cargo bench -- --id-tokens       nothing but what it costs that the server is shown ID tokens; --people for how many
//! cargo bench -- --many            nothing but what it costs that there are many sessions, up to --grants
//! cargo bench -- --proxies         nothing but the proxies side by side
//! cargo bench -- --beside OLD      the second gate is this binary, such as that of the commit before; may be given more than once
//! ```
//!
//! The gate is the release that `deploy/build` has left, or the binary that `PORTCULLIS_BINARY` names. What is compared is CPU time of
//! the proxy's processes per request, taken pair by pair with nginx in the same round; the gate runs twice, so that the noise can be
//! seen. Then the gate alone: start, memory, sessions, streams; refresh grants beside those of `oidc-provider`; and a great many
//! sessions in this process's memory. Needs nginx, HAProxy, wrk and openssl, and for `oidc-provider` Node and `npm ci` in tests/parts;
//! everything is on loopback, and nothing is left running.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a measurement may panic, counts in floating point and prints"
)]

#[path = "../../tests/black_box/harness/mod.rs"]
mod harness;
#[path = "../../tests/valkey/mod.rs"]
mod valkey;

mod alone;
#[path = "../../tests/engine/mod.rs"]
mod engine;
mod filled;
mod grants;
mod id_tokens;
mod load;
mod machine;
mod many;
mod proxies;
mod refreshes;
mod store;

use proxies::{Bench, Proxy};
use std::path::PathBuf;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rounds: usize,
    seconds: u64,
    sessions: usize,
    streams: usize,
    grants: usize,
    people: usize,
    only: Only,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Everything,
    Proxies,
    IdTokens,
    Many,
}

const WHOLE: Extent = Extent {
    rounds: 5,
    seconds: 5,
    sessions: 20_000,
    streams: 10_000,
    grants: 100_000,
    people: 10_000,
    only: Only::Everything,
};
const QUICK: Extent =
    Extent { rounds: 1, seconds: 1, sessions: 300, streams: 300, grants: 2_000, people: 300, ..WHOLE };
/// Requests per second off saturation.
const MODERATE: u32 = 6_000;

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == filled::IN_MEMORY).is_some() {
        return filled::in_memory(arguments);
    }
    let (mut extent, beside) = extent(arguments);
    // Each stream is two sockets of the gate, and two of this program.
    extent.streams = extent.streams.min(machine::raise_limits().saturating_sub(1_000) / 2);
    println!("{}", machine::description());
    println!("{extent:?}\n");
    match extent.only {
        Only::IdTokens => return id_tokens::measure(extent.rounds, extent.seconds, extent.people),
        Only::Many => return many::measure(extent),
        Only::Everything | Only::Proxies => {}
    }
    if extent.rounds > 0 {
        let bench = Bench::start(&beside);
        saturated(&bench, extent);
        paced(&bench, extent);
    }
    if extent.only == Only::Proxies {
        return;
    }
    alone::measure(extent);
    id_tokens::measure(extent.rounds.max(1), extent.seconds, extent.people);
    refreshes::measure(extent.seconds);
    grants::measure(extent.grants);
    store::measure(extent);
    many::measure(extent);
}

fn extent(mut arguments: impl Iterator<Item = String>) -> (Extent, Vec<PathBuf>) {
    let (mut extent, mut beside) = (WHOLE, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--beside" {
            beside.extend(arguments.next().map(PathBuf::from));
            continue;
        }
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number follows");
        match argument.as_str() {
            "--quick" => extent = QUICK,
            "--alone" => extent.rounds = 0,
            "--rounds" => extent.rounds = number(),
            "--sessions" => extent.sessions = number(),
            "--streams" => extent.streams = number(),
            "--grants" => extent.grants = number(),
            "--people" => extent.people = number(),
            "--proxies" => extent.only = Only::Proxies,
            "--id-tokens" => extent.only = Only::IdTokens,
            "--many" => extent.only = Only::Many,
            "--seconds" => extent.seconds = number() as u64,
            // What cargo itself says.
            "--bench" => {}
            other => panic!("no such option: {other}"),
        }
    }
    (extent, beside)
}

/// All that 64 connections of wrk bring, each proxy in turn, round after round.
fn saturated(bench: &Bench, extent: Extent) {
    println!("saturated: wrk with 64 connections, {} s each, {} rounds", extent.seconds, extent.rounds);
    let time = Duration::from_secs(extent.seconds);
    let rows = rounds(bench, extent.rounds, |proxy| load::saturate(proxy, time));
    table(bench, &rows);
}

/// The same number of requests for everybody, sent when they are due and not when the one before has come back.
fn paced(bench: &Bench, extent: Extent) {
    println!("{MODERATE} requests per second, {} s each, {} rounds", extent.seconds, extent.rounds);
    let time = Duration::from_secs(extent.seconds);
    let rows = rounds(bench, extent.rounds, |proxy| load::pace(proxy, MODERATE, time));
    table(bench, &rows);
}

/// What one proxy did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub per_second: f64,
    pub cpu_micros: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
}

/// For each proxy its rows, in the order of the rounds. Each round begins with another proxy.
fn rounds(bench: &Bench, rounds: usize, measure: impl Fn(&Proxy) -> Row) -> Vec<Vec<Row>> {
    let count = bench.proxies().len();
    let mut rows = vec![Vec::new(); count];
    for round in 0..=rounds {
        for turn in 0..count {
            let place = (round + turn) % count;
            let row = measure(&bench.proxies()[place]);
            // The first round warms up.
            if round > 0 {
                rows[place].push(row);
            }
        }
    }
    rows
}

fn table(bench: &Bench, rows: &[Vec<Row>]) {
    println!(
        "{:<28} {:>10} {:>9} {:>9} {:>9}   CPU beside nginx: median (range)",
        "", "CPU us/req", "req/s", "p50 us", "p99 us"
    );
    let nginx = &rows[0];
    for (proxy, rows) in bench.proxies().iter().zip(rows) {
        let of = |pick: fn(&Row) -> f64| spread(rows.iter().map(pick)).1;
        let (low, middle, high) = spread(rows.iter().zip(nginx).map(|(row, nginx)| row.cpu_micros / nginx.cpu_micros));
        println!(
            "{:<28} {:>10.1} {:>9.0} {:>9.0} {:>9.0}   {middle:.2} ({low:.2} to {high:.2})",
            proxy.name,
            of(|row| row.cpu_micros),
            of(|row| row.per_second),
            of(|row| row.p50_micros),
            of(|row| row.p99_micros),
        );
    }
    println!();
}

/// Least, median and most.
pub fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}
