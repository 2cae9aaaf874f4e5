//! Sentinels: who says where the primary is.
//!
//! All of them are asked at once, and the address that most of them name is believed: one that has been cut off from the others
//! goes on naming the old primary.

use super::access::{Access, Endpoint};
use super::refusal::Refusal;
use portcullis_domain::limits::SENTINEL_DEADLINE;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::timeout;

/// The Sentinels of one primary.
#[derive(Debug)]
pub struct Sentinels {
    /// Where they are.
    pub endpoints: Vec<Endpoint>,
    /// What they call the primary.
    pub name: String,
    /// How they are spoken to.
    pub access: Arc<Access>,
}

impl Sentinels {
    /// Where most of those that answer say that the primary is.
    ///
    /// # Errors
    /// [`Refusal::NoPrimary`], or why none of them could be asked.
    pub(super) async fn primary(&self) -> Result<Endpoint, Refusal> {
        let mut asked = tokio::task::JoinSet::new();
        for sentinel in &self.endpoints {
            let (access, name, endpoint) = (Arc::clone(&self.access), self.name.clone(), sentinel.clone());
            asked.spawn(async move { ask(&access, &endpoint, &name).await });
        }
        let (mut named, mut refusal) = (BTreeMap::<Endpoint, usize>::new(), Refusal::NoPrimary);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(primary)) => {
                    let count = named.entry(primary).or_default();
                    *count = count.saturating_add(1);
                }
                Ok(Err(why)) => refusal = why,
                Err(_) => {}
            }
        }
        named.into_iter().max_by_key(|(_, count)| *count).map(|(endpoint, _)| endpoint).ok_or(refusal)
    }
}

async fn ask(access: &Access, sentinel: &Endpoint, name: &str) -> Result<Endpoint, Refusal> {
    let asked = async {
        let (mut talk, _) = access.talk(sentinel).await?;
        let answer = talk.fine(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()]).await?;
        let Some([host, port]) = answer.list() else { return Err(Refusal::NoPrimary) };
        let port = port.number().and_then(|port| u16::try_from(port).ok());
        let (host, port) = host.str().zip(port).ok_or(Refusal::Nonsense)?;
        Ok(Endpoint { host: host.to_owned(), port })
    };
    timeout(SENTINEL_DEADLINE, asked).await.unwrap_or_else(|_| Err(super::link::late(SENTINEL_DEADLINE)))
}
