//! Every bound and every lifetime, with the relations that must hold between them.
//!
//! Lengths are bytes unless the name says otherwise.

mod documents;
mod operator;
mod store;
mod upstream;

pub use documents::*;
pub use operator::*;
use std::time::Duration;
pub use store::*;
pub use upstream::*;

// What a stranger can send.

/// A request target (path and query) on the public listener.
pub const TARGET_MAX: usize = 16 * 1024;
/// The body of a form or JSON request to an OAuth endpoint.
pub const OAUTH_BODY_MAX: usize = 64 * 1024;
/// The names and values in one form or query.
pub const FORM_FIELDS_MAX: usize = 256;
/// How deep JSON from outside may nest.
pub const JSON_DEPTH_MAX: usize = 32;
/// How many values JSON from outside may hold.
pub const JSON_VALUES_MAX: usize = 10_000;
/// A URI that is read at all.
pub const URI_MAX: usize = 2_048;
/// A host name (RFC 1035 section 2.3.4, as text).
pub const HOST_MAX: usize = 253;
/// One label of a host name.
pub const HOST_LABEL_MAX: usize = 63;
/// `client_id` (a signed registration or a document's URL).
pub const CLIENT_ID_MAX: usize = 2_048;
/// The same where it is the address of a document.
pub const DOCUMENT_URL_MAX: usize = 1_024;
/// The document that a client publishes about itself (OAuth Client ID Metadata Document section 6.6 asks for 5 kilobytes).
pub const CLIENT_DOCUMENT_MAX: usize = 5 * 1_024;
/// `client_secret`, presented.
pub const CLIENT_SECRET_MAX: usize = 512;
/// `client_name`, as registered.
pub const CLIENT_NAME_MAX: usize = 128;
/// The client's name as a grant remembers it.
pub const GRANT_CLIENT_NAME_MAX: usize = 64;
/// `redirect_uris` of one registration.
pub const REDIRECTS_MAX: usize = 10;
/// One `redirect_uri`.
pub const REDIRECT_MAX: usize = 400;
/// The part of a hosted client's `redirect_uri` that names one of its connections.
pub const CONNECTION_ID_MAX: usize = 64;
/// Protected resources of one gateway.
pub const RESOURCES_MAX: usize = 64;
/// Paths of one protected resource.
pub const RESOURCE_PATHS_MAX: usize = 32;
/// The path of a protected resource.
pub const RESOURCE_PATH_MAX: usize = 256;
/// `state` of a client.
pub const STATE_MAX: usize = 512;
/// `scope`, requested.
pub const SCOPE_REQUEST_MAX: usize = 4_096;
/// `scope`, granted: every scope with one space between.
pub const SCOPE_GRANT_MAX: usize = 256;
/// `login_hint`.
pub const LOGIN_HINT_MAX: usize = 256;
/// `resource`.
pub const RESOURCE_MAX: usize = 2_048;
/// A code, a refresh token or an access token, presented.
pub const TOKEN_MAX: usize = 2_048;
/// The `Authorization` header.
pub const AUTHORIZATION_MAX: usize = 8 * 1024;
/// The `Cookie` header.
pub const COOKIE_HEADER_MAX: usize = 16 * 1024;
/// Cookies that are looked at: more than a browser keeps for one site.
pub const COOKIES_MAX: usize = 256;

// What the identity provider can send.

/// A JSON answer of the identity provider or of a client document's host.
pub const PROVIDER_ANSWER_MAX: usize = 256 * 1024;
/// A JWT from outside.
pub const JWT_MAX: usize = 16 * 1024;
/// Keys of one key set.
pub const JWKS_KEYS_MAX: usize = 64;
/// `kid`.
pub const KID_MAX: usize = 256;
/// An RSA modulus at the least, in bits.
pub const RSA_BITS_MIN: usize = 2_048;
/// An RSA modulus at the most, in bits.
pub const RSA_BITS_MAX: usize = 4_096;
/// `sub` (OpenID Connect Core section 2).
pub const SUBJECT_MAX: usize = 255;
/// Group names of one person that are kept.
pub const GROUPS_MAX: usize = 600;
/// One group name.
pub const GROUP_MAX: usize = 256;
/// E-mail address, name and preferred user name, each.
pub const PROFILE_TEXT_MAX: usize = 320;
/// `code` of the identity provider.
pub const PROVIDER_CODE_MAX: usize = 4_096;
/// One stored upstream token.
pub const UPSTREAM_TOKEN_MAX: usize = 16 * 1024;

