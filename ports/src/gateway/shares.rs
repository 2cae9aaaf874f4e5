//! Who may ask how often.
//!
//! Strangers are counted by their address, so that nobody who is unknown can cost another address anything. Whoever is known is not
//! at the mercy of an address: a request to a resource with a living session is counted by its person alone, and beyond the share of
//! its address the token endpoint goes on for whoever shows a code or a token of a living session.

use super::Gateway;
use crate::{Clock, Counted, Known, Limiter, World, ask};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::ClientHash;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::vouch::Vouch;
use std::net::IpAddr;

impl<W: World> Gateway<W> {
    /// Counts one request from this address.
    ///
    /// # Errors
    /// [`Fault::RateLimited`] when the share is used up.
    pub fn count(&self, what: Counted, address: IpAddr) -> Result<(), Fault> {
        self.world.limiter().count(what, address).map_err(|wait| {
            self.note(self.world.clock().now(), Event::new(Happened::RateLimited).from(Some(address)));
            Fault::rate_limited(wait)
        })
    }

    /// Whether a request may go on although its address has used up its share, because it shows something of a living session.
    /// Its person is counted instead.
    ///
    /// # Errors
    /// `beyond`, with which it was refused; the person's own share may be used up, too.
    pub async fn go_on(&self, shown: Option<Vouch>, beyond: Fault) -> Result<(), Fault> {
        let shown = shown.ok_or(beyond)?;
        match ask(&*self.world, &shown).await {
            Ok(person) => self.count_known(Known::Person(person)),
            Err(Fault::StoreUnavailable) => Err(Fault::StoreUnavailable),
            Err(_) => Err(beyond),
        }
    }

    /// Counts one request of a client that has proved who it is.
    pub(super) fn count_client(&self, client: ClientHash) -> Result<(), Fault> {
        self.count_known(Known::Client(client))
    }

    fn count_known(&self, who: Known) -> Result<(), Fault> {
        self.world.limiter().count_known(who).map_err(|wait| {
            let event = Event::new(Happened::RateLimited);
            let event = if let Known::Client(client) = who { event.by(client) } else { event };
            self.note(self.world.clock().now(), event);
            Fault::rate_limited(wait)
        })
    }
}
