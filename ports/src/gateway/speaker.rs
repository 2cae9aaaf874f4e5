//! Whom a request speaks for: the one place where a `client_id` becomes a client.

use super::Gateway;
use crate::{Clock, Counted, Documents, World, transact};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::oauth::client::{self, Client, Named, Presented, Speaker};
use portcullis_domain::oauth::client_assertion::{self, Refused, Spend};
use portcullis_domain::oauth::client_document::{Document, DocumentUrl};
use portcullis_domain::oauth::client_keys::ClientKeys;
use portcullis_domain::oauth::fault::Fault;
use std::net::IpAddr;
use std::sync::Arc;

impl<W: World> Gateway<W> {
    /// The client with this id, to be put before a person.
    pub(super) async fn client(&self, id: &str, address: Option<IpAddr>) -> Result<Client, Fault> {
        match client::find(&self.policy, id)? {
            Named::Client(client) => Ok(*client),
            Named::Document(url) => Client::described(&url, &*self.document(&url, address).await?, &self.policy),
        }
    }

    /// The client that a request speaks for. A document is asked only where it counts what it says now: a session does not hang on
    /// whether its client's host answers.
    pub(super) async fn speaker(
        &self,
        presented: &Presented<'_>,
        asks_document: bool,
        address: Option<IpAddr>,
    ) -> Result<Speaker, Fault> {
        let spoken_for = self.spoken_for(presented, asks_document, address).await;
        let speaker = spoken_for.inspect_err(|fault| {
            let event = Event::new(Happened::ClientAuthenticationFailed).from(address).under(*fault);
            self.note(self.world.clock().now(), event);
        })?;
        if speaker.confidential {
            self.count_client(speaker.client)?;
        }
        Ok(speaker)
    }

    async fn spoken_for(
        &self,
        presented: &Presented<'_>,
        asks_document: bool,
        address: Option<IpAddr>,
    ) -> Result<Speaker, Fault> {
        let id = presented.client_id()?.ok_or(Fault::Missing("client_id"))?;
        match client::find(&self.policy, id)? {
            Named::Client(client) => self.proven(&client, presented).await,
            Named::Document(url) if asks_document || presented.assertion.is_some() => {
                let document = match self.document(&url, address).await {
                    Ok(document) => document,
                    Err(fault) => self.world.documents().last(&url).ok_or(fault)?,
                };
                self.proven(&Client::described(&url, &document, &self.policy)?, presented).await
            }
            Named::Document(url) => Speaker::unasked(&url, presented),
        }
    }

    /// A client, if the request proves to come from it.
    async fn proven(&self, client: &Client, presented: &Presented<'_>) -> Result<Speaker, Fault> {
        let (Some(assertion), Some(keys)) = (&presented.assertion, client.keys()) else {
            return Speaker::known(client, presented);
        };
        let documents = self.world.documents();
        let judge = |keys: &KeySet| {
            let now = self.world.clock().now();
            client_assertion::judge(assertion, client.id(), keys, &self.policy.base_url, now)
        };
        let proof = match keys {
            ClientKeys::Set(keys) => judge(keys)?,
            ClientKeys::At(url) => {
                let keys = documents.keys(url).await?;
                match judge(&keys) {
                    Err(Refused::UnknownKey) => judge(&*documents.newer_keys(url, &keys).await?)?,
                    judged => judged?,
                }
            }
        };
        transact(&self.world, Spend(proof)).await?;
        Speaker::asserted(client, &proof)
    }

    /// The document at this address. Whoever makes us fetch one that is not known is counted for it.
    async fn document(&self, url: &DocumentUrl, address: Option<IpAddr>) -> Result<Arc<Document>, Fault> {
        let documents = self.world.documents();
        if let (None, Some(address)) = (documents.last(url), address) {
            self.count(Counted::Document, address)?;
        }
        documents.document(url).await
    }
}
