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
            self.pass_on(world.clock(), events).await;
        }
    }

    /// Delivers these events, or counts them as lost.
    async fn pass_on(&self, clock: &impl Clock, events: Vec<ObjectWriter>) {
        let count = events.len();
        let body = ObjectWriter::new().objects("events", events).finish();
        if !self.deliver(clock, &body).await {
            tracing::error!(events = count, "the webhook's receiver does not take them: they are left out");
            self.watch.lose(count);
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
    async fn deliver(&self, clock: &impl Clock, body: &str) -> bool {
        let mut pause = WEBHOOK_PAUSE;
        for attempt in 1..=WEBHOOK_ATTEMPTS {
            let request = self.request(clock.now().secs(), body);
            let caps = Caps { deadline: WEBHOOK_DEADLINE, answer_max: WEBHOOK_ANSWER_MAX };
            match self.fetch.fetch(request, caps).await {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    self.taken.fetch_add(1, Relaxed);
                    return true;
                }
                Ok(answer) => tracing::warn!(status = answer.status, attempt, "the webhook's receiver refuses"),
                Err(cause) => tracing::warn!(%cause, attempt, "the webhook's receiver cannot be reached"),
            }
            self.refused.fetch_add(1, Relaxed);
            if attempt < WEBHOOK_ATTEMPTS {
                clock.sleep(jittered(pause)).await;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::fetch::FetchConfig;
    use portcullis_domain::time::Timestamp;
    use std::future::{Future, ready};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// A clock on which every pause is over at once, and written down.
    #[derive(Default)]
    struct Hasty(Mutex<Vec<Duration>>);

    impl Hasty {
        fn passed(&self) -> Duration {
            self.0.lock().unwrap().iter().sum()
        }
    }

    impl Clock for Hasty {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(1_800_000_000).plus(self.passed())
        }

        fn monotonic(&self) -> Duration {
            self.passed()
        }

        fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send {
            self.0.lock().unwrap().push(span);
            ready(())
        }
    }

    /// A receiver that answers with these statuses one after the other, the last one for ever; the timestamp and body of each call.
    fn receiver(statuses: &'static [&'static str]) -> (String, Receiver<(String, String)>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (told, calls) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut length, mut timestamp) = (0, String::new());
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    let line = line.trim_end().to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    } else if let Some(value) = line.strip_prefix("portcullis-timestamp: ") {
                        value.clone_into(&mut timestamp);
                    } else if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let status = statuses.get(number).or(statuses.last()).unwrap();
                if told.send((timestamp, String::from_utf8(body).unwrap())).is_err() {
                    return;
                }
                let _ = write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        (url, calls)
    }

    fn webhook(url: String) -> Arc<Webhook> {
        let named = vec![crate::oidc::named_host(&url).unwrap()];
        let fetch = Fetch::new(FetchConfig { named_hosts: named, ..FetchConfig::default() }).unwrap();
        Webhook::new(url, &SecretText::new("secret".into()), fetch, &Secret::new([7; 32]))
    }

    fn events(count: u64) -> Vec<ObjectWriter> {
        (0..count).map(|number| ObjectWriter::new().number("n", number)).collect()
    }

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    #[test]
    fn m19_a_call_that_is_refused_to_the_end_is_left_out_and_counted_and_the_next_is_made() {
        // A redirect is none that is followed, and every status but 2xx a refusal.
        let (url, calls) = receiver(&["500 x", "307 x", "400 x", "199 x", "410 x", "503 x"]);
        let (webhook, clock) = (webhook(url), Hasty::default());
        run(webhook.pass_on(&clock, events(3)));
        let calls: Vec<_> = calls.try_iter().collect();
        assert_eq!(calls.len(), usize::try_from(WEBHOOK_ATTEMPTS).unwrap());
        let (first, body) = &calls[0];
        assert!(calls.iter().all(|(_, other)| other == body), "the same events, with the same ids");
        assert!(calls.last().unwrap().0 > *first, "under a timestamp of its own");
        let pauses = clock.0.lock().unwrap().clone();
        assert_eq!(pauses.len() + 1, calls.len(), "no pause behind the last one");
        let mut expected = WEBHOOK_PAUSE;
        for pause in pauses {
            assert!(pause >= expected * 4 / 5 && pause <= expected * 6 / 5, "{pause:?} {expected:?}");
            expected = (expected * 2).min(WEBHOOK_PAUSE_MAX);
        }
        assert_eq!((webhook.refused.load(Relaxed), webhook.taken.load(Relaxed)), (u64::from(WEBHOOK_ATTEMPTS), 0));
        let mut page = Exposition::default();
        Watch::write_metrics(&[Arc::clone(webhook.watch())], &mut page);
        let text = page.into_text();
        assert!(text.contains("portcullis_watch_lost_total{watcher=\"webhook\"} 3"), "{text}");
    }

    #[test]
    fn m19_what_is_taken_at_last_is_not_told_again_and_nothing_is_lost() {
        let (url, calls) = receiver(&["500 x", "500 x", "200 x", "204 x"]);
        let (webhook, clock) = (webhook(url), Hasty::default());
        run(async {
            webhook.pass_on(&clock, events(1)).await;
            webhook.pass_on(&clock, events(2)).await;
        });
        let bodies: Vec<String> = calls.try_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies.len(), 4);
        assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2] && bodies[3] != bodies[2]);
        assert_eq!((webhook.refused.load(Relaxed), webhook.taken.load(Relaxed)), (2, 2));
    }
}