// What the guarded outbound client takes and spends.

/// The head of an answer, and separately its header lines.
pub const FETCH_HEAD_MAX: usize = 16 * 1024;
/// Header lines of an answer.
pub const FETCH_HEADERS_MAX: usize = 64;
/// What an answer may cost on the wire beyond twice its largest body: head, interim answers, framing.
pub const FETCH_FRAMING_MAX: u64 = 64 * 1024;
/// Addresses that one name may resolve to.
pub const FETCH_ADDRESSES_MAX: usize = 100;
/// Addresses of one name that are dialled before the call is given up.
pub const FETCH_DIALS_MAX: usize = 8;
/// Calls of one outbound client at a time; further ones wait within their own deadline.
pub const FETCH_CALLS_MAX: usize = 128;
/// Name lookups at a time: each holds a thread for as long as the resolver of the system takes.
pub const FETCH_LOOKUPS_MAX: usize = 32;
/// Lookups at a time of names that the configuration has: of MCP servers and of the store.
pub const NAME_LOOKUPS_MAX: usize = 64;
/// Signatures at a time that take milliseconds each.
pub const SLOW_SIGNATURES_MAX: usize = 16;
/// One name lookup.
pub const FETCH_LOOKUP_DEADLINE: Duration = Duration::from_secs(3);

// What is stored.

/// Keys in one reading: the inline room of `Keys` and `Facts`.
pub const KEYS_MAX: usize = 8;
/// Rotations whose times a grant remembers: the most that one grace can hold.
pub const ROTATIONS_REMEMBERED: usize = 8;
/// Sessions of one person, which are listed in the identity record: with one more the one that began first ends.
pub const IDENTITY_GRANTS_MAX: usize = 64;
/// One encoded record.
pub const RECORD_MAX: usize = 256 * 1024;

// The configuration.

/// The configuration file, and each file that it names.
pub const CONFIG_FILE_MAX: usize = 1024 * 1024;
/// One string of the configuration.
pub const TEXT_VALUE_MAX: usize = 2_048;
/// A secret that was agreed with somebody else.
pub const SECRET_VALUE_MAX: usize = 512;
/// A secret that the operator chooses and this gate checks.
pub const CHOSEN_SECRET_MIN: usize = 16;
/// The name of a claim.
pub const CLAIM_NAME_MAX: usize = 256;
/// Audiences of an ID token that Dex is asked for.
pub const DEX_AUDIENCES_MAX: usize = 50;
/// What a scope lets a client do, in words.
pub const SCOPE_DESCRIPTION_MAX: usize = 200;

// The browser.

/// One login cookie, name, value and attributes apart.
pub const LOGIN_COOKIE_MAX: usize = 2_000;
/// Logins in progress in one browser; one more clears the oldest.
pub const LOGIN_COOKIES_MAX: usize = 3;

/// How many seconds somebody who may not enter reads so before the browser goes back to the application.
pub const REFUSAL_SHOWN_SECS: u8 = 8;

// Lifetimes.

/// From the consent page to its answer, and from there to the callback, each.
pub const FLOW_LIFE: Duration = Duration::from_secs(10 * 60);
/// An authorization code (AS-19).
pub const CODE_LIFE: Duration = Duration::from_secs(60);
/// How long after redemption a replay of the code still counts as one.
pub const SPENT_LIFE: Duration = Duration::from_secs(10 * 60);
/// An access token: the least, what is set out of the box, the most.
pub const ACCESS_LIFE_MIN: Duration = Duration::from_secs(5 * 60);
/// An access token out of the box.
pub const ACCESS_LIFE: Duration = Duration::from_secs(30 * 60);
/// An access token at the most.
pub const ACCESS_LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A session that nobody refreshes.
pub const IDLE_LIFE: Duration = Duration::from_secs(30 * DAY);
/// A session, whoever refreshes it.
pub const ABSOLUTE_LIFE: Duration = Duration::from_secs(90 * DAY);
/// A session at the most, by configuration.
pub const ABSOLUTE_LIFE_MAX: Duration = Duration::from_secs(365 * DAY);
/// How long a superseded refresh token still answers with the current one.
pub const REFRESH_GRACE: Duration = Duration::from_secs(60);
/// The same at the most, by configuration.
pub const REFRESH_GRACE_MAX: Duration = Duration::from_secs(600);
/// How long a cut is kept: longer than any grant that it could end.
pub const CUT_LIFE: Duration = Duration::from_secs(366 * DAY);
/// How far two replicas' clocks may lie apart where a cut is compared with a grant.
pub const CUT_MARGIN: Duration = Duration::from_secs(2);
/// How long the store keeps a record beyond its `until`: the record is the judge, this is the broom.
pub const BROOM_DELAY: Duration = Duration::from_secs(10 * 60);
/// How far the clock of a neighbour (identity provider) may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How far a gate's time may be ahead of a wall clock that was set back, before only a restart is of use.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(60 * 60);
/// How long ago an ID token may have been issued: it comes straight from the provider, within seconds.
pub const ID_TOKEN_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// One state change, from its first reading to its answer.
pub const TRANSACT_DEADLINE: Duration = Duration::from_secs(2);

