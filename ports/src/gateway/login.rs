//! A login, from the client's request to the code: the person is asked, goes to the identity provider, and comes back.

use super::Gateway;
use crate::{Clock, IdentityProvider, World, ask, transact};
use portcullis_domain::fresh::Fresh;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{Person, ProviderSession};
use portcullis_domain::limits::TRANSACT_DEADLINE;
use portcullis_domain::oauth::authorize::{self, Asked, Refusal, Refused};
use portcullis_domain::oauth::callback::{Callback, Surplus};
use portcullis_domain::oauth::client::Client;
use portcullis_domain::oauth::consent::{self, Choice, CsrfCookie};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::flow::{Flow, Login};
use portcullis_domain::oauth::identity::Claims;
use portcullis_domain::oauth::redirect::CheckedRedirect;
use portcullis_domain::oidc::callback as provider_callback;
use portcullis_domain::oidc::callback::ProviderError;
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::request::{self, Wishes};
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::Form;
use portcullis_domain::wire::header::Cookies;
use std::net::IpAddr;
use std::sync::Arc;

/// A cookie for the browser to keep.
#[derive(Debug)]
pub struct SetCookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: SecretText,
}

/// The consent page.
#[derive(Debug)]
pub struct ConsentPage<'a> {
    /// Who asks, where the answer goes, for what.
    pub asked: Asked<'a>,
    /// The field `flow`.
    pub flow: String,
    /// The field `csrf`.
    pub csrf: SecretText,
    /// The csrf cookie.
    pub cookie: SetCookie,
}

/// What an authorization request leads to.
#[derive(Debug)]
pub enum Authorized<'a> {
    /// The person is asked.
    Consent(Box<ConsentPage<'a>>),
    /// The operator has answered for the person: on to the identity provider.
    Onward(Onward),
}

/// On to the identity provider.
#[derive(Debug)]
pub struct Onward {
    /// Where to.
    pub location: String,
    /// The login's cookie.
    pub cookie: SetCookie,
    /// Cookies to be cleared.
    pub clear: Vec<String>,
}

/// What an answered consent page leads to.
#[derive(Debug)]
pub enum Consented {
    /// Approved.
    Onward(Onward),
    /// Denied, or not possible now: back to the client.
    Back(Refusal),
}

/// What a login that came back leads to.
#[derive(Debug)]
pub struct Returned {
    /// Back to the client: with a code and the person's name, or with a refusal.
    pub outcome: Result<Welcome, Refusal>,
    /// The login's cookie, which is over.
    pub clear: String,
}

/// A login that succeeded.
#[derive(Debug)]
pub struct Welcome {
    /// Where the answer goes.
    pub redirect: CheckedRedirect,
    /// The redirect URI with the code in it.
    pub location: SecretText,
    /// What the person is called.
    pub name: String,
}

/// A request that came from somebody.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its cookies.
    pub cookies: &'a Cookies<'a>,
}

