//! Rate buckets by key, in a memory whose size nobody outside can choose.
//!
//! The table is cut into shards with a lock each, and keyed by a hasher with a random seed (T249). A shard that is full first
//! forgets the buckets that are full again, which loses nothing; if there are none, whoever is new shares one overflow bucket
//! with everybody else who is new, so that a flood of keys neither grows the table nor pushes anybody out of it into a fresh
//! start (T250, T251).

use crate::seeded::Seeded;
use portcullis_domain::bucket::{Bucket, Rate};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SHARDS: usize = 64;

type Shard<K> = Mutex<HashMap<K, Bucket, Seeded>>;

/// One bucket for each key, in bounded memory.
pub(crate) struct Buckets<K> {
    rate: Rate,
    shards: [Shard<K>; SHARDS],
    shard_max: usize,
    overflow: Mutex<Bucket>,
    seeded: Seeded,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// For about this many keys.
    pub(crate) fn new(rate: Rate, most: usize) -> Self {
        let seeded = Seeded::new();
        Self {
            rate,
            shards: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(seeded))),
            shard_max: most.div_ceil(SHARDS),
            overflow: Mutex::default(),
            seeded,
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Counts one request under this key.
    ///
    /// # Errors
    /// How long to wait when its share is used up.
    pub(crate) fn count(&self, key: K, now: Duration) -> Result<(), Duration> {
        let mut shard = lock(self.shard(key));
        if let Some(bucket) = shard.get_mut(&key) {
            return take(bucket, now, self.rate);
        }
        if shard.len() >= self.shard_max {
            shard.retain(|_, bucket| !bucket.is_full(now));
        }
        if shard.len() >= self.shard_max {
            drop(shard);
            return take(&mut lock(&self.overflow), now, self.rate);
        }
        take(shard.entry(key).or_default(), now, self.rate)
    }

    fn shard(&self, key: K) -> &Shard<K> {
        let [first, ..] = &self.shards;
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let place = self.seeded.hash_one(key).checked_rem(shards).unwrap_or(0);
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
    use std::net::{IpAddr, Ipv4Addr};

    const RATE: Rate = Rate::new(1, Duration::from_secs(1), 2);

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// What an address gets when it asks three times.
    fn thrice(table: &Buckets<IpAddr>, address: IpAddr, now: Duration) -> [bool; 3] {
        std::array::from_fn(|_| table.count(address, now).is_ok())
    }

    #[test]
    fn t251_seed_bug_13_who_is_in_stays_in_and_who_is_new_shares_one_bucket() {
        let table = Buckets::new(RATE, SHARDS);
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
        let table = Buckets::new(RATE, SHARDS);
        let first = address(0);
        let second = (1..).map(address).find(|other| std::ptr::eq(table.shard(*other), table.shard(first))).unwrap();
        assert_eq!(table.count(first, at(0)), Ok(()));
        assert_eq!(thrice(&table, second, at(0)), [true, true, false], "through the overflow");
        assert_eq!(thrice(&table, second, at(3)), [true, true, false]);
        assert!(lock(table.shard(second)).contains_key(&second) && !lock(table.shard(first)).contains_key(&first));
    }

    #[test]
    fn t249_two_limiters_do_not_share_a_seed() {
        let places =
            |table: &Buckets<IpAddr>| -> Vec<u64> { (0..8).map(|n| table.seeded.hash_one(address(n))).collect() };
        assert_ne!(places(&Buckets::new(RATE, SHARDS)), places(&Buckets::new(RATE, SHARDS)));
    }
}
