//! Real clients against the two servers of the demonstration, without the gate between: they need what `tests/run` installs.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test that panics fails, which is what it is for"
)]

use portcullis::demo::Demo;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn real_clients_take_the_demonstration_for_real() {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts");
    let Some(node) = node(&parts) else {
        println!("skipped: the parts are not installed; tests/run installs them");
        return;
    };
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let demo = Demo::start(listen).unwrap();
    let configuration = demo.configuration(None);
    let configuration: serde_json::Value = serde_json::from_str(configuration.expose()).unwrap();
    let oidc =
        |name: &str| configuration.get("oidc").and_then(|oidc| oidc.get(name)).unwrap().as_str().unwrap().to_owned();
    let (upstream, redirect) = (demo.upstream(), format!("{}/oauth/callback", demo.base_url()));
    let run = |script: &str, arguments: &[&str]| {
        let told =
            Command::new(&node).arg(script).args(arguments).current_dir(&parts).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.status.success(), "{script}:\n{said}{}", String::from_utf8_lossy(&told.stderr));
        println!("{script}\n{said}");
    };
    run("clients/tools.mjs", &["--mcp", &upstream]);
    let (issuer, id, secret) = (oidc("issuerUrl"), oidc("clientId"), oidc("clientSecret"));
    let party = ["--issuer", &issuer, "--client-id", &id, "--client-secret", &secret, "--redirect", &redirect];
    run("clients/relying-party.mjs", &party);
    demo.stop();
}

/// The Node that the parts bring along.
fn node(parts: &Path) -> Option<PathBuf> {
    let modules = std::fs::read_dir(parts.join("node_modules")).ok()?;
    let found = modules.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("node-linux-"))?;
    Some(found.path().join("bin/node")).filter(|node| node.exists())
}
