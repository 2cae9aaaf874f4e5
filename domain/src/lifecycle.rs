//! What becomes of sessions, as whoever watches them is told: out of the journal's events, those that change one.

use crate::journal::{Event, Happened};
use crate::key::{ClientHash, GrantId, Person, ProviderSession};
use crate::time::Timestamp;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// What has changed.
    pub change: Change,
    /// When.
    pub at: Timestamp,
    /// The event of the journal that it is.
    pub because: Happened,
    /// Whose.
    pub person: Option<Person>,
    /// Which session, if it is about one.
    pub session: Option<GrantId>,
    /// What that session is called towards what stands behind the gate.
    pub name: Option<[u8; 16]>,
    /// Its client; or the client whose sessions have all ended.
    pub client: Option<ClientHash>,
    /// The session at the provider whose sessions have all ended.
    pub provider_session: Option<ProviderSession>,
    /// Whether it is not known that it came about: the store gave no answer in time.
    pub in_doubt: bool,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A session has begun.
    Created,
    /// A client has newer tokens.
    Refreshed,
    /// The provider has given newer tokens of a person.
    ProviderRefreshed,
    /// A session has ended before its time.
    Revoked,
    /// Everything of a person has ended.
    PersonRevoked,
    /// Everything of a client has ended.
    ClientRevoked,
    /// Everything that came out of a session at the provider has ended.
    ProviderSessionRevoked,
    /// Everything has ended.
    EverythingRevoked,
}

impl Change {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "session_created",
            Self::Refreshed => "session_refreshed",
            Self::ProviderRefreshed => "provider_tokens_refreshed",
            Self::Revoked => "session_revoked",
            Self::PersonRevoked => "person_revoked",
            Self::ClientRevoked => "client_revoked",
            Self::ProviderSessionRevoked => "provider_session_revoked",
            Self::EverythingRevoked => "everything_revoked",
        }
    }
}

impl Lifecycle {
    /// What an event says of sessions, if it changes any.
    #[must_use]
    pub fn of(at: Timestamp, event: &Event) -> Option<Self> {
        use Happened as H;
        let change = match event.happened {
            H::TokensIssued => Change::Created,
            H::TokensRefreshed | H::RefreshRolledForward => Change::Refreshed,
            H::UpstreamRefreshed => Change::ProviderRefreshed,
            H::SessionRevoked | H::CodeReplayed | H::RefreshReplayed | H::OperatorRevoked => Change::Revoked,
            H::UpstreamEnded | H::OperatorErased => Change::PersonRevoked,
            H::OperatorCut | H::OperatorBlocked | H::ProviderLogout => {
                match (event.person, event.client, event.provider_session) {
                    (Some(_), _, _) => Change::PersonRevoked,
                    (None, Some(_), _) => Change::ClientRevoked,
                    (None, None, Some(_)) => Change::ProviderSessionRevoked,
                    (None, None, None) => Change::EverythingRevoked,
                }
            }
            _ => return None,
        };
        let Event { happened, person, grant, session_name, client, provider_session, in_doubt, .. } = *event;
        let (session, name) = (grant, session_name);
        Some(Self { change, at, because: happened, person, session, name, client, provider_session, in_doubt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::CutScope;

    #[test]
    fn m19_what_changes_a_session_is_told_and_nothing_else_is() {
        let now = Timestamp::from_secs(1);
        let told = |event: &Event| Lifecycle::of(now, event).map(|told| told.change);
        let silent = Happened::ALL.iter().filter(|happened| told(&Event::new(**happened)).is_none());
        assert_eq!(silent.count(), Happened::ALL.len() - 13);
        let cut = |scope| told(&Event::new(Happened::OperatorCut).within(scope));
        assert_eq!(cut(CutScope::All), Some(Change::EverythingRevoked));
        assert_eq!(cut(CutScope::Person(Person([1; 16]))), Some(Change::PersonRevoked));
        assert_eq!(cut(CutScope::Client(ClientHash([1; 32]))), Some(Change::ClientRevoked));
        let session = ProviderSession([1; 16]);
        assert_eq!(cut(CutScope::ProviderSession(session)), Some(Change::ProviderSessionRevoked));
        let id = GrantId { person: Person([1; 16]), login: [2; 16] };
        let event = Event::new(Happened::TokensIssued).of(id).named([3; 16]).in_doubt();
        let told = Lifecycle::of(now, &event).unwrap();
        assert_eq!(
            (told.session, told.name, told.person, told.in_doubt),
            (Some(id), Some([3; 16]), Some(id.person), true)
        );
    }
}
