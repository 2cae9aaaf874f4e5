//! The documentation, held to the code: the table of refusals, the links, and the names of tests that it points to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects)]

use portcullis_domain::journal::Happened;
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Set to anything, it makes the first test write the table instead of comparing it.
const WRITE: &str = "PORTCULLIS_WRITE_DOCS";

/// The line of `docs/refusals.md` behind which the table stands.
const MARK: &str = "<!-- From here on: written by tests/docs.rs from domain/src/oauth/fault.rs. -->\n";

#[test]
fn the_refusals_are_the_table_of_faults() {
    let source = read("domain/src/oauth/fault.rs");
    let table = table(&refusals(&source), &heard(&source));
    let document = read("docs/refusals.md");
    let (before, written) = document.split_once(MARK).expect("docs/refusals.md has its mark");
    if std::env::var_os(WRITE).is_some() {
        fs::write(root().join("docs/refusals.md"), format!("{before}{MARK}{table}")).unwrap();
    } else {
        assert!(written == table, "docs/refusals.md is behind the code: run {WRITE}=1 cargo test --test docs");
    }
}

#[test]
fn every_event_of_the_audit_log_is_on_the_page() {
    let page = read("docs/observability.md");
    let table = page.split("### Its events\n\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let written: Vec<&str> = table.lines().skip(2).collect();
    let event = |happened: &Happened| {
        let alarm = if happened.alarming() { " yes" } else { "" };
        format!("| `{}` |{alarm} |", happened.name())
    };
    let all: Vec<String> = Happened::ALL.iter().map(event).collect();
    assert_eq!(written, all, "left: docs/observability.md; right: domain/src/journal.rs");
}

#[test]
fn the_units_start_what_the_manual_says_with_what_it_asks_for() {
    let (service, socket) = (read("deploy/portcullis.service"), read("deploy/portcullis.socket"));
    let (image, manual) = (read("deploy/Containerfile"), read("docs/configuration.md"));
    let said = |unit: &str, key: &str| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().map(str::to_owned).unwrap_or_else(|| panic!("{key} is missing"))
    };
    let number = |unit: &str, key: &str| said(unit, key).parse::<u64>().unwrap();
    let default = |key: &str| {
        let row = manual.lines().find_map(|line| line.strip_prefix(&format!("| `{key}` | `"))).unwrap();
        row.split('`').next().unwrap().trim_matches('"').to_owned()
    };
    assert_eq!(said(&socket, "ListenStream"), default("listen"));
    assert_eq!(said(&service, "StandardInput"), "socket");
    assert!(number(&service, "LimitNOFILE") >= 2 * default("connections").parse::<u64>().unwrap() + 100);
    let grace = default("shutdownGrace").strip_suffix('s').unwrap().parse::<u64>().unwrap();
    assert!(number(&service, "TimeoutStopSec") > grace, "whoever is killed in its drain has not drained");
    // The image and the unit start the same.
    let command: Vec<String> = ["ENTRYPOINT ", "CMD "]
        .iter()
        .filter_map(|word| image.lines().find_map(|line| line.strip_prefix(word)))
        .flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap())
        .collect();
    assert_eq!(said(&service, "ExecStart"), command.join(" "));
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if !target.contains("://") && !file.is_empty() && !document.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_test_that_is_named_exists() {
    let there = tests();
    let mut missing = Vec::new();
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for name in text.split('`').skip(1).step_by(2).filter(|quoted| names_a_test(quoted)) {
            named += 1;
            if !there.contains(name) {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(named > 20, "the names of tests were not found: {named}");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_client_has_a_test_that_replays_what_it_sends() {
    let (there, document) = (tests(), read("docs/clients.md"));
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .filter(|cells: &Vec<&str>| cells[0] != "client")
        .collect();
    for row in &rows {
        let [client, _, redirects, _, test] = row[..] else { panic!("{row:?}") };
        let test = test.trim_matches('`');
        assert!(there.contains(test), "{client} names {test}, which is not there");
        assert!(!redirects.is_empty(), "{client}");
    }
    let clients: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let expected = [
        "Claude Code",
        "claude.ai",
        "ChatGPT",
        "Cursor",
        "VS Code",
        "Codex",
        "Gemini CLI",
        "Windsurf",
        "Zed",
        "mcp-remote",
        "MCP Inspector",
    ];
    assert_eq!(clients, expected);
}

/// One fault: its name, when it arises, and under which heading.
struct Refusal {
    heading: String,
    name: String,
    when: String,
}

/// What the other side hears of a fault.
struct Heard {
    names: Vec<String>,
    status: String,
    error: String,
    retry_after: bool,
    text: String,
}

/// The variants of the enum, in order.
fn refusals(source: &str) -> Vec<Refusal> {
    let body = source.split_once("pub enum Fault {\n").unwrap().1.split_once("\n}\n").unwrap().0;
    let (mut found, mut heading, mut when) = (Vec::new(), String::new(), Vec::new());
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(words) = line.strip_prefix("/// ") {
            when.push(words);
        } else if let Some(words) = line.strip_prefix("// ") {
            words.trim_end_matches('.').clone_into(&mut heading);
        } else {
            let name = line.trim_end_matches(',').split('(').next().unwrap().to_owned();
            found.push(Refusal { heading: heading.clone(), name, when: std::mem::take(&mut when).join(" ") });
        }
    }
    found
}

/// The arms of the table, in order.
fn heard(source: &str) -> Vec<Heard> {
    let body = source.split_once("match self {\n").unwrap().1.split_once("\n        }\n").unwrap().0;
    // An arm ends where a line ends in a comma.
    let arms = body.split(",\n").map(|arm| arm.split_whitespace().collect::<Vec<_>>().join(" "));
    arms.map(|arm| {
        let arm = arm.trim_end_matches(',');
        let (patterns, made) = arm.split_once(" => ").unwrap();
        let (kind, arguments) = made.split_once('(').unwrap();
        let quoted: Vec<&str> = arguments.split('"').collect();
        let subject = if kind == "named" { ": …" } else { "" };
        Heard {
            names: patterns
                .split(" | ")
                .map(|name| name.trim_start_matches("F::").split('(').next().unwrap().to_owned())
                .collect(),
            status: quoted[0].trim_end_matches(", ").to_owned(),
            error: quoted[1].to_owned(),
            retry_after: kind == "later",
            text: format!("{}{subject}", quoted[3]),
        }
    })
    .collect()
}

fn table(refusals: &[Refusal], heard: &[Heard]) -> String {
    assert!(refusals.len() > 50, "the faults were not understood");
    let mut out = String::new();
    let mut heading = "";
    for Refusal { heading: under, name, when } in refusals {
        if heading != under {
            heading = under;
            write!(out, "\n## {heading}\n\n| fault | when | status | `error` | `error_description` |\n").unwrap();
            out.push_str("|---|---|---|---|---|\n");
        }
        let arm = heard.iter().find(|arm| arm.names.contains(name)).unwrap_or_else(|| panic!("{name} has no row"));
        let later = if arm.retry_after { ", `Retry-After`" } else { "" };
        let Heard { status, error, text, .. } = arm;
        // Names of other things stand in rustdoc's brackets.
        let when = when.replace("[`", "`").replace("`]", "`");
        writeln!(out, "| `{name}` | {when} | {status}{later} | `{error}` | {text} |").unwrap();
    }
    out
}

/// Whether quoted text is the name of a test that carries an abuse case, a promise, an invariant, an advisory, a row of the mission or a rule
/// of MCP.
fn names_a_test(text: &str) -> bool {
    const LETTERS: [&str; 8] = ["t", "p", "r", "i", "m", "f", "as", "rs"];
    let words = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let letters = text.find(|letter: char| !letter.is_ascii_lowercase()).map_or(text, |end| &text[..end]);
    let numbered = text[letters.len()..].trim_start_matches('_').starts_with(|digit: char| digit.is_ascii_digit());
    words && text.len() > 12 && (text.starts_with("cve_") || LETTERS.contains(&letters) && numbered)
}

/// The names of all functions in Rust files.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files(&root()).iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let text = fs::read_to_string(file).unwrap();
        let names = text.lines().filter_map(|line| line.split_once("fn ")?.1.split(['(', '<']).next());
        found.extend(names.map(str::to_owned));
    }
    found
}

/// README, SECURITY, CHANGELOG and everything in `docs/`.
fn documents() -> Vec<PathBuf> {
    let found: Vec<_> =
        files(&root()).into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "md")).collect();
    assert!(found.iter().any(|file| file.ends_with("README.md")), "the repository was not found");
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    const ELSEWHERE: [&str; 4] = ["target", "node_modules", "corpus", ".git"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if !ELSEWHERE.contains(&entry.file_name().to_str().unwrap()) {
            found.extend(files(&path));
        }
    }
    found
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