impl<W: World> Gateway<W> {
    /// Judges an authorization request and asks the person.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn authorize(&self, form: &Form<'_>, caller: Caller<'_>) -> Result<Authorized<'_>, Refused> {
        let id = authorize::client_id(form).map_err(Refused::Page)?;
        let client = self.client(id, caller.address).await.map_err(Refused::Page)?;
        self.ask(form, client, caller)
    }

    fn ask(&self, form: &Form<'_>, client: Client, caller: Caller<'_>) -> Result<Authorized<'_>, Refused> {
        let (now, fresh) = self.fresh().map_err(Refused::Page)?;
        let asked = authorize::judge(&self.policy, form, client, now, &fresh)?;
        let refused = |fault, asked: &Asked<'_>| {
            Refused::Redirect(Refusal { redirect: asked.redirect.clone(), state: asked.flow.state.clone(), fault })
        };
        if asked.client.without_page() {
            let provider = self.provider().map_err(|fault| refused(fault, &asked))?;
            let onward = self.onward(&provider, asked.flow.clone(), &asked.wishes, caller, now, &fresh);
            return onward.map(Authorized::Onward).map_err(|fault| refused(fault, &asked));
        }
        let presented = caller.cookies.one(&self.cookies.csrf()).ok().flatten();
        let cookie = CsrfCookie::of(presented, &fresh);
        let ring = &self.policy.ring.now();
        let sealed = asked
            .flow
            .seal(&asked.wishes, ring, &fresh, now)
            .and_then(|flow| cookie.token(ring, &flow, now).map(|csrf| (flow, csrf)));
        let (flow, csrf) = sealed.map_err(|fault| refused(fault, &asked))?;
        let cookie = SetCookie { name: self.cookies.csrf(), value: cookie.value().clone() };
        Ok(Authorized::Consent(Box::new(ConsentPage { asked, flow, csrf, cookie })))
    }

    /// Takes the consent page's answer.
    ///
    /// # Errors
    /// A fault for a page: this form is not to be believed.
    pub fn consent(&self, form: &Form<'_>, same_origin: bool, caller: Caller<'_>) -> Result<Consented, Fault> {
        let (now, fresh) = self.fresh()?;
        let only = |name| form.one(name).map_err(|_| Fault::Repeated);
        let answer = consent::Answer {
            same_origin,
            // Two cookies of one name: somebody else has set one of them.
            cookie: caller.cookies.one(&self.cookies.csrf()).map_err(|_| Fault::Csrf)?,
            token: only("csrf")?,
            flow: only("flow")?,
            choice: only("choice")?,
        };
        let event = |happened, client| Event::new(happened).by(client).from(caller.address);
        let (choice, flow, wishes) = answer.judge(&self.policy.ring.now(), now).inspect_err(|fault| {
            self.note(now, Event::new(Happened::BrowserMismatch).from(caller.address).under(*fault));
        })?;
        let redirect = CheckedRedirect::reopened(&flow.redirect).ok_or(Fault::RedirectUnregistered)?;
        let (client, state) = (flow.client, flow.state.clone());
        let back = |fault| Ok(Consented::Back(Refusal { redirect, state, fault }));
        if choice == Choice::Deny {
            self.note(now, event(Happened::ConsentDenied, client));
            return back(Fault::ConsentDenied);
        }
        let onward = self.provider().and_then(|provider| self.onward(&provider, flow, &wishes, caller, now, &fresh));
        match onward {
            Ok(onward) => {
                self.note(now, event(Happened::ConsentGranted, client));
                Ok(Consented::Onward(onward))
            }
            Err(fault) => back(fault),
        }
    }

    fn onward(
        &self,
        provider: &Provider,
        flow: Flow,
        wishes: &Wishes,
        caller: Caller<'_>,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Onward, Fault> {
        let ring = &self.policy.ring.now();
        let login = Login::begin(flow, wishes.max_age, fresh, now);
        let state = login.state();
        let cookie = SetCookie { name: self.cookies.login(state.expose()), value: login.seal(ring, fresh, now)? };
        let prefix = self.cookies.logins();
        let present = caller.cookies.names_with_prefix(&prefix);
        let present: Vec<(&str, &str)> =
            present.map(|name| (name, caller.cookies.one(name).ok().flatten().unwrap_or_default())).collect();
        let clear = consent::surplus(ring, present.into_iter(), now);
        let location = self.relying_party.authorization_url(provider, &self.redirect_uri(), &login, wishes);
        Ok(Onward { location, cookie, clear })
    }

    /// Takes a login that has come back from the identity provider.
    ///
    /// # Errors
    /// A fault for a page: this browser has no such login, or it is over.
    pub async fn callback(&self, query: &Form<'_>, caller: Caller<'_>) -> Result<Returned, Fault> {
        let now = self.world.clock().now();
        let provider = self.provider()?;
        // Whoever can make a browser ask can make up a callback: one that no provider makes says nothing of the provider.
        let answer = provider_callback::judge(query, &provider).map_err(|_| {
            let fault = Fault::Malformed("callback");
            self.note(now, Event::new(Happened::LoginRefused).from(caller.address).under(fault));
            fault
        })?;
        let clear = self.cookies.login(&answer.state);
        let login = self.resume(&clear, &answer.state, caller, now).inspect_err(|fault| {
            self.note(now, Event::new(Happened::BrowserMismatch).from(caller.address).under(*fault));
        })?;
        // On this replica a login comes back once: the provider's code is not sent twice, and one approval does not let two people in.
        // Across replicas the mark is the judge.
        let (flow, at) = (login.flow.login(), self.world.clock().monotonic());
        match &answer.outcome {
            Ok(_) => self.returned.first(flow, at)?,
            Err(_) => self.returned.not_yet(flow, at)?,
        }
        let redirect = CheckedRedirect::reopened(&login.flow.redirect).ok_or(Fault::RedirectUnregistered)?;
        let (client, state) = (login.flow.client, login.flow.state.clone());
        let welcomed = match answer.outcome {
            Ok(code) => self.welcome(&provider, login, code, caller.address).await,
            Err(error) => Err(refusal_of(error)),
        };
        match welcomed {
            Ok((code, name)) => {
                let issuer = &self.policy.base_url;
                let location = authorize::answer(&redirect, code.expose(), state.as_deref(), issuer);
                let welcome = Welcome { redirect, location: SecretText::new(location), name };
                Ok(Returned { outcome: Ok(welcome), clear })
            }
            Err(Fault::CallbackRepeated) => Err(Fault::CallbackRepeated),
            Err(fault) => {
                self.note(now, Event::new(Happened::LoginRefused).by(client).from(caller.address).under(fault));
                Ok(Returned { outcome: Err(Refusal { redirect, state, fault }), clear })
            }
        }
    }

    fn resume(&self, cookie: &str, state: &str, caller: Caller<'_>, now: Timestamp) -> Result<Login, Fault> {
        let cookie = caller.cookies.one(cookie).map_err(|_| Fault::BrowserUnknown)?.ok_or(Fault::BrowserUnknown)?;
        Login::resume(&self.policy.ring.now(), cookie, state, now)
    }

    /// Redeems the provider's code, judges who it vouches for, and issues ours: the code, and what the person is called.
    async fn welcome(
        &self,
        provider: &Provider,
        login: Login,
        code: SecretText,
        address: Option<IpAddr>,
    ) -> Result<(SecretText, String), Fault> {
        let port = self.world.provider();
        let redeem =
            request::redeem(provider, &self.relying_party.credentials, &code, &self.redirect_uri(), &login.verifier());
        let answer = port.send(redeem).await.map_err(|_| Fault::ProviderUnavailable)?;
        let (person, brought) = match &provider.api {
            Some(api) => self.logged_in(provider, api, login.max_age, answer).await?,
            None => self.vouched_for(provider, &login, answer).await?,
        };
        let now = self.world.clock().now();
        if !self.relying_party.entry.admits(&person) {
            return Err(Fault::PersonRefused);
        }
        let base_url = &self.policy.base_url;
        if !person.groups_complete {
            let known = Person::of(base_url, &person.issuer, &person.subject);
            self.note(now, Event::new(Happened::GroupsIncomplete).about(known).from(address));
        }
        let provider_session =
            person.session.as_deref().map(|session| ProviderSession::of(base_url, &person.issuer, session));
        let claims = Claims::from(person);
        let name = claims.display().to_owned();
        let mut callback = Callback {
            policy: Arc::clone(&self.policy),
            flow: login.flow,
            claims,
            provider_session,
            brought,
            address,
            surplus: None,
        };
        let deadline = self.world.clock().monotonic().saturating_add(TRANSACT_DEADLINE);
        let landed = loop {
            callback.surplus = ask(&*self.world, &Surplus(callback.person())).await?;
            match transact(&self.world, callback.clone()).await {
                // Logins of the same person at the same time may have ended the session that was to end with this one, one after
                // the other.
                Err(Fault::Contended) if self.world.clock().monotonic() < deadline => {}
                landed => break landed,
            }
        };
        Ok((landed?, name))
    }
}

const fn refusal_of(error: ProviderError) -> Fault {
    match error {
        ProviderError::AccessDenied | ProviderError::InteractionRequired => Fault::ProviderDenied,
        ProviderError::TemporarilyUnavailable => Fault::ProviderUnavailable,
        ProviderError::ServerError => Fault::ProviderAnswer("the provider failed"),
        ProviderError::Misconfigured => Fault::ProviderAnswer("the provider does not accept our request"),
    }
}