const DAY: u64 = 24 * 60 * 60;

// Relations.

const _: () = assert!(CODE_LIFE.as_secs() < FLOW_LIFE.as_secs());
const _: () = assert!(ACCESS_LIFE_MIN.as_secs() <= ACCESS_LIFE.as_secs());
const _: () = assert!(ACCESS_LIFE.as_secs() <= ACCESS_LIFE_MAX.as_secs());
const _: () = assert!(ACCESS_LIFE_MAX.as_secs() < IDLE_LIFE.as_secs());
const _: () = assert!(IDLE_LIFE.as_secs() <= ABSOLUTE_LIFE.as_secs());
const _: () = assert!(ABSOLUTE_LIFE.as_secs() <= ABSOLUTE_LIFE_MAX.as_secs());
const _: () = assert!(ABSOLUTE_LIFE_MAX.as_secs() + 2 * CUT_MARGIN.as_secs() < CUT_LIFE.as_secs());
const _: () = assert!(REFRESH_GRACE.as_secs() <= REFRESH_GRACE_MAX.as_secs());
const _: () = assert!(GRANT_CLIENT_NAME_MAX <= CLIENT_NAME_MAX);
const _: () = assert!(REDIRECT_MAX <= URI_MAX);
const _: () = assert!(DOCUMENT_URL_MAX <= CLIENT_ID_MAX && DOCUMENT_URL_MAX <= URI_MAX);
const _: () = assert!(SCOPE_GRANT_MAX <= SCOPE_REQUEST_MAX);

/// Master keys in one ring.
pub const MASTER_KEYS_MAX: usize = 8;
/// Distinct byte values that a master key must have; 32 random bytes have about 30.
pub const MASTER_KEY_DISTINCT_MIN: usize = 16;

/// How long a state change whose outcome is in doubt waits before it looks again.
pub const UNKNOWN_PAUSE: Duration = Duration::from_millis(25);
/// What the memory store holds at the most, by its own estimate.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

// The listener.

