//! What `check` says of the servers: what they are, and what is worth a warning. It changes nothing on them.

use super::link::{Answered, Batch, Failure};
use super::nodes::{Lane, Node};
use super::outcome::code;
use super::resp::{Value, command};
use super::store::Claim;
use super::{Inner, READY_STEP, Refusal, State, Valkey, deed};
use portcullis_domain::limits::{STORE_CONNECT_DEADLINE, STORE_TRACKED_LEAST};
use std::time::Instant;

impl Valkey {
    /// Looks at the store as it is, and changes nothing: says what it is and, in the same line, what is worth a warning.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn examine(&self) -> Result<String, Refusal> {
        let Self(inner) = self;
        inner.begin();
        let begin = Instant::now();
        while let Err(refusal) = inner.compare_rings(&inner.sealer, Claim::No).await {
            let refusal = inner.refusal().unwrap_or(refusal);
            if refusal.needs_somebody() || begin.elapsed() > STORE_CONNECT_DEADLINE {
                return Err(refusal);
            }
            tokio::time::sleep(READY_STEP).await;
        }
        let mut said = Vec::new();
        for node in inner.nodes() {
            said.extend(inner.look(&node).await);
        }
        Ok(said.join(", "))
    }
}

impl Inner {
    async fn look(&self, node: &Node) -> Option<String> {
        let link = node.link(Lane::Operations);
        let State::Up(endpoint, server) = link.state() else { return None };
        let settings = link.send(Batch::one(command(&[b"CONFIG", b"GET", TRACKED, SYNCED]))).await;
        let deed = if self.cluster.is_some() { Some(link.send(deed::question()).await) } else { None };
        let own = server.warnings().map(str::to_owned);
        let settings = settings.ok().map(|answered| answered.value);
        let more = [
            settings.as_ref().and_then(remembers_too_little),
            settings.as_ref().filter(|_| server.appends).and_then(syncs_late),
            deed.and_then(keeps_to_itself),
        ];
        let warnings: String = own.chain(more.into_iter().flatten()).map(|words| format!("; but {words}")).collect();
        Some(format!("{server} answers at {endpoint}{warnings}"))
    }
}

const TRACKED: &[u8] = b"tracking-table-max-keys";
const SYNCED: &[u8] = b"appendfsync";

/// How many names a server remembers that it has to tell a gate of: beyond that, gates forget what is true.
fn remembers_too_little(settings: &Value) -> Option<String> {
    if matches!(settings, Value::Error(said) if code(said) == b"NOPERM") {
        return Some(format!(
            "this user may not see its tracking-table-max-keys and appendfsync: see to it that the first is {STORE_TRACKED_LEAST} or \
             more, as it is by default, and that the second is always, which is not the default"
        ));
    }
    let most = settings.under(TRACKED)?.number()?;
    // Zero is without a bound.
    (1..STORE_TRACKED_LEAST).contains(&most).then(|| {
        format!("it tells of changes to {most} names only: set tracking-table-max-keys {STORE_TRACKED_LEAST} or more")
    })
}

/// Whether what it has acknowledged may not be on the disk yet.
fn syncs_late(settings: &Value) -> Option<String> {
    let when = match settings.under(SYNCED)?.str()? {
        "always" => return None,
        "everysec" => "once a second",
        _ => "when its system likes to",
    };
    Some(format!(
        "it puts its log on the disk {when}: when it is killed or its power fails, what it acknowledged in the last seconds is lost, \
         revocations among it; set appendfsync always"
    ))
}

fn keeps_to_itself(answered: Result<Answered, Failure>) -> Option<String> {
    deed::is_forbidden(&answered.ok()?.value).then(|| {
        "every question is put to it, because this user may not ask who has what: give the user +cluster|info +cluster|nodes"
            .to_owned()
    })
}
