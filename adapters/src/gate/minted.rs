//! Credentials for what stands behind, each made once and used until it is to be renewed.
//!
//! A credential is kept under a digest of everything that decides it. Whoever comes while it is being made waits for the same one;
//! it is made in a task of its own, so nobody's hanging up fails the others. A failure answers for a moment, so that a server that is
//! away is not asked once for every request. As long as the credential before is good, it stands in for one that cannot be had now, and
//! for one that takes long.

use crate::seeded::Seeded;
use hyper::header::HeaderValue;
use portcullis_domain::hash::sha256_of;
use portcullis_domain::limits::{CREDENTIAL_PATIENCE, CREDENTIAL_PAUSE, CREDENTIALS_MAX};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use tokio::time::timeout_at;

const SHARDS: usize = 16;

/// A credential as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// `Authorization`, marked as sensitive.
    pub(crate) authorization: HeaderValue,
    /// From here on another one is wanted.
    pub(crate) renew: Timestamp,
    /// From here on it is worth nothing.
    pub(crate) ends: Timestamp,
}

impl Credential {
    /// A bearer token.
    pub(crate) fn bearer(token: &str, renew: Timestamp, ends: Timestamp) -> Result<Self, Fault> {
        let mut authorization = HeaderValue::try_from(["Bearer ", token].concat())
            .map_err(|_| Fault::Internal("a credential is no header value"))?;
        authorization.set_sensitive(true);
        Ok(Self { authorization, renew, ends })
    }

    /// The token in it.
    pub(crate) fn token(&self) -> Result<SecretText, Fault> {
        let token = self.authorization.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        token.map(|token| SecretText::new(token.to_owned())).ok_or(Fault::Internal("a credential is no bearer"))
    }
}

/// Everything that decides a credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Decided([u8; 32]);

impl Decided {
    /// By these parts, in this order.
    pub(crate) fn by(parts: &[&[u8]]) -> Self {
        Self(sha256_of("credential", parts))
    }
}

/// What making one came to.
#[derive(Clone)]
enum Made {
    Good(Credential),
    Failed { fault: Fault, until: Instant },
}

/// One that is being made, or was.
#[derive(Clone)]
struct Making {
    made: watch::Receiver<Option<Made>>,
    begun: Instant,
    /// What stands in for it meanwhile, until its own end.
    before: Option<Credential>,
}

type Shard = HashMap<Decided, Making, Seeded>;

/// The credentials of this process.
pub(crate) struct Minted {
    shards: Box<[Mutex<Shard>]>,
}

impl Minted {
    /// None yet.
    pub(crate) fn new() -> Self {
        let seeded = Seeded::new();
        let shard = || Mutex::new(HashMap::with_hasher(seeded));
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }

    /// The credential that is decided by this, made by `make` if there is none or it is to be renewed. `held` is one that whoever asks
    /// has already: it is to be renewed, and good to its end.
    ///
    /// # Errors
    /// Why there is none. [`Fault::Full`] if too many are being made at once.
    pub(crate) async fn get<F>(
        &self,
        decided: Decided,
        now: Timestamp,
        held: Option<Credential>,
        make: impl FnOnce() -> F,
    ) -> Result<Credential, Fault>
    where
        F: Future<Output = Result<Credential, Fault>> + Send + 'static,
    {
        let Making { mut made, begun, before } = self.begun(decided, now, held, make)?;
        let made = made.wait_for(Option::is_some);
        let made = match (before.filter(|before| now < before.ends), begun.checked_add(CREDENTIAL_PATIENCE)) {
            (Some(before), Some(until)) => match timeout_at(until.into(), made).await {
                Ok(made) => made,
                Err(_) => return Ok(before),
            },
            _ => made.await,
        };
        match made.as_deref() {
            Ok(Some(Made::Good(credential))) => Ok(credential.clone()),
            Ok(Some(Made::Failed { fault, .. })) => Err(*fault),
            Ok(None) | Err(_) => Err(Fault::Internal("a credential was never made")),
        }
    }