/// A request head, request line and header fields together.
pub const HEAD_MAX: usize = 64 * 1024;
/// Header fields of one message.
pub const HEADER_FIELDS_MAX: usize = 100;
/// One chunk-size line with its extensions.
pub const CHUNK_LINE_MAX: usize = 256;
/// The trailer section of one request, which is read and dropped.
pub const TRAILERS_MAX: usize = 8 * 1024;
/// Open client connections, over all cores, out of the box.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Of these, from one address (IPv6: one /64), out of the box.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// How often the files of the listener's certificate are looked at; a new certificate is shown after the second look.
pub const CERTIFICATE_POLL: Duration = Duration::from_secs(2);
/// Once three quarters of the open connections are taken, those that never carried a session are waited for no longer than this.
pub const HURRIED_DEADLINE: Duration = Duration::from_secs(3);
/// Between two log lines about connections that cannot be taken.
pub const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
/// The body of a request to a protected resource, out of the box.
pub const RESOURCE_BODY_MAX: u32 = 4 * 1024 * 1024;
/// The longest one that may be configured.
pub const RESOURCE_BODY_MOST: u32 = 1024 * 1024 * 1024;
/// How often a core looks over its connections: no deadline of the listener is kept more exactly than this.
pub const TICK: Duration = Duration::from_millis(250);
/// From the first byte of a request head, or from the connection's begin, to the head's end.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// What a TLS handshake takes at the most among well-meaning people: a stopping gateway waits no longer for one.
pub const HANDSHAKE_USUAL: Duration = Duration::from_secs(2);
/// A kept connection between two requests.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(120);
/// What a connection keeps of requests that come while an earlier one is being answered, to see whether its client is still there.
pub const ASKED_AHEAD_MAX: usize = 8 * 1_024;
/// What the kernel takes of an answer before it has sent it, where it lets itself be bounded: without this it takes some megabytes
/// on behalf of a client that reads nothing. What is on its way to a client that does read is not bounded by it.
pub const UNSENT_MAX: u32 = 32 * 1_024;
/// The time in which a client that is waited for takes `READ_WINDOW_MIN` bytes of its answers. It is long because a kernel that cannot
/// be bounded says nothing until a good part of some megabytes is gone.
pub const WRITE_STALL: Duration = Duration::from_secs(120);
/// What a client takes in each `WRITE_STALL`; of an event stream, anything at all.
pub const READ_WINDOW_MIN: u32 = 32 * 1_024;
/// The time in which an awaited request body must bring `BODY_WINDOW_MIN` bytes; waiting for others does not count.
pub const BODY_WINDOW: Duration = Duration::from_secs(30);
/// What an awaited request body must bring in each `BODY_WINDOW`.
pub const BODY_WINDOW_MIN: u32 = 1_024;
/// A request during which nothing moves in either direction; event streams are exempt.
pub const QUIET_DEADLINE: Duration = Duration::from_secs(300);
/// How long a closing connection still reads what the client had under way, so that it sees the answer and no reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long a stopping gateway waits for requests in progress, out of the box: less than the 30 seconds after which
/// orchestrators kill.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(25);
/// The longest that it can be configured to.
pub const DRAIN_DEADLINE_MAX: Duration = Duration::from_secs(3_600);
/// Addresses of `X-Forwarded-For` that are looked at.
pub const FORWARDED_HOPS_MAX: usize = 32;

// The upstream leg.

/// From the wish for a connection to the connection.
pub const UPSTREAM_CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// An idle connection to an upstream that has not said how long it keeps one. Below the five seconds of common servers, so that they are not the first to close.
pub const UPSTREAM_IDLE_LIFE: Duration = Duration::from_secs(4);
/// An idle connection to an upstream, whatever it says.
pub const UPSTREAM_IDLE_LIFE_MAX: Duration = Duration::from_secs(60);
/// Open connections to one upstream, over all cores, out of the box.
pub const UPSTREAM_CONNECTIONS_MAX: usize = 4_096;
/// A response head of an upstream.
pub const UPSTREAM_HEAD_MAX: usize = 64 * 1024;
/// Interim answers before the answer.
pub const UPSTREAM_INTERIM_MAX: usize = 100;
/// The value of one identity header.
pub const IDENTITY_HEADER_MAX: usize = 8 * 1024;

const _: () = assert!(TARGET_MAX + COOKIE_HEADER_MAX + AUTHORIZATION_MAX < HEAD_MAX);
const _: () = assert!(HEAD_DEADLINE.as_secs() < IDLE_DEADLINE.as_secs());
const _: () = assert!(CONNECTIONS_PER_ADDRESS < CONNECTIONS_MAX);
const _: () = assert!(HANDSHAKE_USUAL.as_secs() < HEAD_DEADLINE.as_secs());
const _: () = assert!(HANDSHAKE_USUAL.as_secs() < HURRIED_DEADLINE.as_secs());
const _: () = assert!(HURRIED_DEADLINE.as_secs() < HEAD_DEADLINE.as_secs());
const _: () = assert!(DRAIN_DEADLINE.as_secs() <= DRAIN_DEADLINE_MAX.as_secs());
const _: () = assert!(UPSTREAM_IDLE_LIFE.as_secs() < UPSTREAM_IDLE_LIFE_MAX.as_secs());
const _: () = assert!(UPSTREAM_CONNECT_DEADLINE.as_secs() < QUIET_DEADLINE.as_secs());
/// Logins whose return one replica remembers, so that the provider's code is not sent twice.
pub const RETURNED_LOGINS_MAX: usize = 100_000;

// The identity provider's adapter.

