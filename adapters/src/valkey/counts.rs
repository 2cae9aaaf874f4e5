//! What is counted of a store on servers, for `/metrics`.
//!
//! Nothing is counted for what memory answers but that it does: a request to a protected resource pays for one addition.

use super::{Inner, Valkey};
use crate::exposition::{Exposition, SECONDS};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the store was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A reading of a state change.
    Load,
    /// A reading of a question.
    Recall,
    /// A state change.
    Commit,
}

impl Asked {
    const ALL: [(Self, &str); 3] = [(Self::Load, "load"), (Self::Recall, "recall"), (Self::Commit, "commit")];
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Read,
    Remembered,
    Lost,
    Away,
    Damaged,
    Landed,
    Stale,
    Full,
    Undurable,
    Unknown,
}

impl Came {
    const ALL: [(Self, &str); 10] = [
        (Self::Read, "read"),
        (Self::Remembered, "remembered"),
        (Self::Lost, "lost"),
        (Self::Away, "away"),
        (Self::Damaged, "damaged"),
        (Self::Landed, "landed"),
        (Self::Stale, "stale"),
        (Self::Full, "full"),
        (Self::Undurable, "undurable"),
        (Self::Unknown, "unknown"),
    ];
}

#[derive(Debug, Default)]
pub(super) struct Counts([Of; Asked::ALL.len()]);

#[derive(Debug, Default)]
struct Of {
    came: [AtomicU64; Came::ALL.len()],
    /// How many took at most as long as the bound and longer than the one before; the last place is beyond all bounds.
    within: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
}

impl Counts {
    /// Counts one call, which took so long.
    pub(super) fn count(&self, asked: Asked, came: Came, took: Duration) {
        let Some((_, of)) = Asked::ALL.iter().zip(&self.0).find(|((own, _), _)| *own == asked) else { return };
        let cell = Came::ALL.iter().zip(&of.came).find(|((own, _), _)| *own == came).map(|(_, cell)| cell);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SECONDS.iter().position(|(most, _)| micros <= *most).unwrap_or(SECONDS.len());
        for (cell, more) in [(cell, 1), (of.within.get(bucket), 1), (Some(&of.micros), micros)] {
            if let Some(cell) = cell {
                cell.fetch_add(more, Relaxed);
            }
        }
    }

    fn write(&self, page: &mut Exposition) {
        let kinds = || Asked::ALL.into_iter().map(|(_, name)| name).zip(&self.0);
        let mut calls = page.counter("store_calls_total", "Calls of the store, by what came of them.");
        for (call, of) in kinds() {
            for ((_, outcome), count) in Came::ALL.into_iter().zip(&of.came) {
                let count = count.load(Relaxed);
                if count > 0 {
                    calls.of(&[("call", call), ("outcome", outcome)], count);
                }
            }
        }
        let mut spread = page.histogram("store_call_seconds", "How long they took, with all repetitions.");
        for (call, of) in kinds() {
            let mut count = 0_u64;
            let mut buckets = Vec::with_capacity(SECONDS.len());
            for ((_, most), within) in SECONDS.into_iter().zip(&of.within) {
                count = count.saturating_add(within.load(Relaxed));
                buckets.push((most, count));
            }
            count = count.saturating_add(of.within.last().map_or(0, |beyond| beyond.load(Relaxed)));
            if count > 0 {
                let whole = Duration::from_micros(of.micros.load(Relaxed)).as_secs_f64();
                spread.spread(&[("call", call)], &buckets, count, whole);
            }
        }
    }
}

impl Valkey {
    /// Writes what this process knows of the store; what servers hold is theirs to tell.
    pub fn write_metrics(&self, page: &mut Exposition) {
        let Self(inner) = self;
        inner.counts.write(page);
        let (open, made) = inner.connections();
        page.gauge("store_connections_open", "Connections to the store's servers.").is(open);
        page.counter("store_connections_made_total", "Connections to them that were made, again and again.").is(made);
        let (hits, misses) = inner.near.cache.hits_and_misses();
        let mut readings = page.counter("store_memory_readings_total", "Readings of questions, by who answered.");
        readings.of(&[("by", "memory")], hits);
        readings.of(&[("by", "store")], misses);
        page.gauge("store_memory_bytes", "About how much of the store is remembered.").is(inner.near.cache.bytes());
        page.counter("store_memory_evicted_total", "Records that were remembered and gave way to others.")
            .is(inner.near.cache.evicted());
        page.counter("store_memory_leases_lost_total", "How often all that was read on a connection became suspect.")
            .is(inner.near.leases_lost());
    }
}

impl Inner {
    /// How many there are, and how many there have been.
    fn connections(&self) -> (usize, u64) {
        let nodes = self.nodes();
        let links = || nodes.iter().flat_map(super::Node::links);
        let open = links().filter(|link| matches!(link.state(), super::State::Up(..))).count();
        let gone = self.cluster.as_ref().map_or(0, super::Cluster::connections_gone);
        (open, links().fold(gone, |sum, link| sum.saturating_add(link.connected())))
    }
}
