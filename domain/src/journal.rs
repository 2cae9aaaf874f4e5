//! The audit events: what happened to whom, in identifiers that are no secrets.

use crate::key::{ClientHash, CutScope, GrantId, Person, ProviderSession};
use crate::oauth::fault::Fault;
use std::net::IpAddr;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Happened {
    /// A client registered.
    ClientRegistered,
    /// A client was not let register.
    RegistrationRefused,
    /// A client did not prove who it is.
    ClientAuthenticationFailed,
    /// Somebody approved a client on the consent page.
    ConsentGranted,
    /// Somebody denied a client on the consent page.
    ConsentDenied,
    /// A form or a callback did not come from the browser that it belongs to.
    BrowserMismatch,
    /// A person logged in, and a code was issued.
    CodeIssued,
    /// A login failed at or after the identity provider.
    LoginRefused,
    /// The provider's list of a person's groups was cut, or could not be read.
    GroupsIncomplete,
    /// A code was redeemed: a session begins.
    TokensIssued,
    /// A redeemed code came again with everything right: its session is revoked.
    CodeReplayed,
    /// A refresh token was rotated.
    TokensRefreshed,
    /// A superseded refresh token came again within the grace and got the current one.
    RefreshRepeated,
    /// A superseded refresh token came again after the grace: its session is revoked.
    RefreshReplayed,
    /// An authentic refresh token of a generation that the store does not know.
    RefreshAhead,
    /// The store had lost a rotation, and the refresh token brought it back.
    RefreshRolledForward,
    /// A session was revoked by its client.
    SessionRevoked,
    /// A client asked about a token of another one.
    IntrospectionRefused,
    /// A client was given an assertion for an access token of its own.
    TokenExchanged,
    /// A token of another issuer was judged and let in.
    StrangerAdmitted,
    /// A token of an issuer that is trusted broke a rule.
    StrangerRefused,
    /// The provider gave newer tokens of a person.
    UpstreamRefreshed,
    /// The provider stands for a person no more, or the operator lets them in no more: all their sessions are over.
    UpstreamEnded,
    /// The provider has revoked its refresh tokens of a person who was erased.
    UpstreamRevoked,
    /// It has not, or has no endpoint for that: they live on there.
    UpstreamNotRevoked,
    /// Somebody used up their share of requests.
    RateLimited,
    /// The provider says that somebody has logged out: what came out of that session there is over, or everything of a person.
    ProviderLogout,
    /// A logout token broke a rule, or could not be judged.
    ProviderLogoutRefused,
    /// The operator has looked at sessions.
    OperatorLooked,
    /// The operator has ended one session.
    OperatorRevoked,
    /// The operator has ended everything of somebody: without person, client and session of the provider, of everybody.
    OperatorCut,
    /// The operator has ended everything of somebody, and keeps them out.
    OperatorBlocked,
    /// The operator lets somebody in again.
    OperatorLifted,
    /// The operator has had everything erased that was stored of a person.
    OperatorErased,
    /// The operator has had the provider's tokens of a session renewed.
    OperatorRefreshed,
    /// Somebody without the operator's token has asked for what only the operator may do.
    OperatorRefused,
    /// The master keys are other ones, or in another order, since now.
    KeysExchanged,
}

impl Happened {
    /// All of them.
    pub const ALL: [Self; 37] = [
        Self::ClientRegistered,
        Self::RegistrationRefused,
        Self::ClientAuthenticationFailed,
        Self::ConsentGranted,
        Self::ConsentDenied,
        Self::BrowserMismatch,
        Self::CodeIssued,
        Self::LoginRefused,
        Self::GroupsIncomplete,
        Self::TokensIssued,
        Self::CodeReplayed,
        Self::TokensRefreshed,
        Self::RefreshRepeated,
        Self::RefreshReplayed,
        Self::RefreshAhead,
        Self::RefreshRolledForward,
        Self::SessionRevoked,
        Self::IntrospectionRefused,
        Self::TokenExchanged,
        Self::StrangerAdmitted,
        Self::StrangerRefused,
        Self::UpstreamRefreshed,
        Self::UpstreamEnded,
        Self::UpstreamRevoked,
        Self::UpstreamNotRevoked,
        Self::RateLimited,
        Self::ProviderLogout,
        Self::ProviderLogoutRefused,
        Self::OperatorLooked,
        Self::OperatorRevoked,
        Self::OperatorCut,
        Self::OperatorBlocked,
        Self::OperatorLifted,
        Self::OperatorErased,
        Self::OperatorRefreshed,
        Self::OperatorRefused,
        Self::KeysExchanged,
    ];