/// One call to the identity provider, whatever it is for.
pub const PROVIDER_DEADLINE: Duration = Duration::from_secs(10);
/// After the first failure to reach the identity provider; doubles with every further one.
pub const PROVIDER_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Between two attempts to reach the identity provider, at the most.
pub const PROVIDER_RETRY_MAX: Duration = Duration::from_secs(30);
/// Between two readings of the identity provider's document and keys when all is well.
pub const PROVIDER_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Between two readings of the keys that tokens with an unknown `kid` can cause.
pub const KEYS_REFETCH_PAUSE: Duration = Duration::from_secs(10);
/// How long keys are used that could not be read again.
pub const KEYS_KEPT: Duration = Duration::from_secs(DAY);

const _: () = assert!(PROVIDER_RETRY_FIRST.as_secs() <= PROVIDER_RETRY_MAX.as_secs());
const _: () = assert!(PROVIDER_RETRY_MAX.as_secs() < PROVIDER_AGAIN.as_secs());
const _: () = assert!(PROVIDER_AGAIN.as_secs() < KEYS_KEPT.as_secs());

// Rate limits.

/// Addresses that are counted apart from each other, for each kind of request.
pub const LIMITER_ADDRESSES_MAX: usize = 64 * 1024;
/// People who are counted apart from each other, for each resource.
pub const LIMITER_PEOPLE_MAX: usize = 64 * 1024;
/// Requests of one person to a resource in a second, out of the box.
pub const PERSON_REQUESTS_PER_SECOND: u32 = 100;
/// Requests of one person to a resource at once, out of the box.
pub const PERSON_REQUESTS_BURST: u32 = 200;
/// Requests to the token endpoint of one client that has proved who it is, and beyond its address's share those of one person, in a
/// second, out of the box.
pub const CLIENT_REQUESTS_PER_SECOND: u32 = 100;
/// The same at once.
pub const CLIENT_REQUESTS_BURST: u32 = 200;
/// Clients, and apart from them people, that are counted apart from each other at the token endpoint.
pub const LIMITER_CLIENTS_MAX: usize = 16 * 1024;
/// Log lines in a second about one kind of refusal that costs a stranger nothing, out of the box.
pub const SECURITY_EVENTS_PER_SECOND: u32 = 1;
/// The same at once.
pub const SECURITY_EVENTS_BURST: u32 = 5;
/// Registrations of one address in an hour, all of which may come at once, out of the box.
pub const REGISTRATIONS_PER_HOUR: u32 = 10;
/// Requests of one address in a second, out of the box: to the token endpoint, apart from them to the authorization endpoint, and
/// apart from both those to resources that admission refuses.
pub const REQUESTS_PER_SECOND: u32 = 50;
/// The same at once.
pub const REQUESTS_BURST: u32 = 100;
/// Characters of a stranger's text that a page shows in a line; the rest of it is folded up.
pub const PAGE_LINE_MAX: usize = 48;
/// Characters of a stranger's text that a page shows at all, but for hosts and addresses.
pub const PAGE_TEXT_MAX: usize = 512;
/// Bytes of a redirect URI that the consent page shows unfolded.
pub const PAGE_ADDRESS_MAX: usize = 120;
const _: () = assert!(PAGE_LINE_MAX < PAGE_TEXT_MAX && CLIENT_NAME_MAX <= PAGE_TEXT_MAX);

// The demonstration.

/// Codes, and separately access and refresh tokens, that the demonstration provider remembers; one more pushes out the oldest.
pub const DEMO_ISSUED_MAX: usize = 1_000;
/// `Access-Control-Request-Headers`, as it is reflected.
pub const CORS_HEADERS_MAX: usize = 1_024;
/// Log lines that wait for their writer; more are dropped and counted.
pub const LOG_LINES_WAITING: usize = 8_192;
/// How long the end of the process waits for the log to be taken.
pub const LOG_END_DEADLINE: Duration = Duration::from_secs(2);
/// How often the configuration is looked at while the gate runs.
pub const CONFIGURATION_POLL: Duration = Duration::from_secs(2);
/// One question of `check` and `health`.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// Bearers of whom a process remembers what it has worked out: about 700 bytes each, 12 MB if there are so many. Who is not among them
/// is worked out again.
pub const BEARERS_MAX: usize = 16 * 1024;

/// The longest session id of an MCP server that is passed on.
pub const MCP_SESSION_ID_MAX: usize = 1_024;

