//! The rules of the house, checked by reading the repository: the arrow between the packages, the list of what is
//! deployed, the length of files, and what may not stand in any of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::print_stdout
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A package's folder, the packages of this repository that it may name, and those of the outside.
type Reach = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

/// Each package, and what of this repository and of the outside it may name in its manifest; `None` leaves it free.
const ARROW: [Reach; 4] = [
    ("domain", &[], Some(&["base64", "ring", "serde", "serde_json", "zeroize"])),
    ("ports", &["portcullis-domain"], Some(&[])),
    ("adapters", &["portcullis-domain", "portcullis-ports"], None),
    (".", &["portcullis-domain", "portcullis-ports", "portcullis-adapters"], None),
];

/// How many packages the deployed binary may be made of.
const DEPLOYED_AT_MOST: usize = 60;

/// How many lines a file may have before its tests.
const LINES_AT_MOST: usize = 500;

/// Files that are allowed to be longer, each with its reason.
const LONGER: [(&str, &str); 0] = [];

/// The Linux targets that are released, as in `deny.toml`.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
];

#[test]
fn the_arrow_between_the_packages_points_inwards() {
    let mut broken = Vec::new();
    for (folder, rooms, outside) in ARROW {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        for (table, name) in dependencies(&manifest) {
            let inside = name.starts_with("portcullis");
            if inside && !rooms.contains(&name.as_str()) {
                broken.push(format!("{folder} names {name} in [{table}]"));
            }
            // What tests use is not deployed, so only the arrow itself binds it.
            if let Some(outside) = outside
                && !inside
                && !table.ends_with("dev-dependencies")
                && !outside.contains(&name.as_str())
            {
                broken.push(format!("{folder} names {name} in [{table}], and may name only {outside:?}"));
            }
        }
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder} does not take the lints of the workspace");
        assert!(!root().join(folder).join("build.rs").exists(), "{folder} runs code while it is built");
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_package_forbids_unsafe_code() {
    for file in ["src/lib.rs", "domain/src/lib.rs", "ports/src/lib.rs", "adapters/src/lib.rs", "src/main.rs"] {
        assert!(read(&root().join(file)).contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn what_is_deployed_is_listed_with_a_reason() {
    let listed: BTreeMap<String, String> = read(&root().join("docs/dependencies.md"))
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .filter(|(name, _)| *name != "package")
        .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .collect();
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"]);
    tree.args(["--package", "portcullis", "--all-features"]);
    for target in TARGETS {
        tree.args(["--target", target]);
    }
    let printed = tree.output().unwrap();
    assert!(printed.status.success(), "cargo tree: {}", String::from_utf8_lossy(&printed.stderr));
    let deployed: BTreeSet<String> = String::from_utf8(printed.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    assert!(deployed.contains("ring") && deployed.contains("portcullis"), "the tree was not understood: {deployed:?}");

    let unlisted: Vec<_> = deployed.iter().filter(|name| !listed.contains_key(*name)).collect();
    assert!(unlisted.is_empty(), "these are deployed and docs/dependencies.md does not say why: {unlisted:?}");
    let idle: Vec<_> = listed.keys().filter(|name| !deployed.contains(*name)).collect();
    assert!(idle.is_empty(), "docs/dependencies.md lists what is not deployed: {idle:?}");
    let mute: Vec<_> = listed.iter().filter(|(_, reason)| reason.trim().len() < 8).collect();
    assert!(mute.is_empty(), "no reason is given for {mute:?}");
    assert!(deployed.len() <= DEPLOYED_AT_MOST, "{} packages are deployed", deployed.len());
}

#[test]
fn files_are_short_before_their_tests() {
    let mut long = Vec::new();
    for (name, text) in rust_files() {
        if name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs") {
            continue;
        }
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LINES_AT_MOST && !LONGER.iter().any(|(longer, _)| *longer == name) {
            long.push(format!("{name} has {lines} lines before its tests"));
        }
        if lines > LINES_AT_MOST * 9 / 10 {
            println!("{name} has {lines} lines before its tests and is close to the bound");
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_secret_has_a_derived_debug() {
    let mut bare = Vec::new();
    for (name, text) in rust_files() {
        bare.extend(bare_secrets(&text).into_iter().map(|found| format!("{name}: {found}")));
    }
    assert!(
        bare.is_empty(),
        "a derived Debug would print these; use the types of domain/src/secret.rs:\n{}",
        bare.join("\n")
    );
}

#[test]
fn a_bare_secret_would_be_found() {
    let text = "#[derive(Clone, Debug)]\npub struct Grant {\n    /// Words.\n    pub refresh_token: String,\n    pub seed: [u8; 32],\n    seeds: Secret<32>,\n}\n";
    assert_eq!(bare_secrets(text), ["Grant.refresh_token: String", "Grant.seed: [u8; 32]"]);
    assert!(bare_secrets(&text.replace("Debug", "Copy")).is_empty());
    assert!(
        bare_secrets("#[derive(Debug)]\nstruct Config {\n    token_endpoint: String,\n    seed: Secret<32>,\n}\n")
            .is_empty()
    );
}

/// Where what a stranger presents is compared with what only we know, and what that is.
const COMPARED: [(&str, &str); 10] = [
    ("domain/src/oauth/client.rs", "a client's secret"),
    ("domain/src/oauth/client_id.rs", "the signature of a registration"),
    ("domain/src/oauth/register.rs", "the registration token, and that of one registration"),
    ("domain/src/oauth/consent.rs", "the token of a form"),
    ("domain/src/oauth/flow.rs", "the state at the provider"),
    ("domain/src/oauth/pkce.rs", "a verifier"),
    ("domain/src/oauth/token.rs", "codes, refresh tokens and access tokens"),
    ("domain/src/oidc/id_token.rs", "a nonce"),
    ("domain/src/mcp_session.rs", "the signature of a session at an MCP server"),
    ("adapters/src/gate/operator.rs", "the operator's token"),
];

#[test]
fn t286_secrets_are_compared_by_the_one_function_that_tells_nothing_by_its_time() {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, text) in rust_files() {
        let is_product =
            ["domain/src/", "ports/src/", "adapters/src/", "src/"].iter().any(|room| name.starts_with(room));
        if !is_product || name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap();
        if name == "domain/src/secret.rs" {
            assert!(!text.contains("PartialEq"), "a secret that has an equality is compared with it");
            assert!(text.contains("pub fn same(left: &[u8], right: &[u8]) -> bool"));
        }
        if let Some((_, what)) = COMPARED.iter().find(|(place, _)| *place == name)
            && !text.contains("same(")
        {
            missing.push(format!("{name} compares {what} by something else"));
        }
        found.extend(told_by_time(text).into_iter().map(|line| format!("{name}: {line}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found.is_empty(), "use secret::same for these: {found:#?}");
}

#[test]
fn t286_a_comparison_that_tells_by_its_time_would_be_found() {
    for line in [
        "if self.tag == other.tag {",
        "(sent.expose() == own.expose())",
        "verifier.as_bytes() != wanted",
        "let good = wanted == *password;",
        "own.expose().starts_with(sent)",
        "if secret.as_deref() == Some(sent) {",
    ] {
        assert_eq!(told_by_time(line), [line.trim()], "{line}");
    }
    for line in ["if token.resource != resource {", "// tag == tag", "own.same(sent)", "if grant.seed_count == 3 {"] {
        assert!(told_by_time(line).is_empty(), "{line}");
    }
}

/// Lines in which something whose name promises a secret is compared with an operator, or what was exposed is searched.
fn told_by_time(text: &str) -> Vec<&str> {
    const NAMES: [&str; 12] = [
        "tag",
        "mac",
        "proof",
        "secret",
        "expose",
        "verifier",
        "password",
        "seed",
        "cookie",
        "nonce",
        "csrf",
        "signature",
    ];
    // What only leads from a value to its bytes, and the words of patterns.
    const LEADS: [&str; 8] = ["as_bytes", "as_str", "as_ref", "as_slice", "as_deref", "to_owned", "Some", "Ok"];
    let words = |side: &str| -> Vec<String> {
        let words = side.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        words.filter(|word| !word.is_empty() && !LEADS.contains(word)).map(str::to_owned).collect()
    };
    let operand_ends = |letter: char| matches!(letter, '{' | '}' | ';' | ',' | '|' | '=');
    let is_secret = |word: Option<&String>| word.is_some_and(|word| NAMES.contains(&word.as_str()));
    let is_told = |line: &str| {
        let searched = ["starts_with(", "ends_with(", "contains(", "eq("].map(|verb| format!("expose().{verb}"));
        // Whether a key is in PEM, before anybody could have sent it.
        let searches = searched.iter().any(|verb| line.contains(verb.as_str())) && !line.contains("pem.expose()");
        searches
            || ["==", "!="].iter().flat_map(|operator| line.match_indices(*operator)).any(|(at, _)| {
                let left = line[..at].rsplit(operand_ends).next().unwrap_or_default();
                let right = line[at + 2..].split(operand_ends).next().unwrap();
                let right = right.split(" && ").next().unwrap().split(" || ").next().unwrap();
                is_secret(words(left).last()) || is_secret(words(right).last())
            })
    };
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    code.filter(|line| is_told(line)).collect()
}

#[test]
fn every_rust_file_says_what_room_it_is() {
    let mute: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert!(mute.is_empty(), "these do not begin with a `//!` sentence: {mute:?}");
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    // Put together here, so that this file does not hold what it looks for.
    let words = [("TO", "DO"), ("FIX", "ME"), ("XX", "X:")].map(|(one, other)| format!("{one}{other}"));
    let paths = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("registry.np", "mjs"), ("files.pytho", "nhosted")]
        .map(|(one, other)| format!("{one}{other}"));
    let mut found = Vec::new();
    for file in files(&root()) {
        let name = name_of(&file);
        let source =
            [".rs", ".toml", ".md", ".mjs", ".json", ".sh", "/run", "/build", "/smoke", ".npmrc", ".yaml", ".yml"];
        if !source.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (at, line) in text.lines().enumerate() {
            let word = words.iter().find(|word| line.contains(word.as_str()));
            // A path is a machine's only where it begins one, and not inside the address of something on the web.
            let path = paths.iter().find(|path| {
                line.match_indices(path.as_str()).any(|(index, _)| {
                    !path.starts_with('/')
                        || !line[..index]
                            .ends_with(|before: char| before.is_alphanumeric() || before == '.' || before == '-')
                })
            });
            if let Some(hit) = word.or(path) {
                found.push(format!("{name}:{}: {hit}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Fields of structs with a derived Debug whose names promise a secret and whose types would print it.
fn bare_secrets(text: &str) -> Vec<String> {
    const NAMES: [&str; 9] =
        ["secret", "seed", "token", "password", "verifier", "assertion", "cookie", "private_key", "master_key"];
    const RAW: [&str; 8] = ["String", "&str", "&'a str", "Vec<u8>", "[u8;", "&[u8]", "Box<str>", "Box<[u8]>"];
    let mut found = Vec::new();
    let mut debug = false;
    let mut inside: Option<String> = None;
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(owner) = &inside {
            if line == "}" {
                inside = None;
                continue;
            }
            let field =
                line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
            let Some((name, kind)) = field.split_once(": ") else { continue };
            let plain = kind.trim_end_matches(',').trim_start_matches("Option<");
            // The last word says what it is: a token_endpoint is an endpoint.
            let secret = NAMES.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")));
            if secret && RAW.iter().any(|raw| plain.starts_with(raw)) {
                found.push(format!("{owner}.{name}: {}", kind.trim_end_matches(',')));
            }
        } else if let Some(derived) = line.strip_prefix("#[derive(") {
            debug = derived.contains("Debug");
        } else if let Some((_, rest)) =
            line.split_once("struct ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"))
        {
            if debug && line.ends_with('{') {
                inside =
                    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned);
            }
            debug = false;
        } else if !line.starts_with('#') && !line.starts_with("//") {
            debug = false;
        }
    }
    found
}

/// The names in every table of dependencies of a manifest, each with its table.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.to_owned();
            // A table of its own, such as [dependencies.ring], names its package in the heading.
            if let Some((outer, inner)) = name
                .rsplit_once('.')
                .filter(|(outer, _)| outer.ends_with("dependencies") && *outer != "workspace.dependencies")
            {
                found.push((outer.to_owned(), inner.to_owned()));
            }
        } else if table.ends_with("dependencies")
            && table != "workspace.dependencies"
            && let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#'))
        {
            found.push((table.clone(), name.trim().split('.').next().unwrap().to_owned()));
        }
    }
    found
}

/// Every Rust file of the repository with its text.
fn rust_files() -> Vec<(String, String)> {
    let found: Vec<_> = files(&root())
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
        .map(|file| (name_of(&file), read(&file)))
        .collect();
    assert!(found.len() > 20, "the repository was not found: {} files", found.len());
    found
}

/// Every file of the repository that people write.
fn files(folder: &Path) -> Vec<PathBuf> {
    const ELSEWHERE: [&str; 6] = ["target", "node_modules", "corpus", "artifacts", "coverage", ".git"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !ELSEWHERE.contains(&entry.file_name().to_str().unwrap()) {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name_of(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