    /// The event's name in the journal: stable, lower case, for alerts to match.
    #[must_use]
    #[rustfmt::skip]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientRegistered           => "client_registered",
            Self::RegistrationRefused        => "client_registration_rejected",
            Self::ClientAuthenticationFailed => "client_authentication_failed",
            Self::ConsentGranted             => "consent_granted",
            Self::ConsentDenied              => "consent_denied",
            Self::BrowserMismatch            => "browser_mismatch",
            Self::CodeIssued                 => "authorization_code_issued",
            Self::LoginRefused               => "login_refused",
            Self::GroupsIncomplete           => "groups_incomplete",
            Self::TokensIssued               => "token_issued",
            Self::CodeReplayed               => "authorization_code_reuse_detected",
            Self::TokensRefreshed            => "token_refreshed",
            Self::RefreshRepeated            => "refresh_token_repeated_in_grace",
            Self::RefreshReplayed            => "refresh_token_reuse_detected",
            Self::RefreshAhead               => "refresh_token_ahead_of_store",
            Self::RefreshRolledForward       => "refresh_token_rolled_forward",
            Self::SessionRevoked             => "token_revoked",
            Self::IntrospectionRefused       => "introspection_refused",
            Self::TokenExchanged             => "token_exchanged",
            Self::StrangerAdmitted           => "foreign_token_accepted",
            Self::StrangerRefused            => "foreign_token_rejected",
            Self::UpstreamRefreshed          => "provider_tokens_refreshed",
            Self::UpstreamEnded              => "provider_tokens_refused",
            Self::UpstreamRevoked            => "provider_tokens_revoked",
            Self::UpstreamNotRevoked         => "provider_tokens_not_revoked",
            Self::RateLimited                => "rate_limit_exceeded",
            Self::ProviderLogout             => "provider_logout",
            Self::ProviderLogoutRefused      => "provider_logout_refused",
            Self::OperatorLooked             => "operator_looked_at_sessions",
            Self::OperatorRevoked            => "operator_revoked_session",
            Self::OperatorCut                => "operator_cut",
            Self::OperatorBlocked            => "operator_blocked",
            Self::OperatorLifted             => "operator_lifted_block",
            Self::OperatorErased             => "operator_erased_person",
            Self::OperatorRefreshed          => "operator_refreshed_session",
            Self::OperatorRefused            => "operator_token_refused",
            Self::KeysExchanged              => "master_keys_exchanged",
        }
    }

    /// Whether it is a refusal that anybody can bring about as often as they like, without having logged in.
    #[must_use]
    pub const fn is_cheap(self) -> bool {
        matches!(
            self,
            Self::RegistrationRefused
                | Self::ClientAuthenticationFailed
                | Self::BrowserMismatch
                | Self::LoginRefused
                | Self::IntrospectionRefused
                | Self::StrangerRefused
                | Self::RateLimited
                | Self::ProviderLogoutRefused
                | Self::OperatorRefused
        )
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub const fn alarming(self) -> bool {
        matches!(self, Self::CodeReplayed | Self::RefreshReplayed | Self::RefreshAhead)
    }
}

/// One entry of the journal, before it is dated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub happened: Happened,
    /// To whom.
    pub person: Option<Person>,
    /// In which session.
    pub grant: Option<GrantId>,
    /// What that session is called towards what stands behind the gate.
    pub session_name: Option<[u8; 16]>,
    /// By which client.
    pub client: Option<ClientHash>,
    /// Out of which session at the identity provider.
    pub provider_session: Option<ProviderSession>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Which rule refused it.
    pub fault: Option<Fault>,
    /// Whether it is not known that it came about: the store gave no answer in time.
    pub in_doubt: bool,
}

impl Event {
    /// An event without circumstances.
    #[must_use]
    pub const fn new(happened: Happened) -> Self {
        Self {
            happened,
            person: None,
            grant: None,
            session_name: None,
            client: None,
            provider_session: None,
            address: None,
            fault: None,
            in_doubt: false,
        }
    }

    /// In this session, and so to this person.
    #[must_use]
    pub const fn of(mut self, grant: GrantId) -> Self {
        self.person = Some(grant.person);
        self.grant = Some(grant);
        self
    }

    /// In the session that is called so towards what stands behind the gate.
    #[must_use]
    pub const fn named(mut self, name: [u8; 16]) -> Self {
        self.session_name = Some(name);
        self
    }

    /// To this person.
    #[must_use]
    pub const fn about(mut self, person: Person) -> Self {
        self.person = Some(person);
        self
    }

    /// To this person.
    #[must_use]
    pub const fn whose(mut self, person: Person) -> Self {
        self.person = Some(person);
        self
    }

    /// By this client.
    #[must_use]
    pub const fn by(mut self, client: ClientHash) -> Self {
        self.client = Some(client);
        self
    }

    /// To whomever a cut ends.
    #[must_use]
    pub const fn within(mut self, scope: CutScope) -> Self {
        match scope {
            CutScope::All => {}
            CutScope::Client(client) => self.client = Some(client),
            CutScope::Person(person) => self.person = Some(person),
            CutScope::ProviderSession(session) => self.provider_session = Some(session),
        }
        self
    }

    /// From this address.
    #[must_use]
    pub const fn from(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Not known to have come about.
    #[must_use]
    pub const fn in_doubt(mut self) -> Self {
        self.in_doubt = true;
        self
    }

    /// Refused under this rule.
    #[must_use]
    pub const fn under(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t290_every_event_has_its_own_name() {
        let names: std::collections::BTreeSet<&str> = Happened::ALL.iter().map(|happened| happened.name()).collect();
        assert_eq!(names.len(), Happened::ALL.len());
        assert!(
            Happened::ALL.iter().all(|happened| !(happened.alarming() && happened.is_cheap())),
            "alarms are all heard"
        );
    }
}
