//! Points in time and the arithmetic that they allow: saturating, never panicking, never wrapping.

use std::time::Duration;

/// A point in time: milliseconds since the Unix epoch, by the wall clock of whoever made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first point in time that can be expressed, 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The last point in time that can be expressed: later than anything that lives.
    pub const FAR: Self = Self(u64::MAX);

    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch, as in the `exp` of a JWT (RFC 7519 section 2, NumericDate).
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Later by `span`; stops at [`Timestamp::FAR`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }

    /// Earlier by `span`; stops at [`Timestamp::EPOCH`].
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in milliseconds that fit a [`Timestamp`].
fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t280_arithmetic_saturates_and_keeps_order() {
        let t = Timestamp::from_secs(10);
        assert_eq!(t.plus(Duration::MAX), Timestamp::FAR);
        assert_eq!(t.minus(Duration::MAX), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::FAR);
        assert_eq!(t.since(t.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(t.plus(Duration::from_millis(1500)).secs(), 11);
        assert!(t < t.plus(Duration::from_millis(1)));
    }
}
