//! An OpenID provider that says whatever a test wants it to say, and checks what the gate sends like a good one.

use super::browser::Authorization;
use super::http::{fields, unescape};
use super::upstream::{Seen, request};
use super::{PROVIDER_CLIENT, PROVIDER_SECRET};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the token endpoint answers for one code.
pub struct Script {
    /// Laid over the claims of a good ID token; `null` takes one away.
    pub claims: Value,
    /// Laid over the good header of the ID token; `null` takes a member away.
    pub header: Value,
    /// Laid over the members of a good answer; `null` takes one away.
    pub members: Value,
    /// The seed of the key that signs.
    pub seed: [u8; 32],
    /// Instead of the whole answer: status line without the version, content type, body.
    pub instead: Option<(String, String, Vec<u8>)>,
    /// Rewrites the finished ID token.
    pub rewrite: Option<Box<dyn Fn(String) -> String + Send>>,
    /// How long the answer takes.
    pub delay: Duration,
    /// Whether the connection ends instead of an answer.
    pub hangs_up: bool,
}

/// The seed of the provider's published key.
pub const SEED: [u8; 32] = *b"the provider's own signing seed!";

impl Default for Script {
    fn default() -> Self {
        Self {
            claims: json!({}),
            header: json!({}),
            members: json!({}),
            seed: SEED,
            instead: None,
            rewrite: None,
            delay: Duration::ZERO,
            hangs_up: false,
        }
    }
}

impl Script {
    /// A good answer but for these claims.
    pub fn claims(claims: Value) -> Self {
        Self { claims, ..Self::default() }
    }

    /// A good login of this person.
    pub fn person(subject: &str) -> Self {
        Self::claims(json!({ "sub": subject }))
    }

    /// This answer, whatever was asked.
    pub fn answer(status: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { instead: Some((status.to_owned(), content_type.to_owned(), body.into())), ..Self::default() }
    }
}

struct Issued {
    redirect_uri: String,
    challenge: String,
    nonce: String,
    script: Script,
}

struct Shared {
    issuer: String,
    document: Mutex<Value>,
    keys: Mutex<Value>,
    codes: Mutex<HashMap<String, Issued>>,
    /// The refresh tokens that are good, each once, with their subject.
    refreshable: Mutex<HashMap<String, String>>,
    /// How they are answered.
    refreshes: Mutex<Script>,
    /// With which statuses revocations are answered, one after the other; the last stays.
    revocations: Mutex<Vec<u16>>,
    count: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    handed_out: Mutex<Vec<String>>,
}

/// The provider. Its threads end with the connections; clones are the same one.
#[derive(Clone)]
pub struct Provider(Arc<Shared>);

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::at(address));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self(shared)
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Lets the person of this script log in: the code with which the browser is sent back.
    pub fn issue(&self, authorization: &Authorization, script: Script) -> String {
        let code = format!("provider-code-{}", self.0.unique());
        let issued = Issued {
            redirect_uri: authorization.param("redirect_uri").to_owned(),
            challenge: authorization.param("code_challenge").to_owned(),
            nonce: authorization.param("nonce").to_owned(),
            script,
        };
        self.0.codes.lock().unwrap().insert(code.clone(), issued);
        self.0.handed_out.lock().unwrap().push(code.clone());
        code
    }

    /// Changes the discovery document.
    pub fn document(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.document.lock().unwrap());
    }

    /// Changes the key set.
    pub fn keys(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.keys.lock().unwrap());
    }

    /// Answers refresh tokens like this from now on: each is good once, unless the answer leaves out its successor.
    pub fn refreshes(&self, change: impl FnOnce(&mut Script)) {
        let mut script = Script::default();
        change(&mut script);
        *self.0.refreshes.lock().unwrap() = script;
    }

    /// Has an endpoint for revocations from now on (RFC 7009), which answers with these statuses one after the other; the last stays.
    pub fn revokes(&self, statuses: &[u16]) {
        let endpoint = format!("{}/revoke", self.issuer());
        self.document(|document| document["revocation_endpoint"] = endpoint.into());
        *self.0.revocations.lock().unwrap() = statuses.to_vec();
    }

    /// Knows none of its refresh tokens any more.
    pub fn forget_refresh_tokens(&self) {
        self.0.refreshable.lock().unwrap().clear();
    }

    /// How many refresh tokens are good there.
    pub fn refreshable(&self) -> usize {
        self.0.refreshable.lock().unwrap().len()
    }

    /// Every request that came to this path.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.0.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.target().split('?').next() == Some(path)).cloned().collect()
    }

    /// How many requests came in all.
    pub fn all(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    /// Every code and token that it has handed out.
    pub fn handed_out(&self) -> Vec<String> {
        self.0.handed_out.lock().unwrap().clone()
    }
}

/// The public half of a signing key, as a JWK.
pub fn jwk(seed: &[u8; 32], kid: &str) -> Value {
    let x = BASE64_URL_SAFE_NO_PAD.encode(pair(seed).public_key());
    json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x })
}

