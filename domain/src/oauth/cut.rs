//! A cut: "nothing created before T lives", or a block until it is lifted.
//!
//! Revoking everything of a person, a client, a session at the provider, or of everybody, is one write, however many grants
//! there are. Whoever issues consults the cuts, and admission consults them again: so a reading that was stale when a token
//! was issued mints nothing that works.

use crate::codec::{Broken, Fields, Writer};
use crate::key::{CutScope, Key};
use crate::limits::{CUT_LIFE, CUT_MARGIN};
use crate::oauth::fault::Fault;
use crate::operation::{Fact, Facts, Keys};
use crate::time::Timestamp;
use std::time::Duration;
use zeroize::Zeroizing;

/// One cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Nothing created before this lives.
    pub before: Timestamp,
    /// Nothing lives and nothing is created, until the operator lifts it.
    pub always: bool,
    /// Fields of a newer version.
    unknown: Vec<u8>,
}

impl Cut {
    /// Ends everything that was created before `now`. Where there is a cut already, [`Cut::again`] is the one to write.
    #[must_use]
    pub const fn before(now: Timestamp) -> Self {
        Self { before: now, always: false, unknown: Vec::new() }
    }

    /// Ends everything that was created before `now`, and everything that began since this cut was made.
    ///
    /// What begins right after a cut is created a little in the future ([`Cuts::begin`]), so `now` alone would spare it,
    /// all the more by a clock that is slow. A block stays one.
    #[must_use]
    pub fn again(&self, now: Timestamp) -> Self {
        Self { before: now.max(self.before.plus(Duration::from_millis(1))), ..self.clone() }
    }

    /// Ends everything, and lets nothing begin, until it is lifted. Where there is a cut already, [`Cut::blocked`] is the one to write.
    #[must_use]
    pub const fn block(now: Timestamp) -> Self {
        Self { before: now, always: true, unknown: Vec::new() }
    }

    /// A block in place of this cut: once it is lifted, nothing that this cut has ended comes back.
    #[must_use]
    pub fn blocked(&self, now: Timestamp) -> Self {
        Self { always: true, ..self.again(now) }
    }

    /// No block any more: what began before `now` stays ended, and what begins lives.
    #[must_use]
    pub fn lifted(&self, now: Timestamp) -> Self {
        Self { always: false, ..self.again(now) }
    }

    /// From when on it does not count: no grant that it could end is left by then.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        if self.always { Timestamp::FAR } else { self.before.plus(CUT_LIFE) }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::new().time(1, self.before).number(2, u64::from(self.always)).carry(&self.unknown).finish()
    }

    /// From the stored form.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn decode(body: &[u8]) -> Result<Self, Broken> {
        let fields = Fields::parse(body)?;
        let always = match fields.number(2)? {
            0 => false,
            1 => true,
            _ => return Err(Broken),
        };
        Ok(Self { before: fields.time(1)?, always, unknown: fields.unknown(2) })
    }
}

/// The keys of these scopes' cuts.
#[must_use]
pub fn keys<const N: usize>(scopes: [CutScope; N]) -> Keys {
    Keys::of(scopes.map(Key::Cut))
}

/// All cuts of one reading, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    before: Option<Timestamp>,
    always: bool,
}

impl Cuts {
    /// Takes these cuts of a reading together.
    ///
    /// A cut that cannot be read is taken for a block: it stands there because somebody was to be kept out.
    ///
    /// # Errors
    /// [`Fault::Internal`] if one of them was never asked for: absence must not be made up.
    pub fn consult(facts: &Facts, keys: Keys, now: Timestamp) -> Result<Self, Fault> {
        let mut all = Self { before: None, always: false };
        for key in keys.iter() {
            match facts.of(key)? {
                Fact::Found(stored) if now < stored.until => match stored.record.cut() {
                    Some(cut) => {
                        all.before = all.before.max(Some(cut.before));
                        all.always |= cut.always;
                    }
                    None => all.always = true,
                },
                Fact::Unreadable(_) => all.always = true,
                Fact::Found(_) | Fact::Absent => {}
            }
        }
        Ok(all)
    }

    /// Whether what was created at this time still stands.
    ///
    /// The margin is for replicas whose clocks differ: what was created within it after a cut is ended too.
    ///
    /// # Errors
    /// [`Fault::SessionCut`].
    pub fn spare(&self, created: Timestamp) -> Result<(), Fault> {
        if self.always || self.before.is_some_and(|before| created < before.plus(CUT_MARGIN)) {
            return Err(Fault::SessionCut);
        }
        Ok(())
    }

