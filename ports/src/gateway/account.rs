//! Who has logged in: whom the ID token vouches for, or, of a provider that gives none, whom its API knows by the access token.

use super::upstream::Renewal;
use super::{Gateway, upstream};
use crate::deadline::within;
use crate::{BackAnswer, Clock, IdentityProvider, Journal, World};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::limits::{GITHUB_PAGES_MAX, GROUPS_MAX, UPSTREAM_WAIT};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::flow::Login;
use portcullis_domain::oauth::identity::Claims;
use portcullis_domain::oauth::upstream::{Answer, Brought};
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::github::{self, Api, Kept, Listing, Refused};
use portcullis_domain::oidc::id_token::{self, Person};
use portcullis_domain::oidc::token_response::{self, Failure, Refreshed};
use portcullis_domain::secret::SecretText;

impl<W: World> Gateway<W> {
    /// The person whom an ID token vouches for, and what is kept of the provider's tokens.
    pub(super) async fn vouched_for(
        &self,
        provider: &Provider,
        login: &Login,
        answer: BackAnswer,
    ) -> Result<(Person, Brought), Fault> {
        let tokens = token_response::judge(answer.status, answer.content_type.as_deref(), &answer.body);
        let tokens = tokens.map_err(redeemed_badly)?;
        let nonce = login.nonce();
        let expected = id_token::Expected {
            provider,
            client_id: &self.relying_party.credentials.client_id,
            access_token: tokens.access_token.expose(),
            groups_claim: &self.relying_party.groups_claim,
            occasion: id_token::Occasion::Login { nonce: nonce.expose(), max_age: login.max_age },
        };
        let person = upstream::judged(&*self.world, &tokens.id_token, &expected).await?;
        let now = self.world.clock().now();
        let said = tokens.expires_in.map(|life| now.plus(life));
        let brought =
            upstream::brought(&self.relying_party, tokens.refresh_token, tokens.id_token, person.expires, said);
        Ok((person, brought))
    }

    /// The person of a login whose code was redeemed, and what is kept of their tokens.
    pub(super) async fn logged_in(
        &self,
        provider: &Provider,
        api: &Api,
        max_age: Option<u32>,
        answer: BackAnswer,
    ) -> Result<(Person, Brought), Fault> {
        // It does not say when somebody has proved who they are.
        if max_age.is_some() {
            return Err(Fault::IdToken(id_token::Refused::AuthenticationTooOld));
        }
        let tokens = github::tokens(answer.status, answer.content_type.as_deref(), &answer.body);
        let tokens = tokens.map_err(redeemed_badly)?;
        let person = person(&*self.world, provider, api, &tokens.access_token).await;
        let person = person.map_err(|refused| match refused {
            Refused::Later => Fault::ProviderUnavailable,
            Refused::Suspended => Fault::PersonRefused,
            Refused::Token | Refused::Malformed => Fault::ProviderAnswer("the API's answer"),
        })?;
        let brought = brought(&*self.world, api, &tokens, Some(Kept::of(&tokens).stored()));
        Ok((person, brought))
    }
}

impl<W: World> Renewal<W> {
    /// Asks once more, with what was kept.
    pub(super) async fn ask_api(
        &self,
        provider: &Provider,
        api: &Api,
        kept: &SecretText,
        issuer: &str,
        subject: &str,
    ) -> Answer {
        let clock = self.world.clock();
        let deadline = clock.monotonic().saturating_add(UPSTREAM_WAIT);
        let only = |successor: Option<SecretText>| successor.map_or(Answer::Nothing, Answer::OnlyRefresh);
        let tokens = match Kept::read(kept) {
            Kept::Access(access_token) => {
                Refreshed { access_token, expires_in: None, refresh_token: None, id_token: None }
            }
            Kept::Refresh(token) => {
                let Ok(BackAnswer { status, content_type, body }) = self.send(provider, &token).await else {
                    return Answer::Nothing;
                };
                let content_type = content_type.as_deref();
                match github::tokens(status, content_type, &body) {
                    Ok(tokens) => tokens,
                    Err(failure) if self.party.profile.refuses_token(failure) => return Answer::Refused,
                    Err(_) => return only(token_response::successor(status, content_type, &body)),
                }
            }
        };
        let is_kept = matches!(Kept::read(kept), Kept::Access(_));
        let asked = within(clock, deadline, person(&*self.world, provider, api, &tokens.access_token)).await;
        let person = match asked.unwrap_or(Err(Refused::Later)) {
            Ok(person) if person.issuer == issuer && person.subject == subject => person,
            Ok(_) => {
                let fault = Fault::IdToken(id_token::Refused::OtherSubject);
                let event = Event::new(Happened::LoginRefused).about(self.person).under(fault);
                self.world.journal().note(clock.now(), &event);
                return only(tokens.refresh_token);
            }
            Err(Refused::Token) if is_kept => return Answer::Refused,
            Err(Refused::Suspended) => return Answer::Barred,
            Err(_) => return only(tokens.refresh_token),
        };
        if !self.party.entry.admits(&person) {
            return Answer::Barred;
        }
        let brought = brought(&*self.world, api, &tokens, tokens.refresh_token.clone());
        Answer::Tokens(brought, Some(Box::new(Claims::from(person))))
    }
}

fn redeemed_badly(failure: Failure) -> Fault {
    match failure {
        Failure::Unavailable => Fault::ProviderUnavailable,
        _ => Fault::ProviderAnswer("the token endpoint's answer"),
    }
}

fn brought<W: World>(world: &W, api: &Api, tokens: &Refreshed, refresh: Option<SecretText>) -> Brought {
    let life = tokens.expires_in.map_or(api.again, |life| life.min(api.again));
    Brought { refresh, id_token: None, withheld: true, ends: Some(world.clock().now().plus(life)) }
}

/// Everything that the API says of whoever this token belongs to.
async fn person<W: World>(
    world: &W,
    provider: &Provider,
    api: &Api,
    access_token: &SecretText,
) -> Result<Person, Refused> {
    let port = world.provider();
    let ask = |url: String| async move { port.ask(url, access_token).await.map_err(|_| Refused::Later) };
    let BackAnswer { status, content_type, body } = ask(api.account()).await?;
    let account = github::account(status, content_type.as_deref(), &body)?;
    let email = if api.emails {
        let BackAnswer { status, content_type, body } = ask(api.page(Listing::Emails, 1)).await?;
        github::email(status, content_type.as_deref(), &body)?
    } else {
        None
    };
    let (mut groups, mut complete) = (Vec::new(), true);
    for listing in api.group_lists() {
        for page in 1..=GITHUB_PAGES_MAX {
            let BackAnswer { status, content_type, body } = ask(api.page(*listing, page)).await?;
            let (found, more) = github::groups(*listing, status, content_type.as_deref(), &body)?;
            groups.extend(found);
            if !more || groups.len() > GROUPS_MAX {
                break;
            }
            complete &= page < GITHUB_PAGES_MAX;
        }
    }
    let issuer = provider.issuer.home();
    Ok(github::person(issuer, account, email, groups, complete, world.clock().now().plus(api.again)))
}
