//! The admin listener: whether the process lives, whether it is ready, what it has counted. Never reachable through the public one.

use super::answer::{Answer, Site};
use super::endpoints::health;
use super::metrics::Metrics;
use crate::http::{AnswerBody, Counts, Handler, Peer, RequestBody};
use crate::system::CountedJournal;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use portcullis_domain::key::{CutScope, Key};
use portcullis_domain::limits::TRANSACT_DEADLINE;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::Keys;
use portcullis_ports::{IdentityProvider, Store, World};
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;

/// Answers on the admin listener.
pub struct Admin<W: World> {
    world: Arc<W>,
    metrics: Arc<Metrics>,
    journal: Arc<CountedJournal>,
    connections: Arc<Counts>,
}

impl<W: World> Clone for Admin<W> {
    fn clone(&self) -> Self {
        let Self { world, metrics, journal, connections } = self;
        Self {
            world: Arc::clone(world),
            metrics: Arc::clone(metrics),
            journal: Arc::clone(journal),
            connections: Arc::clone(connections),
        }
    }
}

impl<W: World> Admin<W> {
    /// Over this world and these counters.
    #[must_use]
    pub const fn new(
        world: Arc<W>,
        metrics: Arc<Metrics>,
        journal: Arc<CountedJournal>,
        connections: Arc<Counts>,
    ) -> Self {
        Self { world, metrics, journal, connections }
    }

    async fn answer(&self, method: &Method, path: &str) -> Answer {
        if method != Method::GET && method != Method::HEAD {
            return Answer::method(&[Method::GET, Method::HEAD]);
        }
        match path {
            "/livez" => Answer::json(StatusCode::OK, r#"{"status":"ok"}"#),
            "/readyz" => self.ready().await,
            "/metrics" => {
                Answer::empty(StatusCode::OK).with(CONTENT_TYPE, "text/plain; version=0.0.4").filled(self.text())
            }
            _ => Answer::fault(Fault::NotFound),
        }
    }

    /// Ready is who can serve live sessions: the store answers, and the process is not about to end.
    async fn ready(&self) -> Answer {
        if self.connections.draining() {
            return Answer::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#);
        }
        let asked = self.world.store().load(Keys::of([Key::Cut(CutScope::All)]));
        match tokio::time::timeout(TRANSACT_DEADLINE, asked).await {
            Ok(Ok(_)) => Answer::json(StatusCode::OK, health(self.world.provider().discovered().is_some())),
            Ok(Err(_)) | Err(_) => {
                Answer::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable","reason":"store"}"#)
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.metrics.write(&mut out);
        self.journal.write(&mut out);
        let counts = &self.connections;
        for (name, kind, about, value) in [
            ("connections_open", "gauge", "Open connections.", u64::try_from(counts.open()).unwrap_or(u64::MAX)),
            ("connections_accepted_total", "counter", "Accepted connections.", counts.accepted()),
            ("connections_timed_out_total", "counter", "Connections ended by a deadline.", counts.timed_out()),
            (
                "tls_handshakes_failed_total",
                "counter",
                "Connections without an agreement on TLS.",
                counts.failed_handshakes(),
            ),
            ("accept_errors_total", "counter", "Failed accepts.", counts.accept_errors()),
            (
                "provider_ready",
                "gauge",
                "Whether the identity provider has been reached.",
                u64::from(self.world.provider().discovered().is_some()),
            ),
        ] {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "# HELP portcullis_{name} {about}\n# TYPE portcullis_{name} {kind}\nportcullis_{name} {value}"
            );
        }
        let _ = writeln!(
            out,
            "# HELP portcullis_connections_refused_total Connections beyond a limit.\n\
             # TYPE portcullis_connections_refused_total counter\n\
             portcullis_connections_refused_total{{limit=\"total\"}} {}\n\
             portcullis_connections_refused_total{{limit=\"address\"}} {}",
            counts.refused(),
            counts.refused_of_address(),
        );
        out
    }
}

impl<W: World> Handler for Admin<W> {
    fn handle(&self, request: Request<RequestBody>, _peer: Peer) -> impl Future<Output = Response<AnswerBody>> + Send {
        let this = self.clone();
        async move {
            let answer = this.answer(request.method(), request.uri().path()).await;
            answer.into_response(&Site::of("http://admin"))
        }
    }
}