    fn begun<F>(
        &self,
        decided: Decided,
        now: Timestamp,
        held: Option<Credential>,
        make: impl FnOnce() -> F,
    ) -> Result<Making, Fault>
    where
        F: Future<Output = Result<Credential, Fault>> + Send + 'static,
    {
        let mut shard = self.shard(decided);
        let before = match shard.get(&decided) {
            Some(making) if !is_over(making, now) => return Ok(making.clone()),
            Some(making) => still_good(making, now).or(held),
            None => {
                make_room(&mut shard, now)?;
                held
            }
        };
        let (maker, made) = watch::channel(None);
        let begun = Instant::now();
        let making = Making { made, begun, before: before.clone() };
        shard.insert(decided, making.clone());
        drop(shard);
        let future = make();
        tokio::spawn(async move {
            let made = match future.await {
                Ok(credential) => Made::Good(credential),
                Err(fault) => {
                    let now = now.plus(begun.elapsed());
                    // Whoever is refused for good must not get on with what they had.
                    let passes = fault.wire().retry_after.is_some();
                    match before.filter(|credential| passes && now < credential.ends) {
                        Some(credential) => Made::Good(Credential { renew: now.plus(CREDENTIAL_PAUSE), ..credential }),
                        None => {
                            let pause = Instant::now().checked_add(CREDENTIAL_PAUSE);
                            Made::Failed { fault, until: pause.unwrap_or_else(Instant::now) }
                        }
                    }
                }
            };
            // Nobody waiting is no error: the next one finds it.
            let _ = maker.send(Some(made));
        });
        Ok(making)
    }

