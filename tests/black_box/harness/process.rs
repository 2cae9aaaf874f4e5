//! A program that runs for as long as it is held, and what the system knows of it.

use super::{Gate, PATIENCE, Provider, Upstream, World, configuration};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program with all its children. Killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Tells it to end, and waits until it has: how it ended.
    pub fn end(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the program does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The program and its children, of which nobody has children here.
    fn family(&self) -> Vec<u32> {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|id| id.parse().ok()).chain([own]).collect()
    }

    /// User and system time of all of it.
    pub fn cpu(&self) -> Duration {
        self.family().into_iter().map(cpu_of).sum()
    }

    /// Open file descriptors of the program itself.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).map_or(0, Iterator::count)
    }

    /// Resident bytes of the program itself.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() * 1_024.0
    }
}

/// User and system time of one process.
pub fn cpu_of(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Behind the name in parentheses, which may hold anything: state is the first field, utime the twelfth, stime the next.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = fields.get(11..13).unwrap_or_default().iter().filter_map(|text| text.parse::<u64>().ok());
    // Hundredths of a second, which is what Linux shows whatever it counts in.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

impl Drop for Process {
    /// The program first: it would start its children again.
    fn drop(&mut self) {
        let family = self.family();
        let _ = self.0.kill();
        let _ = self.0.wait();
        let own = self.0.id();
        for id in family.into_iter().filter(|id| *id != own) {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// The gate as a process of its own, with the configuration of [`configuration`] that is changed first. Its file lies in this folder,
/// which is made.
pub fn gate(folder: &Path, change: impl FnOnce(&mut Value)) -> (Process, World) {
    gate_of(Path::new(env!("CARGO_BIN_EXE_portcullis")), folder, change)
}

/// The same, of this binary.
pub fn gate_of(binary: &Path, folder: &Path, change: impl FnOnce(&mut Value)) -> (Process, World) {
    fs::create_dir_all(folder).unwrap();
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    change(&mut config);
    let file = folder.join("gate.json");
    fs::write(&file, config.to_string()).unwrap();
    let process = Process::start(Command::new(binary).args(["serve", "--config"]).arg(file));
    let gate = Gate::configured(&config);
    until_listening(gate.public());
    gate.until_ready();
    (process, World::around(gate, provider, upstream))
}

/// Waits until somebody listens there.
pub fn until_listening(address: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nobody listens at {address}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
