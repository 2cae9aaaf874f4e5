//! Aim: every key reaches the configuration, every unsafe combination is refused, and nothing secret is ever said.
//! Method: one full configuration, and tables of what is changed in it and what must come of it.

mod arrivals;
mod refusals;
mod said;
mod written;

use super::storage::{ServerName, ServerUser};
use super::*;
use said::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use written::*;

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
        "provider": "gitlab",
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
        "provider: names a provider that this version does not have; write \"oidc\", \"dex\", \"google\", \"github\", \"keycloak\", \"entra\", \"okta\" or \"auth0\"",
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

#[test]
fn seed_bug_46_master_keys_are_32_bytes_of_chance() {
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
                deep if deep.starts_with("/github/") => at("github", "clientId", json!("gate")),
                deep if deep.starts_with("/storage/valkey/sentinel/") => under_sentinels(json!({})),
                deep if deep.starts_with("/storage/valkey/") => on_servers(json!({})),
                _ => Vec::new(),
            };
            let broker = json!({ "clientAudiences": { "app": ["tools"] } });
            changes.extend([
                ("/tls", tls()),
                ("/adminTls", tls()),
                ("/webhook", webhook()),
                ("/tokenExchangeBroker", broker),
                (pointer.as_str(), value.clone()),
            ]);
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
