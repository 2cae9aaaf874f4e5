//! Aim: every key reaches the configuration, every unsafe combination is refused, and nothing secret is ever said.
//! Method: one full configuration, and tables of what is changed in it and what must come of it.

use super::storage::{ServerName, ServerUser};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// Surroundings with a few variables and files.
struct Around {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, Result<&'static str, Unreadable>>,
}

impl Around {
    fn new() -> Self {
        let variables =
            [("DEX_SECRET", "from the environment"), ("LISTEN", "127.0.0.1:7070"), ("EMPTY", ""), ("BREAK", "a\nb")];
        let files = [
            ("/run/secret", Ok("  a secret out of a file \n")),
            ("/run/jwks", Ok(JWKS)),
            ("/run/token", Ok("a-token-out-of-a-file\n")),
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
fn least() -> Json {
    json!({
        "baseUrl": "https://mcp.example.com",
        "masterKeys": [KEY],
        "provider": "oidc",
        "oidc": { "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": "hush" },
        "resources": [{ "path": "/mcp", "upstream": "http://127.0.0.1:3000/mcp" }],
    })
}

/// A public key of a client (RFC 8037 appendix A.2).
const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn jwks() -> Json {
    serde_json::from_str(JWKS).unwrap()
}

/// The same with something of everything that is a list.
fn rich() -> Json {
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
            ("/rateLimits", json!({ "perAddress": {}, "perClient": {}, "perPerson": {}, "securityEvents": {} })),
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

/// Sets what each pointer (RFC 6901) points to; null removes it.
fn change(mut json: Json, changes: &[Change<'_>]) -> Json {
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

fn read(json: &Json) -> Result<Config, Complaints> {
    Config::read(&json.to_string(), &Around::new())
}

fn complaints(json: &Json) -> Vec<(String, String)> {
    let complaints = read(json).map(|_| ()).unwrap_err().0;
    complaints.into_iter().map(|complaint| (complaint.path, complaint.wrong.into_owned())).collect()
}

/// Every key of the schema that takes more than an object, as `resources[].path`.
fn schema_keys() -> Vec<(String, Json)> {
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
fn tls_upstream<'c>(changes: &[Change<'c>]) -> Vec<Change<'c>> {
    [&[("/resources/0/upstream", json!("https://mcp.internal"))], changes].concat()
}

/// A certificate for the listener.
fn tls() -> Json {
    json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" })
}

fn file(path: Option<&PathBuf>) -> String {
    path.map_or("none".into(), |path| path.display().to_string())
}

fn assertion(config: &Config) -> &Assertion {
    config.resources[0].assertion.as_ref().unwrap()
}

fn exchange(config: &Config) -> &Exchange {
    config.resources[0].exchange.as_ref().unwrap()
}

fn oidc(config: &Config) -> &Oidc {
    let Provider::Oidc(_, oidc) = &config.provider else { panic!("another provider") };
    oidc
}

fn dex(config: &Config) -> Dex {
    match &config.provider {
        Provider::Dex(dex) => dex.clone(),
        _ => dex(&read(&change(least(), &at("dex", "clientId", json!("gate")))).unwrap()),
    }
}

fn google(config: &Config) -> Google {
    match &config.provider {
        Provider::Google(google) => google.clone(),
        _ => google(&read(&change(least(), &at("google", "clientId", json!("gate")))).unwrap()),
    }
}

/// The least with another provider in its place, and this changed there.
fn at<'a>(provider: &'a str, key: &str, value: Json) -> Vec<(&'a str, Json)> {
    let mut block = json!({ "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": "hush" });
    block[key] = value;
    if key == "clientSecretFile" {
        block.as_object_mut().unwrap().remove("clientSecret");
    }
    let place = if provider == "dex" { "/dex" } else { "/google" };
    vec![("/provider", json!(provider)), ("/oidc", Json::Null), (place, block)]
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn master_keys(config: &Config) -> String {
    match &config.master_keys {
        MasterKeys::Given(keys) => {
            let keys = keys.iter().map(|key| {
                format!(
                    "{:02x} {:?} {}",
                    key.key.expose()[0],
                    key.seals_from.map(|from| from.secs()),
                    key.client_ids_only
                )
            });
            keys.collect::<Vec<_>>().join(", ")
        }
        MasterKeys::ToCreate(path) => format!("create {}", path.display()),
        MasterKeys::DangerRandom => "random".to_owned(),
    }
}

/// What is said of the servers, or nothing where there are none.
fn valkey(config: &Config, say: fn(&Valkey) -> String) -> String {
    config.storage.valkey.as_ref().map(say).unwrap_or_default()
}

fn sentinel(valkey: &Valkey, say: fn(&Sentinel) -> String) -> String {
    if let Servers::Sentinel(sentinel) = &valkey.servers { say(sentinel) } else { String::new() }
}

fn password(password: &Option<SecretText>) -> String {
    password.as_ref().map_or("", SecretText::expose).to_owned()
}

/// A change to the least of a storage on servers.
fn on_servers(more: Json) -> Vec<Change<'static>> {
    let mut valkey = json!({ "url": "valkey.example:6379" });
    merge(&mut valkey, more);
    vec![("/storage", json!({ "type": "valkey", "valkey": valkey }))]
}

fn under_sentinels(more: Json) -> Vec<Change<'static>> {
    let mut sentinel = json!({ "masterName": "gate", "addresses": ["sentinel.example:26379"] });
    merge(&mut sentinel, more);
    vec![("/storage", json!({ "type": "valkey", "valkey": { "sentinel": sentinel } }))]
}

fn merge(object: &mut Json, more: Json) {
    let Json::Object(more) = more else { panic!("an object") };
    object.as_object_mut().expect("an object").extend(more);
}

/// [`arrivals`] of a storage on servers.
fn arrivals_at_servers() -> Vec<Arrival> {
    let beside = |more: Json| {
        let mut storage = json!({ "type": "valkey", "valkey": { "url": "valkey.example:6379" } });
        merge(&mut storage, more);
        vec![("/storage", storage)]
    };
    vec![
        ("storage.staleFor", beside(json!({ "staleFor": "7s" })), |c| format!("{:?}", c.storage.stale_for), "7s"),
        (
            "storage.streamStaleFor",
            beside(json!({ "streamStaleFor": "0s" })),
            |c| format!("{:?}", c.storage.stream_stale_for),
            "0ns",
        ),
        (
            "storage.valkey.url",
            on_servers(json!({ "url": "[::1]:7000" })),
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Standalone(one) => format!("{}|{}", one.host, one.port),
                    other => format!("{other:?}"),
                })
            },
            "::1|7000",
        ),
        (
            "storage.valkey.cluster",
            vec![("/storage", json!({ "type": "valkey", "valkey": { "cluster": ["a.example:1", "[::1]:2"] } }))],
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Cluster(nodes) => nodes.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect(),
                    other => format!("{other:?}"),
                })
            },
            "a.example|1 ::1|2 ",
        ),
        (
            "storage.valkey.username",
            on_servers(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| format!("{:?}", v.username.as_ref().map(ServerUser::as_str))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.password",
            on_servers(json!({ "password": "hush" })),
            |c| valkey(c, |v| password(&v.password)),
            "hush",
        ),
        (
            "storage.valkey.passwordFile",
            on_servers(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| password(&v.password)),
            "a secret out of a file",
        ),
        (
            "storage.valkey.tlsEnabled",
            on_servers(json!({ "tlsEnabled": true })),
            |c| valkey(c, |v| v.tls_enabled.to_string()),
            "true",
        ),
        (
            "storage.valkey.tlsServerName",
            on_servers(json!({ "tlsEnabled": true, "tlsServerName": "name.example" })),
            |c| valkey(c, |v| v.tls_server_name.as_ref().map_or("", ServerName::as_str).to_owned()),
            "name.example",
        ),
        (
            "storage.valkey.tlsCaFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCaFile": "/run/ca.pem" })),
            |c| valkey(c, |v| file(v.tls_ca_file.as_ref().map(|file| &file.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsCertFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_cert_file.as_ref().map(|file| &file.0.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsKeyFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_key_file.as_ref().map(|file| &file.path))),
            "/run/key.pem",
        ),
        ("storage.valkey.db", on_servers(json!({ "db": 7 })), |c| valkey(c, |v| v.db.to_string()), "7"),
        (
            "storage.valkey.keyPrefix",
            on_servers(json!({ "keyPrefix": "muster:" })),
            |c| valkey(c, |v| v.key_prefix.as_str().to_owned()),
            "muster:",
        ),
        (
            "storage.valkey.waitReplicas",
            on_servers(json!({ "waitReplicas": 2 })),
            |c| valkey(c, |v| v.wait_replicas.to_string()),
            "2",
        ),
        (
            "storage.valkey.sentinel.masterName",
            under_sentinels(json!({ "masterName": "other" })),
            |c| valkey(c, |v| sentinel(v, |s| s.master_name.as_str().to_owned())),
            "other",
        ),
        (
            "storage.valkey.sentinel.addresses",
            under_sentinels(json!({ "addresses": ["a.example:1", "192.0.2.1:2"] })),
            |c| {
                valkey(c, |v| {
                    sentinel(v, |s| s.addresses.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect())
                })
            },
            "a.example|1 192.0.2.1|2 ",
        ),
        (
            "storage.valkey.sentinel.username",
            under_sentinels(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| format!("{:?}", s.username.as_ref().map(ServerUser::as_str)))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.sentinel.password",
            under_sentinels(json!({ "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "hush",
        ),
        (
            "storage.valkey.sentinel.passwordFile",
            under_sentinels(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "a secret out of a file",
        ),
    ]
}

#[test]
fn t289_a_storage_that_replicas_share_is_described_without_contradictions() {
    let servers = |more: Json| on_servers(more).remove(0);
    judge(&[
        (&[("/storage", json!({ "type": "valkey" }))], "storage.valkey", "is missing"),
        (
            &[("/storage", json!({ "type": "memory", "valkey": { "url": "a:1" } }))],
            "storage.valkey",
            "of no use with memory",
        ),
        (&[("/storage", json!({ "type": "valkey", "valkey": {} }))], "storage.valkey.url", "is missing"),
        (
            &[servers(json!({ "sentinel": { "masterName": "a", "addresses": ["a:1"] } }))],
            "storage.valkey.sentinel",
            "is given beside url",
        ),
        (
            &[("/storage", json!({ "type": "valkey", "valkey": { "cluster": ["a:1"], "db": 1 } }))],
            "storage.valkey.db",
            "a cluster has no other",
        ),
        (
            &[("/storage", json!({ "type": "valkey", "valkey": { "cluster": [] } }))],
            "storage.valkey.cluster",
            "is empty",
        ),
        (&[servers(json!({ "url": "redis://valkey:6379" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey:0" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey:+1" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "[valkey]:1" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "::1:6379" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "username": "gate" }))], "storage.valkey.password", "is missing beside username"),
        (&[servers(json!({ "keyPrefix": "a{b}:" }))], "storage.valkey.keyPrefix", "cannot stand before"),
        (&[servers(json!({ "tlsServerName": "a" }))], "storage.valkey.tlsServerName", "of no use without tlsEnabled"),
        (&[servers(json!({ "tlsCaFile": "/run/ca.pem" }))], "storage.valkey.tlsCaFile", "of no use without tlsEnabled"),
        (
            &[servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem" }))],
            "storage.valkey.tlsKeyFile",
            "is missing",
        ),
        // Replicas that made keys of their own would lock each other out.
        (
            &[servers(json!({})), ("/masterKeys", Json::Null), ("/masterKeyFile", json!("/run/absent"))],
            "masterKeyFile",
            "replicas share the storage",
        ),
        (
            &[servers(json!({})), ("/masterKeys", Json::Null), ("/dangerRandomMasterKey", json!(true))],
            "dangerRandomMasterKey",
            "outlives the process",
        ),
    ]);
}

fn first_secret(config: &Config) -> &str {
    config.clients[0].client_secret.as_ref().map_or("none", SecretText::expose)
}

type Change<'c> = (&'c str, Json);
type Probe = fn(&Config) -> String;
type Arrival = (&'static str, Vec<Change<'static>>, Probe, &'static str);
type Refusal<'r> = (&'r [Change<'r>], &'r str, &'r str);

/// For every key of the schema: what to change in the rich configuration, where the value must arrive, and as what.
fn arrivals() -> Vec<Arrival> {
    let debug_origins: Probe = |c| format!("{:?}", c.allowed_origins);
    vec![
        (
            "baseUrl",
            vec![("/baseUrl", json!("https://a.example"))],
            |c| c.base_url.as_str().into(),
            "https://a.example",
        ),
        ("listen", vec![("/listen", json!("127.0.0.1:1"))], |c| c.listen.to_string(), "127.0.0.1:1"),
        ("adminListen", vec![("/adminListen", json!("127.0.0.1:2"))], |c| c.admin_listen.to_string(), "127.0.0.1:2"),
        (
            "tls.certFile",
            vec![("/tls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.tls.as_ref().map(|tls| &tls.certificate.0.path)),
            "/run/ca.pem",
        ),
        (
            "tls.keyFile",
            vec![("/tls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.tls.as_ref().map(|tls| &tls.key.path)),
            "/run/key.pem",
        ),
        ("connections", vec![("/connections", json!(7))], |c| c.connections.to_string(), "7"),
        (
            "connectionsPerAddress",
            vec![("/connectionsPerAddress", json!(7))],
            |c| c.connections_per_address.to_string(),
            "7",
        ),
        ("shutdownGrace", vec![("/shutdownGrace", json!("7s"))], |c| c.shutdown_grace.as_secs().to_string(), "7"),
        ("dangerPlainHttp", vec![("/dangerPlainHttp", json!(true))], |c| c.danger_plain_http.to_string(), "true"),
        (
            "trustedProxyCIDRs",
            vec![("/trustedProxyCIDRs", json!(["10.0.0.0/8"]))],
            |c| c.trusted_proxy_cidrs.iter().map(|net| format!("{}/{}", net.address, net.prefix)).collect(),
            "10.0.0.0/8",
        ),
        ("masterKeys", vec![("/masterKeys", json!([OTHER_KEY]))], master_keys, "20 None false"),
        (
            "masterKeys[].key",
            vec![("/masterKeys/0/key", json!(OTHER_KEY)), ("/masterKeys/1/key", json!(KEY))],
            master_keys,
            "20 None false, 00 None false",
        ),
        (
            "masterKeys[].keyFile",
            vec![("/masterKeys", json!([{ "keyFile": "/run/key" }]))],
            master_keys,
            "20 None false",
        ),
        (
            "masterKeys[].sealsFrom",
            vec![("/masterKeys/1/sealsFrom", json!("1970-01-01T00:01:00Z"))],
            master_keys,
            "00 None false, 20 Some(60) false",
        ),
        (
            "masterKeys[].clientIdsOnly",
            vec![("/masterKeys/1/clientIdsOnly", json!(true))],
            master_keys,
            "00 None false, 20 None true",
        ),
        (
            "masterKeyFile",
            vec![("/masterKeys", Json::Null), ("/masterKeyFile", json!("/run/key"))],
            master_keys,
            "20 None false",
        ),
        (
            "dangerRandomMasterKey",
            vec![("/masterKeys", Json::Null), ("/dangerRandomMasterKey", json!(true))],
            master_keys,
            "random",
        ),
        (
            "provider",
            vec![("/provider", json!("keycloak"))],
            |c| matches!(c.provider, Provider::Oidc(ProviderType::Keycloak, _)).to_string(),
            "true",
        ),
        (
            "oidc.issuerUrl",
            vec![("/oidc/issuerUrl", json!("https://b.example/"))],
            |c| oidc(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("oidc.clientId", vec![("/oidc/clientId", json!("me"))], |c| oidc(c).client_id.as_str().into(), "me"),
        (
            "oidc.clientSecret",
            vec![("/oidc/clientSecret", json!("${DEX_SECRET}"))],
            |c| oidc(c).client_secret.expose().into(),
            "from the environment",
        ),
        (
            "oidc.clientSecretFile",
            vec![("/oidc/clientSecret", Json::Null), ("/oidc/clientSecretFile", json!("/run/secret"))],
            |c| oidc(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "oidc.scopes",
            vec![("/oidc/scopes", json!(["openid", "groups"]))],
            |c| words(oidc(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "oidc.groupsClaim",
            vec![("/oidc/groupsClaim", json!("https://b.example/groups"))],
            |c| oidc(c).groups_claim.as_str().into(),
            "https://b.example/groups",
        ),
        (
            "oidc.caFile",
            vec![("/oidc/caFile", json!("/run/ca.pem"))],
            |c| file(oidc(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "dex.issuerUrl",
            at("dex", "issuerUrl", json!("https://b.example/")),
            |c| dex(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("dex.clientId", at("dex", "clientId", json!("me")), |c| dex(c).client_id.as_str().into(), "me"),
        (
            "dex.clientSecret",
            at("dex", "clientSecret", json!("another")),
            |c| dex(c).client_secret.expose().into(),
            "another",
        ),
        (
            "dex.clientSecretFile",
            at("dex", "clientSecretFile", json!("/run/secret")),
            |c| dex(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "dex.scopes",
            at("dex", "scopes", json!(["openid", "groups"])),
            |c| words(dex(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "dex.caFile",
            at("dex", "caFile", json!("/run/ca.pem")),
            |c| file(dex(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "google.issuerUrl",
            at("google", "issuerUrl", json!("https://b.example/")),
            |c| google(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("google.clientId", at("google", "clientId", json!("me")), |c| google(c).client_id.as_str().into(), "me"),
        (
            "google.clientSecret",
            at("google", "clientSecret", json!("another")),
            |c| google(c).client_secret.expose().into(),
            "another",
        ),
        (
            "google.clientSecretFile",
            at("google", "clientSecretFile", json!("/run/secret")),
            |c| google(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "google.scopes",
            at("google", "scopes", json!(["openid", "groups"])),
            |c| words(google(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "google.caFile",
            at("google", "caFile", json!("/run/ca.pem")),
            |c| file(google(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "oidc.bindToProvider",
            vec![("/oidc/bindToProvider", json!(true))],
            |c| oidc(c).bind_to_provider.to_string(),
            "true",
        ),
        (
            "dex.bindToProvider",
            at("dex", "bindToProvider", json!(false)),
            |c| dex(c).bind_to_provider.to_string(),
            "false",
        ),
        (
            "google.bindToProvider",
            at("google", "bindToProvider", json!(true)),
            |c| google(c).bind_to_provider.to_string(),
            "true",
        ),
        (
            "dex.connectorId",
            at("dex", "connectorId", json!("ldap")),
            |c| words(dex(c).connector_id.iter().map(ConnectorId::as_str)),
            "ldap",
        ),
        (
            "dex.crossClientAudiences",
            at("dex", "crossClientAudiences", json!(["kubernetes"])),
            |c| words(dex(c).audiences.iter().map(ClientId::as_str)),
            "kubernetes",
        ),
        (
            "google.hostedDomain",
            at("google", "hostedDomain", json!("example.com")),
            |c| words(google(c).hosted_domain.iter().map(EmailDomain::as_str)),
            "example.com",
        ),
        (
            "allowedPeople.emailDomains",
            vec![("/allowedPeople", json!({ "emailDomains": ["example.com"] }))],
            |c| words(c.people.email_domains.iter().map(EmailDomain::as_str)),
            "example.com",
        ),
        (
            "allowedPeople.emails",
            vec![("/allowedPeople", json!({ "emails": ["ada@example.com"] }))],
            |c| words(c.people.emails.iter().map(EmailAddress::as_str)),
            "ada@example.com",
        ),
        (
            "allowedPeople.groups",
            vec![("/allowedPeople", json!({ "groups": ["staff"] }))],
            |c| words(c.people.groups.iter().map(GroupName::as_str)),
            "staff",
        ),
        (
            "allowedPeople.subjects",
            vec![("/allowedPeople", json!({ "subjects": ["s-1"] }))],
            |c| words(c.people.subjects.iter().map(Subject::as_str)),
            "s-1",
        ),
        (
            "resources[].path",
            vec![("/resources/0/path", json!("/sse"))],
            |c| c.resources[0].paths[0].as_str().into(),
            "/sse",
        ),
        (
            "resources[].paths",
            vec![("/resources/0/path", Json::Null), ("/resources/0/paths", json!(["/sse", "/message"]))],
            |c| c.resources[0].paths.iter().map(ResourcePath::as_str).collect(),
            "/sse/message",
        ),
        (
            "resources[].subtree",
            vec![("/resources/0/subtree", json!(true))],
            |c| c.resources[0].subtree.to_string(),
            "true",
        ),
        (
            "resources[].upstream",
            vec![("/resources/0/upstream", json!("http://mcp.internal"))],
            |c| c.resources[0].upstreams[0].as_str().into(),
            "http://mcp.internal",
        ),
        (
            "resources[].upstreams",
            vec![("/resources/0/upstream", Json::Null), ("/resources/0/upstreams", json!(["http://a", "http://b"]))],
            |c| c.resources[0].upstreams.last().unwrap().as_str().into(),
            "http://b",
        ),
        (
            "resources[].upstreamCaFile",
            tls_upstream(&[("/resources/0/upstreamCaFile", json!("/run/ca.pem"))]),
            |c| file(c.resources[0].upstream_ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].upstreamCertFile",
            tls_upstream(&[
                ("/resources/0/upstreamCertFile", json!("/run/ca.pem")),
                ("/resources/0/upstreamKeyFile", json!("/run/key.pem")),
            ]),
            |c| file(c.resources[0].upstream_cert_file.as_ref().map(|file| &file.0.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].upstreamKeyFile",
            tls_upstream(&[
                ("/resources/0/upstreamCertFile", json!("/run/ca.pem")),
                ("/resources/0/upstreamKeyFile", json!("/run/key.pem")),
            ]),
            |c| file(c.resources[0].upstream_key_file.as_ref().map(|file| &file.path)),
            "/run/key.pem",
        ),
        (
            "resources[].upstreamConnections",
            vec![("/resources/0/upstreamConnections", json!(7))],
            |c| c.resources[0].upstream_connections.to_string(),
            "7",
        ),
        (
            "resources[].perPerson.requestsPerSecond",
            vec![("/resources/0/perPerson", json!({ "requestsPerSecond": 3 }))],
            |c| c.resources[0].per_person.as_ref().map_or(0, |rate| rate.requests_per_second).to_string(),
            "3",
        ),
        (
            "resources[].perPerson.requestBurst",
            vec![("/resources/0/perPerson", json!({ "requestBurst": 4 }))],
            |c| c.resources[0].per_person.as_ref().map_or(0, |rate| rate.request_burst).to_string(),
            "4",
        ),
        (
            "resources[].requestBytes",
            vec![("/resources/0/requestBytes", json!(5))],
            |c| c.resources[0].request_bytes.to_string(),
            "5",
        ),
        (
            "resources[].scopes",
            vec![("/resources/0/scopes", json!(["read"]))],
            |c| c.resources[0].scopes[0].name.as_str().into(),
            "read",
        ),
        (
            "resources[].scopes[].name",
            vec![("/resources/0/scopes/0/name", json!("read"))],
            |c| c.resources[0].scopes[0].name.as_str().into(),
            "read",
        ),
        (
            "resources[].scopes[].description",
            vec![("/resources/0/scopes/0/description", json!("Read your notes"))],
            |c| c.resources[0].scopes[0].description.as_ref().map_or("none", ScopeDescription::as_str).into(),
            "Read your notes",
        ),
        (
            "resources[].allowedOrigins",
            vec![("/resources/0/allowedOrigins", json!(["https://r.example"]))],
            |c| format!("{:?}", c.resources[0].allowed_origins),
            r#"Some([Origin("https://r.example")])"#,
        ),
        (
            "allowedOrigins",
            vec![("/allowedOrigins", json!(["https://o.example"]))],
            debug_origins,
            r#"Some([Origin("https://o.example")])"#,
        ),
        (
            "clients[].clientId",
            vec![("/clients/0/clientId", json!("b"))],
            |c| c.clients[0].client_id.as_str().into(),
            "b",
        ),
        (
            "clients[].clientSecret",
            vec![("/clients/0/clientSecret", json!("another-16-bytes"))],
            |c| first_secret(c).into(),
            "another-16-bytes",
        ),
        (
            "clients[].clientSecretFile",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/clientSecretFile", json!("/run/secret"))],
            |c| first_secret(c).into(),
            "a secret out of a file",
        ),
        (
            "clients[].jwks",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwks", jwks())],
            |c| c.clients[0].jwks.as_ref().map_or(0, |set| set.0.keys().len()).to_string(),
            "1",
        ),
        (
            "clients[].jwksFile",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwksFile", json!("/run/jwks"))],
            |c| c.clients[0].jwks.as_ref().map_or(0, |set| set.0.keys().len()).to_string(),
            "1",
        ),
        (
            "clients[].jwksUri",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwksUri", json!("https://k.example/k"))],
            |c| c.clients[0].jwks_uri.as_ref().map_or("none", JwksUri::as_str).into(),
            "https://k.example/k",
        ),
        ("clients[].name", vec![("/clients/0/name", json!("Other"))], |c| c.clients[0].name.as_str().into(), "Other"),
        (
            "clients[].redirectUris",
            vec![("/clients/0/redirectUris", json!(["http://127.0.0.1/cb"]))],
            |c| c.clients[0].redirect_uris[0].as_str().into(),
            "http://127.0.0.1/cb",
        ),
        (
            "clients[].tokenEndpointAuthMethod",
            vec![("/clients/0/tokenEndpointAuthMethod", json!("client_secret_post"))],
            |c| format!("{:?}", c.clients[0].token_endpoint_auth_method),
            "Some(Post)",
        ),
        (
            "trustedClients",
            vec![("/trustedClients", json!(["app"]))],
            |c| c.trusted_clients.iter().map(ClientId::as_str).collect(),
            "app",
        ),
        (
            "resources[].identity",
            vec![
                ("/resources/0/identity", json!("subjectOnly")),
                ("/resources/0/assertion", Json::Null),
                ("/resources/0/exchange", Json::Null),
            ],
            |c| format!("{:?}", c.resources[0].identity),
            "SubjectOnly",
        ),
        (
            "resources[].assertion.audience",
            vec![("/resources/0/assertion/audience", json!("tools"))],
            |c| assertion(c).audience.as_ref().map_or("", |audience| audience.as_str()).to_owned(),
            "tools",
        ),
        (
            "resources[].assertion.algorithm",
            vec![("/resources/0/assertion/algorithm", json!("RS256"))],
            |c| format!("{:?}", assertion(c).algorithm),
            "Rs256",
        ),
        (
            "resources[].assertion.duration",
            vec![("/resources/0/assertion/duration", json!("1m"))],
            |c| format!("{:?}", assertion(c).duration),
            "60s",
        ),
        (
            "resources[].exchange.tokenEndpoint",
            vec![("/resources/0/exchange/tokenEndpoint", json!("https://other.example.com/token"))],
            |c| exchange(c).token_endpoint.as_str().to_owned(),
            "https://other.example.com/token",
        ),
        (
            "resources[].exchange.clientId",
            vec![("/resources/0/exchange/clientId", json!("another"))],
            |c| exchange(c).client_id.as_str().to_owned(),
            "another",
        ),
        (
            "resources[].exchange.clientSecret",
            vec![("/resources/0/exchange/clientSecret", json!("other secret"))],
            |c| exchange(c).client_secret.expose().to_owned(),
            "other secret",
        ),
        (
            "resources[].exchange.clientSecretFile",
            vec![
                ("/resources/0/exchange/clientSecret", Json::Null),
                ("/resources/0/exchange/clientSecretFile", json!("/run/secret")),
            ],
            |c| exchange(c).client_secret.expose().to_owned(),
            "a secret out of a file",
        ),
        (
            "resources[].exchange.expectedIssuer",
            vec![("/resources/0/exchange/expectedIssuer", json!("https://issuer.example.com"))],
            |c| exchange(c).expected_issuer.as_ref().map_or("", |issuer| issuer.as_str()).to_owned(),
            "https://issuer.example.com",
        ),
        (
            "resources[].exchange.connectorId",
            vec![("/resources/0/exchange/connectorId", json!("the-gate"))],
            |c| exchange(c).connector_id.as_ref().map_or("", |id| id.as_str()).to_owned(),
            "the-gate",
        ),
        (
            "resources[].exchange.audience",
            vec![("/resources/0/exchange/audience", json!("cluster"))],
            |c| exchange(c).audience.as_ref().map_or("", |audience| audience.as_str()).to_owned(),
            "cluster",
        ),
        (
            "resources[].exchange.scopes",
            vec![("/resources/0/exchange/scopes", json!(["openid"]))],
            |c| exchange(c).scopes.iter().map(|scope| scope.as_str()).collect(),
            "openid",
        ),
        (
            "resources[].exchange.subjectTokenType",
            vec![("/resources/0/exchange/subjectTokenType", json!("idToken"))],
            |c| format!("{:?}", exchange(c).subject_token_type),
            "IdToken",
        ),
        (
            "resources[].exchange.requestedTokenType",
            vec![("/resources/0/exchange/requestedTokenType", json!("accessToken"))],
            |c| format!("{:?}", exchange(c).requested_token_type),
            "AccessToken",
        ),
        (
            "resources[].exchange.caFile",
            vec![("/resources/0/exchange/caFile", json!("/run/ca.pem"))],
            |c| file(exchange(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].forwardAuth",
            vec![("/resources/0/forwardAuth", json!(true)), ("/trustedProxyCIDRs", json!(["127.0.0.1/32"]))],
            |c| c.resources[0].forward_auth.to_string(),
            "true",
        ),
        (
            "assertionKeyFiles",
            vec![("/assertionKeyFiles", json!(["/run/key.pem"]))],
            |c| file(c.assertion_key_files.first().map(|file| &file.path)),
            "/run/key.pem",
        ),
        (
            "tokenExchangeBroker.clientAudiences",
            vec![("/tokenExchangeBroker", json!({ "clientAudiences": { "app": ["tools"] } }))],
            |c| format!("{:?}", c.token_exchange_broker.as_ref().map(|broker| &broker.client_audiences.0)),
            r#"Some([("app", ["tools"])])"#,
        ),
        (
            "trustedAudiences",
            vec![("/trustedAudiences", json!(["kubectl"]))],
            |c| c.trusted_audiences.iter().map(ClientId::as_str).collect(),
            "kubectl",
        ),
        (
            "trustedIssuers[].issuer",
            vec![("/trustedIssuers/0/issuer", json!("https://other.example.com"))],
            |c| c.trusted_issuers[0].issuer.as_str().to_owned(),
            "https://other.example.com",
        ),
        (
            "trustedIssuers[].jwksUrl",
            vec![("/trustedIssuers/0/jwksUrl", json!("https://other.example.com/keys"))],
            |c| c.trusted_issuers[0].jwks_url.as_str().to_owned(),
            "https://other.example.com/keys",
        ),
        (
            "trustedIssuers[].allowedAudiences",
            vec![("/trustedIssuers/0/allowedAudiences", json!(["tools"]))],
            |c| c.trusted_issuers[0].allowed_audiences.iter().map(|it| it.as_str()).collect(),
            "tools",
        ),
        (
            "trustedIssuers[].allowedScopes",
            vec![("/trustedIssuers/0/allowedScopes", json!(["mcp"]))],
            |c| c.trusted_issuers[0].allowed_scopes.iter().map(ScopeName::as_str).collect(),
            "mcp",
        ),
        (
            "trustedIssuers[].allowedClaims",
            vec![("/trustedIssuers/0/allowedClaims", json!({ "sub": ["a:*"] }))],
            |c| format!("{:?}", c.trusted_issuers[0].allowed_claims.0),
            r#"[("sub", ["a:*"])]"#,
        ),
        (
            "trustedIssuers[].subjectClaim",
            vec![("/trustedIssuers/0/subjectClaim", json!("uid"))],
            |c| c.trusted_issuers[0].subject_claim.as_str().to_owned(),
            "uid",
        ),
        (
            "trustedIssuers[].acceptedTypHeaders",
            vec![("/trustedIssuers/0/acceptedTypHeaders", json!(["", "JWT"]))],
            |c| c.trusted_issuers[0].accepted_typ_headers.0.join("|"),
            "|JWT",
        ),
        (
            "trustedIssuers[].caFile",
            vec![("/trustedIssuers/0/caFile", json!("/run/ca.pem"))],
            |c| file(c.trusted_issuers[0].ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "introspectionResourceServers",
            vec![("/introspectionResourceServers", json!(["app"]))],
            |c| c.introspection_resource_servers.iter().map(ClientId::as_str).collect(),
            "app",
        ),
        (
            "allowPublicClientRegistration",
            vec![("/allowPublicClientRegistration", json!(true))],
            |c| c.allow_public_client_registration.to_string(),
            "true",
        ),
        (
            "registrationToken",
            vec![("/registrationToken", json!("sixteen-letters-"))],
            |c| c.registration_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "sixteen-letters-",
        ),
        (
            "registrationTokenFile",
            vec![("/registrationTokenFile", json!("/run/token"))],
            |c| c.registration_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "a-token-out-of-a-file",
        ),
        (
            "trustedPublicRegistrationSchemes",
            vec![("/trustedPublicRegistrationSchemes", json!(["cursor"]))],
            |c| c.trusted_public_registration_schemes.iter().map(Scheme::as_str).collect(),
            "cursor",
        ),
        (
            "trustedPublicRegistrationRedirectURIs",
            vec![("/trustedPublicRegistrationRedirectURIs", json!(["https://t.example/cb"]))],
            |c| c.trusted_public_registration_redirect_uris.iter().map(HttpsRedirect::as_str).collect(),
            "https://t.example/cb",
        ),
        (
            "allowLocalhostRedirectURIs",
            vec![("/allowLocalhostRedirectURIs", json!(false))],
            |c| c.allow_localhost_redirect_uris.to_string(),
            "false",
        ),
        ("enableCIMD", vec![("/enableCIMD", json!(false))], |c| c.enable_cimd.to_string(), "false"),
        (
            "clientDocumentDomains",
            vec![("/clientDocumentDomains", json!(["a.example"]))],
            |c| c.client_document_domains.iter().map(Domain::as_str).collect(),
            "a.example",
        ),
        (
            "deniedClientDocumentDomains",
            vec![("/deniedClientDocumentDomains", json!(["b.example"]))],
            |c| c.denied_client_document_domains.iter().map(Domain::as_str).collect(),
            "b.example",
        ),
        (
            "dangerLoopbackClientDocuments",
            vec![("/dangerLoopbackClientDocuments", json!(true))],
            |c| c.danger_loopback_client_documents.to_string(),
            "true",
        ),
        ("sessionDuration", vec![("/sessionDuration", json!("1h"))], |c| format!("{:?}", c.session_duration), "3600s"),
        (
            "sessionMaxDuration",
            vec![("/sessionMaxDuration", json!("721h"))],
            |c| format!("{:?}", c.session_max_duration),
            "2595600s",
        ),
        ("streamOverrun", vec![("/streamOverrun", json!("5m"))], |c| format!("{:?}", c.stream_overrun), "300s"),
        (
            "accessTokenDuration",
            vec![("/accessTokenDuration", json!("5m"))],
            |c| format!("{:?}", c.access_token_duration),
            "300s",
        ),
        ("refreshGrace", vec![("/refreshGrace", json!("0s"))], |c| format!("{:?}", c.refresh_grace), "0ns"),
        ("storage.type", on_servers(json!({})), |c| format!("{:?}", c.storage.kind), "Valkey"),
        (
            "rateLimits.perAddress.registrationsPerHour",
            vec![("/rateLimits/perAddress/registrationsPerHour", json!(7))],
            |c| c.rate_limits.per_address.registrations_per_hour.to_string(),
            "7",
        ),
        (
            "rateLimits.perAddress.tokenPerSecond",
            vec![("/rateLimits/perAddress/tokenPerSecond", json!(8))],
            |c| c.rate_limits.per_address.token_per_second.to_string(),
            "8",
        ),
        (
            "rateLimits.perAddress.tokenBurst",
            vec![("/rateLimits/perAddress/tokenBurst", json!(9))],
            |c| c.rate_limits.per_address.token_burst.to_string(),
            "9",
        ),
        (
            "rateLimits.perAddress.authorizePerSecond",
            vec![("/rateLimits/perAddress/authorizePerSecond", json!(11))],
            |c| c.rate_limits.per_address.authorize_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.authorizeBurst",
            vec![("/rateLimits/perAddress/authorizeBurst", json!(11))],
            |c| c.rate_limits.per_address.authorize_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.refusedPerSecond",
            vec![("/rateLimits/perAddress/refusedPerSecond", json!(11))],
            |c| c.rate_limits.per_address.refused_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.refusedBurst",
            vec![("/rateLimits/perAddress/refusedBurst", json!(11))],
            |c| c.rate_limits.per_address.refused_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perClient.requestsPerSecond",
            vec![("/rateLimits/perClient", json!({ "requestsPerSecond": 11 }))],
            |c| c.rate_limits.per_client.requests_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perClient.requestBurst",
            vec![("/rateLimits/perClient", json!({ "requestBurst": 11 }))],
            |c| c.rate_limits.per_client.request_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.securityEvents.perSecond",
            vec![("/rateLimits/securityEvents", json!({ "perSecond": 11 }))],
            |c| c.rate_limits.security_events.per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.securityEvents.burst",
            vec![("/rateLimits/securityEvents", json!({ "burst": 11 }))],
            |c| c.rate_limits.security_events.burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perPerson.requestsPerSecond",
            vec![("/rateLimits/perPerson", json!({ "requestsPerSecond": 3 }))],
            |c| c.rate_limits.per_person.requests_per_second.to_string(),
            "3",
        ),
        (
            "rateLimits.perPerson.requestBurst",
            vec![("/rateLimits/perPerson", json!({ "requestBurst": 4 }))],
            |c| c.rate_limits.per_person.request_burst.to_string(),
            "4",
        ),
        (
            "caFiles",
            vec![("/caFiles", json!(["/run/ca.pem", "/run/other-ca.pem"]))],
            |c| c.ca_files.iter().map(|file| file.path.display().to_string()).collect(),
            "/run/ca.pem/run/other-ca.pem",
        ),
        ("logFormat", vec![("/logFormat", json!("text"))], |c| format!("{:?}", c.log_format), "Text"),
        ("logLevel", vec![("/logLevel", json!("debug"))], |c| format!("{:?}", c.log_level), "Debug"),
    ]
}

#[test]
fn every_key_of_the_schema_reaches_the_configuration() {
    let all = || arrivals().into_iter().chain(arrivals_at_servers());
    let before = read(&rich()).unwrap();
    for (key, changes, probe, expected) in all() {
        let after = read(&change(rich(), &changes)).unwrap_or_else(|complaints| panic!("{key}: {complaints}"));
        assert_eq!(probe(&after), expected, "{key}");
        assert!(changes.is_empty() || probe(&before) != expected, "{key} was so already");
    }
    let shown: BTreeSet<_> = all().map(|row| row.0.to_owned()).collect();
    let described: BTreeSet<_> = schema_keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(shown, described, "left: keys that this test shows, right: keys of the schema");
}

#[test]
fn the_least_configuration_has_the_published_defaults() {
    let config = read(&least()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(usize::try_from(config.connections), Ok(limits::CONNECTIONS_MAX));
    assert_eq!(usize::try_from(config.connections_per_address), Ok(limits::CONNECTIONS_PER_ADDRESS));
    assert!(config.tls.is_none() && config.shutdown_grace == limits::DRAIN_DEADLINE);
    assert_eq!(config.session_duration, limits::IDLE_LIFE);
    assert_eq!(config.session_max_duration, limits::ABSOLUTE_LIFE);
    assert_eq!(config.access_token_duration, limits::ACCESS_LIFE);
    assert_eq!(config.refresh_grace, limits::REFRESH_GRACE);
    assert_eq!(config.stream_overrun, limits::STREAM_OVERRUN);
    let limits = config.rate_limits.per_address;
    assert_eq!((limits.registrations_per_hour, limits.token_per_second, limits.token_burst), (10, 50, 100));
    assert!(config.allow_localhost_redirect_uris && !config.allow_public_client_registration);
    assert!(!config.danger_plain_http && config.allowed_origins.is_none() && config.trusted_proxy_cidrs.is_empty());
    assert_eq!((config.log_format, config.log_level), (LogFormat::Json, LogLevel::Info));
    assert_eq!((config.storage.kind, config.registration_token.is_none()), (StorageType::Memory, true));
}

#[test]
fn all_complaints_come_at_once_with_their_paths() {
    let json = json!({
        "baseURL": "https://mcp.example.com",
        "listen": "0.0.0.0:8080",
        "masterKeys": ["short", { "key": KEY, "keyFile": "/run/key" }, 7],
        "provider": "github",
        "oidc": { "issuerUrl": "http://id.example.com", "clientID": "gate" },
        "resources": [{ "upstream": "ws://mcp.internal", "subtree": "yes" }, { "path": "/mcp", "scopes": ["a b", {}] }],
        "sessionDuration": "30d",
        "refreshGrace": "601s",
        "rateLimits": { "perAddress": { "tokenBurst": 0 } },
        "clients": {},
        "logLevel": null,
        "encryptionKey": "x",
    });
    let found: BTreeSet<_> = complaints(&json).into_iter().collect();
    let expected = [
        ("baseUrl", "is missing"),
        ("baseURL", "is not a key of this version"),
        ("listen", "is beyond loopback, and nothing here says that a proxy with TLS stands in front"),
        ("masterKeys[0]", "holds what is not 32 bytes in base64 or hex"),
        ("masterKeys[1].keyFile", "is given beside key"),
        ("masterKeys[2]", "is not a string"),
        ("provider", "names a provider that this version does not have"),
        ("oidc.issuerUrl", "is http beyond loopback, where anybody could listen in"),
        ("oidc.clientId", "is missing"),
        ("oidc.clientID", "is not a key of this version"),
        ("oidc.clientSecret", "is missing"),
        ("resources[0].path", "is missing"),
        ("resources[0].upstream", "is neither an http nor an https URL"),
        ("resources[0].subtree", "is neither true nor false"),
        ("resources[1].upstream", "is missing"),
        ("resources[1].scopes[0]", "is not the name of a scope"),
        ("resources[1].scopes[1].name", "is missing"),
        ("sessionDuration", "is not a duration"),
        ("refreshGrace", "is out of bounds"),
        ("rateLimits.perAddress.tokenBurst", "is not a whole number within bounds"),
        ("clients", "is not a list"),
        ("logLevel", "is not a string"),
        ("encryptionKey", "is not a key of this version"),
    ];
    let expected: BTreeSet<_> = expected.into_iter().map(|(path, wrong)| (path.to_owned(), wrong.to_owned())).collect();
    assert_eq!(found, expected);

    let said = read(&json).unwrap_err().to_string();
    assert_eq!(said.lines().count(), expected.len());
    for line in [
        "baseURL: is not a key of this version; did you mean baseUrl? If not, remove it",
        "encryptionKey: is not a key of this version; did you mean masterKeys? If not, remove it",
        "refreshGrace: is out of bounds; write 0s to 10m",
        "provider: names a provider that this version does not have; write \"oidc\", \"dex\", \"google\", \"keycloak\", \"entra\", \"okta\" or \"auth0\"",
        "oidc.clientSecret: is missing; give one of clientSecret, clientSecretFile",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is not in\n{said}");
    }
}

#[test]
fn the_addresses_of_a_server_are_of_one_server() {
    let several = |list: Json| [("/resources/0/upstream", Json::Null), ("/resources/0/upstreams", list)];
    let many: Vec<String> = (0..17).map(|number| format!("http://10.0.0.{number}/mcp")).collect();
    let https = ("/resources/0/upstream", json!("https://mcp.internal"));
    judge(&[
        (&several(json!([])), "resources[0].upstreams", "is empty"),
        (&several(json!(many)), "resources[0].upstreams", "too many"),
        (&several(json!(["http://a/mcp", "http://b/other"])), "resources[0].upstreams", "not addresses of one server"),
        (&several(json!(["http://a/mcp", "https://b/mcp"])), "resources[0].upstreams", "not addresses of one server"),
        (&[("/resources/0/upstreams", json!(["http://a/mcp"]))], "resources[0].upstreams", "beside upstream"),
        (&[("/resources/0/upstreamCaFile", json!("/run/ca.pem"))], "resources[0].upstreamCaFile", "of no use"),
        (
            &[https.clone(), ("/resources/0/upstreamCertFile", json!("/run/ca.pem"))],
            "resources[0].upstreamKeyFile",
            "is missing",
        ),
        (
            &[
                https,
                ("/resources/0/upstreamCertFile", json!("/run/ca.pem")),
                ("/resources/0/upstreamKeyFile", json!("/run/ca.pem")),
            ],
            "resources[0].upstreamKeyFile",
            "without a PEM private key",
        ),
    ]);
    assert!(read(&change(rich(), &several(json!(["http://a/", "unix:/run/mcp.sock"])))).is_ok());
}

/// One row: what is changed in the rich configuration, and the one complaint that must come of it.
fn judge(rows: &[Refusal<'_>]) {
    for (changes, path, wrong) in rows {
        let found = complaints(&change(rich(), changes));
        assert!(
            matches!(&found[..], [(at, said)] if at == path && said.contains(wrong)),
            "{changes:?} should say {path}: {wrong}, and says {found:?}"
        );
    }
}

#[test]
fn t289_unsafe_combinations_do_not_load() {
    let public = |redirect: &str| json!({ "clientId": "p", "name": "P", "redirectUris": [redirect] });
    let loopback = json!(["https://app.example.com/cb", "http://localhost/cb"]);
    judge(&[
        (&[("/baseUrl", json!("http://mcp.example.com"))], "baseUrl", "http beyond loopback"),
        (&[("/listen", json!("0.0.0.0:8080"))], "listen", "beyond loopback"),
        (&[("/listen", json!("[::]:8080"))], "listen", "beyond loopback"),
        (&[("/listen", json!("192.0.2.1:8080"))], "listen", "beyond loopback"),
        (&[("/tls", tls()), ("/dangerPlainHttp", json!(true))], "dangerPlainHttp", "of no use beside tls"),
        (&[("/tls", tls()), ("/baseUrl", json!("http://localhost"))], "tls", "baseUrl is http"),
        (&[("/tls", tls()), ("/tls/certFile", json!("/run/private.pem"))], "tls.certFile", "a private key"),
        (&[("/tls", tls()), ("/tls/keyFile", json!("/run/ca.pem"))], "tls.keyFile", "without a PEM private key"),
        (&[("/tls", tls()), ("/tls/keyFile", Json::Null)], "tls.keyFile", "is missing"),
        (&[("/trustedProxyCIDRs", json!(["0.0.0.0/0"]))], "trustedProxyCIDRs[0]", "trusts so much"),
        (&[("/allowedOrigins", json!(["*"]))], "allowedOrigins[0]", "every web page"),
        (&[("/resources/0/allowedOrigins", json!(["null"]))], "resources[0].allowedOrigins[0]", "every web page"),
        (
            &[("/clients/0/redirectUris/0", json!("https://app.example.com/*"))],
            "clients[0].redirectUris[0]",
            "wildcard",
        ),
        (&[("/clients/0/clientSecret", json!("short"))], "clients[0].clientSecret", "short enough to guess"),
        (&[("/registrationToken", json!("short"))], "registrationToken", "short enough to guess"),
        (&[("/registrationToken", json!("a token with spaces"))], "registrationToken", "sent as a bearer token"),
        (&[("/registrationTokenFile", json!("/run/secret"))], "registrationTokenFile", "sent as a bearer token"),
        (
            &[("/trustedPublicRegistrationRedirectURIs", json!(["http://localhost/cb"]))],
            "trustedPublicRegistrationRedirectURIs[0]",
            "not an https URL",
        ),
        (
            &[("/trustedPublicRegistrationSchemes", json!(["javascript"]))],
            "trustedPublicRegistrationSchemes[0]",
            "no program can have",
        ),
        (&[("/resources/0/exchange", Json::Null)], "resources[0].exchange", "is missing"),
        (&[("/resources/0/identity", json!("assertion"))], "resources[0].exchange", "of no use in this form"),
        (
            &[("/resources/0/identity", json!("headers")), ("/resources/0/exchange", Json::Null)],
            "resources[0].assertion",
            "of no use in this form",
        ),
        (
            &[("/resources/0/exchange/tokenEndpoint", json!("http://dex.example.com/token"))],
            "resources[0].exchange.tokenEndpoint",
            "http beyond loopback",
        ),
        (
            &[("/resources/0/exchange/connectorId", json!("a b"))],
            "resources[0].exchange.connectorId",
            "not the identifier",
        ),
        (&[("/resources/0/assertion/audience", json!("a b"))], "resources[0].assertion.audience", "not an audience"),
        (
            &[("/trustedIssuers/0/issuer", json!("https://mcp.example.com"))],
            "trustedIssuers[0].issuer",
            "is the gate itself",
        ),
        (
            &[("/trustedIssuers/0/acceptedTypHeaders", json!([]))],
            "trustedIssuers[0].acceptedTypHeaders",
            "not a list of types",
        ),
        (
            &[("/trustedIssuers/0/allowedClaims", json!({ "sub": "a" }))],
            "trustedIssuers[0].allowedClaims.sub",
            "not a list of texts",
        ),
        (
            &[("/trustedIssuers/0/jwksUrl", json!("http://cluster.example.com/jwks"))],
            "trustedIssuers[0].jwksUrl",
            "http beyond loopback",
        ),
        (
            &[("/tokenExchangeBroker", json!({ "clientAudiences": { "unknown": ["tools"] } }))],
            "tokenExchangeBroker.clientAudiences.unknown",
            "not the identifier of one of clients",
        ),
        (
            &[
                ("/clients/1", public("https://p.example/cb")),
                ("/tokenExchangeBroker", json!({ "clientAudiences": { "p": ["tools"] } })),
            ],
            "tokenExchangeBroker.clientAudiences.p",
            "public client",
        ),
        (&[("/resources/0/forwardAuth", json!(true))], "resources[0].forwardAuth", "without trustedProxyCIDRs"),
        (&[("/resources/0/assertion/duration", json!("2h"))], "resources[0].assertion.duration", "out of bounds"),
        (&[("/trustedClients", json!(["unknown"]))], "trustedClients[0]", "not the identifier of one of clients"),
        (
            &[("/introspectionResourceServers", json!(["unknown"]))],
            "introspectionResourceServers[0]",
            "not the identifier of one of clients",
        ),
        (
            &[("/clients/1", public("https://p.example/cb")), ("/introspectionResourceServers", json!(["app", "p"]))],
            "introspectionResourceServers[1]",
            "public client",
        ),
        (
            &[("/clients/1", public("https://p.example/cb")), ("/trustedClients", json!(["app", "p"]))],
            "trustedClients[1]",
            "public client",
        ),
        (
            &[("/clients/0/redirectUris", loopback.clone()), ("/trustedClients", json!(["app"]))],
            "trustedClients[0]",
            "not https",
        ),
        (
            &[("/clients/0/redirectUris", json!(["cursor://x/cb"])), ("/trustedClients", json!(["app"]))],
            "trustedClients[0]",
            "not https",
        ),
        (
            &[("/clients/0/redirectUris", loopback), ("/allowLocalhostRedirectURIs", json!(false))],
            "clients[0].redirectUris[1]",
            "allowLocalhostRedirectURIs is false",
        ),
        (&[("/sessionMaxDuration", json!("8761h"))], "sessionMaxDuration", "out of bounds"),
        (&[("/accessTokenDuration", json!("25h"))], "accessTokenDuration", "out of bounds"),
        (&[("/accessTokenDuration", json!("4m"))], "accessTokenDuration", "out of bounds"),
        (&[("/sessionDuration", json!("2161h"))], "sessionDuration", "longer than sessionMaxDuration"),
        (&[("/sessionDuration", json!("10m"))], "accessTokenDuration", "longer than sessionDuration"),
        (
            &[("/resources/0/upstream", json!("http://127.0.0.1:9464/metrics"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (&[("/resources/0/upstream", json!("http://localhost:8080/mcp"))], "resources[0].upstream", "the gate itself"),
        (
            &[("/resources/0/upstream", json!("http://[::ffff:7f00:1]:9464/"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (
            &[("/adminListen", json!("0.0.0.0:9464")), ("/resources/0/upstream", json!("http://127.0.0.1:9464"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (&[("/oidc/issuerUrl", json!("https://mcp.example.com"))], "oidc.issuerUrl", "the gate itself"),
        (&[("/caFiles", json!(["/run/private.pem"]))], "caFiles[0]", "a private key"),
    ]);
}

#[test]
fn t289_what_is_said_out_loud_does_load() {
    for changes in [
        &[("/listen", json!("0.0.0.0:8080")), ("/dangerPlainHttp", json!(true))],
        &[("/listen", json!("0.0.0.0:8080")), ("/tls", tls())],
        &[("/listen", json!("0.0.0.0:8080")), ("/trustedProxyCIDRs", json!(["10.0.0.0/8"]))],
        &[("/baseUrl", json!("http://localhost:8080")), ("/listen", json!("[::1]:8080"))],
        &[("/trustedClients", json!(["app"])), ("/clients/0/tokenEndpointAuthMethod", json!("client_secret_basic"))],
    ] {
        assert!(read(&change(rich(), changes)).is_ok(), "{changes:?}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let numbered = |count: u8| (0..count).map(|number| json!(format!("/p{number}"))).collect::<Vec<_>>();
    let many = numbered(65).into_iter().map(|path| json!({ "path": path, "upstream": "http://u" })).collect::<Vec<_>>();
    judge(&[
        (&[("/adminListen", json!("127.0.0.1:8080"))], "adminListen", "where the public listener listens"),
        (&[("/adminListen", json!("0.0.0.0:8080"))], "adminListen", "where the public listener listens"),
        (
            &[("/resources/1", json!({ "paths": ["/x", "/mcp"], "upstream": "http://u" }))],
            "resources[1]",
            "an earlier resource",
        ),
        (
            &[("/resources/0/path", Json::Null), ("/resources/0/paths", json!(["/x", "/x"]))],
            "resources[0].paths",
            "same path twice",
        ),
        (&[("/resources/0/path", Json::Null), ("/resources/0/paths", json!([]))], "resources[0].paths", "is empty"),
        (&[("/resources/0/paths", json!(["/x"]))], "resources[0].paths", "given beside path"),
        (&[("/resources", json!([]))], "resources", "missing or empty"),
        (&[("/resources/0/scopes", json!(["a", "a"]))], "resources[0].scopes", "same scope twice"),
        (
            &[("/resources/0/scopes", json!(["a".repeat(200), "b".repeat(56)]))],
            "resources[0].scopes",
            "granted together",
        ),
        (&[("/clients/0/redirectUris", json!([]))], "clients[0].redirectUris", "missing or empty"),
        (
            &[("/clients/0/tokenEndpointAuthMethod", json!("none"))],
            "clients[0].tokenEndpointAuthMethod",
            "none beside a secret",
        ),
        (
            &[
                ("/clients/0/clientSecret", Json::Null),
                ("/clients/0/tokenEndpointAuthMethod", json!("client_secret_post")),
            ],
            "clients[0].tokenEndpointAuthMethod",
            "wants a secret",
        ),
        (&[("/clients/0/jwks", jwks())], "clients[0].clientSecret", "beside keys"),
        (
            &[("/clients/0/tokenEndpointAuthMethod", json!("private_key_jwt"))],
            "clients[0].tokenEndpointAuthMethod",
            "wants keys",
        ),
        (
            &[
                ("/clients/0/clientSecret", Json::Null),
                ("/clients/0/jwks", json!({ "keys": [{ "kty": "oct", "k": "AA" }] })),
            ],
            "clients[0].jwks",
            "private or symmetric",
        ),
        (
            &[("/clients/0/clientSecret", Json::Null), ("/clients/0/jwks", json!({ "keys": [] }))],
            "clients[0].jwks",
            "holds no key",
        ),
        (
            &[("/clients/1", json!({ "clientId": "app", "name": "B", "redirectUris": ["https://b.example/cb"] }))],
            "clients[1].clientId",
            "an earlier client",
        ),
        (&[("/oidc/scopes", json!(["profile"]))], "oidc.scopes", "lacks openid"),
        (&at("dex", "scopes", json!(["profile"])), "dex.scopes", "lacks openid"),
        (&at("google", "scopes", json!(["profile"])), "google.scopes", "lacks openid"),
        (&at("dex", "connectorId", json!("a b")), "dex.connectorId", "is not the identifier of a connector"),
        (&at("dex", "crossClientAudiences", json!(vec!["a"; 51])), "dex.crossClientAudiences", "too many"),
        (&at("google", "hostedDomain", json!("@example.com")), "google.hostedDomain", "is not a domain"),
        (&at("dex", "issuerUrl", json!("https://mcp.example.com")), "dex.issuerUrl", "is the gate itself"),
        (&[("/provider", json!("dex")), ("/oidc", Json::Null)], "dex", "is missing"),
        (&[("/google", json!({ "clientId": "a", "clientSecret": "b" }))], "google", "is of no use with this provider"),
        (&[("/oidc/groupsClaim", json!("a b"))], "oidc.groupsClaim", "is not the name of a claim"),
        (
            &[("/allowedPeople", json!({ "emailDomains": ["*.example.com"] }))],
            "allowedPeople.emailDomains[0]",
            "is not a domain",
        ),
        (
            &[("/allowedPeople", json!({ "emails": ["a@b@c.example"] }))],
            "allowedPeople.emails[0]",
            "is not an e-mail address",
        ),
        (
            &[("/allowedPeople", json!({ "groups": ["g".repeat(257)] }))],
            "allowedPeople.groups[0]",
            "is not the name of a group",
        ),
        (&[("/allowedPeople", json!({ "subjects": ["\u{e9}"] }))], "allowedPeople.subjects[0]", "is not a subject"),
        (&[("/clients/0/clientId", json!("dcr_app"))], "clients[0].clientId", "registration hands out"),
        (
            &[("/baseUrl", json!("https://mcp.example.com/gate")), ("/resources/0/path", json!("/gate/oauth/token"))],
            "resources[0]",
            "answers itself",
        ),
        (&[("/resources/0/path", json!("/register"))], "resources[0].path", "answers itself"),
        (
            &[("/resources/0/path", Json::Null), ("/resources/0/paths", numbered(33).into())],
            "resources[0].paths",
            "too many",
        ),
        (&[("/resources", many.into())], "resources", "too many"),
        (&[("/oidc", Json::Null)], "oidc", "is missing"),
        (&[("/oidc/clientSecretFile", json!("/run/secret"))], "oidc.clientSecretFile", "given beside clientSecret"),
        (&[("/storage", json!({ "type": "redis" }))], "storage.type", "names a storage"),
        (&[("/valkey", json!({}))], "valkey", "not a key"),
    ]);
}

#[test]
fn master_keys_are_32_bytes_of_chance() {
    let low = "0".repeat(64);
    let fifteen = "000102030405060708090a0b0c0d0e0e".repeat(2);
    let sixteen = "000102030405060708090a0b0c0d0e0f".repeat(2);
    let nothing = ("/masterKeys", Json::Null);
    judge(&[
        (&[("/masterKeys", json!([low]))], "masterKeys[0]", "chance did not make"),
        (&[("/masterKeys", json!([fifteen]))], "masterKeys[0]", "chance did not make"),
        (&[("/masterKeys", json!(["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="]))], "masterKeys[0]", "not 32 bytes"),
        (&[("/masterKeys", json!(["g".repeat(64)]))], "masterKeys[0]", "not 32 bytes"),
        (&[("/masterKeys", json!(["A".repeat(2000)]))], "masterKeys[0]", "not 32 bytes"),
        (&[("/masterKeys", json!([]))], "masterKeys", "holds no key"),
        (&[("/masterKeys", json!([KEY, KEY]))], "masterKeys", "same key twice"),
        (&[("/masterKeys", json!([{ "key": KEY, "clientIdsOnly": true }]))], "masterKeys", "no key that may seal"),
        (
            &[("/masterKeys", json!([{ "key": KEY, "sealsFrom": "2026-01-01T00:00:00Z" }]))],
            "masterKeys",
            "no key that may seal",
        ),
        (
            &[("/masterKeys/1/clientIdsOnly", json!(true)), ("/masterKeys/1/sealsFrom", json!("2026-01-01T00:00:00Z"))],
            "masterKeys[1].sealsFrom",
            "never seals",
        ),
        (std::slice::from_ref(&nothing), "masterKeys", "is missing"),
        (
            &[nothing.clone(), ("/dangerRandomMasterKey", json!(false))],
            "dangerRandomMasterKey",
            "no master key is given",
        ),
        (&[("/masterKeyFile", json!("/run/keys"))], "masterKeyFile", "given beside masterKeys"),
        (&[("/dangerRandomMasterKey", json!(true))], "dangerRandomMasterKey", "given beside masterKeys"),
        (&[nothing.clone(), ("/masterKeyFile", json!("/run/no-key"))], "masterKeyFile", "holds no key"),
        (&[nothing.clone(), ("/masterKeyFile", json!("/run/garbage"))], "masterKeyFile", "not 32 bytes"),
        (&[nothing.clone(), ("/masterKeyFile", json!("/run/forbidden"))], "masterKeyFile", "may not read"),
    ]);
    for (changes, expected) in [
        (vec![("/masterKeys", json!([sixteen]))], "00 None false"),
        (vec![("/masterKeys", json!([KEY.trim_end_matches('=')]))], "00 None false"),
        (vec![("/masterKeys", json!(["-_ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"]))], "fb None false"),
        (vec![nothing.clone(), ("/masterKeyFile", json!("/run/keys"))], "00 None false, 20 None false"),
        (vec![nothing, ("/masterKeyFile", json!("/run/to-be-made"))], "create /run/to-be-made"),
    ] {
        assert_eq!(master_keys(&read(&change(rich(), &changes)).unwrap()), expected, "{changes:?}");
    }
}

#[test]
fn variables_and_files_stand_for_whole_values() {
    assert_eq!(read(&change(rich(), &[("/listen", json!("${LISTEN}"))])).unwrap().listen.port(), 7070);
    let from_file =
        change(rich(), &[("/oidc/clientSecret", Json::Null), ("/oidc/clientSecretFile", json!("/run/absent"))]);
    assert_eq!(complaints(&from_file), [("oidc.clientSecretFile".into(), "names a file that does not exist".into())]);
    judge(&[
        (&[("/listen", json!("${MISSING}"))], "listen", "environment variable MISSING, which is not set"),
        (&[("/listen", json!("127.0.0.1:${PORT}"))], "listen", "mixes an environment variable"),
        (&[("/listen", json!("${}"))], "listen", "mixes an environment variable"),
        (&[("/listen", json!("${1A}"))], "listen", "mixes an environment variable"),
        (&[("/listen", json!("${LISTEN} "))], "listen", "mixes an environment variable"),
        (&[("/oidc/clientId", json!("${EMPTY}"))], "oidc.clientId", "is empty"),
        (&[("/oidc/clientId", json!("${BREAK}"))], "oidc.clientId", "control character"),
        (&[("/oidc/clientId", json!(" gate"))], "oidc.clientId", "space"),
        (&[("/oidc/clientSecret", json!(""))], "oidc.clientSecret", "is empty"),
        (&[("/oidc/clientSecret", json!("hüsch"))], "oidc.clientSecret", "plain ASCII"),
        (&[("/oidc/clientSecret", json!("x".repeat(513)))], "oidc.clientSecret", "too long"),
        (&[("/oidc/caFile", json!("/run/secret"))], "oidc.caFile", "without a PEM certificate"),
        (&[("/registrationTokenFile", json!("/run/two-lines"))], "registrationTokenFile", "line breaks"),
        (&[("/registrationTokenFile", json!("/run/no-key"))], "registrationTokenFile", "holds nothing"),
    ]);
}

#[test]
fn f27_no_complaint_and_no_debug_says_a_value() {
    let canary = "canary";
    // Every key of the schema in turn holds the canary, alone and with what makes it wrong in other ways.
    for value in [json!("canary"), json!(["canary", "https://canary.example/#canary"]), json!({ "canary-key": "x" })] {
        for (key, _) in schema_keys() {
            let pointer = format!("/{}", key.replace("[]", "/0").replace('.', "/"));
            if pointer.starts_with("/resources/0/scopes/0/") && !value.is_string() {
                continue;
            }
            let mut changes = match pointer.as_str() {
                deep if deep.starts_with("/dex/") => at("dex", "clientId", json!("gate")),
                deep if deep.starts_with("/google/") => at("google", "clientId", json!("gate")),
                deep if deep.starts_with("/storage/valkey/sentinel/") => under_sentinels(json!({})),
                deep if deep.starts_with("/storage/valkey/") => on_servers(json!({})),
                _ => Vec::new(),
            };
            let broker = json!({ "clientAudiences": { "app": ["tools"] } });
            changes.extend([("/tls", tls()), ("/tokenExchangeBroker", broker), (pointer.as_str(), value.clone())]);
            let Err(complaints) = read(&change(rich(), &changes)) else { continue };
            for complaint in complaints.0 {
                let unknown_key = complaint.path.ends_with("canary-key");
                assert!(unknown_key || !complaint.to_string().contains(canary), "{key}: {complaint}");
            }
        }
    }
    for file in ["/run/garbage", "/run/two-lines", "/run/private.pem"] {
        for pointer in ["/registrationTokenFile", "/masterKeys/0", "/caFiles", "/masterKeyFile"] {
            let value = match pointer {
                "/masterKeys/0" => json!({ "keyFile": file }),
                "/caFiles" => json!([file]),
                _ => json!(file),
            };
            if let Err(complaints) = read(&change(rich(), &[(pointer, value)])) {
                assert!(!complaints.to_string().contains(canary), "{complaints}");
            }
        }
    }
    let secrets = [("/oidc/clientSecret", json!("canary")), ("/registrationToken", json!("canary-canary-canary"))];
    let config = read(&change(rich(), &secrets)).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(
        !shown.contains(canary) && !shown.contains("sixteen-letters-") && shown.contains("https://mcp.example.com")
    );
}

#[test]
fn unknown_keys_are_shown_short_and_harmless() {
    let key = format!("a\u{1b}[2J{}", "x".repeat(1000));
    let json = change(rich(), &[(&format!("/{key}"), json!(1))]);
    let [(path, wrong)] = complaints(&json).try_into().unwrap();
    assert_eq!(wrong, "is not a key of this version");
    assert!(path.len() < 60 && path.chars().all(|shown| !shown.is_control()), "{path}");
}

#[test]
fn a_file_that_is_no_configuration_says_so() {
    for (text, path, wrong) in [
        ("[]", "", "is not an object"),
        ("", "", "is not JSON"),
        ("{\"listen\": 1, \"listen\": 2}", "listen", "is there twice"),
    ] {
        let complaints = Config::read(text, &Around::new()).unwrap_err().0;
        assert!(
            matches!(&complaints[..], [one] if one.path == path && one.wrong.contains(wrong)),
            "{text}: {complaints:?}"
        );
    }
    let absent = Config::load(&PathBuf::from("/run/absent"), &Around::new()).unwrap_err().to_string();
    assert_eq!(absent, "the configuration: names a file that does not exist; give --config the path of a JSON file\n");
}

#[test]
fn the_schema_is_for_editors() {
    let schema: Json = serde_json::from_str(&super::schema()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["required"], json!(["baseUrl", "provider", "resources"]));
    assert_eq!(schema["properties"]["sessionDuration"]["default"], json!("720h"));
    assert_eq!(schema["properties"]["oidc"]["required"], json!(["issuerUrl", "clientId"]));
    for (key, schema) in schema_keys() {
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.') || description.ends_with(':'), "{key} is described as {description:?}");
    }
}

#[test]
fn the_manual_lists_every_key_with_its_default() {
    let manual = include_str!("../../docs/configuration.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let told: BTreeMap<_, _> = rows
        .map(|(key, rest)| {
            let default = rest.split(" | ").next().unwrap_or_default();
            (key.to_owned(), default.trim_matches('`').to_owned())
        })
        .collect();
    let keys: BTreeMap<_, _> = schema_keys().into_iter().collect();
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(told.keys().collect()), names(keys.keys().collect()), "left: the manual, right: the schema");
    for (key, schema) in keys {
        match schema.get("default") {
            Some(default) => assert_eq!(told[&key], default.to_string(), "{key}"),
            None => assert!(
                ["required", "required, or the file", "–", "one of two", "one of three"].contains(&told[&key].as_str()),
                "{key} has no default, and the manual says {}",
                told[&key]
            ),
        }
    }
    let example = manual.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut around = Around::new();
    around.variables.insert("PORTCULLIS_KEY", KEY);
    around.files.insert("/etc/portcullis/oidc-client-secret", Ok("hush\n"));
    assert!(Config::read(example, &around).is_ok());
}
