//! What it costs that the server is shown the person's ID token: beside plain headers, and while everybody's has to be renewed.

use super::alone::line;
use super::harness::provider::now;
use super::harness::{Answer, Ask, Client, Pkce, Script, Tokens, World, at_once};
use super::load::{saturate, spread_over};
use super::machine::gate;
use super::proxies::{Proxy, call, server};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many people come back in a second.
const PER_SECOND: u32 = 170;

/// The cost of a request first, then the minute.
pub fn measure(rounds: usize, seconds: u64, people: usize) {
    println!("the person's ID token as bearer");
    let folder = std::env::temp_dir().join(format!("portcullis-id-tokens-{}", std::process::id()));
    forwarded(&folder, rounds, Duration::from_secs(seconds));
    renewed(&folder.join("renewed"), people);
    let _ = std::fs::remove_dir_all(folder);
}

/// What makes a configuration one of a form.
type Form = fn(&mut Value);

fn shown(config: &mut Value) {
    config["resources"][0]["identity"] = "idToken".into();
}

/// A session of this person, whose ID token lives for so many seconds.
fn session(world: &World, client: &Client, person: &str, seconds: u64) -> Tokens {
    let pkce = Pkce::new();
    let script = Script::claims(json!({ "sub": person, "exp": now() + seconds }));
    let code = world.code_for(&Ask::of(client, &pkce), script);
    Tokens::of(&world.exchange(client, &code, &pkce))
}

/// Saturated by wrk, the one after the other in each round, and in the next round the other way around.
fn forwarded(folder: &Path, rounds: usize, time: Duration) {
    std::fs::create_dir_all(folder).unwrap();
    let (_server, behind) = server(folder);
    let mut worlds = Vec::new();
    let mut proxies = Vec::new();
    let forms: [(&str, Form); 2] = [("headers", |_| {}), ("ID token", shown)];
    for (name, form) in forms {
        let (process, world) = gate(&folder.join(name.replace(' ', "-")), |config| {
            config["resources"][0]["upstream"] = format!("http://{behind}/mcp").into();
            form(config);
        });
        let access = session(&world, &world.public_client("A bench"), "ada", 3_600).access;
        proxies.push(Proxy::new(folder, name, (process, world.gate.public()), &access));
        worlds.push(world);
    }
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let mut costs = [0.0; 2];
        for turn in 0..2 {
            let place = (round + turn) % 2;
            costs[place] = saturate(&proxies[place], time).cpu_micros;
        }
        // The first round warms up.
        if round > 0 {
            ratios.push(costs[1] / costs[0]);
        }
    }
    let (low, middle, high) = super::spread(ratios.into_iter());
    line("CPU per request, with the ID token beside without", format!("{middle:.2} ({low:.2} to {high:.2})"));
    for world in &worlds {
        assert_eq!(world.provider.seen("/token").len(), 1, "the provider was asked for nothing but the login");
    }
}

/// Everybody's ID token has ended when they come back, evenly over a minute: nobody is passed on without another one.
fn renewed(folder: &Path, people: usize) {
    let (process, world) = gate(folder, shown);
    world.upstream.answers(|_| Answer::json("{}"));
    world.provider.refreshes(|script| script.claims = json!({ "exp": now() + 3_600 }));
    let client = world.public_client("A bench");
    let requests = Mutex::new(Vec::new());
    at_once(4, |worker| {
        for number in (worker..people).step_by(4) {
            let tokens = session(&world, &client, &format!("person-{number}"), 1);
            requests.lock().unwrap().push(call(&tokens.access).bytes());
        }
    });
    std::thread::sleep(Duration::from_secs(2));
    let requests = requests.into_inner().unwrap();
    let logins = world.provider.seen("/token").len();
    let time = Duration::from_secs(people as u64 / u64::from(PER_SECOND) + 1);
    let (before, begun) = (process.cpu(), Instant::now());
    // Whoever is not answered 200 ends the bench.
    let mut latencies = spread_over(world.gate.public(), &requests, PER_SECOND, time);
    let (took, cpu) = (begun.elapsed(), process.cpu() - before);
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let what = format!("people whose ID token was renewed, in {:.0} s, with their logins", took.as_secs_f64());
    line(&what, format!("{people}, {logins} logins"));
    line("calls of the provider for it, one for each person", world.provider.seen("/token").len() - logins);
    line(
        "requests that waited for it, ms: median, 99 %, all",
        format!("{:.1}, {:.1}, {:.1}", at(0.5), at(0.99), at(1.0)),
    );
    line("CPU of the gate for it", format!("{:.1} % of a core", cpu.as_secs_f64() / took.as_secs_f64() * 100.0));
    assert_eq!(world.provider.seen("/token").len() - logins, people, "one call for each person");
}
