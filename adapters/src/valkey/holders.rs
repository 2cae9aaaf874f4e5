//! Which node of a cluster was last seen to have a slot, and so where our own changes are found.
//!
//! The map may be older than a change, and the node that it names may go on reading for a while after it has lost the slot: it has
//! not heard so yet. Whoever has just written would then be shown what stood there before. But a node takes a change only of a slot
//! that it has, and says `ASK` only of one that it has and is handing over. So for a while after it was seen to do so it is asked
//! first, whatever the map says, until it says itself that another has the slot. Then either it has the slot, and what was written
//! by then is there, or where it sends us by `ASK`; or it says who has it, and what was written has gone there too; or it has lost it
//! and not heard so, and goes on reading what it had then, with the change in it.
//!
//! A wrong guess costs a redirection and nothing else. What a failover takes back it takes back here too: the node that took the
//! change is then not to be found, or is no node of the map any more, and the map counts. Of two changes that are under way at one
//! time at two nodes, the one that is answered last decides.
//!
//! There is no I/O here and no clock, as in [`super::near_cache`].

use portcullis_domain::limits::CLUSTER_HELD;
use std::collections::BTreeMap;
use std::time::Duration;

/// For each slot, by which node it was seen to be held last, and when that was heard.
#[derive(Debug)]
pub struct Holders<Slot, Node>(BTreeMap<Slot, (Node, Duration)>);

impl<Slot: Ord, Node: PartialEq> Holders<Slot, Node> {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A node has taken a change, of a slot that was not on its way to it.
    pub fn took(&mut self, slot: Slot, node: Node, now: Duration) {
        self.0.insert(slot, (node, now));
    }

    /// A node says, of what it was sent at this moment, that the slot is on its way to another.
    pub fn hands_over(&mut self, slot: Slot, node: Node, sent: Duration, now: Duration) {
        if self.0.get(&slot).is_none_or(|(_, heard)| sent >= *heard) {
            self.0.insert(slot, (node, now));
        }
    }

    /// A node says, of what it was sent at this moment, that another has the slot.
    pub fn denied(&mut self, slot: &Slot, node: &Node, sent: Duration) {
        // Otherwise it may have got the slot since, and taken a change of which was heard before.
        if self.0.get(slot).is_some_and(|(holder, heard)| holder == node && sent >= *heard) {
            self.0.remove(slot);
        }
    }

    /// The node that is asked first.
    #[must_use]
    pub fn of(&self, slot: &Slot, now: Duration) -> Option<&Node> {
        self.0.get(slot).filter(|(_, heard)| is_recent(*heard, now)).map(|(node, _)| node)
    }

    /// Forgets what says nothing any more.
    pub fn sweep(&mut self, now: Duration) {
        self.0.retain(|_, (_, heard)| is_recent(*heard, now));
    }
}

impl<Slot: Ord, Node: PartialEq> Default for Holders<Slot, Node> {
    fn default() -> Self {
        Self::new()
    }
}

fn is_recent(heard: Duration, now: Duration) -> bool {
    now.saturating_sub(heard) < CLUSTER_HELD
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARD: Duration = Duration::from_secs(10);
    const BEFORE: Duration = Duration::from_millis(9_999);
    const LATER: Duration = Duration::from_millis(10_001);

    fn taken() -> Holders<u16, &'static str> {
        let mut holders = Holders::new();
        holders.took(7, "a", HEARD);
        holders
    }

    #[test]
    fn who_has_taken_the_last_change_is_asked_first_for_a_while() {
        let mut holders = taken();
        assert_eq!((holders.of(&7, HEARD), holders.of(&8, HEARD)), (Some(&"a"), None));
        holders.took(7, "b", LATER);
        assert_eq!(holders.of(&7, HEARD + CLUSTER_HELD), Some(&"b"));
        assert_eq!(holders.of(&7, LATER + CLUSTER_HELD), None);
        holders.sweep(HEARD + CLUSTER_HELD);
        assert_eq!(holders.0.len(), 1);
        holders.sweep(LATER + CLUSTER_HELD);
        assert!(holders.0.is_empty());
    }

    #[test]
    fn who_says_that_another_has_the_slot_is_believed_unless_that_is_older_than_the_change() {
        let mut holders = taken();
        holders.denied(&7, &"b", HEARD);
        holders.denied(&8, &"a", HEARD);
        holders.denied(&7, &"a", BEFORE);
        assert_eq!(holders.of(&7, HEARD), Some(&"a"));
        holders.denied(&7, &"a", HEARD);
        assert_eq!(holders.of(&7, HEARD), None);
    }

    #[test]
    fn who_hands_a_slot_over_has_it_unless_that_is_older_than_what_is_known() {
        let mut holders = taken();
        holders.hands_over(8, "b", BEFORE, HEARD);
        assert_eq!(holders.of(&8, HEARD), Some(&"b"));
        holders.hands_over(7, "b", BEFORE, LATER);
        assert_eq!(holders.of(&7, LATER), Some(&"a"));
        holders.hands_over(7, "b", HEARD, LATER);
        assert_eq!(holders.of(&7, LATER), Some(&"b"));
    }
}
