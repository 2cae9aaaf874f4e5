//! What it costs that there are many sessions: whole protected requests over HTTP through a gate that holds so many, each of another
//! session, beside the same through a gate that holds a thousand, pair by pair in the same round.
//!
//! Sessions come in an order of their own, and no round begins where the one before did: nothing that was needed for a request is still
//! in a cache of the processor when its turn comes again, unless there are few of them.

use super::alone::{line, megabytes};
use super::engine::chance::Chance;
use super::filled::{gate_in_memory, master_key, on_valkey};
use super::harness::process::Process;
use super::harness::{World, at_once, free_address};
use super::load::{Caller, press, row, spread_over};
use super::machine::gate;
use super::proxies::{call, server};
use super::store::storage;
use super::valkey::server::{Make, Server};
use super::{Extent, MODERATE, Row, spread};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// With what the others are compared.
const FEW: usize = 1_000;
const SIZES: [usize; 3] = [20_000, 100_000, 1_000_000];

/// Up to so many.
pub fn measure(extent: Extent) {
    let folder = std::env::temp_dir().join(format!("portcullis-many-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (_server, behind) = server(&folder);
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= extent.grants).collect();
    let sizes = if sizes.is_empty() { vec![extent.grants] } else { sizes };
    in_memory(&folder, behind, &sizes, extent);
    valkey(&folder, behind, &sizes, extent);
    let _ = std::fs::remove_dir_all(folder);
}

/// A gate and those who ask it.
struct Asked {
    process: Process,
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    next: Cell<usize>,
}

impl Asked {
    fn new(process: Process, address: SocketAddr, tokens: &[String]) -> Self {
        let mut chance = Chance::new(1);
        let mut requests: Vec<Vec<u8>> = tokens.iter().map(|token| call(token).bytes()).collect();
        for place in (1..requests.len()).rev() {
            requests.swap(place, chance.place(place + 1));
        }
        Self { process, address, requests, next: Cell::new(0) }
    }

    /// The next of them in turn.
    fn turn(&self, most: usize) -> &[Vec<u8>] {
        let most = most.min(self.requests.len());
        let begin = if self.next.get() + most > self.requests.len() { 0 } else { self.next.get() };
        self.next.set(begin + most);
        &self.requests[begin..begin + most]
    }

    /// Each of them once.
    fn everybody(&self) {
        let (address, requests) = (self.address, &self.requests);
        at_once(32, |worker| {
            let mut caller = Caller::to(address);
            for request in requests.iter().skip(worker).step_by(32) {
                caller.call(request);
            }
        });
    }

    fn measure(&self, saturated: bool, time: Duration) -> Row {
        let before = self.process.cpu();
        let latencies = if saturated {
            press(self.address, self.turn(100_000), time)
        } else {
            spread_over(self.address, self.turn((u64::from(MODERATE) * time.as_secs()) as usize), MODERATE, time)
        };
        row(latencies, self.process.cpu() - before, time)
    }
}

/// Both under either load, in turn.
fn compare(few: &Asked, all: &Asked, extent: Extent) {
    let time = Duration::from_secs(extent.seconds);
    for (saturated, how) in [(true, "as fast as 64 callers ask"), (false, "6000 requests per second")] {
        let (mut rows, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
        for round in 0..=extent.rounds.max(1) {
            let (first, second) = if round % 2 == 0 { (few, all) } else { (all, few) };
            let (first, second) = (first.measure(saturated, time), second.measure(saturated, time));
            let (of_few, of_all) = if round % 2 == 0 { (first, second) } else { (second, first) };
            // The first round warms up.
            if round > 0 {
                ratios.push(of_all.cpu_micros / of_few.cpu_micros);
                rows[0].push(of_few);
                rows[1].push(of_all);
            }
        }
        let (low, middle, high) = spread(ratios.into_iter());
        for (rows, whose) in rows.iter().zip([few, all]) {
            let of = |pick: fn(&Row) -> f64| spread(rows.iter().map(pick)).1;
            let told = format!(
                "{:>7.1} {:>9.0} {:>8.0} {:>8.0}",
                of(|row| row.cpu_micros),
                of(|row| row.per_second),
                of(|row| row.p50_micros),
                of(|row| row.p99_micros),
            );
            line(&format!("  {how}, {} in turn: CPU us, req/s, p50 us, p99 us", whose.requests.len()), told);
        }
        line("    CPU per request beside 1000, median (range)", format!("{middle:.2} ({low:.2} to {high:.2})"));
    }
}

fn in_memory(folder: &Path, behind: SocketAddr, sizes: &[usize], extent: Extent) {
    println!(
        "\nmany sessions in memory, whole protected requests, {} rounds of {} s",
        extent.rounds.max(1),
        extent.seconds
    );
    let start = |count| {
        let address = free_address();
        let (process, tokens) = gate_in_memory(folder, address, behind, count);
        Asked::new(process, address, &tokens)
    };
    let few = start(FEW);
    let least = few.process.resident();
    for count in sizes {
        let all = start(*count);
        let held = all.process.resident();
        line(&format!("{count} sessions: resident"), megabytes(held));
        let each = (held - least) / count.saturating_sub(FEW).max(1) as f64;
        line("  resident bytes per session, with its identity and its mark", format!("{each:.0}"));
        compare(&few, &all, extent);
    }
}

fn valkey(folder: &Path, behind: SocketAddr, sizes: &[usize], extent: Extent) {
    println!(
        "\nmany sessions on Valkey 9.1, whole protected requests, {} rounds of {} s",
        extent.rounds.max(1),
        extent.seconds
    );
    let store = Server::start(Make::Valkey9);
    let start = |name: &str, tokens: &[String]| {
        let (process, world) = gate(&folder.join(name), |config| {
            config["resources"][0]["upstream"] = format!("http://{behind}/mcp").into();
            config["storage"] = storage(&store);
            config["masterKeys"] = vec![master_key()].into();
        });
        let asked = Asked::new(process, world.gate.public(), tokens);
        asked.everybody();
        (asked, world)
    };
    let info = |name: &str| store.info(name).and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
    let empty = info("used_memory");
    let mut tokens = on_valkey(store.address(), 0..FEW);
    let (few, _few_world) = start("few", &tokens);
    for (place, count) in sizes.iter().enumerate() {
        let begun = std::time::Instant::now();
        let more = on_valkey(store.address(), tokens.len()..*count);
        let rate = more.len() as f64 / begun.elapsed().as_secs_f64();
        tokens.extend(more);
        let records = (info("used_memory") - empty) / *count as f64;
        line(&format!("{count} sessions, made at so many per second, two commits each"), format!("{rate:.0}"));
        line("  server memory for the records of each", format!("{records:.0} B"));
        let (all, world) = start(&format!("all-{count}"), &tokens);
        let whole = (info("used_memory") - empty) / *count as f64;
        line("  server memory for each, once all have been asked for", format!("{whole:.0} B"));
        tracked(&store, "  keys and clients that the server remembers to tell");
        line("  resident memory of the gate", megabytes(all.process.resident()));
        let before = Readings::of(&world);
        compare(&few, &all, extent);
        before.tell(&world);
        if place == 0 {
            small_table(&store, &few, &all, &world, extent);
        }
    }
}

/// With a table that holds fewer names than there are: whoever is struck off it is taken for changed.
fn small_table(store: &Server, few: &Asked, all: &Asked, world: &World, extent: Extent) {
    let set = |names: &str| store.ask(&["CONFIG", "SET", "tracking-table-max-keys", names]);
    let names = (all.requests.len() / 10).max(100);
    set(&names.to_string());
    all.everybody();
    line(&format!("  with tracking-table-max-keys {names}, and as many sessions"), "");
    tracked(store, "  keys and clients that the server remembers to tell");
    let readings = Readings::of(world);
    compare(few, all, extent);
    readings.tell(world);
    // What it has out of the box.
    set("1000000");
}

fn tracked(store: &Server, what: &str) {
    let info = |name: &str| store.info(name).unwrap_or_default();
    line(what, format!("{}, {}", info("tracking_total_keys"), info("tracking_total_items")));
}

/// Who answered a gate's questions, and what gave way meanwhile.
struct Readings {
    memory: u64,
    store: u64,
    evicted: u64,
}

impl Readings {
    fn of(world: &World) -> Self {
        Self {
            memory: world.counted("portcullis_store_memory_readings_total{by=\"memory\"}"),
            store: world.counted("portcullis_store_memory_readings_total{by=\"store\"}"),
            evicted: world.counted("portcullis_store_memory_evicted_total"),
        }
    }

    fn tell(&self, world: &World) {
        let now = Self::of(world);
        let (memory, store) = (now.memory - self.memory, now.store - self.store);
        let share = memory as f64 * 100.0 / (memory + store).max(1) as f64;
        line("  questions that the gate's own memory answered", format!("{share:.1} % of {}", memory + store));
        line("  entries that gave way to others there", now.evicted - self.evicted);
    }
}
