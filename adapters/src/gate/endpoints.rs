//! The endpoints of the authorization server, each as request in, use case, answer out.

use super::Gate;
use super::answer::Answer;
use super::cors;
use super::credential::{self, Asserted, AssertionKey, Told};
use super::id_token::IdTokenAt;
use super::read::{self, Authorization, Received};
use super::route::Route;
use crate::http::{RequestBody, pages};
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use portcullis_domain::limits::ASSERTION_LIFE;
use portcullis_domain::oauth::authorize::{Refusal, Refused};
use portcullis_domain::oauth::client::Presented;
use portcullis_domain::oauth::client_assertion::Assertion;
use portcullis_domain::oauth::downstream::{TOKEN_EXCHANGE, TokenType};
use portcullis_domain::oauth::exchange::Tokens;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::redirect::Kind;
use portcullis_domain::oauth::register;
use portcullis_domain::oauth::userinfo;
use portcullis_domain::oauth::vouch::Vouch;
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::basic::Credentials;
use portcullis_domain::wire::form::Form;
use portcullis_domain::wire::header::Challenge;
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_ports::gateway::{Authorized, Brokered, Caller, Consented, Onward};
use portcullis_ports::{Clock, Counted, IdentityProvider, World};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Answers everything but protected resources.
pub(crate) async fn answer<W: World>(
    gate: &Gate<W>,
    route: Route,
    request: Box<Request<RequestBody>>,
    address: IpAddr,
) -> Answer {
    let is_preflight = cors::is_preflight(&request);
    let (head, body) = request.into_parts();
    let method = &head.method;
    if route == Route::Nothing {
        return Answer::fault(Fault::NotFound);
    }
    let open = |answer: Answer| if route.is_open_to_pages() { answer.open() } else { answer };
    if !route.methods().contains(method) {
        if route.is_open_to_pages() && is_preflight {
            return Answer::preflight(&head.headers, route.methods());
        }
        return open(Answer::method(route.methods()));
    }
    let counted = count(gate, route, address);
    if let Err(fault) = counted
        && !route.may_show_a_session()
    {
        return open(refused(gate, route, fault));
    }
    let body = match body_of(method, body).await {
        Ok(body) => body,
        Err(fault) => return open(refused(gate, route, fault)),
    };
    let received = Received { headers: &head.headers, query: head.uri.query().unwrap_or_default(), body: &body };
    let call = Call { gate, received, method, path: head.uri.path(), address: Some(address) };
    if let Err(beyond) = counted
        && let Err(fault) = gate.gateway.go_on(call.vouch(), beyond).await
    {
        return open(refused(gate, route, fault));
    }
    let on_page = |fault| Answer::fault_page(fault, &gate.pages);
    let to_bearer = |fault| Answer::fault_to_bearer(fault, head.headers.contains_key(AUTHORIZATION));
    open(match route {
        Route::Authorize => call.authorize().await.unwrap_or_else(on_page),
        Route::Consent => call.consent().unwrap_or_else(on_page),
        Route::Callback => call.callback().await.unwrap_or_else(on_page),
        Route::Token => call.token().await,
        Route::Revoke => call.revoke().await,
        Route::Introspect => call.introspect().await,
        Route::Userinfo => call.userinfo().await,
        Route::Logout => call.logout().await.unwrap_or_else(Answer::fault),
        Route::Register => call.register().unwrap_or_else(to_bearer),
        Route::Registration => call.registration().unwrap_or_else(to_bearer),
        Route::Metadata => call.metadata(),
        Route::Jwks => Answer::document(gate.jwks()),
        Route::Health => call.health(),
        Route::Resource | Route::ForwardAuth | Route::Nothing => Answer::fault(Fault::NotFound),
    })
}

async fn body_of(method: &Method, body: RequestBody) -> Result<Zeroizing<Vec<u8>>, Fault> {
    if method == Method::POST { read::body(body).await } else { Ok(Zeroizing::default()) }
}

/// People see pages, programs see JSON.
fn refused<W: World>(gate: &Gate<W>, route: Route, fault: Fault) -> Answer {
    match route {
        Route::Authorize | Route::Consent | Route::Callback => Answer::fault_page(fault, &gate.pages),
        _ => Answer::fault(fault),
    }
}

fn count<W: World>(gate: &Gate<W>, route: Route, address: IpAddr) -> Result<(), Fault> {
    let what = match route {
        Route::Register => Counted::Registration,
        Route::Token | Route::Revoke | Route::Introspect | Route::Userinfo | Route::Registration => Counted::Token,
        Route::Authorize | Route::Consent | Route::Callback => Counted::Authorization,
        Route::Logout => Counted::Logout,
        _ => return Ok(()),
    };
    gate.gateway.count(what, address)
}

struct Call<'a, W: World> {
    gate: &'a Gate<W>,
    received: Received<'a>,
    method: &'a Method,
    path: &'a str,
    address: Option<IpAddr>,
}

