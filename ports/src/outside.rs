//! The other ports, and the [`World`] that bundles them.

use crate::{Documents, IdentityProvider, Store, TrustedKeys};
use portcullis_domain::journal::Event;
use portcullis_domain::key::{ClientHash, Partition, Person};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, for what is written down.
    fn now(&self) -> Timestamp;

    /// How far [`Clock::now`] is ahead of what the wall clock shows, because that was set back.
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }

    /// Time since some fixed point, never going back, for deadlines.
    fn monotonic(&self) -> Duration;

    /// Lets this much time pass.
    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// The operating system gave no randomness: nothing can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

/// Chance.
pub trait Entropy: Send + Sync + 'static {
    /// 32 bytes that nobody can guess.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn draw(&self) -> Result<Secret<32>, NoEntropy>;
}

/// Where audit events go. Noting never waits and never fails: what cannot be written is counted.
pub trait Journal: Send + Sync + 'static {
    /// Writes one event down.
    fn note(&self, at: Timestamp, event: &Event);
}

/// Runs things to their end, whoever hangs up.
pub trait Tasks: Send + Sync + 'static {
    /// Runs the future detached, and hands its answer back to whoever still waits. Nothing if it panicked or the process is
    /// ending.
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send;
}

/// One queue per partition, over all threads of the process.
pub trait Turnstiles: Send + Sync + 'static {
    /// Holding it, one is alone in the partition; dropping it lets the next one in.
    type Pass: Send;

    /// Waits for one's turn.
    fn enter(&self, partition: Partition) -> impl Future<Output = Self::Pass> + Send;
}

/// What is counted by [`Limiter`], each against its own rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Registrations.
    Registration,
    /// Requests to the token and revocation endpoints.
    Token,
    /// Authorization requests, consents and callbacks.
    Authorization,
    /// Requests to a protected resource that came without a session.
    Refused,
    /// Requests that make the gateway fetch a client's document that it does not know.
    Document,
    /// Logout tokens.
    Logout,
}

/// Somebody who is known, whatever address they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// A client that has proved who it is.
    Client(ClientHash),
    /// A person, through something that only their session has.
    Person(Person),
}

/// Rate limits, over all threads of the process. Its memory is bounded, whoever asks.
pub trait Limiter: Send + Sync + 'static {
    /// Counts one request from this address (IPv6: its /64).
    ///
    /// # Errors
    /// How long to wait when the share is used up.
    fn count(&self, what: Counted, address: IpAddr) -> Result<(), Duration>;

    /// Counts one request to the token endpoint by somebody who is known.
    ///
    /// # Errors
    /// How long to wait when the share is used up.
    fn count_known(&self, who: Known) -> Result<(), Duration>;
}

/// Everything outside. The one thing that use cases are generic over.
pub trait World: Send + Sync + 'static {
    /// See [`Store`].
    type Store: Store;
    /// See [`Clock`].
    type Clock: Clock;
    /// See [`Entropy`].
    type Entropy: Entropy;
    /// See [`Journal`].
    type Journal: Journal;
    /// See [`Tasks`].
    type Tasks: Tasks;
    /// See [`Turnstiles`].
    type Turnstiles: Turnstiles;
    /// See [`IdentityProvider`].
    type Provider: IdentityProvider;
    /// See [`Documents`].
    type Documents: Documents;
    /// See [`TrustedKeys`].
    type Issuers: TrustedKeys;
    /// See [`Limiter`].
    type Limiter: Limiter;

    /// Where records are kept.
    fn store(&self) -> &Self::Store;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// Chance.
    fn entropy(&self) -> &Self::Entropy;
    /// Where audit events go.
    fn journal(&self) -> &Self::Journal;
    /// Runs things to their end.
    fn tasks(&self) -> &Self::Tasks;
    /// One queue per partition.
    fn turnstiles(&self) -> &Self::Turnstiles;
    /// The identity provider.
    fn provider(&self) -> &Self::Provider;
    /// What clients publish about themselves.
    fn documents(&self) -> &Self::Documents;
    /// Keys of the issuers that are trusted.
    fn issuers(&self) -> &Self::Issuers;
    /// Rate limits.
    fn limiter(&self) -> &Self::Limiter;
}
