//! Several gates, each a process of its own, before one provider, one MCP server and one store.

use crate::harness::{Gate, Provider, Upstream, World, configuration, eventually, until_ready};
use crate::valkey::server::{Folder, signal, tied};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

/// The gates, and what they share.
pub struct Fleet {
    pub provider: Provider,
    pub upstream: Upstream,
    pub replicas: Vec<Replica>,
}

/// One gate.
pub struct Replica {
    pub world: World,
    pub config: Value,
    process: Option<Child>,
    folder: Folder,
}

/// `storage` for one server.
pub fn storage(store: SocketAddr) -> Value {
    json!({ "type": "valkey", "valkey": { "url": store.to_string() } })
}

impl Fleet {
    /// So many gates with this storage.
    pub fn start(replicas: usize, storage: &Value) -> Self {
        let mut fleet = Self::empty();
        for _ in 0..replicas {
            fleet.add(|config| config["storage"] = storage.clone());
        }
        fleet
    }

    pub fn empty() -> Self {
        Self { provider: Provider::start(), upstream: Upstream::start(), replicas: Vec::new() }
    }

    /// One more gate, with a configuration that is changed first.
    pub fn add(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config = configuration(&self.provider, &self.upstream);
        change(&mut config);
        let address = |key: &str| config[key].as_str().unwrap().parse().unwrap();
        let gate = Gate::elsewhere(address("listen"), address("adminListen"));
        let world = World::around(gate, self.provider.clone(), self.upstream.clone());
        let mut replica = Replica { world, config, process: None, folder: Folder::new() };
        replica.start();
        self.replicas.push(replica);
    }

    /// The world as this gate shows it.
    pub fn at(&self, replica: usize) -> &World {
        &self.replicas[replica].world
    }

    /// How often this audit event happened, at all gates together.
    pub fn happened(&self, event: &str) -> u64 {
        self.replicas.iter().map(|replica| replica.world.happened(event)).sum()
    }
}

impl Replica {
    /// Starts it, at the same address as before.
    pub fn start(&mut self) {
        self.spawn();
        let public = self.world.gate.public();
        eventually("the gate listens", || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {}", self.log());
            TcpStream::connect(public).is_ok()
        });
        until_ready(public);
    }

    /// The same without waiting for anything.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let file = self.folder.0.join("gate.json");
        std::fs::write(&file, self.config.to_string()).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.folder.0.join("log")).unwrap();
        let mut command = tied(Path::new(env!("CARGO_BIN_EXE_portcullis")));
        command.args(["serve", "--config"]).arg(&file).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        signal(&process, "TERM");
        assert!(process.wait().unwrap().success(), "{}", self.log());
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        signal(self.process.as_ref().unwrap(), "STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(self.process.as_ref().unwrap(), "CONT");
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}