/// Signs anything at all.
pub fn sign(seed: &[u8; 32], header: &str, claims: &str) -> String {
    let encoded = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(pair(seed).sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Now, in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
}

impl Shared {
    fn at(address: SocketAddr) -> Self {
        let issuer = format!("http://{address}");
        let document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["EdDSA", "ES256", "RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        });
        Self {
            issuer,
            document: Mutex::new(document),
            keys: Mutex::new(json!({ "keys": [jwk(&SEED, "first")] })),
            codes: Mutex::default(),
            refreshable: Mutex::default(),
            refreshes: Mutex::default(),
            revocations: Mutex::default(),
            count: AtomicUsize::new(0),
            seen: Mutex::default(),
            handed_out: Mutex::default(),
        }
    }

    fn unique(&self) -> String {
        format!("{:08}-{}", self.count.fetch_add(1, Ordering::SeqCst), "a-tail-that-nobody-writes-by-accident")
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut ahead = Vec::new();
        while let Some(seen) = request(0, &mut stream, &mut ahead) {
            self.seen.lock().unwrap().push(seen.clone());
            let json = "application/json".to_owned();
            let answer = match seen.target() {
                target if target.ends_with("/.well-known/openid-configuration") => {
                    Some(("200 OK".to_owned(), json, text(&self.document)))
                }
                "/keys" => Some(("200 OK".to_owned(), json, text(&self.keys))),
                "/token" => self.token(&seen),
                "/revoke" => Some((self.revoked(&seen), json, b"{}".to_vec())),
                _ => Some(("404 Not Found".to_owned(), json, b"{}".to_vec())),
            };
            let Some((status, content_type, body)) = answer else { return };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\r\n",
                body.len()
            );
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }

    fn token(&self, seen: &Seen) -> Option<(String, String, Vec<u8>)> {
        let json = |status: &str, body: Value| {
            Some((status.to_owned(), "application/json".to_owned(), body.to_string().into_bytes()))
        };
        let form = fields(std::str::from_utf8(&seen.body).unwrap());
        let field = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
        if !authenticates(seen) {
            return json("401 Unauthorized", json!({ "error": "invalid_client" }));
        }
        if field("grant_type") == "refresh_token" {
            return self.refreshed(field("refresh_token"));
        }
        let issued = self.codes.lock().unwrap().remove(field("code"));
        let Some(issued) = issued.filter(|issued| {
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
            field("redirect_uri") == issued.redirect_uri && challenge == issued.challenge
        }) else {
            return json("400 Bad Request", json!({ "error": "invalid_grant" }));
        };
        self.answer(&issued.script, "ada", Some(&issued.nonce))
    }

    fn revoked(&self, seen: &Seen) -> String {
        let mut statuses = self.revocations.lock().unwrap();
        let status = if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] };
        drop(statuses);
        if status == 200 && authenticates(seen) {
            let form = fields(std::str::from_utf8(&seen.body).unwrap());
            let token = form.iter().find(|(name, _)| name == "token").map_or("", |(_, value)| value);
            self.refreshable.lock().unwrap().remove(token);
        }
        format!("{status} Whatever")
    }

    fn refreshed(&self, token: &str) -> Option<(String, String, Vec<u8>)> {
        let script = self.refreshes.lock().unwrap();
        let answered = script.instead.is_none() && !script.hangs_up;
        let mut refreshable = self.refreshable.lock().unwrap();
        let rotates = script.members.get("refresh_token").is_none();
        let subject = if answered && rotates { refreshable.remove(token) } else { refreshable.get(token).cloned() };
        drop(refreshable);
        match subject {
            Some(subject) => self.answer(&script, &subject, None),
            None => {
                let body = json!({ "error": "invalid_grant" }).to_string().into_bytes();
                Some(("400 Bad Request".to_owned(), "application/json".to_owned(), body))
            }
        }
    }

    /// The good answer, with what the script changes in it.
    fn answer(&self, script: &Script, subject: &str, nonce: Option<&str>) -> Option<(String, String, Vec<u8>)> {
        std::thread::sleep(script.delay);
        if script.hangs_up {
            return None;
        }
        if let Some(instead) = &script.instead {
            return Some(instead.clone());
        }
        let mut header = json!({ "alg": "EdDSA", "kid": "first" });
        lay_over(&mut header, &script.header);
        let mut claims = json!({
            "iss": self.issuer,
            "aud": PROVIDER_CLIENT,
            "sub": subject,
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "email_verified": true,
            "nonce": nonce,
            "iat": now(),
            "exp": now() + 300,
        });
        if nonce.is_none() {
            claims.as_object_mut().unwrap().remove("nonce");
        }
        lay_over(&mut claims, &script.claims);
        // A login decides whose its refresh tokens are, whatever is said of them later.
        let named = claims["sub"].as_str().filter(|_| nonce.is_some());
        let subject = named.unwrap_or(subject).to_owned();
        let mut id_token = sign(&script.seed, &header.to_string(), &claims.to_string());
        if let Some(rewrite) = &script.rewrite {
            id_token = rewrite(id_token);
        }
        let (access, refresh) = (format!("provider-at-{}", self.unique()), format!("provider-rt-{}", self.unique()));
        self.handed_out.lock().unwrap().extend([access.clone(), refresh.clone(), id_token.clone()]);
        let mut members = json!({
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": id_token,
        });
        lay_over(&mut members, &script.members);
        if let Some(refresh) = members["refresh_token"].as_str() {
            self.refreshable.lock().unwrap().insert(refresh.to_owned(), subject);
        }
        Some(("200 OK".to_owned(), "application/json".to_owned(), members.to_string().into_bytes()))
    }
}

fn text(value: &Mutex<Value>) -> Vec<u8> {
    value.lock().unwrap().to_string().into_bytes()
}

/// Whether the gate says who it is.
fn authenticates(seen: &Seen) -> bool {
    let basic = seen.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let pair = basic.and_then(|coded| BASE64_STANDARD.decode(coded).ok()).and_then(|pair| String::from_utf8(pair).ok());
    pair.as_deref()
        .and_then(|pair| pair.split_once(':'))
        .is_some_and(|(id, secret)| unescape(id) == PROVIDER_CLIENT && unescape(secret) == PROVIDER_SECRET)
}

pub fn lay_over(base: &mut Value, over: &Value) {
    let base = base.as_object_mut().unwrap();
    for (name, value) in over.as_object().unwrap() {
        if value.is_null() {
            base.remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
}
