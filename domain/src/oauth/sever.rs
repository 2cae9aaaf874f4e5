//! Everything of somebody ends, and they may be kept out, until they are let in again: one write, however many sessions there are.
//!
//! Callback, exchange, refresh and admission consult the cut that this writes, so what it ends ends at once.

use crate::fresh::Fresh;
use crate::journal::Event;
use crate::key::{CutScope, Key};
use crate::oauth::cut::Cut;
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Write};
use crate::record::Record;
use crate::time::Timestamp;
use std::sync::Arc;

/// What is to become of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sever {
    /// Whose sessions.
    pub scope: CutScope,
    /// Whether nothing may begin either, until it is lifted.
    pub keep_out: bool,
    /// What the journal is told once it is so.
    pub event: Event,
}

impl Operation for Sever {
    type Reply = ();

    fn reads(&self) -> Keys {
        Keys::of([self.key()])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<()> {
        let key = self.key();
        let cut = match facts.of(&key) {
            Err(fault) => return Decision::refuse(fault),
            // One that cannot be read counts as a block, and stays one.
            Ok(Fact::Unreadable(_)) => Cut::block(now),
            Ok(Fact::Found(stored)) => match stored.record.cut() {
                Some(cut) if self.keep_out => cut.blocked(now),
                Some(cut) => cut.again(now),
                None => Cut::block(now),
            },
            Ok(Fact::Absent) if self.keep_out => Cut::block(now),
            Ok(Fact::Absent) => Cut::before(now),
        };
        Decision::commit(vec![write(key, cut, fresh)], Ok(())).noting(self.event)
    }
}

impl Sever {
    const fn key(&self) -> Key {
        Key::Cut(self.scope)
    }
}

/// Lets somebody in again. What was there before stays ended: only what begins from now on lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lift {
    /// Who is kept out.
    pub scope: CutScope,
    /// What the journal is told once they are not any more.
    pub event: Event,
}

impl Operation for Lift {
    /// Whether they were kept out.
    type Reply = bool;

    fn reads(&self) -> Keys {
        Keys::of([Key::Cut(self.scope)])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<bool> {
        let key = Key::Cut(self.scope);
        let cut = match facts.of(&key) {
            Err(fault) => return Decision::refuse(fault),
            Ok(Fact::Absent) => return Decision::answer(false),
            Ok(Fact::Unreadable(_)) => Cut::before(now),
            Ok(Fact::Found(stored)) => match stored.record.cut() {
                Some(cut) if !cut.always => return Decision::answer(false),
                Some(cut) => cut.lifted(now),
                None => Cut::before(now),
            },
        };
        Decision::commit(vec![write(key, cut, fresh)], Ok(true)).noting(self.event)
    }
}

fn write(key: Key, cut: Cut, fresh: &Fresh) -> Write {
    Write { key, stamp: fresh.stamp(&key), until: cut.until(), record: Arc::new(Record::Cut(cut)), durable: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Stamp;
    use crate::journal::Happened;
    use crate::key::ClientHash;
    use crate::limits::CUT_LIFE;
    use crate::oauth::fault::Fault;
    use crate::operation::{Epoch, Stored};
    use crate::secret::Secret;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const SCOPE: CutScope = CutScope::Client(ClientHash([7; 32]));
    const EVENT: Event = Event::new(Happened::OperatorCut);

    /// The cut that is written where this stands, and until when it is kept.
    fn written(keep_out: bool, fact: Fact) -> (Cut, Timestamp) {
        let sever = Sever { scope: SCOPE, keep_out, event: EVENT };
        let facts = Facts::new(Epoch::default()).with(Key::Cut(SCOPE), fact);
        let Decision::Commit { writes, .. } = sever.decide(&facts, NOW, &Fresh::new(&Secret::new([1; 32]), 0)) else {
            panic!("nothing is written")
        };
        let [write] = writes.as_slice() else { panic!("one write") };
        assert!(write.durable && write.key == Key::Cut(SCOPE));
        (write.record.cut().unwrap().clone(), write.until)
    }

    fn found(cut: Cut) -> Fact {
        Fact::Found(Stored { until: cut.until(), record: Arc::new(Record::Cut(cut)), stamp: Stamp([1; 16]) })
    }

    #[test]
    fn t085_a_client_s_sessions_end_with_one_write_and_a_block_stays_one() {
        assert_eq!(written(false, Fact::Absent), (Cut::before(NOW), NOW.plus(CUT_LIFE)));
        assert_eq!(written(true, Fact::Absent), (Cut::block(NOW), Timestamp::FAR));
        let earlier = Timestamp::from_secs(1_700_000_000);
        assert_eq!(written(false, found(Cut::before(earlier))).0, Cut::before(NOW));
        let (again, _) = written(false, found(Cut::before(NOW)));
        assert_eq!(again.before, NOW.plus(Duration::from_millis(1)), "what began since the last one ends too");
        assert!(written(false, found(Cut::block(earlier))).0.always);
        assert_eq!(written(true, found(Cut::before(earlier))).0, Cut::block(NOW));
        assert!(written(true, Fact::Unreadable(Stamp([2; 16]))).0.always);
        assert!(written(false, Fact::Unreadable(Stamp([2; 16]))).0.always);
        let sever = Sever { scope: SCOPE, keep_out: true, event: EVENT };
        let nothing = Facts::new(Epoch::default());
        let decided = sever.decide(&nothing, NOW, &Fresh::new(&Secret::new([1; 32]), 0));
        assert!(matches!(decided, Decision::Answer { reply: Err(Fault::Internal(_)), .. }), "absence is not made up");
    }

    #[test]
    fn i06_a_block_that_is_lifted_lets_begin_and_brings_nothing_back() {
        let lifted = |fact| {
            let facts = Facts::new(Epoch::default()).with(Key::Cut(SCOPE), fact);
            match (Lift { scope: SCOPE, event: EVENT }).decide(&facts, NOW, &Fresh::new(&Secret::new([1; 32]), 0)) {
                Decision::Commit { writes, .. } => writes.first().and_then(|write| write.record.cut().cloned()),
                Decision::Answer { reply, .. } => {
                    assert_eq!(reply, Ok(false));
                    None
                }
            }
        };
        let (earlier, later) = (Timestamp::from_secs(1_700_000_000), NOW.plus(Duration::from_secs(5)));
        assert_eq!(
            lifted(found(Cut::block(earlier))),
            Some(Cut::before(NOW)),
            "what began under an unseen block ends too"
        );
        assert_eq!(lifted(found(Cut::block(later))).unwrap().before, later.plus(Duration::from_millis(1)));
        assert_eq!(lifted(Fact::Unreadable(Stamp([2; 16]))), Some(Cut::before(NOW)));
        let (block, _) = written(true, found(Cut::before(later)));
        assert!(block.always && lifted(found(block)).unwrap().before > later, "nor what had ended by a faster clock");
        assert_eq!(lifted(found(Cut::before(earlier))), None);
        assert_eq!(lifted(Fact::Absent), None);
    }
}
