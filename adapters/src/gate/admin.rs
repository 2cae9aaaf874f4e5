//! The admin listener: whether the process lives, whether it is ready, what it has counted, and what only the operator may do. Never
//! reachable through the public one.

use super::Gate;
use super::answer::{Answer, Site};
use super::endpoints::health;
use super::operator::{self, Operator};
use crate::exposition::{Exposition, Source};
use crate::http::{AnswerBody, Counts, Handler, Peer, RequestBody};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use portcullis_domain::key::{CutScope, Key};
use portcullis_domain::limits::{CLOCK_AHEAD_MAX, TRANSACT_DEADLINE};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::Keys;
use portcullis_ports::{Clock, IdentityProvider, Store, World};
use std::future::Future;
use std::sync::Arc;

/// Answers on the admin listener.
pub struct Admin<W: World> {
    gate: Arc<Gate<W>>,
    operator: Option<Arc<Operator>>,
    sources: Arc<[Source]>,
    connections: Arc<Counts>,
}

impl<W: World> Clone for Admin<W> {
    fn clone(&self) -> Self {
        let Self { gate, operator, sources, connections } = self;
        Self {
            gate: Arc::clone(gate),
            operator: operator.clone(),
            sources: Arc::clone(sources),
            connections: Arc::clone(connections),
        }
    }
}

impl<W: World> Admin<W> {
    /// Over this gate, whoever may do more than look, whoever has something to say at `/metrics`, and the public listener's
    /// connections.
    #[must_use]
    pub fn new(gate: Arc<Gate<W>>, operator: Option<Operator>, sources: Vec<Source>, connections: Arc<Counts>) -> Self {
        Self { gate, operator: operator.map(Arc::new), sources: sources.into(), connections }
    }

    fn world(&self) -> &W {
        self.gate.gateway.world()
    }

    async fn answer(&self, method: &Method, path: &str) -> Answer {
        if method != Method::GET && method != Method::HEAD {
            return Answer::method(&[Method::GET, Method::HEAD]);
        }
        match path {
            "/livez" => self.lives(),
            "/readyz" => self.ready().await,
            "/metrics" => {
                Answer::empty(StatusCode::OK).with(CONTENT_TYPE, "text/plain; version=0.0.4").filled(self.text())
            }
            _ => Answer::fault(Fault::NotFound),
        }
    }

    /// Whether a restart is of no use. Time never goes back within a process, so only a restart helps one that has followed a clock
    /// far into the future.
    fn lives(&self) -> Answer {
        if self.world().clock().ahead() > CLOCK_AHEAD_MAX {
            return Answer::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable","reason":"clock"}"#);
        }
        Answer::json(StatusCode::OK, r#"{"status":"ok"}"#)
    }

    /// Ready is who can serve live sessions: the store answers, and the process is not about to end.
    async fn ready(&self) -> Answer {
        if self.connections.draining() {
            return Answer::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#);
        }
        let asked = self.world().store().load(Keys::of([Key::Cut(CutScope::All)]));
        match tokio::time::timeout(TRANSACT_DEADLINE, asked).await {
            Ok(Ok(_)) => Answer::json(StatusCode::OK, health(self.world().provider().discovered().is_some())),
            Ok(Err(_)) | Err(_) => {
                Answer::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable","reason":"store"}"#)
            }
        }
    }

    fn text(&self) -> String {
        let mut page = Exposition::default();
        for source in self.sources.iter() {
            source(&mut page);
        }
        self.connections.write_metrics(&mut page);
        let ready = self.world().provider().discovered().is_some();
        page.gauge("provider_ready", "Whether the identity provider has been reached.").is(u8::from(ready));
        let ahead = self.world().clock().ahead().as_secs();
        page.gauge("clock_ahead_seconds", "How far the gate's time is ahead of a system clock that was set back.")
            .is(ahead);
        page.into_text()
    }
}

impl<W: World> Handler for Admin<W> {
    fn handle(
        &self,
        request: Box<Request<RequestBody>>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        let this = self.clone();
        async move {
            let address = peer.address().ip();
            let answer = match operator::answer(this.operator.as_deref(), &this.gate.gateway, request, address).await {
                Ok(answer) => answer,
                Err(request) => this.answer(request.method(), request.uri().path()).await,
            };
            answer.into_response(&Site::of("http://admin"))
        }
    }
}
