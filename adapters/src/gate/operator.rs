//! The operator's interface to sessions, on the admin listener: look, end, cut, lift, erase, refresh. JSON in and out.
//!
//! ```text
//!   GET    /sessions?subject=…            POST /cuts           POST /people/erase
//!   GET    /sessions/{id}                 POST /cuts/lift
//!   DELETE /sessions/{id}
//!   POST   /sessions/{id}/refresh
//! ```
//!
//! Who asks shows the admin token with every request. Every act is noted in the audit log, and so is every wrong token.

use super::answer::Answer;
use super::read::{self, Authorization, Received};
use crate::http::RequestBody;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use portcullis_domain::bucket::{Bucket, Rate};
use portcullis_domain::key::{ClientHash, CutScope, GrantId, Person, ProviderSession};
use portcullis_domain::limits::{
    ADMIN_REQUESTS_BURST, ADMIN_REQUESTS_PER_SECOND, OAUTH_BODY_MAX, SESSIONS_PAGE, SESSIONS_PAGE_MAX,
};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::sessions::{Session, Standing};
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::json::{self, Json, ObjectWriter};
use portcullis_domain::wire::text::{base64url, from_base64url_exact};
use portcullis_ports::World;
use portcullis_ports::gateway::{Gateway, Held, SessionRefreshed};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who the operator is, and how often they may ask.
pub struct Operator {
    token: SecretText,
    issuer: Option<String>,
    begun: Instant,
    bucket: Mutex<Bucket>,
}

const RATE: Rate = Rate::new(ADMIN_REQUESTS_PER_SECOND, Duration::from_secs(1), ADMIN_REQUESTS_BURST);

impl Operator {
    /// Whoever shows this token. People and their sessions at the provider are those of this issuer unless another one is named;
    /// where there is none, because the provider has many, one has to be.
    #[must_use]
    pub fn new(token: SecretText, issuer: Option<String>) -> Self {
        Self { token, issuer, begun: Instant::now(), bucket: Mutex::default() }
    }

