//! Every refusal, and the one table that turns it into words for the wire.
//!
//! A [`Fault`] names the rule that was broken, for tests, logs and the journal. What the other side hears is derived from
//! it in [`Fault::wire`] and nowhere else: the OAuth error code, the status, and a fixed text. Nothing that the other side
//! sent is ever part of it. Faults that would tell a stranger something share one text.

use crate::limits::DOCUMENT_FAILURE_KEPT;
use crate::oauth::stranger;
use crate::oidc::id_token;
use std::time::Duration;

/// A rule that was broken, or a part that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // The shape of a request.
    /// The request cannot be read as what it says it is.
    Malformed(&'static str),
    /// A parameter stands more than once.
    Repeated,
    /// This parameter is missing or empty.
    Missing(&'static str),
    /// This parameter is longer than it may be.
    TooLong(&'static str),
    /// The body is larger than it may be.
    BodyTooLarge,
    /// The body's content type is not the one of this endpoint.
    ContentType,
    /// The endpoint does not answer this method.
    Method,
    /// There is nothing at this path.
    NotFound,
    /// The `Host` is not the gateway's.
    Host,
    /// A trusted proxy says that the client came by another scheme than that of the base URL.
    Scheme,
    /// The `Origin` may not do this.
    Origin,
    /// Too many requests, by whoever is counted here; how many seconds to wait.
    RateLimited(u32),

    // Who the client is.
    /// No such client: never registered here, or its id was forged.
    ClientUnknown,
    /// The client's registration does not satisfy today's policy.
    ClientPolicy,
    /// Wrong client secret, or none where one is needed.
    ClientAuthentication,
    /// Credentials in two places at once.
    ClientAuthenticationTwice,
    /// The operator has blocked this client.
    ClientBlocked,
    /// The client may not use this grant type.
    ClientGrantType,
    /// The client's assertion breaks a rule: the text names it.
    ClientAssertion(&'static str),
    /// The client's keys could not be fetched or read; the log tells why.
    ClientKeys,
    /// The client's document could not be fetched, or breaks a rule; the log tells which.
    ClientDocument,
    /// The client's document says something else than when the person approved it.
    ClientDocumentChanged,

    // Authorization requests.
    /// The redirect URI is not one that the client registered.
    RedirectUnregistered,
    /// Not `code`.
    ResponseType,
    /// Not `query`.
    ResponseMode,
    /// A request object, by value.
    RequestObject,
    /// A request object, by reference.
    RequestUri,
    /// No PKCE challenge.
    ChallengeMissing,
    /// Not `S256`.
    ChallengeMethod,
    /// Not the base64url form of 32 bytes.
    ChallengeMalformed,
    /// Not a list of scope tokens.
    ScopeMalformed,
    /// Nothing of the requested scope can be granted.
    ScopeNothing,
    /// No such resource here, or several with no way to choose.
    ResourceUnknown,
    /// More than one resource.
    ResourceSeveral,
    /// `prompt=none`: consent is never given without a page.
    ConsentRequired,
    /// `prompt=none` together with something else.
    PromptContradiction,
    /// The person said no.
    ConsentDenied,

    // The browser's part.
    /// A form of ours that was forged, damaged or made for something else.
    FlowForged,
    /// A login that took too long.
    FlowExpired,
    /// The form was not sent by our own page in the browser that loaded it.
    Csrf,
    /// This browser has not approved this login, or it has come back from it already.
    BrowserUnknown,
    /// This login has come back from the identity provider already.
    CallbackRepeated,

    // The identity provider.
    /// It has not been reached yet, or cannot be reached now.
    ProviderUnavailable,
    /// The provider's tokens of the person end soon, and it has not been asked for newer ones.
    ProviderStale,
    /// It refused the login.
    ProviderDenied,
    /// What it sent cannot be believed. The text names the rule, for logs.
    ProviderAnswer(&'static str),
    /// Its ID token broke a rule.
    IdToken(id_token::Refused),
    /// The person may not come in.
    PersonRefused,
    /// A logout token that breaks a rule: the text names it.
    LogoutToken(&'static str),

    // Codes.
    /// No `grant_type` that is known here.
    GrantType,
    /// Not a code of ours.
    CodeUnknown,
    /// A code that was not redeemed in time.
    CodeExpired,
    /// A code that was redeemed before, presented with everything right: its grant is revoked.
    CodeReplayed,
    /// A code from before the store may have lost writes.
    CodeEpoch,
    /// A code or refresh token of another client.
    ClientMismatch,
    /// Another redirect URI than the one that the code was sent to.
    RedirectMismatch,
    /// Not a PKCE verifier by its form.
    VerifierMalformed,
    /// A PKCE verifier that does not belong to the challenge.
    VerifierWrong,

    // Refresh tokens.
    /// Not a refresh token of ours.
    RefreshUnknown,
    /// A refresh token that was superseded before the grace began: its grant is revoked.
    RefreshReplayed,
    /// A refresh token from a future that the store knows nothing of.
    RefreshAhead,
    /// The session has been revoked.
    SessionRevoked,
    /// The session has ended by itself.
    SessionEnded,
    /// The operator has ended this session, its person or everything.
    SessionCut,
    /// More scope than was granted.
    ScopeBeyondGrant,
    /// Another resource than was granted.
    ResourceBeyondGrant,

    // Token exchange.
    /// A kind of token that is not exchanged: which parameter names it.
    TokenType(&'static str),
    /// A token exchange with an actor.
    Actor,
    /// An audience that the operator has not named for this client.
    AudienceRefused,
    /// A subject token that is none, is over, or was issued to somebody else.
    SubjectToken,

    // Protected resources.
    /// No credentials.
    TokenMissing,
    /// Not an access token of ours.
    TokenUnknown,
    /// A token of an issuer that is trusted here that broke a rule.
    TokenForeign(stranger::Refused),
    /// The keys of an issuer that is trusted here cannot be had now.
    IssuerUnavailable,
    /// An access token past its end.
    TokenExpired,
    /// An access token of a session that is over.
    TokenRevoked,
    /// An access token for another resource.
    TokenResource,
    /// The protected server is shown the person's ID token, and there is none any more, or none of this bearer's person.
    LoginNeeded,
    /// An access token whose scope does not reach.
    ScopeInsufficient,
    /// A session id of the protected server that was never given to this person at this resource.
    McpSession,
    /// A proxy asks about a path that is no part of the resource.
    OtherPath,
    /// A request target that another server might read differently.
    Target,
    /// The protected server cannot be reached, broke off, or answered with what is no HTTP.
    UpstreamDown,
    /// The protected server refuses the gateway's own credentials.
    UpstreamUnwelcome,
    /// The server at which the person's token is exchanged cannot be reached now.
    CredentialUnavailable,
    /// The server at which the person's token is exchanged refuses, or answers what cannot be used.
    CredentialRefused,
    /// All connections to the protected server are in use, or the system gives no new one.
    UpstreamBusy,
    /// The protected server did not begin to answer in time.
    UpstreamLate,

    // Registration.
    /// This client may not register: the text names the rule.
    RegistrationRefused(&'static str),
    /// A registration token that is not the operator's.
    RegistrationToken,
    /// Metadata that cannot be registered: the text names the rule.
    ClientMetadata(&'static str),
    /// A redirect URI that cannot be registered: the text names the rule.
    RedirectUri(&'static str),

    // The operator's part.
    /// The operator's interface to sessions is not there: the configuration gives no token for it.
    OperatorOff,
    /// Not the operator's token, or none.
    OperatorToken,
    /// The operator asks for what cannot be done: the text says what to ask instead.
    OperatorRequest(&'static str),
    /// No such session, or none any more.
    SessionUnknown,

    // Our own side.
    /// The store does not answer.
    StoreUnavailable,
    /// Others keep changing the same record.
    Contended,
    /// There is no more room.
    Full,
    /// Our own mistake. The text names it, for logs.
    Internal(&'static str),
}

/// What the other side hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The HTTP status.
    pub status: u16,
    /// The error code: RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 7591 section 3.2.2, RFC 8707 section 2,
    /// OpenID Connect Core section 3.1.2.6.
    pub error: &'static str,
    /// What is wrong, in a fixed sentence.
    pub description: &'static str,
    /// The name of the parameter or rule that the description speaks of, if it needs one.
    pub subject: Option<&'static str>,
    /// After how many seconds it is worth trying again.
    pub retry_after: Option<u32>,
}

/// Seconds after which a store or provider that does not answer is worth another try.
const RETRY_SOON: u32 = 5;

/// Seconds after which a client's document is asked for again.
const DOCUMENT_RETRY: u32 = 30;
const _: () = assert!(Duration::from_secs(30).as_secs() == DOCUMENT_FAILURE_KEPT.as_secs() && DOCUMENT_RETRY == 30);

impl Fault {
    /// Too many requests; worth trying again after this long.
    #[must_use]
    pub fn rate_limited(wait: Duration) -> Self {
        Self::RateLimited(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// THE table.
    #[must_use]
    #[rustfmt::skip]
    pub const fn wire(self) -> Wire {
        use Fault as F;
        match self {
            F::Malformed(part)           => named(400, "invalid_request", "This part of the request cannot be read", part),
            F::Repeated                  => plain(400, "invalid_request", "A parameter is given more than once."),
            F::Missing(name)             => named(400, "invalid_request", "A parameter is missing", name),
            F::TooLong(name)             => named(400, "invalid_request", "A parameter is too long", name),
            F::BodyTooLarge              => plain(413, "invalid_request", "The request body is too large."),
            F::ContentType               => plain(400, "invalid_request", "The content type of the request is not the one that this endpoint reads."),
            F::Method                    => plain(405, "invalid_request", "This endpoint does not answer this method."),
            F::NotFound                  => plain(404, "not_found", "There is nothing here."),
            F::Host                      => plain(421, "invalid_request", "This host is not served here."),
            F::Scheme                    => plain(421, "invalid_request", "This scheme is not served here."),
            F::Origin                    => plain(403, "access_denied", "This origin may not use the resource."),
            F::RateLimited(seconds)      => later(429, "rate_limit_exceeded", "Too many requests. Try again later.", seconds),

            F::ClientUnknown             => plain(401, "invalid_client", "This client is not known here. Register it again."),
            F::ClientPolicy              => plain(401, "invalid_client", "This client's registration is no longer accepted. Register it again."),
            F::ClientAuthentication      => plain(401, "invalid_client", "The client could not be authenticated."),
            F::ClientAuthenticationTwice => plain(400, "invalid_request", "The client's credentials are given in more than one way."),
            F::ClientBlocked             => plain(400, "unauthorized_client", "This client has been blocked by the operator."),
            F::ClientGrantType           => plain(400, "unauthorized_client", "This client may not use this grant type."),
            F::ClientAssertion(rule)     => named(401, "invalid_client", "The client's assertion is not accepted", rule),
            F::ClientKeys                => later(503, "temporarily_unavailable", "The client's keys could not be fetched or read. Try again later.", DOCUMENT_RETRY),
            F::ClientDocument            => later(503, "temporarily_unavailable", "The application's metadata document could not be fetched or cannot be accepted. Try again later.", DOCUMENT_RETRY),
            F::ClientDocumentChanged     => plain(400, "invalid_grant", "The application's metadata document has changed since it was approved. Authorize again."),

            F::RedirectUnregistered      => plain(400, "invalid_request", "The redirect URI is not one that the client has registered."),
            F::ResponseType              => plain(400, "unsupported_response_type", "Only the response type code is supported."),
            F::ResponseMode              => plain(400, "invalid_request", "Only the response mode query is supported."),
            F::RequestObject             => plain(400, "request_not_supported", "Request objects are not supported."),
            F::RequestUri                => plain(400, "request_uri_not_supported", "Request objects are not supported."),
            F::ChallengeMissing          => plain(400, "invalid_request", "PKCE is required: code_challenge is missing."),
            F::ChallengeMethod           => plain(400, "invalid_request", "PKCE is required with code_challenge_method S256."),
            F::ChallengeMalformed        => plain(400, "invalid_request", "code_challenge is not the base64url form of a SHA-256 digest."),
            F::ScopeMalformed            => plain(400, "invalid_scope", "The scope cannot be read."),
            F::ScopeNothing              => plain(400, "invalid_scope", "Nothing of the requested scope can be granted here."),
            F::ResourceUnknown           => plain(400, "invalid_target", "This resource is not served here."),
            F::ResourceSeveral           => plain(400, "invalid_target", "A grant is for one resource."),
            F::ConsentRequired           => plain(400, "consent_required", "Consent is asked for on a page, which prompt=none forbids."),
            F::PromptContradiction       => plain(400, "invalid_request", "prompt=none cannot be combined with another prompt."),
            F::ConsentDenied             => plain(400, "access_denied", "Access was denied on the consent page."),

            F::FlowForged                => plain(400, "invalid_request", "This login cannot be continued. Start again from your application."),
            F::FlowExpired               => plain(400, "invalid_request", "This login took too long. Start again from your application."),
            F::Csrf                      => plain(403, "access_denied", "This form was not sent from its own page. Start again from your application."),
            F::BrowserUnknown            => plain(400, "invalid_request", "This browser has no such login in progress. Start again from your application, in one browser."),
            F::CallbackRepeated          => plain(400, "invalid_request", "This login has been completed already. Start again from your application."),

            F::ProviderUnavailable | F::ProviderStale
                                         => later(503, "temporarily_unavailable", "The identity provider cannot be reached. Try again later.", RETRY_SOON),
            F::ProviderDenied            => plain(400, "access_denied", "The identity provider did not log you in."),
            F::ProviderAnswer(_) | F::IdToken(_)
                                         => plain(502, "server_error", "The identity provider's answer could not be accepted."),
            F::PersonRefused             => plain(403, "access_denied", "This account may not use this service."),
            F::LogoutToken(rule)         => named(400, "invalid_request", "The logout token is not accepted", rule),

            F::GrantType                 => plain(400, "unsupported_grant_type", "This grant type is not supported."),
            F::CodeUnknown | F::CodeExpired | F::CodeReplayed | F::CodeEpoch
                                         => plain(400, "invalid_grant", "The authorization code is unknown, expired or used. Authorize again."),
            F::ClientMismatch            => plain(400, "invalid_grant", "This was issued to another client."),
            F::RedirectMismatch          => plain(400, "invalid_grant", "The redirect URI is not the one that the code was sent to."),
            F::VerifierMalformed         => plain(400, "invalid_grant", "code_verifier is not 43 to 128 unreserved characters."),
            F::VerifierWrong             => plain(400, "invalid_grant", "code_verifier does not belong to the code_challenge."),

            F::RefreshUnknown | F::RefreshReplayed | F::RefreshAhead | F::SessionRevoked | F::SessionEnded
                                         => plain(400, "invalid_grant", "The refresh token is unknown, expired or revoked. Authorize again."),
            F::SessionCut                => plain(400, "invalid_grant", "The session was ended. Authorize again."),
            F::ScopeBeyondGrant          => plain(400, "invalid_scope", "The scope reaches beyond what was granted."),
            F::ResourceBeyondGrant       => plain(400, "invalid_target", "The grant is for another resource."),

            F::TokenType(name)           => named(400, "invalid_request", "This kind of token is not exchanged here", name),
            F::Actor                     => plain(400, "invalid_request", "A token exchange has no actor here."),
            F::AudienceRefused           => plain(400, "invalid_target", "This client gets no tokens for this audience."),
            F::SubjectToken              => plain(400, "invalid_grant", "The subject token is unknown, expired, revoked, or was issued to another client."),

            F::TokenMissing              => plain(401, "invalid_token", "An access token is required."),
            F::TokenUnknown | F::TokenForeign(_) | F::TokenExpired | F::TokenRevoked
                                         => plain(401, "invalid_token", "The access token is unknown, expired or revoked."),
            F::IssuerUnavailable         => later(503, "temporarily_unavailable", "The issuer of this token cannot be reached. Try again later.", RETRY_SOON),
            F::TokenResource             => plain(401, "invalid_token", "The access token is for another resource."),
            F::LoginNeeded               => plain(401, "invalid_token", "The login at the identity provider is over. Authorize again."),
            F::ScopeInsufficient         => plain(403, "insufficient_scope", "The access token's scope does not reach."),

            F::McpSession                => plain(404, "invalid_session", "This MCP session is not known here. Initialize a new one."),
            F::OtherPath                 => plain(403, "access_denied", "This path is no part of the resource."),
            F::Target                    => plain(400, "invalid_request", "This request target is not passed on."),
            F::UpstreamDown              => plain(502, "bad_gateway", "The protected server cannot be reached."),
            F::UpstreamUnwelcome         => plain(502, "bad_gateway", "The protected server does not accept the gateway's own credentials."),
            F::CredentialUnavailable     => later(503, "temporarily_unavailable", "The credentials for the protected server cannot be had now.", RETRY_SOON),
            F::CredentialRefused         => plain(502, "bad_gateway", "The credentials for the protected server are refused."),
            F::UpstreamBusy              => later(503, "temporarily_unavailable", "Too many requests to the protected server are open.", 1),
            F::UpstreamLate              => plain(504, "gateway_timeout", "The protected server did not answer in time."),

            F::RegistrationRefused(rule) => named(403, "access_denied", "Registration is not open to this client", rule),
            F::RegistrationToken         => plain(401, "invalid_token", "The registration token is not valid."),
            F::ClientMetadata(rule)      => named(400, "invalid_client_metadata", "The client's metadata cannot be accepted", rule),
            F::RedirectUri(rule)         => named(400, "invalid_redirect_uri", "A redirect URI cannot be accepted", rule),

            F::OperatorOff               => plain(404, "not_found", "The interface to sessions is off. Give adminToken or adminTokenFile in the configuration, and start the gate again."),
            F::OperatorToken             => plain(401, "invalid_token", "This is for the operator: send the admin token as Authorization: Bearer."),
            F::OperatorRequest(rule)     => named(400, "invalid_request", "The request cannot be carried out", rule),
            F::SessionUnknown            => plain(404, "not_found", "There is no such session, or none any more. GET /sessions lists those of a person."),

            F::StoreUnavailable | F::Contended | F::Full
                                         => later(503, "temporarily_unavailable", "The service is busy. Try again later.", RETRY_SOON),
            F::Internal(_)               => plain(500, "server_error", "Something went wrong here."),
        }
    }
}

const fn plain(status: u16, error: &'static str, description: &'static str) -> Wire {
    Wire { status, error, description, subject: None, retry_after: None }
}

const fn named(status: u16, error: &'static str, description: &'static str, subject: &'static str) -> Wire {
    Wire { status, error, description, subject: Some(subject), retry_after: None }
}

const fn later(status: u16, error: &'static str, description: &'static str, seconds: u32) -> Wire {
    Wire { status, error, description, subject: None, retry_after: Some(seconds) }
}

impl Wire {
    /// The description as one line: "A parameter is missing: scope."
    #[must_use]
    pub fn text(&self) -> String {
        self.subject.map_or_else(|| self.description.to_owned(), |subject| format!("{}: {subject}.", self.description))
    }
}
