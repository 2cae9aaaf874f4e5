//! Aim: whatever a crowd of strangers sends, an honest client notices nothing, memory stays flat, nothing fails that may not fail,
//! and nobody hears a secret.
//!
//! Method: the real program in a process of its own, an honest person with a client, a provider and an MCP server, and a crowd that
//! sends what a seed says, over raw sockets. Every run begins with the honest client alone, whose calls are the measure.
//!
//! ```text
//! cargo test --test hostile -- --nocapture                                   some ten seconds, as in every run of the tests
//! PORTCULLIS_BINARY=target/release/portcullis HOSTILE=full cargo test --release --test hostile crowd -- --nocapture
//! PORTCULLIS_BINARY=target/release/portcullis HOSTILE=full cargo test --release --test hostile slow -- --nocapture
//! ```
//!
//! `SEED` is the seed of another run. What the last full runs came to stands in `docs/performance/hostile.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests may panic and say what they have measured, and their rooms are nobody's library"
)]

#[path = "../engine/chance.rs"]
#[allow(dead_code, reason = "a shared room")]
mod chance;
mod crowd;
mod gate;
#[path = "../black_box/harness/mod.rs"]
mod harness;
mod honest;
mod slow;

use crowd::{CANARY, Plan};
use gate::Hosted;
use honest::Honest;
use slow::Slowly;
use std::time::Duration;

/// What the crowd may cost in memory.
const GROWTH_MAX: usize = 64 * 1024 * 1024;

/// What a connection may cost that has been answered and says nothing.
const IDLE_MAX: usize = 6 * 1024;
/// What a slow one may cost, whatever it sends ahead or leaves unread.
const SLOW_MAX: usize = 32 * 1024;

fn is_full() -> bool {
    std::env::var("HOSTILE").is_ok_and(|value| value == "full")
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().map_or(1, |text| text.parse().expect("SEED is a number"));
    println!("seed {seed}");
    seed
}

#[test]
fn p10_p12_t115_t247_t250_t251_t253_a_crowd_of_strangers_costs_an_honest_client_nothing() {
    let plan = if is_full() {
        Plan { requests: 1_000_000, registrations: 100_000, logins: 100_000, documents: 10_000, per_second: 4_000 }
    } else {
        Plan { requests: 8_000, registrations: 800, logins: 400, documents: 80, per_second: 1_500 }
    };
    let seed = seed();
    let hosted = Hosted::start("");
    let honest = Honest::enter(&hosted.world);
    let quiet = honest.alone(Duration::from_secs(if is_full() { 20 } else { 2 }));
    let before = hosted.resident();
    let (told, (tally, most)) =
        honest.beside(|| hosted.watched(|| crowd::storm(hosted.world.gate.public(), &plan, &honest.secrets(), seed)));
    println!("{plan:?}\n{tally}");
    println!("an honest call: {quiet} alone, {told} beside the crowd");
    println!("resident: {} KiB before, {} KiB at the most", before / 1024, most / 1024);
    assert!(tally.undocumented.is_empty(), "{:#?}", tally.undocumented);
    assert!(tally.astray.is_empty(), "{:#?}", tally.astray);
    assert!(tally.answered() > tally.sent() / 2, "most of it was never answered");
    assert!(most.saturating_sub(before) <= GROWTH_MAX, "memory grew");
    honest.still_in();
    let secrets = [honest.secrets(), vec![CANARY.to_owned()]].concat();
    let lines = hosted.end(&secrets);
    println!("{lines} lines in the log");
    // Where others compile meanwhile, nothing can be said of time: that is for the full run on a machine of its own.
    if is_full() {
        assert!(told.p99 <= quiet.p99 * 2, "an honest client notices");
    }
}

#[test]
fn p10_t246_thousands_of_slow_connections_cost_an_honest_client_nothing() {
    let plan = if is_full() {
        Slowly { connections: 5_000, lasts: Duration::from_secs(120) }
    } else {
        Slowly { connections: 300, lasts: Duration::from_secs(4) }
    };
    slow::descriptors_for(plan.connections);
    let hosted = Hosted::start("ulimit -n 16384 2>/dev/null;");
    let honest = Honest::enter(&hosted.world);
    let quiet = honest.alone(Duration::from_secs(if is_full() { 20 } else { 2 }));
    let each = slow::weight_of_an_idle_one(&hosted, plan.connections);
    let before = hosted.resident();
    let (told, ((tally, used), most)) = honest.beside(|| hosted.watched(|| slow::crowd(&hosted, &plan)));
    println!("{plan:?}\n{tally}\n{used}");
    println!("an honest call: {quiet} alone, {told} beside them");
    println!(
        "an idle connection: {each} bytes; resident: {} KiB before, {} KiB at the most",
        before / 1024,
        most / 1024
    );
    assert!(tally.opened >= plan.connections, "they were never all there");
    assert!(each <= IDLE_MAX, "an idle connection has buffers");
    assert!(most.saturating_sub(before) <= plan.connections * SLOW_MAX, "slow connections have large buffers");
    honest.still_in();
    let secrets = honest.secrets();
    hosted.end(&secrets);
    if is_full() {
        assert!(told.p99 <= quiet.p99 * 2, "an honest client notices");
    }
}

#[test]
#[ignore = "the slow crowd, which the test beside starts as a process of its own"]
fn a_slow_crowd_as_a_process_of_its_own() {
    slow::as_told();
}
