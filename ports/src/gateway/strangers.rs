//! Bearers that are not of our making: whose keys judge them, and whether they still count.

use super::{Bearer, Gateway};
use crate::{Clock, IdentityProvider, TrustedKeys, Unreachable, World, ask};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::jws::Unverified;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::oauth::admit::Wish;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::resource::Resource;
use portcullis_domain::oauth::stranger::{self, AdmitStranger, Place, ProviderRules, Refused, Stranger};
use portcullis_domain::oidc::discovery::Provider;
use std::net::IpAddr;
use std::sync::Arc;

impl<W: World> Gateway<W> {
    /// Judges a bearer that is not of our making, at this resource. Where several entries speak of its issuer, one of them is enough:
    /// what is no token for the one may be one for the other.
    ///
    /// # Errors
    /// [`Fault::TokenUnknown`] for whatever names no issuer that is trusted, without asking anybody; [`Fault::TokenForeign`] with the
    /// rule that the token breaks; [`Fault::IssuerUnavailable`] if there are no keys to judge it by.
    pub async fn stranger(&self, bearer: &str, resource: &Resource, address: Option<IpAddr>) -> Result<Bearer, Fault> {
        let judged = self.judge_stranger(bearer, resource).await;
        let now = self.world.clock().now();
        match judged {
            Ok(stranger) => {
                let event = Event::new(Happened::StrangerAdmitted).whose(stranger.person).from(address);
                self.note(now, event);
                Ok(Bearer::Stranger(Arc::new(stranger)))
            }
            Err(fault) => {
                if matches!(fault, Fault::TokenForeign(_)) {
                    self.note(now, Event::new(Happened::StrangerRefused).from(address).under(fault));
                }
                Err(fault)
            }
        }
    }

    async fn judge_stranger(&self, bearer: &str, resource: &Resource) -> Result<Stranger, Fault> {
        let trusted = &self.policy.trusted;
        let unverified = Unverified::parse(bearer).map_err(|_| Fault::TokenUnknown)?;
        let issuer = unverified.claimed().and_then(|claimed| claimed.issuer).ok_or(Fault::TokenUnknown)?;
        let mut refused = Fault::TokenUnknown;
        for (number, own) in trusted.issuers.iter().enumerate().filter(|(_, own)| own.issuer == issuer) {
            let keys = self.world.issuers();
            let judge =
                |keys: &KeySet| stranger::of_issuer(bearer, unverified.clone(), own, keys, self.place(resource));
            match by(keys.keys(number).await, |known| async move { keys.newer_keys(number, &known).await }, judge).await
            {
                Ok(stranger) => return Ok(stranger),
                Err(fault) => refused = fault,
            }
        }
        if trusted.audiences.is_empty() {
            return Err(refused);
        }
        let provider = self.world.provider().discovered().ok_or(Fault::IssuerUnavailable)?;
        if !provider.issuer.includes(&issuer) || !provider.algorithms.contains(&unverified.header().algorithm) {
            return Err(refused);
        }
        self.by_provider(bearer, unverified, &provider, resource).await
    }

    async fn by_provider(
        &self,
        bearer: &str,
        unverified: Unverified<'_>,
        provider: &Provider,
        resource: &Resource,
    ) -> Result<Stranger, Fault> {
        let (party, port) = (&self.relying_party, self.world.provider());
        let rules = ProviderRules { groups_claim: &party.groups_claim, admits: &|person| party.entry.admits(person) };
        let (issuer, audiences) = (&provider.issuer, self.policy.trusted.audiences.as_slice());
        let judge = |keys: &KeySet| {
            stranger::of_provider(bearer, unverified.clone(), issuer, audiences, keys, self.place(resource), rules)
        };
        by(port.keys().await, |known| async move { port.newer_keys(&known).await }, judge).await
    }

    fn place<'a>(&'a self, resource: &'a Resource) -> Place<'a> {
        Place { base_url: &self.policy.base_url, resource, now: self.world.clock().now() }
    }

    /// Whether somebody with such a token may enter now. To be asked for every request.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub async fn admit_stranger(&self, stranger: &Arc<Stranger>, resource: &Resource) -> Result<(), Fault> {
        let wish = Wish::Enter { resource: resource.hash(), scopes: resource.scope_set() };
        ask(&*self.world, &AdmitStranger { stranger, wish }).await
    }
}

/// Judges by the keys that there are, and once more by newer ones if the token names one that is not among them.
async fn by<F: Future<Output = Result<Arc<KeySet>, Unreachable>> + Send>(
    keys: Result<Arc<KeySet>, Unreachable>,
    newer: impl FnOnce(Arc<KeySet>) -> F + Send,
    judge: impl Fn(&KeySet) -> Result<Stranger, Refused> + Send,
) -> Result<Stranger, Fault> {
    let unreachable = |_| Fault::IssuerUnavailable;
    let keys = keys.map_err(unreachable)?;
    let mut judged = judge(&keys);
    if matches!(judged, Err(Refused::UnknownKey)) {
        judged = judge(&*newer(keys).await.map_err(unreachable)?);
    }
    judged.map_err(Fault::TokenForeign)
}
