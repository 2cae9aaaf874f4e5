//! What Portcullis asks of the outside, and the use cases written against it.
//!
//! Every port is a trait whose methods give `impl Future + Send`; all of them together are the one [`World`] that use cases
//! are generic over. [`transact`] is the one loop that drives a state change, [`ask`] the one way to read.
#![forbid(unsafe_code)]

mod ask;
mod deadline;
mod documents;
mod endpoint;
pub mod gateway;
mod once;
mod outside;
mod provider;
mod store;
mod transact;
mod watcher;

pub use ask::{ask, ask_at_hand};
pub use documents::Documents;
pub use endpoint::ProtectedEndpoint;
pub use outside::{Clock, Counted, Entropy, Journal, Known, Limiter, NoEntropy, Tasks, Turnstiles, World};
pub use provider::{BackAnswer, IdentityProvider, TrustedKeys, Unreachable};
pub use store::{Outcome, Seen, Store, Unavailable};
pub use transact::transact;
pub use watcher::Watcher;
