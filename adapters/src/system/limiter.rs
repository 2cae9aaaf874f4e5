//! Rate limits per address, per client and per person.
//!
//! Every kind of request has its own table of buckets, so that a flood of one kind takes no room from another.

use super::buckets::Buckets;
use crate::exposition::Exposition;
use crate::http::peer::rate_key;
use portcullis_domain::bucket::Rate;
use portcullis_domain::key::{ClientHash, Person};
use portcullis_domain::limits::{
    CLIENT_REQUESTS_BURST, CLIENT_REQUESTS_PER_SECOND, DOCUMENTS_BURST, DOCUMENTS_PER_MINUTE, LIMITER_ADDRESSES_MAX,
    LIMITER_CLIENTS_MAX, LIMITER_PEOPLE_MAX, LOGOUTS_BURST, LOGOUTS_PER_SECOND, REGISTRATIONS_PER_HOUR, REQUESTS_BURST,
    REQUESTS_PER_SECOND,
};
use portcullis_ports::{Counted, Known, Limiter};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The rates of one address, and of those who are known whatever their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Registrations.
    pub registration: Rate,
    /// Token and revocation requests.
    pub token: Rate,
    /// Authorization requests, consents and callbacks.
    pub authorization: Rate,
    /// Requests to a protected resource without a session.
    pub refused: Rate,
    /// Requests to the token endpoint of one client or person that is known.
    pub known: Rate,
    /// Requests that make the gateway fetch a client's document that it does not know.
    pub document: Rate,
    /// Logout tokens.
    pub logout: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        let requests = Rate::new(REQUESTS_PER_SECOND, Duration::from_secs(1), REQUESTS_BURST);
        let registration = Rate::new(REGISTRATIONS_PER_HOUR, Duration::from_secs(60 * 60), REGISTRATIONS_PER_HOUR);
        let known = Rate::new(CLIENT_REQUESTS_PER_SECOND, Duration::from_secs(1), CLIENT_REQUESTS_BURST);
        let document = Rate::new(DOCUMENTS_PER_MINUTE, Duration::from_secs(60), DOCUMENTS_BURST);
        let logout = Rate::new(LOGOUTS_PER_SECOND, Duration::from_secs(1), LOGOUTS_BURST);
        Self { registration, token: requests, authorization: requests, refused: requests, known, document, logout }
    }
}

/// Counts by address; of an IPv6 address, by its /64.
pub struct AddressLimiter {
    started: Instant,
    registration: Buckets<IpAddr>,
    token: Buckets<IpAddr>,
    authorization: Buckets<IpAddr>,
    refused: Buckets<IpAddr>,
    clients: Buckets<ClientHash>,
    people: Buckets<Person>,
    document: Buckets<IpAddr>,
    logout: Buckets<IpAddr>,
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
        let table = |rate| Buckets::new(rate, addresses_max);
        Self {
            started: Instant::now(),
            registration: table(rates.registration),
            token: table(rates.token),
            authorization: table(rates.authorization),
            refused: table(rates.refused),
            clients: Buckets::new(rates.known, LIMITER_CLIENTS_MAX),
            people: Buckets::new(rates.known, LIMITER_CLIENTS_MAX),
            document: table(rates.document),
            logout: table(rates.logout),
        }
    }

    /// Addresses that are remembered for this kind of request.
    #[must_use]
    pub fn addresses(&self, what: Counted) -> usize {
        self.table(what).len()
    }

    /// Writes how many of whom.
    pub fn write_metrics(&self, page: &mut Exposition) {
        let mut remembered = page.gauge("limiter_addresses", "Addresses whose requests are being counted.");
        for (kind, what) in [
            ("registration", Counted::Registration),
            ("token", Counted::Token),
            ("authorization", Counted::Authorization),
        ] {
            remembered.of(&[("kind", kind)], self.addresses(what));
        }
    }

    const fn table(&self, what: Counted) -> &Buckets<IpAddr> {
        match what {
            Counted::Registration => &self.registration,
            Counted::Token => &self.token,
            Counted::Authorization => &self.authorization,
            Counted::Refused => &self.refused,
            Counted::Document => &self.document,
            Counted::Logout => &self.logout,
        }
    }
}

