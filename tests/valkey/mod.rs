//! Real servers for the tests of the store: Valkey 9.1 and 8.1 (from PyPI) and Redis 7.0 (from Debian, with TLS), alone, with a
//! replica under Sentinel, and as a cluster of three; and a proxy before them that fails as it is told.
//!
//! Everything runs on loopback, on ports that the system has chosen, keeps its files in a folder of its own, and ends with the
//! test that started it.
#![allow(dead_code, unused_imports, reason = "a helper may wait for the test that needs it next")]

pub mod cluster;
pub mod proxy;
pub mod sentinel;
pub mod server;
pub mod talk;

pub use cluster::Cluster;
pub use proxy::Proxy;
pub use sentinel::Sentinels;
pub use server::{Make, Options, Persistence, Server, Tls};
pub use talk::{Reply, Talk};

use std::time::{Duration, Instant};

/// How long a server may take for what takes it a moment.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that is about to happen.
#[track_caller]
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