impl<W: World> Call<'_, W> {
    /// What the request shows of a living session.
    fn vouch(&self) -> Option<Vouch> {
        let ring = &self.gate.gateway.policy().ring.now();
        match self.received.authorization() {
            Ok(Authorization::Bearer(token)) => Vouch::bearer(ring, token),
            _ => Vouch::of(ring, &self.received.form().ok()?),
        }
    }

    async fn authorize(&self) -> Result<Answer, Fault> {
        let cookies = self.received.cookies()?;
        // A request by POST may have parameters in both places; one that stands in both stands twice.
        let joined;
        let form = if self.method == Method::POST {
            self.received.form()?;
            joined = [self.received.query.as_bytes(), self.received.body].join(&b'&');
            Form::parse(&joined).map_err(|_| Fault::Malformed("body"))?
        } else {
            self.received.query()?
        };
        match self.gate.gateway.authorize(&form, Caller { address: self.address, cookies: &cookies }).await {
            Ok(Authorized::Consent(page)) => {
                Ok(Answer::page(pages::consent(&page, &self.gate.pages)).keeping(page.cookie))
            }
            Ok(Authorized::Onward(onward)) => self.onward(onward),
            Err(Refused::Page(fault)) => Err(fault),
            Err(Refused::Redirect(refusal)) => self.back(&refusal),
        }
    }

    fn consent(&self) -> Result<Answer, Fault> {
        let same_origin = self.received.is_same_origin(&self.gate.site.origin)?;
        let cookies = self.received.cookies()?;
        let caller = Caller { address: self.address, cookies: &cookies };
        match self.gate.gateway.consent(&self.received.form()?, same_origin, caller)? {
            Consented::Onward(onward) => self.onward(onward),
            Consented::Back(refusal) => self.back(&refusal),
        }
    }

    async fn callback(&self) -> Result<Answer, Fault> {
        let cookies = self.received.cookies()?;
        let caller = Caller { address: self.address, cookies: &cookies };
        let returned = self.gate.gateway.callback(&self.received.query()?, caller).await?;
        let answer = match returned.outcome {
            Ok(welcome) if welcome.redirect.kind() == Kind::App => {
                Answer::page(pages::welcome(&welcome, &self.gate.pages))
            }
            Ok(welcome) => Answer::redirect(self.method, welcome.location.expose())?,
            Err(refusal) => self.back(&refusal)?,
        };
        Ok(answer.clearing([returned.clear]))
    }

    fn onward(&self, onward: Onward) -> Result<Answer, Fault> {
        let answer = Answer::redirect(self.method, &onward.location)?;
        Ok(answer.clearing(onward.clear).logging_in(onward.cookie))
    }

    fn back(&self, refusal: &Refusal) -> Result<Answer, Fault> {
        // Who is kept out hears so from us: applications say it in words of their own, if at all.
        if refusal.redirect.kind() == Kind::App || pages::is_of_the_operator(refusal.fault) {
            return Ok(Answer::page(pages::refusal(refusal, &self.gate.pages)).because(refusal.fault));
        }
        let answer = Answer::redirect(self.method, &refusal.location(&self.gate.gateway.policy().base_url))?;
        Ok(answer.because(refusal.fault))
    }

    async fn token(&self) -> Answer {
        let judged = async {
            let credentials = self.credentials()?;
            let form = self.received.form()?;
            let presented = presented(&form, credentials.as_ref())?;
            let is_exchange = form.one("grant_type").is_ok_and(|kind| kind == Some(TOKEN_EXCHANGE));
            if is_exchange && !self.gate.gateway.policy().broker.is_empty() {
                return Box::pin(self.brokered(&form, presented)).await;
            }
            let tokens = self.gate.gateway.token(&form, presented, self.address).await?;
            Ok(Answer::json(StatusCode::OK, tokens_json(&tokens).expose().to_owned()))
        };
        judged.await.unwrap_or_else(|fault| self.refuse_client(fault))
    }

    /// The answer of RFC 8693 section 2.2.1. The assertion is made once for the client's token and the audience.
    async fn brokered(&self, form: &Form<'_>, presented: Presented<'_>) -> Result<Answer, Fault> {
        let gateway = &self.gate.gateway;
        let Brokered { visitor, version, audience } = gateway.broker(form, presented, self.address).await?;
        let version = [&version.0[..], &visitor.until.millis().to_be_bytes()].concat();
        let (now, place) = (gateway.world().clock().now(), format!("exchange for {audience}"));
        let form = credential::Form::Assertion(Asserted { audience, key: AssertionKey::Master, life: ASSERTION_LIFE });
        let told = Told { visitor: &visitor, version: &version, id_token: IdTokenAt::Nowhere };
        let made = self.gate.credentials.of(&form, gateway, &place, told, now).await?;
        let made = made.ok_or(Fault::Internal("an assertion was not made"))?;
        let json = ObjectWriter::new()
            .text("access_token", made.token()?.expose())
            .text("issued_token_type", TokenType::Jwt.urn())
            .text("token_type", "Bearer")
            .number("expires_in", made.ends.min(visitor.until).since(now).as_secs())
            .text("scope", visitor.scopes.line());
        Ok(Answer::json(StatusCode::OK, json.finish()))
    }

    async fn revoke(&self) -> Answer {
        let judged = async {
            let credentials = self.credentials()?;
            let form = self.received.form()?;
            let presented = presented(&form, credentials.as_ref())?;
            self.gate.gateway.revoke(&form, presented, self.address).await?;
            Ok(Answer::empty(StatusCode::OK))
        };
        judged.await.unwrap_or_else(|fault| self.refuse_client(fault))
    }

    async fn introspect(&self) -> Answer {
        let judged = async {
            let credentials = self.credentials()?;
            let form = self.received.form()?;
            let presented = presented(&form, credentials.as_ref())?;
            let answer = self.gate.gateway.introspect(&form, presented, self.address).await?;
            Ok(Answer::json(StatusCode::OK, answer))
        };
        judged.await.unwrap_or_else(|fault| self.refuse_client(fault))
    }

    async fn userinfo(&self) -> Answer {
        let judged = async {
            match self.received.authorization()? {
                Authorization::Bearer(token) => self.gate.gateway.userinfo(token).await,
                Authorization::None | Authorization::Basic(_) | Authorization::Other => Err(Fault::TokenMissing),
            }
        };
        match judged.await {
            Ok(answer) => Answer::json(StatusCode::OK, answer),
            Err(fault) => Answer::fault_to_token(fault, Challenge::new("Bearer").param("scope", userinfo::OPENID)),
        }
    }

    async fn logout(&self) -> Result<Answer, Fault> {
        self.gate.gateway.logout(&self.received.form()?, self.address).await?;
        Ok(Answer::empty(StatusCode::OK))
    }

    fn refuse_client(&self, fault: Fault) -> Answer {
        match self.received.authorization() {
            Ok(Authorization::None) => Answer::fault(fault),
            _ => Answer::fault_to_basic(fault),
        }
    }

    fn credentials(&self) -> Result<Option<Credentials>, Fault> {
        match self.received.authorization()? {
            Authorization::None => Ok(None),
            Authorization::Basic(credentials) => Ok(Some(credentials)),
            Authorization::Bearer(_) | Authorization::Other => Err(Fault::ClientAuthentication),
        }
    }

    fn register(&self) -> Result<Answer, Fault> {
        let bearer = self.bearer()?;
        let registered = self.gate.gateway.register(self.received.json()?, bearer, self.address)?;
        let body = registered.answer(self.gate.gateway.policy());
        Ok(Answer::json(StatusCode::CREATED, body.expose().to_owned()))
    }

    fn registration(&self) -> Result<Answer, Fault> {
        let id = self.gate.routes.registration(self.path).ok_or(Fault::NotFound)?;
        let policy = self.gate.gateway.policy();
        let registered = register::read(id, self.bearer()?, policy)?;
        Ok(Answer::json(StatusCode::OK, registered.answer(policy).expose().to_owned()))
    }

    fn bearer(&self) -> Result<Option<&str>, Fault> {
        match self.received.authorization()? {
            Authorization::None => Ok(None),
            Authorization::Bearer(token) => Ok(Some(token)),
            Authorization::Basic(_) | Authorization::Other => Err(Fault::RegistrationToken),
        }
    }

    fn metadata(&self) -> Answer {
        match self.gate.metadata.document(self.path) {
            Some(document) => Answer::document(document.to_vec()),
            None => Answer::fault(Fault::NotFound),
        }
    }

    fn health(&self) -> Answer {
        let ready = self.gate.gateway.world().provider().discovered().is_some();
        Answer::json(StatusCode::OK, health(ready))
    }
}

