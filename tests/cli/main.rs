//! The real binary as a process: what it prints, what it ends with, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test that panics fails, which is what it is for"
)]

#[cfg(feature = "demo")]
mod demo;
mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{
    CLIENT_SECRET, Ended, Folder, MASTER_KEY, PATIENCE, Process, Request, config, ended, free_address, portcullis,
    provider,
};

// ---- Commands that need nothing but themselves.

#[test]
fn what_is_not_understood_ends_with_64_and_a_hint() {
    for (line, hint) in [
        ("", "a command is missing"),
        ("serv --config x", "did you mean serve?"),
        ("serve", "this command needs --config"),
        ("serve --confg x", "did you mean --config?"),
        ("keygen now", "there is a word too many"),
    ] {
        let Ended { status, out, err } = ended(line.split_whitespace());
        assert_eq!((status, out.as_str()), (Some(64), ""), "{line}");
        assert!(err.starts_with("portcullis: ") && err.contains(hint) && err.contains("--help"), "{line}: {err}");
        assert_eq!(err.lines().count(), 1, "{line}: {err}");
    }
}

#[test]
fn help_version_keygen_and_schema_answer_on_stdout() {
    let said = |line: &str| {
        let Ended { status, out, err } = ended(line.split_whitespace());
        assert_eq!((status, err.as_str()), (Some(0), ""), "{line}");
        out
    };
    let help = said("--help");
    for word in ["serve --config FILE", "check --config FILE", "health --url URL", "keygen", "schema", "--version"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert_eq!(said("--version"), format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
    let (key, other) = (said("keygen"), said("keygen"));
    assert!(key.len() == 45 && key != other, "two keys of 32 bytes");
    let schema: Value = serde_json::from_str(&said("schema")).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["baseUrl"].is_object());
}

// ---- Configurations that are wrong.

#[test]
fn p11_every_complaint_comes_at_once_and_none_shows_a_secret() {
    let folder = Folder::new();
    let bad = json!({
        "baseUrl": "http://gate.example.com",
        "masterKeys": [format!("{MASTER_KEY}{MASTER_KEY}")],
        "provider": "oidc",
        "oidc": { "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": CLIENT_SECRET, "scopes": ["email"] },
        "registrationToken": "short-secret",
        "resources": [{ "path": "mcp", "upstream": "ftp://mcp.example.com/mcp" }],
        "accessTokenDuration": "a while",
        "lsiten": "127.0.0.1:8080",
    });
    let path = folder.config(&bad);
    for command in ["serve", "check"] {
        let Ended { status, out, err } = ended([command, "--config", path.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (Some(78), ""), "{command}: {err}");
        for place in [
            "baseUrl: ",
            "masterKeys[0]: ",
            "oidc.scopes: ",
            "registrationToken: ",
            "resources[0].path: ",
            "resources[0].upstream: ",
            "accessTokenDuration: ",
            "lsiten: ",
        ] {
            let line = err.lines().find_map(|line| line.strip_prefix("portcullis: ")?.strip_prefix(place));
            // What is wrong, and what to do instead.
            assert!(line.is_some_and(|line| line.contains("; ")), "{command}: {place}\n{err}");
        }
        for secret in [MASTER_KEY, CLIENT_SECRET, "short-secret"] {
            assert!(!err.contains(secret), "{command}: {err}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_complaint_too() {
    let folder = Folder::new();
    for (name, text) in
        [("absent", None), ("empty", Some("")), ("broken", Some("{\"baseUrl\": ")), ("list", Some("[]"))]
    {
        let path = text.map_or_else(|| folder.at(name), |text| folder.put(name, text));
        let Ended { status, out, err } = ended(["serve", "--config", path.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (Some(78), ""), "{name}");
        assert!(err.starts_with("portcullis: ") && err.contains("; "), "{name}: {err}");
    }
}

// ---- Check and health.

/// What `check` says of a configuration.
fn check(change: impl FnOnce(&mut Value)) -> Ended {
    let (folder, upstream) = (Folder::new(), provider());
    let mut config = config(free_address(), free_address(), provider(), upstream);
    change(&mut config);
    let path = folder.config(&config);
    ended(["check", "--config", path.to_str().unwrap()])
}

#[test]
fn check_reaches_everything_and_says_so() {
    let Ended { status, out, err } = check(|_| ());
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let oks: Vec<_> = out.lines().map(|line| line.strip_prefix("ok: ").unwrap()).collect();
    for word in ["the configuration", "listen: ", "adminListen: ", "oidc.issuerUrl: ", "upstream: "] {
        assert!(oks.iter().any(|line| line.starts_with(word)), "{word}\n{out}");
    }
}

#[test]
fn check_says_of_each_part_what_is_wrong_and_what_to_do() {
    let taken = provider();
    let down = || json!(format!("http://{}", free_address()));
    let elsewhere = provider();
    type Change<'c> = Box<dyn FnOnce(&mut Value) + 'c>;
    let cases: [(&str, Change<'_>, &str, &str); 7] = [
        (
            "provider down",
            Box::new(|config| config["oidc"]["issuerUrl"] = down()),
            "oidc.issuerUrl: nothing takes a connection there; ",
            "look at the address",
        ),
        (
            "provider of another kind down",
            Box::new(|config| {
                let block = json!({ "issuerUrl": down(), "clientId": "gate", "clientSecret": "a secret" });
                (config["provider"], config["dex"]) = (json!("dex"), block);
                config.as_object_mut().unwrap().remove("oidc");
            }),
            "dex.issuerUrl: nothing takes a connection there; ",
            "look at the address",
        ),
        (
            "another issuer answers",
            // The document there names the address that it was asked for, and this name is not it.
            Box::new(|config| {
                config["oidc"]["issuerUrl"] = json!(format!("http://localhost:{}", elsewhere.port()));
            }),
            "oidc.issuerUrl: its discovery document names another issuer",
            "look at the address",
        ),
        (
            "upstream down",
            Box::new(|config| config["resources"][0]["upstream"] = down()),
            "upstream: ",
            "start the MCP server",
        ),
        (
            "public address taken",
            Box::new(|config| config["listen"] = json!(taken.to_string())),
            "listen: ",
            "choose another",
        ),
        (
            "admin address taken",
            Box::new(|config| config["adminListen"] = json!(taken.to_string())),
            "adminListen: ",
            "choose another",
        ),
        (
            "no folder for the key",
            Box::new(|config| {
                config["masterKeys"].take();
                let config = config.as_object_mut().unwrap();
                config.remove("masterKeys");
                config.insert("masterKeyFile".into(), json!("/there/is/no/such/folder/key"));
            }),
            "masterKeyFile: ",
            "folder",
        ),
    ];
    for (name, change, place, advice) in cases {
        let Ended { status, out, err } = check(change);
        assert_eq!(status, Some(69), "{name}: {out}{err}");
        let lines: Vec<_> = err.lines().collect();
        let [line] = lines.as_slice() else { panic!("{name}: expected one complaint:\n{err}") };
        let words = line.strip_prefix("portcullis: ").and_then(|line| line.strip_prefix(place));
        assert!(words.is_some_and(|words| words.contains(advice)), "{name}: {err}");
        // Whatever else there is, is still looked at.
        assert!(out.lines().count() >= 4, "{name}: {out}");
    }
}

#[test]
fn check_leaves_nothing_behind() {
    let folder = Folder::new();
    let key = folder.at("master.key");
    let Ended { status, out, err } = check(|config| {
        config.as_object_mut().unwrap().remove("masterKeys");
        config["masterKeyFile"] = json!(key);
    });
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    // Who checks is often another user than the one that serves, who could then not read the file.
    assert!(!key.exists(), "{out}");
}

#[test]
fn health_tells_ok_from_degraded_from_down() {
    let health = |at: SocketAddr| {
        let url = format!("http://{at}/health");
        ended(["health", "--url", &url])
    };
    let (folder, at) = (Folder::new(), free_address());
    let mut gate = Process::serve(&folder.config(&config(at, free_address(), provider(), free_address())));
    gate.until_healthy(at);
    let Ended { status, out, err } = health(at);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "{\"status\":\"ok\"}\n", ""));
    gate.signal("TERM");
    assert_eq!(gate.wait().status, Some(0));

    let Ended { status, out, err } = health(at);
    assert_eq!((status, out.as_str()), (Some(69), ""));
    assert!(err.starts_with("portcullis: nothing takes a connection there; look at --url"), "{err}");

    // A gate whose provider is not there yet serves live sessions: whoever restarted it for that would end them.
    let at = free_address();
    let mut gate = Process::serve(&folder.config(&config(at, free_address(), free_address(), free_address())));
    gate.until("listening", |gate| gate.err().contains("listening"));
    let Ended { status, out, .. } = health(at);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, said["status"].as_str()), (Some(0), Some("degraded")));
}

// ---- A gate that runs.

#[test]
fn an_address_that_is_taken_ends_it_with_69() {
    let (folder, taken) = (Folder::new(), provider());
    let path = folder.config(&config(taken, free_address(), provider(), free_address()));
    let Ended { status, err, .. } = ended(["serve", "--config", path.to_str().unwrap()]);
    assert_eq!(status, Some(69), "{err}");
    let said = format!("portcullis: cannot listen on {taken}: ");
    assert!(err.contains(&said) && err.contains("choose another address"), "{err}");
}

#[test]
fn the_log_is_one_json_object_a_line() {
    let (folder, at) = (Folder::new(), free_address());
    let mut gate = Process::serve(&folder.config(&config(at, free_address(), provider(), free_address())));
    gate.until_healthy(at);
    let registered = register(at);
    assert!(registered.starts_with("dcr_"), "{registered}");
    gate.signal("TERM");
    let Ended { status, out, err } = gate.wait();
    assert_eq!((status, out.as_str()), (Some(0), ""));
    let lines: Vec<Value> = err.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    let events: Vec<_> = lines.iter().filter(|line| line["target"] == "audit").collect();
    assert!(events.iter().any(|event| event["event"].is_string() && event["client"].is_string()), "{err}");
    assert!(lines.iter().any(|line| line["message"] == "listening" && line["public"] == at.to_string()), "{err}");
    assert!(!err.contains(&registered) && !err.contains(CLIENT_SECRET), "{err}");
}

#[test]
fn p13_a_master_key_file_is_made_for_its_owner_alone_and_keeps_clients_known() {
    let (folder, at) = (Folder::new(), free_address());
    let mut config = config(at, free_address(), provider(), free_address());
    config.as_object_mut().unwrap().remove("masterKeys");
    let key = folder.at("master.key");
    config["masterKeyFile"] = json!(key);
    let path = folder.config(&config);
    let begin = || {
        let mut gate = Process::serve(&path);
        gate.until_healthy(at);
        gate
    };
    let end = |gate: Process| {
        gate.signal("TERM");
        let Ended { status, err, .. } = gate.wait();
        assert_eq!(status, Some(0), "{err}");
    };

    let gate = begin();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let made = std::fs::read_to_string(&key).unwrap();
    assert_eq!(made.len(), 45);
    let client = register(at);
    assert!(is_known(at, &client));
    end(gate);

    let gate = begin();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), made, "the key is used, not made again");
    assert!(is_known(at, &client));
    end(gate);

    // The counterpart: under another key the same identifier is a stranger's.
    std::fs::remove_file(&key).unwrap();
    let gate = begin();
    assert_ne!(std::fs::read_to_string(&key).unwrap(), made);
    assert!(!is_known(at, &client));
    end(gate);
}

#[test]
fn a_master_key_file_with_anything_else_in_it_is_refused_and_left_alone() {
    let folder = Folder::new();
    for (name, text, instead) in [
        ("empty", String::new(), "keygen"),
        ("words", "correct horse battery staple, again and again".to_owned(), "keygen"),
        ("short", MASTER_KEY.chars().take(40).collect(), "keygen"),
        ("zeros", "00".repeat(32), "keygen"),
        ("twice", format!("{MASTER_KEY}\n{MASTER_KEY}\n"), "remove one of them"),
        ("one bad line", format!("{MASTER_KEY}\nnot a key\n"), "keygen"),
    ] {
        let file = folder.put(name, &text);
        let mut config = config(free_address(), free_address(), free_address(), free_address());
        config.as_object_mut().unwrap().remove("masterKeys");
        config["masterKeyFile"] = json!(file);
        let path = folder.config(&config);
        let Ended { status, out, err } = ended(["serve", "--config", path.to_str().unwrap()]);
        assert_eq!((status, out.as_str()), (Some(78), ""), "{name}: {err}");
        assert!(err.starts_with("portcullis: masterKeyFile: ") && err.contains(instead), "{name}: {err}");
        assert!(!err.contains(MASTER_KEY) && !err.contains("horse"), "{name}: {err}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "{name}");
    }
}

const REDIRECT: &str = "http://127.0.0.1:9/callback";

/// Registers a client; gives its identifier.
fn register(at: SocketAddr) -> String {
    let metadata = json!({
        "client_name": "A client of long ago",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    });
    let got = Request::post("/oauth/register", "application/json", &metadata.to_string()).send(at);
    assert_eq!(got.status, 201, "{}", got.body);
    got.json()["client_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_process() {
    let (folder, at) = (Folder::new(), free_address());
    let config = folder.config(&config(at, free_address(), provider(), free_address()));
    let (unread, mut log) = std::io::pipe().unwrap();
    // As much as a pipe holds: the first line of the log has to wait, and waits for ever.
    log.write_all(&[b'x'; 1 << 16]).unwrap();
    let mut command = portcullis(["serve", "--config", config.to_str().unwrap()]);
    command.stderr(log);
    let mut child = command.spawn().unwrap();
    until(|| TcpStream::connect(at).is_ok());
    assert_eq!(Request::get("/health").send(at).status, 200);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    until(|| child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(unread);
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the consent page comes up for this client; otherwise it must be the page that knows no such client.
fn is_known(at: SocketAddr, client: &str) -> bool {
    let got = Request::get(&authorize_target(client)).send(at);
    assert!(got.field("content-type").unwrap().starts_with("text/html"), "{}", got.head);
    match got.status {
        200 => {
            assert!(
                got.body.contains("A client of long ago") && got.body.contains("value=\"approve\""),
                "{}",
                got.body
            );
            true
        }
        400 => {
            assert!(!got.body.contains("value=\"approve\"") && got.field("location").is_none(), "{}", got.body);
            false
        }
        other => panic!("{other} {}", got.body),
    }
}

/// The verifier of the challenge in [`authorize_target`].
#[cfg(feature = "demo")]
const VERIFIER: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";

fn authorize_target(client: &str) -> String {
    let query = portcullis_domain::wire::form::encode([
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("state", "the state"),
        ("code_challenge", "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"),
        ("code_challenge_method", "S256"),
    ]);
    format!("/oauth/authorize?{query}")
}