impl Limiter for AddressLimiter {
    fn count(&self, what: Counted, address: IpAddr) -> Result<(), Duration> {
        self.table(what).count(rate_key(address), self.started.elapsed())
    }

    fn count_known(&self, who: Known) -> Result<(), Duration> {
        let now = self.started.elapsed();
        match who {
            Known::Client(client) => self.clients.count(client, now),
            Known::Person(person) => self.people.count(person, now),
        }
    }
}

impl fmt::Debug for AddressLimiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses are people.
        out.write_str("AddressLimiter(..)")
    }
}

/// Counts what people ask of one resource.
pub struct PersonLimiter {
    started: Instant,
    buckets: Buckets<Person>,
}

impl PersonLimiter {
    /// A limiter that has seen nobody yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { started: Instant::now(), buckets: Buckets::new(rate, LIMITER_PEOPLE_MAX) }
    }

    /// Counts one request of this person, which came at `now`.
    ///
    /// # Errors
    /// How long to wait when the share is used up.
    pub fn count(&self, person: Person, now: Instant) -> Result<(), Duration> {
        self.buckets.count(person, now.saturating_duration_since(self.started))
    }

    /// People who are remembered.
    #[must_use]
    pub fn people(&self) -> usize {
        self.buckets.len()
    }
}

impl fmt::Debug for PersonLimiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PersonLimiter(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const RATE: Rate = Rate::new(1, Duration::from_secs(1), 2);
    const RATES: Rates = Rates {
        registration: RATE,
        token: RATE,
        authorization: RATE,
        refused: RATE,
        known: RATE,
        document: RATE,
        logout: RATE,
    };

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
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
    fn t251_who_is_known_has_a_share_of_its_own_whatever_strangers_do() {
        let limiter = AddressLimiter::bounded(RATES, 1);
        let (client, person) = (Known::Client(ClientHash([1; 32])), Known::Person(Person([1; 16])));
        for number in 0..1_000 {
            let _ = limiter.count(Counted::Token, address(number));
        }
        for who in [client, person] {
            let thrice = [(); 3].map(|()| limiter.count_known(who).is_ok());
            assert_eq!(thrice, [true, true, false], "{who:?}");
        }
        assert_eq!(limiter.count_known(Known::Person(Person([2; 16]))), Ok(()));
    }

    #[test]
    fn t251_seed_bug_15_ipv6_is_counted_by_its_64_and_mapped_ipv4_as_itself() {
        let limiter = AddressLimiter::new(RATES);
        let ask = |text: &str| limiter.count(Counted::Token, text.parse().unwrap()).is_ok();
        assert_eq!([ask("2001:db8:1:2::1"), ask("2001:db8:1:2:ffff::"), ask("2001:db8:1:2::3")], [true, true, false]);
        assert!(ask("2001:db8:1:3::1"), "the next /64 is somebody else");
        assert_eq!([ask("192.0.2.1"), ask("::ffff:192.0.2.1"), ask("192.0.2.1")], [true, true, false]);
        assert_eq!(limiter.addresses(Counted::Token), 3);
    }

    #[test]
    fn t250_one_more_than_fits_is_counted_but_not_kept() {
        let limiter = AddressLimiter::bounded(RATES, 64);
        for number in 0..100_000 {
            let _ = limiter.count(Counted::Token, address(number));
        }
        for number in 0..1_000_u128 {
            let network = Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64));
            let _ = limiter.count(Counted::Token, IpAddr::V6(network));
        }
        assert_eq!(limiter.addresses(Counted::Token), 64);
        assert_eq!(limiter.addresses(Counted::Registration), 0, "a flood of one kind takes no room from another");
    }
}