    /// The time of creation that whatever begins now is given: late enough that the cuts that were read spare it.
    ///
    /// # Errors
    /// [`Fault::SessionCut`] under a block.
    pub fn begin(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        if self.always {
            return Err(Fault::SessionCut);
        }
        Ok(self.before.map_or(now, |before| now.max(before.plus(CUT_MARGIN))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Stamp;
    use crate::operation::{Epoch, Stored};
    use crate::record::Record;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn facts(fact: Fact) -> Facts {
        Facts::new(Epoch::default()).with(Key::Cut(CutScope::All), fact)
    }

    fn found(cut: Cut) -> Fact {
        let until = cut.until();
        Fact::Found(Stored { record: Arc::new(Record::Cut(cut)), stamp: Stamp([0; 16]), until })
    }

    #[test]
    fn no_cut_spares_everything() {
        let cuts = Cuts::consult(&facts(Fact::Absent), keys([CutScope::All]), NOW).unwrap();
        assert_eq!(cuts.spare(Timestamp::EPOCH), Ok(()));
        assert_eq!(cuts.begin(NOW), Ok(NOW));
    }

    #[test]
    fn a_cut_ends_what_was_before_it_and_a_margin_and_lets_begin_what_comes_after() {
        let cuts = Cuts::consult(&facts(found(Cut::before(NOW))), keys([CutScope::All]), NOW).unwrap();
        for (millis_after, lives) in [(0, false), (1_999, false), (2_000, true)] {
            let created = NOW.plus(Duration::from_millis(millis_after));
            assert_eq!(cuts.spare(created).is_ok(), lives, "{millis_after}");
        }
        let begun = cuts.begin(NOW).unwrap();
        assert_eq!(cuts.spare(begun), Ok(()), "whoever logs in right after a cut is not ended by it");
    }

    /// Regression: a session that began between two cuts of the same few seconds outlived both.
    #[test]
    fn i06_a_cut_right_after_a_cut_ends_what_began_between_them() {
        let first = Cut::before(NOW);
        let begun =
            Cuts::consult(&facts(found(first.clone())), keys([CutScope::All]), NOW).unwrap().begin(NOW).unwrap();
        for slow_by in [0, 1, 1_000, 2_000] {
            let second = first.again(NOW.minus(Duration::from_millis(slow_by)));
            let cuts = Cuts::consult(&facts(found(second)), keys([CutScope::All]), NOW).unwrap();
            assert_eq!(cuts.spare(begun), Err(Fault::SessionCut), "{slow_by}");
        }
        let later = NOW.plus(Duration::from_secs(60));
        assert_eq!(first.again(later), Cut::before(later));
        assert!(Cut::block(NOW).again(later).always, "a cut does not lift a block");
    }

    #[test]
    fn a_block_ends_everything_and_lets_nothing_begin() {
        let later = NOW.plus(Duration::from_secs(400 * 86_400));
        let cuts = Cuts::consult(&facts(found(Cut::block(NOW))), keys([CutScope::All]), later).unwrap();
        assert_eq!(cuts.spare(later), Err(Fault::SessionCut));
        assert_eq!(cuts.begin(later), Err(Fault::SessionCut));
    }

    #[test]
    fn p09_a_cut_that_cannot_be_read_is_a_block() {
        let cuts = Cuts::consult(&facts(Fact::Unreadable(Stamp([0; 16]))), keys([CutScope::All]), NOW).unwrap();
        assert_eq!(cuts.begin(NOW), Err(Fault::SessionCut));
    }

    #[test]
    fn p09_a_cut_that_was_never_asked_for_is_no_absent_cut() {
        let asked = keys([CutScope::All, CutScope::Person(crate::key::Person([1; 16]))]);
        assert!(matches!(Cuts::consult(&facts(Fact::Absent), asked, NOW), Err(Fault::Internal(_))));
    }

    #[test]
    fn a_cut_survives_its_stored_form() {
        for cut in [Cut::before(NOW), Cut::block(NOW)] {
            assert_eq!(Cut::decode(&cut.encode()).unwrap(), cut);
        }
        assert_eq!(Cut::decode(&[]), Err(Broken));
    }
}
