//! What goes wrong, as the client tells the server beforehand: a header that the gate passes on.

use super::chance::Chance;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers as it should.
    None,
    /// In chunks, a few bytes at a time.
    Pieces,
    /// After interim answers.
    Interim,
    /// After a while.
    Slow,
    /// After it has let the request wait in the connection: what is large does not fit there.
    Sluggish,
    /// And closes the connection without having said so.
    Closes,
    /// And closes it, having said that it will stay.
    Lies,
    /// Twice: the second answer is one that nobody asked for.
    Twice,
    /// Before it has read the body.
    Early,
    /// With something that is no answer.
    Malformed,
    /// With two lengths.
    TwoLengths,
    /// And breaks off in the middle of a body whose length it has said.
    Truncated,
    /// And breaks off in the middle of a chunk.
    TruncatedChunk,
    /// Not at all: it closes the connection.
    Silent,
}

/// How often each happens, in a hundred.
const SHARES: [(Fault, u64); 14] = [
    (Fault::None, 69),
    (Fault::Pieces, 5),
    (Fault::Interim, 3),
    (Fault::Slow, 2),
    (Fault::Sluggish, 1),
    (Fault::Closes, 3),
    (Fault::Lies, 2),
    (Fault::Twice, 4),
    (Fault::Early, 3),
    (Fault::Malformed, 2),
    (Fault::TwoLengths, 1),
    (Fault::Truncated, 2),
    (Fault::TruncatedChunk, 1),
    (Fault::Silent, 2),
];

impl Fault {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut left = chance.below(100);
        let drawn = SHARES.iter().find(|(_, share)| {
            let hit = left < *share;
            left = left.saturating_sub(*share);
            hit
        });
        drawn.unwrap().0
    }

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn of_name(name: &str) -> Self {
        SHARES.iter().map(|(fault, _)| *fault).find(|fault| fault.name() == name).unwrap()
    }

    /// Whether a client that waits gets the whole answer.
    pub(crate) const fn is_answered(self) -> bool {
        !matches!(self, Self::Malformed | Self::TwoLengths | Self::Truncated | Self::TruncatedChunk | Self::Silent)
    }
}
