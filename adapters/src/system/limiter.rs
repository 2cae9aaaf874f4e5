//! Rate limits per address, in a memory whose size nobody outside can choose.
//!
//! Every kind of request has its own table of buckets, so that a flood of one kind takes no room from another. A table is
//! cut into shards with a lock each, and keyed by a hasher with a random seed (T249). A shard that is full first forgets the
//! buckets that are full again, which loses nothing; if there are none, whoever is new shares one overflow bucket with
//! everybody else who is new, so that a flood of addresses neither grows the table nor pushes anybody out of it into a fresh
//! start (T250, T251).

use crate::http::peer::rate_key;
use portcullis_domain::bucket::{Bucket, Rate};
use portcullis_domain::limits::{LIMITER_ADDRESSES_MAX, REGISTRATIONS_PER_HOUR, REQUESTS_BURST, REQUESTS_PER_SECOND};
use portcullis_ports::{Counted, Limiter};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The rates of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Registrations.
    pub registration: Rate,
    /// Token and revocation requests.
    pub token: Rate,
    /// Authorization requests, consents and callbacks.
    pub authorization: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        let requests = Rate::new(REQUESTS_PER_SECOND, Duration::from_secs(1), REQUESTS_BURST);
        let registration = Rate::new(REGISTRATIONS_PER_HOUR, Duration::from_secs(60 * 60), REGISTRATIONS_PER_HOUR);
        Self { registration, token: requests, authorization: requests }
    }
}

/// Counts by address; of an IPv6 address, by its /64.
pub struct AddressLimiter {
    started: Instant,
    registration: Table,
    token: Table,
    authorization: Table,
}

impl AddressLimiter {
    /// A limiter that has seen nobody yet.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self::bounded(rates, LIMITER_ADDRESSES_MAX)
    }

    /// A limiter that tells about this many addresses apart.
    #[must_use]
    pub fn bounded(rates: Rates, addresses_max: usize) -> Self {
        let table = |rate| Table::new(rate, addresses_max.div_ceil(SHARDS));
        Self {
            started: Instant::now(),
            registration: table(rates.registration),
            token: table(rates.token),
            authorization: table(rates.authorization),
        }
    }

    /// Addresses that are remembered for this kind of request.
    #[must_use]
    pub fn addresses(&self, what: Counted) -> usize {
        self.table(what).shards.iter().map(|shard| lock(shard).len()).sum()
    }

    const fn table(&self, what: Counted) -> &Table {
        match what {
            Counted::Registration => &self.registration,
            Counted::Token => &self.token,
            Counted::Authorization => &self.authorization,
        }
    }
}

impl Limiter for AddressLimiter {
    fn count(&self, what: Counted, address: IpAddr) -> Result<(), Duration> {
        self.table(what).count(rate_key(address), self.started.elapsed())
    }
}

impl fmt::Debug for AddressLimiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses are people.
        out.write_str("AddressLimiter(..)")
    }
}

const SHARDS: usize = 64;

type Shard = Mutex<HashMap<IpAddr, Bucket>>;

struct Table {
    rate: Rate,
    shards: [Shard; SHARDS],
    shard_max: usize,
    overflow: Mutex<Bucket>,
    hasher: RandomState,
}

impl Table {
    fn new(rate: Rate, shard_max: usize) -> Self {
        Self {
            rate,
            shards: std::array::from_fn(|_| Shard::default()),
            shard_max,
            overflow: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    fn count(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let mut shard = lock(self.shard(address));
        if let Some(bucket) = shard.get_mut(&address) {
            return take(bucket, now, self.rate);
        }
        if shard.len() >= self.shard_max {
            shard.retain(|_, bucket| !bucket.is_full(now));
        }
        if shard.len() >= self.shard_max {
            drop(shard);
            return take(&mut lock(&self.overflow), now, self.rate);
        }
        take(shard.entry(address).or_default(), now, self.rate)
    }

    fn shard(&self, address: IpAddr) -> &Shard {
        let [first, ..] = &self.shards;
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let place = self.hasher.hash_one(address).checked_rem(shards).unwrap_or(0);
        usize::try_from(place).ok().and_then(|place| self.shards.get(place)).unwrap_or(first)
    }
}

fn take(bucket: &mut Bucket, now: Duration, rate: Rate) -> Result<(), Duration> {
    *bucket = bucket.take(now, rate)?;
    Ok(())
}

/// A bucket is whole after every step of its change, so a panic elsewhere leaves nothing half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const RATE: Rate = Rate::new(1, Duration::from_secs(1), 2);
    const RATES: Rates = Rates { registration: RATE, token: RATE, authorization: RATE };

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// What an address gets when it asks three times.
    fn thrice(table: &Table, address: IpAddr, now: Duration) -> [bool; 3] {
        std::array::from_fn(|_| table.count(address, now).is_ok())
    }

    #[test]
    fn t251_a_burst_passes_and_the_rest_is_told_when_to_come_back() {
        let limiter = AddressLimiter::new(RATES);
        let ask = |what| limiter.count(what, address(1));
        assert_eq!((ask(Counted::Token), ask(Counted::Token)), (Ok(()), Ok(())));
        let wait = ask(Counted::Token).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= at(1), "{wait:?}");
        assert_eq!(limiter.count(Counted::Token, address(2)), Ok(()), "another address has its own share");
        assert_eq!(ask(Counted::Registration), Ok(()), "and another kind of request its own");
        assert_eq!(ask(Counted::Authorization), Ok(()));
    }

