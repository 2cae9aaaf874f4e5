//! What may happen once on this replica: a bounded, expiring set.

use portcullis_domain::hash;
use portcullis_domain::limits::{FLOW_LIFE, RETURNED_LOGINS_MAX};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The states of logins that have come back within the last [`FLOW_LIFE`].
///
/// Nothing is evicted before its time: when there is no room, the login is refused, or an old state could be pushed out and come
/// again.
#[derive(Default)]
pub(crate) struct Once(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    until: HashMap<[u8; 32], Timestamp>,
    order: VecDeque<([u8; 32], Timestamp)>,
}

impl Once {
    /// Lets the first one through.
    ///
    /// # Errors
    /// [`Fault::CallbackRepeated`] for every later one, [`Fault::Full`] if there is no room.
    pub(crate) fn first(&self, state: &str, now: Timestamp) -> Result<(), Fault> {
        let name = hash::sha256(state.as_bytes());
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { until, order } = &mut *seen;
        while let Some((oldest, _)) = order.pop_front_if(|(_, end)| *end <= now) {
            until.remove(&oldest);
        }
        if until.contains_key(&name) {
            return Err(Fault::CallbackRepeated);
        }
        if until.len() >= RETURNED_LOGINS_MAX {
            return Err(Fault::Full);
        }
        let end = now.plus(FLOW_LIFE);
        until.insert(name, end);
        order.push_back((name, end));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn t258_a_state_comes_back_once_and_the_set_forgets_in_time() {
        let once = Once::default();
        assert_eq!(once.first("a", NOW), Ok(()));
        assert_eq!(once.first("a", NOW.plus(Duration::from_secs(599))), Err(Fault::CallbackRepeated));
        assert_eq!(once.first("b", NOW.plus(FLOW_LIFE)), Ok(()));
        assert_eq!(once.0.lock().unwrap().until.len(), 1);
    }

    #[test]
    fn t250_the_set_is_bounded_and_evicts_nobody() {
        let once = Once::default();
        for n in 0..RETURNED_LOGINS_MAX {
            assert_eq!(once.first(&n.to_string(), NOW), Ok(()));
        }
        assert_eq!(once.first("one more", NOW), Err(Fault::Full));
        assert_eq!(once.first("0", NOW), Err(Fault::CallbackRepeated));
        assert_eq!(once.first("one more", NOW.plus(FLOW_LIFE)), Ok(()));
    }
}
