//! HTTP/1.1 as the gateway speaks it: listener, connections, and the way to the protected server and back.
//!
//! `runtime` starts one thread per core, `connection` runs one client on it under the eye of `ticker`, a `Handler`
//! answers, and `forward` is what it calls for a request that may pass.

mod address;
pub mod answer;
mod body;
mod bound;
mod connection;
mod door;
mod forward;
pub mod framing;
pub mod headers;
mod io;
mod leg;
pub mod pages;
pub mod peer;
mod pool;
mod runtime;
mod ticker;
mod upstream;
mod vitals;
mod wakes;

pub use body::{AnswerBody, BodyFault, BrokenOff, EmbeddedBody, PassingBody, RequestBody, Witness, Witnessed};
pub use bound::{Bound, Socket, SocketFile};
pub use connection::{Handler, Handshake, Peer, Plain, Sever};
pub use forward::{Onward, forward, hand_over};
pub use headers::{Identity, Introduced};
pub use pool::Pool;
pub use runtime::{Counts, Serving, Settings, serve};
pub use upstream::{BadTarget, BadUpstream, Gauges, Upstream};
