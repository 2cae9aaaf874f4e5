//! The gate as a process, with its surroundings, its memory and all that it says.

use crate::harness::{
    Gate, MASTER_KEY, PATIENCE, PROVIDER_SECRET, Provider, Upstream, World, configuration, eventually, until_ready,
};
use serde_json::json;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A gate with the rates that it has out of the box, behind a trusted proxy from which the crowd comes.
pub struct Hosted {
    pub world: World,
    child: Child,
    folder: PathBuf,
}

impl Hosted {
    /// Behind these words of a shell.
    pub fn start(before: &str) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let (provider, upstream) = (Provider::start(), Upstream::start());
        let mut config = configuration(&provider, &upstream);
        config.as_object_mut().unwrap().remove("rateLimits");
        // The honest client speaks as fast as it is answered.
        config["rateLimits"]["perPerson"] = json!({ "requestsPerSecond": 1_000_000, "requestBurst": 1_000_000 });
        // Everybody on this address stands for somebody else; honest people come from others.
        config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
        let name = format!("portcullis-hostile-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("gate.json");
        fs::write(&file, config.to_string()).unwrap();
        let binary = std::env::var("PORTCULLIS_BINARY");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{before} exec \"$0\" serve --config \"$1\"")]);
        shell.arg(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_portcullis"))).arg(&file).stdin(Stdio::null());
        let said = |name| File::create(folder.join(name)).unwrap();
        let child = shell.stdout(said("stdout")).stderr(said("stderr")).spawn().unwrap();
        let address = |key: &str| -> SocketAddr { config[key].as_str().unwrap().parse().unwrap() };
        let (public, admin) = (address("listen"), address("adminListen"));
        eventually("it listens", || TcpStream::connect(public).is_ok());
        until_ready(public);
        Self { world: World::around(Gate::elsewhere(public, admin), provider, upstream), child, folder }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it holds.
    pub fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Does it, and looks at the memory meanwhile: the most that there was.
    pub fn watched<T: Send>(&self, act: impl FnOnce() -> T + Send) -> (T, usize) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !over.load(Ordering::Relaxed) {
                    most = most.max(self.resident());
                    thread::sleep(Duration::from_millis(50));
                }
                most.max(self.resident())
            });
            let done = act();
            over.store(true, Ordering::Relaxed);
            (done, watch.join().unwrap())
        })
    }

    /// Ends it as an operator would, and looks for secrets and panics in all that it has said: how many lines there were.
    pub fn end(mut self, secrets: &[String]) -> usize {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let end = Instant::now() + PATIENCE * 4;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let said = ["stdout", "stderr"].map(|name| fs::read_to_string(self.folder.join(name)).unwrap()).concat();
        assert!(status.success(), "it ended with {status}: {}", &said[said.len().saturating_sub(2_000)..]);
        assert!(!said.contains("panicked"), "{said}");
        for secret in secrets.iter().map(String::as_str).chain([MASTER_KEY, PROVIDER_SECRET]) {
            let line = said.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "a secret was said: {line:?}");
        }
        said.lines().count()
    }
}

/// What a process has used of the machine so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu: Duration,
    /// How long its threads could have run and did not.
    waited: Duration,
    turns: u32,
}

impl Usage {
    pub fn of(process: u32) -> Self {
        let mut sums = [0_u64; 3];
        for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            // Nanoseconds on a core, nanoseconds in wait of one, and how often it was given one.
            let Ok(line) = fs::read_to_string(task.unwrap().path().join("schedstat")) else { continue };
            for (sum, value) in sums.iter_mut().zip(line.split_whitespace()) {
                *sum += value.parse::<u64>().unwrap();
            }
        }
        let [cpu, waited, turns] = sums;
        let turns = u32::try_from(turns).unwrap();
        Self { cpu: Duration::from_nanos(cpu), waited: Duration::from_nanos(waited), turns }
    }

    pub fn since(self, before: Self) -> Self {
        let Self { cpu, waited, turns } = before;
        Self { cpu: self.cpu - cpu, waited: self.waited - waited, turns: self.turns - turns }
    }

    /// How long a thread waited for a core, in the mean.
    pub fn delay(self) -> Duration {
        self.waited / self.turns.max(1)
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