    /// A right token has a rate, so that a script gone wild spares the store. A wrong one costs next to nothing, and nothing of it.
    fn judge(&self, shown: &Authorization<'_>) -> Result<(), Fault> {
        let Authorization::Bearer(shown) = shown else { return Err(Fault::OperatorToken) };
        if !self.token.same(shown) {
            return Err(Fault::OperatorToken);
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *bucket = bucket.take(self.begun.elapsed(), RATE).map_err(Fault::rate_limited)?;
        drop(bucket);
        Ok(())
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Operator(..)")
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Act<'a> {
    List,
    Look(&'a str),
    End(&'a str),
    Refresh(&'a str),
    Cut,
    Lift,
    Erase,
}

/// What a path is, with the methods that it answers; nothing if it is none of these.
fn act<'a>(method: &Method, path: &'a str) -> Option<Result<Act<'a>, &'static [Method]>> {
    const LOOKED_AT: &[Method] = &[Method::GET];
    const SESSION: &[Method] = &[Method::GET, Method::DELETE];
    const DONE: &[Method] = &[Method::POST];
    let done = |act| if method == Method::POST { Ok(act) } else { Err(DONE) };
    Some(match path {
        "/sessions" if method == Method::GET => Ok(Act::List),
        "/sessions" => Err(LOOKED_AT),
        "/cuts" => done(Act::Cut),
        "/cuts/lift" => done(Act::Lift),
        "/people/erase" => done(Act::Erase),
        _ => {
            let id = path.strip_prefix("/sessions/")?;
            match (id.strip_suffix("/refresh"), method) {
                (Some(id), _) => done(Act::Refresh(id)),
                (None, &Method::GET) => Ok(Act::Look(id)),
                (None, &Method::DELETE) => Ok(Act::End(id)),
                (None, _) => Err(SESSION),
            }
        }
    })
}

/// Answers what only the operator may ask; nothing if the path is none of these.
pub(super) async fn answer<W: World>(
    operator: Option<&Operator>,
    gateway: &Gateway<W>,
    request: Box<Request<RequestBody>>,
    address: IpAddr,
) -> Result<Answer, Box<Request<RequestBody>>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Some(act) = act(&method, &path) else { return Err(request) };
    let is_shown = request.headers().contains_key(AUTHORIZATION);
    let judged = async {
        let operator = operator.ok_or(Fault::OperatorOff)?;
        let (head, body) = request.into_parts();
        let received = |body| Received { headers: &head.headers, query: head.uri.query().unwrap_or_default(), body };
        operator.judge(&received(&[]).authorization()?).inspect_err(|fault| {
            if *fault == Fault::OperatorToken {
                gateway.not_the_operator(Some(address));
            }
        })?;
        let act = match act {
            Ok(act) => act,
            Err(allowed) => return Ok(Answer::method(allowed)),
        };
        let body = read::body(body).await?;
        let desk = Desk { operator, gateway, received: received(&body), address: Some(address) };
        desk.act(act).await
    };
    Ok(judged.await.unwrap_or_else(|fault| Answer::fault_to_bearer(fault, is_shown)))
}

struct Desk<'a, W: World> {
    operator: &'a Operator,
    gateway: &'a Gateway<W>,
    received: Received<'a>,
    address: Option<IpAddr>,
}

impl<W: World> Desk<'_, W> {
    async fn act(&self, act: Act<'_>) -> Result<Answer, Fault> {
        let (gateway, address) = (self.gateway, self.address);
        match act {
            Act::List => self.list().await,
            Act::Look(id) => {
                let session = gateway.session(id_of(id)?).await?;
                gateway.looked(session.id.person, address);
                Ok(ok(self.told(&session)))
            }
            Act::End(id) => {
                let ended = gateway.end_session(id_of(id)?, address).await?;
                Ok(outcome(StatusCode::OK, if ended { "revoked" } else { "revoked_before" }))
            }
            Act::Refresh(id) => Ok(refreshed(gateway.refresh_session(id_of(id)?, address).await?)),
            Act::Cut => {
                let asked = self.asked()?;
                let keep_out = asked.optional_bool("keep_out").map_err(|_| wrong("keep_out is true or false"))?;
                gateway.cut(self.scope(&asked, &["keep_out"])?, keep_out == Some(true), address).await?;
                Ok(outcome(StatusCode::OK, if keep_out == Some(true) { "blocked" } else { "cut" }))
            }
            Act::Lift => {
                let lifted = gateway.lift(self.scope(&self.asked()?, &[])?, address).await?;
                Ok(outcome(StatusCode::OK, if lifted { "lifted" } else { "not_blocked" }))
            }
            Act::Erase => match self.scope(&self.asked()?, &[])? {
                CutScope::Person(person) => {
                    gateway.erase(person, address).await?;
                    Ok(outcome(StatusCode::OK, "erased"))
                }
                _ => Err(wrong("name one person: subject, or person")),
            },
        }
    }

    async fn list(&self) -> Result<Answer, Fault> {
        let form = self.received.query()?;
        if form.repeated_except(&[]).is_some() {
            return Err(Fault::Repeated);
        }
        let only = |name| form.one(name).map_err(|_| Fault::Repeated);
        let person = match (only("subject")?, only("person")?) {
            (Some(subject), None) => self.person(subject, only("issuer")?)?,
            (None, Some(person)) => person_of(person)?,
            _ => return Err(wrong("name one person: subject, or person")),
        };
        let after = only("after")?.map(id_of).transpose()?.filter(|after| after.person == person);
        let most = match only("limit")? {
            None => SESSIONS_PAGE,
            Some(limit) => limit.parse().map_err(|_| wrong("limit is a number"))?,
        };
        let page = self.gateway.sessions(person, after, most.clamp(1, SESSIONS_PAGE_MAX)).await?;
        self.gateway.looked(person, self.address);
        let json = ObjectWriter::new()
            .text("person", &base64url(&person.0))
            .objects("sessions", page.sessions.iter().map(|session| self.told(session)))
            .optional_text("next", page.next.map(written).as_deref());
        Ok(ok(json))
    }

    /// The object in the body.
    fn asked(&self) -> Result<Json, Fault> {
        json::parse(self.received.json()?, OAUTH_BODY_MAX).map_err(|_| Fault::Malformed("body"))
    }

    /// Whom a request speaks of. What it says beside that must be among `more`: a word that is misspelt must not be taken for nothing.
    fn scope(&self, asked: &Json, more: &[&str]) -> Result<CutScope, Fault> {
        const NAMES: [&str; 6] = ["subject", "person", "client_id", "client", "sid", "everything"];
        let members = asked.members().map_err(|_| wrong("the body is one JSON object"))?;
        let mut named = None;
        for (name, _) in members {
            match NAMES.iter().find(|known| *known == name) {
                Some(known) if named.is_none() => named = Some(*known),
                Some(_) => return Err(wrong(ONE_OF)),
                None if name == "issuer" || more.contains(&name.as_str()) => {}
                None => return Err(wrong("a member is not known here; look at docs/operations.md")),
            }
        }
        let named = named.ok_or(wrong(ONE_OF))?;
        let text = |name| asked.optional_text(name).map_err(|_| wrong("names and identifiers are texts"));
        let issuer = text("issuer")?;
        if issuer.is_some() && !matches!(named, "subject" | "sid") {
            return Err(wrong("issuer goes with subject or sid"));
        }
        if named == "everything" {
            let everything = asked.optional_bool("everything").map_err(|_| wrong("everything is true"))?;
            return if everything == Some(true) { Ok(CutScope::All) } else { Err(wrong("everything is true")) };
        }
        let value = text(named)?.filter(|value| !value.is_empty()).ok_or(wrong("a name is empty"))?;
        Ok(match named {
            "subject" => CutScope::Person(self.person(value, issuer)?),
            "person" => CutScope::Person(person_of(value)?),
            "client_id" => CutScope::Client(ClientHash::of(value)),
            "client" => {
                let hash =
                    from_base64url_exact(value).map_err(|_| wrong("client is 43 characters, as in GET /sessions"))?;
                CutScope::Client(ClientHash(hash))
            }
            _ => CutScope::ProviderSession(ProviderSession::of(self.base_url(), self.issuer(issuer)?, value)),
        })
    }

    fn person(&self, subject: &str, issuer: Option<&str>) -> Result<Person, Fault> {
        Ok(Person::of(self.base_url(), self.issuer(issuer)?, subject))
    }

    fn issuer<'i>(&'i self, named: Option<&'i str>) -> Result<&'i str, Fault> {
        named
            .or(self.operator.issuer.as_deref())
            .ok_or(wrong("name the issuer too: the provider has one for each tenant"))
    }

    fn base_url(&self) -> &str {
        &self.gateway.policy().base_url
    }

    fn told(&self, session: &Session) -> ObjectWriter {
        let resource = self.gateway.policy().resources.by_hash(session.resource);
        let mut json = ObjectWriter::new()
            .text("id", &written(session.id))
            .text("state", state(session.standing))
            .text("x_session_id", &base64url(&session.name))
            .text("client", &base64url(&session.client.0))
            .text("client_name", &session.client_name)
            .optional_text("resource", resource.map(|resource| resource.identifier()))
            .text("scope", session.scopes.line())
            .number("created", session.created.secs());
        if let Some(refreshed) = session.refreshed {
            json = json.number("refreshed", refreshed.secs());
        }
        json.number("ends", session.until.min(session.ends).secs()).number("ends_at_the_latest", session.ends.secs())
    }
}

const ONE_OF: &str = "name one of subject, person, client_id, client, sid and everything";

const fn wrong(rule: &'static str) -> Fault {
    Fault::OperatorRequest(rule)
}

const fn state(standing: Standing) -> &'static str {
    match standing {
        Standing::Begins => "begins",
        Standing::Lives => "lives",
        Standing::Revoked => "revoked",
        Standing::Cut => "cut",
    }
}