/// A part of a core's open answers is asked this often whether their sessions still stand.
pub const STANDING_STEP: Duration = Duration::from_millis(25);

/// After so many steps each of them has been asked.
pub const STANDING_STEPS: u32 = 10;

/// How long an open answer runs on while the store does not say whether its session stands, unless configured otherwise.
pub const STREAM_STALE: Duration = Duration::from_secs(30);

/// The longest that this, and what questions are answered with meanwhile, can be configured to.
pub const STALE_MAX: Duration = Duration::from_secs(3_600);

/// How long the answer to a POST may run on after its access token has ended, unless configured otherwise.
pub const STREAM_OVERRUN: Duration = Duration::from_secs(3_600);

/// The longest that it can be configured to.
pub const STREAM_OVERRUN_MAX: Duration = Duration::from_secs(24 * 3_600);

const _: () = assert!(
    STANDING_STEP.saturating_mul(STANDING_STEPS + 1).as_millis() + 2 * TICK.as_millis() < 1_000,
    "a revocation ends an open answer within a second"
);

// The near cache.

/// What it holds at the most, by its own estimate: the sessions of about a hundred thousand people.
pub const NEAR_BYTES_MAX: usize = 128 << 20;
/// How long after it was sent an answered PING lets a connection's loads be served from memory.
pub const NEAR_LEASE: Duration = Duration::from_millis(700);
/// How often a PING is sent on it.
pub const NEAR_PING: Duration = Duration::from_millis(250);
const _: () = assert!(
    2 * NEAR_PING.as_millis() < NEAR_LEASE.as_millis() && NEAR_LEASE.as_millis() < 1_000,
    "one lost PING costs nothing, and what another replica has ended is ended here within a second"
);

/// Addresses of one upstream.
pub const UPSTREAM_ADDRESSES_MAX: usize = 16;

/// How long an upstream's address that has failed once is left aside.
pub const UPSTREAM_ASIDE_MIN: Duration = Duration::from_secs(1);

/// How long one that goes on failing is.
pub const UPSTREAM_ASIDE_MAX: Duration = Duration::from_secs(30);

/// The longest path of a Unix socket that every system takes.
pub const SOCKET_PATH_MAX: usize = 100;

/// Credentials for what stands behind that a process keeps: one for each session and resource that needs one.
pub const CREDENTIALS_MAX: usize = 16 * 1024;
/// How long one assertion of the gateway is used, out of the box.
pub const ASSERTION_LIFE: Duration = Duration::from_secs(5 * 60);
/// The least that can be configured.
pub const ASSERTION_LIFE_MIN: Duration = Duration::from_secs(30);
/// The most that can be configured.
pub const ASSERTION_LIFE_MAX: Duration = Duration::from_secs(60 * 60);
/// How much longer than it is used a credential is good for: a request may be under way, and clocks differ.
pub const CREDENTIAL_MARGIN: Duration = Duration::from_secs(60);
/// How long a token is used that a downstream server has handed out without saying when it ends.
pub const EXCHANGED_LIFE_UNSAID: Duration = Duration::from_secs(60);
/// How long a token is used that a downstream server has handed out, whatever it says.
pub const EXCHANGED_LIFE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a failure to get a credential answers for those that would try again.
pub const CREDENTIAL_PAUSE: Duration = Duration::from_secs(1);
/// Files of keys that sign assertions.
pub const ASSERTION_KEYS_MAX: usize = 8;
/// `aud` of an assertion, or `audience` of an exchange.
pub const AUDIENCE_MAX: usize = 512;

/// How long a token of another issuer may live from now on: no longer than cuts are remembered.
pub const STRANGER_LIFE_MAX: Duration = Duration::from_secs(365 * DAY);
const _: () = assert!(STRANGER_LIFE_MAX.as_secs() + 2 * CUT_MARGIN.as_secs() < CUT_LIFE.as_secs());
/// Issuers whose tokens are taken beside our own.
pub const TRUSTED_ISSUERS_MAX: usize = 16;
/// Client identifiers whose ID tokens are taken.
pub const TRUSTED_AUDIENCES_MAX: usize = 64;
/// How old the keys of such an issuer may be before they are read again.
pub const ISSUER_KEYS_AGE: Duration = Duration::from_secs(60 * 60);
/// What a trusted proxy may call a request.
pub const REQUEST_ID_MAX: usize = 128;