    /// A map is whole after every step of its change, so a panic elsewhere leaves nothing half done in it.
    fn shard(&self, decided: Decided) -> MutexGuard<'_, Shard> {
        let [first, ..] = decided.0;
        let shard = self.shards.get(usize::from(first) % SHARDS).expect("there is a shard for every place");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another one is wanted in the place of this one.
fn is_over(making: &Making, now: Timestamp) -> bool {
    match &*making.made.borrow() {
        Some(Made::Good(credential)) => now >= credential.renew,
        Some(Made::Failed { until, .. }) => Instant::now() >= *until,
        // Whoever was making it is gone.
        None => making.made.has_changed().is_err(),
    }
}

fn still_good(making: &Making, now: Timestamp) -> Option<Credential> {
    match &*making.made.borrow() {
        Some(Made::Good(credential)) if now < credential.ends => Some(credential.clone()),
        _ => None,
    }
}

/// Makes room for one more: what is over goes, else any that nobody is waiting for.
fn make_room(shard: &mut Shard, now: Timestamp) -> Result<(), Fault> {
    if shard.len() < CREDENTIALS_MAX / SHARDS {
        return Ok(());
    }
    shard.retain(|_, making| !is_over(making, now));
    if shard.len() < CREDENTIALS_MAX / SHARDS {
        return Ok(());
    }
    let any = shard.iter().find(|(_, making)| making.made.borrow().is_some()).map(|(decided, _)| *decided);
    any.and_then(|any| shard.remove(&any)).map(drop).ok_or(Fault::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn credential(text: &str, renew: u64, ends: u64) -> Result<Credential, Fault> {
        Credential::bearer(text, Timestamp::from_secs(renew), Timestamp::from_secs(ends))
    }

    #[tokio::test]
    async fn m20_whoever_comes_at_once_gets_the_same_one_and_it_is_made_once() {
        let (minted, count) = (Minted::new(), Arc::new(AtomicUsize::new(0)));
        let get = |at: u64| {
            let count = Arc::clone(&count);
            minted.get(Decided::by(&[b"a"]), Timestamp::from_secs(at), None, move || async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                credential(&format!("t{}", count.fetch_add(1, SeqCst)), 1_100, 1_200)
            })
        };
        // Whoever hangs up does not fail the others.
        drop(tokio::time::timeout(Duration::from_millis(1), get(1_000)).await);
        let (one, other) = tokio::join!(get(1_000), get(1_000));
        assert_eq!(one.unwrap().authorization, other.unwrap().authorization);
        assert_eq!(get(1_099).await.unwrap().authorization, "Bearer t0");
        assert_eq!(count.load(SeqCst), 1);
        assert_eq!(get(1_100).await.unwrap().authorization, "Bearer t1");
        let other = minted.get(Decided::by(&[b"", b"a"]), NOW, None, || async { credential("o", 1_100, 1_200) }).await;
        assert_eq!(other.unwrap().authorization, "Bearer o");
    }

    #[tokio::test]
    async fn a_failure_answers_for_a_moment_and_what_is_still_good_stands_in() {
        let (minted, tries) = (Minted::new(), AtomicUsize::new(0));
        let failing = |at| {
            tries.fetch_add(1, SeqCst);
            minted.get(Decided::by(&[b"a"]), Timestamp::from_secs(at), None, || async {
                Err(Fault::CredentialUnavailable)
            })
        };
        let made = minted.get(Decided::by(&[b"a"]), NOW, None, || async { credential("t", 1_100, 1_200) }).await;
        assert!(made.is_ok());
        assert_eq!(failing(1_150).await.unwrap().authorization, "Bearer t", "it has not ended yet");
        assert_eq!(failing(1_250).await.unwrap_err(), Fault::CredentialUnavailable);
        let again =
            minted.get(Decided::by(&[b"a"]), Timestamp::from_secs(1_250), None, || async { credential("n", 1, 2) });
        assert_eq!(again.await.unwrap_err(), Fault::CredentialUnavailable, "not asked again at once");
        tokio::time::sleep(CREDENTIAL_PAUSE).await;
        let again = minted
            .get(Decided::by(&[b"a"]), Timestamp::from_secs(1_251), None, || async { credential("n", 9_000, 9_000) });
        assert_eq!(again.await.unwrap().authorization, "Bearer n");
    }

    #[tokio::test]
    async fn m20_what_is_held_stands_in_for_what_cannot_be_had_and_for_what_takes_long_but_not_for_a_refusal() {
        let minted = Minted::new();
        let held = || credential("held", 900, 1_200).ok();
        let get = |key: &'static [u8], at: u64, fault: Fault| {
            let failing = move || async move { Err(fault) };
            minted.get(Decided::by(&[key]), Timestamp::from_secs(at), held(), failing)
        };
        let away = Fault::ProviderUnavailable;
        assert_eq!(get(b"away", 1_000, away).await.unwrap().authorization, "Bearer held");
        assert_eq!(get(b"late", 1_200, away).await.unwrap_err(), away, "it has ended");
        assert_eq!(get(b"over", 1_000, Fault::LoginNeeded).await.unwrap_err(), Fault::LoginNeeded);
        let (tell, told) = tokio::sync::oneshot::channel();
        let slow = minted.get(Decided::by(&[b"slow"]), NOW, held(), || async {
            told.await.unwrap();
            credential("new", 1_100, 1_200)
        });
        assert_eq!(slow.await.unwrap().authorization, "Bearer held", "nobody waits for longer than a moment");
        let begun = Instant::now();
        assert_eq!(get(b"slow", 1_000, away).await.unwrap().authorization, "Bearer held");
        assert!(begun.elapsed() < CREDENTIAL_PATIENCE, "and whoever comes later not at all");
        tell.send(()).unwrap();
        while get(b"slow", 1_000, away).await.unwrap().authorization != "Bearer new" {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn t250_what_is_kept_has_an_end() {
        let minted = Minted::new();
        for number in 0..CREDENTIALS_MAX.saturating_mul(2) {
            let made = || async { credential("t", 9_000, 9_000) };
            minted.get(Decided::by(&[&number.to_be_bytes()]), NOW, None, made).await.unwrap();
        }
        let held: usize = minted.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(held <= CREDENTIALS_MAX && held > CREDENTIALS_MAX / 2, "{held}");
    }
}
