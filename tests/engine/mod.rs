//! The engine among surroundings that are all in one hand: time, chance, scheduling and the store follow from one seed.
//!
//! Contract suite, failure sweep, simulation and the engine's fuzz target include this room; no product code does.
#![allow(dead_code, reason = "each of the suites that include this room uses another part of it")]

pub(crate) mod chance;
pub(crate) mod fixture;
pub(crate) mod scheduler;
pub(crate) mod stores;
pub(crate) mod world;
