//! A logout token counts once: whether it was there before, and that it was.
//!
//! The mark is set after what the token ends has ended. A token whose logout broke off in between can come again; one that comes twice
//! at the same moment ends the same thing twice, which is no more than once.

use crate::fresh::Fresh;
use crate::key::{AssertionId, Key};
use crate::oauth::fault::Fault;
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Question, Write};
use crate::record::Record;
use crate::time::Timestamp;
use std::sync::Arc;

/// Whether this token has not been here before.
#[derive(Clone, Copy, Debug)]
pub struct First(pub AssertionId);

impl Question for First {
    type Reply = ();

    fn asks(&self) -> Keys {
        Keys::of([Key::AssertionMark(self.0)])
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp) -> Result<(), Fault> {
        // Whatever stands there, readable or not, ended or not, says that it has been here.
        match facts.of(&Key::AssertionMark(self.0))? {
            Fact::Absent => Ok(()),
            Fact::Found(_) | Fact::Unreadable(_) => Err(Fault::LogoutToken("it was used before")),
        }
    }
}

/// From now on, it has been here.
#[derive(Clone, Copy, Debug)]
pub struct Remember {
    /// The token.
    pub mark: AssertionId,
    /// Until when it would be accepted.
    pub until: Timestamp,
}

impl Operation for Remember {
    type Reply = ();

    fn reads(&self) -> Keys {
        First(self.mark).asks()
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<()> {
        let key = Key::AssertionMark(self.mark);
        match First(self.mark).decide(facts, now) {
            Ok(()) => {
                let (stamp, record) = (fresh.stamp(&key), Arc::new(Record::Mark));
                let write = Write { key, stamp, until: self.until, record, durable: false };
                Decision::commit(vec![write], Ok(()))
            }
            // Another replica has just done the same.
            Err(Fault::LogoutToken(_)) => Decision::answer(()),
            Err(fault) => Decision::refuse(fault),
        }
    }
}