fn ok(json: ObjectWriter) -> Answer {
    Answer::json(StatusCode::OK, json.finish())
}

fn outcome(status: StatusCode, outcome: &str) -> Answer {
    Answer::json(status, ObjectWriter::new().text("outcome", outcome).finish())
}

fn refreshed(refreshed: SessionRefreshed) -> Answer {
    let held = |outcome: &str, held: Held| {
        let mut json = ObjectWriter::new().text("outcome", outcome);
        for (name, time) in [("provider_tokens_end", held.ends), ("id_token_ends", held.id_token)] {
            if let Some(time) = time {
                json = json.number(name, time.secs());
            }
        }
        ok(json)
    };
    match refreshed {
        SessionRefreshed::Fresh(there) => held("fresh", there),
        SessionRefreshed::Refreshed(there) => held("refreshed", there),
        SessionRefreshed::LoginNeeded => outcome(StatusCode::CONFLICT, "login_needed"),
        SessionRefreshed::Ended => outcome(StatusCode::GONE, "ended"),
    }
}

/// A session as the audit log names it: its person and itself, with a dot between.
fn written(id: GrantId) -> String {
    format!("{}.{}", base64url(&id.person.0), base64url(&id.login))
}

fn id_of(text: &str) -> Result<GrantId, Fault> {
    let parts = text.split_once('.').ok_or(Fault::SessionUnknown)?;
    let (person, login) = (from_base64url_exact(parts.0), from_base64url_exact(parts.1));
    let (Ok(person), Ok(login)) = (person, login) else { return Err(Fault::SessionUnknown) };
    Ok(GrantId { person: Person(person), login })
}

