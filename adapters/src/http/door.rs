//! Who is let in: so many connections in all, so many from one address, and a word in the log when somebody was not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::peer::rate_key;
use super::runtime::Settings;

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many are open.
    Total,
    /// Too many are open from its address.
    Address,
}

/// The connections that are open on all cores of a listener.
#[derive(Debug, Default)]
pub(super) struct Door {
    open: AtomicUsize,
    /// How many of whom, by [`rate_key`]; nobody stands here with none.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Door {
    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// A place for a connection from this address. A trusted proxy brings everybody's connections, so that only the total counts
    /// for it.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, settings: &Settings) -> Result<Place, Refused> {
        if self.open.fetch_add(1, Relaxed) >= settings.connections_max {
            self.open.fetch_sub(1, Relaxed);
            return Err(Refused::Total);
        }
        // From here on the place gives back what was taken.
        let mut place = Place { door: Arc::clone(self), address: None };
        if settings.proxies.contains(address) {
            return Ok(place);
        }
        let address = rate_key(address);
        let mut addresses = self.addresses();
        let own = addresses.entry(address).or_default();
        if *own >= settings.connections_per_address {
            drop(addresses);
            return Err(Refused::Address);
        }
        *own = own.saturating_add(1);
        drop(addresses);
        place.address = Some(address);
        Ok(place)
    }

    fn leave(&self, address: IpAddr) {
        let mut addresses = self.addresses();
        if let Some(own) = addresses.get_mut(&address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                addresses.remove(&address);
            }
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the connections that may be open; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Relaxed);
        if let Some(address) = self.address {
            self.door.leave(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::peer::{Cidr, TrustedProxies};

    fn settings() -> Settings {
        Settings {
            connections_max: 5,
            connections_per_address: 2,
            proxies: TrustedProxies::new(vec![Cidr::parse("10.0.0.0/8").unwrap()]),
            ..Settings::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn t251_an_address_has_its_share_and_an_ipv6_customer_one_for_all() {
        let (door, settings) = (Arc::new(Door::default()), settings());
        let enter = |from: &str| door.enter(address(from), &settings);
        let first = enter("2001:db8:1:2::1").unwrap();
        let second = enter("2001:db8:1:2:ffff::9").unwrap();
        assert_eq!(enter("2001:db8:1:2::3").unwrap_err(), Refused::Address);
        let other = enter("2001:db8:1:3::1").unwrap();
        let v4 = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert_eq!(enter("198.51.100.1").unwrap_err(), Refused::Total);
        drop((first, v4));
        assert_eq!(door.open(), 2);
        let third = enter("2001:db8:1:2::4").unwrap();
        assert_eq!(enter("2001:db8:1:2::5").unwrap_err(), Refused::Address);
        drop((second, third, other));
        assert_eq!((door.open(), door.addresses().len()), (0, 0), "who is gone is forgotten");
    }

    #[test]
    fn a_trusted_proxy_has_no_share_but_counts_in_the_total() {
        let (door, settings) = (Arc::new(Door::default()), settings());
        let places: Vec<_> = (0..5).map(|_| door.enter(address("10.1.2.3"), &settings).unwrap()).collect();
        assert_eq!(door.enter(address("10.1.2.3"), &settings).unwrap_err(), Refused::Total);
        assert!(door.addresses().is_empty());
        drop(places);
        assert_eq!(door.open(), 0);
    }
}
