//! The catalogue of abuse cases and known attacks, held to the tests: a row that is held has a test that names it, a test that
//! names a row finds it there, and what does not apply says why.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CATALOGUE: &str = "docs/abuse-cases.md";

/// The groups of the front door, in which nothing that a release waits for may be open any more.
const CLOSED: &str = "ABFGHPS";

/// One row of the catalogue.
#[derive(Debug)]
struct Row {
    /// As it stands in names of tests, such as `t001`.
    id: String,
    /// The letter of its group; `-` for the advisories.
    group: char,
    /// Whether a release waits for it. Every advisory is one of those.
    gate: bool,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Held,
    Open,
    DoesNotApply(String),
}

#[test]
fn every_row_that_is_held_has_a_test() {
    let (rows, named) = (rows(&text()), named(&sources()));
    let bare: Vec<_> = rows.iter().filter(|row| row.state == State::Held && !named.contains_key(&row.id)).collect();
    assert!(bare.is_empty(), "no test names these: {bare:#?}");
    let idle: Vec<_> = rows.iter().filter(|row| row.state == State::Open && named.contains_key(&row.id)).collect();
    for row in &idle {
        println!("{} is open and {:?} names it: if the whole row is shown, it is held", row.id, named[&row.id]);
    }
    let open: Vec<_> = rows.iter().filter(|row| row.state == State::Open).collect();
    let front: Vec<_> = open.iter().filter(|row| row.gate && CLOSED.contains(row.group)).collect();
    assert!(front.is_empty(), "the front door has a gap: {front:#?}");
    let gates = open.iter().filter(|row| row.gate).count();
    println!("{} of {} rows are open, {gates} of them gate a release:", open.len(), rows.len());
    let groups: BTreeSet<char> = open.iter().map(|row| row.group).collect();
    for group in groups {
        let ids = open.iter().filter(|row| row.group == group).map(|row| row.id.as_str());
        println!("  {group} {}", ids.collect::<Vec<_>>().join(" "));
    }
}

#[test]
fn every_row_that_a_test_names_is_there() {
    let known: BTreeSet<String> = rows(&text()).into_iter().map(|row| row.id).collect();
    let unknown: Vec<_> = named(&sources()).into_iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "{CATALOGUE} has no such rows: {unknown:#?}");
}

#[test]
fn what_does_not_apply_says_why_and_no_row_stands_twice() {
    let rows = rows(&text());
    assert!(rows.len() > 280, "the catalogue was not understood: {} rows", rows.len());
    let mute: Vec<_> = rows
        .iter()
        .filter(|row| matches!(&row.state, State::DoesNotApply(reason) if reason.split(' ').count() < 3))
        .collect();
    assert!(mute.is_empty(), "no reason: {mute:#?}");
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "a row stands twice");
}

/// Crates of which a row speaks, each with the first version that is good, or `None` for those that are not in the tree.
const MENDED: [(&str, Option<[u32; 3]>); 10] = [
    ("axum-core", None),
    ("bytes", Some([1, 11, 1])),
    ("h2", None),
    ("hickory-proto", None),
    ("hyper", Some([0, 14, 10])),
    ("idna", None),
    ("jsonwebtoken", None),
    ("jwt-simple", None),
    ("regex", None),
    ("rustls-webpki", Some([0, 103, 13])),
];

#[test]
fn t254_r71_r72_r74_r76_r77_r78_r79_r81_crates_with_advisories_are_mended_or_not_there() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut deployed: BTreeMap<&str, Vec<[u32; 3]>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |name| package.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix('"')).unwrap();
        let numbers: Vec<u32> =
            value("version = \"").split(['.', '-', '+']).filter_map(|part| part.parse().ok()).take(3).collect();
        deployed.entry(value("name = \"")).or_default().push(numbers.try_into().unwrap());
    }
    assert!(deployed.len() > 40, "the lock was not understood: {deployed:?}");
    for (name, good) in MENDED {
        match (deployed.get(name), good) {
            (Some(found), Some(good)) => assert!(found.iter().all(|version| *version >= good), "{name} {found:?}"),
            (Some(found), None) => panic!("{name} {found:?} is in the tree: name the version that is good"),
            (None, None) => {}
            (None, Some(_)) => panic!("{name} is no longer in the tree"),
        }
    }
}

#[test]
fn a_bare_row_and_a_foreign_id_would_be_found() {
    let text = "## A. Some\n\n| id | pr | case | state |\n|---|---|---|---|\n| T001 | P0 | words | held |\n\
                | T002 | P1 | words | -: it is not offered |\n\n## Advisories\n\n| R01 | CVE-1 | words | open |\n";
    let rows = rows(text);
    let seen: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.group, row.gate)).collect();
    assert_eq!(seen, [("t001", 'A', true), ("t002", 'A', false), ("r01", '-', true)]);
    assert_eq!(rows[1].state, State::DoesNotApply("it is not offered".to_owned()));
    let source = "#[test]\nfn t001_r01_words() {}\n\nfn t002_no_test() {}\n\n#[tokio::test(start_paused = true)]\n\
                  async fn words_t003() {}\n#[test]\nfn t12_t1234_tests_r1() {}\n";
    let found: Vec<_> = named(source).into_keys().collect();
    assert_eq!(found, ["r01", "t001", "t003"]);
}

fn rows(text: &str) -> Vec<Row> {
    let mut group = ' ';
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            group = if heading == "Advisories" { '-' } else { heading.chars().next().unwrap() };
        }
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<_> = cells.split(" | ").collect();
        if cells[0] == "id" {
            continue;
        }
        let [id, gate, case, state] = cells[..] else { panic!("{line}") };
        assert!(is_id(&id.to_lowercase()) && !case.is_empty(), "{line}");
        assert!(group == '-' || matches!(gate, "P0" | "P1"), "{line}");
        let state = match state {
            "held" => State::Held,
            "open" => State::Open,
            other => State::DoesNotApply(other.strip_prefix("-: ").unwrap_or_else(|| panic!("{line}")).to_owned()),
        };
        found.push(Row { id: id.to_lowercase(), group, gate: group == '-' || gate == "P0", state });
    }
    found
}

/// The ids in the names of tests, each with the names.
fn named(sources: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_test = false;
    for line in sources.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
            continue;
        }
        let declared = ["fn ", "pub fn ", "async fn "].iter().find_map(|begin| line.strip_prefix(begin));
        if let Some(name) = declared.filter(|_| is_test).and_then(|rest| rest.split(['(', '<']).next()) {
            for id in name.split('_').filter(|word| is_id(word)) {
                found.entry(id.to_owned()).or_default().push(name.to_owned());
            }
        }
        is_test = false;
    }
    found
}

fn is_id(word: &str) -> bool {
    let digits = |letter, count| {
        word.strip_prefix(letter)
            .is_some_and(|rest| rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    digits('t', 3) || digits('r', 2)
}

fn text() -> String {
    fs::read_to_string(root().join(CATALOGUE)).unwrap()
}

/// All Rust files, one after the other.
fn sources() -> String {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    assert!(found.len() > 100, "the repository was not found: {} files", found.len());
    found.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<Vec<_>>().join("\n")
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !["target", "node_modules", "corpus", ".git"].contains(&entry.file_name().to_str().unwrap()) {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
