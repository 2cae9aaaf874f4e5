//! A person's ID token, for what stands behind the gate.

use crate::limits::UPSTREAM_FRESH;
use crate::oauth::identity::Identity;
use crate::secret::SecretText;
use crate::time::Timestamp;

/// An ID token that is kept.
#[derive(Clone, Copy, Debug)]
pub struct IdToken<'a> {
    /// The token, as the provider signed it.
    pub token: &'a SecretText,
    /// From here on another one is wanted, if the provider gives any.
    pub renew: Timestamp,
    /// Its `exp`: from here on it is shown to nobody.
    pub ends: Timestamp,
}

impl Identity {
    /// The person's ID token, if it is kept.
    #[must_use]
    pub fn id_token(&self) -> Option<IdToken<'_>> {
        let (token, ends) = self.upstream.id_token.as_ref().map(|(token, ends)| (token, *ends))?;
        let half = ends.since(self.upstream.renewed).checked_div(2).unwrap_or_default();
        // Where asking brings none, this one serves to its end.
        let asks = self.upstream_refresh.is_some() && !self.upstream.withheld;
        let renew = if asks { ends.minus(half.min(UPSTREAM_FRESH)) } else { ends };
        Some(IdToken { token, renew, ends })
    }

    /// Whether asking the provider may bring another ID token. One that has answered without any is asked once more when the last one
    /// has ended.
    #[must_use]
    pub fn renews_id_token(&self) -> bool {
        let upstream = &self.upstream;
        let asked_in_vain = || upstream.id_token.as_ref().is_none_or(|(_, ends)| upstream.renewed >= *ends);
        self.upstream_refresh.is_some() && !(upstream.withheld && asked_in_vain())
    }

    /// Whether there is an ID token, or may be one without a login.
    #[must_use]
    pub fn shows_id_token(&self, now: Timestamp) -> bool {
        self.id_token().is_some_and(|kept| now < kept.ends) || self.renews_id_token()
    }
}