/// What a health check reads. A gateway whose provider is not there yet is degraded, not dead: live sessions are served.
pub(crate) const fn health(ready: bool) -> &'static str {
    if ready { r#"{"status":"ok"}"# } else { r#"{"status":"degraded","reason":"oidc-discovery-pending"}"# }
}

fn presented<'a>(form: &'a Form<'_>, basic: Option<&'a Credentials>) -> Result<Presented<'a>, Fault> {
    let only = |name| form.one(name).map_err(|_| Fault::Repeated);
    let assertion = match (only("client_assertion_type")?, only("client_assertion")?) {
        (Some(kind), Some(assertion)) => Some(Assertion::parse(kind, assertion)?),
        (None, None) => None,
        (None, Some(_)) => return Err(Fault::Missing("client_assertion_type")),
        (Some(_), None) => return Err(Fault::Missing("client_assertion")),
    };
    Ok(Presented { basic, id: only("client_id")?, secret: only("client_secret")?, assertion })
}

/// The answer of RFC 6749 section 5.1.
fn tokens_json(tokens: &Tokens) -> SecretText {
    let json = ObjectWriter::new()
        .text("access_token", tokens.access.expose())
        .text("token_type", "Bearer")
        .number("expires_in", tokens.expires_in.as_secs())
        .optional_text("refresh_token", tokens.refresh.as_ref().map(SecretText::expose))
        .text("scope", tokens.scopes.line());
    SecretText::new(json.finish())
}
