//! Configurations as they are written, and what is changed in them.

use super::*;

pub(super) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(super) const OTHER_KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
pub(super) const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// Surroundings with a few variables and files.
pub(super) struct Around {
    pub(super) variables: BTreeMap<&'static str, &'static str>,
    pub(super) files: BTreeMap<&'static str, Result<&'static str, Unreadable>>,
}

impl Around {
    pub(super) fn new() -> Self {
        let variables =
            [("DEX_SECRET", "from the environment"), ("LISTEN", "127.0.0.1:7070"), ("EMPTY", ""), ("BREAK", "a\nb")];
        let files = [
            ("/run/secret", Ok("  a secret out of a file \n")),
            ("/run/jwks", Ok(JWKS)),
            ("/run/token", Ok("a-token-out-of-a-file\n")),
            ("/run/admin-token", Ok("an-admin-token-of-thirty-two-or-more\n")),
            ("/run/key", Ok("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n")),
            (
                "/run/keys",
                Ok("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n\
                    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"),
            ),
            ("/run/no-key", Ok("\n")),
            ("/run/garbage", Ok("canary canary canary")),
            ("/run/two-lines", Ok("canary-canary-canary\ncanary-canary-canary\n")),
            ("/run/forbidden", Err(Unreadable::Forbidden)),
            ("/run/ca.pem", Ok(PEM)),
            ("/run/other-ca.pem", Ok(PEM)),
            ("/run/key.pem", Ok("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n")),
            ("/run/private.pem", Ok("-----BEGIN PRIVATE KEY-----\ncanary\n-----BEGIN CERTIFICATE-----\n")),
        ];
        Self { variables: variables.into(), files: files.into() }
    }
}

impl Surroundings for Around {
    fn variable(&self, name: &str) -> Option<SecretText> {
        self.variables.get(name).map(|value| SecretText::new((*value).to_owned()))
    }
    fn file(&self, path: &Path) -> Result<SecretText, Unreadable> {
        let file = path.to_str().and_then(|path| self.files.get(path)).ok_or(Unreadable::Absent)?;
        file.map(|text| SecretText::new(text.to_owned()))
    }
}

/// The least that loads.
pub(super) fn least() -> Json {
    json!({
        "baseUrl": "https://mcp.example.com",
        "masterKeys": [KEY],
        "provider": "oidc",
        "oidc": { "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": "hush" },
        "resources": [{ "path": "/mcp", "upstream": "http://127.0.0.1:3000/mcp" }],
    })
}

/// A public key of a client (RFC 8037 appendix A.2).
pub(super) const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

pub(super) fn jwks() -> Json {
    serde_json::from_str(JWKS).unwrap()
}

/// The same with something of everything that is a list.
pub(super) fn rich() -> Json {
    change(
        least(),
        &[
            ("/masterKeys/0", json!({ "key": KEY })),
            ("/masterKeys/1", json!({ "key": OTHER_KEY })),
            ("/resources/0/scopes", json!([{ "name": "mcp" }])),
            (
                "/clients",
                json!([{
                    "clientId": "app",
                    "clientSecret": "sixteen-letters-",
                    "name": "App",
                    "redirectUris": ["https://app.example.com/cb"],
                }]),
            ),
            (
                "/trustedIssuers",
                json!([{ "issuer": "https://cluster.example.com", "jwksUrl": "https://cluster.example.com/jwks" }]),
            ),
            (
                "/rateLimits",
                json!({ "perAddress": {}, "perClient": {}, "perPerson": {}, "perDocumentHost": {}, "securityEvents": {} }),
            ),
            ("/resources/0/perPerson", json!({})),
            ("/resources/0/identity", json!("exchange")),
            ("/resources/0/assertion", json!({})),
            (
                "/resources/0/exchange",
                json!({ "tokenEndpoint": "https://dex.example.com/token", "clientId": "gate", "clientSecret": "hush" }),
            ),
            ("/storage", json!({ "type": "memory" })),
            ("/allowedPeople", json!({})),
        ],
    )
}

/// A receiver that can be told.
pub(super) fn webhook() -> Json {
    json!({ "url": "https://receiver.example.com/events", "secret": "thirty-two-characters-or-more-XX" })
}

/// Sets what each pointer (RFC 6901) points to; null removes it.
pub(super) fn change(mut json: Json, changes: &[Change<'_>]) -> Json {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match json.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} points nowhere")) {
            Json::Object(object) if value.is_null() => drop(object.remove(name)),
            Json::Object(object) => drop(object.insert(name.to_owned(), value.clone())),
            Json::Array(list) if name.parse() == Ok(list.len()) => list.push(value.clone()),
            Json::Array(list) => list[name.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer} points into a plain value"),
        }
    }
    json
}

pub(super) fn read(json: &Json) -> Result<Config, Complaints> {
    Config::read(&json.to_string(), &Around::new())
}

