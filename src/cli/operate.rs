//! The commands that run a gate, or ask after one.

use super::reload::Reading;
use super::{Exit, Terminal};
use crate::config::{AdminListen, Config, MasterKeys, Process};
#[cfg(feature = "demo")]
use crate::demo::{self, Demo};
use crate::running::attend;
use crate::telemetry::Telemetry;
use crate::wiring::{Wired, wire};
use crate::{NotStarted, Running};
use portcullis_adapters::fetch::{Caps, Fetch, FetchConfig, Request};
use portcullis_adapters::http::Bound;
use portcullis_adapters::oidc::named_host;
use portcullis_domain::limits::{CHECK_DEADLINE, CONFIGURATION_POLL, PROVIDER_ANSWER_MAX};
use portcullis_ports::World;
use std::future::Future;
use std::io::ErrorKind;
#[cfg(feature = "demo")]
use std::net::SocketAddr;
#[cfg(feature = "demo")]
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
#[cfg(feature = "demo")]
use std::path::PathBuf;

/// Runs the gate until SIGTERM or SIGINT.
pub(super) fn serve(path: &Path, terminal: &mut Terminal<'_>) -> Exit {
    let (mut reading, config) = match Reading::first(path) {
        Ok(read) => read,
        Err(complaints) => return terminal.complain(&complaints),
    };
    let attending = |running: &Running| attend(CONFIGURATION_POLL, |asked| reading.again(running, asked));
    run(config, terminal, |_| String::new(), attending)
}

/// Runs a gate with a demonstration identity provider and MCP server.
#[cfg(feature = "demo")]
pub(super) fn demo(listen: SocketAddr, terminal: &mut Terminal<'_>) -> Exit {
    let demo = match Demo::start(listen) {
        Ok(demo) => demo,
        Err(error) => return terminal.fail(error, Exit::System),
    };
    let key = demo_key_file();
    let exit = match Config::read(demo.configuration(key.as_deref()).expose(), &Process) {
        Ok(config) => run(config, terminal, |_| demo.greeting(), |_| crate::wait_for_signal()),
        Err(complaints) => terminal.complain(&complaints),
    };
    demo.stop();
    exit
}

/// The file of the demonstration's master key, in a folder that only this user can look into. Where there can be none, the key is
/// drawn anew at every start.
#[cfg(feature = "demo")]
fn demo_key_file() -> Option<PathBuf> {
    let file = demo::master_key_file(&Process)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(file.parent()?).ok()?;
    Some(file)
}

/// Runs a gate until it is told to stop, which `attending` waits for; `said` is printed once it listens.
pub(super) fn run(
    config: Config,
    terminal: &mut Terminal<'_>,
    said: impl FnOnce(&Running) -> String,
    attending: impl FnOnce(&Running) -> std::io::Result<()>,
) -> Exit {
    let _telemetry = match Telemetry::start(config.log_format, config.log_level) {
        Ok(telemetry) => telemetry,
        Err(error) => return terminal.fail(NotStarted::System(error), Exit::System),
    };
    let running = match Running::start(config) {
        Ok(running) => running,
        Err(NotStarted::Configuration(complaints)) => return terminal.complain(&complaints),
        Err(
            refused @ (NotStarted::Listen(..)
            | NotStarted::ListenAt(..)
            | NotStarted::Inherited(..)
            | NotStarted::Store(_)),
        ) => {
            return terminal.fail(refused, Exit::Unavailable);
        }
        Err(refused @ (NotStarted::System(_) | NotStarted::Clock)) => return terminal.fail(refused, Exit::System),
    };
    let said = said(&running);
    if !said.is_empty() && terminal.print(&said) != Exit::Done {
        return Exit::Output;
    }
    let waited = attending(&running);
    tracing::info!("draining");
    running.stop();
    running.join();
    match waited {
        Ok(()) => Exit::Done,
        Err(error) => terminal.fail(error, Exit::System),
    }
}

/// Reads a configuration, reaches what it names, and says of each part how it is and what to do.
pub(super) fn check(path: &Path, terminal: &mut Terminal<'_>) -> Exit {
    let mut config = match Config::load(path, &Process) {
        Ok(config) => config,
        Err(complaints) => return terminal.complain(&complaints),
    };
    // Who checks is often another user than the one that serves, who could then not read what was made here.
    let key = match std::mem::replace(&mut config.master_keys, MasterKeys::DangerRandom) {
        MasterKeys::ToCreate(file) => Some(key_file(&file)),
        keys => {
            config.master_keys = keys;
            None
        }
    };
    let wired = match wire(config, Vec::new(), None) {
        Ok(wired) => wired,
        Err(complaints) => return terminal.complain(&complaints),
    };
    let findings = in_runtime(look(wired)).map(|findings| key.into_iter().chain(findings));
    let Some(findings) = findings else { return terminal.fail("the system gives no runtime", Exit::System) };
    let mut exit = terminal.print("ok: the configuration can be carried out\n");
    for finding in findings {
        exit = match finding {
            Ok(good) => match terminal.print(&format!("ok: {good}\n")) {
                Exit::Done => exit,
                failed => failed,
            },
            Err(bad) => terminal.fail(bad, Exit::Unavailable),
        };
    }
    exit
}

