//! On what all this was measured.

use super::harness::World;
use super::harness::process::{Process, gate_of};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `deploy/build` leaves a release.
const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/deploy/portcullis");

/// What is measured: the release, or the binary that `PORTCULLIS_BINARY` names. What cargo builds by itself is neither.
pub fn binary() -> PathBuf {
    let binary = std::env::var_os("PORTCULLIS_BINARY").map_or_else(|| PathBuf::from(RELEASE), PathBuf::from);
    assert!(binary.exists(), "{} is not there: deploy/build makes a release", binary.display());
    binary
}

/// A gate of that binary.
pub fn gate(folder: &Path, change: impl FnOnce(&mut Value)) -> (Process, World) {
    gate_of(&binary(), folder, change)
}

/// CPU, cores, kernel and the versions of everything that takes part.
pub fn description() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    [
        format!("{model}, {cores} cores, Linux {}", kernel.trim()),
        said(binary(), "--version"),
        said("nginx", "-v"),
        said("haproxy", "-v"),
        said("wrk", "-v"),
    ]
    .join("\n")
}

/// Lets this process, and what it starts, have as many files open as the system gives at all. How many that is.
pub fn raise_limits() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let most = line.split_whitespace().nth(4).unwrap_or("1024").to_owned();
    let id = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={most}:{most}")]).status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit is needed, of util-linux");
    most.parse().unwrap_or(1_024)
}

/// The first line that a program says of itself.
fn said(program: impl AsRef<Path>, how: &str) -> String {
    let program = program.as_ref();
    let output = Command::new(program).arg(how).output();
    let output = output.unwrap_or_else(|error| panic!("{} is needed: {error}", program.display()));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
