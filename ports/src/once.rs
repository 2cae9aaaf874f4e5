//! What may happen once on this replica: a bounded, expiring set.
//!
//! It only spares the provider a second exchange of one code. The judge is the mark in the store, so where there is no more room, a
//! login is let through unremembered.

use portcullis_domain::limits::{FLOW_LIFE, RETURNED_LOGINS_MAX};
use portcullis_domain::oauth::fault::Fault;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The flows whose logins have come back within the last two lives of a flow: as long as they could come again.
#[derive(Default)]
pub(crate) struct Once(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    flows: HashSet<[u8; 16]>,
    order: VecDeque<([u8; 16], Duration)>,
}

impl Once {
    /// Lets the first one through. `now` is monotonic time: a wall clock that is set back would keep everything for longer.
    ///
    /// # Errors
    /// [`Fault::CallbackRepeated`] for every later one.
    pub(crate) fn first(&self, flow: [u8; 16], now: Duration) -> Result<(), Fault> {
        self.pass(flow, now, true)
    }

    /// Lets through what has not been first yet, without remembering it: who only brings an error takes no room.
    ///
    /// # Errors
    /// [`Fault::CallbackRepeated`] if it has.
    pub(crate) fn not_yet(&self, flow: [u8; 16], now: Duration) -> Result<(), Fault> {
        self.pass(flow, now, false)
    }

    fn pass(&self, flow: [u8; 16], now: Duration, remember: bool) -> Result<(), Fault> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { flows, order } = &mut *seen;
        while let Some((oldest, _)) = order.pop_front_if(|(_, end)| *end <= now) {
            flows.remove(&oldest);
        }
        if flows.contains(&flow) {
            return Err(Fault::CallbackRepeated);
        }
        if remember && flows.len() < RETURNED_LOGINS_MAX {
            flows.insert(flow);
            order.push_back((flow, now.saturating_add(FLOW_LIFE.saturating_mul(2))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(n: usize) -> [u8; 16] {
        portcullis_domain::hash::first(&portcullis_domain::hash::sha256(&n.to_be_bytes()))
    }

    #[test]
    fn t258_a_login_comes_back_once_and_the_set_forgets_in_time() {
        let once = Once::default();
        let (start, life) = (Duration::from_secs(1), FLOW_LIFE * 2);
        assert_eq!(once.first(flow(0), start), Ok(()));
        assert_eq!(once.first(flow(0), start + life - Duration::from_millis(1)), Err(Fault::CallbackRepeated));
        assert_eq!(once.first(flow(1), start + life), Ok(()));
        assert_eq!(once.0.lock().unwrap().flows.len(), 1);
    }

    #[test]
    fn t250_the_set_is_bounded_evicts_nobody_and_stops_nobody() {
        let once = Once::default();
        for n in 0..=RETURNED_LOGINS_MAX {
            assert_eq!(once.first(flow(n), Duration::ZERO), Ok(()));
        }
        assert_eq!(once.0.lock().unwrap().flows.len(), RETURNED_LOGINS_MAX);
        assert_eq!(once.first(flow(0), Duration::ZERO), Err(Fault::CallbackRepeated));
        assert_eq!(once.first(flow(RETURNED_LOGINS_MAX), Duration::ZERO), Ok(()), "the mark is the judge of this one");
    }
}
