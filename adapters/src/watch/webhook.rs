//! The webhook: what becomes of sessions, posted to the operator's receiver, signed, in order, again until it has been taken.
//!
//! One call at a time, so that the order is kept for every session. A receiver that hangs or refuses holds up this and nothing else: what
//! comes meanwhile waits, the oldest gives way, and what is lost is counted.

use super::{News, Watch};
use crate::exposition::Exposition;
use crate::fetch::{Caps, Fetch, Method, Request};
use crate::pace::jittered;
use portcullis_domain::lifecycle::{Change, Lifecycle};
use portcullis_domain::limits::{
    WEBHOOK_ANSWER_MAX, WEBHOOK_ATTEMPTS, WEBHOOK_DEADLINE, WEBHOOK_PAUSE, WEBHOOK_PAUSE_MAX,
};
use portcullis_domain::oauth::sessions::Known;
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_domain::wire::text::base64url;
use portcullis_ports::{Clock, World, ask};
use ring::hmac;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A receiver of the operator's.
pub struct Webhook {
    watch: Arc<Watch>,
    url: String,
    key: hmac::Key,
    fetch: Fetch,
    /// What the ids of this process begin with.
    process: String,
    told: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Webhook {
    /// The receiver at this URL, which knows this secret. `chance` tells the events of this process from those of every other.
    #[must_use]
    pub fn new(url: String, secret: &SecretText, fetch: Fetch, chance: &Secret<32>) -> Arc<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let process = base64url(chance.expose().get(..12).unwrap_or_default());
        let [told, taken, refused] = [const { AtomicU64::new(0) }; 3];
        Arc::new(Self { watch: Watch::new("webhook"), url, key, fetch, process, told, taken, refused })
    }

    /// What waits for it.
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Tells the receiver, until the watch is closed and all has been told.
    pub async fn run<W: World>(&self, world: &W) {
        loop {
            let batch = self.watch.next().await;
            if batch.is_empty() {
                return;
            }
            let mut events = Vec::with_capacity(batch.len());
            for news in &batch {
                if let News::Changed(change) = news {
                    events.push(self.event(world, change).await);
                }
            }
            let body = ObjectWriter::new().objects("events", events).finish();
            if !self.deliver(world, &body).await {
                tracing::error!(events = batch.len(), "the webhook's receiver does not take them: they are left out");
                self.watch.lose(batch.len());
            }
        }
    }

    async fn event<W: World>(&self, world: &W, change: &Lifecycle) -> ObjectWriter {
        let number = self.told.fetch_add(1, Relaxed);
        let mut json = ObjectWriter::new()
            .text("id", &format!("{}-{number}", self.process))
            .text("event", change.change.name())
            .text("because", change.because.name())
            .number("at_ms", change.at.millis());
        if let Some(id) = change.session {
            json = json.text("session", &format!("{}.{}", base64url(&id.person.0), base64url(&id.login)));
        }
        json = json
            .optional_text("x_session_id", change.name.map(|name| base64url(&name)).as_deref())
            .optional_text("person", change.person.map(|person| base64url(&person.0)).as_deref())
            .optional_text("client", change.client.map(|client| base64url(&client.0)).as_deref())
            .optional_text("provider_session", change.provider_session.map(|session| base64url(&session.0)).as_deref());
        if change.in_doubt {
            json = json.boolean("in_doubt", true);
        }
        // Who a new session's person is, if it can be said now: whoever wants to know it keeps it by `person`.
        let person = change.person.filter(|_| change.change == Change::Created);
        if let Some(person) = person
            && let Ok(Some(record)) = ask(world, &Known(person)).await
            && let Some(identity) = record.identity()
        {
            json = json.text("issuer", &identity.claims.issuer).text("subject", &identity.claims.subject);
        }
        json
    }

    /// Whether the receiver has taken it.
    async fn deliver<W: World>(&self, world: &W, body: &str) -> bool {
        let mut pause = WEBHOOK_PAUSE;
        for attempt in 1..=WEBHOOK_ATTEMPTS {
            let request = self.request(world.clock().now().secs(), body);
            let caps = Caps { deadline: WEBHOOK_DEADLINE, answer_max: WEBHOOK_ANSWER_MAX };
            match self.fetch.fetch(request, caps).await {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    self.taken.fetch_add(1, Relaxed);
                    return true;
                }
                Ok(answer) => tracing::warn!(status = answer.status, attempt, "the webhook's receiver refuses"),
                Err(cause) => tracing::warn!(?cause, attempt, "the webhook's receiver cannot be reached"),
            }
            self.refused.fetch_add(1, Relaxed);
            if attempt < WEBHOOK_ATTEMPTS {
                world.clock().sleep(jittered(pause)).await;
                pause = pause.saturating_mul(2).min(WEBHOOK_PAUSE_MAX);
            }
        }
        false
    }

    fn request(&self, timestamp: u64, body: &str) -> Request {
        let signed = format!("{timestamp}.{body}");
        let signature: String =
            hmac::sign(&self.key, signed.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Request {
            method: Method::Post,
            url: self.url.clone(),
            accept: None,
            content_type: Some("application/json"),
            authorization: None,
            further: vec![
                ("portcullis-timestamp", timestamp.to_string()),
                ("portcullis-signature", format!("v1={signature}")),
            ],
            body: Some(SecretText::new(body.to_owned())),
        }
    }

    /// Writes how calls ended, if there is a receiver.
    pub fn write_metrics(webhook: Option<&Self>, page: &mut Exposition) {
        let mut calls =
            page.counter("webhook_calls_total", "Calls to the webhook's receiver, by whether it took them.");
        if let Some(webhook) = webhook {
            calls.of(&[("taken", "yes")], webhook.taken.load(Relaxed));
            calls.of(&[("taken", "no")], webhook.refused.load(Relaxed));
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Webhook(..)")
    }
}