    #[test]
    fn out_of_the_box_ten_registrations_and_a_hundred_requests() {
        let limiter = AddressLimiter::new(Rates::default());
        for (what, burst) in [(Counted::Registration, 10), (Counted::Token, 100), (Counted::Authorization, 100)] {
            // The clock runs meanwhile, so a little more than the burst may pass.
            let passed = (0..200).filter(|_| limiter.count(what, address(1)).is_ok()).count();
            assert!((burst..burst + 50).contains(&passed), "{what:?} {passed}");
        }
        let wait = limiter.count(Counted::Registration, address(1)).unwrap_err();
        assert!(wait > at(300) && wait <= at(360), "{wait:?}");
    }

    #[test]
    fn t251_ipv6_is_counted_by_its_64_and_mapped_ipv4_as_itself() {
        let limiter = AddressLimiter::new(RATES);
        let ask = |text: &str| limiter.count(Counted::Token, text.parse().unwrap()).is_ok();
        assert_eq!([ask("2001:db8:1:2::1"), ask("2001:db8:1:2:ffff::"), ask("2001:db8:1:2::3")], [true, true, false]);
        assert!(ask("2001:db8:1:3::1"), "the next /64 is somebody else");
        assert_eq!([ask("192.0.2.1"), ask("::ffff:192.0.2.1"), ask("192.0.2.1")], [true, true, false]);
        assert_eq!(limiter.addresses(Counted::Token), 3);
    }

    #[test]
    fn t250_one_more_than_fits_is_counted_but_not_kept() {
        let limiter = AddressLimiter::bounded(RATES, SHARDS);
        for number in 0..100_000 {
            let _ = limiter.count(Counted::Token, address(number));
        }
        for number in 0..1_000_u128 {
            let network = Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64));
            let _ = limiter.count(Counted::Token, IpAddr::V6(network));
        }
        assert_eq!(limiter.addresses(Counted::Token), SHARDS);
        assert_eq!(limiter.addresses(Counted::Registration), 0, "a flood of one kind takes no room from another");
    }

    #[test]
    fn t251_who_is_in_stays_in_and_who_is_new_shares_one_bucket() {
        let table = Table::new(RATE, 1);
        // One address per shard, and then one more that finds its shard full.
        let mut known = Vec::new();
        let mut more = Vec::new();
        for number in 0..10_000 {
            let shard = lock(table.shard(address(number))).len();
            if shard == 0 {
                assert_eq!(thrice(&table, address(number), at(0)), [true, true, false]);
                known.push(address(number));
            } else {
                more.push(address(number));
            }
        }
        assert_eq!(known.len(), SHARDS);
        let passed = more.iter().filter(|address| table.count(**address, at(0)).is_ok()).count();
        assert_eq!(passed, 2, "all who are new together get what one gets");
        assert!(known.iter().all(|address| table.count(*address, at(0)).is_err()), "and nobody got a fresh start");
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let table = Table::new(RATE, 1);
        let first = address(0);
        let second = (1..).map(address).find(|other| std::ptr::eq(table.shard(*other), table.shard(first))).unwrap();
        assert_eq!(table.count(first, at(0)), Ok(()));
        assert_eq!(thrice(&table, second, at(0)), [true, true, false], "through the overflow");
        assert_eq!(thrice(&table, second, at(3)), [true, true, false]);
        assert!(lock(table.shard(second)).contains_key(&second) && !lock(table.shard(first)).contains_key(&first));
    }

    #[test]
    fn t249_two_limiters_do_not_share_a_seed() {
        let places = |table: &Table| -> Vec<u64> { (0..8).map(|n| table.hasher.hash_one(address(n))).collect() };
        assert_ne!(places(&Table::new(RATE, 1)), places(&Table::new(RATE, 1)));
    }
}