pub(super) fn complaints(json: &Json) -> Vec<(String, String)> {
    let complaints = read(json).map(|_| ()).unwrap_err().0;
    complaints.into_iter().map(|complaint| (complaint.path, complaint.wrong.into_owned())).collect()
}

/// Every key of the schema that takes more than an object, as `resources[].path`.
pub(super) fn schema_keys() -> Vec<(String, Json)> {
    fn walk(path: &str, schema: &Json, keys: &mut Vec<(String, Json)>) {
        let forms = schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        let plain = |form: &Json| form.get("properties").is_none();
        if schema["type"] == "array" {
            let items = &schema["items"];
            if items["oneOf"].as_array().map_or(plain(items), |forms| forms.iter().any(plain)) {
                keys.push((path.to_owned(), schema.clone()));
            }
            return walk_objects(&format!("{path}[]"), items, keys);
        }
        if forms.iter().any(plain) {
            keys.push((path.to_owned(), schema.clone()));
        }
        walk_objects(path, schema, keys);
    }
    fn walk_objects(path: &str, schema: &Json, keys: &mut Vec<(String, Json)>) {
        let forms = schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for (name, schema) in forms.iter().filter_map(|form| form["properties"].as_object()).flatten() {
            let dot = if path.is_empty() { "" } else { "." };
            walk(&format!("{path}{dot}{name}"), schema, keys);
        }
    }
    let schema: Json = serde_json::from_str(&super::schema()).unwrap();
    let mut keys = Vec::new();
    walk_objects("", &schema, &mut keys);
    keys
}

/// What makes the upstream of the resource one over TLS, and then these.
pub(super) fn tls_upstream<'c>(changes: &[Change<'c>]) -> Vec<Change<'c>> {
    [&[("/resources/0/upstream", json!("https://mcp.internal"))], changes].concat()
}

/// A certificate for the listener.
pub(super) fn tls() -> Json {
    json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" })
}

/// The least with another provider in its place, and this changed there.
pub(super) fn at<'a>(provider: &'a str, key: &str, value: Json) -> Vec<(&'a str, Json)> {
    let mut block = json!({ "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": "hush" });
    block[key] = value;
    if key == "clientSecretFile" {
        block.as_object_mut().unwrap().remove("clientSecret");
    }
    let place = match provider {
        "dex" => "/dex",
        "google" => "/google",
        _ => {
            block.as_object_mut().unwrap().remove("issuerUrl");
            "/github"
        }
    };
    vec![("/provider", json!(provider)), ("/oidc", Json::Null), (place, block)]
}

/// GitHub, and this beside it.
pub(super) fn with_github(pointer: &'static str, value: Json) -> Vec<Change<'static>> {
    let mut changes = at("github", "clientId", json!("gate"));
    changes.push((pointer, value));
    changes
}

/// A tenant of Entra ID.
pub(super) const TENANT: &str = "aaaaaaaa-2222-3333-4444-555555555555";

/// The issuer of all tenants.
pub(super) fn of_many() -> Json {
    json!("https://login.microsoftonline.com/organizations/v2.0")
}

/// Entra ID with more in its block.
pub(super) fn entra(more: Json) -> Vec<Change<'static>> {
    let mut block = least()["oidc"].take();
    merge(&mut block, more);
    vec![("/provider", json!("entra")), ("/oidc", block)]
}

/// A change to the least of a storage on servers.
pub(super) fn on_servers(more: Json) -> Vec<Change<'static>> {
    let mut valkey = json!({ "url": "valkey.example:6379" });
    merge(&mut valkey, more);
    vec![("/storage", json!({ "type": "valkey", "valkey": valkey }))]
}

pub(super) fn under_sentinels(more: Json) -> Vec<Change<'static>> {
    let mut sentinel = json!({ "masterName": "gate", "addresses": ["sentinel.example:26379"] });
    merge(&mut sentinel, more);
    vec![("/storage", json!({ "type": "valkey", "valkey": { "sentinel": sentinel } }))]
}

pub(super) fn merge(object: &mut Json, more: Json) {
    let Json::Object(more) = more else { panic!("an object") };
    object.as_object_mut().expect("an object").extend(more);
}

pub(super) type Change<'c> = (&'c str, Json);
pub(super) type Probe = fn(&Config) -> String;
pub(super) type Arrival = (&'static str, Vec<Change<'static>>, Probe, &'static str);
pub(super) type Refusal<'r> = (&'r [Change<'r>], &'r str, &'r str);

/// One row: what is changed in the rich configuration, and the one complaint that must come of it.
pub(super) fn judge(rows: &[Refusal<'_>]) {
    for (changes, path, wrong) in rows {
        let found = complaints(&change(rich(), changes));
        assert!(
            matches!(&found[..], [(at, said)] if at == path && said.contains(wrong)),
            "{changes:?} should say {path}: {wrong}, and says {found:?}"
        );
    }
}
