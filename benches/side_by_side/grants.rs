//! A great many sessions in this process's memory: what each takes, and what it costs to ask for one among all of them.
//!
//! The same store and the same operations as in the gate, without HTTP and without the identity provider: a million logins through
//! them would take half an hour. Everything is real but the surroundings of the engine, which are those of its tests.

use super::alone::line;
use super::engine::chance::Chance;
use super::engine::fixture::{Party, admit, policy, scopes};
use super::engine::scheduler::Scheduler;
use super::engine::world::{START, Surroundings};
use portcullis_adapters::memory::Memory;
use portcullis_domain::operation::Epoch;
use portcullis_ports::{Clock, World, ask_at_hand, transact};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions that are asked for: enough that none is still in a cache when its turn comes again.
const ASKED: usize = 100_000;
/// Bytes that an access token may take here.
const TOKEN: usize = 320;

/// Makes so many sessions, each of another person.
pub fn measure(count: usize) {
    println!("{count} sessions in memory");
    let (scheduler, policy) = (Scheduler::new(1), policy(Duration::from_secs(60)));
    let world = Surroundings::new(&scheduler, Arc::new(Memory::bounded(Epoch([1; 16]), usize::MAX)));
    let step = (count / ASKED).max(1);
    // Touched before anything is measured, so that the tokens do not count as sessions.
    let mut tokens = vec![[1_u8; TOKEN]; count / step];
    let mut before = resident();
    let begun = Instant::now();
    for number in 0..count {
        if number == 1_000 {
            // What grows once is no session's.
            before = resident();
        }
        let party = Party::new(&policy, number as u64, 1, number as u64);
        let access = scheduler.run(async {
            let code = transact(&world, party.callback(world.clock.now())).await.unwrap();
            transact(&world, party.exchange(code.expose(), None)).await.unwrap().access
        });
        world.journal.forget();
        if let Some(place) = tokens.get_mut(number / step).filter(|_| number % step == 0) {
            let access = access.expose().as_bytes();
            place.fill(0);
            place[..access.len()].copy_from_slice(access);
        }
    }
    let grown = (resident() - before) / (count.saturating_sub(1_000)) as f64;
    line(
        "logins and redeemed codes per second, in one thread",
        format!("{:.0}", count as f64 / begun.elapsed().as_secs_f64()),
    );
    line("resident bytes per session, with its identity and its mark", format!("{grown:.0}"));
    // An hour after the last login.
    let (store, held) = (world.store(), world.store().bytes());
    store.sweep(START.plus(Duration::from_secs(60 * 60)));
    let marks = (held - store.bytes()) as f64 / count as f64;
    line("  of which its mark, which goes after ten minutes, by the store's own count", format!("{marks:.0}"));
    asked(&world, &tokens);
}

/// Opening a token and admitting it, in an order that no cache foresees: among a thousand, and among all.
fn asked(world: &Arc<Surroundings<Memory>>, tokens: &[[u8; TOKEN]]) {
    let scopes = scopes();
    let mut chance = Chance::new(2);
    let mut each = |tokens: &[[u8; TOKEN]]| {
        let order: Vec<usize> = (0..ASKED).map(|_| chance.place(tokens.len())).collect();
        let begun = Instant::now();
        for place in order {
            let token = std::str::from_utf8(&tokens[place]).unwrap().trim_end_matches('\0');
            ask_at_hand(&**world, &admit(token, &scopes)).unwrap().unwrap();
        }
        begun.elapsed().as_secs_f64() * 1e6 / ASKED as f64
    };
    let few = &tokens[..tokens.len().min(1_000)];
    let rounds: Vec<(f64, f64)> = (0..5).map(|_| (each(few), each(tokens))).collect();
    let (_, of_few, _) = super::spread(rounds.iter().map(|(few, _)| *few));
    let (_, of_all, _) = super::spread(rounds.iter().map(|(_, all)| *all));
    line("us to open a token and admit it: among 1000, among all", format!("{of_few:.2}, {of_all:.2}"));
}

/// Resident bytes of this process.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1_024.0
}
