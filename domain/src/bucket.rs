//! The GCRA rate bucket: how many requests come at once, and how fast the room for more comes back.
//!
//! The generic cell rate algorithm (ITU-T I.371, appendix I) in its virtual-scheduling form keeps one number per bucket:
//! the time at which it will be full again.

use std::time::Duration;

/// How fast a bucket fills, and how much it holds. Neither is ever zero: what forbids everything is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    period_us: u64,
    burst: u64,
}

impl Rate {
    /// `count` requests in every `span`, of which `burst` may come at once. A zero counts as one, and a rate above one
    /// request per microsecond counts as that.
    #[must_use]
    pub const fn new(count: u32, span: Duration, burst: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        let burst = if burst == 0 { 1 } else { burst };
        #[expect(clippy::arithmetic_side_effects, reason = "the divisor was just made at least one")]
        #[expect(
            clippy::as_conversions,
            reason = "in const: a u32 fits u128, and the quotient is capped before it shrinks"
        )]
        let period_us = {
            let period = span.as_micros() / count as u128;
            if period > PERIOD_US_MAX as u128 { PERIOD_US_MAX } else { period as u64 }
        };
        #[expect(clippy::as_conversions, reason = "in const: a u32 fits u64")]
        let burst = burst as u64;
        Self { period_us: if period_us == 0 { 1 } else { period_us }, burst }
    }

    /// From empty to full.
    const fn whole_us(self) -> u64 {
        self.period_us.saturating_mul(self.burst)
    }
}

/// A year per request: far slower than any rate that is meant, and far from overflow with any burst.
const PERIOD_US_MAX: u64 = 366 * 24 * 60 * 60 * 1_000_000;

/// One bucket. A new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full again, in microseconds on the caller's monotonic scale: the theoretical arrival time.
    full_at_us: u64,
}

impl Bucket {
    /// Takes one request out of the bucket: what is left of it afterwards.
    ///
    /// # Errors
    /// How long to wait for the next one; the bucket stays as it is. Never longer than from empty to one, also if the clock
    /// has been set back.
    pub fn take(self, now: Duration, rate: Rate) -> Result<Self, Duration> {
        let now = micros(now);
        // No bucket is further than one whole filling from being full. A later time was written by another clock.
        let full_at = self.full_at_us.clamp(now, now.saturating_add(rate.whole_us()));
        let after = full_at.saturating_add(rate.period_us);
        match after.saturating_sub(now).checked_sub(rate.whole_us()) {
            None | Some(0) => Ok(Self { full_at_us: after }),
            Some(wait) => Err(Duration::from_micros(wait)),
        }
    }

    /// Whether it is as good as a new one, so that nothing is lost by forgetting it.
    #[must_use]
    pub fn is_full(self, now: Duration) -> bool {
        self.full_at_us <= micros(now)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate::new(10, Duration::from_secs(1), 3);
    const PERIOD: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_goes_through_and_the_next_one_waits_for_its_period() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            bucket = bucket.take(at(1_000), RATE).unwrap();
        }
        assert_eq!(bucket.take(at(1_000), RATE), Err(PERIOD));
        assert_eq!(bucket.take(at(1_040), RATE), Err(at(60)));
        assert!(bucket.take(at(1_100), RATE).is_ok());
    }

    #[test]
    fn it_fills_at_its_rate_and_no_further_than_its_burst() {
        let empty = (0..3).fold(Bucket::default(), |bucket, _| bucket.take(at(0), RATE).unwrap());
        assert!(!empty.is_full(at(299)) && empty.is_full(at(300)));
        let (mut bucket, mut taken) = (empty, 0);
        while let Ok(next) = bucket.take(at(1_000_000), RATE) {
            (bucket, taken) = (next, taken + 1);
        }
        assert_eq!(taken, 3, "a long rest is worth one burst, not more");
    }

    #[test]
    fn a_clock_that_goes_back_costs_one_period_at_the_most() {
        let bucket = (0..3).fold(Bucket::default(), |bucket, _| bucket.take(at(1_000_000), RATE).unwrap());
        assert_eq!(bucket.take(at(10), RATE), Err(PERIOD));
        assert_eq!(bucket.take(at(0), RATE), Err(PERIOD));
        let far = Bucket { full_at_us: u64::MAX };
        assert_eq!(far.take(at(0), RATE), Err(PERIOD));
    }

    #[test]
    fn odd_rates_are_rates() {
        let never = Rate::new(0, Duration::MAX, 0);
        let bucket = Bucket::default().take(at(0), never).unwrap();
        assert!(bucket.take(at(1_000), never).is_err());
        let flood = Rate::new(u32::MAX, Duration::ZERO, u32::MAX);
        assert!(Bucket::default().take(Duration::MAX, flood).is_ok());
        assert_eq!(Rate::new(0, at(100), 0), Rate::new(1, at(100), 1));
    }

    proptest! {
        /// Whatever the times, no stretch of them lets through more than a burst and what its length is worth.
        #[test]
        fn never_more_than_burst_plus_rate(gaps in prop::collection::vec(0_u64..400, 1..80)) {
            let (mut bucket, mut now, mut allowed) = (Bucket::default(), 5_000, Vec::new());
            for gap in gaps {
                now += gap;
                if let Ok(next) = bucket.take(at(now), RATE) {
                    bucket = next;
                    allowed.push(now);
                }
            }
            for (place, from) in allowed.iter().enumerate() {
                for (count, to) in allowed[place..].iter().enumerate() {
                    prop_assert!(u64::try_from(count + 1).unwrap() <= 3 + (to - from) / 100, "{allowed:?}");
                }
            }
        }
    }
}