/// Whether a key file that is not there can be made.
fn key_file(file: &Path) -> Result<String, String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        Ok("masterKeyFile: is not there yet; the first start makes it".to_owned())
    } else {
        Err("masterKeyFile: its folder is not there; make the folder, or name another file".to_owned())
    }
}

async fn look(wired: Wired) -> Vec<Result<String, String>> {
    let mut findings = Vec::new();
    let bound = |address| Bound::new(address, 1).map(drop);
    let admin = match &wired.admin_listen {
        AdminListen::Address(address) => bound(*address),
        AdminListen::Socket(path) => Bound::at(path).map(drop),
    };
    let listeners = [
        ("listen", wired.listen.to_string(), bound(wired.listen)),
        ("adminListen", wired.admin_listen.to_string(), admin),
    ];
    for (key, place, bound) in listeners {
        findings.push(match bound {
            Ok(()) => Ok(format!("{key}: {place} is free")),
            Err(error) => {
                Err(format!("{key}: {place} cannot be had: {error}; stop what listens there, or choose another"))
            }
        });
    }
    findings.extend(wired.parts.store().examine().await.map(|examined| match examined {
        Ok(server) => Ok(format!("storage.valkey: {server}")),
        Err(refusal) => Err(format!("storage.valkey: the store {refusal}; {}", refusal.instead())),
    }));
    let issuer_key = wired.issuer_key;
    findings.push(match wired.provider.probe().await {
        Ok(provider) => Ok(match &provider.api {
            None => format!("{issuer_key}: {} answers, and its keys can be used", provider.issuer.home()),
            Some(api) => format!("{issuer_key}: {} answers", api.url),
        }),
        Err(words) => Err(format!(
            "{issuer_key}: {words}; look at the address, at the way there, and at caFiles if its certificate is not a public one"
        )),
    });
    for (urls, upstream) in wired.upstreams {
        for (place, url) in urls.iter().enumerate() {
            findings.push(match upstream.probe(place).await {
                Ok(()) => Ok(format!("upstream: {url} accepts connections")),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    Err(format!("upstream: {url} does not answer; look at the way there"))
                }
                Err(error) => Err(format!(
                    "upstream: {url} cannot be reached: {error}; start the MCP server, or mend the URL{}",
                    if url.starts_with("https:") { ", or name its authority in upstreamCaFile" } else { "" }
                )),
            });
        }
    }
    findings
}

/// Asks a gate's health endpoint, also behind a Unix socket: `unix:/run/portcullis/admin.sock:/readyz`.
pub(super) fn health(url: &str, terminal: &mut Terminal<'_>) -> Exit {
    let socket = url.strip_prefix("unix:").and_then(|rest| rest.rsplit_once(":/"));
    let url = socket.map_or_else(|| url.to_owned(), |(_, path)| format!("http://localhost/{path}"));
    let config = FetchConfig { named_hosts: named_host(&url).into_iter().collect(), ..FetchConfig::default() };
    let asked = in_runtime(async {
        let fetch = Fetch::new(config).map_err(|bad| bad.to_string())?;
        let caps = Caps { deadline: CHECK_DEADLINE, answer_max: PROVIDER_ANSWER_MAX };
        let request = Request::get(url, "application/json");
        let answer = match socket {
            Some((socket, _)) => fetch.fetch_over(Path::new(socket), request, caps).await,
            None => fetch.fetch(request, caps).await,
        };
        match answer {
            Ok(answer) if answer.status == 200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            Ok(answer) => Err(format!("it answers with status {}", answer.status)),
            Err(refusal) => Err(format!("{refusal}; look at --url, and whether the gate runs")),
        }
    });
    match asked {
        Some(Ok(body)) => terminal.print(&format!("{}\n", body.trim_end())),
        Some(Err(words)) => terminal.fail(words, Exit::Unavailable),
        None => terminal.fail("the system gives no runtime", Exit::System),
    }
}

fn in_runtime<T>(future: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(future);
    // A name lookup that hangs must not keep the program.
    runtime.shutdown_background();
    Some(answer)
}
