//! Services that stand behind the gate in the same process.

use super::mcp_session::Session;
use crate::http::{AnswerBody, Onward, Peer, RequestBody, hand_over};
use hyper::{Request, Response};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_ports::{ProtectedEndpoint, World};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Answering = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>;

/// A service in this process. Clones share it.
#[derive(Clone)]
pub struct Embedded(Arc<dyn Fn(Request<RequestBody>, Arc<Visitor>) -> Answering + Send + Sync>);

impl Embedded {
    /// This service.
    #[must_use]
    pub fn new<E>(endpoint: E) -> Self
    where
        E: ProtectedEndpoint<Request = Request<RequestBody>, Response = Response<AnswerBody>>,
    {
        let endpoint = Arc::new(endpoint);
        Self(Arc::new(move |request, visitor| {
            let endpoint = Arc::clone(&endpoint);
            Box::pin(async move { endpoint.answer(request, visitor).await })
        }))
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Embedded")
    }
}

/// Passes a request on to a service in this process, and its answer back, by the rules that hold for a server.
pub(super) async fn pass<W: World>(
    embedded: &Embedded,
    mut request: Box<Request<RequestBody>>,
    onward: Onward<'_>,
    peer: &Peer,
    session: &Session<'_, W>,
    visitor: Option<Arc<Visitor>>,
) -> Result<Response<AnswerBody>, Fault> {
    let visitor = visitor.ok_or(Fault::Internal("a visitor was not worked out"))?;
    session.release(request.headers_mut())?;
    let mut response = hand_over(request, onward, peer, |request| (embedded.0)(request, visitor)).await?;
    session.bind(response.headers_mut())?;
    Ok(response)
}
