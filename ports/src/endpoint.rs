//! The port of what stands behind the gate in the same process.

use portcullis_domain::oauth::visitor::Visitor;
use std::future::Future;
use std::sync::Arc;

/// A service that stands behind the gate in the same process, instead of a server at an address.
///
/// It is asked only on behalf of somebody who was let in. The request holds what a server would see: no token of the client, no
/// cookie of the gate's, and the identity headers. What it answers passes the same rules as a server's answer, and an answer that is
/// still open ends with the session.
pub trait ProtectedEndpoint: Send + Sync + 'static {
    /// A request, in the form of whoever listens.
    type Request;
    /// An answer.
    type Response;

    /// Answers a request of this visitor.
    fn answer(&self, request: Self::Request, visitor: Arc<Visitor>) -> impl Future<Output = Self::Response> + Send;
}