fn person_of(text: &str) -> Result<Person, Fault> {
    from_base64url_exact(text).map(Person).map_err(|_| wrong("person is 22 characters, as in the audit log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t287_whoever_has_not_the_token_is_not_the_operator_and_a_wild_script_is_held_up() {
        let operator = Operator::new(SecretText::new("the-token".into()), Some("https://id.example".into()));
        let judge = |shown: &str| operator.judge(&Authorization::Bearer(shown));
        for wrong in ["", "the-toke", "the-token ", "the-tokem", "THE-TOKEN"] {
            assert_eq!(judge(wrong), Err(Fault::OperatorToken), "{wrong}");
        }
        assert_eq!(operator.judge(&Authorization::None), Err(Fault::OperatorToken));
        let burst = usize::try_from(ADMIN_REQUESTS_BURST).unwrap();
        let passed = (0..burst * 3).filter(|_| judge("the-token").is_ok()).count();
        assert!((burst..burst * 2).contains(&passed), "{passed}");
        assert!(matches!(judge("the-token"), Err(Fault::RateLimited(_)) | Ok(())));
        assert_eq!(judge("another"), Err(Fault::OperatorToken), "a wrong one is told so at any time");
        assert_eq!(format!("{operator:?}"), "Operator(..)");
    }

    #[test]
    fn a_session_is_named_as_in_the_audit_log() {
        let id = GrantId { person: Person([1; 16]), login: [2; 16] };
        assert_eq!(id_of(&written(id)), Ok(id));
        for wrong in ["", ".", "AQEBAQEBAQEBAQEBAQEBAQ", "AQEBAQEBAQEBAQEBAQEBAQ.", "x.y", &format!("{}.", written(id))]
        {
            assert_eq!(id_of(wrong), Err(Fault::SessionUnknown), "{wrong}");
        }
    }
}
